"""Write the results in the forms of the tables that studies publish.

It writes accuracy_by_model, best_epoch_by_model (`val_acc@epoch`), accuracy_by_batch (accuracies
and duration) and loss_by_batch. Runs are those of the pooling and variant that stand for each
model, as in errors.py; values are means over seeds, with their standard deviation where there are
several.
"""

import argparse

from lib.command.cli import Parser, run
from lib.study.flags import add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_shared_flags(flags, "--table", "--baselines", "--out")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the four tables."""
    from lib.analysis.overviews import write_overviews

    write_overviews(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
