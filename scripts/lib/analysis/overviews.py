"""The results in the forms of the tables that studies publish: by model, and by batch.

Runs are those of the pooling and setting that stand for each model. Values are means over seeds,
with their standard deviation where there are several; `learned` tells whether all runs behind a
row learned.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lib.analysis.representatives import representatives
from lib.analysis.results import read_baselines
from lib.command.formats import duration, over_seeds
from lib.files.tables import read_table, write_table

BATCH = ["model", "batch"]
ACCURACIES = {
    "Train Accuracy": "train_accuracy",
    "Validation Accuracy": "valid_accuracy",
    "Test Accuracy": "accuracy",
}


def write_overviews(table: Path, baselines: Sequence[Path], out: Path) -> None:
    """Write accuracy_by_model, best_epoch_by_model, accuracy_by_batch and loss_by_batch.

    Args:
        table: the table runs.
        baselines: folders of the baselines.
        out: folder of the tables.
    """
    runs = read_table(table)
    chosen = representatives(runs)
    classical = read_baselines(baselines)
    own = ["model", "pooling", "setting"]
    batches = runs[runs["chosen"]].merge(chosen[own], on=own)
    one = batches.merge(chosen[[*own, "batch"]], on=[*own, "batch"])
    write_table(out, "accuracy_by_model", accuracy(pd.concat([one, classical])))
    write_table(out, "best_epoch_by_model", best_epoch(pd.concat([chosen, classical])))
    write_table(out, "accuracy_by_batch", by_batch(pd.concat([batches, classical])))
    write_table(out, "loss_by_batch", loss(pd.concat([batches, classical])))


def accuracy(runs: pd.DataFrame) -> pd.DataFrame:
    """Training, validation and test accuracy per model."""
    return overview(runs, ["model"], ACCURACIES)


def best_epoch(runs: pd.DataFrame) -> pd.DataFrame:
    """Validation accuracy with its epoch, test loss and test accuracy of one run per model."""
    epochs = ["" if pd.isna(epoch) else f"@{epoch:.0f}" for epoch in runs["best_epoch"]]
    table = overview(runs, ["model"], {"test_loss": "loss", "test_acc": "accuracy"})
    valid = [f"{x:.4f}{epoch}" for x, epoch in zip(runs["valid_accuracy"], epochs, strict=True)]
    table.insert(1, "val_acc@epoch", valid)
    return table


def by_batch(runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracies and duration of training per model and effective batch."""
    return overview(runs, BATCH, ACCURACIES | {"Training Durations": "train_seconds"})


def loss(runs: pd.DataFrame) -> pd.DataFrame:
    """Test loss and test accuracy per model and effective batch."""
    return overview(runs, BATCH, {"Test Loss": "loss", "Test Accuracy": "accuracy"})


def overview(runs: pd.DataFrame, keys: list[str], columns: dict[str, str]) -> pd.DataFrame:
    """A row per group of runs; `columns` are measures by their headings."""
    rows = []
    for names, group in runs.groupby(keys, sort=False, dropna=False):
        row = dict(zip(keys, names, strict=True))
        for heading, measure in columns.items():
            show = duration if measure == "train_seconds" else "{:.4f}".format
            row[heading] = over_seeds(group[measure], show)
        rows.append(row | {"learned": group["learned"].all()})
    table = pd.DataFrame(rows, columns=[*keys, *columns, "learned"])
    return table.astype({"learned": bool} | ({"batch": "Int64"} if "batch" in keys else {}))
