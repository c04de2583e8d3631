"""Answer the questions of a study from the predictions of its runs, by rule.

It writes findings (a row per answer: verdict, difference, interval, evidence) and estimates (the
same differences for single models and settings, without verdicts).
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.flags import add_flags, add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_shared_flags(flags, "--table", "--runs", "--baselines", "--out")
    flags.add_argument("--conditions", required=True, type=Path, help="table of measure.py")
    add_flags(flags, "analysis", keys=("margin",))
    return flags


def main(options: argparse.Namespace) -> None:
    """Write both tables."""
    from lib.analysis.findings import answer

    answer(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
