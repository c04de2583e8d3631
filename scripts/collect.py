"""Collect runs into tables.

It writes runs (a row per run, with its keys, every number that was measured, its setting and its
training settings), histories (a row per run, epoch, split and measure) and costs (where the seconds
went). With --tuned, the runs at learning rates that are not chosen need no test.
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.flags import add_flags, add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_shared_flags(flags, "--runs", "--out")
    flags.add_argument("--logs", required=True, type=Path, help="folder of the logs of all jobs")
    add_flags(flags, "analysis", keys=("tuned",))
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the tables, in the order of the runs."""
    from lib.analysis.collection import collect

    collect(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
