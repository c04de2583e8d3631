"""All runs of a study in two tables: what they measured and how they were trained; their epochs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lib.analysis.results import key_columns, learned, read_all, read_measured
from lib.console import log
from lib.manifests import reading
from lib.runs import KEYS, Run
from lib.schema import word
from lib.tables import write_table

SPLITS = ("train", "valid")
MEASURES = ("accuracy", "loss")
COLUMNS = [f"{split}_{measure}" for split in SPLITS for measure in MEASURES]
SETTING = "settings."  # begins the columns of training settings


def collect(runs: Sequence[Path], out: Path) -> None:
    """Write the tables runs and histories, in the order given.

    Args:
        runs: folders of the runs.
        out: folder of the tables.
    """
    measured, histories = read_all(runs, read_measured), read_all(runs, read_history)
    write_table(out, "runs", runs_table(measured))
    write_table(out, "histories", histories_table(histories, measured))
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
    keys = key_columns(measured).assign(learned=learned(table["chance_p"]))
    return keys.join([table[columns], settings.add_prefix(SETTING)])


def settings_of_variants(runs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The training settings of each variant, from the table runs."""
    columns = [name for name in runs.columns if name.startswith(SETTING)]
    first = runs.drop_duplicates("variant").set_index("variant")[columns]
    return first.rename(columns=lambda name: name.removeprefix(SETTING)).to_dict("index")


def read_history(folder: Path) -> pd.DataFrame:
    """A row per epoch of a run."""
    path = folder / "history.csv"
    with reading(path):
        history = pd.read_csv(path).astype({"epoch": int, **dict.fromkeys(COLUMNS, float)})
        if history.empty or not path.read_bytes().endswith(b"\n"):
            raise ValueError("it is cut short")
        return history


def histories_table(
    histories: dict[Run, pd.DataFrame], measured: dict[Run, dict[str, Any]]
) -> pd.DataFrame:
    """A row per run, split, measure and epoch, with its `value`, and whether it is `best`.

    Args:
        histories: of the runs, a row per epoch.
        measured: what the files of the runs tell.
    """
    runs = key_columns(histories).assign(
        learned=[bool(learned(measured[run]["chance_p"])) for run in histories],
        best_epoch=[measured[run]["best_epoch"] for run in histories],
    )
    epochs = pd.concat(histories.values(), keys=runs.index, names=["run"]).reset_index("run")
    long = epochs.melt(["run", "epoch"], COLUMNS).sort_values("run", kind="stable")
    long[["split", "measure"]] = long.pop("variable").str.split("_", n=1, expand=True)
    table = runs.join(long.set_index("run"), how="right")
    best = (table["epoch"] == table.pop("best_epoch")) & (table["split"] == "valid")
    return table[[*KEYS, "epoch", "value", "split", "measure"]].assign(
        best=best, learned=table["learned"]
    )
