"""What is compared to answer a question, planned from grids."""

import itertools

import numpy as np
import pytest
import yaml
from conftest import ROOT
from scipy import stats

from lib.analysis.comparisons import pairs as pairs_of_runs
from lib.analysis.contrasts import (
    BACKEND,
    BASELINE,
    BATCH,
    ENCODER,
    LENGTH,
    PADDING,
    POOLING,
    SCALING,
    TRUNCATION,
    VARIANT,
    distinct,
    plan,
)
from lib.analysis.verdicts import decide, estimate, known_of, parts, value_of
from lib.study import config
from lib.study.runs import Condition, Run, baseline_name, baselines_of
from lib.study.schema import options_of

SETTINGS = {key: option["default"] for key, option in options_of("training").items()}
VARIANTS = {
    "base": SETTINGS,
    "spread": SETTINGS | {"backend": "accelerate"},
    "steep": SETTINGS | {"lr_scaling": "sqrt"},
    "steeper": SETTINGS | {"lr_scaling": "linear"},
    "decayed": SETTINGS | {"optimizer": "adamw"},
    "small-steps": SETTINGS | {"micro_batch": 8},
}


def grid(models="ab", poolings=("cls",), batches=(64,), variants=("base",), seeds=(1, 2, 3)):
    keys = itertools.product(models, poolings, batches, variants, seeds)
    return [Run("d", *each) for each in keys]


def planned(runs, learned=None):
    found = plan(runs, VARIANTS, runs if learned is None else learned)
    return {(each.question, each.first, each.second): each for each in found}


def test_two_models_are_compared_in_the_mean_over_all_that_they_share():
    runs = [*grid(poolings=("cls", "max")), *grid(models="b", poolings=("padded-mean",))]
    (contrast,) = [each for each in planned(runs).values() if each.question == ENCODER]
    assert contrast.weights == {
        Condition("a", "cls", 64, "base"): -0.5,
        Condition("b", "cls", 64, "base"): 0.5,
        Condition("a", "max", 64, "base"): -0.5,
        Condition("b", "max", 64, "base"): 0.5,
    }
    assert contrast.seeds == [1, 2, 3]


def test_every_question_has_its_contrasts():
    runs = [
        *grid(poolings=("cls", "padded-mean", "masked-mean")),
        *grid(batches=(256, 1024), variants=("base", "steep")),
        *grid(variants=("spread", "decayed")),
        *(Run("d", name) for name in baselines_of("a", SETTINGS)),
        Run("d", baselines_of("b", SETTINGS)[1]),
    ]
    assert list(planned(runs)) == [
        (ENCODER, "a", "b"),
        (BASELINE, "TF-IDF, full text", "a"),
        (BASELINE, "TF-IDF, full text", "b"),
        (BASELINE, "TF-IDF, 128 tokens of a", "a"),
        (BASELINE, "TF-IDF, 128 tokens of b", "b"),
        (POOLING, "cls", "padded-mean"),
        (POOLING, "cls", "masked-mean"),
        (PADDING, "padded-mean", "masked-mean"),
        (BATCH, "64", "256"),
        (BATCH, "64", "1024"),
        (BATCH, "256", "1024"),
        (BACKEND, "base", "spread"),
        (SCALING, "base", "steep"),
        (VARIANT, "base", "decayed"),
    ]


def test_the_order_of_the_grid_decides_no_direction_of_batches():
    runs = grid(batches=(1024, 64, 256))
    batches = [key[1:] for key in planned(runs) if key[0] == BATCH]
    assert batches == [("64", "256"), ("64", "1024"), ("256", "1024")]
    assert planned(runs[::-1])[BATCH, "64", "1024"].weights == (
        planned(runs)[BATCH, "64", "1024"].weights
    )


CUTS = {
    f"{length}-{part}": SETTINGS | {"max_length": length, "truncation": part}
    for length in (128, 64, 256)
    for part in ("head", "tail", "head-tail")
}


def test_lengths_and_parts_of_texts_are_compared_one_at_a_time_lengths_in_their_order():
    for names in (
        ["128-head", "64-head", "256-head", "128-tail", "128-head-tail"],
        [*CUTS],  # each length with each part
    ):
        runs = grid(models="a", variants=names)
        found = plan(runs, CUTS, runs)
        asked = [(each.question, each.first, each.second) for each in found]
        assert asked == [
            (LENGTH, "64", "128"),
            (LENGTH, "64", "256"),
            (LENGTH, "128", "256"),
            (TRUNCATION, "head", "tail"),
            (TRUNCATION, "head", "head-tail"),
            (TRUNCATION, "tail", "head-tail"),
        ]
        assert {len(each.pairs) for each in found} == {1 if len(names) == 5 else 3}
        for each in found:
            for pair in each.pairs:
                cuts = [CUTS[condition.variant] for condition in pair]
                key = {LENGTH: "max_length", TRUNCATION: "truncation"}[each.question]
                assert [str(cut[key]) for cut in cuts] == [each.first, each.second]
                assert [{**cut, key: 0} for cut in cuts[:1]] == [
                    {**cut, key: 0} for cut in cuts[1:]
                ]


def test_a_length_with_another_setting_is_another_variant():
    variants = CUTS | {"both": CUTS["64-head"] | {"epochs": 9}}
    runs = grid(models="a", variants=["128-head", "both"])
    assert {each.question for each in plan(runs, variants, runs)} == {VARIANT}


def test_an_encoder_is_compared_with_the_baselines_of_its_own_cut_alone():
    names = ["64-head", "64-tail", "128-head"]
    texts = {baseline for name in names for baseline in baselines_of("a", CUTS[name])}
    assert texts == {
        *("TF-IDF, full text", "TF-IDF, first 64 tokens of a", "TF-IDF, last 64 tokens of a"),
        "TF-IDF, first 128 tokens of a",
    }
    runs = [*grid(models="a", variants=names), *(Run("d", text) for text in texts)]
    for each in (each for each in plan(runs, CUTS, runs) if each.question == BASELINE):
        compared = {encoder.variant for _, encoder in each.pairs}
        if each.first == "TF-IDF, full text":
            assert compared == set(names)
        else:
            (variant,) = compared
            assert each.first in baselines_of("a", CUTS[variant])
    single = [pair for pair in pairs_of_runs(runs, CUTS) if pair[0] == "baseline"]
    assert len(single) == 2 * len(names) * 3  # seeds
    assert all(base.model in baselines_of("a", CUTS[run.variant]) for _, base, run in single)


def test_what_repeats_a_training_is_compared_with_it_alone():
    runs = grid(variants=("base", "spread", "small-steps", "steep"))  # at 64 nothing is scaled
    found = planned(runs)
    assert len(found[ENCODER, "a", "b"].pairs) == 1
    assert {question for question, *_ in found} == {ENCODER, BACKEND, VARIANT}
    conditions = {run.condition: None for run in runs}
    assert [each.variant for each in distinct(conditions, VARIANTS)] == ["base", "base"]
    above = distinct([Condition("a", "cls", 256, each) for each in VARIANTS], VARIANTS)
    assert [each.variant for each in above] == ["base", "steep", "steeper", "decayed"]


def test_a_batch_at_which_nothing_is_scaled_repeats_no_training():
    found = planned(grid(models="a", batches=(32, 64, 128), variants=("base", "steep", "spread")))
    for question, *levels in found:
        if question in (SCALING, VARIANT) and levels == ["base", "steep"]:
            pairs = found[question, "base", "steep"].pairs
            assert 64 not in {each.batch for pair in pairs for each in pair}
    assert [key[1:] for key in found if key[0] == BACKEND] == [("base", "spread")]


def test_scaling_is_asked_of_large_batches_and_against_none():
    found = planned(grid(batches=(8, 256), variants=("base", "steep", "steeper")))
    assert {key[1:] for key in found if key[0] == SCALING} == {
        ("base", "steep"),
        ("base", "steeper"),
    }
    for key, contrast in found.items():
        if key[0] == SCALING:
            assert {each.batch for each in contrast.weights} == {256}


def test_the_settings_with_the_most_seeds_are_compared():
    runs = [*grid(seeds=(1, 2, 3, 4)), *grid(poolings=("max",), seeds=(1,))]
    contrast = planned(runs)[ENCODER, "a", "b"]
    assert contrast.seeds == [1, 2, 3, 4] and len(contrast.pairs) == 1
    few = planned([*grid(seeds=(1,)), *grid(poolings=("max",), seeds=(2,))])
    assert few[ENCODER, "a", "b"].seeds == [1]


def test_contrasts_too_small_for_a_verdict_are_left_out_where_others_have_one():
    runs = [*grid(models="a", batches=(64, 256)), *grid(models="a", batches=(8,), seeds=(1,))]
    assert list(planned(runs)) == [(BATCH, "64", "256")]
    alone = grid(models="a", batches=(64, 8), seeds=(1,))
    assert list(planned(alone)) == [(BATCH, "8", "64")]


def test_runs_that_did_not_learn_leave_the_question_standing():
    runs = grid(poolings=("cls", "max"))
    failed = [run for run in runs if run.condition == Condition("b", "cls", 64, "base")]
    contrast = planned(runs, set(runs) - set(failed))[ENCODER, "a", "b"]
    assert [first.pooling for first, _ in contrast.pairs] == ["max"]
    none = planned(runs, [run for run in runs if run.model == "a"])
    assert none[ENCODER, "a", "b"].pairs == [] and none[POOLING, "cls", "max"].seeds == [1, 2, 3]


@pytest.mark.parametrize("name", ["config.yaml"])
def test_shipped_studies_have_seeds_for_every_question(name):
    settings = yaml.safe_load((ROOT / "config" / name).read_text())
    config.check(settings)
    variants = {variant: config.training(settings, variant) for variant in settings["variants"]}
    runs = [*config.runs(settings), Run("d", baseline_name("full"))]
    found = plan(runs, variants, runs)
    assert {each.question for each in found} == {
        *(ENCODER, BASELINE, POOLING, PADDING, BATCH, BACKEND, SCALING)
    }
    assert min(len(each.seeds) for each in found) >= 3


def answers_of(runs, n=500):
    rng = np.random.default_rng(0)
    return {(run.condition, run.seed): rng.random(n) < 0.8 for run in runs}


def test_estimates_are_the_parts_of_which_a_contrast_is_the_mean():
    runs = grid(poolings=("cls", "max"), batches=(64, 256))
    contrast = planned(runs)[BATCH, "64", "256"]
    answers, known = answers_of(runs), known_of((run.condition for run in runs), VARIANTS, {})
    (whole,) = decide([contrast], answers, known, 0.01)["difference"]
    keys, pieces = zip(*parts(contrast), strict=True)
    found = estimate(pieces, answers, known).assign(model=[key.model for key in keys])
    singles = found[found["settings"] == 1]
    assert len(singles) == 4 and singles["difference"].mean() == pytest.approx(whole)
    models = found[found["settings"] == 2]
    assert models["model"].tolist() == ["a", "b"]
    assert models["difference"].mean() == pytest.approx(whole)
    direct = np.mean(
        [
            answers[Condition("a", pooling, 256, "base"), seed].mean()
            - answers[Condition("a", pooling, 64, "base"), seed].mean()
            for pooling in ("cls", "max")
            for seed in (1, 2, 3)
        ]
    )
    assert models["difference"].iloc[0] == pytest.approx(direct)


def test_a_page_without_verdicts_is_no_family():
    runs = grid(seeds=(1, 2))
    (contrast,) = planned(runs).values()
    known = known_of((run.condition for run in runs), VARIANTS, {})
    found = decide([contrast], answers_of(runs), known, 0.01)
    assert found["verdict"].tolist() == ["on these runs alone"]
    assert found["p_holm"].isna().all() and found["low"].notna().all()


def test_accuracies_have_intervals_over_seeds_and_reviews():
    """Where seeds do not matter it is that of the reviews, else wider."""
    rng = np.random.default_rng(1)
    same = rng.random(2000) < 0.8
    conditions = [Condition(model, "cls", 64, "base") for model in "ab"]
    steady = {(each, seed): same for each in conditions for seed in (1, 2, 3)}
    found = value_of(conditions[0], [1, 2, 3], steady, conditions)
    half = 1.96 * np.sqrt(same.var() / 2000)
    assert found.value == same.mean()
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), 1e-3)
    shaken = steady | {
        (each, seed): np.where(np.arange(2000) < 60 * seed, 0, same)
        for each in conditions
        for seed in (1, 2, 3)
    }
    wide = value_of(conditions[0], [1, 2, 3], shaken, conditions)
    assert wide.high - wide.low > 1.5 * (found.high - found.low)


def by_hand(right: np.ndarray, weights: np.ndarray, gains: np.ndarray) -> tuple[float, float]:
    """Standard error and degrees of freedom, as docs/verdicts.md has them.

    Args:
        right: `(models, settings, seeds, n)`.
        weights: `(models, settings)`.
        gains: `(n,)` the contrast in each review.
    """
    models, settings, seeds, n = right.shape
    deviation = right - right.mean(axis=2, keepdims=True)
    of_model = deviation.mean(axis=1, keepdims=True)
    parts, answer = [], 0.0
    shared = (weights.sum(axis=1) ** 2).sum() / settings
    for x, repeats, weight, df in (
        (
            deviation - of_model,
            1,
            (weights**2).sum() - shared,
            models * (settings - 1) * (seeds - 1),
        ),
        (of_model, settings, shared, models * (seeds - 1)),
    ):
        accuracy = x.mean(axis=3)
        mean_square = repeats * (accuracy**2).sum() / df
        residual = repeats * ((x - accuracy[..., None]) ** 2).sum() / df / (n - 1)
        parts.append((weight * max(mean_square, residual / n) / seeds, df))
        answer += weight * residual
    of_reviews = max(gains.var(ddof=1) - answer / seeds, 0) / n
    total = sum(part for part, _ in parts) + of_reviews
    return np.sqrt(total), total**2 / sum(part**2 / df for part, df in parts)


def test_standard_errors_are_those_of_the_formula():
    """Of two models with two settings each, and seeds that move those of a model together."""
    rng, n = np.random.default_rng(5), 300
    seeds = rng.normal(0, 0.3, (2, 1, 3, 1)) + rng.normal(0, 0.2, (2, 2, 3, 1))
    right = rng.normal(0.8, 0.8, n) + seeds + rng.normal(0, 0.6, (2, 2, 3, n)) > 0
    classical = rng.random(n) < 0.7
    answers = {
        (Condition(model, pooling, 64, "base"), seed + 1): right[i, j, seed]
        for i, model in enumerate("ab")
        for j, pooling in enumerate(("cls", "max"))
        for seed in range(3)
    }
    baseline = Condition(baseline_name("full"))
    answers[baseline, None] = classical
    runs = [Run("d", *condition, seed) for condition, seed in answers]
    contrasts = plan(runs, VARIANTS, runs)
    encoders = [run.condition for run in runs if run.condition != baseline]
    known = known_of(encoders, VARIANTS, {})
    found = decide(contrasts, answers, known, 0.01)
    single = estimate(contrasts, answers, known)
    mean = right.mean(axis=2)
    cases = {
        (ENCODER, "b"): ([[-0.5, -0.5], [0.5, 0.5]], 0.0),
        (POOLING, "max"): ([[-0.5, 0.5], [-0.5, 0.5]], 0.0),
        (BASELINE, "a"): ([[0.5, 0.5], [0, 0]], classical),
        (BASELINE, "b"): ([[0, 0], [0.5, 0.5]], classical),
    }
    assert [(each.question, each.second) for each in contrasts] == sorted(
        cases, key=lambda key: [ENCODER, BASELINE, POOLING].index(key[0])
    )
    for i, contrast in enumerate(contrasts):
        weights, fixed = cases[contrast.question, contrast.second]
        gains = np.einsum("mk,mkn->n", np.array(weights), mean) - fixed
        error, df = by_hand(right, np.array(weights), gains)
        assert found.loc[i, ["standard_error", "df"]].tolist() == pytest.approx([error, df])
        assert found.loc[i, "p"] == pytest.approx(2 * stats.t.sf(abs(gains.mean()) / error, df))
        half = stats.t.isf(0.025, df) * error  # of each for itself, however many there are
        ends = [gains.mean() - half, gains.mean() + half]
        assert single.loc[i, ["low", "high"]].tolist() == pytest.approx(ends)


def test_settings_that_come_to_the_same_updates_count_once():
    variants = VARIANTS | {"u32": VARIANTS["base"] | {"updates": 32}}
    conditions = [
        Condition("a", "cls", batch, name) for name in ("base", "u32") for batch in (8, 32)
    ]
    updates = dict(zip(conditions, (126, 32, 32, 32), strict=True))
    assert [*known_of(conditions, variants, updates)] == [
        conditions[0],
        conditions[1],
        conditions[2],
    ]
    assert [*known_of(conditions, variants, {})] == conditions
