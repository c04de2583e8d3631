"""Each statistic against a textbook case or an independent calculation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss

from lib.analysis.statistics import (
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
