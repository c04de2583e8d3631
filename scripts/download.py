"""Fetch labelled texts, clean them, and write reviews.parquet with a count of what was dropped."""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.config import OF_READING, check_division
from lib.study.flags import add_flags, pop_settings
from lib.study.schema import sources


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    subcommands = flags.add_subparsers(dest="source", required=True, metavar="SOURCE")
    for name, what in sources("dataset").items():
        source = subcommands.add_parser(name, help=what)
        add_flags(source, f"dataset_{name}", without=["name", "noun"])
        add_flags(source, "split", OF_READING)
        source.add_argument("--out", required=True, type=Path, help="folder to write to")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write `reviews.parquet` and `reviews.json` into a folder."""
    from lib.data.download import download

    settings = pop_settings(options, f"dataset_{options.source}")
    division = pop_settings(options, "split")
    check_division(settings, division)
    download(**vars(options), **settings, **division)


if __name__ == "__main__":
    run(main, arguments())
