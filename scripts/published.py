"""Set published figures beside the measured runs of the same condition.

A published row and a condition are the same where model, pooling, effective batch and all training
settings agree that the table of published figures has as columns. What a source does not state
agrees with any, and the row is marked as not stated in full.
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.flags import add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--published", required=True, type=Path, help="CSV of published figures")
    flags.add_argument("--conditions", required=True, type=Path, help="table of measure.py")
    add_shared_flags(flags, "--table", "--runs", "--out")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the table published: a row per published row and measured condition."""
    from lib.analysis.published import set_beside

    set_beside(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
