"""Train one classifier, and keep the epoch that validation chooses.

Writes into the run's folder: checkpoint/ (encoder, tokenizer and head), history.csv (a line per
epoch) and train.json (how it was trained, and what was measured); with --keep-checkpoints all,
checkpoints/ as well. Weights & Biases records the run as WANDB_MODE says: offline, online or
disabled.
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, positive, run, seed
from lib.study.flags import add_flags, pop_settings
from lib.study.runs import KEYS
from lib.study.schema import poolings
from lib.training.launch import launched


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument(
        "--tokens", required=True, type=Path, help="folder of train.parquet and valid.parquet"
    )
    flags.add_argument("--encoder", required=True, type=Path, help="folder of the encoder")
    flags.add_argument(
        "--vectors",
        type=Path,
        help="folder that vectors.py wrote, in place of passes of an encoder that is not trained",
    )
    flags.add_argument("--run", required=True, type=Path, help="folder to write to")
    keys = flags.add_argument_group("keys of the run")
    keys.add_argument("--dataset", required=True, help="name of the dataset, for the results")
    keys.add_argument("--model", required=True, help="name of the encoder, for the results")
    keys.add_argument(
        "--pooling",
        required=True,
        choices=poolings(),
        help="how token states become one vector",
    )
    keys.add_argument(
        "--batch", required=True, type=positive, help="effective batch size, in reviews per update"
    )
    keys.add_argument("--variant", default="base", help="name of the settings, for the results")
    keys.add_argument(
        "--seed", required=True, type=seed, help="seed of weights, order of reviews and dropout"
    )
    flags.add_argument("--labels", nargs="+", default=[], help="names of the classes 0, 1, ...")
    add_flags(flags.add_argument_group("training"), "training")
    return flags


def main(options: argparse.Namespace) -> None:
    """Train, in this process or in several that torchrun starts."""
    settings = pop_settings(options, "training")
    keys = {key: vars(options).pop(key) for key in KEYS}
    if not launched(settings["device"], settings["processes"]):
        from lib.training.job import Job, train_run

        train_run(Job(**vars(options), keys=keys, settings=settings))


if __name__ == "__main__":
    run(main, arguments())
