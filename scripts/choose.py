"""Choose the learning rate of each tuned setting by validation, before anything is tested.

It writes tuning (a row per setting and learning rate, with the one that is chosen) and budgets
(what is expected of the best of so many runs in validation).
"""

import argparse

from lib.command.cli import Parser, run
from lib.study.flags import add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_shared_flags(flags, "--runs", "--out")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the tables."""
    from lib.analysis.tuning import choose

    choose(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
