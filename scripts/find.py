"""Answer the questions of a study from its comparisons: sentences by rule, with their evidence."""

import argparse
import json
from pathlib import Path

from lib.cli import Parser, mapping, run


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    for name, script in (
        ("measures", "measure.py"),
        ("settings", "measure.py"),
        ("comparisons", "compare.py"),
        ("over-seeds", "compare.py"),
    ):
        flags.add_argument(f"--{name}", required=True, type=Path, help=f"table of {script}")
    flags.add_argument(
        "--variants",
        required=True,
        nargs="+",
        type=mapping,
        metavar="NAME=JSON",
        help="the training settings of each variant",
    )
    flags.add_argument("--out", required=True, type=Path, help="CSV file to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write one row per answer."""
    from lib.findings import Study, findings
    from lib.study import read_table, write_table

    study = Study(
        measures=read_table(options.measures),
        settings=read_table(options.settings),
        comparisons=read_table(options.comparisons),
        over_seeds=read_table(options.over_seeds),
        variants={name: json.loads(changes) for name, changes in options.variants},
    )
    write_table(options.out, findings(study))


if __name__ == "__main__":
    run(main, arguments())
