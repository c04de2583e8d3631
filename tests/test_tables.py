"""The tables of the summary, on made-up runs."""

import math

import pandas as pd
import pytest

from lib.analysis.wording import ALIKE, ALONE, SHOWN, UNDECIDED, what_would_decide
from lib.command.formats import (
    beginning,
    class_names,
    classes_named,
    counted,
    duration,
    interval,
    joined,
    over_seeds,
    p_is,
    p_value,
    plural,
    points,
)
from lib.page.tables import (
    cautions,
    conditions_table,
    cost_cells,
    data_curve_table,
    edge_notes,
    errors_table,
    estimate_cells,
    interval_cautions,
    notes,
    results_table,
    tuning_table,
    verdict_cautions,
    verdict_cells,
    verdict_note,
)


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
    return results_table(table, NO_BASELINES, "accuracy")


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
    assert any("Each number comes from one seed" in note for note in cautions(table))


def test_texts_stand_to_the_left_and_numbers_to_the_right():
    line = main_table(runs(("a", 1, 0.8))).splitlines()[1].strip("|").split("|")
    assert [cell[0] == ":" for cell in line] == [True, True, *[False] * 10]
    assert [cell[-1] == ":" for cell in line] == [False, False, *[True] * 10]


def test_seeds_give_mean_and_sample_deviation():
    table = runs(("a", 5, 0.80), ("a", 7, 0.82), ("a", 11, 0.84), ("b", 5, 0.7))
    rows = cells(main_table(table))
    assert rows["a"][2] == "3"
    assert rows["a"][5] == "**0.8200 ± 0.0200**"
    assert rows["a"][-1] == "5, 7, 11"
    texts = notes(table, 0.5, "accuracy", "tickets")
    assert "± is the standard deviation over seeds." in texts
    assert any("with 1 under Seeds comes from one seed" in text for text in cautions(table))


def test_the_lowest_loss_is_best_and_no_duration():
    table = runs(("a", 1, 0.8), ("b", 1, 0.9))
    rows = cells(main_table(table))
    assert (rows["a"][6], rows["b"][6]) == ("0.2000", "**0.1000**")
    assert (rows["a"][8], rows["b"][8]) == ("1m 20s", "1m 30s")
    assert rows["a"][9] == rows["b"][9] == "1,000"
    assert any(
        "depend on what else the machine does" in x
        for x in notes(table, 0.5, "accuracy", "tickets")
    )


def test_runs_at_the_majority_class_are_marked_and_never_best():
    table = runs(("a", 1, 0.502), ("b", 1, 0.7), ("c", 1, 0.512))
    rows = cells(main_table(table))
    assert set(rows) == {"a †", "b", "c †"}
    assert rows["b"][3] == "**0.7000**"
    table.loc[2, ["train_accuracy", "loss"]] = 0.99, 0.01
    rows = cells(main_table(table))
    assert (rows["c †"][3], rows["b"][3]) == ("0.9900", "**0.7000**")
    assert (rows["c †"][6], rows["b"][6]) == ("0.0100", "**0.3000**")
    (note,) = [note for note in cautions(table) if "Did not learn" in note]
    assert "of 2 runs" in note and "permutation test, 1.3%)" in note
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
    [
        *((3.21, "3.2 s"), (9.94, "9.9 s"), (9.96, "10 s"), (45, "45 s"), (59.9, "1m 00s")),
        *((1274, "21m 14s"), (3599, "59m 59s"), (3600, "1h 00m"), (11100, "3h 05m")),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_numbers_in_sentences():
    assert [p_value(p) for p in (0.0316, 0.001, 0.00099, math.nan)] == [
        *("0.032", "0.001", "< 0.001", "n/a")
    ]
    assert [p_is(p) for p in (0.0316, 0.00099)] == ["p = 0.032", "p < 0.001"]
    assert [points(x) for x in (0.018, -0.0204, math.nan)] == ["+1.8", "-2.0", "n/a"]
    assert interval(0.1, 0.25, points) == "+10.0 to +25.0"
    assert interval(math.nan, math.nan, points) == "n/a"
    assert [plural(n, "seed") for n in (0, 1, 2, 5000)] == [
        *("0 seeds", "1 seed", "2 seeds", "5,000 seeds")
    ]
    assert [joined(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert joined(["a", "b", "c"], "or") == "a, b or c"
    assert [counted(n, "tickets") for n in (1, 5000)] == ["1 text", "5,000 tickets"]
    assert over_seeds(pd.Series([1.0, 2.0, 6.0]), "{:.3f}".format) == "3.000 ± 2.646"
    assert over_seeds(pd.Series([1.0]), "{:.3f}".format) == "1.000"


def test_texts_and_classes():
    assert beginning("one two  three", 13) == "one two three"
    assert beginning("one two three", 12) == "one two …" == beginning("one two three", 7)
    assert class_names({"labels": ["bad", "good"], "classes": [3, 4]}) == ["bad", "good"]
    assert class_names({"labels": [], "classes": [3, 4, 5]}) == ["0", "1", "2"]
    assert classes_named("2 0", ["x", "y", "z"]) == "z or x" and classes_named(1, ["x", "y"]) == "y"


VERDICT = {"question": "Which?", "first": "a", "second": "b", "margin": 0.01, "settings": 2.0}
VERDICT |= {"seeds": 3.0, "n": 1200.0, "difference": 0.021, "low": -0.004, "high": 0.046}
VERDICT |= {"p": 0.11, "p_holm": 0.22, "p_alike": 0.33, "p_alike_holm": 0.44, "detectable": 0.032}
VERDICT |= {"seeds_to_halve": 9.2, "reviews_to_halve": math.nan, "rests_on_others": False}
VERDICT |= {"groups": math.nan}


def test_each_verdict_has_the_p_that_it_is_judged_by():
    verdicts = (SHOWN, UNDECIDED, ALIKE, ALONE)
    rows = [VERDICT | {"verdict": verdict} for verdict in verdicts]
    rows[3] |= {"question": "Why?", "seeds": 1.0, "p_holm": math.nan}
    none = dict.fromkeys(VERDICT, math.nan) | {"question": "Not?", "verdict": "not asked"}
    rows[2] |= {"rests_on_others": True}
    cells = verdict_cells(pd.DataFrame([*rows, none | {"first": None}]), "tickets")
    assert cells["Verdict"].tolist() == [SHOWN, UNDECIDED, f"{ALIKE} ‡", ALONE]
    assert cells["p"].tolist() == ["0.220", "0.220", "0.440", "0.110"]
    decide = "3.2 points would be found; half of that with 10 seeds"
    assert cells.iloc[1].tolist() == [
        *("", "b − a", UNDECIDED, "+2.1", "-0.4 to +4.6", "0.220", "2", "3", "1,200", decide)
    ]
    assert cells["What would decide it"].tolist() == ["", decide, "", ""]
    assert cells["Question"].tolist() == ["Which?", "", "", "Why?"]
    assert what_would_decide(VERDICT | {"reviews_to_halve": 4800.0}, "tickets").endswith(
        "or 4,800 tickets"
    )
    note = verdict_note(pd.DataFrame(rows), "accuracy", "tickets")
    assert "correction over the 3 lines" in note and "margin of 1 point are" in note
    assert "Seeds and test tickets" in note and "Identical" not in note
    others, alone = verdict_cautions(pd.DataFrame(rows), "accuracy", "tickets")
    assert others.startswith("‡ rests on") and "needs three seeds" in alone


def test_estimates_are_told_with_what_they_share():
    shared = {"model": "", "pooling": "cls", "batch": 32, "variant": "base"}
    row = VERDICT | shared | {"seeds": 4.0}
    cells = estimate_cells(pd.DataFrame([row, row | {"model": "m", "pooling": ""}]))
    names = ["Question", "Difference", "Model", "Pooling", "Batch", "Variant"]
    assert cells.columns.tolist() == [*names, "Points", "95% interval", "Seeds"]
    assert cells.to_numpy().tolist() == [
        ["Which?", "b − a", "", "cls", "32", "base", "+2.1", "-0.4 to +4.6", "4"],
        ["", "b − a", "m", "", "32", "base", "+2.1", "-0.4 to +4.6", "4"],
    ]


def test_costs_add_up_to_all():
    table = pd.DataFrame(
        {"part": ["x", "y"], "jobs": [2, 5], "seconds": [90.0, 30.0], "share": [0.75, 0.25]}
    )
    assert cost_cells(table).to_numpy().tolist() == [
        ["x", "2", "1m 30s", "75%"],
        ["y", "5", "30 s", "25%"],
        ["all", "", "2m 00s", "100%"],
    ]


def test_rates_are_told_from_the_lowest_with_the_chosen_one_in_bold():
    setting = {"model": "m", "pooling": "cls", "batch": 32, "setting": "base (tuned)"}
    setting["choose_by"] = "macro_f1"
    rates = [(5e-5, 0.8, False, False), (1e-5, 0.9, True, True), (2e-4, 0.7, False, False)]
    names = ("learning_rate", "value", "chosen", "edge")
    rows = [setting | dict(zip(names, each, strict=True)) for each in rates]
    middle = [row | {"batch": 64} for row in rows]
    middle[1] = middle[1] | {"edge": False}
    table = pd.DataFrame([*rows, *middle])
    found = [[cell.strip() for cell in line.split("|")] for line in tuning_table(table).split("\n")]
    told = "**1e-05: 0.9000**, 5e-05: 0.8000, 0.0002: 0.7000"
    assert [row[3:7] for row in found[2:]] == [
        ["32", "base (tuned)", told, "yes"],
        ["64", "base (tuned)", told, ""],
    ]
    assert found[0][5] == "Validation macro F1 at each learning rate"
    assert edge_notes(table)[0].startswith("**1 of 2 chosen rates are at the edge")
    assert edge_notes(pd.DataFrame(middle)) == []


def test_points_of_curves_in_their_columns():
    rows = [
        ("b", 500, 0.8, 0.7, 1.2, 3, 3),
        ("b", 1500, 0.9, 0.85, 0.95, 2, 3),
        ("a", 500, 0.6, -0.1, 0.7, 1, 1),
    ]
    names = ["curve", "examples", "value", "low", "high", "learned", "seeds"]
    assert cells(data_curve_table(pd.DataFrame(rows, columns=names), "tickets")) == {
        "b": ["0.8000 (0.7000 to 1.0000)", "0.9000 (0.8500 to 0.9500) †"],
        "a": ["0.6000 (0.0000 to 0.7000)", "-"],
    }


def test_conditions_have_their_own_columns():
    row = {"model": "m", "pooling": "cls", "batch": 32, "variant": "base", "seeds": 3, "learned": 3}
    row |= {"value": 0.8, "low": 0.7, "high": 0.9, "macro_f1": 0.6, "calibration_error": 0.1}
    row |= {"calibration_error_after": 0.05, "brier_after": 0.15}
    rows = [
        row | {"brier": 0.2, "deviation": 0.0123},
        row | {"brier": 0.3, "deviation": math.nan, "model": "n", "learned": 2},
    ]
    assert cells(conditions_table(pd.DataFrame(rows), "accuracy")) == {
        "m": [
            "cls",
            "32",
            "3",
            "0.8000 ± 0.0123",
            "0.7000 to 0.9000",
            "0.6000",
            "0.1000 → 0.0500",
            "0.2000 → 0.1500",
        ],
        "n †": [
            "cls",
            "32",
            "3",
            "0.8000",
            "0.7000 to 0.9000",
            "0.6000",
            "0.1000 → 0.0500",
            "0.3000 → 0.1500",
        ],
    }


def test_the_first_errors_are_shown():
    rows = pd.DataFrame({"id": range(20), "label": 1, "confidence": 0.87654, "text": "a text"})
    found = cells(errors_table(rows, ["bad", "good"], {"label": "Label", "confidence": "Sure"}))
    assert list(found) == [str(i) for i in range(8)]
    assert found["7"] == ["good", "0.877", "a text"]


def test_few_right_or_wrong_answers_of_a_class_are_warned_of():
    rows = [  # label, recall and n of runs that learned, or not
        (0, 0.5, 20, True),
        (1, 0.09, 100, True),
        (2, 0.95, 180, True),
        (3, 0.0, 100, False),
    ]
    table = pd.DataFrame(rows, columns=["label", "recall", "n", "learned"])
    (text,) = interval_cautions(table, ["even", "missed", "found", "failed"])
    assert text.startswith("**Few answers of a kind**: of missed and found, some runs")
    assert interval_cautions(table[table["label"].isin([0, 3])], ["even", "", "", "failed"]) == []
