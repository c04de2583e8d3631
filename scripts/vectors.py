"""Compute the sentence vectors of all splits by an encoder that is not trained.

They are what trainings with --freeze encoder compute in each pass, and are computed once for all of
them: as in a test, without dropout. Written are train.parquet, valid.parquet and test.parquet.
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.config import OF_VECTORS
from lib.study.flags import add_flags, pop_settings
from lib.study.schema import poolings
from lib.training import gpus


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--tokens", required=True, type=Path, help="folder of the tokenized splits")
    flags.add_argument("--encoder", required=True, type=Path, help="folder of the encoder")
    flags.add_argument(
        "--pooling", required=True, choices=poolings(), help="how token states become one vector"
    )
    flags.add_argument("--out", required=True, type=Path, help="folder of the files of vectors")
    add_flags(flags, "training", OF_VECTORS)
    return flags


def main(options: argparse.Namespace) -> None:
    """Compute the vector of each review once."""
    settings = pop_settings(options, "training")
    gpus.claim(settings["device"])
    from lib.training.vectors import write_vectors

    write_vectors(**vars(options), settings=settings)


if __name__ == "__main__":
    run(main, arguments())
