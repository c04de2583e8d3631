"""Training, validation and test splits: stratified, disjoint, seeded."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

from lib.command.console import log
from lib.data.reviews import SCHEMA, class_counts
from lib.data.sampling import RATIOS, divide
from lib.data.streaming import read_reviews, writing
from lib.files.whole import write_json

SPLITS = ("train", "valid", "test")


def split(
    reviews: Path,
    seed: int,
    out: Path,
    counts: Path,
    ratios: Sequence[float] = RATIOS,
    sizes: Sequence[int] | None = None,
) -> None:
    """Write `train.parquet`, `valid.parquet` and `test.parquet`, and a JSON file of their sizes.

    Args:
        reviews: reviews.parquet.
        seed: decides which review goes where, and nothing else does.
        out: folder of the three files.
        counts: the JSON file.
        ratios: shares of the three splits.
        sizes: numbers of reviews, instead of ratios.
    """
    labels = np.concatenate(
        [batch["label"].to_numpy() for batch in read_reviews(reviews, ["label"])]
    )
    samples = divide(labels, seed, ratios, sizes)
    found = {}
    for name, rows in zip(SPLITS, samples, strict=True):
        found[name] = {"reviews": len(rows), "classes": class_counts(labels[rows])}
        log.info("%s: %d reviews, per class %s", name, len(rows), found[name]["classes"])
    write_splits(reviews, [np.isin(np.arange(len(labels)), rows) for rows in samples], out)
    write_json(counts, {"seed": seed, **found})


def write_splits(reviews: Path, masks: Sequence[np.ndarray], out: Path) -> None:
    """Write the rows of each split, marked by `(n,)` booleans, in one pass over the reviews."""
    schema = pa.schema([SCHEMA.field(name) for name in ("id", "text", "label")])
    with ExitStack() as files:
        writers = [files.enter_context(writing(out / f"{name}.parquet", schema)) for name in SPLITS]
        start = 0
        for batch in read_reviews(reviews, schema.names):
            stop = start + batch.num_rows
            for write, mask in zip(writers, masks, strict=True):
                write(batch.filter(pa.array(mask[start:stop])).cast(schema))
            start = stop
