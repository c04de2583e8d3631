"""Train and test a classical baseline: TF-IDF with logistic regression, tuned on validation.

It writes predictions.parquet, probabilities.parquet and test.json, as the test of an encoder does.
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, positive, run, seed
from lib.study.flags import add_flags, pop_settings


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--splits", required=True, type=Path, help="folder of the split reviews")
    flags.add_argument(
        "--encoder", type=Path, help="read what this encoder is fed, not the full text"
    )
    add_flags(flags, "training", ("max_length", "truncation", "choose_by"))
    flags.add_argument(
        "--examples",
        type=positive,
        help="training reviews to learn from: those of a run with this setting, and with --seed",
    )
    flags.add_argument("--seed", type=seed, help="of the run, which decides these reviews")
    flags.add_argument(
        "--out",
        required=True,
        type=Path,
        help="folder to write, such as baselines/dataset=imdb/text=full",
    )
    return flags


def main(options: argparse.Namespace) -> None:
    """Fit every setting, keep the best on the validation split, test it once."""
    from lib.analysis.baseline import train_baseline

    settings = pop_settings(options, "training")
    train_baseline(**vars(options), **settings)


if __name__ == "__main__":
    run(main, arguments())
