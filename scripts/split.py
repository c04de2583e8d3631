"""Divide reviews into training, validation and test splits: stratified, disjoint, seeded."""

import argparse
from pathlib import Path

from lib.cli import Parser, run, seed

SPLITS = ("TRAIN", "VALID", "TEST")


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--reviews", required=True, type=Path, help="reviews.parquet")
    flags.add_argument(
        "--ratios",
        nargs=3,
        type=float,
        default=[8, 1, 1],
        metavar=SPLITS,
        help="shares of the splits",
    )
    flags.add_argument(
        "--sizes",
        nargs=3,
        type=int,
        metavar=SPLITS,
        help="numbers of reviews, instead of ratios",
    )
    flags.add_argument("--seed", type=seed, default=42, help="seed of the division")
    flags.add_argument("--out", required=True, type=Path, help="folder of the three Parquet files")
    flags.add_argument("--counts", required=True, type=Path, help="JSON file for the sizes")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the splits and a JSON file of their sizes."""
    from lib.data.splitting import split

    split(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
