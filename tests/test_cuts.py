"""Accuracy and seconds by what is seen of a text: the table by hand, the figure, the page."""

import itertools

import numpy as np
import pandas as pd
import pytest
from made_up import SETTINGS, MadeUp, right_or_wrong
from test_uneven import rows_of

from lib.page import figures
from lib.page.tables import cut_table

N = 60
VARIANTS = {
    "long": {"max_length": 256},
    "short": {"max_length": 64},
    "tail": {"truncation": "tail"},
    "both": {"max_length": 64, "epochs": 9},  # differs in more than the cut from all others
}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> MadeUp:
    """Two models, of which one sees texts in one way alone, and the baselines of both."""
    study = MadeUp(tmp_path_factory.mktemp("cuts"), N, variants=VARIANTS)
    number = itertools.count()
    for variant, seed in itertools.product(("long", "base", "tail", "short", "both"), (1, 2)):
        right = right_or_wrong(N, 0.75, next(number))
        study.add(right, "a", "cls", 8, variant, seed, seconds=100.0 + next(number))
    for seed in (1, 2):
        study.add(right_or_wrong(N, 0.75, next(number)), "b", "cls", 8, "base", seed)
    study.add_baseline(right_or_wrong(N, 0.8, next(number)))
    for variant in ("long", "base", "short", "tail"):
        cut = SETTINGS | VARIANTS.get(variant, {})
        study.add_baseline(right_or_wrong(N, 0.8, next(number)), "seen-by-a", cut=cut)
    study.add_baseline(right_or_wrong(N, 0.8, next(number)), "seen-by-b")
    study.analyse()
    return study


def test_rows_are_the_conditions_that_differ_in_the_cut_alone_and_their_baselines(study):
    table = study.read("cuts")
    rows = table[["curve", "max_length", "truncation"]].astype(object)
    assert rows.where(rows.notna(), None).to_numpy().tolist() == [
        ["a", 64, "auto"],
        ["a", 128, "auto"],
        ["a", 128, "tail"],
        ["a", 256, "auto"],
        ["TF-IDF, tokens of a", 64, "auto"],
        ["TF-IDF, tokens of a", 128, "auto"],
        ["TF-IDF, tokens of a", 128, "tail"],
        ["TF-IDF, tokens of a", 256, "auto"],
        ["TF-IDF, full text", None, ""],
    ]


def test_numbers_are_those_of_the_conditions_and_of_the_runs(study):
    found = study.read("cuts").iloc[:4]
    conditions = study.read("conditions").query("model == 'a'").set_index("variant")
    expected = conditions.loc[["short", "base", "tail", "long"]]
    for name in ("seeds", "learned", "value", "low", "high", "train_seconds"):
        assert found[name].tolist() == pytest.approx(expected[name].tolist(), nan_ok=True), name
    assert found["texts_cut"].tolist() == [32 / n for n in (64, 128, 128, 256)]
    assert found["tokens_lost"].tolist() == [16 / n for n in (64, 128, 128, 256)]
    baselines = study.read("cuts").iloc[4:]
    assert baselines["texts_cut"].isna().all() and (baselines["train_seconds"] == 2).all()


def test_runs_of_several_lengths_are_truncated_at_their_own(study):
    lengths = study.read("lengths").query("model == 'a' and by == 'truncation'")
    groups = lengths.groupby("variant")["group"].apply(set).to_dict()
    both = {"whole", "truncated"}
    cut = {"short": {"truncated"}, "both": {"truncated"}}
    assert groups == {"long": {"whole"}, "base": both, "tail": both, **cut}


def test_the_page_asks_and_answers_both_questions(study):
    page = study.page()
    study.draw("cuts")
    for text in ("How many tokens?", "Which part of a long text?", "256 tokens", "64 tokens"):
        assert text in page
    section = page.partition("## How much of a text")[2].partition("\n## ")[0]
    cells = [[each.strip() for each in line.split("|")[1:-1]] for line in section.splitlines()]
    rows = [row for row in cells if len(row) > 3][2:]
    assert [row[:5] for row in rows[:2]] == [
        ["a", "auto", "64", "50.0%", "25.0%"],
        ["a", "auto", "128", "25.0%", "12.5%"],
    ]
    assert rows[-1][:3] == ["TF-IDF, full text", "", "all"] and len(rows) == 9
    assert "figures/cuts.svg" in section
    seen = "64 tokens at most, head (short and both): 50.0% cut, 25.0% of their tokens lost"
    assert seen in page
    assert "nothing to show" not in (study.folder / "figures/cuts.svg").read_text()


def test_points_of_one_length_stand_side_by_side(study):
    chart = figures.cuts(study.read("cuts"), "accuracy", "texts").to_dict()
    points = [x for x in rows_of(chart) if "place" in x]
    places = pd.DataFrame(points).drop_duplicates()
    assert places["place"].nunique() == len(places) == 8
    assert (places["place"] / places["max_length"]).between(0.8, 1.25).all()


@pytest.mark.parametrize("baseline", [True, False])
def test_cuts_that_come_with_other_changes_are_no_curve(tmp_path, baseline):
    study = MadeUp(tmp_path, N, variants=VARIANTS)
    for variant in ("base", "both"):
        study.add(right_or_wrong(N, 0.75, 1), "a", "cls", 8, variant, 1)
    if baseline:
        study.add_baseline(right_or_wrong(N, 0.8, 2))
    study.analyse()
    assert "No two settings differ in the cut alone." in study.page()
    assert study.read("cuts").empty
    study.draw("cuts")
    assert "nothing to show" in (tmp_path / "figures/cuts.svg").read_text()


def test_parts_alone_are_drawn_at_their_one_length(tmp_path):
    study = MadeUp(tmp_path, N, variants=VARIANTS)
    for variant in ("base", "tail"):
        study.add(right_or_wrong(N, 0.75, 1), "a", "cls", 8, variant, 1)
    study.analyse()
    table = study.read("cuts")
    assert table["truncation"].tolist() == ["auto", "tail"]
    study.draw("cuts")
    assert ">128<" in (tmp_path / "figures/cuts.svg").read_text()


def test_one_cut_is_no_table(tmp_path):
    study = MadeUp(tmp_path, N)
    study.add(np.ones(N, bool), "a", "cls", 8, "base", 1)
    study.analyse()
    assert not (study.tables / "cuts.parquet").exists()


def test_cells_that_are_missing_are_marked():
    row = {"curve": "a", "truncation": "head", "max_length": 64, "seeds": 3, "learned": 2}
    row |= {"texts_cut": 0.801, "tokens_lost": 0.25, "value": 0.8, "low": 0.7, "high": 1.2}
    rows = [row | {"train_seconds": 61.0}, row | {"curve": "b", "max_length": None, "learned": 3}]
    rows[1] |= {"texts_cut": None, "tokens_lost": None, "train_seconds": 2.0}
    table = pd.DataFrame(rows).astype({"max_length": "Int64"})
    lines = [
        [x.strip() for x in line.split("|")[1:-1]]
        for line in cut_table(table, "accuracy").splitlines()
    ]
    assert lines[2][2:6] == ["64", "80.1%", "25.0%", "0.8000 (0.7000 to 1.0000) †"]
    assert lines[3][2:6] == ["all", "-", "-", "0.8000 (0.7000 to 1.0000)"]
