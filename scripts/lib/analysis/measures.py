"""What every run and baseline measures on the test split, and every condition over its seeds."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from lib.analysis.contrasts import Tuning, Variants, size_of
from lib.analysis.groups import Groups, count
from lib.analysis.metrics import values_of
from lib.analysis.results import ALL, stack, updates_of
from lib.analysis.statistics import (
    acceptance,
    brier,
    calibration_error,
    mean_of,
    reliability,
)
from lib.analysis.study import Study
from lib.analysis.tuning import tuning_of
from lib.analysis.verdicts import Answers, Known, answers_of, known_of, value_of
from lib.analysis.wording import AFTER, BEFORE
from lib.files.predictions import CALIBRATED
from lib.study.metrics import ACCURACY, METRICS
from lib.study.runs import CONDITION, Condition, is_baseline

SURE = {"": "confidence", "_after": CALIBRATED}  # before the temperature and after it
CALIBRATION = [f"{name}{when}" for name in ("calibration_error", "brier") for when in SURE]
MEANS = [*METRICS, "loss", *CALIBRATION, "temperature", "valid_accuracy", "train_seconds"]


def measure(study: Study) -> dict[str, pd.DataFrame]:
    """The tables measures, conditions, reliability, acceptance, classes and confusion."""
    predictions, measured, chosen = study.predictions, study.measured, study.representatives()
    metric, groups = study.metric, study.groups
    rows = {
        key: pd.DataFrame([measure_run(measured[key], found, metric, groups)])
        for key, found in predictions.items()
    }
    measures = stack(rows, measured, chosen)
    tuned, variants = tuning_of(study.runs)
    encoders = (key.condition for key in study.encoders())
    known = known_of(encoders, variants, updates_of(study.runs))
    answers = answers_of({key: predictions[key] for key in study.learned()}, metric)
    tabulated: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
        "reliability": partial(reliability_bins, groups=groups),
        "acceptance": partial(accepted, groups=groups),
        "classes": classes,
        "confusion": confusion,
    }
    by_run = {
        name: {key: tabulate(found) for key, found in predictions.items()}
        for name, tabulate in tabulated.items()
    }
    return {
        "measures": measures,
        "conditions": conditions(measures, answers, known, tuned, variants, groups),
        **{name: stack(tables, measured, chosen) for name, tables in by_run.items()},
    }


def measure_run(
    measured: dict[str, Any], predictions: pd.DataFrame, metric: str, groups: Groups
) -> dict[str, Any]:
    """What the table measures says of one run."""
    label, prediction = predictions["label"].to_numpy(), predictions["prediction"].to_numpy()
    found, right = mean_of(values_of(label, prediction, metric), groups), label == prediction
    calibration = {}
    for when, column in SURE.items():
        sure = predictions[column].to_numpy()
        calibration[f"calibration_error{when}"] = calibration_error(reliability(right, sure))
        calibration[f"brier{when}"] = brier(right, sure)
    return {
        "chance_p": measured["chance_p"],
        "diverged": bool(measured.get("diverged")),
        "n": len(label),
        "metric": metric,
        **found._asdict(),
        **{name: measured[name] for name in METRICS},
        "loss": measured["loss"],
        **calibration,
        "temperature": measured["temperature"],
        "valid_accuracy": measured["valid_accuracy"],
        "train_seconds": measured["train_seconds"],
    }


def conditions(
    measures: pd.DataFrame,
    answers: Answers,
    known: Known,
    tuned: Tuning,
    variants: Variants,
    groups: Groups,
) -> pd.DataFrame:
    """One row per condition: the mean over its seeds.

    The interval of the metric is over seeds and reviews; of one seed, over reviews. There is none
    where some of several runs did not learn.

    Args:
        measures: of the runs and baselines.
        answers: by condition and seed, the values of the runs that learned.
        known: the conditions that do not repeat the training of another.
        tuned: the settings whose learning rate is tuned.
        variants: per variant the settings of its training.
        groups: of the reviews.
    """
    rows = []
    for keys, group in measures.groupby(CONDITION, sort=False, dropna=False):
        only, own = group.iloc[0], Condition(*keys)
        kind = "Wilson" if only["metric"] == ACCURACY else "reviews"
        if is_baseline(own):
            own = own._replace(batch=None)
        low, high = only["low"], only["high"]
        examples = (own.variant or ALL) if is_baseline(own) else size_of(own, variants)
        setting = own if is_baseline(own) else tuned.settings.get(own, own)
        chosen = is_baseline(own) or tuned.chosen.get(setting, own) == own
        if len(group) > 1:
            low, high, kind = np.nan, np.nan, ""
            if group["learned"].all():
                alike = [each for each, size in known.items() if size == examples]
                _, low, high = value_of(own, group["seed"], answers, alike, groups)
                kind = "seeds and reviews"
        rows.append(
            {
                **only[CONDITION],
                "setting": setting.variant,
                "chosen": chosen,
                "examples": examples,
                "seeds": len(group),
                "learned": int(group["learned"].sum()),
                "metric": only["metric"],
                "value": group["value"].mean(),
                "deviation": group["value"].std(ddof=1),
                "low": low,
                "high": high,
                "interval": kind if groups is None or not kind else f"{kind}, clustered",
                "groups": count(groups),
                **group[MEANS].mean(skipna=False),
            }
        )
    return pd.DataFrame(rows).astype({"batch": "Int64", "groups": "Int64"})


def reliability_bins(predictions: pd.DataFrame, groups: Groups) -> pd.DataFrame:
    """Accuracy by confidence, for one run, before the temperature and after it."""
    right = (predictions["label"] == predictions["prediction"]).to_numpy()
    found = [
        reliability(right, predictions[column].to_numpy(), groups).assign(temperature=when)
        for column, when in zip(SURE.values(), (BEFORE, AFTER), strict=True)
    ]
    return pd.concat(found, ignore_index=True)


def accepted(predictions: pd.DataFrame, groups: Groups) -> pd.DataFrame:
    """How right the surest predictions are, for one run, after the temperature."""
    right = (predictions["label"] == predictions["prediction"]).to_numpy()
    return acceptance(right, predictions[CALIBRATED].to_numpy(), groups)


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
