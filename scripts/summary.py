"""Write what people read of a study.

It writes summary.md (findings, tables, figures, and what was run), the same as a page of HTML,
tables that can be sorted and searched, the first page of the report, and tables for papers in
LaTeX.
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.flags import add_flags, add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--study", required=True, help="name of the study")
    flags.add_argument("--tables", required=True, nargs="+", type=Path, help="tables of the study")
    flags.add_argument("--figures", nargs="*", default=[], type=Path, help="figures to show")
    add_shared_flags(flags, "--runs", "--baselines", "--noun")
    add_flags(flags, "analysis", keys=("metric",))
    flags.add_argument("--reviews", required=True, type=Path, help="reviews.json of the dataset")
    flags.add_argument("--splits", required=True, type=Path, help="splits.json of the dataset")
    flags.add_argument(
        "--tokens", required=True, nargs="+", type=Path, help="tokens.json of each model"
    )
    flags.add_argument("--out", required=True, type=Path, help="folder to write to")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the files."""
    from lib.page.summary import summarise

    summarise(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
