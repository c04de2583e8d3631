"""Label texts with a trained run: one JSON object with label and confidence per text.

Texts come from --text, from --file or, without either, from standard input, one on each line.
"""

import argparse
import os
from pathlib import Path

from lib.command.cli import Parser, positive, run
from lib.study.flags import add_flags, pop_settings


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("run", type=Path, help="folder of a run, or a checkpoint in it")
    source = flags.add_mutually_exclusive_group()
    source.add_argument("--text", nargs="+", help="the texts themselves")
    source.add_argument("--file", type=Path, help="file of texts, one on each line, in UTF-8")
    flags.add_argument("--batch", type=positive, default=32, help="texts per forward pass")
    add_flags(flags, "training", ["device", "precision", "threads"])
    flags.set_defaults(threads=os.cpu_count())
    return flags


def main(options: argparse.Namespace) -> None:
    """Print a line of JSON for each text, as soon as its batch is done."""
    settings = pop_settings(options, "training")
    from lib.training.labelling import print_labels

    print_labels(**vars(options), settings=settings)


if __name__ == "__main__":
    run(main, arguments())
