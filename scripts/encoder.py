"""Bring an encoder into one folder: from the hub, a package, a local folder, or from scratch.

It is tried once, and refused if it can't be used.
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, length, run
from lib.study.flags import add_flags, pop_settings
from lib.study.schema import poolings, sources


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    subcommands = flags.add_subparsers(dest="source", required=True, metavar="SOURCE")
    for name, what in sources("model").items():
        source = subcommands.add_parser(name, help=what)
        add_flags(source, f"model_{name}")
        source.add_argument(
            "--max-length", type=length, default=16, help="tokens of the longest input to try"
        )
        source.add_argument(
            "--poolings", nargs="*", default=[], choices=poolings(), help="asked of the encoder"
        )
        source.add_argument("--out", required=True, type=Path, help="folder to write to")
    subcommands.choices["scratch"].add_argument(
        "--reviews", required=True, type=Path, help="train.parquet, for the tokenizer to learn from"
    )
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the folder, whole or not at all."""
    from lib.data.encoder_sources import bring

    settings = pop_settings(options, f"model_{options.source}")
    asked = {key: vars(options).pop(key) for key in ("max_length", "poolings")}

    def check(folder: Path, name: str) -> None:
        from lib.training.probe import probe  # torch, which a failed download does without

        probe(folder, name, **asked)

    bring(**vars(options), check=check, **settings)


if __name__ == "__main__":
    run(main, arguments())
