"""A training that is interrupted anywhere goes on, and ends as if it had never been."""

import os
import re
import shutil
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, call
from filelock import FileLock
from test_backends import train_command
from test_training import BACKEND, SETTINGS, build, load

import train
from lib.command.console import UserError
from lib.training import loop
from lib.training import saving as saving_module
from lib.training.batches import Bounds
from lib.training.loop import Recipe, build_optimizer, build_scheduler
from lib.training.model import Classifier
from lib.training.progress import Progress
from lib.training.saving import LOCK, STATE, Saving

CHANGES = {"epochs": 3, "optimizer": "adamw", "weight_decay": 0.1, "scheduler": "linear"}
OWN = {"settings": {"epochs": 3, "seed": 1}, "code": "a"}  # what a state belongs to
# The flags of a training that takes its time, by the number of its processes.
LONG = {1: "--batch 8 --epochs 16 --scheduler linear --warmup 0.1 --learning-rate 0.001"}
LONG[2] = f"{LONG[1]} --backend accelerate --processes 2"
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
    """Train a model with dropout; return its weights with its history, and the result."""
    data = load(tokens, "bert"), load(tokens, "bert", "valid")
    model = build(encoders, "bert")
    model.dropout.p = 0.3
    told = [] if losses is None else losses
    recipe = Recipe(16, 5, SETTINGS | CHANGES)  # seven updates of one pass to an epoch
    result = loop.train(model, data, recipe, BACKEND, lambda _, found: told.append(found), saving)
    weights = {key: tensor.tolist() for key, tensor in model.state_dict().items()}
    return (weights, [replace(epoch, seconds=0) for epoch in result.history]), result


def interrupt(encoders, tokens, run, after, losses=None):
    """Train until after an update, and return the name of the training."""
    saving = Interrupted(run, OWN, 1)
    saving.updates = after
    with pytest.raises(Cut):
        fit(encoders, tokens, saving, losses)
    return saving.name


@pytest.fixture(scope="module")
def whole(encoders, tokens):
    """What a training comes to that nothing interrupts, and what its epochs told."""
    losses = []
    return fit(encoders, tokens, losses=losses)[0], losses


@pytest.fixture(scope="module")
def left(encoders, tokens, tmp_path_factory):
    """The folder of a run that ended after nine updates, in its second epoch."""
    run = tmp_path_factory.mktemp("left")
    interrupt(encoders, tokens, run, 9)
    return run


@pytest.mark.parametrize("after", [1, 6, 7, 8, 20])  # of 21 updates, 7 in an epoch
def test_a_training_goes_on_after_any_update(encoders, tokens, whole, tmp_path, after):
    expected, told = whole
    losses = []
    name = interrupt(encoders, tokens, tmp_path, after, losses)
    torch.manual_seed(99)  # another process has drawn other random numbers
    saving = Saving(tmp_path, OWN, 1)
    assert saving.name == name  # by which a tracked run goes on as well
    assert fit(encoders, tokens, saving, losses)[0] == expected
    assert losses == told and len(told) == 3  # every epoch once, with all of its updates


def test_a_training_goes_on_after_its_last_epoch(encoders, tokens, whole, tmp_path):
    saving = Saving(tmp_path, OWN, 1)
    fit(encoders, tokens, saving)
    assert (tmp_path / ".state").is_dir()
    assert fit(encoders, tokens, Saving(tmp_path, OWN, 1))[0] == whole[0]  # nothing is left to do
    saving.finish()
    assert not list(tmp_path.iterdir())


def test_bounds_that_were_halved_stay_halved(encoders, tokens, left, tmp_path):
    saving = Saving(shutil.copytree(left, tmp_path / "run"), OWN, 1)
    saving.found.facts["bounds"] = [2, 100]
    _, result = fit(encoders, tokens, saving)
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
    interrupt(encoders, tokens, tmp_path, 9)
    clock[0] += 10000
    _, result = fit(encoders, tokens, Saving(tmp_path, OWN, 1))
    assert [epoch.seconds for epoch in result.history] == [7, 7, 7]
    assert recorded == [("training", 7), ("training", 5), ("training", 7)]


OTHER_SEED = {"settings": {"epochs": 3, "seed": 2}, "code": "a"}
DAMAGED = "it is damaged"


@pytest.mark.parametrize(
    ("identity", "changed", "place", "removed", "reason"),
    [
        (OTHER_SEED, "-", 0, "-", "other settings.seed"),
        (OWN | {"code": "b"}, "-", 0, "-", "other code"),
        (OWN, STATE, -1, "-", DAMAGED),
        (OWN, STATE, 7, f".{STATE}.sha256", DAMAGED),  # in the length of its header
        (OWN, "best-*.safetensors", -1, "-", DAMAGED),
        (OWN, "-", 0, "*best-*", DAMAGED),
    ],
)
def test_a_state_that_is_damaged_or_of_something_else_is_not_used_and_said(
    left, tmp_path, caplog, identity, changed, place, removed, reason
):
    state = shutil.copytree(left, tmp_path / "run") / ".state"
    for path in state.glob(changed):
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)
    for path in state.glob(removed):
        path.unlink()
    assert not Saving(state.parent, identity, 1).found and not state.exists()
    assert f"training begins anew: '{state / STATE}' is not used: {reason}" in caplog.text


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
    """Whether two runs have the same checkpoint, and the same history but for the seconds."""
    found = []
    for run in (one, other):
        lines = (run / "history.csv").read_text().splitlines()
        own = [line.rpartition(",")[0] for line in lines]
        found.append((own, [(run / file).read_bytes() for file in FILES]))
    return found[0] == found[1]


@pytest.fixture(scope="module")
def undisturbed(python, encoders, tokens, tmp_path_factory):
    """A training, by the number of its processes."""

    @cache
    def trained(processes: int) -> Path:
        run = tmp_path_factory.mktemp("undisturbed") / "run"
        with start(python, train_command(encoders, tokens, run, LONG[processes])) as process:
            assert process.communicate() and process.returncode == 0
        return run

    return trained


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "processes"),
    [("SIGTERM", 1), ("SIGINT", 2)],
)
def test_a_signal_saves_and_ends_with_one_line(
    python, encoders, tokens, tmp_path, undisturbed, sent, processes
):
    run = tmp_path / "run"
    line = train_command(encoders, tokens, run, LONG[processes])
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
    line = train_command(encoders, tokens, run, f"{LONG[1]} --save-minutes 0.001")
    with start(python, line) as process:
        wait_for(process, "epoch 3: ")
    with start(python, line) as process:
        wait_for(process, "resuming in epoch")
        assert "epoch 2: " not in process.stdout.read() and process.wait() == 0
    assert same_run(run, undisturbed(1))


def test_a_run_is_trained_by_one_process_at_a_time(encoders, tokens, tmp_path, monkeypatch):
    monkeypatch.setattr(saving_module, "PATIENCE", 0.1)
    message = f"'{tmp_path}' is being trained by process 1 on here; wait until"
    with FileLock(tmp_path / LOCK), pytest.raises(UserError, match=message):
        (tmp_path / LOCK).write_text("process 1 on here")
        call(train, train_command(encoders, tokens, tmp_path, LONG[1]))
