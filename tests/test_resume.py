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
from made_up import epoch_of
from test_backends import train_command
from test_training import BACKEND, SETTINGS, build, load
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import train
from lib.command.console import UserError
from lib.training import job as jobs
from lib.training import loop
from lib.training import saving as saving_module
from lib.training.batches import Bounds
from lib.training.freezing import freeze
from lib.training.loop import Recipe, build_optimizer, build_scheduler
from lib.training.model import Classifier
from lib.training.progress import Progress
from lib.training.saving import LOCK, STATE, Saving

CHANGES = {"epochs": 3, "optimizer": "adamw", "weight_decay": 0.1, "scheduler": "linear"}
CONSTANT = {"scheduler": "constant"}
OWN = {"settings": {"epochs": 3, "seed": 1}, "code": "a"}  # what a state belongs to
# The flags of a training that takes its time, by the number of its processes.
LONG = {1: "--batch 8 --epochs 16 --scheduler linear --warmup 0.1 --learning-rate 0.001"}
LONG[2] = f"{LONG[1]} --backend accelerate --processes 2"
FILES = [
    f"checkpoint/{name}"
    for name in ("model.safetensors", "2_Dense/model.safetensors", "config.json", "head.json")
]


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


class Late(Saving):
    """A training whose states are saved at some moments alone, and which ends at one.

    Args:
        run: its folder.
        clock: what it takes for the time.
        moments: numbers of updates, and half a one more after an epoch.
        end: likewise.
    """

    def __init__(self, run, clock, moments=(), end=None):
        super().__init__(run, OWN, 1)
        self.clock, self.moments, self.end = clock, moments, end

    def save_when_due(self, progress):
        self._pass(super().save_when_due, progress, 0)

    def save_after_epoch(self, progress):
        self._pass(super().save_after_epoch, progress, 0.5)

    def _pass(self, save, progress, more):
        moment = 7 * len(progress.history) + len(progress.rates) + more
        self.clock[0] += 100 * (moment in self.moments)
        save(progress)
        if moment == self.end:
            raise Cut


class Operations(TorchDispatchMode):
    """The operations that torch does while it is on."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(func.name())
        return func(*args, **kwargs or {})


def end(*_, **__):
    """Stands for a call within which a process ends."""
    raise Cut


def contents(folder: Path) -> dict[Path, bytes]:
    """The files of a folder, by their paths in it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.read_bytes() for path in files}


@pytest.fixture
def clock(monkeypatch):
    """The time that saving sees, in seconds; it stands still unless it is put on."""
    clock = [1000.0]
    monkeypatch.setattr(saving_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    return clock


def fit(encoders, tokens, saving=None, losses=None, **changes):
    """Train a model with dropout; return its weights with its history, and the result."""
    data = load(tokens, "bert"), load(tokens, "bert", "valid")
    model = build(encoders, "bert")
    model.dropout.p = 0.3
    freeze(model.encoder, changes.get("freeze", "none"))
    told = [] if losses is None else losses
    recipe = Recipe(16, 5, SETTINGS | CHANGES | changes)  # seven updates of one pass to an epoch
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


def test_a_training_goes_on_after_its_last_epoch(encoders, tokens, whole, tmp_path, clock):
    saving = Late(tmp_path, clock, {21.5})
    fit(encoders, tokens, saving)
    assert (tmp_path / ".state").is_dir()
    assert fit(encoders, tokens, Saving(tmp_path, OWN, 1))[0] == whole[0]  # nothing is left to do
    saving.finish()
    assert not list(tmp_path.iterdir())


def test_a_training_that_patience_has_ended_is_not_gone_on_with(encoders, tokens, tmp_path, clock):
    changes = CONSTANT | {"epochs": 9, "patience": 1, "learning_rate": 0.01}
    expected, result = fit(encoders, tokens, **changes)
    assert result.best.epoch + 1 == len(result.history) < 9
    end = 7 * len(result.history) + 0.5  # after its last epoch
    for moments in ((end,), (end - 7,)):
        with pytest.raises(Cut):
            fit(encoders, tokens, Late(tmp_path / "run", clock, moments, end), **changes)
        losses = []
        saving = Late(tmp_path / "run", clock)
        assert fit(encoders, tokens, saving, losses, **changes)[0] == expected
        assert len(losses) == (0 if end in moments else 1)
        saving.finish()


def test_bounds_that_were_halved_stay_halved(encoders, tokens, left, tmp_path):
    saving = Saving(shutil.copytree(left, tmp_path / "run"), OWN, 1)
    saving.found.facts["bounds"] = [2, 100]
    _, result = fit(encoders, tokens, saving)
    assert result.bounds == Bounds(2, 100)


# Of a killed training: when its states were saved, and when it ended; and so on of those that went
# on from it. A moment is a number of updates, and half a one more after an epoch.
KILLS = [
    [((), 10)],  # before any state
    [((9,), 12)],  # the first epoch, the best so far, had ended without one
    [((3,), 7.5)],
    [((3,), 16)],  # two epochs are trained again
    [((7.5,), 14.5)],
    [((9, 16), 18)],
    [((16,), 21.5)],
    [((16, 21.5), 21.5)],  # nothing is left to do
    [((3,), 9), ((5,), 15), ((14.5,), 20)],
]


@pytest.mark.parametrize(
    ("best", "changes"),
    [
        pytest.param(1, {}, marks=pytest.mark.slow),
        pytest.param(2, CONSTANT | {"learning_rate": 0.005}, marks=pytest.mark.slow),
        (3, CONSTANT | {"learning_rate": 0.01}),
        pytest.param(None, {"max_grad_norm": 0.5, "freeze": 1}, marks=pytest.mark.slow),
    ],
)
def test_a_training_goes_on_from_a_state_of_long_before_its_end(
    encoders, tokens, tmp_path, clock, best, changes
):
    told = []
    expected, result = fit(encoders, tokens, losses=told, **changes)
    assert best in (None, result.best.epoch)
    for number, kills in enumerate(KILLS):
        run, losses = tmp_path / str(number), []
        for saved, moment in kills:
            with pytest.raises(Cut):
                fit(encoders, tokens, Late(run, clock, saved, moment), losses, **changes)
            assert bool(Late(run, clock).found) == bool(saved)
        assert fit(encoders, tokens, Late(run, clock), losses, **changes)[0] == expected
        assert sorted({told.index(epoch) for epoch in losses}) == [0, 1, 2]  # some of them twice


@pytest.fixture
def progress(encoders) -> Progress:
    """That of a training which has just begun."""
    model = build(encoders, "bert")
    optimizer = build_optimizer(list(model.parameters()), SETTINGS, 1e-3)
    return Progress(model, build_scheduler(optimizer, SETTINGS, 9), Bounds(1, 1), "accuracy")


def test_a_state_is_saved_after_so_many_minutes_and_again_after_as_many(progress, tmp_path, clock):
    saving = Saving(tmp_path, {}, 2)
    saved = []
    for seconds in (119, 2, 118, 3, 119, 2):
        clock[0] += seconds
        saving.save_when_due(progress)
        saved.append((tmp_path / ".state" / STATE).exists())
        saving.finish()
    assert saved == [False, True] * 3


@pytest.mark.parametrize(("minutes", "least"), [(10, 60), (1, 60), (0.5, 30)])
def test_a_state_is_saved_after_an_epoch_if_the_last_one_is_old_enough(
    progress, tmp_path, clock, minutes, least
):
    saving = Saving(tmp_path, {}, minutes)
    saved = []
    for seconds in (least - 1, 2, least - 2, 3):
        clock[0] += seconds
        saving.save_after_epoch(progress)
        saved.append((tmp_path / ".state" / STATE).exists())
        saving.finish()
    assert saved == [False, True] * 2
    clock[0] += 60 * minutes + 1
    saving.save_when_due(progress)
    saving.finish()
    clock[0] += least - 1
    saving.save_after_epoch(progress)
    assert not (tmp_path / ".state").exists()


def test_what_was_left_without_a_state_is_removed(left, tmp_path):
    state = shutil.copytree(left, tmp_path / "run") / ".state"
    (state / "checkpoints/epoch=1-acc=0.5000").mkdir(parents=True)
    (state / STATE).unlink()
    Saving(state.parent, OWN, 1, rank=1)
    assert state.exists()  # which the first process alone removes
    Saving(state.parent, OWN, 1)
    assert not state.exists()


def test_a_state_that_is_being_removed_is_none(left, tmp_path, monkeypatch, caplog):
    run = shutil.copytree(left, tmp_path / "run")
    saving = Saving(run, OWN, 1)
    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(saving_module.shutil, "rmtree", end)
        saving.finish()
    assert not Saving(run, OWN, 1).found and "damaged" not in caplog.text


@pytest.mark.parametrize("name", ["finish", "link"])
def test_checkpoints_of_all_epochs_are_kept_once(encoders, tokens, tmp_path, monkeypatch, name):
    monkeypatch.setenv("WANDB_MODE", "disabled")

    def line(run: str) -> str:
        flags = "--batch 16 --epochs 3 --keep-checkpoints all"
        return train_command(encoders, tokens, tmp_path / run, flags)

    def save_in_the_second_epoch(saving, progress):
        if (len(progress.history), len(progress.rates)) == (1, 2):
            saving.save(progress)

    call(train, line("whole"))
    kept = tmp_path / "run/.state/checkpoints"
    monkeypatch.setattr(Saving, "save_when_due", save_in_the_second_epoch)
    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(*{"finish": (Saving, "finish", end), "link": (jobs, "link", end)}[name])
        call(train, line("run"))
    second = next(kept.glob("epoch=2-*"))
    second.rename(kept / "epoch=2-acc=0.1234")  # as one that is not deterministic may have it
    call(train, line("run"))
    one, other = (contents(tmp_path / run / "checkpoints") for run in ("whole", "run"))
    assert one == other and len({name.parts[0] for name in one}) == 3
    assert not kept.parent.exists()


def test_the_best_weights_leave_a_gpu_in_one_copy():
    with FakeTensorMode(), Operations() as operations:
        model = SimpleNamespace(trained_state=lambda: {"weight": torch.empty(3, device="cuda")})
        progress = Progress(model, None, Bounds(1, 1), "accuracy")
        progress.finish_epoch(epoch_of(1))
    assert progress.best_weights["weight"].device.type == "cpu"
    made = {"aten::empty.memory_format", "prim::device"}  # the weight, and a look at it
    assert [each for each in operations.seen if each not in made] == ["aten::_to_copy"]


def test_the_best_weights_stay_while_the_model_learns(progress):
    progress.finish_epoch(epoch_of(1))
    before = {name: tensor.clone() for name, tensor in progress.best_weights.items()}
    with torch.no_grad():
        for parameter in progress.model.parameters():
            parameter.add_(1)
    assert all(tensor.equal(before[name]) for name, tensor in progress.best_weights.items())


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


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_last_state(
    python, encoders, tokens, tmp_path, undisturbed
):
    run = tmp_path / "run"
    line = train_command(encoders, tokens, run, LONG[1])
    with start(python, f"{line} --save-minutes 0.00001") as process:
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
