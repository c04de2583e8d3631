"""All runs of a study in two tables: what they measured and how they were trained; their epochs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lib.analysis.results import SETTING, key_columns, read_all, read_measured
from lib.analysis.tuning import with_settings
from lib.command.console import log
from lib.files.manifests import reading
from lib.files.tables import write_table
from lib.study.runs import KEYS, Run
from lib.study.schema import word

SPLITS = ("train", "valid")
MEASURES = ("accuracy", "loss")
OF_RUNS = ["learned", "setting", "chosen"]
COLUMNS = [f"{split}_{measure}" for split in SPLITS for measure in MEASURES]


def collect(runs: Sequence[Path], out: Path, tuned: bool = False) -> None:
    """Write the tables runs and histories, in the order given.

    Args:
        runs: folders of the runs.
        out: folder of the tables.
        tuned: whether variants that differ in the learning rate alone are one setting.
    """
    measured, histories = read_all(runs, read_measured), read_all(runs, read_history)
    table = with_settings(runs_table(measured), tuned)
    write_table(out, "runs", table)
    write_table(out, "histories", histories_table(histories, table))
    log.info("%d runs in %s", len(runs), out)


def runs_table(measured: dict[Run, dict[str, Any]]) -> pd.DataFrame:
    """A row per run: its keys, whether it learned or diverged, all that was measured, its settings.

    A setting that is a word in some runs is text in all, as in `settings.micro_batch`.
    """
    table = pd.DataFrame(measured.values())
    columns = table.select_dtypes(["number", "bool"]).columns.difference(KEYS, sort=False)
    settings = pd.DataFrame(one.get("settings", {}) for one in measured.values())
    mixed = [name for name in settings if settings[name].dtype == object]
    settings[mixed] = settings[mixed].map(word)
    return key_columns(measured).join([table[columns], settings.add_prefix(SETTING)])


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
