"""Intervals, tests and calibration: scipy's and statsmodels' statistics, put to this use."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
POWER = 0.8
BINS = 15


class Estimate(NamedTuple):
    """A number with its interval.

    Attributes:
        value: what was measured.
        low: lower end of the 95% interval; NaN where there is none.
        high: upper end.
    """

    value: float
    low: float
    high: float


class Paired(NamedTuple):
    """Two classifiers on the same examples.

    Attributes:
        n: examples.
        accuracy_first: share that the first gets right.
        accuracy_second: share that the second gets right.
        difference: second minus first.
        low: lower end of the 95% t-interval of the difference; NaN where no example differs.
        high: upper end.
        only_first: examples that the first alone gets right.
        only_second: examples that the second alone gets right.
        p: of the exact McNemar test that both err equally often.
        agreement: share of examples with the same prediction.
    """

    n: int
    accuracy_first: float
    accuracy_second: float
    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p: float
    agreement: float


def proportion(right: int, n: int) -> Estimate:
    """A proportion with its Wilson interval."""
    low, high = proportion_confint(right, n, alpha=1 - CONFIDENCE, method="wilson")
    return Estimate(right / n, float(low), float(high))


def mean_with_interval(values: np.ndarray) -> Estimate:
    """A mean with its t-interval; two values or more.

    There is no interval where all are the same.
    """
    if _same(values):
        return Estimate(float(np.mean(values)), np.nan, np.nan)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(CONFIDENCE)
    return Estimate(float(np.mean(values)), float(low), float(high))


def compare_pair(label: np.ndarray, first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare two classifiers on the same examples.

    Args:
        label: `(n,)` true classes.
        first: `(n,)` predictions of the first.
        second: `(n,)` predictions of the second.
    """
    right_first, right_second = label == first, label == second
    only_first = int((right_first & ~right_second).sum())
    only_second = int((right_second & ~right_first).sum())
    difference, low, high = mean_with_interval(right_second.astype(float) - right_first)
    return Paired(
        n=len(label),
        accuracy_first=float(right_first.mean()),
        accuracy_second=float(right_second.mean()),
        difference=difference,
        low=low,
        high=high,
        only_first=only_first,
        only_second=only_second,
        p=float(mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue),
        agreement=float((first == second).mean()),
    )


def _same(values: np.ndarray) -> bool:
    """Whether values differ by rounding at most, so that they have no spread to test against."""
    return np.ptp(values) < 1e-12


def holm(p: pd.Series) -> pd.Series:
    """P-values of one family after Holm's correction."""
    return pd.Series(multipletests(p, method="holm")[1] if len(p) else [], p.index, float)


def reliability(right: np.ndarray, confidence: np.ndarray) -> pd.DataFrame:
    """Accuracy by confidence, in 15 bins of equal width over 0 to 1; empty ones are left out.

    Args:
        right: `(n,)` booleans, whether a prediction is right.
        confidence: `(n,)` probabilities of the predictions; NaN, of a run that diverged, is in
            no bin.

    Returns:
        `confidence` (mean of the bin), `accuracy` with its Wilson interval `low` to `high`, and
        `n`, the number of predictions.
    """
    bins = pd.Series(np.minimum(np.floor(confidence * BINS), BINS - 1))
    groups = pd.DataFrame({"confidence": confidence, "right": right}).groupby(bins)
    rows = [
        {
            "confidence": float(group["confidence"].mean()),
            **proportion(int(group["right"].sum()), len(group))._asdict(),
            "n": len(group),
        }
        for _, group in groups
    ]
    table = pd.DataFrame(rows, columns=["confidence", *Estimate._fields, "n"])
    return table.rename(columns={"value": "accuracy"})


def calibration_error(bins: pd.DataFrame) -> float:
    """Expected calibration error of the bins of `reliability` (Guo et al. 2017, equation 3).

    NaN where there are none.
    """
    if bins.empty:
        return np.nan
    gaps = (bins["accuracy"] - bins["confidence"]).abs()
    return float(np.average(gaps, weights=bins["n"]))


def brier(right: np.ndarray, confidence: np.ndarray) -> float:
    """Brier score of the predicted class; with two classes that of either class.

    NaN where a confidence is.
    """
    if np.isnan(confidence).any():
        return np.nan
    from sklearn.metrics import brier_score_loss

    return float(brier_score_loss(right, confidence, pos_label=True, labels=[False, True]))
