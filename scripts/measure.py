"""Measure every run and baseline on the test split, and each condition over its seeds.

It writes measures (a row per run: accuracy with Wilson interval, F1, calibration), conditions (a
row per condition: mean, deviation and interval over seeds), classes (precision, recall and F1 by
class), confusion and reliability.
"""

import argparse

from lib.command.cli import Parser, run
from lib.study.flags import add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_shared_flags(flags, "--table", "--runs", "--baselines", "--out")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the tables."""
    from lib.analysis.measures import measure

    measure(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
