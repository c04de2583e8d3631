"""How much a training sees: its updates, and its sample of the reviews."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from conftest import call
from made_up import epoch_of
from test_training import BACKEND, SETTINGS, build, fit, load

from lib.analysis.results import updates_of
from lib.data.sampling import first_of
from lib.study.runs import Condition
from lib.training.batches import Bounds
from lib.training.job import measure
from lib.training.loop import Recipe, Result, scaled_learning_rate


@pytest.mark.parametrize(("updates", "epochs"), [(4, 1), (10, 2), (14, 2), (15, 3)])
def test_updates_in_place_of_epochs_end_within_an_epoch(encoders, tokens, updates, epochs):
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    assert len(data) == 100  # 7 updates of 16 in an epoch, the last of 4
    result, losses = fit(
        build(encoders, "bert"),
        data,
        valid,
        batch=16,
        epochs=9,
        updates=updates,
        scheduler="linear",
    )
    assert len(losses) == updates == result.history[-1].updates
    assert [epoch.epoch for epoch in result.history] == [*range(1, epochs + 1)]
    assert all(0 <= epoch.train_accuracy <= 1 for epoch in result.history)
    assert result.history[-1].learning_rate == pytest.approx(1e-3 / updates)  # the last before 0
    seen = {4: 64, 10: 148, 14: 200, 15: 216}[updates]
    assert Recipe(16, 5, SETTINGS).seen(updates, 100) == seen


def test_as_many_updates_as_the_epochs_have_are_the_same_training(encoders, tokens):
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    one, other = build(encoders, "bert"), build(encoders, "bert")
    by_epochs, _ = fit(one, data, valid, batch=16, epochs=2)
    by_updates, _ = fit(other, data, valid, batch=16, updates=14)
    measured, again = (
        [replace(epoch, seconds=0) for epoch in found.history] for found in (by_epochs, by_updates)
    )
    assert measured == again
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name


@pytest.mark.parametrize(("scaling", "times"), [("none", 1), ("sqrt", 2), ("linear", 4)])
def test_the_learning_rate_is_scaled_from_the_base_that_is_set(scaling, times):
    settings = SETTINGS | {"learning_rate": 3e-4, "lr_scaling": scaling, "lr_scaling_base": 32}
    assert scaled_learning_rate(settings, 128) == pytest.approx(times * 3e-4)


def test_a_run_tells_the_measures_of_its_best_epoch(encoders, tokens):
    first = epoch_of(1, valid_accuracy=0.55, seconds=1.5)
    best = epoch_of(2, train_accuracy=0.80, valid_loss=0.50, valid_accuracy=0.70, seconds=2.5)
    last = epoch_of(3, valid_accuracy=0.65, seconds=4.0)
    result = Result([first, best, last], best, False, Bounds(8, 99), 2)
    settings = SETTINGS | {"backend": "torch", "threads": 1}
    settings |= {"lr_scaling": "linear", "lr_scaling_base": 32, "epochs": 3}
    data = load(tokens, "bert"), load(tokens, "bert", "valid")
    found = measure(Recipe(16, 1, settings), build(encoders, "bert"), data, BACKEND, result)
    assert [found[name] for name in ("train_accuracy", "valid_accuracy", "valid_loss")] == [
        *(0.80, 0.70, 0.50)
    ]
    assert (found["best_epoch"], found["updates"], found["examples"]) == (2, 21, 100)
    assert found["updates_skipped"] == 2
    assert found["train_seconds"] == 8 and found["startup_seconds"] == 0
    assert found["examples_per_second"] == pytest.approx((100 / 2.5 + 100 / 4) / 2)
    measured = ("valid_balanced_accuracy", "valid_macro_f1", "chance_p", "seconds_saved")
    assert [found[name] for name in measured] == [0.65, 0.66, 0.067, 0]
    assert found["learning_rate"] == 5e-4 and not found["diverged"]


def test_a_sample_is_learned_as_if_there_were_no_other_reviews(encoders, tokens, tmp_path):
    import train as command

    everything = pq.read_table(tokens["bert"] / "train.parquet")
    rows = first_of(everything["label"].to_numpy(), 40, 3)
    alone = tmp_path / "alone"
    alone.mkdir()
    pq.write_table(everything.take(rows), alone / "train.parquet")
    shutil.copyfile(tokens["bert"] / "valid.parquet", alone / "valid.parquet")
    flags = f"--encoder {encoders['bert']} --dataset d --model m --pooling cls --batch 16 --seed 3"
    for folder, source, examples in (("some", tokens["bert"], 40), ("all", alone, "all")):
        run = f"--tokens {source} --run {tmp_path / folder} --examples {examples}"
        call(command, f"{run} {flags} --max-length 48 --epochs 2 --device cpu")
    some, others = (json.loads((tmp_path / x / "train.json").read_text()) for x in ("some", "all"))
    assert some["examples"] == others["examples"] == 40 and some["updates"] == 6
    assert some["train_accuracy"] == others["train_accuracy"]
    weights = [
        (tmp_path / x / "checkpoint/model.safetensors").read_bytes() for x in ("some", "all")
    ]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(("updates", "expected"), [(["auto", "50"], [14, 50]), ([9, 50], [9, 50])])
def test_the_updates_of_a_condition_are_those_that_it_is_to_have(updates, expected):
    keys = {"model": "a", "pooling": "cls", "batch": 16, "variant": ["base", "longer"]}
    told = {"examples": 100, "updates": [7, 50], "settings.epochs": 2, "settings.updates": updates}
    runs = pd.DataFrame(keys | told)  # of which patience has ended the first
    conditions = [Condition("a", "cls", 16, name) for name in ("base", "longer")]
    assert updates_of(runs) == dict(zip(conditions, expected, strict=True))
