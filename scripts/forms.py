"""Write the results in the forms of the tables that studies publish.

Runs are those of the pooling and variant that stand for each model, as in errors.py. It writes
form_accuracy.csv (accuracies per model), form_best_epoch.csv (`val_acc@epoch`), form_batch.csv
(accuracies and duration by effective batch) and form_loss.csv (test loss and accuracy by batch).
Values are means over seeds, with their standard deviation where there are several.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lib.cli import Parser, run
from lib.flags import add_flags

if TYPE_CHECKING:
    import pandas as pd

BATCH = ["model", "batch"]
ACCURACIES = {
    "Train Accuracy": "train_accuracy",
    "Validation Accuracy": "valid_accuracy",
    "Test Accuracy": "accuracy",
}


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_flags(flags, "--table", "--baselines")
    flags.add_argument("--out", required=True, type=Path, help="folder of the tables")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the four tables."""
    import pandas as pd

    from lib.study import read_baselines, read_table, representatives, write_table

    runs = read_table(options.table)
    chosen = representatives(runs)
    baselines = read_baselines(options.baselines)
    own = ["model", "pooling", "variant"]
    batches = runs.merge(chosen[own], on=own)
    one = batches.merge(chosen[[*own, "batch"]], on=[*own, "batch"])
    tables = {
        "accuracy": accuracy(pd.concat([one, baselines])),
        "best_epoch": best_epoch(pd.concat([chosen, baselines])),
        "batch": by_batch(pd.concat([batches, baselines])),
        "loss": loss(pd.concat([batches, baselines])),
    }
    for name, table in tables.items():
        write_table(options.out / f"form_{name}.csv", table)


def accuracy(runs: "pd.DataFrame") -> "pd.DataFrame":
    """Training, validation and test accuracy per model."""
    return form(runs, ["model"], ACCURACIES)


def best_epoch(runs: "pd.DataFrame") -> "pd.DataFrame":
    """Validation accuracy with its epoch, test loss and test accuracy of one run per model."""
    import pandas as pd

    epochs = ["" if pd.isna(epoch) else f"@{epoch:.0f}" for epoch in runs["best_epoch"]]
    table = form(runs, ["model"], {"test_loss": "loss", "test_acc": "accuracy"})
    valid = [f"{x:.4f}{epoch}" for x, epoch in zip(runs["valid_accuracy"], epochs, strict=True)]
    table.insert(1, "val_acc@epoch", valid)
    return table


def by_batch(runs: "pd.DataFrame") -> "pd.DataFrame":
    """Accuracies and duration of training per model and effective batch."""
    return form(runs, BATCH, ACCURACIES | {"Training Durations": "train_seconds"})


def loss(runs: "pd.DataFrame") -> "pd.DataFrame":
    """Test loss and test accuracy per model and effective batch."""
    return form(runs, BATCH, {"Test Loss": "loss", "Test Accuracy": "accuracy"})


def form(runs: "pd.DataFrame", keys: list[str], columns: dict[str, str]) -> "pd.DataFrame":
    """A row per group of runs; `columns` are measures by their headings."""
    import pandas as pd

    from lib.text import duration, over_seeds

    rows = []
    for names, group in runs.groupby(keys, sort=False, dropna=False):
        row = dict(zip(keys, names, strict=True))
        for heading, measure in columns.items():
            show = duration if measure == "train_seconds" else "{:.4f}".format
            row[heading] = over_seeds(group[measure], show)
        rows.append(row)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    run(main, arguments())
