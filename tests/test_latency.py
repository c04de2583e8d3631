"""What a prediction costs: turns and what they tell, what is timed, and what the page shows."""

import itertools
import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import call
from made_up import MadeUp, right_or_wrong

import baseline
import export
import latency
from lib.analysis import latency as module
from lib.analysis import predictors
from lib.analysis.turns import Group, affordable, evenly, ratio, spread, take_turns
from lib.data.cutting import HEAD, Cut
from lib.files.manifests import manifest_of, sha256
from lib.files.tables import read_table, write_table
from lib.files.whole import write_json
from lib.page import figures, tables
from lib.training.checkpoints import load_checkpoint
from lib.training.inference import TextClassifier
from lib.training.processes import in_processes

RUN = Path("results/runs/dataset=mine/model=own/pooling=masked-mean/batch=32/variant=base/seed=1")
BASELINE = Path("results/baselines/dataset=mine/text=full")
SPLITS = Path("results/datasets/mine/splits")
FULL = "TF-IDF, full text"


class Machine:
    """A clock that works move on, each by seconds of its own, in rounds of which some are slow."""

    def __init__(self, *loads: float) -> None:
        self.now, self.loads, self.calls, self.queued = 0.0, loads, [], 0.0

    def work(self, name: str, seconds: float, calls: int = 1):
        """A work that takes so long, times the load of its round."""

        def done(number: int) -> None:
            self.calls.append((name, number))
            self.now += seconds * self.loads[number // calls]

        return done

    def clock(self) -> float:
        return self.now


def test_works_take_turns_whose_order_alternates_and_the_first_round_does_not_count():
    machine = Machine(100, 1, 2, 3)
    works = {1: machine.work("a", 1, calls=2), 2: machine.work("b", 10, calls=2)}
    (found,) = take_turns([Group(works, 2)], 3, clock=machine.clock)
    assert found[1].tolist() == [[1, 1], [2, 2], [3, 3]]
    assert found[2].tolist() == [[10, 10], [20, 20], [30, 30]]
    order = [name for name, _ in machine.calls[::2]]
    assert order == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert [number for name, number in machine.calls if name == "a"] == [*range(8)]


def test_groups_take_turns_within_a_round_and_some_in_every_other_one():
    machine = Machine(*[1] * 5)
    one, two = (Group({0: machine.work(name, 1)}, 1, every) for name, every in (("a", 1), ("b", 2)))
    found = take_turns([one, two], 4, clock=machine.clock)
    assert [each[0].shape for each in found] == [(4, 1), (2, 1)]
    assert [name for name, _ in machine.calls] == [*"abaabaab"]
    rare = Group({key: machine.work(key, 1) for key in "cd"}, 1, 2)
    machine.calls.clear()
    take_turns([rare], 4, clock=machine.clock)
    assert [name for name, _ in machine.calls] == [*"cddccd"]


def test_what_a_device_has_yet_to_do_counts_for_the_call_that_asked_for_it():
    machine = Machine(*[1] * 3)

    def settle() -> None:
        machine.now, machine.queued = machine.now + machine.queued, 0.0

    def queue(seconds: float, _: int) -> None:
        machine.queued += seconds

    machine.queued = 1000.0  # of what came before
    works = {key: partial(queue, seconds) for key, seconds in ((1, 3.0), (2, 5.0))}
    (found,) = take_turns([Group(works, 1)], 2, settle, machine.clock)
    assert found[1].tolist() == [[3], [3]] and found[2].tolist() == [[5], [5]]


def test_rounds_tell_the_median_and_within_what_another_measurement_should_agree():
    seconds = np.array([[1, 2, 30], [2, 3, 3], [4, 4, 9], [5, 6, 7]], float)
    found = spread(seconds)
    assert (found.calls, found.median) == (12, 4)
    assert found.p95 == pytest.approx(np.quantile([*seconds.ravel()], 0.95)) and found.p95 > 9
    # medians of rounds: 2, 3, 4, 6; of the halves 2.5 and 5
    assert (found.low, found.high) == (2 / 2, 6 * 2)
    steady = spread(np.array([[2.0], [3.0], [2.5], [2.0], [3.0]]))
    assert (steady.low, steady.high) == (2, 3)


def test_ratios_are_of_the_same_rounds_whatever_the_load():
    machine = Machine(1, 1, 9, 3, 27)
    works = {0: machine.work("a", 1), 1: machine.work("b", 2)}
    (found,) = take_turns([Group(works, 1)], 4, clock=machine.clock)
    assert ratio(found[1], found[0]) == (2, 2, 2)
    assert spread(found[1]).high > 20 * spread(found[1]).low
    uneven = ratio(np.array([[2.0], [9.0], [8.0]]), np.array([[1.0], [3.0], [2.0]]))
    assert uneven == (3, 2, 4)


def test_a_round_has_as_many_calls_as_the_slowest_affords():
    machine = Machine(1)
    fast, slow = machine.work("a", 0.01), machine.work("b", 0.3)
    first = iter([5.0])  # the first call loads something

    def loading(number: int) -> None:
        machine.now += next(first, 0.1)

    for works, calls in (
        ({0: fast}, 10),
        ({0: fast, 1: slow}, 3),
        ({0: loading, 1: fast}, 10),
        ({0: machine.work("c", 7)}, 2),
    ):
        assert affordable(works, 1.0, (2, 10), machine.clock) == calls


@pytest.mark.parametrize(("count", "rounds", "calls"), [(1000, 11, 10), (40, 11, 2), (3, 4, 2)])
def test_single_texts_of_a_round_are_of_all_lengths_and_all_together_evenly_spread(
    count, rounds, calls
):
    places = evenly(count, rounds, calls, seed=1)
    assert places.shape == (rounds * calls,) and places.min() >= 0 and places.max() < count
    for own in places.reshape(rounds, calls):
        assert [place * calls // count for place in own] == pytest.approx([*range(calls)], abs=1)
    whole = np.sort(places)
    assert np.abs(whole - (np.arange(len(whole)) + 0.5) * count / len(whole)).max() <= 1
    assert places.tolist() == evenly(count, rounds, calls, seed=1).tolist()
    if rounds > 4:
        assert places.tolist() != evenly(count, rounds, calls, seed=2).tolist()


@pytest.fixture(scope="module")
def finished(whole, tmp_path_factory) -> Path:
    """The smallest study, whose run counts as one that learned, with a baseline."""
    folder = tmp_path_factory.mktemp("latency")
    shutil.copytree(whole / "results", folder / "results", dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        call(baseline, f"--splits {SPLITS} --out {BASELINE}")
        table = read_table(Path("results/tables/runs.parquet"))
        write_table(Path("results/tables"), "runs", table.assign(learned=True, chosen=True))
    return folder


@pytest.fixture
def study(finished, monkeypatch) -> Path:
    """The same as the working directory, to be timed in few rounds."""
    monkeypatch.chdir(finished)
    # Forks of this process, whose tokenizers have threads, would wait for these.
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setattr(module, "ROUNDS", 2)
    monkeypatch.setattr(module, "CALLS", (2, 3))
    return finished


def timed(out: Path, baselines: str = f"--baselines {BASELINE}") -> tuple[pd.DataFrame, ...]:
    """The tables serving and latency."""
    call(
        latency,
        f"--table results/tables/runs.parquet --runs {RUN} --splits {SPLITS} {baselines} "
        "--encoders results/encoders/dataset=mine/model=own --latency-lengths 8 16 100 "
        f"--device cpu --threads 1 --out {out}",
    )
    return tuple(read_table(out / f"{name}.parquet") for name in ("serving", "latency"))


def test_a_run_and_tf_idf_are_timed_as_far_as_the_encoder_goes(study, tmp_path):
    serving, rows = timed(tmp_path)
    assert serving[["model", "form"]].to_numpy().tolist() == [["own", "torch"], [FULL, "tf-idf"]]
    assert rows["form"].tolist() == ["torch", "tf-idf", "torch", "torch"]
    assert rows["tokens"].fillna(0).tolist() == [0, 0, 8, 16]  # the encoder takes 64
    assert rows["calls"].tolist() == [6] * 4 and set(rows["rounds"]) == {2}
    assert rows["reference"].tolist() == [False, True, True, True]
    assert (rows["ratio"][rows["reference"]] == 1).all()
    numbers = ["median", "p95", "low", "high", "ratio", "ratio_low", "ratio_high"]
    assert (rows[numbers] > 0).all(axis=None) and (rows["low"] <= rows["high"]).all()
    checkpoint = RUN / "checkpoint"
    parameters = sum(each.numel() for each in load_checkpoint(checkpoint).parameters())
    files = [path for path in checkpoint.rglob("*") if path.is_file() and path.name[0] != "."]
    size = sum(path.stat().st_size for path in files if path.name != "README.md")
    assert (checkpoint / "README.md").is_file()
    assert serving[["parameters", "bytes"]].to_numpy().tolist()[0] == [parameters, size]
    assert (serving[["texts_per_second", "bytes", "memory_bytes"]] > 0).all(axis=None)
    assert serving["threads"].tolist() == [1, 1] and set(serving["texts"]) == {40}
    assert serving["precision"].tolist() == ["fp32", "fp64"]


def test_where_nothing_learned_and_there_is_no_baseline_the_tables_are_empty(study, tmp_path):
    shutil.copytree(study / "results", tmp_path / "results")
    table = read_table(Path("results/tables/runs.parquet"))
    write_table(tmp_path / "results/tables", "runs", table.assign(learned=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        serving, rows = timed(tmp_path / "out", baselines="")
    assert serving.empty and rows.empty and {"form", "tokens", "median"} <= set(rows)


def test_tf_idf_is_the_baseline_itself(study):
    found = predictors.tf_idf(BASELINE, SPLITS / "train.parquet")
    test = pd.read_parquet(SPLITS / "test.parquet").set_index("id")["text"]
    told = pd.read_parquet(BASELINE / "predictions.parquet", partitioning=None).set_index("id")
    probabilities = pd.read_parquet(BASELINE / "probabilities.parquet", partitioning=None)
    chances = found.load()(test[told.index].tolist(), None)
    assert chances.argmax(axis=1).tolist() == told["prediction"].tolist()
    assert len(probabilities) == len(chances) and found.told["parameters"] > 100


def test_a_text_of_so_many_tokens_has_them_whatever_training_cut(study, monkeypatch):
    (one,) = predictors.predictors(read_table(Path("results/tables/runs.parquet")), [RUN], {})
    texts, seen = ["An unbelievably fine film.", "Dull."], []
    tokens = TextClassifier.tokens

    def noted(self, texts, numbers):
        found = tokens(self, texts, numbers)
        seen.append((self.cut, found.lengths.tolist()))
        return found

    monkeypatch.setattr(TextClassifier, "tokens", noted)
    predict = one._replace(how=predictors.ON_CPU).load()
    for length in (4, 9, 64):  # training saw 48
        predict([one.text_of(length, texts)], length)
    predict(["film " * 99], None)
    assert seen == [*((Cut(n, HEAD), [n]) for n in (4, 9, 64)), (Cut(48, HEAD), [48])]


def test_memory_is_what_loading_and_predicting_takes_at_the_peak():
    held = []

    def load():
        held.append(np.ones(4 << 20))  # 32 MiB
        return lambda texts, length: np.ones(8 << 20).sum()  # and 64 MiB for a while

    fake = SimpleNamespace(how={"device": "cpu"}, load=load)
    (found,) = in_processes(partial(predictors.memory_of, fake, ["a"], 0, 1), 1)
    assert 90 << 20 < found < 160 << 20 and not held


def test_exports_of_the_checkpoint_are_timed_and_those_of_another_left_out(
    study, tmp_path, monkeypatch, caplog
):
    shutil.copytree(study / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    call(export, f"{RUN} --threads 1")
    shutil.copytree(RUN / "onnx", RUN / "onnx-int8")  # as one of another checkpoint
    told = json.loads((RUN / "onnx" / "export.json").read_text())
    told["checkpoint"]["model.safetensors"] = "0" * 64
    write_json(RUN / "onnx-int8" / "export.json", told)
    told["check"]["export_accuracy"] -= 0.25
    told["checkpoint"] = {"head.json": sha256(RUN / "checkpoint" / "head.json")}
    write_json(RUN / "onnx" / "export.json", told)
    manifest_of(RUN / "onnx").unlink()
    asked = []

    def opened(folder, **how):
        asked.append((folder.name, how))
        return TextClassifier(folder, **how)

    monkeypatch.setattr(predictors, "TextClassifier", opened)
    serving, rows = timed(tmp_path / "out", baselines="")
    assert serving["form"].tolist() == ["torch", "onnx"]
    assert serving["accuracy_change"].tolist() == [0, pytest.approx(-0.25)]
    assert rows.loc[rows["tokens"].isna(), "form"].tolist() == ["torch", "onnx"]
    assert asked == [(name, predictors.ON_CPU) for name in ("checkpoint", "onnx")]
    (warning,) = [each for each in caplog.messages if "is left out" in each]
    assert "onnx-int8 is left out: it is of another checkpoint" in warning
    own = (path for path in (RUN / "onnx").glob("[!.]*") if path.name != "README.md")
    assert serving["bytes"][1] == sum(path.stat().st_size for path in own)


def test_one_run_of_each_model_pooling_and_cut_is_timed_that_which_stands_among_them(tmp_path):
    variants = {"long": {"max_length": 256}, "tail": {"truncation": "tail"}, "slow": {"epochs": 9}}
    study = MadeUp(tmp_path, 60, variants=variants)
    number = itertools.count()
    for model, pooling, variant in (
        *(("b", "cls", variant) for variant in ("base", "long", "tail", "slow")),
        *(("a", "max", "base"), ("b", "max", "base"), ("a", "cls", "base")),
    ):
        for seed in (1, 2, 3):
            valid = 0.95 if (variant, seed) == ("slow", 2) else 0.8 + next(number) / 1000
            right = right_or_wrong(60, 0.8, 1)
            study.add(right, model, pooling, 64, variant, seed, valid=valid)
    study.add(right_or_wrong(60, 0.8, 1), "c", "cls", 64, "base", 1, valid=0.5)  # did not learn
    study.analyse()
    found = predictors.predictors(study.read("runs"), study.runs, {})
    keys = [(each.run.model, each.run.pooling, each.run.variant) for each in found]
    assert keys == [
        *(("b", "cls", "slow"), ("b", "cls", "long"), ("b", "cls", "tail"), ("b", "max", "base")),
        *(("a", "max", "base"), ("a", "cls", "base")),
    ]
    standing = {each.run.model: each.run.pooling for each in found if each.told["representative"]}
    assert standing == {"b": "cls", "a": "cls"}
    assert [each.told["max_length"] for each in found] == [128, 256, 128, 128, 128, 128]


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> MadeUp:
    """A study of three models, of which predictions were timed."""
    study = MadeUp(tmp_path_factory.mktemp("shown"), 400)
    for model, right in (("a", 320), ("b", 340), ("c", 330)):
        for seed in (1, 2):
            study.add(np.arange(400) < right + seed, model, "cls", 64, "base", seed)
    study.add_baseline(np.arange(400) < 300)
    study.analyse()
    write_tables(study)
    return study


def write_tables(study: MadeUp) -> None:
    """Write made-up tables of what was timed: `a` with an export, and `c` takes short texts."""
    keys = {"dataset": "d", "pooling": "cls", "batch": 64, "variant": "base", "seed": 1}
    none = keys | {"pooling": "", "batch": None, "variant": "", "seed": None}
    where = {"device": "cpu", "hardware": "a | machine", "threads": 2, "precision": "fp32"}
    size = {"parameters": 4_400_000, "bytes": 17_600_000, "memory_bytes": 1_234_000_000}
    speed = {"texts": 300, "rounds": 5, "texts_per_second": 1234.5, "low": 1.0, "high": 2.0}
    cut = {"setting": "base", "representative": True, "max_length": 128, "truncation": "auto"}
    named = [keys | {"model": model, "form": form} for model, form in PREDICT]
    named.append(none | {"model": FULL, "form": "tf-idf"})
    named = [each | {"accuracy_change": -0.01 * (each["form"] == "int8")} for each in named]
    serving = [each | cut | size | speed | where for each in named]
    serving[-1] |= {"setting": "", "max_length": None, "truncation": None}
    rows = []
    for tokens, seconds in ((None, [0.02, 0.04, 0.015, 0.01, 0.001]), (8, [0.002] * 3), (64, 2)):
        seconds = [0.3, 0.6, 0.15] if tokens == 64 else seconds
        at = [0, 1, 3] if tokens == 64 else range(len(seconds))
        for i, took in zip(at, seconds, strict=True):
            rows.append(named[i] | {"tokens": tokens, "rounds": 10, "calls": 100, "median": took})
            first = 0.001 if tokens is None else seconds[0]
            rows[-1] |= {"p95": 2 * took, "low": 0.9 * took, "high": 1.2 * took}
            rows[-1] |= {"reference": took == first and i in (0, 4), "ratio": took / first}
            rows[-1] |= {"ratio_low": 0.9 * took / first, "ratio_high": 1.1 * took / first}
    kinds = {"batch": "Int64", "seed": "Int64"}
    write_table(study.tables, "serving", pd.DataFrame(serving).astype(kinds))
    write_table(study.tables, "latency", pd.DataFrame(rows).astype(kinds | {"tokens": "Int64"}))


PREDICT = (("a", "torch"), ("b", "torch"), ("c", "torch"), ("a", "int8"))


def test_the_page_says_what_a_prediction_costs_among_the_findings(shown):
    page = shown.page()
    findings, _, rest = page.partition("## Results")
    lines = findings.partition("**What does a prediction cost?**")[2].splitlines()[2:4]
    assert lines == [
        f"- {FULL} takes 1 ms (median) for one of the test reviews; a 20 times as long (18 to 22 "
        "over 10 rounds), b 40 times as long (36 to 44 over 10 rounds), c 15 times as long (13.5 "
        "to 16.5 over 10 rounds) and a as int8 10 times as long (9 to 11 over 10 rounds).",
        "- a takes 300 ms (median) for a text of 64 tokens; b 2 times as long (1.8 to 2.2 over 10 "
        "rounds) and a as int8 0.5 times as long (0.45 to 0.55 over 10 rounds).",
    ]
    section = rest.partition("## What does a prediction cost?")[2].partition("\n## ")[0]
    assert "latency.svg" in section and "a \\| machine (cpu, fp32, 2 threads)" in section
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row] for row in rows if len(row) == len(rows[0])]
    names = cells[0]
    found = [dict(zip(names, row, strict=True)) for row in cells[2:]]
    assert [row["Form"] for row in found] == ["torch", "torch", "torch", "int8", "tf-idf"]
    assert [row["Test accuracy"] for row in found] == [
        *("0.8037", "0.8538", "0.8287", "0.8037 (-0.0100 by the export)", "0.7500")
    ]
    assert [row["64 tokens (ms)"] for row in found] == ["300", "600", "-", "150", "-"]
    first = found[0]
    assert (first["Test reviews (ms)"], first["95% within (ms)"]) == ("20", "40")
    assert (first["Reviews/s"], first["Parameters (M)"]) == ("1,234", "4.4")
    assert (first["Disk (MB)"], first["Memory (MB)"]) == ("17.6", "1,234")
    assert (first["Tokens"], found[-1]["Tokens"]) == ("128 auto", "all")


def test_without_findings_the_section_says_it_itself(shown, tmp_path):
    study = MadeUp(tmp_path, 400)
    study.add(np.arange(400) < 320, "a", "cls", 64, "base", 1)
    study.analyse()
    write_tables(study)
    for name in ("findings", "conditions", "estimates", "comparisons"):
        for path in study.tables.glob(f"{name}.*"):
            path.unlink()
    page = study.page()
    section = page.partition("## What does a prediction cost?")[2].partition("\n## ")[0]
    assert f"- {FULL} takes 1 ms" in section and "latency.svg" not in section
    assert page.count("**What does a prediction cost?**") == 1


def test_a_page_of_which_nothing_was_timed_says_so(shown, tmp_path):
    shutil.copytree(shown.tables, tmp_path / "tables")
    empty = MadeUp(tmp_path, 400)
    empty.runs, empty.baselines = shown.runs, shown.baselines
    for model in empty.models():
        empty.tokens(model)
    for name in ("serving", "latency"):
        write_table(empty.tables, name, shown.read(name).head(0))
    page = empty.page(drawn=True)
    assert "Nothing was timed, as no run learned." in page
    assert "**What does a prediction cost?**" not in page
    assert "nothing to show" in (tmp_path / "figures/latency.svg").read_text()


def test_the_figure_has_what_nothing_is_better_than_on_its_line(shown):
    chart = figures.latency(shown.read("latency"), shown.read("conditions"), "accuracy", "reviews")
    made = chart.to_dict()
    line, *others = [layer for layer in made["layer"] if layer["mark"]["type"] in ("line", "point")]
    front, points = (data(made, layer) for layer in (line, others[0]))
    assert [point["name"] for point in front] == [FULL, "a, int8", "c", "b"]
    assert [point["name"] for point in points] == ["a", "b", "c", "a, int8", FULL]
    assert points[0]["milliseconds"] == pytest.approx(20) and points[0]["seeds"] == 2
    assert (points[0]["fast"], points[0]["slow"]) == pytest.approx((18, 24))
    assert points[0]["value"] == pytest.approx(321.5 / 400)
    assert points[3]["value"] == pytest.approx(321.5 / 400 - 0.01)
    assert points[0]["low"] < points[0]["value"] < points[0]["high"]
    (shown.folder / "figures").mkdir(exist_ok=True)
    shown.draw("latency", "conditions")
    svg = (shown.folder / "figures/latency.svg").read_text()
    assert "stroke-dasharray" in svg and "Prediction of one of the test reviews" in svg


def data(made: dict, layer: dict) -> list[dict]:
    return (layer.get("data") or made["data"])["values"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (99.94, "99.9"), (99.96, "100"), (12345, "12,345")]
)
def test_numbers_have_three_digits_at_least(value, text):
    assert tables.number(value) == text and tables.number(np.nan) == "-"
