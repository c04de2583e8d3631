"""Draw one figure from its table: an SVG for pages, and an interactive HTML page in one file."""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.catalog import FIGURE


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("figure", choices=FIGURE, metavar="FIGURE", help=", ".join(FIGURE))
    flags.add_argument("--table", required=True, type=Path, help="the table that it shows")
    flags.add_argument("--library", required=True, type=Path, help="what vega.py wrote")
    flags.add_argument("--svg", required=True, type=Path, help="picture to write")
    flags.add_argument("--html", required=True, type=Path, help="interactive page to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write both files."""
    from lib.page.drawing import draw

    draw(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
