"""TF-IDF with logistic regression: what it learns from, what it is tuned on."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import call

import baseline
from lib.analysis.baseline import C, train_baseline, tune
from lib.command.console import UserError
from lib.data.sampling import first_of
from lib.training.metrics import chance_p

FILLER = ["film", "plot", "song", "scene"]
WORD = [("lovely salt pepper", 1), ("dreadful pepper salt", 0)]  # what differs is one word,
ORDER = [("salt pepper", 1), ("pepper salt", 0)]  # or the order of two,
BOTH = [("lovely pepper salt", 1), ("dreadful salt pepper", 0)]  # or the one against the other


def reviews(count: int, right: float = 1.0) -> tuple[list[str], np.ndarray]:
    """Reviews of six words and one that tells the label, with this probability."""
    rng = np.random.default_rng(count)
    labels = np.arange(count) % 2
    told = np.where(rng.random(count) < right, labels, 1 - labels)
    marks = np.where(told == 1, "lovely", "dreadful")
    return [f"{mark} {' '.join(rng.choice(FILLER, 6))}" for mark in marks], labels


def test_a_baseline_learns_words():
    model, settings = tune(*reviews(60), *reviews(40), "accuracy")
    texts, labels = reviews(50)
    assert (model.predict(texts) == labels).all()
    assert settings["valid_accuracy"] == 1 and settings["c"] in C


def test_texts_without_words_are_refused():
    with pytest.raises(UserError, match="TF-IDF finds no words in the training texts"):
        tune(["?", "!"], np.array([0, 1]), ["?", "!"], np.array([0, 1]), "accuracy")


def test_full_ties_go_to_the_setting_that_is_tried_first():
    texts, labels = ["same text"] * 30, np.array([0, 1, 1] * 10)
    model, settings = tune(texts, labels, texts[:9], labels[:9], "accuracy")
    assert settings == {
        "c": C[0],
        "words": 1,
        "valid_accuracy": pytest.approx(2 / 3),
        "temperature": pytest.approx(1, abs=1e-3),  # its share is that of validation as it is
    }
    assert model.predict(["same text"]).tolist() == [1]


@pytest.mark.parametrize("choose_by", ["accuracy", "balanced_accuracy", "macro_f1", "loss"])
def test_the_measure_that_is_asked_for_chooses_the_setting(monkeypatch, choose_by):
    found = [
        {"accuracy": 0.9, "balanced_accuracy": 0.5, "macro_f1": 0.5, "loss": 0.4},
        {"accuracy": 0.8, "balanced_accuracy": 0.9, "macro_f1": 0.5, "loss": 0.4},
        {"accuracy": 0.8, "balanced_accuracy": 0.5, "macro_f1": 0.9, "loss": 0.4},
        {"accuracy": 0.8, "balanced_accuracy": 0.5, "macro_f1": 0.5, "loss": 0.3},
    ]
    worst = {"accuracy": 0.1, "balanced_accuracy": 0.1, "macro_f1": 0.1, "loss": 9.0}
    told = iter([*found, *[worst] * (2 * len(C) - len(found))])
    monkeypatch.setattr("lib.analysis.baseline.measure", lambda _: next(told))
    _, settings = tune(*reviews(60), *reviews(40), choose_by)
    assert settings["c"] == C[list(worst).index(choose_by)] and settings["words"] == 1


@pytest.mark.parametrize(("right", "warnings"), [(1.0, 1), (0.8, 0)])
def test_the_best_setting_at_an_edge_is_said(caplog, right, warnings):
    caplog.set_level("WARNING")
    _, settings = tune(*reviews(300, right), *reviews(200, right), "accuracy")
    assert (settings["c"] == C[-1]) == bool(warnings)
    assert len(caplog.messages) == warnings
    assert all(f"C, {C[-1]:g}, is at the edge" in message for message in caplog.messages)


def baseline_of(folder, **splits: list[tuple[str, int]]) -> tuple[dict, pd.DataFrame]:
    """The test and the predictions of a baseline on splits of texts, each with its label."""
    for name, rows in splits.items():
        split = pd.DataFrame(rows * 10, columns=["text", "label"]).rename_axis("id").reset_index()
        split.to_parquet(folder / f"{name}.parquet")
    out = folder / "baselines" / "dataset=d" / "text=full"
    train_baseline(folder, None, 128, "auto", "accuracy", out)
    return json.loads((out / "test.json").read_text()), pd.read_parquet(out / "predictions.parquet")


@pytest.mark.parametrize(("valid", "test", "words"), [(ORDER, BOTH, 2), (BOTH, ORDER, 1)])
def test_validation_decides_and_the_test_does_not(tmp_path, valid, test, words):
    measured, _ = baseline_of(tmp_path, train=WORD, valid=valid, test=test)
    assert measured["words"] == words and measured["valid_accuracy"] == 1
    assert measured["accuracy"] < 1


def test_measures_are_those_of_their_splits_and_chance_is_that_of_validation(tmp_path):
    good, bad, middling = ("lovely", 1), ("dreadful", 0), ("plain", 2)
    train = [good, bad, bad, middling, ("plain", 0), ("plain", 2)]
    valid = [good, good, good, bad, middling, ("dreadful", 1)]
    test = [good, ("lovely", 0), ("lovely", 0), ("plain", 0), middling]
    measured, predictions = baseline_of(tmp_path, train=train, valid=valid, test=test)
    found = {name: measured[f"{name}accuracy"] for name in ("train_", "valid_", "")}
    assert found == pytest.approx({"train_": 5 / 6, "valid_": 5 / 6, "": 2 / 5})
    assert measured["n"] == 50 and predictions["prediction"].tolist() == [1, 1, 1, 2, 2] * 10
    labels, found = ([*row] * 10 for row in ([1, 1, 1, 0, 2, 1], [1, 1, 1, 0, 2, 0]))
    assert measured["chance_p"] == chance_p(np.array(labels), np.array(found))


def test_nothing_is_learned_from_validation(tmp_path):
    train = [("maybe good", 1), ("maybe bad", 0), ("perhaps good", 1), ("perhaps bad", 0)]
    valid = [("maybe good unseen", 1), ("perhaps bad", 0)]
    test = [("maybe", 1), ("perhaps", 0), ("unseen", 1)]
    measured, predictions = baseline_of(tmp_path, train=train, valid=valid, test=test)
    assert measured["valid_accuracy"] == 1
    assert predictions["confidence"].tolist() == pytest.approx([0.5] * 30, abs=1e-3)


def test_a_sample_is_that_of_the_runs_with_its_seed(tmp_path):
    found = {}
    for name, count in (("train", 200), ("valid", 80), ("test", 90)):
        texts, labels = reviews(count, 0.8)
        split = pd.DataFrame({"id": range(count), "text": texts, "label": labels})
        split.to_parquet(tmp_path / f"{name}.parquet")
    train = pd.read_parquet(tmp_path / "train.parquet")
    for name in ("sample", "alone"):
        out = tmp_path / name / "dataset=d" / "text=full"
        if name == "sample":
            out = out / "examples=40" / "seed=3"
            call(baseline, f"--splits {tmp_path} --examples 40 --seed 3 --out {out}")
        else:
            rows = first_of(train["label"].to_numpy(), 40, 3)
            train.iloc[rows].to_parquet(tmp_path / "train.parquet")
            call(baseline, f"--splits {tmp_path} --out {out}")
        found[name] = json.loads((out / "test.json").read_text())
        found[name].pop("train_seconds")
        found[name]["predictions"] = pd.read_parquet(out / "predictions.parquet").to_dict()
    sample = {key: found["sample"].pop(key) for key in ("examples", "seed")}
    assert sample == {"examples": 40, "seed": 3}
    assert found["sample"] == found["alone"]


@pytest.mark.parametrize("given", [{"examples": 40}, {"seed": 3}])
def test_a_size_without_a_seed_is_refused(tmp_path, given):
    out = tmp_path / "dataset=d" / "text=full"
    with pytest.raises(UserError, match="give both"):
        train_baseline(tmp_path, None, 128, "auto", "accuracy", out, **given)
