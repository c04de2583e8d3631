"""Bring an encoder into one folder: from the hub, a package, a local folder, or from scratch."""

import argparse
from pathlib import Path

from lib.cli import Parser, run
from lib.flags import add_flags, pop_settings
from lib.schema import sources


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    subcommands = flags.add_subparsers(dest="source", required=True, metavar="SOURCE")
    for name, what in sources("model").items():
        source = subcommands.add_parser(name, help=what)
        add_flags(source, f"model_{name}")
        source.add_argument("--out", required=True, type=Path, help="folder to write to")
    subcommands.choices["scratch"].add_argument(
        "--reviews", required=True, type=Path, help="train.parquet, for the tokenizer to learn from"
    )
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the folder, whole or not at all."""
    from lib.data.encoder_sources import bring

    settings = pop_settings(options, f"model_{options.source}")
    bring(**vars(options), **settings)


if __name__ == "__main__":
    run(main, arguments())
