"""Map the sentence vectors of a sample of test reviews to the plane by t-SNE, for each model.

One run stands for each model, as in errors.py; the sample is the same for all. It writes tsne (a
row per model and review) and boundary_errors: wrongly labelled reviews that lie on the map where
the labels meet.
"""

import argparse

from lib.command.cli import Parser, positive, run, seed
from lib.study.flags import add_shared_flags


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_shared_flags(flags, "--table", "--runs", "--reviews", "--tokens", "--threads", "--out")
    flags.add_argument("--sample", type=positive, default=500, help="reviews on the map, at most")
    flags.add_argument("--seed", type=seed, default=42, help="seed of sample and t-SNE")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write both tables."""
    from lib.analysis.maps import map_reviews

    map_reviews(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
