"""What is measured on predictions, against numbers by hand."""

import numpy as np
import pytest
from scipy import stats

from lib.files.predictions import Predictions, read_predictions, write_predictions
from lib.training.metrics import chance_p, measure

PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.6, 0.3, 0.1]])
LABEL = np.array([0, 1, 2, 1])


def test_predictions_are_the_most_likely_classes():
    found = Predictions.of(np.log(PROBABILITIES), LABEL)
    assert found.label.tolist() == [0, 1, 2, 1]
    assert found.prediction.tolist() == [0, 1, 1, 0]
    assert found.confidence.tolist() == pytest.approx([0.5, 0.7, 0.6, 0.6])
    assert found.loss.tolist() == pytest.approx(-np.log([0.5, 0.7, 0.3, 0.3]))


def test_measures_of_four_reviews_by_hand():
    found = measure(Predictions.of(np.log(PROBABILITIES), LABEL))
    assert found == {
        "accuracy": 0.5,
        "loss": pytest.approx(-np.log([0.5, 0.7, 0.3, 0.3]).mean()),
        "macro_f1": pytest.approx((2 / 3 + 1 / 2 + 0) / 3),  # not weighted by 1, 2 and 1 reviews
        "n": 4,
    }


def test_predictions_are_read_by_id_whatever_their_order(tmp_path):
    predictions = Predictions.of(np.log(PROBABILITIES), LABEL)
    write_predictions(tmp_path / "predictions.parquet", np.array([9, 1, 5, 3]), predictions)
    found = read_predictions(tmp_path)
    assert found.index.tolist() == [1, 3, 5, 9]
    assert found["label"].tolist() == [1, 1, 2, 0] and found["prediction"].tolist() == [1, 0, 1, 0]


def test_chance_is_the_share_of_the_largest_class():
    label = np.array([0, 0, 1, 1, 1, 1, 1, 2, 2, 2])
    of_ten = sum([120, 45, 10, 1])  # ways to get 7, 8, 9 or 10 of 10 right
    assert chance_p(0.7, label) == pytest.approx(of_ten / 2**10)
    assert chance_p(0.5, label) == pytest.approx(638 / 2**10)  # of 5 and more
    assert chance_p(0.0, label) == 1
    often = np.repeat([0, 1, 2], [200, 700, 100])
    assert chance_p(0.7, often) > 0.5  # who always answers the same has not learned


def test_the_number_of_right_answers_is_rounded():
    label = np.repeat([0, 1, 2, 3, 4], [10, 30, 20, 20, 20])
    assert 0.29 * 100 < 29
    assert chance_p(0.29, label) == pytest.approx(stats.binom.sf(28, 100, 0.3))
