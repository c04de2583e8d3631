"""Divide reviews into training, validation and test splits: stratified, disjoint, seeded."""

import argparse
from pathlib import Path

from lib.cli import Parser, log, run, seed, write_json


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--reviews", required=True, type=Path, help="reviews.parquet")
    flags.add_argument(
        "--ratios",
        nargs=3,
        type=float,
        default=[8, 1, 1],
        metavar=("TRAIN", "VALID", "TEST"),
        help="shares of the splits",
    )
    flags.add_argument(
        "--sizes",
        nargs=3,
        type=int,
        metavar=("TRAIN", "VALID", "TEST"),
        help="numbers of reviews, instead of ratios",
    )
    flags.add_argument("--seed", type=seed, default=42, help="seed of the division")
    flags.add_argument("--out", required=True, type=Path, help="folder of the three Parquet files")
    flags.add_argument("--counts", required=True, type=Path, help="JSON file for the sizes")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write `train.parquet`, `valid.parquet`, `test.parquet` and a JSON file of their sizes."""
    import pyarrow.parquet as pq

    from lib import reviews

    table = pq.read_table(options.reviews, columns=["id", "text", "label"], memory_map=True)
    labels = table["label"].to_numpy()
    sizes = options.sizes or reviews.sizes_from_ratios(table.num_rows, options.ratios)
    samples = reviews.stratified(labels, sizes, options.seed)
    counts = {}
    for name, rows in zip(("train", "valid", "test"), samples, strict=True):
        reviews.write_table(options.out / f"{name}.parquet", table.take(rows))
        counts[name] = {"reviews": len(rows), "classes": reviews.class_counts(labels[rows])}
        log.info("%s: %d reviews, per class %s", name, len(rows), counts[name]["classes"])
    write_json(options.counts, {"seed": options.seed, **counts})


if __name__ == "__main__":
    run(main, arguments())
