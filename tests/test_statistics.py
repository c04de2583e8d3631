"""Each statistic against a textbook case or an independent calculation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss

from lib.analysis.statistics import (
    acceptance,
    brier,
    calibration_error,
    compare_pair,
    holm,
    mean_with_interval,
    proportion,
    reliability,
)

NAN = float("nan")


def test_wilson_interval_of_eight_in_ten():
    estimate = proportion(np.arange(10) < 8)
    assert estimate.value == 0.8
    assert (estimate.low, estimate.high) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    z, n, p = 1.959964, 500, 0.9
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert proportion(np.arange(500) < 450)[1:] == pytest.approx(
        (middle - half, middle + half), abs=1e-6
    )


def test_t_interval_of_three_seeds():
    estimate = mean_with_interval(np.array([0.80, 0.82, 0.84]))
    half = 4.302653 * 0.02 / np.sqrt(3)  # the 97.5% quantile of t with 2 degrees of freedom
    assert estimate == pytest.approx((0.82, 0.82 - half, 0.82 + half), abs=1e-6)
    assert mean_with_interval(np.array([0.8, 0.8])) == pytest.approx((0.8, NAN, NAN), nan_ok=True)


def test_mcnemar_is_a_binomial_test_of_the_discordant_pairs():
    label = np.zeros(40, int)
    first, second = label.copy(), label.copy()
    first[:12] = 1  # the first is wrong here, of which the second shares 3
    second[9:14] = 1
    found = compare_pair(label, first, second)
    assert (found.only_first, found.only_second, found.n) == (2, 9, 40)
    assert found.p == pytest.approx(stats.binomtest(2, 11).pvalue)
    assert found.p == pytest.approx(2 * (1 + 11 + 55) / 2**11)
    assert found.difference == pytest.approx(7 / 40)
    assert (found.value_first, found.value_second) == (28 / 40, 35 / 40)
    assert found.agreement == 29 / 40


def test_agreement_counts_equal_predictions_even_if_both_are_wrong():
    found = compare_pair(np.array([0, 0, 0, 0]), np.array([1, 2, 0, 0]), np.array([1, 1, 0, 0]))
    assert (found.agreement, found.difference, found.p) == (0.75, 0, 1)
    assert np.isnan([found.low, found.high]).all()


def test_a_difference_has_the_interval_of_its_mean_over_reviews():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 4000)
    first = np.where(rng.random(4000) < 0.85, label, 1 - label)
    second = np.where(rng.random(4000) < 0.88, label, 1 - label)
    found = compare_pair(label, first, second)
    gains = (second == label).astype(float) - (first == label)
    half = 1.96 * gains.std() / np.sqrt(4000)
    normal = (gains.mean() - half, gains.mean() + half)
    assert (found.low, found.high) == pytest.approx(normal, abs=1e-4)


def test_holm_of_a_textbook_family():
    adjusted = holm(pd.Series([0.01, 0.04, 0.03, 0.005]))
    assert adjusted.tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(pd.Series([], dtype=float)).empty


def test_calibration_of_a_case_computed_by_hand():
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = np.array([True, True, True, False, True, False])
    bins = reliability(right, confidence)
    assert bins["n"].tolist() == [2, 4]
    assert bins["accuracy"].tolist() == [0.5, 0.75]
    assert calibration_error(bins) == pytest.approx((4 * 0.20 + 2 * 0.05) / 6)
    squares = 3 * 0.05**2 + 0.95**2 + 0.45**2 + 0.55**2
    assert brier(right, confidence) == pytest.approx(squares / 6)


def test_confidences_are_in_fifteen_bins_of_equal_width():
    confidence = np.concatenate([np.arange(15) + 0.02, np.arange(15) + 0.98]) / 15
    assert reliability(np.ones(30, bool), confidence)["n"].tolist() == [2] * 15


def test_a_confidence_of_one_is_in_the_last_bin():
    bins = reliability(np.array([True, True]), np.array([1.0, 0.99]))
    assert bins["n"].tolist() == [2]


def test_brier_of_two_classes_is_that_of_the_positive_class():
    rng = np.random.default_rng(2)
    positive, label = rng.random(200), rng.integers(0, 2, 200)
    prediction = (positive > 0.5).astype(int)
    confidence = np.where(prediction == 1, positive, 1 - positive)
    assert brier(prediction == label, confidence) == pytest.approx(
        brier_score_loss(label, positive)
    )


def test_as_many_are_accepted_as_promise_the_wanted_accuracy():
    confidence = np.array([0.7, 0.99, 0.9, 0.97, 0.7, 0.96, 0.6, 0.9], np.float32)
    right = np.array([0, 1, 0, 1, 1, 1, 0, 1], bool)
    found = acceptance(right, confidence)
    wanted = found.dropna(subset="wanted").set_index("wanted")
    # 0.99, 0.97 and 0.96 promise 0.973; with both of 0.9 it is 0.944, with both of 0.7 0.874
    assert wanted["n"].to_dict() == {0.9: 5, 0.95: 3, 0.98: 2, 0.99: 1}
    assert wanted["threshold"].tolist() == pytest.approx([0.9, 0.96, 0.97, 0.99])
    assert wanted["share"].tolist() == [5 / 8, 3 / 8, 2 / 8, 1 / 8]
    assert wanted["expected"].tolist() == pytest.approx([0.944, 2.92 / 3, 0.98, 0.99])
    assert wanted["accuracy"].tolist() == [4 / 5, 1, 1, 1]
    low, high = stats.binomtest(4, 5).proportion_ci(method="wilson")
    assert wanted.loc[0.9, ["low", "high"]].tolist() == pytest.approx([low, high])
    curve = found[found["wanted"].isna()]
    assert curve["n"].tolist() == [1, 2, 3, 5, 7, 8]  # equal confidences go together
    assert curve["accuracy"].tolist() == pytest.approx([1, 1, 1, 4 / 5, 5 / 7, 5 / 8])


def test_nothing_is_accepted_where_nobody_is_sure_enough_or_confidences_are_no_numbers():
    unsure = acceptance(np.array([True, False]), np.array([0.8, 0.6]))
    assert unsure["wanted"].isna().all() and unsure["share"].tolist() == [0.5, 1]
    none = acceptance(np.array([True, False]), np.array([0.8, np.nan]))
    assert none.empty and [*none] == [*unsure]


def test_what_is_accepted_has_an_interval_that_counts_groups():
    rng = np.random.default_rng(1)
    right = np.repeat(rng.random(40) < 0.8, 10)  # of a group, all or none
    alone, grouped = (
        acceptance(right, rng.random(400) ** 0.01, groups).dropna(subset="wanted").iloc[0]
        for groups in (None, np.repeat(np.arange(40), 10))
    )
    assert grouped["high"] - grouped["low"] > 1.5 * (alone["high"] - alone["low"])
