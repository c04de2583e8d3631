"""List the test reviews that the encoders get wrong.

One run stands for each model: of the condition with the highest validation accuracy in the mean
over seeds, the run nearest to the median. It writes confident_errors (every error of each, the
most confident first), shared_errors (reviews that all of them get wrong, candidates for errors of
the labels) and disagreements (reviews that one gets right and another wrong).
"""

import argparse

from lib.command.cli import Parser, run
from lib.study.flags import add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_shared_flags(flags, "--table", "--runs", "--reviews", "--out")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the three tables."""
    from lib.analysis.errors import list_errors

    list_errors(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
