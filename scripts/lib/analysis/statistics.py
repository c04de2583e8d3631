"""Intervals, tests and calibration: scipy's and statsmodels' statistics, put to this use."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from lib.analysis.groups import Groups, count, freedom, part, units
from lib.analysis.metrics import values_of
from lib.study.metrics import ACCURACY

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
POWER = 0.8
BINS = 15
SHARES = np.arange(1, 21) / 20  # of predictions that are accepted
WANTED = (0.9, 0.95, 0.98, 0.99)  # accuracies of these
TINY = 1e-18  # a variance that stands for none


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
    """Two classifiers on the same examples, in a metric.

    Attributes:
        n: examples.
        value_first: metric of the first.
        value_second: metric of the second.
        difference: second minus first.
        low: lower end of the 95% t-interval of the difference; NaN where no example differs.
        high: upper end.
        only_first: examples that the first alone gets right.
        only_second: examples that the second alone gets right.
        p: that both are equally good: for accuracy of the exact McNemar test; for other metrics, or
            where examples are in groups, of the t test, with an error clustered by them.
        agreement: share of examples with the same prediction.
        groups: number of groups of examples.
    """

    n: int
    value_first: float
    value_second: float
    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p: float
    agreement: float
    groups: int | None


def mean_of(values: np.ndarray, groups: Groups = None) -> Estimate:
    """The mean of `(n,)` values with an interval: Wilson's of booleans, else that of t."""
    return (proportion if values.dtype == bool else mean_with_interval)(values, groups)


def proportion(right: np.ndarray, groups: Groups = None) -> Estimate:
    """A proportion with its Wilson interval, of the effective number of examples.

    Args:
        right: `(n,)` booleans, of which the share that is true.
        groups: of the examples.
    """
    n, found = len(right), int(right.sum())
    share = effective(right, groups) / n
    low, high = proportion_confint(found * share, n * share, alpha=1 - CONFIDENCE, method="wilson")
    return Estimate(found / n, float(low), float(high))


def effective(right: np.ndarray, groups: Groups) -> float:
    """How many independent examples would tell a proportion as well.

    The number over the design effect, less what few groups make of a quantile of t (Korn and
    Graubard 1998, Survey Methodology 24; for Wilson's interval Franco et al. 2019, Journal of
    Survey Statistics and Methodology 7); from 1 to all. It is all where nothing tells the design
    effect: in one group, or where all or none are right.

    Args:
        right: `(n,)` booleans.
        groups: of the examples.
    """
    n, among = len(right), right.var()
    if groups is None or count(groups) == 1 or among == 0:
        return n
    between = float((units(right - right.mean(), groups) ** 2).sum() / n)
    tail = (1 - CONFIDENCE) / 2
    quantiles = stats.t.isf(tail, n - 1) / stats.t.isf(tail, freedom(groups))
    return float(np.clip(n * among / max(between, TINY) * quantiles**2, 1, n))


def mean_with_interval(values: np.ndarray, groups: Groups = None) -> Estimate:
    """A mean with its t-interval; two values or more.

    There is no interval where all are the same.
    """
    if _same(values):
        return Estimate(float(np.mean(values)), np.nan, np.nan)
    if groups is not None:
        error = clustered_error(values, groups)
        half = stats.t.isf((1 - CONFIDENCE) / 2, freedom(groups)) * error
        return Estimate(*(float(values.mean() + x) for x in (0, -half, half)))
    low, high = stats.ttest_1samp(values, 0).confidence_interval(CONFIDENCE)
    return Estimate(float(np.mean(values)), float(low), float(high))


def clustered_error(values: np.ndarray, groups: Groups) -> float:
    """The standard error of the mean of `(n,)` values in groups, no less than if none were.

    Few groups may sum to the same by chance, and would leave no error at all.
    """
    n, deviations = len(values), values - values.mean()
    squares = ((each**2).sum() for each in (units(deviations, groups), deviations))
    return float(np.sqrt(max(*squares, TINY) / (n - 1) / n))


def compare_pair(
    label: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    groups: Groups = None,
    metric: str = ACCURACY,
) -> Paired:
    """Compare two classifiers on the same examples.

    Args:
        label: `(n,)` true classes.
        first: `(n,)` predictions of the first.
        second: `(n,)` predictions of the second.
        groups: of the examples.
        metric: in which they are compared.
    """
    right_first, right_second = label == first, label == second
    values_first, values_second = (values_of(label, each, metric) for each in (first, second))
    gains = values_second.astype(float) - values_first
    difference, low, high = mean_with_interval(gains, groups)
    return Paired(
        n=len(label),
        value_first=float(values_first.mean()),
        value_second=float(values_second.mean()),
        difference=difference,
        low=low,
        high=high,
        only_first=int((right_first & ~right_second).sum()),
        only_second=int((right_second & ~right_first).sum()),
        p=p_of_pair(gains, groups, metric),
        agreement=float((first == second).mean()),
        groups=count(groups),
    )


def p_of_pair(gains: np.ndarray, groups: Groups, metric: str) -> float:
    """P that two classifiers are equally good.

    For accuracy of the exact McNemar test; where examples are in groups, and for other metrics, of
    the mean gain over its clustered error, as of Obuchowski 1998 (Statistics in Medicine 17), with
    a t distribution for few groups.

    Args:
        gains: `(n,)` what the second has more than the first; for accuracy 1 where it alone is
            right, -1 where the first alone is, else 0.
        groups: of the examples.
        metric: of the gains.
    """
    if groups is None and metric == ACCURACY:
        alone = [[0, int((gains < 0).sum())], [int((gains > 0).sum()), 0]]
        return float(mcnemar(alone, exact=True).pvalue)
    df = min(freedom(groups), len(gains) - 1)
    return float(2 * stats.t.sf(abs(gains.mean()) / clustered_error(gains, groups), df))


def _same(values: np.ndarray) -> bool:
    """Whether values differ by rounding at most, so that they have no spread to test against."""
    return np.ptp(values) < 1e-12


def holm(p: pd.Series) -> pd.Series:
    """P-values of one family after Holm's correction."""
    return pd.Series(multipletests(p, method="holm")[1] if len(p) else [], p.index, float)


def reliability(right: np.ndarray, confidence: np.ndarray, groups: Groups = None) -> pd.DataFrame:
    """Accuracy by confidence, in 15 bins of equal width over 0 to 1; empty ones are left out.

    Args:
        right: `(n,)` booleans, whether a prediction is right.
        confidence: `(n,)` probabilities of the predictions; NaN, of a run that diverged, is in
            no bin.
        groups: of the predictions.

    Returns:
        `confidence` (mean of the bin), `accuracy` with its Wilson interval `low` to `high`, and
        `n`, the number of predictions.
    """
    bins = pd.Series(np.minimum(np.floor(confidence * BINS), BINS - 1))
    rows = [
        {
            "confidence": float(inside.mean()),
            **proportion(right[inside.index], part(groups, inside.index))._asdict(),
            "n": len(inside),
        }
        for _, inside in pd.Series(confidence).groupby(bins)
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


def acceptance(right: np.ndarray, confidence: np.ndarray, groups: Groups = None) -> pd.DataFrame:
    """How right the surest predictions are, and where they end for a wanted accuracy.

    For a wanted accuracy, as many are accepted as have it in the mean of their confidences: labels
    have no part in it, and measure what it is worth (selective classification; El-Yaniv and Wiener
    2010, Journal of Machine Learning Research 11). Predictions of one confidence go together.

    Args:
        right: `(n,)` booleans, whether a prediction is right.
        confidence: `(n,)` probabilities of the predictions; of a run that diverged, NaN, there are
            no rows.
        groups: of the predictions.

    Returns:
        A row per share of the predictions, and one per `wanted` accuracy: the `threshold`, the
        least confidence that is accepted, the `share` that is, the accuracy that is `expected` of
        them, and theirs with its Wilson interval `low` to `high`, and `n`. A wanted accuracy that
        not even the surest have is left out.
    """
    order = np.argsort(-confidence, kind="stable")
    sure, n = confidence[order].astype(float), len(confidence)
    ends = np.flatnonzero(np.append(np.diff(sure) < 0, True)) + 1
    means = np.cumsum(sure)[ends - 1] / ends
    chosen = [(np.nan, ends[ends >= share * n - 1e-9][:1]) for share in SHARES]
    chosen += [(wanted, ends[means >= wanted][-1:]) for wanted in WANTED]
    rows = [
        {
            "wanted": wanted,
            "threshold": sure[end - 1],
            "share": end / n,
            "expected": sure[:end].mean(),
            **proportion(right[order[:end]], part(groups, order[:end]))._asdict(),
            "n": int(end),
        }
        for wanted, found in chosen
        for end in found
        if not np.isnan(confidence).any()
    ]
    columns = ["wanted", "threshold", "share", "expected", *Estimate._fields, "n"]
    table = pd.DataFrame(rows, columns=columns).drop_duplicates(ignore_index=True)
    return table.rename(columns={"value": "accuracy"})


def brier(right: np.ndarray, confidence: np.ndarray) -> float:
    """Brier score of the predicted class; with two classes that of either class.

    NaN where a confidence is.
    """
    if np.isnan(confidence).any():
        return np.nan
    from sklearn.metrics import brier_score_loss

    return float(brier_score_loss(right, confidence, pos_label=True, labels=[False, True]))
