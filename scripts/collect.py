"""Collect runs into one table: a row per run, with its keys and every number that was measured."""

import argparse
import math
from pathlib import Path
from typing import Any

from lib.cli import Parser, log, read_json, replacing, run
from lib.runs import KEYS


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--runs", required=True, nargs="+", type=Path, help="folders of the runs")
    flags.add_argument("--out", required=True, type=Path, help="CSV file to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write one row per run, in the order given."""
    import pandas as pd

    rows = [read_run(folder) for folder in options.runs]
    table = pd.DataFrame(rows)
    numbers = table.select_dtypes("number").columns.difference(KEYS, sort=False)
    with replacing(options.out) as path:
        table[[*KEYS, *numbers]].to_csv(path, index=False)
    log.info("%d runs in %s", len(rows), options.out)


def read_run(folder: Path) -> dict[str, Any]:
    """What training and test of one run measured; a number that was not finite is NaN."""
    measured = read_json(folder / "train.json") | read_json(folder / "test.json")
    return {key: math.nan if value is None else value for key, value in measured.items()}


if __name__ == "__main__":
    run(main, arguments())
