"""Write the attention of the last layer of each model for one test review.

It is the mean over the heads, computed by eager attention; special tokens are left out and the
rows brought to a sum of 1 again. One run stands for each model, as in errors.py.
"""

import argparse

from lib.command.cli import Parser, run
from lib.study.flags import add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_shared_flags(flags, "--table", "--runs", "--reviews", "--threads", "--out")
    flags.add_argument(
        "--review",
        type=int,
        help="id of the test review; without it the shortest one that the models disagree on",
    )
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the table attention."""
    from lib.analysis.attention import show_attention

    show_attention(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
