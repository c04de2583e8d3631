"""What every run and baseline measures on the test split, and every condition over its seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from lib.analysis.representatives import find_representatives
from lib.analysis.results import learned, read_all, read_measured, stack
from lib.analysis.statistics import (
    brier,
    calibration_error,
    mean_over_seeds,
    proportion,
    reliability,
)
from lib.console import log
from lib.predictions import read_predictions
from lib.runs import CONDITION
from lib.tables import write_table

MEANS = ["loss", "macro_f1", "calibration_error", "brier", "valid_accuracy", "train_seconds"]


def measure(table: Path, runs: Sequence[Path], baselines: Sequence[Path], out: Path) -> None:
    """Write the tables measures, conditions, reliability, classes and confusion.

    Args:
        table: the table runs.
        runs: folders of the runs.
        baselines: folders of the baselines.
        out: folder of the tables.
    """
    chosen = find_representatives(table, runs)
    folders = [*runs, *baselines]
    measured = read_all(folders, read_measured)
    predictions = read_all(folders, read_predictions)
    bins = {key: reliability_bins(found) for key, found in predictions.items()}
    rows = {
        key: pd.DataFrame([measure_run(measured[key], predictions[key], bins[key])])
        for key in measured
    }
    measures = stack(rows, chosen)
    write_table(out, "measures", measures)
    write_table(out, "conditions", conditions(measures))
    write_table(out, "reliability", stack(bins, chosen))
    for name, tabulate in (("classes", classes), ("confusion", confusion)):
        tables = {key: tabulate(found) for key, found in predictions.items()}
        write_table(out, name, stack(tables, chosen))
    log.info("%d runs and baselines measured", len(measures))


def measure_run(
    measured: dict[str, Any], predictions: pd.DataFrame, bins: pd.DataFrame
) -> dict[str, Any]:
    """What the table measures says of one run."""
    right = predictions["label"] == predictions["prediction"]
    accuracy = proportion(int(right.sum()), len(right))
    return {
        "learned": learned(measured["chance_p"]),
        "chance_p": measured["chance_p"],
        "diverged": measured.get("diverged", False),  # a baseline can't
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


def conditions(measures: pd.DataFrame) -> pd.DataFrame:
    """One row per condition: the mean over its seeds, with a t-interval; of one seed, Wilson's."""
    rows = []
    for _, group in measures.groupby(CONDITION, sort=False, dropna=False):
        accuracy = group["accuracy"].to_numpy()
        seeds = len(group)
        only = group.iloc[0]
        low, high = mean_over_seeds(accuracy)[1:] if seeds > 1 else (only["low"], only["high"])
        rows.append(
            {
                **only[CONDITION],
                "seeds": seeds,
                "learned": int(group["learned"].sum()),
                "accuracy": accuracy.mean(),
                "deviation": group["accuracy"].std(ddof=1),
                "low": low,
                "high": high,
                "interval": "t over seeds" if seeds > 1 else "Wilson",
                **group[MEANS].mean(skipna=False),
            }
        )
    return pd.DataFrame(rows).astype({"batch": "Int64"})


def reliability_bins(predictions: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by confidence, for one run."""
    right = predictions["label"] == predictions["prediction"]
    return reliability(right.to_numpy(), predictions["confidence"].to_numpy())


def classes(predictions: pd.DataFrame) -> pd.DataFrame:
    """Precision, recall and F1 by class, for one run."""
    labels = sorted(predictions["label"].unique())
    scores = precision_recall_fscore_support(
        predictions["label"], predictions["prediction"], labels=labels, zero_division=0
    )
    names = ("precision", "recall", "f1", "n")
    return pd.DataFrame({"label": labels, **dict(zip(names, scores, strict=True))})


def confusion(predictions: pd.DataFrame) -> pd.DataFrame:
    """How many reviews of each label got each prediction, for one run."""
    labels = sorted(predictions["label"].unique())
    counts = confusion_matrix(predictions["label"], predictions["prediction"], labels=labels)
    table = pd.DataFrame(counts, labels, pd.Index(labels, name="prediction"))
    return table.rename_axis("label").stack().rename("n").reset_index()
