"""Analyse the predictions of all runs: measure, compare, answer the questions of the study.

With --statistics it writes measures (a row per run), conditions (over seeds), reliability, classes,
confusion, comparisons (pairs of runs), findings (a row per answer: verdict, difference, interval,
evidence) and estimates; data_curve where runs learn from samples; published where there are
published figures. With --errors it writes confident_errors, shared_errors, disagreements and
lengths (accuracy by the length of the texts).
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.flags import add_flags, add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    names = ("--table", "--runs", "--baselines", "--samples", "--reviews", "--tokens")
    add_shared_flags(flags, *names, "--noun", "--out")
    flags.add_argument("--published", type=Path, help="CSV of published figures to set beside")
    add_flags(flags, "analysis", keys=("statistics", "errors", "metric", "margin"))
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the tables."""
    from lib.analysis.analyse import analyse

    analyse(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
