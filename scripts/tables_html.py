"""Turn tables into one HTML file in which they can be sorted and searched without a network.

Browsers show no page of over 2 MB inside a report, so of long tables the first rows are shown and
of long texts the beginning.
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--tables", required=True, nargs="+", type=Path, help="Parquet files")
    flags.add_argument("--reviews", required=True, type=Path, help="reviews.json of the dataset")
    flags.add_argument("--out", required=True, type=Path, help="HTML file to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the page."""
    from lib.page.html import write_tables

    write_tables(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
