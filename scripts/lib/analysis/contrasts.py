"""Contrasts: the comparisons that answer the questions of a study, planned from its grid alone.

A contrast compares two levels of one factor in the mean over all conditions that share everything
else. Variants that change how a training is computed, and not what it learns, repeat a condition;
they are compared with it, and have no part in any other contrast. Variants that differ in the
number of training reviews are points of a curve: each number has contrasts of its own, and they are
not compared with one another.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lib.analysis.results import ALL
from lib.study.runs import Condition, Run, baselines_of, is_baseline
from lib.study.schema import keys_that

ENCODER = "Which encoder?"
BASELINE = "Does an encoder beat the classical baseline?"
POOLING = "Does the pooling matter?"
PADDING = "Does padding in the mean cost anything?"
BATCH = "Which effective batch?"
EQUAL_UPDATES = "Which effective batch, at equal updates?"
BACKEND = "Do torch and Accelerate agree?"
SCALING = "Does scaling the learning rate help at large batches?"
LENGTH = "How many tokens?"
TRUNCATION = "Which part of a long text?"
VARIANT = "Does another variant change anything?"
QUESTIONS = (
    *(ENCODER, BASELINE, POOLING, PADDING, LENGTH, TRUNCATION, BATCH, EQUAL_UPDATES),
    *(BACKEND, SCALING, VARIANT),
)

MIN_SEEDS = 3  # for a verdict
MEANS = {"padded-mean", "masked-mean"}
SCALINGS = ("lr_scaling", "lr_scaling_base")
AMOUNTS = {"updates", "examples"}  # which are given, and not compared
CUTS = {"max_length": LENGTH, "truncation": TRUNCATION}  # which are compared one at a time
RATE = "learning_rate"

Pair = tuple[Condition, Condition]
Asked = dict[tuple[str, str, str, str], list[Pair]]  # by question, levels and training reviews
Variants = Mapping[str, Mapping[str, Any]]


class Contrast(NamedTuple):
    """Two levels of a factor, compared in the mean over pairs of conditions.

    Attributes:
        question: that it helps to answer.
        first: a level.
        second: the other one; differences are this minus the first.
        pairs: conditions that differ in the level alone.
        seeds: with which every one of these conditions was trained.
        examples: number of training reviews, or `all`.
    """

    question: str
    first: str
    second: str
    pairs: Sequence[Pair]
    seeds: Sequence[int]
    examples: str = ALL

    @property
    def weights(self) -> dict[Condition, float]:
        """The weight of each condition in the difference."""
        weights: dict[Condition, float] = defaultdict(float)
        for first, second in self.pairs:
            weights[first] -= 1 / len(self.pairs)
            weights[second] += 1 / len(self.pairs)
        return dict(weights)


class Tuning(NamedTuple):
    """The settings whose learning rate is tuned, each of which is a condition as well.

    Attributes:
        settings: the tuned setting of each condition that tries a rate.
        budgets: how many rates each tuned setting has tried, with how many seeds.
        chosen: the condition whose rate is chosen, by tuned setting.
    """

    settings: Mapping[Condition, Condition] = {}
    budgets: Mapping[Condition, tuple[int, int]] = {}
    chosen: Mapping[Condition, Condition] = {}

    def compares(self, pair: Pair, variants: Variants) -> bool:
        """Whether two conditions are compared: settings of equal budgets, each at its own rate.

        Where one of two has a larger budget than the other, and where one repeats what the other
        learns, they are compared at the same rate.
        """
        if not self.settings:
            return True
        if pair[0].variant != pair[1].variant and same_training(pair, variants):
            return set(pair).isdisjoint(self.budgets)
        if not set(pair).isdisjoint(self.budgets):
            return self.budgets.get(pair[0]) == self.budgets.get(pair[1])
        first, second = (self.budgets.get(self.settings.get(each, each)) for each in pair)
        return (first is None or first != second) and RATE not in changes(pair, variants)


UNTUNED = Tuning()


def plan(
    grid: Collection[Run],
    variants: Variants,
    learned: Collection[Run],
    tuning: Tuning = UNTUNED,
) -> list[Contrast]:
    """The contrasts of a study, in the order of the questions.

    Of the pairs of a contrast those are compared that share the most seeds, with these. Where some
    contrasts of a question have more seeds than others, those with fewer than three are left out.

    Args:
        grid: all runs and baselines of the study, which decide what is asked.
        variants: per variant the settings of its training.
        learned: the runs and baselines that count.
        tuning: the tuned settings, whose runs are among the others.
    """
    conditions = list(dict.fromkeys(run.condition for run in grid))
    asked: Asked = defaultdict(list)
    for question, first, second, pair in pairs(conditions, variants, tuning):
        asked[question, first, second, size_of(pair[1], variants)].append(pair)
    planned = with_seeds(asked, grid)
    most = {contrast.question: 0 for contrast in planned}
    for contrast in planned:
        most[contrast.question] = max(most[contrast.question], len(contrast.seeds))
    return [
        found
        for found, contrast in zip(with_seeds(asked, learned), planned, strict=True)
        if len(contrast.seeds) >= min(MIN_SEEDS, most[contrast.question])
    ]


def size_of(condition: Condition, variants: Variants) -> str:
    """How many training reviews a condition learns from, or `all`."""
    return str(variants[condition.variant]["examples"])


def with_seeds(asked: Asked, runs: Collection[Run]) -> list[Contrast]:
    """The contrasts that are asked, in the order of the questions, with the seeds of some runs.

    Those of one question are in the order of the training reviews, all of them last.
    """
    seeds: dict[Condition, set[int | None]] = defaultdict(set)
    for run in runs:
        seeds[run.condition].add(run.seed)
    contrasts = [
        Contrast(question, first, second, *with_most_seeds(each, seeds), examples)
        for (question, first, second, examples), each in asked.items()
    ]
    return sorted(
        contrasts,
        key=lambda each: (
            QUESTIONS.index(each.question),
            math.inf if each.examples == ALL else int(each.examples),
        ),
    )


def with_most_seeds(
    pairs: Sequence[Pair], seeds: Mapping[Condition, set[int | None]]
) -> tuple[list[Pair], list[Any]]:
    """The pairs that share the most seeds, and these seeds; none where no pair shares one."""
    shared = [
        frozenset(seeds[second] if seeds[first] == {None} else seeds[first] & seeds[second])
        for first, second in pairs
    ]
    most = max(shared, key=lambda found: (len(found), shared.count(found)))
    kept = [pair for pair, found in zip(pairs, shared, strict=True) if most and found >= most]
    return kept, sorted(most)


def pairs(
    conditions: Sequence[Condition], variants: Variants, tuning: Tuning = UNTUNED
) -> Iterator[tuple[str, str, str, Pair]]:
    """The pairs that differ in one factor: question, first level, second level, conditions."""
    encoders = [condition for condition in conditions if not is_baseline(condition)]
    once = distinct(encoders, variants)
    for factor in Condition._fields:
        for pair in itertools.combinations(in_order(encoders, factor, variants), 2):
            first, second = (getattr(condition, factor) for condition in pair)
            if first == second or pair[0] != pair[1]._replace(**{factor: first}):
                continue
            changed = decided_by(pair, variants)
            if AMOUNTS & changed or changed == CUTS.keys() or not tuning.compares(pair, variants):
                continue
            if set(pair) <= set(once) or repeats(pair, once, variants):
                question = question_of(factor, pair, variants)
                yield question, *names_of_levels(question, factor, pair, variants), pair
    for baseline, encoder in itertools.product(filter(is_baseline, conditions), once):
        compared = size_of(encoder, variants) == ALL and encoder not in tuning.settings
        known = baselines_of(encoder.model, variants[encoder.variant])
        if compared and baseline.model in known:
            yield BASELINE, baseline.model, encoder.model, (baseline, encoder)


def distinct(
    conditions: Collection[Condition],
    variants: Variants,
    updates: Mapping[Condition, int] | None = None,
) -> list[Condition]:
    """The conditions without those that repeat the training of an earlier one.

    Args:
        conditions: of encoders.
        variants: per variant the settings of its training.
        updates: how many each condition has, where settings are compared by what they come to.
    """
    found: dict[tuple, Condition] = {}
    for condition in conditions:
        settings = decisive(variants[condition.variant], condition.batch)
        if updates and condition in updates:
            settings = settings | {"updates": updates[condition], "epochs": None}
        key = (*condition._replace(variant=""), *map(str, sorted(settings.items())))
        found.setdefault(key, condition)
    return list(found.values())


def decisive(settings: Mapping[str, Any], batch: int | None) -> dict[str, Any]:
    """The settings that decide what is learned at a batch."""
    unscaled = settings["lr_scaling"] == "none" or batch == settings["lr_scaling_base"]
    idle = SCALINGS if unscaled else ()
    if settings["updates"] != "auto":
        idle = (*idle, "epochs")
    return {key: settings[key] for key in keys_that("learned") if key not in idle}


def repeats(pair: Pair, once: Sequence[Condition], variants: Variants) -> bool:
    """Whether one of two conditions computes in another way what the other, a first one, learns."""
    changed = changes(pair, variants) - set(SCALINGS)
    return bool(changed) and not set(once).isdisjoint(pair) and same_training(pair, variants)


def changes(pair: Pair, variants: Variants) -> set[str]:
    """The training settings in which the variants of two conditions differ."""
    first, second = (variants[condition.variant] for condition in pair)
    return {key for key, value in first.items() if second[key] != value}


def decided_by(pair: Pair, variants: Variants) -> set[str]:
    """Those of the settings in which two conditions differ that decide what is learned."""
    return changes(pair, variants) & set(keys_that("learned"))


def same_training(pair: Pair, variants: Variants) -> bool:
    """Whether two conditions learn the same, and differ in how that is computed."""
    first, second = (decisive(variants[each.variant], each.batch) for each in pair)
    return first == second


def in_order(conditions: Sequence[Condition], factor: str, variants: Variants) -> list[Condition]:
    """Conditions in the order that levels have: by size or length, else as the study has them."""
    levels = list(dict.fromkeys(getattr(condition, factor) for condition in conditions))

    def place(condition: Condition) -> tuple[int, int]:
        level = getattr(condition, factor)
        sizes = {"batch": condition.batch, "variant": variants[condition.variant]["max_length"]}
        return sizes.get(factor) or 0, levels.index(level)

    return sorted(conditions, key=place)


def names_of_levels(question: str, factor: str, pair: Pair, variants: Variants) -> tuple[str, str]:
    """The levels in which two conditions differ, as tables name them."""
    found = [getattr(condition, factor) for condition in pair]
    for key in (key for key, asked in CUTS.items() if asked == question):
        found = [variants[condition.variant][key] for condition in pair]
    return str(found[0]), str(found[1])


def question_of(factor: str, pair: Pair, variants: Variants) -> str:
    """The question to which a pair of conditions belongs that differ in one factor."""
    match factor:
        case "model":
            return ENCODER
        case "pooling":
            return PADDING if {each.pooling for each in pair} == MEANS else POOLING
        case "batch":
            updates = variants[pair[0].variant]["updates"]
            return BATCH if updates == "auto" else EQUAL_UPDATES
    first, second = (variants[condition.variant] for condition in pair)
    changed = decided_by(pair, variants)
    if len(changed) == 1 and changed <= CUTS.keys():
        return CUTS[changed.pop()]
    if same_training(pair, variants) and first["backend"] != second["backend"]:
        return BACKEND
    scaled = [each for each in (first, second) if each["lr_scaling"] != "none"]
    one_scales = changes(pair, variants) <= set(SCALINGS) and len(scaled) == 1
    return SCALING if one_scales and is_above_base(pair[0], scaled[0]) else VARIANT


def is_above_base(condition: Condition, settings: Mapping[str, Any]) -> bool:
    """Whether a batch is above the one at which the learning rate is left as it is."""
    return condition.batch is not None and condition.batch > settings["lr_scaling_base"]
