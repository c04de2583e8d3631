"""A training that is interrupted anywhere goes on, and ends as if it had never been."""

import os
import re
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT
from filelock import FileLock
from test_backends import train_command
from test_training import BACKEND, SETTINGS, build, load

from lib.training import loop
from lib.training import saving as saving_module
from lib.training.batches import Bounds
from lib.training.loop import Recipe, build_optimizer, build_scheduler, train
from lib.training.model import Classifier
from lib.training.progress import Progress
from lib.training.saving import LOCK, STATE, Saving

CHANGES = {"epochs": 3, "optimizer": "adamw", "weight_decay": 0.1, "scheduler": "linear"}
LONG = "--batch 8 --epochs 16 --scheduler linear --warmup 0.1 --learning-rate 0.001"
FILES = ("checkpoint/model.safetensors", "checkpoint/head.safetensors", "checkpoint/config.json")


class Cut(Exception):
    """The end of a process, as far as the loop can see."""


class Interrupted(Saving):
    """Saves after every update, and ends after some of them."""

    updates = 0

    def save_when_due(self, progress):
        self.save(progress)
        self.updates -= 1
        if not self.updates:
            raise Cut


def fit(encoders, tokens, saving=None, losses=None):
    """Train a model with dropout; return its weights and its history without the seconds."""
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    model = build(encoders, "bert")
    model.dropout.p = 0.3
    found = [] if losses is None else losses
    result = train(
        model,
        (data, valid),
        Recipe(16, 5, SETTINGS | CHANGES),
        BACKEND,
        lambda epoch, updates: found.append(updates),
        saving,
    )
    lines = [{**vars(epoch), "seconds": 0} for epoch in result.history]
    return model.state_dict(), lines


def identical(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_training_goes_on_after_any_update(encoders, tokens, tmp_path):
    whole = []
    weights, history = fit(encoders, tokens, losses=whole)
    assert len(history) == 3
    for after in (1, 6, 7, 8, 20):  # of 21 updates, 7 in an epoch
        run, losses = tmp_path / str(after), []
        saving = Interrupted(run, {}, 1)
        saving.updates = after
        with pytest.raises(Cut):
            fit(encoders, tokens, saving, losses)
        torch.manual_seed(99)  # another process has drawn other random numbers
        found = Saving(run, {}, 1)
        assert found.name == saving.name  # by which a tracked run goes on as well
        again, lines = fit(encoders, tokens, found, losses)
        assert identical(again, weights)
        assert lines == history
        assert losses == whole  # every epoch is reported once, with all of its updates


def test_a_training_goes_on_after_each_of_its_epochs(encoders, tokens, tmp_path):
    weights, history = fit(encoders, tokens)
    saving = Saving(tmp_path, {}, 1)
    fit(encoders, tokens, saving)
    assert (tmp_path / ".state").is_dir()
    again, lines = fit(encoders, tokens, Saving(tmp_path, {}, 1))  # nothing is left to do
    assert identical(again, weights) and lines == history
    saving.finish()
    assert not list(tmp_path.iterdir())


def test_bounds_that_were_halved_stay_halved(encoders, tokens, tmp_path):
    saving = Interrupted(tmp_path, {}, 1)
    saving.updates = 2
    with pytest.raises(Cut):
        fit(encoders, tokens, saving)
    saving = Saving(tmp_path, {}, 1)
    saving.found.facts["bounds"] = [2, 100]
    data = load(tokens, "bert"), load(tokens, "bert", "valid")
    recipe = Recipe(16, 5, SETTINGS | CHANGES)
    result = train(build(encoders, "bert"), data, recipe, BACKEND, saving=saving)
    assert result.bounds == Bounds(2, 100)


def test_a_state_is_saved_after_so_many_minutes_and_again_after_as_many(
    encoders, tmp_path, monkeypatch
):
    clock = [1000.0]
    monkeypatch.setattr(saving_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    model = build(encoders, "bert")
    optimizer = build_optimizer(model, SETTINGS, 1e-3)
    progress = Progress(model, build_scheduler(optimizer, SETTINGS, 9), Bounds(1, 1))
    saving = Saving(tmp_path, {}, 2)
    saved = []
    for seconds in (119, 2, 118, 3, 119, 2):
        clock[0] += seconds
        saving.save_when_due(progress)
        saved.append((tmp_path / ".state" / STATE).exists())
        saving.finish()
    assert saved == [False, True] * 3


def test_seconds_are_those_of_training_before_and_after_an_interruption(
    encoders, tokens, tmp_path, monkeypatch
):
    clock, recorded = [0.0], []
    forward = Classifier.forward

    def slow(model, inputs):
        clock[0] += 1 if model.training else 100  # of validation
        return forward(model, inputs)

    monkeypatch.setattr(Classifier, "forward", slow)
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(loop, "record", lambda part, seconds: recorded.append((part, seconds)))
    data = load(tokens, "bert"), load(tokens, "bert", "valid")
    recipe = Recipe(16, 5, SETTINGS | CHANGES)  # seven updates of one pass to an epoch
    saving = Interrupted(tmp_path, {}, 1)
    saving.updates = 9
    with pytest.raises(Cut):
        train(build(encoders, "bert"), data, recipe, BACKEND, saving=saving)
    clock[0] += 10000
    saving = Saving(tmp_path, {}, 1)
    result = train(build(encoders, "bert"), data, recipe, BACKEND, saving=saving)
    assert [epoch.seconds for epoch in result.history] == [7, 7, 7]
    assert recorded == [("training", 7), ("training", 5), ("training", 7)]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"settings": {"epochs": 3, "seed": 2}, "code": "a"}, "other settings.seed"),
        ({"settings": {"epochs": 3, "seed": 1}, "code": "b"}, "other code"),
        (None, "it is damaged"),
    ],
)
def test_a_state_of_something_else_is_not_used_and_said(
    encoders, tokens, tmp_path, capfd, caplog, other, reason
):
    own = {"settings": {"epochs": 3, "seed": 1}, "code": "a"}
    saving = Interrupted(tmp_path, own, 1)
    saving.updates = 9
    with pytest.raises(Cut):
        fit(encoders, tokens, saving)
    path = tmp_path / ".state" / STATE
    if other is None:
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(content)
    found = Saving(tmp_path, other or own, 1)
    assert not found.found and not path.exists()
    assert f"training begins anew: '{path}' is not used: {reason}" in caplog.text


@pytest.mark.parametrize("damage", ["best", "no best", "header"])
def test_a_state_with_a_damaged_part_is_not_used(encoders, tokens, tmp_path, caplog, damage):
    saving = Interrupted(tmp_path, {}, 1)
    saving.updates = 9
    with pytest.raises(Cut):
        fit(encoders, tokens, saving)
    if damage == "best":
        (best,) = (tmp_path / ".state").glob("best-*.safetensors")
        best.write_bytes(best.read_bytes()[:-1])
    elif damage == "no best":
        for path in (tmp_path / ".state").glob("*best-*"):
            path.unlink()
    else:
        (tmp_path / ".state" / STATE).write_bytes(b"")
        (tmp_path / ".state" / f".{STATE}.sha256").unlink()
    assert not Saving(tmp_path, {}, 1).found
    assert "it is damaged" in caplog.text


@contextmanager
def start(python, line: str):
    """A training in a process of its own, which does not outlive the block."""
    with subprocess.Popen(
        [python, "scripts/train.py", *line.split()],
        cwd=ROOT,
        env=os.environ | {"WANDB_MODE": "disabled"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen, text: str) -> None:
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the process ended before it said {text}")


def same_run(one: Path, other: Path) -> bool:
    lines = [
        [line.rpartition(",")[0] for line in (run / "history.csv").read_text().splitlines()]
        for run in (one, other)
    ]
    bytes_ = [[(run / file).read_bytes() for file in FILES] for run in (one, other)]
    return lines[0] == lines[1] and bytes_[0] == bytes_[1]


@pytest.fixture(scope="module")
def undisturbed(python, encoders, tokens, tmp_path_factory):
    """A training, by the number of its processes."""
    runs = {}

    def trained(processes: int) -> Path:
        if processes not in runs:
            runs[processes] = tmp_path_factory.mktemp("undisturbed") / str(processes)
            line = train_command(encoders, tokens, runs[processes], LONG + in_processes(processes))
            with start(python, line) as process:
                assert process.communicate() and process.returncode == 0
        return runs[processes]

    return trained


def in_processes(number: int) -> str:
    return f" --backend accelerate --processes {number}" if number > 1 else ""


@pytest.mark.parametrize(
    ("sent", "processes"),
    [("SIGTERM", 1), pytest.param("SIGINT", 2, marks=pytest.mark.slow)],
)
def test_a_signal_saves_and_ends_with_one_line(
    python, encoders, tokens, tmp_path, undisturbed, sent, processes
):
    run = tmp_path / "run"
    line = train_command(encoders, tokens, run, LONG + in_processes(processes))
    with start(python, line) as process:
        wait_for(process, "epoch 2: ")
        process.send_signal(signal.Signals[sent])
        rest = process.stdout.read()
        assert process.wait() == 128 + signal.Signals[sent]
    (said,) = (each for each in rest.splitlines() if not re.search("epoch .*accuracy", each))
    assert f"training ended by {sent}; its state is saved, in epoch" in said
    assert not (run / "train.json").exists() and (run / ".state" / STATE).is_file()
    with start(python, line) as process:
        wait_for(process, "resuming in epoch")
        assert process.stdout.read() and process.wait() == 0
    assert same_run(run, undisturbed(processes))
    assert not (run / ".state").exists() and not (run / LOCK).exists()


def test_a_killed_training_goes_on_from_its_last_state(
    python, encoders, tokens, tmp_path, undisturbed
):
    run = tmp_path / "run"
    line = train_command(encoders, tokens, run, f"{LONG} --save-minutes 0.001")
    with start(python, line) as process:
        wait_for(process, "epoch 3: ")
    with start(python, line) as process:
        wait_for(process, "resuming in epoch")
        assert "epoch 2: " not in process.stdout.read() and process.wait() == 0
    assert same_run(run, undisturbed(1))


def test_a_run_is_trained_by_one_process_at_a_time(python, encoders, tokens, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with FileLock(run / LOCK):
        (run / LOCK).write_text("process 1 on here")
        with start(python, train_command(encoders, tokens, run, LONG)) as process:
            output, _ = process.communicate()
    assert process.returncode == 1
    expected = f"train.py: error: '{run}' is being trained by process 1 on here; wait until"
    assert output.splitlines()[-1].startswith(expected)
    shutil.rmtree(run)
