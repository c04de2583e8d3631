"""Compare single runs in pairs on the same test reviews.

It writes comparisons, a row per pair of runs that differ in one key, and per run and baseline:
difference with its interval over reviews, exact McNemar test, agreement.
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
    """Write the table."""
    from lib.analysis.comparisons import compare

    compare(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
