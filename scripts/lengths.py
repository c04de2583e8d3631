"""Measure accuracy by the length of the test reviews: in fifths by words, and truncated or whole.

Words are those between white space, the same for all models; a review is truncated where it has
more tokens than the encoder was given of it.
"""

import argparse

from lib.command.cli import Parser, run
from lib.study.flags import add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_shared_flags(flags, "--table", "--runs", "--baselines", "--reviews", "--tokens", "--out")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the table lengths: a row per run and group of reviews."""
    from lib.analysis.lengths import measure_by_length

    measure_by_length(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
