"""The metric of a study: against scikit-learn and numerical derivatives, and on its page."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import MadeUp
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from lib.analysis.metrics import values_of
from lib.analysis.statistics import compare_pair, mean_of, proportion
from lib.data.reviews import MAX_CLASSES
from lib.page import figures

N = 300
LABELS = np.repeat([0, 1], [240, 60])


def macro_f1(label: np.ndarray, prediction: np.ndarray, weights: np.ndarray | None = None) -> float:
    return f1_score(label, prediction, average="macro", zero_division=0, sample_weight=weights)


def balanced(label: np.ndarray, prediction: np.ndarray, weights: np.ndarray | None = None) -> float:
    return balanced_accuracy_score(label, prediction, sample_weight=weights)


SCORES = {"balanced_accuracy": balanced, "macro_f1": macro_f1}


def answers(never: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions of four classes of unequal shares, of which one may go unpredicted."""
    rng = np.random.default_rng(4)
    label = rng.choice(4, 150, p=[0.6, 0.2, 0.15, 0.05]).astype(np.int8)
    prediction = np.where(rng.random(150) < 0.6, label, rng.integers(0, 4, 150)).astype(np.int8)
    return label, np.where(prediction == never, 0, prediction).astype(np.int8)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_as_many_classes_as_a_study_may_have_are_measured(metric):
    label = np.arange(MAX_CLASSES).astype(np.int8)
    assert values_of(label, label, metric).mean() == pytest.approx(1)


@pytest.mark.parametrize("never", [None, 2])
@pytest.mark.parametrize("metric", SCORES)
def test_values_are_the_metric_and_its_derivatives_by_the_weight_of_each_review(metric, never):
    label, prediction = answers(never)
    score = SCORES[metric]
    values = values_of(label, prediction, metric)
    assert values.mean() == pytest.approx(score(label, prediction), abs=1e-12)
    steps = 1e-5 * np.eye(len(label))
    slopes = [
        (score(label, prediction, 1 + step) - score(label, prediction, 1 - step)) / 2e-5
        for step in steps
    ]
    np.testing.assert_allclose(values - values.mean(), len(label) * np.array(slopes), atol=1e-7)


@pytest.mark.parametrize("metric", SCORES)
def test_the_error_is_that_of_a_jackknife(metric):
    label, prediction = (np.tile(each, 20) for each in answers())
    n = len(label)
    left_out = [
        SCORES[metric](np.delete(label, i), np.delete(prediction, i)) for i in range(n // 20)
    ]
    jackknife = (n - 1) ** 2 / n * np.var(left_out)
    error = values_of(label, prediction, metric).var(ddof=1) / n
    assert error == pytest.approx(jackknife, rel=0.02)


def test_balanced_accuracy_varies_as_recalls_of_classes_of_known_sizes_do():
    """Weights times right answers would add what the shares of the classes vary by."""
    label = LABELS
    right = np.concatenate([np.arange(240) < 180, np.arange(60) < 45])  # 3 of 4 of each class
    values = values_of(label, np.where(right, label, 1 - label), "balanced_accuracy")
    assert values.mean() == pytest.approx(0.75)
    assert values.var() / N == pytest.approx((0.1875 / 240 + 0.1875 / 60) / 4)
    assert (N / 2 / np.array([240, 60])[label] * right).var() > 1.2 * values.var()


def test_accuracy_is_whether_each_review_is_labelled_right():
    label, prediction = answers()
    values = values_of(label, prediction, "accuracy")
    assert values.dtype == bool and values.mean() == accuracy_score(label, prediction)
    assert mean_of(values) == proportion(values)


def test_a_class_without_reviews_counts_as_in_scikit_learn():
    label, prediction = np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 2, 0])
    assert values_of(label, prediction, "macro_f1").mean() == pytest.approx(
        macro_f1(label, prediction)
    )
    assert values_of(label, prediction, "balanced_accuracy").mean() == pytest.approx(7 / 12)


def test_two_runs_are_compared_by_a_t_test_of_their_values():
    label, first = answers()
    second = np.where(np.arange(len(label)) % 3 == 0, label, first)
    found = compare_pair(label, first, second, metric="macro_f1")
    assert found.value_second - found.value_first == pytest.approx(found.difference)
    one, other = (values_of(label, each, "macro_f1") for each in (first, second))
    test = stats.ttest_rel(other, one)
    assert found.p == pytest.approx(test.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval()))
    right = [(label == each).sum() for each in (first, second)]
    assert found.only_second - found.only_first == right[1] - right[0]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> MadeUp:
    """Two models on classes of 80 and 20%, of which the second finds the rarer one less often."""
    folder = tmp_path_factory.mktemp("unequal")
    study = MadeUp(folder, N, labels=LABELS, metric="macro_f1", variants={"few": {"examples": 600}})
    rng = np.random.default_rng(6)
    for model, found in (("a", 0.9), ("b", 0.3)):
        for variant in ("base", "few"):
            for seed in (1, 2, 3):
                right = rng.random(N) < np.where(LABELS == 1, found, 0.95)
                study.add(right, model, "cls", 32, variant, seed, valid=0.9)
    study.add_baseline(rng.random(N) < np.where(LABELS == 1, 0.5, 0.9))
    sources = folder / "published.csv"
    sources.write_text("source,model,pooling,effective_batch,test_accuracy\ns,a,cls,32,0.8\n")
    study.analyse(more=f"--published {sources}")
    study.text = study.page()
    return study


def predictions(study: MadeUp) -> dict[tuple[str, str], list[pd.DataFrame]]:
    """By model and variant those of each seed."""
    found: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for folder in study.runs:
        model, _, _, variant, _ = (part.partition("=")[2] for part in folder.parts[-5:])
        table = pd.read_parquet(Path(folder, "predictions.parquet"), partitioning=None)
        found.setdefault((model, variant), []).append(table)
    return found


def test_all_tables_are_in_the_metric(study):
    own = {
        key: np.mean([macro_f1(each["label"], each["prediction"]) for each in tables])
        for key, tables in predictions(study).items()
    }
    conditions = study.read("conditions").query("seeds > 1").set_index(["model", "variant"])
    assert conditions["value"].to_dict() == pytest.approx(own)
    assert conditions["macro_f1"].to_dict() == pytest.approx(own)
    assert (conditions["value"] < conditions["accuracy"] - 0.02).all()
    assert conditions["value"].between(conditions["low"], conditions["high"]).all()
    points = study.read("data_curve").query("model != 'TF-IDF, full text'")
    assert sorted(points["value"]) == pytest.approx(sorted(own.values()))
    findings = study.read("findings").dropna(subset="first")
    few = findings[findings["question"].str.contains("600")].iloc[0]
    assert few["difference"] == pytest.approx(own["b", "few"] - own["a", "few"])
    assert few["verdict"] == "difference shown"
    comparisons = study.read("comparisons").query("factor == 'model'")
    gains = comparisons["value_second"] - comparisons["value_first"]
    assert comparisons["difference"].to_numpy() == pytest.approx(gains.to_numpy())
    for name in ("measures", "conditions", "data_curve", "comparisons", "findings"):
        assert set(study.read(name)["metric"]) == {"macro_f1"}


def test_published_accuracies_are_compared_with_accuracies(study):
    (row,) = study.read("published").query("variant == 'base'").to_dict("records")
    tables = predictions(study)["a", "base"]
    own = np.mean([(each["label"] == each["prediction"]).mean() for each in tables])
    assert row["accuracy"] == pytest.approx(own) and row["low"] < own < row["high"]
    assert "Accuracies are compared, as sources state no other metric." in study.text


def test_the_page_speaks_of_the_metric(study):
    first = study.text.split("\n\n")[1]
    assert "points of macro F1" in first and "accuracy" not in first
    assert "Points are of macro F1" in study.text
    assert "What does macro F1 cost in seconds?" in study.text
    assert "The macro F1 of the answer that is always the most frequent class is 0.4444." in (
        study.text
    )
    header = next(line for line in study.text.splitlines() if "Train accuracy" in line)
    names = [name.strip() for name in header.split("|")]
    assert names.index("Macro F1") < names.index("Test accuracy") and names.count("Macro F1") == 1
    captions = [line for line in study.text.splitlines() if line.startswith("Test accuracy")]
    assert [line.partition(",")[0] for line in captions] == [
        "Test accuracy by length of the reviews"
    ]


@pytest.mark.parametrize("name", ["findings", "data_curve", "batches", "cost"])
def test_figures_are_in_the_metric(study, name):
    table = study.read({"batches": "conditions", "cost": "conditions"}.get(name, name))
    text = getattr(figures, name)(table, "macro_f1", "reviews").to_json()
    assert "est macro F1" in text and "accuracy (points)" not in text
    assert "Test accuracy" not in text
