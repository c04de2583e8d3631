"""Answer the questions of a study from its comparisons: sentences by rule, with their evidence."""

import argparse
from pathlib import Path

from lib.cli import Parser, add_shared_flags, run

TABLES = {
    "runs": "collect.py",
    "measures": "measure.py",
    "conditions": "measure.py",
    "comparisons": "compare.py",
    "over-seeds": "compare.py",
}


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    for name, command in TABLES.items():
        flags.add_argument(f"--{name}", required=True, type=Path, help=f"table of {command}")
    add_shared_flags(flags, "--out")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the table findings: a row per answer."""
    from lib.analysis.findings import answer

    answer(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
