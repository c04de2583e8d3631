"""All runs of a study in tables: what they measured, how they were trained, their epochs, costs."""

from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import pandas as pd

from lib.analysis.costs import costs
from lib.analysis.results import read_all, read_tested, read_trained, runs_table
from lib.analysis.tuning import ADDED, with_settings
from lib.command.console import log
from lib.files.manifests import reading
from lib.files.tables import write_table
from lib.study.runs import KEYS, Run

SPLITS = ("train", "valid")
MEASURES = ("accuracy", "loss")
OF_RUNS = ["learned", "setting", "chosen"]
COLUMNS = [f"{split}_{measure}" for split in SPLITS for measure in MEASURES]


def collect(runs: Sequence[Path], logs: Path, tuned: bool, out: Path) -> None:
    """Write the tables runs, histories and costs.

    What tests tell is missing of runs at learning rates that are neither chosen nor compared,
    whether there are tests of them or not.

    Args:
        runs: folders of the runs, in the order of the tables.
        logs: folder of the logs of all jobs.
        tuned: whether variants that differ in the learning rate alone are one setting.
        out: folder of the tables.
    """
    trained, histories = read_all(runs, read_trained), read_all(runs, read_history)
    settings = with_settings(runs_table(trained), tuned)[ADDED]
    tested = read_all(compress(runs, settings["tested"]), read_tested)
    table = runs_table({run: told | tested.get(run, {}) for run, told in trained.items()})
    table = table.join(settings)
    if tuned:
        table = table.astype({"n": "Int64"})  # which may be missing
    tables = {"runs": table, "histories": histories_table(histories, table)}
    tables["costs"] = costs(table, logs)
    for name, rows in tables.items():
        write_table(out, name, rows)
    log.info("%d runs in %s", len(runs), out)


def read_history(folder: Path) -> pd.DataFrame:
    """A row per epoch of a run."""
    path = folder / "history.csv"
    with reading(path):
        history = pd.read_csv(path).astype({"epoch": int, **dict.fromkeys(COLUMNS, float)})
        if history.empty or not path.read_bytes().endswith(b"\n"):
            raise ValueError("it is cut short")
        return history


def histories_table(histories: dict[Run, pd.DataFrame], runs: pd.DataFrame) -> pd.DataFrame:
    """A row per run, split, measure and epoch, with its `value`, and whether it is `best`.

    Args:
        histories: of the runs, a row per epoch.
        runs: the table runs, in the same order.
    """
    runs = runs[[*KEYS, *OF_RUNS, "best_epoch"]]
    epochs = pd.concat(histories.values(), keys=runs.index, names=["run"]).reset_index("run")
    long = epochs.melt(["run", "epoch"], COLUMNS).sort_values("run", kind="stable")
    long[["split", "measure"]] = long.pop("variable").str.split("_", n=1, expand=True)
    table = runs.join(long.set_index("run"), how="right")
    best = (table["epoch"] == table.pop("best_epoch")) & (table["split"] == "valid")
    return table[[*KEYS, *OF_RUNS, "epoch", "value", "split", "measure"]].assign(best=best)
