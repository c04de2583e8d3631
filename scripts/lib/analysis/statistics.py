"""Intervals, paired tests and calibration: scipy's and statsmodels' statistics, put to this use."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

CONFIDENCE = 0.95
RESAMPLES = 9999
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
        low: lower end of the 95% bootstrap interval of the difference.
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


class OverSeeds(NamedTuple):
    """Two conditions, each trained with the same seeds.

    Attributes:
        seeds: number of them.
        difference: mean over seeds of second minus first.
        deviation: standard deviation of the differences.
        low: lower end of the 95% t-interval of the mean difference; NaN where all differences
            are the same, which leaves nothing to test against.
        high: upper end.
        p: of the paired t-test that the mean difference is 0.
    """

    seeds: int
    difference: float
    deviation: float
    low: float
    high: float
    p: float


def proportion(right: int, n: int) -> Estimate:
    """A proportion with its Wilson interval."""
    low, high = proportion_confint(right, n, alpha=1 - CONFIDENCE, method="wilson")
    return Estimate(right / n, float(low), float(high))


def mean_over_seeds(values: np.ndarray) -> Estimate:
    """A mean with its t-interval; two values or more.

    There is no interval where all are the same.
    """
    if _same(values):
        return Estimate(float(np.mean(values)), np.nan, np.nan)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(CONFIDENCE)
    return Estimate(float(np.mean(values)), float(low), float(high))


def compare_pair(label: np.ndarray, first: np.ndarray, second: np.ndarray, seed: int) -> Paired:
    """Compare two classifiers on the same examples.

    Args:
        label: `(n,)` true classes.
        first: `(n,)` predictions of the first.
        second: `(n,)` predictions of the second.
        seed: of the bootstrap, which resamples examples (percentile method, 9,999 resamples).
    """
    right_first, right_second = label == first, label == second
    both = pd.crosstab(right_first, right_second).reindex(
        index=[True, False], columns=[True, False], fill_value=0
    )
    gains = right_second.astype(float) - right_first
    low, high = bootstrap(gains, seed)
    return Paired(
        n=len(label),
        accuracy_first=float(right_first.mean()),
        accuracy_second=float(right_second.mean()),
        difference=float(gains.mean()),
        low=low,
        high=high,
        only_first=int(both.loc[True, False]),
        only_second=int(both.loc[False, True]),
        p=float(mcnemar(both.to_numpy(), exact=True).pvalue),
        agreement=float((first == second).mean()),
    )


def bootstrap(values: np.ndarray, seed: int) -> tuple[float, float]:
    """The 95% percentile interval of a mean."""
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, 2_000_000 // len(values)),  # 16 MB at a time
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def compare_over_seeds(first: np.ndarray, second: np.ndarray) -> OverSeeds:
    """Compare the accuracies of two conditions, seed by seed; two seeds or more."""
    gains = np.asarray(second) - np.asarray(first)
    if _same(gains):
        return OverSeeds(len(gains), float(gains.mean()), 0.0, np.nan, np.nan, np.nan)
    test = stats.ttest_rel(second, first)
    low, high = test.confidence_interval(CONFIDENCE)
    return OverSeeds(
        seeds=len(gains),
        difference=float(gains.mean()),
        deviation=float(gains.std(ddof=1)),
        low=float(low),
        high=float(high),
        p=float(test.pvalue),
    )


def _same(values: np.ndarray) -> bool:
    """Whether values differ by rounding at most, so that they have no spread to test against."""
    return np.ptp(values) < 1e-12


def holm(p: pd.Series) -> pd.Series:
    """P-values of one family after Holm's correction; those that are NaN take no part."""
    known = p.notna()
    adjusted = p.astype(float).copy()
    if known.any():
        adjusted[known] = multipletests(p[known], method="holm")[1]
    return adjusted


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
