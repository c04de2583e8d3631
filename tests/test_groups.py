"""Errors clustered by groups of reviews, against independent formulations and whole studies."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm
from made_up import MadeUp, right_or_wrong
from scipy import stats
from scipy.linalg import block_diag, sqrtm

from lib.analysis.crossed import Part, Spread, seed_variance, spread
from lib.analysis.groups import count, freedom, units
from lib.analysis.statistics import (
    clustered_error,
    compare_pair,
    effective,
    mean_with_interval,
    proportion,
)
from lib.analysis.study import read_groups
from lib.command.console import UserError

UNEQUAL = np.repeat(range(6), [1, 9, 4, 1, 2, 5])
N = 400


def in_groups(groups: np.ndarray, rng: np.random.Generator, *shape: int) -> np.ndarray:
    """`(*shape, n)` numbers that deviate by group and by themselves."""
    of_groups = rng.normal(0, 0.7, (*shape, groups.max() + 1))
    return of_groups[..., groups] + rng.normal(0, 0.7, (*shape, len(groups)))


def variance_of_mean(values: np.ndarray, groups: np.ndarray) -> float:
    n = len(values)
    return (units(values - values.mean(), groups) ** 2).sum() / (n - 1) / n


def test_groups_of_one_size_have_the_error_of_a_clustered_regression():
    groups = np.arange(60) % 12
    values = in_groups(groups, np.random.default_rng(1))
    model = sm.OLS(values, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    assert variance_of_mean(values, groups) == pytest.approx(model.bse[0] ** 2)  # with G / (G - 1)
    assert freedom(groups) == pytest.approx(11)


def test_unequal_groups_have_the_variance_of_bell_and_mccaffrey():
    """Residuals of a group by the root of its block of I - H; Satterthwaite's df, near enough."""
    n = len(UNEQUAL)
    values = in_groups(UNEQUAL, np.random.default_rng(2))
    annihilator = np.eye(n) - 1 / n
    members = [np.flatnonzero(g == UNEQUAL) for g in range(6)]
    blocks = [annihilator[np.ix_(own, own)] for own in members]
    adjusted = block_diag(*(np.linalg.inv(sqrtm(block)) for block in blocks)) @ annihilator
    rows = np.array([adjusted[own].sum(axis=0) for own in members])
    sums = rows @ values
    assert variance_of_mean(values, UNEQUAL) == pytest.approx((sums**2).sum() / n**2)
    among = rows @ rows.T
    df = np.trace(among) ** 2 / (among**2).sum()
    assert 0.9 * df < freedom(UNEQUAL) <= df


def test_groups_of_one_change_nothing():
    deviations = np.random.default_rng(3).normal(0, 1, (2, 3, 50))
    assert (units(deviations, np.arange(50)) == units(deviations, None)).all()
    assert freedom(np.arange(50)) == pytest.approx(49) and freedom(None) == np.inf
    assert (count(np.array([0, 4, 4])), count(None)) == (2, None)


def test_repeated_reviews_tell_no_more_than_distinct_ones():
    rng, groups = np.random.default_rng(4), np.repeat(range(40), 7)
    hard, noise = rng.normal(0.5, 0.7, 40), rng.normal(0, 0.7, (2, 3, 40))
    right = hard + noise > 0
    again = np.repeat(right, 7, axis=-1)
    errors = []
    for each, known in ((right, None), (again, groups)):
        variance = seed_variance([each], known)
        gains = each[1].mean(axis=0) - each[0].mean(axis=0)
        found = spread(gains, 3, variance.strata(2, 0), known)
        errors.append(found.standard_error(3, each.shape[-1])[0])
    assert errors[0] == pytest.approx(errors[1])
    gains = right[1, 0].astype(float) - right[0, 0]
    of_all = mean_with_interval(np.repeat(gains, 7), groups)
    assert of_all == pytest.approx(mean_with_interval(gains))
    found = compare_pair(np.ones(280), again[0, 0], again[1, 0], groups)
    assert found.p == pytest.approx(stats.ttest_1samp(gains, 0).pvalue) and found.groups == 40
    assert (found.low, found.high) == pytest.approx(of_all[1:])
    quantiles = stats.t.isf(0.025, 279) / stats.t.isf(0.025, 39)
    variances = right[0, 0].var(ddof=1) / again[0, 0].var(ddof=1)
    expected = 40 / variances * quantiles**2
    assert effective(again[0, 0], groups) == pytest.approx(expected) and 36 < expected < 40


def test_the_effective_number_is_from_one_to_all():
    groups = np.repeat(range(10), 2)
    spread_out = np.tile([True, False], 10)  # one right and one wrong in each
    assert effective(spread_out, groups) == 20
    assert effective(np.ones(20, bool), groups) == 20
    assert effective(spread_out, np.zeros(20, int)) == 20
    lopsided = np.repeat([0, 1], [19, 1])
    assert effective(spread_out, lopsided) >= 1
    assert np.isfinite(proportion(spread_out, lopsided)).all()


def test_two_runs_that_err_alike_do_not_differ():
    right = right_or_wrong(60, 0.8, 1).astype(int)
    found = compare_pair(np.ones(60), right, right, np.arange(60) % 6)
    assert (found.p, found.difference) == (1, 0) and np.isnan([found.low, found.high]).all()


def test_few_groups_leave_few_degrees_of_freedom():
    one = Spread(3, 1000, [Part(by_seed=2e-5, by_answer=0.03, df=40)], by_review=0.2, freedom=4)
    seeds, reviews = (2e-5 + 0.03 / 1000) / 3, 0.2 / 1000
    variance = reviews + 0.03 / 1000 / 3  # of the groups, before that of the answers is taken off
    error, df = one.standard_error(3, 1000)
    assert error == pytest.approx(np.sqrt(seeds + reviews))
    assert df == pytest.approx((seeds + reviews) ** 2 / (seeds**2 / 40 + variance**2 / 4))
    error, df = one.standard_error(3, 2000)  # and twice as many groups
    seeds = (2e-5 + 0.03 / 2000) / 3
    assert df == pytest.approx(error**4 / (seeds**2 / 40 + (variance / 2) ** 2 / 9))
    error, df = one._replace(freedom=np.inf).standard_error(3, 2000)
    assert df == pytest.approx(error**4 / (seeds**2 / 40))


@pytest.mark.parametrize("sizes", [[8] * 30, [*range(1, 16)] * 2], ids=["equal", "unequal"])
def test_clustered_errors_are_right_on_average_over_whole_studies(sizes):
    """Where groups, too, are drawn anew; others are a quarter smaller and more."""
    rng, groups = np.random.default_rng(5), np.repeat(range(len(sizes)), sizes)
    n, weights = len(groups), np.array([-1, 1, 0, 0])
    differences, errors = [], []
    for _ in range(400):
        own = in_groups(groups, rng) + in_groups(groups, rng, 4, 1) + in_groups(groups, rng, 4, 3)
        right = 0.7 + own + rng.normal(0, 0.1, (4, 3, 1)) > 0
        gains = weights @ right.mean(axis=1)
        differences.append(gains.mean())
        pair = []
        for known in (groups, None):
            strata = seed_variance([right], known).strata(2, 0)
            pair.append(spread(gains, 3, strata, known).standard_error(3, n)[0])
        errors.append(pair)
    clustered, unclustered = np.sqrt(np.mean(np.square(errors), axis=0)) / np.std(differences)
    assert 0.93 < clustered < 1.15 and unclustered < 0.75 * clustered


def study_in(folder, groups, seeds=(1, 2, 3)) -> MadeUp:
    """Two models, with a baseline on all reviews and baselines on samples."""
    study = MadeUp(folder, N, groups=groups, variants={"base": {}, "n50": {"examples": 50}})
    for i, model in enumerate("ab"):
        for j, variant in enumerate(("base", "n50")):
            for seed in seeds:
                right = right_or_wrong(N, 0.8, 100 * i + 10 * j + seed)
                right[: 40 * (1 + i)] = True  # whole groups that one model labels right
                study.add(right, model, "cls", 64, variant, seed)
    study.add_baseline(right_or_wrong(N, 0.7, 99))
    for seed in (1, 2, 3):
        study.add_baseline(right_or_wrong(N, 0.7, 200 + seed), "full", 0.5, (50, seed))
    study.analyse()
    return study


def tables_of(study: MadeUp) -> dict[str, pd.DataFrame]:
    return {path.stem: study.read(path.stem) for path in study.tables.glob("*.parquet")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return study_in(tmp_path_factory.mktemp("plain"), None)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    return study_in(tmp_path_factory.mktemp("grouped"), [f"film {i // 20}" for i in range(N)])


@pytest.mark.parametrize("name", ["of one review each", "of all reviews"])
def test_groups_that_tell_nothing_leave_all_tables_as_they_are(tmp_path, plain, name):
    groups = [name] * N if "all" in name else [f"{i}" for i in range(N)]
    found, expected = tables_of(study_in(tmp_path, groups)), tables_of(plain)
    assert found.keys() == expected.keys() and len(found) > 10
    for table in found:
        if table != "costs":
            pd.testing.assert_frame_equal(found[table], expected[table], check_exact=True)
    assert found["findings"]["groups"].isna().all()


def test_a_study_in_groups_says_how_many_and_is_less_sure(plain, grouped):
    for table in ("conditions", "comparisons", "estimates", "findings"):
        counted = grouped.read(table)["groups"].dropna()
        assert set(counted) <= {20} and (table == "estimates" or len(counted))
    kinds = set(grouped.read("conditions")["interval"])
    assert kinds == {"seeds and reviews, clustered", "Wilson, clustered"}
    wider = []
    for table in ("measures", "conditions", "comparisons", "findings", "data_curve", "lengths"):
        found, expected = grouped.read(table), plain.read(table)
        widths = (found["high"] - found["low"]) / (expected["high"] - expected["low"])
        wider.append(widths.mean())
    assert min(wider) > 1.01
    assert grouped.read("findings")["df"].max() < plain.read("findings")["df"].max()
    assert grouped.read("findings")["p"].dropna().ne(plain.read("findings")["p"].dropna()).all()


def test_of_runs_alone_the_test_is_clustered_and_named(tmp_path):
    groups = [f"film {i // 20}" for i in range(N)]
    study = study_in(tmp_path, groups, seeds=(1,))
    first = study.read("findings").iloc[0]
    assert "t test, its error clustered by 20 groups, p = " in first["answer"]
    rows = study.read("comparisons").query("factor == 'model' and variant == 'base'")
    assert first["p"] <= 2 * rows["p"].min() and "McNemar" not in first["answer"]
    assert "that of the t test, its error clustered by 20 groups (the smallest" in study.page()


def test_groups_have_the_order_of_the_predictions(tmp_path):
    study = MadeUp(tmp_path, 6, groups=["b", None, "b", "a", None, "a"])  # written in reverse
    predictions = pd.DataFrame(index=pd.Index(study.ids, name="id"))
    assert read_groups(study.reviews, [predictions]).tolist() == [0, 1, 0, 2, 3, 2]
    with pytest.raises(UserError, match="holds other reviews than those that were labelled"):
        read_groups(study.reviews, [predictions.iloc[:5]])
    without = pq.read_table(study.reviews).drop(["group"])
    pq.write_table(without, study.reviews)
    assert read_groups(study.reviews, [predictions]) is None


def test_groups_that_sum_to_the_same_leave_an_error():
    groups, label = np.repeat(np.arange(3), 10), np.zeros(30, int)
    once = np.tile([1] + [0] * 9, 3)  # wrong once in each group
    found = compare_pair(label, once, label, groups)
    assert found.p > 0.05 and found.low < 0 < found.high
    assert clustered_error(label - once, groups) >= (once.var(ddof=1) / 30) ** 0.5
