"""Tell how accuracy grows with the number of training reviews.

It writes data_curve: a row per curve, of encoders and baselines, and number of training reviews.
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run
from lib.study.flags import add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument(
        "--conditions", required=True, type=Path, help="table conditions of measure.py"
    )
    add_shared_flags(flags, "--table", "--out")
    flags.add_argument(
        "--baselines",
        nargs="*",
        default=[],
        type=Path,
        help="folders of baselines on samples of the training reviews",
    )
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the table."""
    from lib.analysis.data_curve import data_curve

    data_curve(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
