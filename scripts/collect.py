"""Collect runs into tables.

It writes runs.csv (a row per run, with its keys and every number that was measured) and
histories.csv (a row per run, epoch, split and measure).
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lib.cli import Parser, log, read_json, run
from lib.flags import add_flags
from lib.runs import KEYS, run_of

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "valid")
MEASURES = ("accuracy", "loss")


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_flags(flags, "--runs")
    flags.add_argument("--out", required=True, type=Path, help="folder of the tables")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write one row per run, in the order given, and its epochs."""
    import pandas as pd

    from lib.study import read_all, read_measured, write_table

    measured = read_all(options.runs, read_measured)
    table = pd.DataFrame(measured.values())
    numbers = table.select_dtypes("number").columns.difference(KEYS, sort=False)
    write_table(options.out / "runs.csv", table[[*KEYS, *numbers]])
    epochs = pd.concat(read_history(folder) for folder in options.runs)
    write_table(options.out / "histories.csv", epochs)
    log.info("%d runs in %s", len(table), options.out)


def read_history(folder: Path) -> "pd.DataFrame":
    """One row per epoch, split and measure of a run, with its `value`, and whether it is `best`."""
    import pandas as pd

    history = pd.read_csv(folder / "history.csv")
    columns = [f"{split}_{measure}" for split in SPLITS for measure in MEASURES]
    long = history.melt(["epoch"], columns)
    long[["split", "measure"]] = long.pop("variable").str.split("_", n=1, expand=True)
    best = read_json(folder / "train.json")["best_epoch"]
    long["best"] = (long["epoch"] == best) & (long["split"] == "valid")
    return pd.DataFrame([run_of(folder)._asdict()]).merge(long, how="cross")


if __name__ == "__main__":
    run(main, arguments())
