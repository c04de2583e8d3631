"""Tell which learning rates the settings of a study tried, and what trying more is worth.

It writes tuning (a row per setting and rate, with its mean validation accuracy, and whether it is
chosen) and budgets (the validation accuracy that is expected of the best of so many runs).
"""

import argparse

from lib.command.cli import Parser, run
from lib.study.flags import add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_shared_flags(flags, "--table", "--out")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write both tables."""
    from lib.analysis.tuning import tune

    tune(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
