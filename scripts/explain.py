"""Show what trained encoders do: a map of test reviews, and the attention in one of them.

One run stands for each model: of the condition with the best validation in the mean over seeds, by
the measure that chooses its epochs, the run nearest to the median. With --tsne it writes tsne (a
row per model and review of a sample, the same for all) and boundary_errors (wrongly labelled
reviews that lie on the map where the labels meet); with --attention it writes attention: that of
the last layer, the mean over the heads, special tokens left out and the rows brought to a sum of 1
again.
"""

import argparse

from lib.command.cli import Parser, run
from lib.study.flags import add_flags, add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_shared_flags(flags, "--table", "--runs", "--reviews", "--tokens", "--threads", "--out")
    add_flags(flags, "analysis", keys=("tsne", "attention", "sample", "seed", "review"))
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the tables."""
    from lib.analysis.explain import explain

    explain(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
