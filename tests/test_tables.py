"""The tables of the summary, on made-up runs."""

import pandas as pd
import pytest

from lib.formats import duration
from lib.page.tables import notes, results_table


def runs(*rows):
    """Runs from (model, seed, accuracy), with 500 test reviews."""
    return pd.DataFrame(
        {
            "dataset": "d",
            "model": model,
            "pooling": "cls",
            "batch": 64,
            "variant": "base",
            "seed": seed,
            "train_accuracy": accuracy,
            "valid_accuracy": accuracy,
            "accuracy": accuracy,
            "loss": 1 - accuracy,
            "macro_f1": accuracy,
            "learned": accuracy >= 0.6,
            "chance_level": 0.013,
            "train_seconds": 100 * accuracy,
            "examples_per_second": 1000.0,
            "best_epoch": seed,
            "n": 500,
            "diverged": False,
        }
        for model, seed, accuracy in rows
    )


NO_BASELINES = pd.DataFrame()


def main_table(table: pd.DataFrame) -> str:
    return results_table(table, NO_BASELINES)


def cells(table: str) -> dict[str, list[str]]:
    """The rows of a Markdown table, by their first cell."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
    return {row[0]: row[1:] for row in rows[2:]}


def test_one_seed_has_no_deviation_and_a_note():
    table = runs(("a", 1, 0.8), ("b", 1, 0.9))
    rows = cells(main_table(table))
    assert rows["a"][2:6] == ["1", "0.8000", "0.8000", "0.8000"]
    assert rows["b"][3:6] == ["**0.9000**"] * 3
    assert "±" not in main_table(table)
    texts = notes(table, 0.5)
    assert any("Each number comes from one seed" in note for note in texts)


def test_seeds_give_mean_and_sample_deviation():
    table = runs(("a", 1, 0.80), ("a", 2, 0.82), ("a", 3, 0.84), ("b", 1, 0.7))
    rows = cells(main_table(table))
    assert rows["a"][2] == "3"
    assert rows["a"][5] == "**0.8200 ± 0.0200**"
    assert rows["a"][-1] == "1, 2, 3"
    texts = notes(table, 0.5)
    assert "± is the standard deviation over seeds." in texts
    assert any("with 1 under Seeds comes from one seed" in text for text in texts)


def test_the_lowest_loss_is_best_and_no_duration():
    table = runs(("a", 1, 0.8), ("b", 1, 0.9))
    rows = cells(main_table(table))
    assert (rows["a"][6], rows["b"][6]) == ("0.2000", "**0.1000**")
    assert (rows["a"][8], rows["b"][8]) == ("1m 20s", "1m 30s")
    assert rows["a"][9] == rows["b"][9] == "1,000"
    assert any("depend on what else the machine does" in x for x in notes(table, 0.5))


def test_runs_at_the_majority_class_are_marked_and_never_best():
    table = runs(("a", 1, 0.502), ("b", 1, 0.7), ("c", 1, 0.512))
    rows = cells(main_table(table))
    assert set(rows) == {"a †", "b", "c †"}
    assert rows["b"][3] == "**0.7000**"
    (note,) = [note for note in notes(table, 0.502) if "Did not learn" in note]
    assert "of 2 runs" in note and "binomial test, 1.3%)" in note
    assert "model=a pooling=cls batch=64 variant=base seed=1" in note


def test_a_table_of_failed_runs_has_no_best():
    assert "**" not in main_table(runs(("a", 1, 0.5), ("b", 1, 0.5)))


def test_a_diverged_run_is_no_number_and_never_best():
    table = runs(("a", 1, 0.8), ("b", 1, 0.9))
    table.loc[1, "loss"] = float("nan")
    rows = cells(main_table(table))
    assert (rows["a"][6], rows["b"][6]) == ("**0.2000**", "n/a")


def test_variants_are_shown_where_there_are_several():
    table = runs(("a", 1, 0.8), ("b", 1, 0.9))
    assert "Variant" not in main_table(table)
    table.loc[1, "variant"] = "sqrt-lr"
    assert "| sqrt-lr" in main_table(table)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.21, "3.2 s"), (45, "45 s"), (59.9, "1m 00s"), (1274, "21m 14s"), (11100, "3h 05m")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
