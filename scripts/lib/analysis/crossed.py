"""Differences of a metric where seeds and test reviews are both a sample.

Settings are fixed; seeds and reviews are crossed random factors, as readers and cases are in the
multi-reader multi-case studies of radiology (Dorfman, Berbaum and Metz 1992, Investigative
Radiology 27; Obuchowski and Rockette 1995, Communications in Statistics 24; Hillis 2007,
Statistics in Medicine 26). A difference has a part that changes with the seeds and a part that
changes with the reviews; its standard error is the root of both. Where reviews come in groups, the
variance of one review or answer is that which the mean over all would have, times their number.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lib.analysis.groups import Groups, freedom, units
from lib.analysis.statistics import POWER, SIGNIFICANCE, TINY, holm
from lib.analysis.wording import ALIKE, SHOWN, UNDECIDED

MOST_SEEDS = 100
MOST_REVIEWS = 1e7
STEPS = 2000
ROUNDING = 1e-12  # a weight that stands for none

Number = Any  # a number, or an array of them


class Stratum(NamedTuple):
    """Mean squares of what seeds do at one level, each of which estimates the same variance twice.

    Attributes:
        metric: of the metrics of runs.
        residual: of single answers, as far as nothing else explains them.
        df: degrees of freedom of both, per review.
    """

    metric: float
    residual: float
    df: int


class SeedVariance(NamedTuple):
    """How much the metric varies with the seed, as all settings tell together.

    Attributes:
        within: interaction of settings and seeds within models.
        shared: main effect of seeds within models: what a seed does to all settings of a model.
        settings: number of settings of a model, in the mean over models.
    """

    within: Stratum
    shared: Stratum
    settings: float

    def strata(self, squares: float, shared: float) -> list[tuple[float, Stratum]]:
        """The strata whose weighted mean squares are a difference's variance with one seed.

        A weight of the first below 0, where a contrast is about a model with more settings than
        others, counts as 0, which errs on the side of caution.

        Args:
            squares: sum of the squared weights of the settings.
            shared: sum over models of the squared sum of the weights of its settings.
        """
        shared = shared / self.settings
        weighted = [(squares - shared, self.within), (shared, self.shared)]
        return [(weight, stratum) for weight, stratum in weighted if weight > ROUNDING]


class Part(NamedTuple):
    """What a difference varies with in one stratum of the seeds.

    Attributes:
        by_seed: variance from one seed to the next, if there were all reviews.
        by_answer: variance of one answer of one seed.
        df: degrees of freedom.
    """

    by_seed: float
    by_answer: float
    df: int


class Spread(NamedTuple):
    """What the difference of a contrast varies with; variances are those of the difference.

    Attributes:
        seeds: number of them.
        n: test reviews.
        parts: of the seeds.
        by_review: variance from one review to the next, if there were all seeds.
        freedom: degrees of freedom with which the reviews tell theirs; infinite where it counts as
            known.
    """

    seeds: int
    n: int
    parts: Sequence[Part]
    by_review: float
    freedom: float = np.inf

    def standard_error(self, seeds: Number, n: Number) -> tuple[Number, Number]:
        """The standard error with as many seeds and reviews, and its degrees of freedom.

        The latter are Satterthwaite's; the part of the reviews counts as known where they are in no
        groups. Of groups it is told as exactly as the variance from which that of the answers is
        taken off: were it for itself, a part that comes out small by chance would pass for known.
        With more reviews there are as many times more groups.
        """
        parts = [
            np.maximum((part.by_seed + part.by_answer / n) / seeds, TINY) for part in self.parts
        ]
        total = sum(parts) + self.by_review / n
        more = (seeds - 1) / (self.seeds - 1)
        own = sum(x**2 / (part.df * more) for x, part in zip(parts, self.parts, strict=True))
        answers = sum(part.by_answer for part in self.parts) / seeds
        own += ((self.by_review + answers) / n) ** 2 / ((self.freedom + 1) * n / self.n - 1)
        return np.sqrt(total), total**2 / own

    def detectable(self, level: float, seeds: Number, n: Number) -> Number:
        """The smallest difference that is found with 80% power (Bloom 1995, Evaluation Review 19).

        Args:
            level: of the two-sided test.
            seeds: number of them.
            n: test reviews.
        """
        error, df = self.standard_error(seeds, n)
        return error * (stats.t.isf(level / 2, df) + stats.t.isf(1 - POWER, df))


def seed_variance(models: Sequence[np.ndarray], groups: Groups = None) -> SeedVariance:
    """The variance with the seed, pooled over settings, since one of them has too few seeds.

    It is in two strata, because what a seed does to all settings of a model is no part of a
    difference between two of them, but of one between the model and another, or a baseline.

    Args:
        models: per model `(settings, seeds, n)` answers: values whose mean is the metric, such as 1
            where a review is labelled right, else 0.
        groups: of the reviews.
    """
    seeds = models[0].shape[1]
    settings = sum(len(answers) for answers in models)
    within, shared = np.zeros(2), np.zeros(2)
    for answers in models:
        of_seeds = answers - answers.mean(axis=1, keepdims=True, dtype=float)
        of_model = of_seeds.mean(axis=0)
        within += sums_of_squares(of_seeds - of_model, groups)
        shared += len(answers) * sums_of_squares(of_model, groups)
    n = models[0].shape[2]
    return SeedVariance(
        within=stratum(within, (settings - len(models)) * (seeds - 1), n),
        shared=stratum(shared, len(models) * (seeds - 1), n),
        settings=settings / len(models),
    )


def sums_of_squares(deviations: np.ndarray, groups: Groups) -> np.ndarray:
    """Of metrics, and of what single answers deviate from them; reviews are the last axis."""
    metric = deviations.mean(axis=-1, keepdims=True)
    return np.array([(metric**2).sum(), (units(deviations - metric, groups) ** 2).sum()])


def stratum(squares: np.ndarray, df: int, n: int) -> Stratum:
    """The mean squares of sums of squares over some degrees of freedom; of none where these are."""
    metric, residual = squares / [df, df * (n - 1)] if df else (0, 0)
    return Stratum(float(metric), float(residual), df)


def spread(
    gains: np.ndarray,
    seeds: int,
    strata: Sequence[tuple[float, Stratum]],
    groups: Groups = None,
) -> Spread:
    """What a difference varies with.

    The variance between seeds counts as no less than what the residual alone would make of it,
    and that between reviews as no less than 0.

    Args:
        gains: `(n,)` difference in each review, in the mean over seeds; its mean is the difference.
        seeds: number of them.
        strata: whose weighted mean squares are the variance of the difference with one seed.
        groups: of the reviews.
    """
    n = len(gains)
    parts = [
        Part(
            by_seed=weight * max(found.metric - found.residual / n, 0),
            by_answer=weight * found.residual,
            df=found.df,
        )
        for weight, found in strata
    ]
    answer = sum(part.by_answer for part in parts)
    variance = float((units(gains - gains.mean(), groups) ** 2).sum() / (n - 1))
    by_review = max(variance - answer / seeds, 0)
    return Spread(seeds, n, parts, by_review, freedom(groups))


def judge(differences: pd.Series, spreads: Sequence[Spread], margin: float) -> pd.DataFrame:
    """What the contrasts of one page show.

    A difference is shown where p is under 5% after Holm's correction over all of them. Two levels
    are alike where both one-sided tests against the margin are (Schuirmann 1987, Journal of
    Pharmacokinetics and Biopharmaceutics 15), corrected likewise. Intervals are simultaneous:
    Bonferroni's, cut at what Holm's steps show (Strassburger and Bretz 2008, Statistics in
    Medicine 27), so that none contradicts its verdict.

    Args:
        differences: of the contrasts.
        spreads: of the contrasts.
        margin: difference up to which two levels count as equal in practice.

    Returns:
        `verdict`, `low`, `high`, `p`, `p_holm`, `p_alike`, `p_alike_holm`, `standard_error`, `df`.
    """
    errors = [each.standard_error(each.seeds, each.n) for each in spreads]
    table = pd.DataFrame(errors, differences.index, ["standard_error", "df"], float)
    error, df = table["standard_error"], table["df"]
    table["p"] = 2 * stats.t.sf(differences.abs() / error, df)
    table["p_alike"] = stats.t.sf((margin - differences.abs()) / error, df)
    table["p_holm"], table["p_alike_holm"] = holm(table["p"]), holm(table["p_alike"])
    shown, alike = table["p_holm"] < SIGNIFICANCE, table["p_alike_holm"] < SIGNIFICANCE
    low, high = interval(differences, spreads, level_of(len(table)))
    low = low.mask(shown & (differences > 0), low.clip(lower=0))
    high = high.mask(shown & (differences < 0), high.clip(upper=0))
    table["low"] = low.mask(alike, low.clip(lower=-margin))
    table["high"] = high.mask(alike, high.clip(upper=margin))
    table["verdict"] = np.select([shown, alike], [SHOWN, ALIKE], UNDECIDED)
    return table


def interval(
    differences: pd.Series, spreads: Sequence[Spread], level: float
) -> tuple[pd.Series, pd.Series]:
    """The ends of intervals that leave out the truth with a probability of `level` each."""
    errors = [each.standard_error(each.seeds, each.n) for each in spreads]
    halves = [error * stats.t.isf(level / 2, df) for error, df in errors]
    return differences - halves, differences + halves


def foresee(spreads: Sequence[Spread], contrasts: int) -> pd.DataFrame:
    """What designs find, and what would halve that.

    Args:
        spreads: of some contrasts.
        contrasts: how many there are on the page.

    Returns:
        `detectable`, the smallest difference that is found with 80% power; `seeds_to_halve` or
        `reviews_to_halve` it, NaN where no 100 seeds or ten million reviews do.
    """
    level = level_of(contrasts)
    rows = []
    for each in spreads:
        found = each.detectable(level, each.seeds, each.n)
        seeds = np.arange(each.seeds, MOST_SEEDS + 1)
        n = np.geomspace(each.n, MOST_REVIEWS, STEPS)
        rows.append(
            (
                found,
                first_where(each.detectable(level, seeds, each.n) <= found / 2, seeds),
                first_where(
                    each.detectable(level, each.seeds, n) <= found / 2, np.ceil(n / 100) * 100
                ),
            )
        )
    return pd.DataFrame(rows, columns=["detectable", "seeds_to_halve", "reviews_to_halve"])


def level_of(contrasts: int) -> float:
    """The level of one test among several that share 5%."""
    return SIGNIFICANCE / max(contrasts, 1)


def first_where(condition: np.ndarray, values: np.ndarray) -> float:
    """The first value for which a condition holds; NaN where there is none."""
    return float(values[condition.argmax()]) if condition.any() else np.nan
