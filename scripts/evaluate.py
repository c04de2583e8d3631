"""Test the best checkpoint of a run.

Writes predictions.parquet, probabilities.parquet and test.json into the run's folder, and the
model card, README.md, into its checkpoint.
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.flags import add_flags, pop_settings
from lib.study.schema import keys_that
from lib.training import gpus


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--tokens", required=True, type=Path, help="the tokenized test split")
    flags.add_argument(
        "--vectors", type=Path, help="test.parquet of vectors.py, in place of passes of the encoder"
    )
    flags.add_argument("--run", required=True, type=Path, help="folder that train.py wrote")
    flags.add_argument(
        "--reviews", type=Path, help="reviews.json of the dataset, whose licence the card tells"
    )
    add_flags(flags, "training", keys_that("tested"))
    return flags


def main(options: argparse.Namespace) -> None:
    """Predict every test review once, and measure."""
    settings = pop_settings(options, "training")
    gpus.claim(settings["device"])
    from lib.training.evaluation import evaluate

    evaluate(**vars(options), settings=settings)


if __name__ == "__main__":
    run(main, arguments())
