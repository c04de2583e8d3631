"""Turn the texts of all splits into token ids, whole, as Parquet files that trainings cut."""

import argparse
import os
from pathlib import Path

from lib.command.cli import Parser, run, threads


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument(
        "--splits", required=True, type=Path, help="folder of train, valid and test.parquet"
    )
    flags.add_argument("--encoder", required=True, type=Path, help="folder of the encoder")
    flags.add_argument("--threads", type=threads, default=os.cpu_count(), help="CPU threads")
    flags.add_argument("--out", required=True, type=Path, help="folder of the token files")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write `train.parquet`, `valid.parquet`, `test.parquet` and `tokens.json` into a folder."""
    from lib.data.tokenization import pretokenize

    pretokenize(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
