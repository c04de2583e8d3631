"""Label texts with a trained run: one JSON object with label and confidence per text.

Texts come from --text, from --file or, without either, from standard input, one on each line.
Of a table, the labels of a column are printed; --out writes them to a file with the texts, all of
it at once, and goes on where the same command was interrupted.
"""

import argparse
import os
from pathlib import Path

from lib.command.cli import Parser, positive, run
from lib.study.flags import add_flags, pop_settings

FILE = (
    "texts: a CSV, TSV, JSON Lines or Parquet file, told by its name, or one on each line, in UTF-8"
)
OUT = "CSV, JSON Lines or Parquet file to write, told by its name, with the texts of --file"
FORM = ["text_column", "quote", "escape"]


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("run", type=Path, help="folder of a run, or a checkpoint in it")
    source = flags.add_mutually_exclusive_group()
    source.add_argument("--text", nargs="+", help="the texts themselves")
    source.add_argument("--file", type=Path, help=FILE)
    flags.add_argument("--out", type=Path, help=OUT)
    flags.add_argument(
        "--probabilities", action="store_true", help="tell those of all classes in each line"
    )
    flags.add_argument("--batch", type=positive, default=32, help="texts per forward pass")
    add_flags(flags, "training", ["device", "precision", "threads"])
    add_flags(flags, "dataset_files", FORM)
    flags.set_defaults(threads=os.cpu_count(), paths=["texts"])  # which the section asks for
    return flags


def main(options: argparse.Namespace) -> None:
    """Print a line of JSON for each text, as soon as its batch is done, or write a file."""
    settings = pop_settings(options, "training")
    form = pop_settings(options, "dataset_files")
    from lib.training.labelling import label_texts

    label_texts(**vars(options), form=form, settings=settings)


if __name__ == "__main__":
    run(main, arguments())
