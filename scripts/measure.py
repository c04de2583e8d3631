"""Measure every run and baseline on the test split, and each setting over its seeds.

It writes measures.csv (a row per run: accuracy with Wilson interval, F1, calibration),
settings.csv (a row per setting: mean, deviation and interval over seeds), classes.csv
(precision, recall and F1 by class), confusion.csv and reliability.csv.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import Parser, log, run
from lib.flags import add_flags

if TYPE_CHECKING:
    import pandas as pd

MEANS = ["loss", "macro_f1", "calibration_error", "brier", "valid_accuracy", "train_seconds"]


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_flags(flags, "--table", "--runs", "--baselines")
    flags.add_argument("--out", required=True, type=Path, help="folder of the tables")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the tables."""
    import pandas as pd

    from lib.predictions import read_predictions
    from lib.study import find_representatives, read_all, read_measured, stack, write_table

    chosen = find_representatives(options.table, options.runs)
    folders = [*options.runs, *options.baselines]
    measured = read_all(folders, read_measured)
    predictions = read_all(folders, read_predictions)
    bins = {key: reliability_bins(found) for key, found in predictions.items()}
    rows = {
        key: pd.DataFrame([measure(measured[key], predictions[key], bins[key])]) for key in measured
    }
    measures = stack(rows, chosen)
    write_table(options.out / "measures.csv", measures)
    write_table(options.out / "settings.csv", settings(measures))
    write_table(options.out / "reliability.csv", stack(bins, chosen))
    for name, table in (("classes", classes), ("confusion", confusion)):
        tables = {key: table(found) for key, found in predictions.items()}
        write_table(options.out / f"{name}.csv", stack(tables, chosen))
    log.info("%d runs and baselines measured", len(measures))


def measure(
    measured: dict[str, Any], predictions: "pd.DataFrame", bins: "pd.DataFrame"
) -> dict[str, Any]:
    """What measures.csv says of one run."""
    from lib.statistics import brier, calibration_error, proportion
    from lib.study import trained

    right = predictions["label"] == predictions["prediction"]
    accuracy = proportion(int(right.sum()), len(right))
    return {
        "trained": trained(measured["association_p"]),
        "association_p": measured["association_p"],
        "n": len(right),
        "accuracy": accuracy.value,
        "low": accuracy.low,
        "high": accuracy.high,
        "loss": measured["loss"],
        "macro_f1": measured["macro_f1"],
        "calibration_error": calibration_error(bins),
        "brier": brier(right.to_numpy(), predictions["confidence"].to_numpy()),
        "valid_accuracy": measured["valid_accuracy"],
        "train_seconds": measured["train_seconds"],
    }


def settings(measures: "pd.DataFrame") -> "pd.DataFrame":
    """One row per setting: the mean over its seeds, with a t-interval; of one seed, Wilson's."""
    import pandas as pd

    from lib.statistics import mean_over_seeds
    from lib.study import SETTING

    rows = []
    for names, group in measures.groupby(SETTING, sort=False):
        accuracy = group["accuracy"].to_numpy()
        seeds = len(group)
        only = group.iloc[0]
        low, high = mean_over_seeds(accuracy)[1:] if seeds > 1 else (only["low"], only["high"])
        rows.append(
            {
                **dict(zip(SETTING, names, strict=True)),
                "seeds": seeds,
                "trained": int(group["trained"].sum()),
                "accuracy": accuracy.mean(),
                "deviation": group["accuracy"].std(ddof=1),
                "low": low,
                "high": high,
                "interval": "t over seeds" if seeds > 1 else "Wilson",
                **group[MEANS].mean(skipna=False),
            }
        )
    return pd.DataFrame(rows)


def reliability_bins(predictions: "pd.DataFrame") -> "pd.DataFrame":
    """Accuracy by confidence, for one run."""
    from lib.statistics import reliability

    right = predictions["label"] == predictions["prediction"]
    return reliability(right.to_numpy(), predictions["confidence"].to_numpy())


def classes(predictions: "pd.DataFrame") -> "pd.DataFrame":
    """Precision, recall and F1 by class, for one run."""
    import pandas as pd
    from sklearn.metrics import precision_recall_fscore_support

    labels = sorted(predictions["label"].unique())
    scores = precision_recall_fscore_support(
        predictions["label"], predictions["prediction"], labels=labels, zero_division=0
    )
    names = ("precision", "recall", "f1", "n")
    return pd.DataFrame({"label": labels, **dict(zip(names, scores, strict=True))})


def confusion(predictions: "pd.DataFrame") -> "pd.DataFrame":
    """How many reviews of each label got each prediction, for one run."""
    import pandas as pd
    from sklearn.metrics import confusion_matrix

    labels = sorted(predictions["label"].unique())
    counts = confusion_matrix(predictions["label"], predictions["prediction"], labels=labels)
    table = pd.DataFrame(counts, labels, pd.Index(labels, name="prediction"))
    return table.rename_axis("label").stack().rename("n").reset_index()


if __name__ == "__main__":
    run(main, arguments())
