"""Draw the figures of tables: each as SVG for pages, and as an interactive page in one file."""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.flags import add_flags, add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--tables", required=True, nargs="+", type=Path, help="tables to show")
    add_shared_flags(flags, "--noun")
    add_flags(flags, "analysis", keys=("metric",))
    flags.add_argument("--out", required=True, type=Path, help="folder of the figures")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the files."""
    from lib.page.drawing import draw

    draw(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
