"""The run that stands for each model, on made-up rows of the table runs."""

import pandas as pd

from lib.analysis.representatives import representatives


def runs(*rows) -> pd.DataFrame:
    """Runs from (model, pooling, seed, validation accuracy), with a test that says the opposite."""
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
            "accuracy": 1 - valid,
            "valid_loss": 1.0,
            "settings.choose_by": "accuracy",
            "learned": valid >= 0.6,
        }
        for model, pooling, seed, valid in rows
    )


def chosen(*rows) -> list[tuple]:
    found = representatives(runs(*rows))
    return list(found[["model", "pooling", "seed"]].itertuples(index=False, name=None))


def test_the_best_condition_in_the_mean_wins_over_the_best_seed():
    lucky = [("a", "cls", seed, valid) for seed, valid in ((1, 0.95), (2, 0.70), (3, 0.75))]
    steady = [("a", "max", seed, valid) for seed, valid in ((1, 0.88), (2, 0.82), (3, 0.84))]
    assert chosen(*lucky, *steady) == [("a", "max", 3)]


def test_of_two_seeds_alike_near_the_median_the_better_stands():
    assert chosen(("a", "cls", 7, 0.8), ("a", "cls", 2, 0.9)) == [("a", "cls", 2)]
    assert chosen(("a", "cls", 7, 0.8), ("a", "cls", 2, 0.8)) == [("a", "cls", 7)]


def test_each_model_has_its_own_condition():
    rows = [("b", "cls", 1, 0.7), ("b", "max", 1, 0.9), ("a", "cls", 1, 0.8), ("a", "max", 1, 0.7)]
    assert chosen(*rows) == [("b", "max", 1), ("a", "cls", 1)]


def test_one_seed_does_not_win_over_a_mean_of_several():
    rows = [("a", "cls", seed, 0.8) for seed in (1, 2, 3)]
    assert chosen(("a", "max", 1, 0.85), *rows) == [("a", "cls", 1)]


def test_ties_go_to_the_lower_loss_and_then_to_the_first():
    table = runs(("a", "cls", 1, 0.8), ("a", "max", 1, 0.8), ("a", "padded-mean", 1, 0.8))
    assert representatives(table)["pooling"].tolist() == ["cls"]
    table["valid_loss"] = [0.6, 0.4, 0.4]
    assert representatives(table)["pooling"].tolist() == ["max"]


def test_only_chosen_rates_stand_for_a_model():
    table = runs(("a", "cls", 1, 0.9), ("a", "max", 1, 0.8)).assign(chosen=[False, True])
    assert representatives(table)["pooling"].tolist() == ["max"]


def test_what_did_not_learn_stands_for_nothing():
    rows = [("a", "cls", 1, 0.8), ("a", "cls", 2, 0.5), ("b", "cls", 1, 0.5), ("c", "cls", 1, 0.55)]
    assert chosen(*rows) == [("a", "cls", 1)]
    assert chosen(*rows[2:]) == []


def test_the_measure_of_the_first_run_chooses():
    table = runs(("a", "cls", 1, 0.9), ("a", "max", 1, 0.8)).assign(valid_macro_f1=[0.6, 0.7])
    for choose_by, best in (("accuracy", "cls"), ("macro_f1", "max"), ("loss", "max")):
        table["settings.choose_by"] = [choose_by, "accuracy"]
        found = representatives(table.assign(valid_loss=[0.5, 0.4]))
        assert found["pooling"].tolist() == [best]
