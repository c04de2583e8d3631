"""From a source to one cleaned table of reviews, with a count of what was dropped."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lib.command.console import log, refusals_explained
from lib.data import reviews
from lib.data.division import SPLITS, divided_origins
from lib.data.near_duplicates import repetitions
from lib.data.sampling import stratified
from lib.data.sources import SOURCES
from lib.data.streaming import chosen, writing
from lib.files.whole import write_json

SAMPLE_SEED = 0  # one sample for every split seed


def download(
    source: str,
    out: Path,
    text_column: str,
    label_column: str,
    near_duplicates: float,
    labels: Sequence[str] | None = None,
    where: Mapping[str, str] | None = None,
    limit: int | None = None,
    sha256: Mapping[str, str] | None = None,
    column: str | None = None,
    group: str | None = None,
    clean_test: bool = False,
    **location: Any,
) -> None:
    """Write `reviews.parquet` and `reviews.json`.

    Args:
        source: a name from the table of sources.
        out: folder to write to.
        text_column: holds the texts.
        label_column: holds class numbers or names.
        near_duplicates: similarity to an earlier review above which one is dropped; 1 keeps all.
        labels: names of the classes 0, 1, ...
        where: rows to keep, as values by column.
        limit: reviews to keep, stratified by label.
        sha256: expected digests, by file.
        column: holds the split of each row, where one does.
        group: column of groups that are to stay on one side.
        clean_test: whether a given test split loses its repeats.
        location: what the source asks for besides.
    """
    origins = divided_origins(location)
    layout = reviews.Layout(text_column, label_column, where or {}, group, column, origins)
    found = SOURCES[source](layout.columns(), sha256 or {}, **location)
    read: dict[str, int] = {}
    parts = reviews.counted(found.parts, read)
    rows = partial(reviews.assemble, parts, layout)
    survey = reviews.survey(rows(), layout, labels)
    reviews.class_counts(survey.classes, len(labels or ()))
    scratch = next(folder for folder in [out, *out.parents] if folder.is_dir())
    keep, dropped = clean(rows, survey, near_duplicates, clean_test, scratch)
    distinct = np.flatnonzero(keep)
    if limit and limit < len(distinct):
        (sample,) = stratified(survey.classes[distinct], [limit], SAMPLE_SEED, "limit")
        keep[np.delete(distinct, sample)] = False
    count = int(keep.sum())
    dropped["beyond_limit"] = len(distinct) - count
    settings = {
        "source": source,
        "text_column": text_column,
        "label_column": label_column,
        "near_duplicates": near_duplicates,
        "labels": labels,
        "where": where,
        "limit": limit,
        "column": column,
        "group": group,
        "clean_test": clean_test or None,
        **location,
    }
    description = {
        "source": found.name,
        "revision": found.revision,
        **found.licence,
        "sha256": found.digests,
        "rows_by_file": read,
        "left_out_by_where": sum(read.values()) - len(keep),
        "rows": len(keep),
        "dropped": dropped,
        "reviews": count,
        "classes": reviews.class_counts(survey.classes[keep]),
        **given(survey, keep),
        "labels": labels,
        "settings": {key: value for key, value in settings.items() if value is not None},
    }
    schema = layout.schema()
    with writing(out / "reviews.parquet", schema) as write:
        for batch in chosen(reviews.finished(rows(), survey, schema), keep):
            write(batch)
    write_json(out / "reviews.json", description)
    log.info("%d of %d rows kept; dropped: %s", count, len(keep), dropped)


def clean(
    rows: Callable[[], Iterator[pa.RecordBatch]],
    survey: reviews.Survey,
    near_duplicates: float,
    clean_test: bool,
    scratch: Path,
) -> tuple[np.ndarray, dict[str, int]]:
    """Drop empty texts, texts under two labels, repeats, and groups that stand in two splits.

    Args:
        rows: reads the assembled rows.
        survey: of them.
        near_duplicates: as of `download`, like the next.
        clean_test: whether a given test split loses its repeats.
        scratch: folder for a temporary file.

    Returns:
        Which rows stay, as `(n,)` booleans, and how many were dropped for each reason.

    Raises:
        UserError: nothing of a class stays, or nothing of a split.
    """
    ranks = survey.ranks(clean_test)
    keep, dropped = reviews.clean(survey, ranks)
    candidates = reviews.texts(chosen(rows(), keep))
    with refusals_explained(scratch):
        alike = repetitions(candidates, int(keep.sum()), near_duplicates, scratch)
    left = ranks[keep]
    elsewhere, again = reviews.repeats(reviews.leaders(alike, left), left)
    which = {"near_duplicates_of_another_split": elsewhere} if survey.splits is not None else {}
    which["near_duplicates"] = again
    dropped |= reviews.drop_some(which, keep, survey.classes)
    if survey.splits is not None:
        if survey.groups is not None:
            left = ranks[keep]
            elsewhere, _ = reviews.repeats(reviews.leaders(survey.groups[keep], left), left)
            which = {"group_in_another_split": elsewhere}
            dropped |= reviews.drop_some(which, keep, survey.classes)
        names = [SPLITS[place] for place in np.unique(survey.splits)]
        reviews.require_splits(survey.splits[keep], names, " left after cleaning")
    return keep, dropped


def given(survey: reviews.Survey, keep: np.ndarray) -> dict[str, Any]:
    """The rows and the classes of what stays of each split of a given division; else nothing."""
    if survey.splits is None:
        return {}
    found = {}
    for place in np.unique(survey.splits):
        rows = survey.splits == place
        classes = np.bincount(survey.classes[rows & keep], minlength=survey.classes.max() + 1)
        found[SPLITS[place]] = {"rows": int(rows.sum()), "classes": classes.tolist()}
    return {"splits": found}
