"""Write the summary of a study in Markdown: findings, tables, figures, and what was run."""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.flags import add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--study", required=True, help="name of the study")
    flags.add_argument("--tables", required=True, nargs="+", type=Path, help="tables of the study")
    flags.add_argument("--figures", nargs="*", default=[], type=Path, help="figures to show")
    add_shared_flags(flags, "--runs", "--baselines")
    flags.add_argument("--reviews", required=True, type=Path, help="reviews.json of the dataset")
    flags.add_argument("--splits", required=True, type=Path, help="splits.json of the dataset")
    flags.add_argument(
        "--tokens", required=True, nargs="+", type=Path, help="tokens.json of each model"
    )
    flags.add_argument("--out", required=True, type=Path, help="Markdown file to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the page."""
    from lib.page.summary import write_summary

    write_summary(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
