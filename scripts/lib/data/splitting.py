"""Training, validation and test splits: stratified, disjoint, seeded."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from lib.console import UserError, log
from lib.data.reviews import class_counts
from lib.data.sampling import stratified
from lib.files import write_json, write_parquet

SPLITS = ("train", "valid", "test")


def split(
    reviews: Path,
    ratios: Sequence[float],
    sizes: Sequence[int] | None,
    seed: int,
    out: Path,
    counts: Path,
) -> None:
    """Write `train.parquet`, `valid.parquet` and `test.parquet`, and a JSON file of their sizes.

    Args:
        reviews: reviews.parquet.
        ratios: shares of the three splits.
        sizes: numbers of reviews, instead of ratios.
        seed: decides which review goes where, and nothing else does.
        out: folder of the three files.
        counts: the JSON file.
    """
    table = pq.read_table(reviews, columns=["id", "text", "label"], memory_map=True)
    labels = table["label"].to_numpy()
    samples = stratified(labels, sizes or sizes_from_ratios(table.num_rows, ratios), seed)
    found = {}
    for name, rows in zip(SPLITS, samples, strict=True):
        write_parquet(out / f"{name}.parquet", table.take(rows))
        found[name] = {"reviews": len(rows), "classes": class_counts(labels[rows])}
        log.info("%s: %d reviews, per class %s", name, len(rows), found[name]["classes"])
    write_json(counts, {"seed": seed, **found})


def sizes_from_ratios(total: int, ratios: Sequence[float]) -> list[int]:
    """Sizes of the training, validation and test split; the training split takes the rounding.

    Raises:
        UserError: a split would be empty.
    """
    valid, test = (round(total * ratio / sum(ratios)) for ratio in ratios[1:])
    sizes = [total - valid - test, valid, test]
    if min(sizes) < 1:
        raise UserError(f"{total} reviews are too few to split {':'.join(map(str, ratios))}")
    return sizes
