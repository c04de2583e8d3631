"""Seeds and reviews as crossed random factors, against independent formulations."""

import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.anova import anova_lm

from lib.analysis.crossed import (
    SeedVariance,
    Spread,
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
    right = make_up((3, 4, 9), 0.3, np.random.default_rng(1))
    found = seed_variance(right, crossed=True)
    formula = "right ~ (C(setting) + C(seed) + C(review)) ** 2"
    table = anova_lm(smf.ols(formula, long(right)).fit())
    assert found.residual == pytest.approx(table.loc["Residual", "mean_sq"])
    interaction = table.loc["C(setting):C(seed)"]
    assert found.accuracy == pytest.approx(interaction["mean_sq"] / 9)
    assert found.df == interaction["df"] == 6


@pytest.mark.filterwarnings("ignore:The design matrix")  # one setting for each run would do
def test_without_shared_seeds_they_vary_within_settings():
    right = make_up((3, 4, 9), 0.3, np.random.default_rng(2))
    found = seed_variance(right, crossed=False)
    data = long(right).assign(run=lambda rows: 4 * rows["setting"] + rows["seed"])
    fitted = smf.ols("right ~ C(setting) * C(review) + C(run)", data).fit()
    assert found.residual == pytest.approx(fitted.mse_resid)
    assert found.accuracy == pytest.approx(right.mean(axis=2).var(axis=1, ddof=1).mean())
    assert found.df == 9


@pytest.mark.filterwarnings("ignore")  # of the optimiser
def test_the_part_of_the_seeds_is_that_of_a_mixed_model():
    rng = np.random.default_rng(3)
    accuracy = 0.8 + rng.normal(0, 0.02, (1, 6)) + rng.normal(0, 0.01, (4, 6))
    right = (np.arange(1000) < 1000 * accuracy[..., None]).astype(float)
    rows = long(right).groupby(["setting", "seed"], as_index=False)["right"].mean()
    model = smf.mixedlm("right ~ C(setting)", rows, groups=rows["seed"]).fit()
    found = seed_variance(right, crossed=True)
    assert found.accuracy == pytest.approx(model.scale, rel=1e-3)
    whole = Spread(seeds=6, n=1000, df=15, by_seed=2 * found.accuracy, by_answer=0, by_review=0)
    error, df = whole.standard_error(6, 1000)
    assert error == pytest.approx(model.bse["C(setting)[T.1]"], rel=1e-3)
    assert df == pytest.approx(15)


@pytest.mark.parametrize("crossed", [True, False])
@pytest.mark.parametrize("deviation", [0.0, 0.15])
def test_standard_errors_are_right_on_average_over_whole_studies(crossed, deviation):
    """Where both seeds and reviews are drawn anew, differences spread as the errors say.

    Without an effect of the seeds, errors are a little too large: no variance is below 0.
    """
    rng = np.random.default_rng(4)
    differences, errors = [], []
    for _ in range(600):
        right = make_up((4, 3, 150), deviation, rng)
        fixed = make_up((1, 1, 150), 0, rng)[0, 0]
        gains = right[0].mean(axis=0) - (right[1].mean(axis=0) if crossed else fixed)
        found = spread(gains, 2 if crossed else 1, 3, seed_variance(right, crossed))
        differences.append(gains.mean())
        errors.append(found.standard_error(3, 150)[0])
    ratio = np.sqrt(np.mean(np.square(errors))) / np.std(differences)
    assert 0.93 < ratio < (1.07 if deviation else 1.2)


def test_no_part_is_less_than_what_chance_makes_of_it():
    nothing = SeedVariance(accuracy=0.0, residual=0.09, df=4)
    found = spread(np.zeros(100), squares=2, seeds=3, variance=nothing)
    error, df = found.standard_error(3, 100)
    assert error == pytest.approx(np.sqrt(2 * 0.09 / 100 / 3)) and df == pytest.approx(4)
    certain = spread(np.full(100, 0.1), squares=2, seeds=3, variance=SeedVariance(0.0, 0.0, 4))
    assert certain.standard_error(3, 100)[0] < 1e-8


def spreads(count: int, scale: float = 1e-4) -> list[Spread]:
    return [Spread(3, 2000, 6 + i, scale, 0.1, 0.1) for i in range(count)]


def test_verdicts_and_intervals_never_contradict():
    rng = np.random.default_rng(5)
    seen = set()
    for _ in range(12):
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
    one = Spread(seeds=3, n=2000, df=6, by_seed=2e-4, by_answer=0.1, by_review=0.1)
    (found,) = judge(pd.Series([0.02]), [one], 0.01).to_dict("records")
    part = (2e-4 + 0.1 / 2000) / 3
    total = part + 0.1 / 2000
    df = total**2 / (part**2 / 6)
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
    one = Spread(seeds=5, n=5000, df=28, by_seed=3e-4, by_answer=0.1, by_review=0.01)
    found = foresee([one], 10).iloc[0]
    error, df = one.standard_error(5, 5000)
    critical = stats.t.isf(0.05 / 10 / 2, df)
    assert stats.nct.sf(critical, df, found["detectable"] / error) == pytest.approx(0.8, abs=0.02)
    level = 0.05 / 10
    seeds = found["seeds_to_halve"]
    assert one.detectable(level, seeds, 5000) <= found["detectable"] / 2
    assert one.detectable(level, seeds - 1, 5000) > found["detectable"] / 2
    assert np.isnan(found["reviews_to_halve"])  # the seeds alone leave more than half


def test_reviews_halve_where_seeds_do_not_matter():
    one = Spread(seeds=3, n=1000, df=8, by_seed=0, by_answer=0.05, by_review=0.1)
    found = foresee([one], 1).iloc[0]
    assert found["reviews_to_halve"] == pytest.approx(4000, rel=0.05)
    few = Spread(seeds=3, n=130, df=8, by_seed=0, by_answer=0.05, by_review=0.1)
    found = foresee([few], 1).iloc[0]
    half = few.detectable(0.05, 3, found["reviews_to_halve"])
    assert half <= found["detectable"] / 2
