"""Measure what a prediction costs: latency of single texts, texts per second, bytes.

Of each model, pooling and cut one run that learned is timed, with the exports in its folder, and
TF-IDF, which is fitted again; all take turns, so that ratios hold whatever else the machine does.
Written are serving (a row for each that predicts: parameters, bytes, texts per second, memory) and
latency (a row for each and kind of text: median, 95th percentile, range of the medians of rounds,
ratio to the first).
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.flags import add_flags, add_shared_flags, pop_settings
from lib.training import gpus


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_shared_flags(flags, "--table", "--runs", "--baselines", "--out")
    flags.add_argument("--splits", required=True, type=Path, help="folder of the split reviews")
    flags.add_argument(
        "--encoders",
        required=True,
        nargs="+",
        type=Path,
        help="folders of the encoders, such as model=bert",
    )
    add_flags(flags, "analysis", keys=("latency_lengths",))
    add_flags(flags, "training", ("device", "precision", "threads"))
    return flags


def main(options: argparse.Namespace) -> None:
    """Time all that predicts, and write the tables."""
    settings = pop_settings(options, "training")
    gpus.claim(settings["device"])
    from lib.analysis.latency import latency

    latency(**vars(options), settings=settings)


if __name__ == "__main__":
    run(main, arguments())
