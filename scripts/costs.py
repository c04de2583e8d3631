"""Tell where the seconds of a study went: data, tokenizing, start-up, training, testing, the rest.

The seconds of jobs that ran side by side are added up.
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.flags import add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--logs", required=True, type=Path, help="folder of the logs of all jobs")
    add_shared_flags(flags, "--table", "--out")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the table costs."""
    from lib.analysis.costs import cost

    cost(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
