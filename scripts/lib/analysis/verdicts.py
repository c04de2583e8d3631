"""What the answers of all runs to the test reviews show of each contrast."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from lib.analysis.contrasts import (
    MIN_SEEDS,
    Contrast,
    Pair,
    Variants,
    distinct,
    size_of,
)
from lib.analysis.crossed import (
    SeedVariance,
    Spread,
    foresee,
    interval,
    judge,
    seed_variance,
    spread,
)
from lib.analysis.groups import Groups, count
from lib.analysis.metrics import values_of
from lib.analysis.statistics import SIGNIFICANCE, Estimate, mean_with_interval
from lib.analysis.wording import ALONE, UNDECIDED
from lib.study.runs import Condition, Run, is_baseline

Answers = Mapping[tuple[Condition, int | None], np.ndarray]
Known = Mapping[Condition, str]  # how many training reviews conditions learn from, as contrasts do


def decide(
    contrasts: Sequence[Contrast],
    answers: Answers,
    known: Known,
    margin: float,
    groups: Groups = None,
    ahead: bool = True,
) -> pd.DataFrame:
    """The verdict on each contrast with its numbers; all with three seeds or more are one family.

    Args:
        contrasts: of the page, each with a pair of conditions or more.
        answers: by condition and seed, the `(n,)` values of `metrics.values_of`; the seed of a
            baseline is None.
        known: the conditions that do not repeat the training of another.
        margin: difference up to which two levels count as equal in practice.
        groups: of the reviews.
        ahead: whether to tell which differences the design would have found, and which verdicts
            rest on the variance of other settings.

    Returns:
        A row per contrast: `difference`, `seeds`, `n`, `groups`, `settings` (pairs of conditions),
        what `judge` and `foresee` tell, and `rests_on_others`: whether the verdict would be another
        if each setting had its own variance between seeds, and not that of all. With fewer than
        three seeds the verdict is that on these runs alone, and the interval, over reviews, is
        about no others.
    """
    table = measure(contrasts, answers, groups).assign(verdict=ALONE)
    family = table.index[table["seeds"] >= MIN_SEEDS]
    several = [contrasts[i] for i in family]
    differences = table.loc[family, "difference"]
    spreads = spreads_of(several, answers, known, groups)
    judged = judge(differences, spreads, margin)
    if ahead:
        alone = judge(differences, own_spreads_of(several, answers, groups), margin)["verdict"]
        judged["rests_on_others"] = judged["verdict"].ne(UNDECIDED) & judged["verdict"].ne(alone)
        judged = judged.join(foresee(spreads, len(family)).set_index(family))
    return judged.combine_first(table)


def estimate(
    contrasts: Sequence[Contrast], answers: Answers, known: Known, groups: Groups = None
) -> pd.DataFrame:
    """Contrasts without verdicts: each with its own 95% interval, which is not simultaneous.

    Args:
        contrasts: each with a pair of conditions or more.
        answers: as for `decide`.
        known: as for `decide`.
        groups: of the reviews.

    Returns:
        A row per contrast: `difference`, `low`, `high`, `seeds`, `n`, `groups`, `settings`.
    """
    table = measure(contrasts, answers, groups)
    several = table.index[table["seeds"] >= MIN_SEEDS]
    spreads = spreads_of([contrasts[i] for i in several], answers, known, groups)
    low, high = interval(table.loc[several, "difference"], spreads, SIGNIFICANCE)
    return table.assign(low=low.combine_first(table["low"]), high=high.combine_first(table["high"]))


def value_of(
    condition: Condition,
    seeds: Sequence[int],
    answers: Answers,
    distinct: Collection[Condition],
    groups: Groups = None,
) -> Estimate:
    """The metric of a condition, with its 95% interval over seeds and reviews.

    Args:
        condition: whose runs all learned.
        seeds: two or more.
        answers: as for `decide`.
        distinct: the conditions that learn from as many reviews, and do not repeat the training of
            another.
        groups: of the reviews.
    """
    values = np.mean([answers[condition, seed] for seed in seeds], axis=0)
    pool = pool_of(seeds, [condition], answers, distinct)
    variance = seed_variance(stacked(pool, seeds, answers), groups)
    strata = variance.strata(*sums_of_weights({condition: 1}))
    found = spread(values, len(seeds), strata, groups)
    mean = pd.Series([values.mean()])
    return Estimate(*map(float, pd.concat([mean, *interval(mean, [found], SIGNIFICANCE)])))


def known_of(
    conditions: Iterable[Condition], variants: Variants, updates: Mapping[Condition, int]
) -> dict[Condition, str]:
    """The conditions that do not repeat the training of another, and their training reviews.

    Args:
        conditions: of encoders.
        variants: per variant the settings of its training.
        updates: how many each condition has, by which epochs and updates are the same training.
    """
    found = distinct(list(conditions), variants, updates)
    return {each: size_of(each, variants) for each in found}


def answers_of(predictions: Mapping[Run, pd.DataFrame], metric: str) -> Answers:
    """The values of each run, whose mean is its metric."""
    return {
        (run.condition, run.seed): values_of(
            found["label"].to_numpy(), found["prediction"].to_numpy(), metric
        )
        for run, found in predictions.items()
    }


def measure(contrasts: Sequence[Contrast], answers: Answers, groups: Groups) -> pd.DataFrame:
    """The differences, with intervals over reviews that hold for these runs alone."""
    rows = []
    for contrast in contrasts:
        gains = gains_of(contrast, answers)
        counts = (len(contrast.seeds), len(gains), count(groups), len(contrast.pairs))
        rows.append((*mean_with_interval(gains, groups), *counts))
    names = ["difference", "low", "high", "seeds", "n", "groups", "settings"]
    table = pd.DataFrame(rows, columns=names)
    return table.astype({**dict.fromkeys(names[:3], float), "groups": "Int64"})


def parts(contrast: Contrast) -> Iterator[tuple[Condition, Contrast]]:
    """The contrasts of single models and settings in a contrast, and what their pairs share."""
    shared = {pair: shared_by(pair) for pair in contrast.pairs}
    models = dict.fromkeys(each.model for each in shared.values() if each.model)
    for model in models if len(models) > 1 else ():
        own = [pair for pair in contrast.pairs if shared[pair].model == model]
        if len(own) > 1:
            yield Condition(model), contrast._replace(pairs=own)
    for pair, keys in shared.items() if len(contrast.pairs) > 1 else ():
        yield keys, contrast._replace(pairs=[pair])


def shared_by(pair: Pair) -> Condition:
    """What two conditions share; an encoder and a baseline share what the encoder has."""
    first, second = pair
    if is_baseline(first):
        return second
    alike = {key: x for key, x in second._asdict().items() if getattr(first, key) == x}
    return Condition(**{"model": ""} | alike)


def spreads_of(
    contrasts: Sequence[Contrast], answers: Answers, known: Known, groups: Groups
) -> list[Spread]:
    """What differences vary with, as all settings tell together; three seeds or more."""
    variances: dict[tuple, SeedVariance] = {}
    spreads = []
    for contrast in contrasts:
        weights = weights_of(contrast)
        alike = [c for c, examples in known.items() if examples == contrast.examples]
        pool = tuple(pool_of(contrast.seeds, weights, answers, alike))
        key = (*contrast.seeds, *pool)
        if key not in variances:
            variances[key] = seed_variance(stacked(pool, contrast.seeds, answers), groups)
        strata = variances[key].strata(*sums_of_weights(weights))
        spreads.append(spread(gains_of(contrast, answers), len(contrast.seeds), strata, groups))
    return spreads


def own_spreads_of(contrasts: Sequence[Contrast], answers: Answers, groups: Groups) -> list[Spread]:
    """What differences vary with, as the settings of each tell, every one for itself."""
    spreads = []
    for contrast in contrasts:
        strata = [
            (weight**2, seed_variance(stacked([condition], contrast.seeds, answers), groups).shared)
            for condition, weight in weights_of(contrast).items()
        ]
        spreads.append(spread(gains_of(contrast, answers), len(contrast.seeds), strata, groups))
    return spreads


def weights_of(contrast: Contrast) -> dict[Condition, float]:
    """The weights of the settings that have seeds."""
    return {each: x for each, x in contrast.weights.items() if not is_baseline(each)}


def sums_of_weights(weights: Mapping[Condition, float]) -> tuple[float, float]:
    """The sum of squared weights; and over models that of the squared sums of their weights."""
    of_models: dict[str, float] = defaultdict(float)
    for condition, weight in weights.items():
        of_models[condition.model] += weight
    return sum(x**2 for x in weights.values()), sum(x**2 for x in of_models.values())


def gains_of(contrast: Contrast, answers: Answers) -> np.ndarray:
    """`(n,)` difference of a contrast in each review, in the mean over its seeds."""
    return sum(
        weight * np.mean([answers[condition, seed] for seed in seeds_of(condition, contrast)], 0)
        for condition, weight in contrast.weights.items()
    )


def seeds_of(condition: Condition, contrast: Contrast) -> Sequence[int | None]:
    """The seeds of a contrast, or the none of a baseline."""
    return [None] if is_baseline(condition) else contrast.seeds


def pool_of(
    seeds: Sequence[int],
    own: Collection[Condition],
    answers: Answers,
    distinct: Collection[Condition],
) -> list[Condition]:
    """The conditions that tell how much seeds matter: all that have them.

    Where no model has two of them, those of the contrast itself are among them.
    """
    pool = [c for c in distinct if all((c, seed) in answers for seed in seeds)]
    several = len({condition.model for condition in pool}) < len(pool)
    return pool if several else list(dict.fromkeys([*pool, *own]))


def stacked(
    conditions: Sequence[Condition], seeds: Sequence[int], answers: Answers
) -> list[np.ndarray]:
    """Per model the `(conditions, seeds, n)` values."""
    models: dict[str, list[list[np.ndarray]]] = defaultdict(list)
    for condition in conditions:
        models[condition.model].append([answers[condition, seed] for seed in seeds])
    return [np.array(found) for found in models.values()]
