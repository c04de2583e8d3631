"""Accuracy over the number of training reviews: the table by hand, the figure, the page."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from made_up import TRAIN, MadeUp, right_or_wrong
from scipy import stats

from lib.analysis.statistics import proportion
from lib.command.formats import NOT_LEARNED
from lib.files.tables import write_table
from lib.page import figures
from lib.study.runs import Run, run_of

SEEDS = (1, 2, 3)
N = 400
VARIANTS = {"n50": {"examples": 50}, "n100": {"examples": 100}}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> MadeUp:
    """Two models and two texts at three sizes; one run of `b` does not learn.

    A pooling was tried at one size.
    """
    study = MadeUp(tmp_path_factory.mktemp("sizes"), N, variants=VARIANTS)
    number = itertools.count()
    for model, variant, seed in itertools.product("ab", ("n100", "base", "n50"), SEEDS):
        failed = (model, variant, seed) == ("b", "n50", 1)
        right = right_or_wrong(N, 0.7, next(number))
        study.add(right, model, "cls", 8, variant, seed, valid=0.5 if failed else None)
    study.add(right_or_wrong(N, 0.7, next(number)), "a", "max", 8, "n50", 1)
    for text in ("full", "seen-by-a"):
        study.add_baseline(right_or_wrong(N, 0.8, next(number)), text)
        for size, seed in itertools.product((50, 100), SEEDS):
            right = right_or_wrong(N, 0.6, next(number))
            study.add_baseline(right, text, 0.5, (size, seed))
    study.analyse()
    return study


def test_curves_have_sizes_in_their_order(study):
    table = study.read("data_curve")
    sizes = table.groupby("curve", sort=False)["examples"].apply(list).to_dict()
    names = ["a", "b", "TF-IDF, full text", "TF-IDF, 128 tokens of a"]
    assert sizes == {name: [50, 100, TRAIN] for name in names}
    assert table["setting"].tolist() == ["base"] * 6 + [""] * 6
    failed = table[table["learned"] < table["seeds"]]
    assert failed[["curve", "examples"]].to_numpy().tolist() == [["b", 50]]
    assert failed["low"].isna().all() and failed["value"].notna().all()


def test_encoders_have_the_numbers_of_their_conditions(study):
    conditions = study.read("conditions").query("pooling == 'cls'").set_index(["model", "variant"])
    table = study.read("data_curve").query("pooling == 'cls'")
    variants = table["examples"].map({50: "n50", 100: "n100", TRAIN: "base"})
    columns = ["seeds", "learned", "value", "low", "high", "deviation"]
    expected = conditions.loc[zip(table["model"], variants, strict=True), columns]
    pd.testing.assert_frame_equal(
        table[columns].reset_index(drop=True), expected.reset_index(drop=True)
    )


def test_baselines_over_seeds_by_hand(study):
    right = {}
    for folder in study.samples:
        found = pd.read_parquet(folder / "predictions.parquet", partitioning=None)
        right[run_of(folder)] = (found["label"] == found["prediction"]).to_numpy(float)
    names = ("TF-IDF, full text", "TF-IDF, 128 tokens of a")
    answers = np.array(
        [[right[Run("d", name, variant="100", seed=seed)] for seed in SEEDS] for name in names]
    )
    seeds, df = len(SEEDS), len(names) * (len(SEEDS) - 1)
    deviations = answers.mean(axis=2) - answers.mean(axis=(1, 2))[:, None]
    residual = answers - answers.mean(axis=1, keepdims=True) - deviations[:, :, None]
    answer = (residual**2).sum() / (df * (N - 1))
    seed = max((deviations**2).sum() / df, answer / N) / seeds
    table = study.read("data_curve").set_index(["curve", "examples"])
    for name, own in zip(names, answers, strict=True):
        review = max(own.mean(axis=0).var(ddof=1) - answer / seeds, 0) / N
        half = np.sqrt(seed + review) * stats.t.isf(0.025, df * ((seed + review) / seed) ** 2)
        row = table.loc[(name, 100)]
        assert row["value"] == pytest.approx(own.mean())
        assert row["deviation"] == pytest.approx(own.mean(axis=1).std(ddof=1))
        assert (row["low"], row["high"]) == pytest.approx((own.mean() - half, own.mean() + half))


def test_the_baseline_on_all_reviews_has_its_wilson_interval(study):
    row = study.read("data_curve").query(f"model == 'TF-IDF, full text' and examples == {TRAIN}")
    found = proportion(np.arange(N) < round(row["value"].item() * N))
    assert row[["value", "low", "high"]].to_numpy()[0] == pytest.approx(tuple(found))
    assert row["seeds"].item() == 1


def test_curves_of_a_model_are_named_by_what_they_differ_in(tmp_path):
    study = MadeUp(tmp_path, 60, variants=VARIANTS | {"n50-steep": {"examples": 50, "epochs": 9}})
    keys = [("a", "cls", "n50"), ("a", "cls", "n100"), ("a", "max", "n50"), ("a", "max", "n100")]
    for i, (model, pooling, variant) in enumerate([*keys, ("a", "cls", "n50-steep")]):
        study.add(right_or_wrong(60, 0.7, i), model, pooling, 8, variant, 1)
    study.add_baseline(right_or_wrong(60, 0.7, 9))
    study.analyse()
    table = study.read("data_curve")  # no run tells how many all reviews are
    assert table["curve"].tolist() == ["a, cls"] * 2 + ["a, max"] * 2
    assert table["examples"].tolist() == [50, 100] * 2


@pytest.mark.parametrize("daggers", [1, 0])
def test_the_figure_marks_what_did_not_learn(study, daggers, tmp_path):
    table = study.read("data_curve")
    if not daggers:
        table["learned"] = table["seeds"]
    drawn = MadeUp(tmp_path)
    write_table(drawn.tables, "data_curve", table)
    (tmp_path / "figures").mkdir()
    drawn.draw("data_curve", "data_curve")
    svg = (tmp_path / "figures/data_curve.svg").read_text()
    assert svg.count(f">{NOT_LEARNED}<") == daggers
    assert {">50<", ">100<", ">1,200<"} <= set(re.findall(r">[\d,]+<", svg))
    assert "stroke-dasharray" in svg


def test_points_of_one_size_stand_side_by_side(study):
    chart = figures.data_curve(study.read("data_curve"), "accuracy", "reviews").to_dict()
    places = pd.DataFrame(chart["data"]["values"])
    assert places["place"].nunique() == len(places)
    assert (places["place"] / places["examples"]).between(0.8, 1.25).all()
    moved = np.log(places["place"] / places["examples"]).groupby(places["examples"])
    assert moved.sum().abs().max() < 1e-9  # as far to the left as to the right


def test_baselines_stand_beside_encoders_that_learned_from_all_reviews(study):
    panels = figures.batches(study.read("conditions"), "accuracy", "reviews").to_dict()["concat"]
    dashed = {x["title"]: "strokeDash" in str(x) for x in panels}
    assert dashed == {
        "cls, n100": False,
        "cls, base": True,
        "cls, n50": False,
        "max, n50": False,
    }


def test_no_points_are_a_picture_that_says_so():
    assert "nothing to show" in figures.data_curve(pd.DataFrame(), "accuracy", "reviews").to_json()


def test_the_page_shows_the_curves(study):
    page = study.page()
    _, _, section = page.partition("## Learning curve over data")
    section = section.partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    assert "50 reviews" in rows[0] and "1,200 reviews" in rows[0]
    assert [row.split(" | ")[0].strip("| ") for row in rows[2:]] == [
        *("a", "b", "TF-IDF, full text", "TF-IDF, 128 tokens of a")
    ]
    assert section.count("(n/a) †") == 1 and "no verdict compares them" in section
    assert page.index("## Results") < page.index("## Learning curve over data")
