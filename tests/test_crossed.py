"""Seeds and reviews as crossed random factors, against independent formulations."""

import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.anova import anova_lm

from lib.analysis.crossed import (
    Part,
    SeedVariance,
    Spread,
    Stratum,
    foresee,
    judge,
    seed_variance,
    spread,
)
from lib.analysis.wording import ALIKE, SHOWN, UNDECIDED


def make_up(shape: tuple[int, int, int], deviation: float, rng: np.random.Generator) -> np.ndarray:
    """`(settings, seeds, n)` answers to reviews of which some are hard for all."""
    settings, seeds, n = shape
    hard = rng.normal(0, 0.7, n) + rng.normal(0, 0.4, (settings, 1, n))
    by_run = rng.normal(0.7, deviation, (settings, seeds, 1))
    return (hard + by_run + rng.normal(0, 0.6, shape) > 0).astype(float)


def long(right: np.ndarray) -> pd.DataFrame:
    rows = itertools.product(*(range(size) for size in right.shape))
    table = pd.DataFrame(rows, columns=["setting", "seed", "review"])
    return table.assign(right=right.ravel())


def test_variances_are_those_of_an_analysis_of_variance():
    """Of one model, the interaction of settings and seeds is within, the seeds are shared."""
    right = make_up((3, 4, 9), 0.3, np.random.default_rng(1))
    found = seed_variance([right])
    formula = "right ~ (C(setting) + C(seed) + C(review)) ** 2"
    table = anova_lm(smf.ols(formula, long(right)).fit())
    for stratum, line, residual, df in (
        (found.within, "C(setting):C(seed)", "Residual", 6),
        (found.shared, "C(seed)", "C(seed):C(review)", 3),
    ):
        assert stratum.metric == pytest.approx(table.loc[line, "mean_sq"] / 9)
        assert stratum.residual == pytest.approx(table.loc[residual, "mean_sq"])
        assert stratum.df == table.loc[line, "df"] == df
    assert found.settings == 3


def test_strata_are_pooled_over_models_of_unequal_size():
    rng = np.random.default_rng(2)
    models = [make_up((size, 4, 50), 0.3, rng) for size in (3, 1, 2)]
    found = seed_variance(models)
    shared = 3 * models[1].mean(axis=2).var(ddof=1)
    within = 0.0
    for right in (models[0], models[2]):
        rows = long(right).groupby(["setting", "seed"], as_index=False)["right"].mean()
        lines = anova_lm(smf.ols("right ~ C(setting) + C(seed)", rows).fit())["sum_sq"]
        shared += lines["C(seed)"]
        within += lines["Residual"]
    assert found.shared.metric == pytest.approx(shared / 9)
    assert found.within.metric == pytest.approx(within / 9)
    assert (found.within.df, found.shared.df, found.settings) == (9, 9, 2)


def test_sums_of_squares_do_not_lose_digits():
    """Of a million reviews all but some are right, as in float64 and not in float32."""
    right = np.ones((2, 3, 1_000_000), bool)
    for (i, j), wrong in np.ndenumerate(np.array([[1, 2, 4], [3, 9, 5]])):
        right[i, j, :wrong] = False
    accuracy = 1 - np.array([[1, 2, 4], [3, 9, 5]]) / 1e6
    shared = 2 * accuracy.mean(axis=0).var(ddof=1)
    assert seed_variance([right]).shared.metric == pytest.approx(shared, rel=1e-9, abs=0)


@pytest.mark.filterwarnings("ignore")  # of the optimiser
def test_the_parts_of_the_seeds_are_those_of_a_mixed_model():
    rng = np.random.default_rng(3)
    accuracy = 0.8 + rng.normal(0, 0.02, (1, 6)) + rng.normal(0, 0.01, (4, 6))
    right = (np.arange(1000) < 1000 * accuracy[..., None]).astype(float)
    rows = long(right).groupby(["setting", "seed"], as_index=False)["right"].mean()
    model = smf.mixedlm("right ~ C(setting)", rows, groups=rows["seed"]).fit()
    found = seed_variance([right])
    assert found.within.metric == pytest.approx(model.scale, rel=1e-3)
    common = (found.shared.metric - found.within.metric) / 4
    assert common == pytest.approx(float(model.cov_re.iloc[0, 0]), rel=1e-3)
    ((weight, stratum),) = found.strata(2, 0)
    whole = Spread(6, 1000, [Part(weight * stratum.metric, 0, stratum.df)], by_review=0)
    error, df = whole.standard_error(6, 1000)
    assert error == pytest.approx(model.bse["C(setting)[T.1]"], rel=1e-3)
    assert df == pytest.approx(15)


def test_a_contrast_takes_of_each_stratum_what_its_weights_say():
    """Two models of 3 and 1 settings: a mean of 3, less 1, has 1/3 + 1 and (1 + 1) / 2."""
    within, shared = Stratum(1.0, 0.1, 4), Stratum(5.0, 0.2, 4)
    variance = SeedVariance(within, shared, settings=2)
    assert variance.strata(2, 0) == [(2, within)]
    found = variance.strata(1 / 3 + 1, 2)
    assert [x for x, _ in found] == pytest.approx([1 / 3, 1])
    assert [stratum for _, stratum in found] == [within, shared]
    assert variance.strata(1 / 3, 1) == [(0.5, shared)]  # 1/3 less 1/2 counts as 0


@pytest.mark.parametrize(
    "weights",
    [[[1, -1], [0, 0]], [[0.5, 0.5], [-0.5, -0.5]], [[0.5, 0.5], [0, 0]]],
    ids=["two settings", "two models", "a model and a baseline"],
)
@pytest.mark.parametrize("shared", [0.0, 0.15])
@pytest.mark.parametrize("deviation", [0.0, 0.15])
def test_standard_errors_are_right_on_average_over_whole_studies(weights, shared, deviation):
    """Where both seeds and reviews are drawn anew, differences spread as the errors say.

    Two models have two settings each, and seeds shift those of a model together and alone. Without
    one of these effects errors are a little too large: no variance is below 0.
    """
    rng, weights = np.random.default_rng(4), np.array(weights)
    squares, of_models = (weights**2).sum(), (weights.sum(axis=1) ** 2).sum()
    differences, errors = [], []
    for _ in range(500):
        hard = rng.normal(0.7, 0.7, 150)
        seeds = rng.normal(0, shared, (2, 1, 3, 1)) + rng.normal(0, deviation, (2, 2, 3, 1))
        own = rng.normal(0, 0.4, (2, 2, 1, 150)) + rng.normal(0, 0.6, (2, 2, 3, 150))
        right = hard + seeds + own > 0
        fixed = hard + rng.normal(0, 0.7, 150) > 0
        gains = np.einsum("mk,mkn->n", weights, right.mean(axis=2)) - weights.sum() * fixed
        strata = seed_variance(list(right)).strata(squares, of_models)
        differences.append(gains.mean())
        errors.append(spread(gains, 3, strata).standard_error(3, 150)[0])
    ratio = np.sqrt(np.mean(np.square(errors))) / np.std(differences)
    assert 0.93 < ratio < (1.08 if deviation and shared else 1.2)


def test_no_part_is_less_than_what_chance_makes_of_it():
    found = spread(np.zeros(100), 3, [(2, Stratum(metric=0.0, residual=0.09, df=4))])
    error, df = found.standard_error(3, 100)
    assert error == pytest.approx(np.sqrt(2 * 0.09 / 100 / 3)) and df == pytest.approx(4)
    certain = spread(np.full(100, 0.1), 3, [(2, Stratum(0.0, 0.0, 4))])
    assert certain.standard_error(3, 100)[0] < 1e-8


def spreads(count: int, scale: float = 1e-4) -> list[Spread]:
    return [Spread(3, 2000, [Part(scale, 0.1, 6 + i)], 0.1) for i in range(count)]


def test_verdicts_and_intervals_never_contradict():
    rng = np.random.default_rng(5)
    seen = set()
    for _ in range(6):
        differences = pd.Series(rng.choice([0, 0.004, 0.02, -0.05], 7) + rng.normal(0, 0.001, 7))
        found = judge(differences, spreads(7, rng.choice([1e-7, 1e-5, 1e-4])), 0.03)
        low, high = found["low"], found["high"]
        assert (low <= differences).all() and (differences <= high).all()
        shown, alike = found["verdict"] == SHOWN, found["verdict"] == ALIKE
        assert ((low >= 0) | (high <= 0))[shown].all()
        assert (low.ge(-0.03) & high.le(0.03))[alike].all()
        assert (low.lt(0) & high.gt(0))[~shown].all()
        assert (found["p_holm"][shown] < 0.05).all() and (found["p_holm"][~shown] >= 0.05).all()
        seen |= set(found["verdict"])
    assert seen == {SHOWN, ALIKE, UNDECIDED}


def test_p_values_are_those_of_t_with_satterthwaites_degrees_of_freedom():
    parts = [Part(by_seed=1.5e-4, by_answer=0.06, df=6), Part(by_seed=5e-5, by_answer=0.04, df=4)]
    one = Spread(seeds=3, n=2000, parts=parts, by_review=0.1)
    (found,) = judge(pd.Series([0.02]), [one], 0.01).to_dict("records")
    first, second = (1.5e-4 + 0.06 / 2000) / 3, (5e-5 + 0.04 / 2000) / 3
    total = first + second + 0.1 / 2000
    df = total**2 / (first**2 / 6 + second**2 / 4)
    assert found["standard_error"] == pytest.approx(np.sqrt(total))
    assert found["df"] == pytest.approx(df)
    t = 0.02 / np.sqrt(total)
    assert found["p"] == found["p_holm"] == pytest.approx(2 * stats.t.sf(t, df))
    half = stats.t.isf(0.025, df) * np.sqrt(total)
    assert (found["low"], found["high"]) == pytest.approx((0.02 - half, 0.02 + half))
    lower, upper = ((0.02 + end) / np.sqrt(total) for end in (0.01, -0.01))
    assert found["p_alike"] == pytest.approx(max(stats.t.sf(lower, df), stats.t.cdf(upper, df)))


def test_more_contrasts_make_a_finding_harder():
    alone = judge(pd.Series([0.02]), spreads(1), 0.01)
    among = judge(pd.Series([0.02, *[0.0] * 9]), spreads(10), 0.01)
    assert among["p_holm"][0] == pytest.approx(min(1, 10 * alone["p"][0]))
    assert among["high"][0] - among["low"][0] > alone["high"][0] - alone["low"][0]


def test_what_is_said_to_be_found_is_found_with_eighty_percent():
    one = Spread(seeds=5, n=5000, parts=[Part(3e-4, 0.1, 28)], by_review=0.01)
    found = foresee([one], 10).iloc[0]
    error, df = one.standard_error(5, 5000)
    critical = stats.t.isf(0.05 / 10 / 2, df)
    assert stats.nct.sf(critical, df, found["detectable"] / error) == pytest.approx(0.8, abs=0.02)
    level = 0.05 / 10
    seeds = found["seeds_to_halve"]
    assert one.detectable(level, seeds, 5000) <= found["detectable"] / 2
    assert one.detectable(level, seeds - 1, 5000) > found["detectable"] / 2
    assert np.isnan(found["reviews_to_halve"])  # the seeds alone leave more than half


def test_degrees_of_freedom_grow_with_the_seeds():
    """With five in place of three, twice as many, of a difference that seeds alone decide."""
    one = Spread(seeds=3, n=1000, parts=[Part(1e-3, 0, 8)], by_review=0)
    assert one.standard_error(5, 1000)[1] == pytest.approx(16)
    error = np.sqrt(1e-3 / 5)
    found = error * (stats.t.isf(0.005, 16) + stats.t.isf(0.2, 16))
    assert one.detectable(0.01, 5, 1000) == pytest.approx(found)


def test_reviews_halve_where_seeds_do_not_matter():
    one = Spread(seeds=3, n=1000, parts=[Part(0, 0.05, 8)], by_review=0.1)
    found = foresee([one], 1).iloc[0]
    assert found["reviews_to_halve"] == pytest.approx(4000, rel=0.05)
    few = Spread(seeds=3, n=130, parts=[Part(0, 0.05, 8)], by_review=0.1)
    found = foresee([few], 1).iloc[0]
    half = few.detectable(0.05, 3, found["reviews_to_halve"])
    assert half <= found["detectable"] / 2
