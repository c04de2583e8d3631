"""Compare runs in pairs on the same test reviews, and conditions over their seeds.

It writes comparisons (a row per pair of runs: exact McNemar test, bootstrap interval, agreement)
and comparisons_over_seeds (a row per pair of conditions with two shared seeds or more: paired
t-test).
"""

import argparse

from lib.cli import Parser, add_shared_flags, run, seed


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_shared_flags(flags, "--runs", "--baselines", "--out")
    flags.add_argument("--seed", type=seed, default=42, help="seed of the bootstrap")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write both tables."""
    from lib.analysis.comparisons import compare

    compare(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
