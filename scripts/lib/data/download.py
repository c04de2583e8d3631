"""From a source to one cleaned table of reviews, with a count of what was dropped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from lib.console import log
from lib.data import reviews
from lib.data.near_duplicates import repetitions
from lib.data.sampling import stratified
from lib.data.sources import SOURCES
from lib.files import write_json, write_parquet

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
    table = reviews.assemble(found.tables, text_column, label_column, labels, where)
    cleaned, dropped = reviews.clean(table)
    repeated = repetitions(reviews.texts(cleaned), cleaned.num_rows, near_duplicates)
    distinct = cleaned.filter(pa.array(~repeated))
    classes = distinct["label"].to_numpy()
    reviews.class_counts(classes, len(labels or ()))
    kept = distinct
    if limit and limit < distinct.num_rows:
        (sample,) = stratified(classes, [limit], SAMPLE_SEED)
        kept = distinct.take(sample)
    dropped["near_duplicates"] = int(repeated.sum())
    dropped["beyond_limit"] = distinct.num_rows - kept.num_rows
    description = {
        "source": found.name,
        "revision": found.revision,
        "sha256": found.digests,
        "rows": table.num_rows,
        "dropped": dropped,
        "reviews": kept.num_rows,
        "classes": reviews.class_counts(kept["label"].to_numpy()),
        "labels": labels,
    }
    write_parquet(out / "reviews.parquet", kept)
    write_json(out / "reviews.json", description)
    log.info("%d of %d rows kept; dropped: %s", kept.num_rows, table.num_rows, dropped)
