"""All runs of a study in tables: what they measured, how they were trained, their epochs, costs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lib.analysis.costs import costs
from lib.analysis.results import SETTING, key_columns, read_all, read_measured
from lib.analysis.tuning import budgets, rates_tried, with_settings
from lib.command.console import log
from lib.files.manifests import reading
from lib.files.tables import write_table
from lib.study.runs import KEYS, Run
from lib.study.schema import word

SPLITS = ("train", "valid")
MEASURES = ("accuracy", "loss")
OF_RUNS = ["learned", "setting", "chosen"]
COLUMNS = [f"{split}_{measure}" for split in SPLITS for measure in MEASURES]


def collect(runs: Sequence[Path], logs: Path, tuned: bool, out: Path) -> None:
    """Write the tables runs, histories and costs; of a study that is tuned, tuning and budgets.

    Args:
        runs: folders of the runs, in the order of the tables.
        logs: folder of the logs of all jobs.
        tuned: whether variants that differ in the learning rate alone are one setting.
        out: folder of the tables.
    """
    measured, histories = read_all(runs, read_measured), read_all(runs, read_history)
    table = with_settings(runs_table(measured), tuned)
    tables = {"runs": table, "histories": histories_table(histories, table)}
    tables["costs"] = costs(table, logs)
    if tuned:
        tables |= {"tuning": rates_tried(table), "budgets": budgets(table)}
    for name, rows in tables.items():
        write_table(out, name, rows)
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
