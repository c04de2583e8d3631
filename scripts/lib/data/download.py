"""From a source to one cleaned table of reviews, with a count of what was dropped."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lib.command.console import log, refusals_explained
from lib.data import reviews
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
        location: what the source asks for besides.
    """
    columns = list(dict.fromkeys([text_column, label_column, *(where or ())]))
    found = SOURCES[source](columns, sha256 or {}, **location)
    read: dict[str, int] = {}
    parts = reviews.counted(found.parts, read)
    rows = partial(reviews.assemble, parts, text_column, label_column, where)
    hashes, classes = reviews.survey(rows(), label_column, labels)
    reviews.class_counts(classes, len(labels or ()))
    keep, dropped = reviews.clean(hashes, classes)
    candidates = reviews.texts(chosen(rows(), keep))
    scratch = next(folder for folder in [out, *out.parents] if folder.is_dir())
    with refusals_explained(scratch):
        repeated = repetitions(candidates, int(keep.sum()), near_duplicates, scratch)
    which = np.zeros_like(keep)
    which[keep] = repeated
    dropped["near_duplicates"] = reviews.drop(which, "near_duplicates", keep, classes)
    distinct = np.flatnonzero(keep)
    if limit and limit < len(distinct):
        (sample,) = stratified(classes[distinct], [limit], SAMPLE_SEED, "limit")
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
        **location,
    }
    description = {
        "source": found.name,
        "revision": found.revision,
        "sha256": found.digests,
        "rows_by_file": read,
        "left_out_by_where": sum(read.values()) - len(keep),
        "rows": len(keep),
        "dropped": dropped,
        "reviews": count,
        "classes": reviews.class_counts(classes[keep]),
        "labels": labels,
        "settings": {key: value for key, value in settings.items() if value is not None},
    }
    with writing(out / "reviews.parquet", reviews.SCHEMA) as write:
        for batch in chosen(reviews.with_classes(rows(), classes), keep):
            write(batch)
    write_json(out / "reviews.json", description)
    log.info("%d of %d rows kept; dropped: %s", count, len(keep), dropped)
