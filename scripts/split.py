"""Divide reviews into training, validation and test splits: disjoint and seeded."""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.config import OF_READING
from lib.study.flags import add_flags, pop_settings


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--reviews", required=True, type=Path, help="reviews.parquet")
    add_flags(flags, "split", without=OF_READING)
    flags.add_argument("--out", required=True, type=Path, help="folder of the three Parquet files")
    flags.add_argument("--counts", required=True, type=Path, help="JSON file for the sizes")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the splits and a JSON file of their sizes."""
    from lib.data.splitting import split

    split(**pop_settings(options, "split"), **vars(options))


if __name__ == "__main__":
    run(main, arguments())
