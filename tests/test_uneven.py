"""Tables, page and figures of one study in which no two numbers are the same by chance.

What is expected is counted from its confusion matrices, or written out.
"""

import math
import re
from statistics import mean, stdev

import numpy as np
import pandas as pd
import pytest
from made_up import (
    CLASSES,
    FULL_TEXT,
    MATRICES,
    MEASURED,
    TEMPERATURE,
    MadeUp,
    confidences,
    uneven,
)
from scipy import stats
from test_page import tables

from lib.files.tables import write_table
from lib.page import figures
from lib.study.catalog import FIGURE

LABELS = [0] * 30 + [1] * 20 + [2] * 10
BASELINE = "TF-IDF, full text"
STEPS = {"a": 7, "b": 31, BASELINE: 13}
STANDING = {"a": MATRICES["a", 32, 2], "b": MATRICES["b", 32, 2], BASELINE: FULL_TEXT}
KEYS = ["model", "batch", "seed"]
ALL = [*MATRICES, (BASELINE, None, None)]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> MadeUp:
    study = uneven(tmp_path_factory.mktemp("uneven"))
    study.analyse()
    study.told["b"] = {"unknown_share": 0.031}
    for name in ("tsne", "boundary_errors", "attention"):
        write_table(study.tables, name, GIVEN[name])
    study.text = study.page(CLASSES)
    return study


def shown(study: MadeUp, heading: str) -> pd.DataFrame:
    """The first table of the page with a column of this heading."""
    return shown_in(study.text, heading)


def shown_in(page: str, heading: str) -> pd.DataFrame:
    return next(table for table in tables(page) if heading in table)


def answers(matrix: list[list[int]]) -> list[int]:
    return [answer for row in matrix for answer, n in enumerate(row) for _ in range(n)]


def single(key: tuple) -> list[tuple[int, int, int, float]]:
    """Id, label, answer and confidence of each answer of a run, as its matrix says."""
    matrix = MATRICES.get(key, FULL_TEXT)
    found = zip(range(0, 180, 3), LABELS, answers(matrix), confidences(STEPS[key[0]]), strict=True)
    return list(found)


def accuracy(matrix: list[list[int]]) -> float:
    return sum(matrix[i][i] for i in range(3)) / 60


def f1s(matrix: list[list[int]]) -> list[float]:
    table = np.array(matrix)
    return [2 * table[i, i] / (table[i].sum() + table[:, i].sum()) for i in range(3)]


def loss(key: tuple) -> float:
    """The mean loss: what is not the answer shares what is left of its confidence."""
    return mean(
        -math.log(sure if label == answer else (1 - sure) / 2)
        for _, label, answer, sure in single(key)
    )


def over_seeds(*values: float) -> str:
    spread = [stdev(values)] if len(values) > 1 else []
    return " ± ".join(f"{x:.4f}" for x in (mean(values), *spread))


def test_the_runs_are_measured_as_their_matrices_say(study):
    runs = study.read("runs").set_index(KEYS)
    measures = study.read("measures")
    assert list(runs.index) == [*MATRICES]
    assert measures["model"].tolist() == [key[0] for key in ALL]
    for row, key in zip(measures.to_dict("records"), ALL, strict=True):
        matrix = MATRICES.get(key, FULL_TEXT)
        right = [label == answer for _, label, answer, _ in single(key)]
        sure = [confidence for *_, confidence in single(key)]
        interval = stats.binomtest(sum(right), 60).proportion_ci(method="wilson")
        expected = {
            "n": 60,
            "value": accuracy(matrix),
            "accuracy": accuracy(matrix),
            "balanced_accuracy": mean(row[i] / sum(row) for i, row in enumerate(matrix)),
            "low": interval.low,
            "high": interval.high,
            "loss": loss(key),
            "macro_f1": mean(f1s(matrix)),
            "brier": mean((x - y) ** 2 for x, y in zip(right, sure, strict=True)),
            "valid_accuracy": MEASURED[key][1] if key in MEASURED else 0.8,
            "train_seconds": MEASURED[key][2] if key in MEASURED else 2,
        }
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-6), key
        assert row["learned"] == (key != ("b", 128, 1))
        assert row["representative"] == (key in [("a", 32, 2), ("b", 32, 2), ALL[-1]])
        if key in MATRICES:
            train, valid, seconds = MEASURED[key]
            told = {"train_accuracy": train, "valid_accuracy": valid, "valid_loss": 1 - valid}
            told |= {"train_seconds": seconds, "accuracy": accuracy(matrix), "loss": loss(key)}
            assert runs.loc[key, [*told]].to_dict() == pytest.approx(told, abs=1e-6)


def test_calibration_by_bins(study):
    bins = study.read("reliability").groupby(["model", "seed", "batch"], dropna=False)
    measures = study.read("measures").set_index(["model", "seed", "batch"])
    for (model, seed, batch), found in bins:
        key = (BASELINE, None, None) if model == BASELINE else (model, batch, seed)
        for when, power in (("before", 1), ("after", 1 / TEMPERATURE)):
            expected, squares = {}, []
            for _, label, answer, sure in single(key):
                chances = np.power([sure, (1 - sure) / 2, (1 - sure) / 2], power)
                sure = chances[0] / chances.sum()
                expected.setdefault(int(sure * 15), []).append((label == answer, sure))
                squares.append(((label == answer) - sure) ** 2)
            rows = [[len(expected[i]), *np.mean(expected[i], axis=0)] for i in sorted(expected)]
            bins_then = found[found["temperature"] == when]
            np.testing.assert_allclose(bins_then[["n", "accuracy", "confidence"]], rows, rtol=1e-6)
            suffix = {"before": "", "after": "_after"}[when]
            gaps = sum(n * abs(right - sure) for n, right, sure in rows) / 60
            one = measures.loc[(model, seed, batch)]
            assert one[f"calibration_error{suffix}"] == pytest.approx(gaps, abs=1e-6)
            assert one[f"brier{suffix}"] == pytest.approx(mean(squares), abs=1e-6)
            assert one["temperature"] == TEMPERATURE


def test_confusion_has_a_row_per_label(study):
    table = study.read("confusion").query("representative")
    scores = study.read("classes").query("representative").groupby("model")
    for model, matrix in STANDING.items():
        counts = table[table["model"] == model].set_index(["label", "prediction"])["n"].to_dict()
        assert counts == {(i, j): matrix[i][j] for i in range(3) for j in range(3)}
        found = scores.get_group(model)
        columns = np.array(matrix).sum(axis=0)
        assert found["precision"].tolist() == [matrix[i][i] / columns[i] for i in range(3)]
        assert found["recall"].tolist() == [matrix[i][i] / sum(matrix[i]) for i in range(3)]
        assert found["f1"].tolist() == pytest.approx(f1s(matrix))
        assert found["n"].tolist() == [30, 20, 10]
    page = shown(study, "Recall")
    names = ["Model", "Label", "As bad", "As so-so", "As good", "Precision", "Recall", "F1"]
    assert page.columns.tolist() == names
    assert page.iloc[3].tolist() == ["b", "bad", "28", "1", "1", "0.8235", "0.9333", "0.8750"]
    assert page.iloc[4].tolist() == ["b", "so-so", "5", "13", "2", "0.7222", "0.6500", "0.6842"]


def test_the_main_table_in_full(study):
    table = shown(study, "Train accuracy")
    losses = {key: loss(key) for key in ALL}
    scores = {key: mean(f1s(MATRICES.get(key, FULL_TEXT))) for key in ALL}
    expected = [
        ["a", "cls", "32", "2", "0.9300 ± 0.0283", "0.7800 ± 0.0566", "0.8000 ± 0.0236"],
        ["a", "cls", "128", "1", "0.8800", "0.8500", "0.6833"],
        ["b", "cls", "32", "2", "0.9150 ± 0.0212", "0.7450 ± 0.0495", "0.7500 ± 0.0236"],
        ["b †", "cls", "128", "1", "0.5200", "0.5000", "0.5000"],
        [BASELINE, "-", "-", "-", "1.0000", "0.8000", "0.8167"],
    ]
    rest = [
        ["2m 00s ± 28 s", "51 ± 12", "2, 2"],
        ["50 s", "120", "2"],
        ["2h 00m ± 42 s", "1 ± 0", "2, 2"],
        ["1h 00m", "2", "2"],
        ["2.0 s", "-", "-"],
    ]
    groups = [ALL[:2], ALL[2:3], ALL[3:5], ALL[5:6], ALL[6:]]
    middle = [[over_seeds(*(x[key] for key in g)) for x in (losses, scores)] for g in groups]
    rows = [[*x, *y, *z] for x, y, z in zip(expected, middle, rest, strict=True)]
    headings = ["Model", "Pooling", "Batch", "Seeds", "Train accuracy", "Validation accuracy"]
    headings += ["Test accuracy", "Test loss", "Macro F1", "Duration", "Examples/s", "Best epoch"]
    assert table.columns.tolist() == headings
    assert table.to_numpy().tolist() == rows
    results = study.text.partition("## Results")[2]
    bold = [
        cell.split("**")[1] for cell in results.partition("\n\n**")[0].split("|") if "**" in cell
    ]
    assert bold == ["0.9300 ± 0.0283", "0.8000 ± 0.0236", *rows[0][7:9], "0.8500"]
    assert "accuracy of the answer that is always the most frequent class is 0.5000" in results


def test_conditions_are_means_over_their_seeds(study):
    table = study.read("conditions")
    several = table.iloc[0]
    errors = [1 - accuracy(MATRICES["a", 32, seed]) for seed in (1, 2)]
    assert several["accuracy"] == several["value"] == pytest.approx(1 - mean(errors))
    assert several["deviation"] == pytest.approx(stdev(errors))
    assert several["valid_accuracy"] == pytest.approx(0.78)
    assert several["train_seconds"] == 120
    assert table["seeds"].tolist() == [2, 1, 2, 1, 1]
    assert table["learned"].tolist() == [2, 1, 2, 0, 1]
    assert table["interval"].tolist() == [
        *("seeds and reviews", "Wilson", "seeds and reviews", "Wilson", "Wilson")
    ]
    assert table["examples"].tolist() == ["all"] * 5
    page = shown(study, "Brier score")
    assert page["Model"].tolist() == ["a", "a", "b", "b †", BASELINE]
    assert page["Seeds"].tolist() == ["2", "1", "2", "1", "-"]
    interval = stats.binomtest(41, 60).proportion_ci(method="wilson")
    measured = [
        f"{interval.low:.4f} to {interval.high:.4f}",
        over_seeds(mean(f1s(MATRICES["a", 128, 1]))),
    ]
    assert page.iloc[1, 4:7].tolist() == ["0.6833", *measured]
    measures = study.read("measures").iloc[2]
    assert page.iloc[1, 7:].tolist() == [
        f"{measures[x]:.4f} → {measures[f'{x}_after']:.4f}" for x in ("calibration_error", "brier")
    ]
    assert "(expected, 15 bins)" in study.text


def wrong_of(model: str) -> dict[int, tuple[int, int, float]]:
    """Label, answer and confidence by id, of the errors of the run that stands for a model."""
    found = single((model, 32, 2))
    return {i: (label, answer, sure) for i, label, answer, sure in found if label != answer}


def test_errors_of_each_model_and_of_all(study):
    table = study.read("confident_errors")
    errors = {model: wrong_of(model) for model in "ab"}
    for model, found in errors.items():
        order = sorted(found, key=lambda i: -found[i][2])
        rows = table[table["model"] == model]
        assert rows["id"].tolist() == order
        assert rows[["label", "prediction"]].to_numpy().tolist() == [[*found[i][:2]] for i in order]
        assert rows["confidence"].tolist() == pytest.approx([found[i][2] for i in order])
        assert rows["text"].tolist() == [study.texts[i // 3] for i in order]
    learned = [key for key in MATRICES if key != ("b", 128, 1)]
    counts = dict.fromkeys(set(errors["a"]) & set(errors["b"]), 0)
    for key in learned:
        for i, label, answer, _ in single(key):
            if i in counts:
                counts[i] += label != answer
    sure = {i: (errors["a"][i][2] + errors["b"][i][2]) / 2 for i in counts}
    order = sorted(counts, key=lambda i: (-counts[i], -sure[i]))
    shared = study.read("shared_errors")
    assert len(set(counts.values())) > 1 and shared["id"].tolist() == order
    assert shared["runs_wrong"].tolist() == pytest.approx([counts[i] / 5 for i in order])
    assert shared["confidence"].tolist() == pytest.approx([sure[i] for i in order])
    said = [dict.fromkeys(str(errors[model][i][1]) for model in "ab") for i in order]
    assert shared["predictions"].tolist() == [" ".join(each) for each in said]
    assert f"**Wrong by every model** ({len(order)} reviews)" in study.text
    page = shown(study, "Share of runs")
    assert page["Predicted"][0] == " or ".join(CLASSES[int(x)] for x in said[0])
    assert page["Label"].tolist() == [CLASSES[errors["a"][i][0]] for i in order][:8]
    assert page["Share of runs"].tolist() == [f"{counts[i] / 5:.3f}" for i in order][:8]


def test_disagreements_are_told_both_ways(study):
    table = study.read("disagreements")
    for right, wrong in ("ab", "ba"):
        sure = {i: confidence for i, *_, confidence in single((right, 32, 2))}
        found = {i: each for i, each in wrong_of(wrong).items() if i not in wrong_of(right)}
        order = sorted(found, key=lambda i: -(found[i][2] + sure[i]))
        rows = table[(table["right"] == right) & (table["wrong"] == wrong)]
        assert rows["id"].tolist() == order and len(order) > 1
        assert rows["prediction"].tolist() == [found[i][1] for i in order]
        assert rows["confidence_wrong"].tolist() == pytest.approx([found[i][2] for i in order])
        assert rows["confidence_right"].tolist() == pytest.approx([sure[i] for i in order])
    page = shown(study, "b")
    assert study.text.index("**a right, b wrong**") < study.text.index("**b right, a wrong**")
    first = table.iloc[0]
    assert page.columns.tolist() == ["Id", "Label", "Predicted", "a", "b", "Text"]
    confidences = [f"{first[f'confidence_{x}']:.3f}" for x in ("right", "wrong")]
    assert page.iloc[0, 1:5].tolist() == [
        CLASSES[first["label"]],
        CLASSES[first["prediction"]],
        *confidences,
    ]


def test_accuracy_by_length(study):
    table = study.read("lengths")
    fifths = {"5 to 10": (5, 10), "15 to 20": (15, 20), "25 to 30": (25, 30)}
    fifths |= {"35 to 35": (35, 35), "40 to 45": (40, 45)}
    words = {3 * i: 5 * (1 + i % 9) for i in range(60)}
    for key in ALL:
        rows = table[table["model"] == key[0]]
        if key in MATRICES:
            rows = rows[(rows["batch"] == key[1]) & (rows["seed"] == key[2])]
        right = {i: label == answer for i, label, answer, _ in single(key)}
        groups = [[i for i in right if low <= words[i] <= high] for low, high in fifths.values()]
        names = [*fifths]
        if key in MATRICES:
            groups += [[i for i in right if i % 9 != 6], [i for i in right if i % 9 == 6]]
            names += ["whole", "truncated"]
        assert rows["group"].tolist() == names
        assert rows["n"].tolist() == [len(group) for group in groups]
        found = [sum(right[i] for i in group) for group in groups]
        assert rows["accuracy"].tolist() == [
            n / len(group) for n, group in zip(found, groups, strict=True)
        ]
        interval = stats.binomtest(found[0], len(groups[0])).proportion_ci(method="wilson")
        assert rows[["low", "high"]].iloc[0].tolist() == pytest.approx([*interval])


def test_rings_stand_at_the_best_epoch_by_validation(study):
    table = study.read("histories")
    best = table[table["best"]]
    assert len(best) == 2 * len(MATRICES) and set(best["epoch"]) == {2}
    assert set(best["split"]) == {"valid"} and set(best["measure"]) == {"accuracy", "loss"}
    accuracies = best[best["measure"] == "accuracy"]
    assert accuracies["value"].tolist() == [valid for _, valid, _ in MEASURED.values()]
    train = table.query("split == 'train' and measure == 'accuracy' and epoch == 2")
    assert train["value"].tolist() == [train for train, *_ in MEASURED.values()]
    first = table.query("model == 'a' and batch == 32 and seed == 1").groupby(["split", "measure"])
    assert first["value"].apply(list).to_dict() == {
        ("train", "accuracy"): [0.5, 0.91, 0.99],
        ("train", "loss"): [0.75, 0.6, 0.5],
        ("valid", "accuracy"): [0.45, 0.74, 0.48],
        ("valid", "loss"): [0.7, 0.26, 0.8],
    }
    assert not table["learned"].all() and set(table["model"][~table["learned"]]) == {"b"}


def test_pairs_of_runs_that_differ_in_one_key(study):
    table = study.read("comparisons")
    pairs = [
        *(("model", ("a", *key), ("b", *key)) for key in ((32, 1), (32, 2), (128, 1))),
        *(("batch", (model, 32, 1), (model, 128, 1)) for model in "ab"),
        *(("baseline", (BASELINE, None, None), key) for key in MATRICES),
    ]
    assert len(table) == len(pairs)
    found = table.set_index(["factor", "model", "batch", "seed", "first", "second"])
    for factor, first, second in pairs:
        model, batch, seed = second
        shared = [model, batch, seed, *(str(x[factor == "batch"]) for x in (first, second))]
        shared[:2] = ["" if factor == "model" else model, pd.NA if factor == "batch" else batch]
        row = found.loc[[(factor, *shared)]].iloc[0]
        right = [[label == answer for _, label, answer, _ in single(x)] for x in (first, second)]
        alike = [
            x == y
            for x, y in zip(
                *([each[2] for each in single(x)] for x in (first, second)), strict=True
            )
        ]
        alone = [sum(x > y for x, y in zip(*each, strict=True)) for each in (right, right[::-1])]
        expected = {
            "value_first": mean(right[0]),
            "value_second": mean(right[1]),
            "difference": mean(right[1]) - mean(right[0]),
            "only_first": alone[0],
            "only_second": alone[1],
            "agreement": mean(alike),
            "both_learned": ("b", 128, 1) not in (first, second),
            "p": stats.binomtest(alone[0], sum(alone)).pvalue,
        }
        assert row[[*expected]].to_dict() == pytest.approx(expected)


def test_the_page_tells_what_was_run(study):
    opening = "6 runs on d: 1,200 training, 1,000 validation and 60 test reviews."
    assert opening in study.text
    facts = dict(re.findall(r"^- \*\*(.+?):\*\* (.*)$", study.text, re.MULTILINE))
    assert facts["Rows read"] == "3,000"
    assert facts["Reviews"] == "2,260, per class bad 940, so-so 750, good 570"
    assert facts["Splits"] == "train 1,200, valid 1,000, test 60; stratified, seed 7"
    assert (facts["Seeds"], facts["CPU threads per run"]) == ("1, 2", "3")
    assert facts["Model b"] == (
        "hub, id org/Some-b; 4.4 million parameters; 3.1% of the tokens unknown"
    )
    assert facts["Model a"].startswith("hub, id org/Some-a;") and "0.0% of" in facts["Model a"]
    assert facts["Seen by a"] == (
        "of the training reviews, 128 tokens at most, head: 25.0% cut, 12.5% of their tokens lost"
    )


def test_the_page_names_the_classes_of_what_it_shows(study):
    boundary = shown(study, "Own label near").iloc[0].tolist()
    assert boundary == ["6", "bad", "good", "0.700", "0.400", "a text"]
    assert "The sample has 3 reviews." in study.text
    assert "Text 9 of the test split, labelled bad; a says good (0.700)." in study.text
    best = [path for path in map(str, study.runs) if path.endswith("batch=32/variant=base/seed=2")]
    assert re.findall("- Best run: `(.*)`", study.text) == best and len(best) == 2
    for model, count in (("a", 11), ("b", 14)):
        assert f"**Most confidently wrong, {model}** ({count} errors):" in study.text
    confident = shown(study, "Confidence").iloc[0]
    i = max(wrong_of("a"), key=lambda i: wrong_of("a")[i][2])
    label, answer, sure = wrong_of("a")[i]
    assert confident.tolist()[:4] == [str(i), CLASSES[label], CLASSES[answer], f"{sure:.3f}"]


def test_means_over_three_seeds_are_no_medians(tmp_path):
    study = MadeUp(tmp_path, 60)
    for seed, (right, seconds) in enumerate(((50, 10), (52, 20), (59, 90))):
        study.add(np.arange(60) < right, "a", "cls", 32, "base", seed, seconds=seconds)
    study.analyse()
    (row,) = study.read("conditions").to_dict("records")
    assert (row["train_seconds"], row["accuracy"]) == pytest.approx((40, 161 / 180))
    main = shown_in(study.page(), "Train accuracy")
    assert main["Duration"].tolist() == ["40 s ± 44 s"]


def marks(part: dict, above: dict | None = None) -> set[str]:
    """What each mark of a chart shows, as `point x=epoch y=value if datum.best`."""
    channels = (above or {}) | part.get("encoding", {})
    inside = [*part.get("concat", []), *part.get("layer", []), part.get("spec", {})]
    found = set().union(*(marks(each, channels) for each in inside if each))
    if "mark" in part:
        fields = {
            channel: each["field"]
            for channel, each in channels.items()
            if isinstance(each, dict) and "field" in each
        }
        shown = " ".join(f"{channel}={field}" for channel, field in sorted(fields.items()))
        only = "".join(f" if {each['filter']}" for each in part.get("transform", []))
        found.add(f"{part['mark']['type']} {shown}{only}")
    return found


FAILED = " if datum.learned < datum.seeds"
LIFT = {"point "}  # the invisible mark of a panel
AT = {
    "findings": {
        *("rect x=least x2=margin", "rule ", "rule color=verdict x=low x2=high y=row"),
        "point color=verdict shape=verdict x=difference y=row",
    },
    "learning_curves": LIFT
    | {
        "line color=series strokeDash=split x=epoch y=value",
        "point color=series shape=series x=epoch y=value if datum.split === 'training'",
        "point color=series shape=series x=epoch y=value if datum.split === 'validation'",
        "point color=series fill=split x=epoch y=value if false",
        "point x=epoch y=value if datum.best",
        "text x=epoch y=value if !datum.learned && datum.last && datum.split === 'validation'",
    },
    "batches": LIFT
    | {
        "rule color=model x=batch xOffset=model y=low y2=high",
        "point color=model shape=model x=batch xOffset=model y=value",
        f"text x=batch xOffset=model y=top{FAILED}",
        "rule strokeDash=model y=value",
    },
    "cost": {
        "rule color=model x=train_seconds y=low y2=high",
        "point color=model shape=model x=train_seconds y=value",
        f"text x=train_seconds y=top{FAILED}",
    },
    "lengths": {
        "rule color=model x=group xOffset=model y=low y2=high",
        "point color=model shape=model x=group xOffset=model y=value",
    },
    "reliability": LIFT
    | {
        "line x=confidence y=confidence",
        "rule x=confidence y=low y2=high if datum.temperature === 'after'",
        "point size=n x=confidence y=accuracy if datum.temperature === 'after'",
        "point size=n x=confidence y=accuracy if datum.temperature === 'before'",
    },
    "acceptance": {
        "line color=model x=share y=accuracy",
        "rule color=model x=share y=low y2=high",
        "point color=model shape=promised x=share y=accuracy",
    },
    "tuning": LIFT
    | {
        "line color=series x=learning_rate y=value",
        "point color=series shape=series x=learning_rate y=value",
        "point x=learning_rate y=value if datum.chosen",
    },
    "budgets": LIFT
    | {
        "line color=series x=budget y=expected",
        "point color=series shape=series x=budget y=expected",
        "point x=budget y=expected if false",
    },
    "data_curve": {
        "line strokeDash=curve x=place y=value if datum.classical",
        "rule x=place y=low y2=high if datum.classical",
        "point x=place y=value if datum.classical",
        "line color=curve x=place y=value if !datum.classical",
        "rule color=curve x=place y=low y2=high if !datum.classical",
        "point color=curve shape=curve x=place y=value if !datum.classical",
        f"text x=place y=top{FAILED}",
    },
    "latency": {
        "line x=milliseconds y=value",
        "rule color=name x=fast x2=slow y=value",
        "rule color=name x=milliseconds y=low y2=high",
        "point color=name shape=name x=milliseconds y=value",
        f"text x=milliseconds y=top{FAILED}",
    },
    "cuts": LIFT
    | {
        "line detail=line strokeDash=curve x=place y=value if datum.classical",
        "point detail=line shape=truncation x=place y=value if datum.classical",
        "line color=curve detail=line x=place y=value if !datum.classical",
        "rule color=curve detail=line x=place y=low y2=high if !datum.classical",
        "point color=curve detail=line shape=truncation x=place y=value if !datum.classical",
        "rule strokeDash=curve y=value",
        f"text detail=line x=place y=top{FAILED}",
        "line detail=line strokeDash=curve x=place y=train_seconds if datum.classical",
        "point detail=line shape=truncation x=place y=train_seconds if datum.classical",
        "line color=curve detail=line x=place y=train_seconds if !datum.classical",
        "point color=curve detail=line shape=truncation x=place y=train_seconds "
        "if !datum.classical",
    },
    "tsne": LIFT
    | {
        "point color=label_name shape=label_name x=x y=y",
        "point stroke=wrong x=x y=y if datum.wrong !== ''",
    },
    "attention": LIFT | {"rect color=weight x=attended y=attending"},
}
SETTING = {"model": "a", "pooling": "cls", "batch": 32, "setting": "base (tuned)"}
PLACE = {"model": "a", "label_name": "bad", "confidence": 0.7, "x": 1.0, "y": 2.0}
POINT = {"seeds": 3, "learned": 3, "value": 0.6, "low": 0.5, "high": 1.1}
POINT |= {"train_seconds": 7.0}
GIVEN = {  # of tables that the study does not have
    "tuning": [
        SETTING | {"learning_rate": 1e-5, "value": 0.7, "chosen": True, "choose_by": "macro_f1"}
    ],
    "budgets": [SETTING | {"budget": 1, "expected": 0.7, "choose_by": "accuracy"}],
    "data_curve": [
        POINT | {"curve": model, "model": model, "examples": size}
        for model in ("a", BASELINE)
        for size in (50, 100)
    ],
    "latency": [
        {"model": model, "pooling": "cls", "batch": 32, "variant": "base", "form": "torch"}
        | {"tokens": None, "median": 0.002, "low": 0.001, "high": 0.003, "accuracy_change": 0.0}
        for model in ("a", "b")
    ],
    "cuts": [
        POINT | {"curve": curve, "model": model, "max_length": length, "truncation": part}
        for curve, model, length, part in (
            ("a", "a", 64, "head"),
            ("a", "a", 128, "head"),
            ("a", "a", 128, "tail"),
            ("TF-IDF, tokens of a", "TF-IDF, first 64 tokens of a", 64, "head"),
            (BASELINE, BASELINE, math.nan, ""),
        )
    ],
    "tsne": [
        PLACE | {"id": 3, "label": 1, "prediction": 0, "label_name": "so-so", "model": model}
        for model in "ab"
    ]
    + [
        PLACE | {"id": 6, "label": 0, "prediction": 1},
        PLACE | {"id": 8, "label": 0, "prediction": 0},
    ],
    "boundary_errors": [
        PLACE | {"id": 6, "label": 0, "prediction": 2, "own_label": 0.4, "text": "a text"}
    ],
    "attention": [
        PLACE
        | {"id": 9, "label": 0, "prediction": 2}
        | {"query": i, "key": j, "query_token": f"q{i}", "key_token": f"k{j}"}
        | {"weight": (j + 1) / 820}
        for i in range(40)
        for j in range(40)
    ],
}


def chart(study: MadeUp, name: str) -> dict:
    table = pd.DataFrame(GIVEN[name]) if name in GIVEN else study.read(FIGURE[name].table)
    beside = [study.read(FIGURE[name].beside)] if FIGURE[name].beside else []
    return getattr(figures, name)(table, *beside, "accuracy", "reviews").to_dict()


@pytest.mark.parametrize("name", FIGURE)
def test_each_mark_of_a_figure_shows_its_columns(study, name):
    assert marks(chart(study, name)) == AT[name]


AXES = {
    "findings": {"difference": "Difference of test accuracy (points)"},
    "learning_curves": {"epoch": "Epoch"},
    "batches": {"batch": "Effective batch (reviews)", "value": "Test accuracy"},
    "cost": {
        "train_seconds": "Training (seconds per run, logarithmic)",
        "value": "Test accuracy",
    },
    "lengths": {"value": "Test accuracy"},
    "reliability": {"confidence": "Confidence", "accuracy": "Accuracy", "n": "Reviews in the bin"},
    "acceptance": {
        "share": "Share of reviews that is accepted, the surest first",
        "accuracy": "Accuracy of these",
    },
    "tuning": {
        "learning_rate": "Learning rate (logarithmic)",
        "value": "Validation macro F1",
    },
    "budgets": {"budget": "Runs", "expected": "Expected validation accuracy"},
    "data_curve": {"place": "Training reviews (logarithmic)", "value": "Test accuracy"},
    "latency": {
        "milliseconds": "Prediction of one of the test reviews (ms, logarithmic)",
        "value": "Test accuracy",
    },
    "cuts": {
        "place": "Tokens of a text at most (logarithmic)",
        "value": "Test accuracy",
        "train_seconds": "Training (seconds, logarithmic)",
        "truncation": "Part of the text",
    },
    "tsne": {"x": "t-SNE 1 (no unit)", "y": "t-SNE 2 (no unit)", "label_name": "Label"},
    "attention": {"attended": "attended token", "attending": "attending token"},
}


@pytest.mark.parametrize("name", FIGURE)
def test_axes_are_named_after_what_they_show(study, name):
    found = titles(chart(study, name))
    assert {field: found[field] for field in AXES[name]} == {
        field: {title} for field, title in AXES[name].items()
    }


def titles(part: dict) -> dict[str, set[str]]:
    """The titles of axes and legends by the columns that they show."""
    found: dict[str, set[str]] = {}
    for each in part.get("encoding", {}).values():
        if isinstance(each, dict) and each.get("title"):
            found.setdefault(each.get("field", ""), set()).add(each["title"])
    for inside in [*part.get("concat", []), *part.get("layer", []), part.get("spec", {})]:
        for field, names in titles(inside).items() if inside else ():
            found.setdefault(field, set()).update(names)
    return found


def test_figures_show_the_rows_that_they_should(study):
    (found,) = (x for x in rows_of(chart(study, "findings")) if x["row"] == "b − a")
    numbers = [found[x] for x in ("difference", "margin", "least")]
    assert numbers == pytest.approx([-5, 1, -1])
    found = rows_of(chart(study, "lengths"))
    assert {(x["model"], x["batch"], x["seed"]) for x in found} == {
        ("a", 32, 2),
        ("b", 32, 2),
        (BASELINE, None, None),
    }
    found = rows_of(chart(study, "reliability"))
    assert {(x["model"], x["seed"]) for x in found if "model" in x} == {
        ("a", 2),
        ("b", 2),
        (BASELINE, None),
    }
    found = {(x["model"], x["batch"]): x for x in rows_of(chart(study, "cost"))}
    assert [found["a", 32]["value"], found["b", 128]["value"]] == pytest.approx([0.8, 0.5])
    assert found["b", 32]["train_seconds"] == 7230
    found = [x for x in rows_of(chart(study, "learning_curves")) if x.get("last")]
    assert {x["epoch"] for x in found} == {3} and len(found) == 4 * len(MATRICES)
    assert {x["split"]: x["value"] for x in found if x["batch"] == 128 and x["model"] == "a"} == {
        "training": 0.5,
        "validation": 0.8,
    }
    found = rows_of(chart(study, "data_curve"))
    assert [x["high"] for x in found] == [1] * 4
    assert [x["classical"] for x in found] == [False, False, True, True]
    found = [x for x in rows_of(chart(study, "cuts")) if "curve" in x]
    lengths = {(x["curve"], x["max_length"], x["truncation"]) for x in found if "place" in x}
    assert lengths == {
        *(("a", 64, "head"), ("a", 128, "head"), ("a", 128, "tail")),
        ("TF-IDF, tokens of a", 64, "head"),
    }
    assert {x["curve"] for x in found if "place" not in x} == {BASELINE}
    drawn = chart(study, "tsne")
    found = {(x["model"], x["id"]): x["wrong"] for x in rows_of(drawn) if "wrong" in x}
    assert {key for key, wrong in found.items() if wrong} == {("a", 3), ("b", 3), ("a", 6)}
    colour = drawn["concat"][0]["layer"][0]["encoding"]["color"]
    assert colour["scale"]["domain"] == ["bad", "so-so"]


def test_scales_and_orders_of_figures_say_what_is_what(study):
    curves = chart(study, "learning_curves")
    panel = curves["concat"][0]["layer"]
    dash, fill = (
        next(each["encoding"][name]["scale"] for each in panel if name in each["encoding"])
        for name in ("strokeDash", "fill")
    )
    splits = ["validation", "training"]
    assert dash == {"domain": splits, "range": [[1, 0], [4, 3]]}  # a line, and a dashed one
    assert fill == {"domain": splits, "range": ["black", "white"]}
    found = [x for x in rows_of(curves) if "series" in x]
    assert {(x["batch"], x["series"]) for x in found} == {(32, "32"), (128, "128")}
    measures = {"accuracy": "Accuracy", "loss": "Loss (nats)"}
    for panel in curves["concat"]:
        (measure,) = {x["measure"] for x in rows_of(panel) if "measure" in x}
        assert panel["layer"][0]["encoding"]["y"]["title"] == measures[measure]
    words, truncation = chart(study, "lengths")["concat"]
    orders = [x["layer"][0]["encoding"]["x"]["sort"] for x in (words, truncation)]
    assert orders == [
        ["5 to 10", "15 to 20", "25 to 30", "35 to 35", "40 to 45"],
        ["whole", "truncated"],
    ]
    conditions = study.read("conditions").assign(low=math.nan)
    conditions.loc[0, "high"] = math.nan
    found = rows_of(figures.batches(conditions, "accuracy", "reviews").to_dict())
    tops = {(x["model"], x["batch"]): x["top"] for x in found if "top" in x}
    assert tops["a", 32] == pytest.approx(0.8) and tops["a", 128] == conditions["high"][1]
    verdicts = study.read("findings").dropna(subset="difference").head(2)
    found = figures.findings(
        verdicts.assign(verdict=["undecided", "difference shown"]), "accuracy", "reviews"
    ).to_dict()
    scales = found["spec"]["layer"][3]["encoding"]
    assert scales["shape"]["scale"]["domain"] == ["difference shown", "undecided"]
    assert scales["shape"]["scale"]["range"] == ["diamond", "circle"]


def test_attention_shows_the_tokens_that_are_looked_at_most(study):
    found = [x for x in rows_of(chart(study, "attention")) if "weight" in x]
    kept = range(8, 40)
    assert {x["attended"] for x in found} == {f"{j:06d}k{j}" for j in kept}
    assert {x["attending"] for x in found} == {f"{i:06d}q{i}" for i in kept}


def rows_of(chart: dict) -> list[dict]:
    """The data of all parts of a chart."""
    named = [row for values in chart.get("datasets", {}).values() for row in values]
    own = chart.get("data", {}).get("values", [])
    parts = [*chart.get("concat", []), *chart.get("layer", [])]
    return [*named, *own, *(row for part in parts for row in rows_of(part))]
