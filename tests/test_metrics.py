"""What is measured on predictions, against numbers by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from lib.files.predictions import Predictions, read_predictions, write_predictions
from lib.training.metrics import chance_p, fit_temperature, measure

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
        "balanced_accuracy": pytest.approx((1 + 1 / 2 + 0) / 3),
        "loss": pytest.approx(-np.log([0.5, 0.7, 0.3, 0.3]).mean()),
        "macro_f1": pytest.approx((2 / 3 + 1 / 2 + 0) / 3),  # not weighted by 1, 2 and 1 reviews
        "n": 4,
    }


def test_predictions_are_read_by_id_whatever_their_order(tmp_path):
    write_predictions(tmp_path, np.array([9, 1, 5, 3]), np.log(PROBABILITIES), LABEL, 1.5)
    found = read_predictions(tmp_path)
    assert found.index.tolist() == [1, 3, 5, 9]
    assert found["calibrated"].iloc[3] == pytest.approx(0.4436, abs=1e-4)  # of 0.5, 0.3 and 0.2
    assert found["label"].tolist() == [1, 1, 2, 0] and found["prediction"].tolist() == [1, 0, 1, 0]


def test_absent_classes_have_no_part_in_balanced_accuracy():
    found = measure(Predictions.of(np.log(PROBABILITIES[:3]), np.array([0, 1, 1])))
    assert found["balanced_accuracy"] == 1
    found = measure(Predictions.of(np.log(PROBABILITIES[:3]), np.array([0, 2, 2])))
    assert found["balanced_accuracy"] == 0.5 and found["macro_f1"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("classes", [2, 3])
def test_chance_is_any_order_of_the_same_predictions(classes):
    rng = np.random.default_rng(classes)
    label = np.sort(rng.integers(0, classes, 40))
    prediction = np.where(rng.random(40) < 0.15, label, rng.integers(0, classes, 40))
    right = (label == prediction).sum()
    orders = [(label == rng.permutation(prediction)).sum() for _ in range(20_000)]
    assert 0.005 < np.mean(orders >= right) < 0.3
    assert chance_p(label, prediction) == pytest.approx(np.mean(orders >= right), abs=0.01)


@pytest.mark.parametrize("shares", [(950, 50), (200, 700, 100)])
def test_to_answer_the_same_always_is_chance_and_to_find_a_rare_class_is_not(shares):
    label = np.repeat(np.arange(len(shares)), shares)
    assert chance_p(label, np.full(1000, np.argmax(shares))) == 1
    found = label.copy()
    found[label == np.argmax(shares)][:300] = 0
    often = np.flatnonzero(label == np.argmax(shares))[:100]
    found[often] = np.argmin(shares)  # less often right than who always answers the same, or not
    assert chance_p(label, found) < 1e-9
    assert chance_p(label, np.roll(found, 500)) > 0.05


def test_the_temperature_makes_validation_most_likely():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(4000, 3))
    label = np.array([rng.choice(3, p=row) for row in softmax(logits, axis=1)])
    for factor in (0.4, 1.0, 5.0):  # too unsure, right, too sure
        assert fit_temperature(factor * logits, label) == pytest.approx(factor, rel=0.1)
    assert fit_temperature(9 * logits.astype(np.float32), label) == pytest.approx(9, rel=0.1)
    assert fit_temperature(100 * rng.normal(size=(4000, 3)), label) == pytest.approx(20, rel=1e-3)


def test_what_tells_of_no_temperature_has_that_of_one():
    logits = np.array([[2.0, 1.0], [1.0, 3.0]])
    assert fit_temperature(logits, np.array([0, 1])) == 1  # all right: the surer, the better
    assert fit_temperature(logits * [1, np.nan], np.array([0, 0])) == 1
    assert fit_temperature(logits * [1, np.inf], np.array([0, 0])) == 1


def test_a_temperature_changes_how_sure_predictions_are_and_nothing_else(tmp_path):
    found = []
    for temperature in (1.0, 2.0):
        write_predictions(tmp_path, np.arange(4), np.log(PROBABILITIES), LABEL, temperature)
        found.append(read_predictions(tmp_path))
    before, after = found
    roots = np.sqrt(PROBABILITIES)
    chances = roots / roots.sum(axis=1, keepdims=True)
    assert after["calibrated"].tolist() == pytest.approx(chances.max(axis=1).tolist())
    assert before["calibrated"].equals(before["confidence"])
    pd.testing.assert_frame_equal(*(each.drop(columns="calibrated") for each in found))
    table = pd.read_parquet(tmp_path / "probabilities.parquet")
    assert [*table] == ["id", "probability_0", "probability_1", "probability_2"]
    np.testing.assert_allclose(table.iloc[:, 1:], chances, rtol=1e-6)
