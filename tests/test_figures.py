"""The figures of a made-up study, as a browser shows them."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from browser import WIDTH, needs_chromium, opened
from conftest import call
from made_up import MadeUp, right_or_wrong

import draw
from lib.files.tables import write_table
from lib.page import figures
from lib.study.catalog import FIGURE

TOKENS = ["if", "datum.label", "'); alert(1)", "</script><script>alert(2)</script>", "\\", '"', "|"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> MadeUp:
    """Figures of two models, four poolings, three batches and two variants, some with two seeds."""
    variants = {"sqrt-lr": {"lr_scaling": "sqrt"}}
    study = MadeUp(tmp_path_factory.mktemp("drawn"), 200, variants=variants)
    poolings = ("cls", "padded-mean", "masked-mean", "max")
    number = itertools.count()
    for model, pooling, batch in itertools.product(
        ("bert", "modernbert"), poolings, (64, 256, 1024)
    ):
        for variant, seed in (("base", 1), ("base", 2), ("sqrt-lr", 1)):
            right = right_or_wrong(200, 0.85, next(number))
            study.add(right, model, pooling, batch, variant, seed)
    for text in ("full", "seen-by-bert", "seen-by-modernbert"):
        study.add_baseline(right_or_wrong(200, 0.8, next(number)), text)
    study.analyse()
    study.page(drawn=True)
    rng = np.random.default_rng(0)
    rows = [
        {"model": model, "id": i, "label": i % 2, "label_name": ["negative", "positive"][i % 2]}
        | {"prediction": int(rng.random() < 0.5), "confidence": 0.8, "x": x, "y": y}
        for model in ("bert", "modernbert")
        for i, (x, y) in enumerate(rng.normal(size=(80, 2)))
    ]
    write_table(study.tables, "tsne", rows)
    tokens = [*TOKENS, *(f"token{i}" for i in range(40))]
    weights = rng.dirichlet(np.ones(len(tokens)), size=(2, len(tokens)))
    rows = [
        {"model": model, "query": i, "key": j, "query_token": tokens[i], "key_token": tokens[j]}
        | {"weight": weights[k, i, j]}
        for k, model in enumerate(("bert", "modernbert"))
        for i, j in itertools.product(range(len(tokens)), repeat=2)
    ]
    write_table(study.tables, "attention", rows)
    settings = [
        {"model": model, "pooling": pooling, "batch": batch, "setting": f"{name} (tuned)"}
        | {"choose_by": "accuracy"}
        for model, pooling in (("bert", "cls"), ("bert", "max"), ("modernbert", "cls"))
        for batch, name in itertools.product((64, 256), ("base", "few", "steep"))
    ]
    rows = [
        setting | {"learning_rate": rate, "seeds": 3, "value": rng.random(), "chosen": not i}
        for setting in settings
        for i, rate in enumerate((1e-4, 3e-5, 3e-4))
    ]
    write_table(study.tables, "tuning", rows)
    rows = [
        setting | {"budget": budget, "expected": 0.8 - 0.2 / budget}
        for setting in settings
        for budget in range(1, 10)
    ]
    write_table(study.tables, "budgets", rows)
    rows = [
        {"curve": model, "model": model, "examples": examples, "seeds": 3, "learned": learned}
        | {"value": height, "low": height - 0.05, "high": height + 0.05}
        for i, model in enumerate(("bert", "modernbert", "TF-IDF, full text"))
        for examples, learned, height in ((125, 2, 0.6 + i / 50), (500, 3, 0.8))
    ]
    write_table(study.tables, "data_curve", rows)
    seen = ((64, "head", 0.6), (128, "head", 0.7), (512, "head", 0.8), (512, "head-tail", 0.82))
    rows = [
        {"curve": model, "model": model, "max_length": length, "truncation": part, "seeds": 3}
        | {"learned": 3 - (i + length == 64), "value": height + i / 50, "train_seconds": length}
        | {"low": height - 0.05, "high": height + 0.05}
        for i, model in enumerate(("bert", "modernbert", "TF-IDF, tokens of bert"))
        for length, part, height in seen
    ]
    name = "TF-IDF, full text"
    rows.append(rows[-1] | {"curve": name, "model": name, "max_length": None, "truncation": ""})
    write_table(study.tables, "cuts", rows)
    rows = study.read("conditions")[["model", "pooling", "batch", "variant"]]
    rows = rows.assign(
        form="torch", accuracy_change=0.0, tokens=None, median=np.arange(1, len(rows) + 1) / 1000
    )
    rows = rows.assign(low=0.9 * rows["median"], high=1.2 * rows["median"])
    write_table(study.tables, "latency", rows)
    study.draw(
        "latency", "conditions", "tsne", "attention", "tuning", "budgets", "data_curve", "cuts"
    )
    return study


# What a browser makes of an SVG: its width, and per text its size and how far it is outside.
READ_TEXTS = """() => {
  const svg = document.documentElement, frame = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll("text")].filter(each => each.textContent.trim());
  return {width: frame.width, texts: texts.map(each => {
    const box = each.getBoundingClientRect();
    return {
      text: each.textContent,
      size: parseFloat(getComputedStyle(each).fontSize),
      outside: Math.max(frame.left - box.left, frame.top - box.top,
                        box.right - frame.right, box.bottom - frame.bottom)};
  })};
}"""


@needs_chromium
@pytest.mark.parametrize("name", FIGURE)
def test_texts_are_legible_and_not_clipped(drawn, name):
    with opened(drawn.folder / f"figures/{name}.svg") as page:
        found = page.evaluate(READ_TEXTS)
    scale = min(1, WIDTH / found["width"])
    assert [text for text in found["texts"] if text["outside"] > 0] == []
    assert min(text["size"] for text in found["texts"]) * scale >= 7.5
    shown = {text["text"] for text in found["texts"]}
    titles = {
        "findings": {"Difference of test accuracy (points)", "Which encoder?", "modernbert − bert"},
        "learning_curves": {"Epoch", "Accuracy", "Loss (nats)", "Effective batch", "validation"},
        "batches": {
            "Effective batch (reviews)",
            "Test accuracy",
            "TF-IDF, full text",
            "cls, sqrt-lr",
        },
        "tuning": {"Learning rate (logarithmic)", "Validation accuracy", "0.0003", "64 base"},
        "budgets": {"Runs", "Expected validation accuracy", "9", "256 few", "bert, cls"},
        "data_curve": {"Training reviews (logarithmic)", "500", "bert", "TF-IDF, full text", "†"},
        "cuts": {
            *("Tokens of a text at most (logarithmic)", "Test accuracy", "64", "128", "512", "†"),
            *("Training (seconds, logarithmic)", "bert", "TF-IDF, full text", "head-tail"),
        },
        "cost": {"Training (seconds per run, logarithmic)", "Test accuracy", "bert"},
        "lengths": {"Words in the text", "truncated", "whole", "Test accuracy"},
        "reliability": {"Confidence", "Accuracy", "modernbert", "TF-IDF, full text"},
        "acceptance": {"Wanted accuracy", "90%", "Accuracy of these", "TF-IDF, full text"},
        "latency": {"Prediction of one of the test reviews (ms, logarithmic)", "Test accuracy"},
        "tsne": {"negative", "positive", "labelled wrongly", "modernbert"},
        "attention": {"attended token", "attending token", "Attention", "token7"},
    }
    assert titles[name] - shown == set()


@needs_chromium
@pytest.mark.parametrize("name", FIGURE)
def test_interactive_pages_need_no_network(drawn, name):
    with opened(drawn.folder / f"figures/{name}.html") as page:
        page.wait_for_selector("svg.marks")
        box = page.locator(".marks").bounding_box()
    assert box["width"] > 300 and box["height"] > 200


@pytest.mark.slow
def test_figures_are_the_same_again_and_white_behind(drawn, tmp_path):
    tables = dict.fromkeys(f"{drawn.tables}/{figure.table}.parquet" for figure in FIGURE.values())
    call(draw, f"{drawn.words} --tables {' '.join(tables)} --out {tmp_path}")
    for name in FIGURE:
        svgs = [
            re.sub(r"(gradient|clip)_?\d+", "", path.read_text())  # numbered within a process
            for path in (tmp_path / f"{name}.svg", drawn.folder / f"figures/{name}.svg")
        ]
        assert svgs[0] == svgs[1], name
        assert 'fill="white"' in svgs[0] and "<script" not in svgs[0]


def test_panels_of_a_grid_with_gaps_show_what_their_titles_say(tmp_path):
    study = MadeUp(tmp_path, 60)
    for i, (model, pooling, variant) in enumerate(
        [
            ("a", "cls", "base"),
            ("b", "cls", "base"),
            ("b", "max", "steep"),
            ("a", "padded-mean", "base"),
        ]
    ):
        study.add(right_or_wrong(60, 0.7, i), model, pooling, 64, variant, 1)
    study.analyse()
    found = figures.batches(study.read("conditions"), "accuracy", "reviews").to_dict()
    shown = {
        panel["title"]: {(row["pooling"], row["variant"]) for row in rows(found, panel)}
        for panel in found["concat"]
    }
    assert shown == {
        "cls, base": {("cls", "base")},
        "max, steep": {("max", "steep")},
        "padded-mean, base": {("padded-mean", "base")},
    }
    curves = figures.learning_curves(study.read("histories"), "accuracy", "reviews").to_dict()
    for panel in curves["concat"]:
        assert {f"{row['model']}, {row['pooling']}" for row in rows(curves, panel)} == {
            panel["title"]
        }


# How far the titles of panels are above their frames.
READ_TITLES = """() => [...document.querySelectorAll(".role-scope > g")].flatMap(panel => {
  const title = panel.querySelector(".role-title text");
  const top = each => each.getBoundingClientRect().top;
  return title ? [top(panel.querySelector("path.background")) - top(title)] : [];
})"""


@needs_chromium
@pytest.mark.parametrize(
    "name", ["learning_curves", "tuning", "budgets", "batches", "reliability", "tsne", "attention"]
)
def test_titles_of_panels_are_at_one_height(drawn, name):
    with opened(drawn.folder / f"figures/{name}.svg") as page:
        found = page.evaluate(READ_TITLES)
    assert len(found) > 1 and max(found) - min(found) < 0.1


def test_training_is_hollow_and_validation_filled(tmp_path):
    study = MadeUp(tmp_path, 60)
    study.add(right_or_wrong(60, 0.7, 1), "a", "cls", 64, "base", 1)
    study.analyse()
    histories = study.read("histories")
    write_table(study.tables, "histories", histories[histories["epoch"] == 1])
    (tmp_path / "figures").mkdir()
    study.draw("histories")
    svg = (tmp_path / "figures/learning_curves.svg").read_text()
    colour = figures.COLOURS[0]
    hollow = rf'fill="white" stroke="{colour}"'
    points = re.findall(rf'<path transform="[^"]*" d="[^"]+" (?:{hollow}|fill="{colour}")', svg)
    assert sum("white" in point for point in points) == 2  # of accuracy and loss
    assert {">validation<", ">training<"} <= set(re.findall(r">\w+<", svg))


def test_attention_is_on_one_scale_from_0_to_1(drawn):
    chart = figures.attention(drawn.read("attention"), "accuracy", "reviews").to_dict()
    colours = [panel["layer"][0]["encoding"]["color"] for panel in chart["concat"]]
    assert len(colours) == 2 and all(each["scale"]["domain"] == [0, 1] for each in colours)
    svg = (drawn.folder / "figures/attention.svg").read_text()
    assert svg.count(">Attention<") == 1


def test_the_legend_of_the_bins_names_numbers_that_there_are(drawn):
    table = drawn.read("reliability")
    chart = figures.reliability(table, "accuracy", "reviews").to_dict()
    shown = [
        layer["encoding"]["size"]["legend"]["values"]
        for layer in chart["concat"][0]["layer"]
        if "size" in layer["encoding"]
    ]
    assert len(shown) == 2 and shown[0] == shown[1] and set(shown[0]) <= set(table["n"])


def test_a_scale_of_equal_values_has_room_for_ticks():
    low, high = figures._spanning(pd.Series([0.5, 0.5])).to_dict()["domain"]
    assert low < 0.5 < high


def rows(chart: dict, panel: dict) -> list[dict]:
    """The data of a panel, which Altair keeps in one place for all."""
    data = panel.get("data") or panel["layer"][0]["data"]
    return data["values"] if "values" in data else chart["datasets"][data["name"]]


def test_marks_differ_in_shape_and_dash_besides_colour(drawn):
    curves = (drawn.folder / "figures/learning_curves.svg").read_text()
    assert "stroke-dasharray" in curves
    for name in ("batches", "cost", "lengths", "tsne"):
        svg = (drawn.folder / f"figures/{name}.svg").read_text()
        marks = svg.partition('class="mark-symbol')[2]
        points = re.findall(r'<path transform="[^"]*" d="([^"]+)" fill="(#[^"]+)"', marks)
        shape_of_colour = {colour: shape for shape, colour in points}
        assert len(set(shape_of_colour.values())) == len(shape_of_colour) >= 2


def test_a_table_without_rows_is_a_picture_that_says_so(tmp_path):
    columns = "model,id,label,label_name,prediction,confidence,x,y,accuracy,low,high,n"
    none = pd.Series(dtype=bool)
    empty = pd.DataFrame(columns=columns.split(",")).assign(representative=none, learned=none)
    for name in ("tsne", "reliability"):
        write_table(tmp_path, name, empty)
    call(draw, f"--tables {tmp_path}/tsne.parquet {tmp_path}/reliability.parquet --out {tmp_path}")
    for name in ("tsne", "reliability"):
        assert "nothing to show" in (tmp_path / f"{name}.svg").read_text()
