"""Write the main table and the findings in LaTeX, with the cells of the summary, for papers."""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.flags import add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument(
        "--tables",
        required=True,
        nargs="+",
        type=Path,
        help="the table runs, and the table findings where it is made",
    )
    add_shared_flags(flags, "--baselines")
    flags.add_argument("--out", required=True, type=Path, help="folder of the tables")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the tables."""
    from lib.page.latex import write_latex

    write_latex(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
