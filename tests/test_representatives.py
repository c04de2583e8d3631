"""The run that stands for each model, on made-up rows of the table runs."""

import pandas as pd

from lib.analysis.representatives import representatives


def runs(*rows) -> pd.DataFrame:
    """Runs from (model, pooling, seed, validation accuracy, test accuracy)."""
    return pd.DataFrame(
        {
            "model": model,
            "pooling": pooling,
            "batch": 64,
            "variant": "base",
            "setting": "base",
            "chosen": True,
            "seed": seed,
            "valid_accuracy": valid,
            "accuracy": test,
            "chance_p": 0.5 if valid < 0.6 else 1e-9,
        }
        for model, pooling, seed, valid, test in rows
    )


def chosen(*rows) -> list[tuple]:
    found = representatives(runs(*rows))
    return list(found[["model", "pooling", "seed"]].itertuples(index=False, name=None))


def test_validation_chooses_and_the_test_does_not():
    rows = [("a", "cls", 1, 0.9, 0.7), ("a", "cls", 2, 0.8, 0.95), ("a", "max", 1, 0.7, 0.99)]
    assert chosen(*rows) == [("a", "cls", 1)]


def test_models_stand_in_the_condition_that_is_best_for_them_together():
    assert chosen(
        ("a", "cls", 1, 0.95, 0.5),
        ("b", "cls", 1, 0.70, 0.5),
        ("a", "max", 1, 0.85, 0.5),
        ("b", "max", 1, 0.84, 0.5),
        ("b", "mean", 1, 0.99, 0.5),
    ) == [("a", "max", 1), ("b", "max", 1)]


def test_where_no_condition_is_shared_each_model_has_its_best():
    rows = [("a", "cls", 1, 0.7, 0.9), ("a", "cls", 2, 0.8, 0.6), ("b", "max", 1, 0.9, 0.9)]
    assert chosen(*rows) == [("a", "cls", 2), ("b", "max", 1)]


def test_what_did_not_learn_stands_for_nothing():
    rows = [("a", "cls", 1, 0.8, 0.8), ("b", "cls", 1, 0.5, 0.9), ("c", "cls", 1, 0.55, 0.9)]
    assert chosen(*rows) == [("a", "cls", 1)]
    assert chosen(*rows[1:]) == []
