"""What a training tells of itself, in train.json and to Weights & Biases, and what it goes on from.

The splits have unequal classes and sizes, the best epoch is not the last, the last update of an
epoch is a small one, and the last epoch ends early, so that no number passes for another.
"""

import hashlib
import json
import math
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import made_up
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import SIZES, call
from families import change
from safetensors.torch import load_file
from test_backends import train_command
from test_resume import Cut as Interruption
from test_resume import same_run
from test_training import CPU, SETTINGS, build, rates_by_hand
from torch.nn.functional import cross_entropy

import train
from lib.data.cutting import Cut
from lib.training import backends, reporting
from lib.training import job as jobs
from lib.training.backends import Torch
from lib.training.batches import Bounds, load_tokens
from lib.training.checkpoints import load_checkpoint
from lib.training.job import Job
from lib.training.loop import Recipe, Result, Updates
from lib.training.metrics import chance_p, fit_temperature
from lib.training.progress import Epoch
from lib.training.reporting import Reporter
from lib.training.saving import Saving

FLAGS = (  # 70 examples: four updates of 16 and one of 6 to an epoch, and three in the last one
    "--batch 16 --updates 13 --scheduler linear --warmup 0.3 --learning-rate 5e-3 --seed 3 "
    "--lr-scaling sqrt --lr-scaling-base 4 --dropout 0.1 --micro-batch 40 --micro-tokens 250 "
    "--max-length 50 --truncation head-tail"
)
ENDS = Cut(50, "head-tail")


@pytest.fixture(scope="module")
def lopsided(tokens, tmp_path_factory) -> dict[str, Path]:
    """Tokens of 70 training reviews, 45 of them of class 0, and of 28 in validation, with 20."""
    folder = tmp_path_factory.mktemp("lopsided")
    for split, counts in (("train", (45, 25)), ("valid", (20, 8))):
        table = pq.read_table(tokens["bert"] / f"{split}.parquet", partitioning=None)
        labels = table["label"].to_numpy()
        rows = [np.flatnonzero(labels == label)[: counts[label]] for label in (0, 1)]
        pq.write_table(table.take(np.sort(np.concatenate(rows))), folder / f"{split}.parquet")
    return {"bert": folder}


@pytest.fixture(scope="module")
def tracked() -> list[SimpleNamespace]:
    """What a stand-in for wandb was told."""
    return []


@pytest.fixture(scope="module")
def run(encoders, lopsided, tracked, tmp_path_factory) -> Path:
    """A finished run that keeps the checkpoints of all epochs."""
    out = tmp_path_factory.mktemp("run") / "run"

    def init(**options) -> SimpleNamespace:
        found = SimpleNamespace(options=options, records=[], ended=[])
        tracked.append(found)
        return SimpleNamespace(
            log=lambda values, step: found.records.append((step, values)),
            finish=lambda exit_code: found.ended.append(exit_code),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "wandb", SimpleNamespace(Settings=dict, init=init))
        patch.setenv("WANDB_MODE", "offline")
        call(train, train_command(encoders, lopsided, out, f"{FLAGS} --keep-checkpoints all"))
    return out


@pytest.fixture(scope="module")
def told(run) -> dict:
    """What train.json tells."""
    return json.loads((run / "train.json").read_text())


@pytest.fixture(scope="module")
def history(run) -> pd.DataFrame:
    """The lines of history.csv, by epoch."""
    return pd.read_csv(run / "history.csv", index_col="epoch")


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    names = ("model.safetensors", "2_Dense/model.safetensors")
    return {key: x for name in names for key, x in load_file(checkpoint / name).items()}


def test_what_is_told_of_the_best_epoch_is_that_of_its_checkpoint(run, told, history, lopsided):
    best = told["best_epoch"]
    assert best < len(history) == 3 and not told["diverged"]  # else the last one would do
    assert told["train_accuracy"] == pytest.approx(history["train_accuracy"][best])
    valid = load_tokens(lopsided["bert"] / "valid.parquet", ENDS, CPU, "masked-mean")
    with torch.no_grad():
        logits = load_checkpoint(run / "checkpoint")(valid.batch(torch.arange(28)))
    right = int((logits.argmax(dim=1) == valid.labels).sum())
    assert told["valid_accuracy"] == history["valid_accuracy"].max() == right / 28
    loss = cross_entropy(logits, valid.labels).item()
    assert told["valid_loss"] == pytest.approx(loss, rel=1e-5)
    assert history["valid_loss"][best] == pytest.approx(loss, rel=1e-5)
    temperature = fit_temperature(logits.numpy(), valid.labels.numpy())
    assert told["temperature"] == pytest.approx(temperature, rel=1e-3) != 1
    assert told["temperature"] == pytest.approx(history["temperature"][best])
    assert load_checkpoint(run / "checkpoint").temperature == told["temperature"]
    p = chance_p(valid.labels.numpy(), logits.argmax(dim=1).numpy())
    assert told["chance_p"] == p == pytest.approx(history["chance_p"][best])
    (kept,) = (run / "checkpoints").glob(f"epoch={best}-*")
    found, expected = weights(run / "checkpoint"), weights(kept)
    assert all(torch.equal(tensor, expected[key]) for key, tensor in found.items())


def test_what_is_told_of_a_training_is_what_was_asked_for_and_done(
    run, told, history, encoders, lopsided
):
    expected = {
        **{"dataset": "d", "model": "m", "pooling": "masked-mean", "variant": "base"},
        **{"batch": 16, "seed": 3, "updates": 13, "examples": 70},
        **{"truncation": "head-tail", "first_tokens": 1 + 12, "last_tokens": 1 + 36},
        **{"micro_batch": 16, "micro_tokens": 250, "threads": 1, "processes": 1},
        **{"device": "cpu", "precision": "fp32", "backend": "torch"},
    }
    assert told.items() >= expected.items()
    assert told["learning_rate"] == pytest.approx(1e-2)  # twice that of 4 reviews
    asked = {"learning_rate": 5e-3, "warmup": 0.3, "lr_scaling": "sqrt", "keep_checkpoints": "all"}
    asked |= {"max_length": 50, "truncation": "head-tail"}
    assert told["settings"].items() >= asked.items()
    digest = hashlib.sha256((lopsided["bert"] / "train.parquet").read_bytes()).hexdigest()
    assert told["tokens_sha256"] == digest
    config = hashlib.sha256((encoders["bert"] / "config.json").read_bytes()).hexdigest()
    assert told["encoder"]["sha256"]["config.json"] == config
    assert told["versions"]["torch"] == torch.__version__
    trained = weights(run / "checkpoint")
    assert told["parameters"] == sum(tensor.numel() for tensor in trained.values())
    memory = psutil.Process().memory_info().rss
    assert memory / 4 < told["peak_memory_bytes"] < 4 * memory


def test_a_training_with_every_choice_is_told(encoders, lopsided, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    caplog.set_level("INFO")
    choices = (
        "--choose-by loss --patience 1 --class-weights balanced --max-grad-norm 0.5 --freeze 1"
    )
    line = f"--batch 16 --epochs 9 --learning-rate 0.02 --encoder-dropout 0.1 {choices}"
    call(train, train_command(encoders, lopsided, tmp_path / "run", line))
    told = json.loads((tmp_path / "run" / "train.json").read_text())
    history = pd.read_csv(tmp_path / "run" / "history.csv", index_col="epoch")
    best = history["valid_loss"].idxmin()
    assert told["best_epoch"] == best == len(history) - 1 < 8
    for name in ("loss", "accuracy", "balanced_accuracy", "macro_f1"):
        assert told[f"valid_{name}"] == pytest.approx(history[f"valid_{name}"][best])
    saved = (9 - len(history)) * history["seconds"].mean()
    assert told["seconds_saved"] == pytest.approx(saved)
    assert f"training ends after epoch {best + 1} of 9, which saves about" in caplog.text
    model = load_checkpoint(tmp_path / "run" / "checkpoint")
    layer = model.encoder.encoder.layer[1]
    learned = [*layer.parameters(), *model.head.parameters()]
    assert told["parameters_trained"] == sum(map(torch.numel, learned)) < told["parameters"]
    assert model.encoder.config.hidden_dropout_prob == 0.1
    kept = {"max_grad_norm": 0.5, "patience": 1, "freeze": 1, "class_weights": "balanced"}
    assert kept.items() <= told["settings"].items()


def uncut_lengths(lopsided) -> np.ndarray:
    """How many tokens each of the training texts has."""
    table = pq.read_table(lopsided["bert"] / "train.parquet", partitioning=None)
    return np.array([len(ids) for ids in table["input_ids"].to_pylist()])


def test_what_is_told_of_the_cut_is_what_training_lost_by_it(told, lopsided):
    lengths = uncut_lengths(lopsided)
    lost = np.maximum(lengths - 50, 0)
    assert told["texts_cut"] == pytest.approx((lost > 0).mean())
    assert told["tokens_lost"] == pytest.approx(lost.sum() / lengths.sum())
    assert 0.2 < told["texts_cut"] < 0.9 and told["tokens_lost"] != told["texts_cut"]


def test_speeds_are_those_of_the_seconds_in_training(run, told, history, lopsided):
    assert told["train_seconds"] == pytest.approx(history["seconds"].sum())
    assert told["examples_per_second"] == pytest.approx(70 / history["seconds"][2])  # the whole one
    longer = history["seconds"][1] - history["seconds"][2]
    assert told["startup_seconds"] == pytest.approx(max(0, longer))
    lengths = np.minimum(uncut_lengths(lopsided), 50)
    encoder = load_file(run / "checkpoint" / "model.safetensors")
    inner = sum(x.numel() for key, x in encoder.items() if "_embeddings.weight" not in key)
    attention = 12 * SIZES["num_hidden_layers"] * SIZES["hidden_size"] * (lengths**2).sum()
    flops = (6 * inner * lengths.sum() + attention) / 70
    assert told["flops_per_second"] == pytest.approx(flops * told["examples_per_second"])


def test_a_tracked_run_has_its_keys_its_settings_and_every_update(run, told, history, tracked):
    (found,) = tracked
    assert found.options["config"] == told["settings"] | {
        **{"dataset": "d", "model": "m", "pooling": "masked-mean", "batch": 16},
        **{"variant": "base", "seed": 3},
    }
    assert re.fullmatch("[0-9a-f]{8}", found.options["id"])
    assert found.options["mode"] == "offline" and found.options["resume"] == "allow"
    assert {"model=m", "batch=16", "seed=3"} <= set(found.options["name"].split())
    updates = [(step, values) for step, values in found.records if "loss" in values]
    epochs = [(step, values) for step, values in found.records if "loss" not in values]
    assert [step for step, _ in updates] == list(range(1, 14))
    rates = [1e-2 * share for share in rates_by_hand(total=13, warmup=4)]
    assert [values["learning_rate"] for _, values in updates] == pytest.approx(rates)
    losses = np.array([values["loss"] for _, values in updates])
    for part, sizes, epoch in (
        (losses[:5], [16, 16, 16, 16, 6], 1),
        (losses[5:10], [16, 16, 16, 16, 6], 2),
        (losses[10:], [16, 16, 16], 3),
    ):
        assert history["train_loss"][epoch] == pytest.approx(part @ sizes / sum(sizes))
    assert [step for step, _ in epochs] == history["updates"].tolist() == [5, 10, 13]
    lines = history.reset_index().to_dict("records")
    assert [values for _, values in epochs] == [pytest.approx(line) for line in lines]
    assert found.ended == [0]


def test_the_reviews_to_learn_from_are_drawn_by_the_seed_and_fewer_are_a_part_of_more(lopsided):
    data = load_tokens(lopsided["bert"] / "train.parquet", ENDS, CPU, "masked-mean")
    drawn = {}
    for seed in (3, 4):
        for count in (14, 28, "all"):
            here = {"keys": {"seed": seed}, "settings": {"examples": count}}
            job = Job(tokens=Path(), encoder=Path(), run=Path(), labels=(), **here)
            drawn[seed, count] = job.sample(data)
    for seed in (3, 4):
        assert drawn[seed, 14].labels.bincount().tolist() == [9, 5]  # of 45 and 25
        few, more, everything = (set(drawn[seed, n].ids.tolist()) for n in (14, 28, "all"))
        assert few < more < everything and (len(few), len(more), len(everything)) == (14, 28, 70)
    assert set(drawn[3, 14].ids) != set(drawn[4, 14].ids)


def test_a_training_learns_as_many_reviews_and_classes_as_there_are(
    encoders, lopsided, tmp_path, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    for split in ("train", "valid"):
        table = pq.read_table(lopsided["bert"] / f"{split}.parquet", partitioning=None)
        labels = pa.array(np.arange(len(table)) % 3, pa.int8())
        three = table.set_column(1, table.schema.field("label"), labels)
        pq.write_table(three, tmp_path / f"{split}.parquet")
    flags = "--batch 8 --epochs 2 --examples 20 --labels bad fair good"
    call(train, train_command(encoders, {"bert": tmp_path}, tmp_path / "run", flags))
    told = json.loads((tmp_path / "run" / "train.json").read_text())
    assert (told["examples"], told["updates"]) == (20, 2 * 3)
    config = json.loads((tmp_path / "run" / "checkpoint" / "config.json").read_text())
    assert config["id2label"] == {"0": "bad", "1": "fair", "2": "good"}
    assert config["label2id"] == {"bad": 0, "fair": 1, "good": 2}
    assert weights(tmp_path / "run" / "checkpoint")["linear.weight"].shape == (3, 32)


def test_utilisation_is_that_of_all_processes_and_a_loss_that_is_not_finite_is_no_success(
    encoders, lopsided, monkeypatch
):
    monkeypatch.setattr(jobs, "peak_flops", lambda *_: 1e9)
    data = [load_tokens(lopsided["bert"] / name, ENDS, CPU, "masked-mean") for name in jobs.SPLITS]
    backend = Torch(CPU, "fp32")
    backend.processes = 2
    best, last = epoch_of(1, [0.5] * 5, 2.0)[0], epoch_of(2, [0.5] * 3, 1.0)[0]
    recipe = Recipe(16, 3, SETTINGS | {"backend": "accelerate"})
    for diverged in (False, True):
        result = Result([best, last], best, diverged, Bounds(9, 99), 0)
        found = jobs.measure(recipe, build(encoders, "bert"), data, backend, result)
        assert found["flop_utilisation"] == pytest.approx(found["flops_per_second"] / 2e9)
        assert (found["examples_per_second"], found["train_seconds"]) == (3 * 16 / 1.0, 3.0)
        assert found["startup_seconds"] == pytest.approx(2.0 - 70 / 48)
        assert (found["train_accuracy"], found["valid_loss"]) == (0.62, 0.63)
        assert (found["processes"], found["micro_batch"], found["micro_tokens"]) == (2, 9, 99)
        assert found["chance_p"] == (1.0 if diverged else 0.067)


def epoch_of(number: int, losses: list[float], seconds: float) -> tuple[Epoch, Updates]:
    """An epoch of made-up numbers, of which no two are alike."""
    before = 5 * (number - 1)
    epoch = made_up.epoch_of(number, updates=before + len(losses), seconds=seconds)
    return epoch, Updates(losses, [6.8] * len(losses), [1e-3] * len(losses))


@pytest.mark.parametrize(
    ("updates", "seconds", "speed", "startup"),
    [
        ([5], [7.0], 10, 0),
        ([3], [4.0], 12, 0),
        ([5, 10], [27.0, 7.0], 10, 20),
        ([5, 10], [5.0, 7.0], 10, 0),  # nothing that starts
        ([5, 8], [27.0, 2.4], 20, 23.5),  # of updates that end within it, the only one after
        ([5, 10, 13], [27.0, 7.0, 48.0], 10, 20),
        ([5, 10, 15, 20], [27.0, 7.0, 70.0, 7.0], 10, 20),  # one that began anew in between
    ],
)
def test_the_speed_is_that_after_the_start(updates, seconds, speed, startup):
    history = [
        made_up.epoch_of(number, updates=so_far, seconds=spent)
        for number, (so_far, spent) in enumerate(zip(updates, seconds, strict=True), 1)
    ]
    found = jobs.speed_of(Recipe(16, 3, SETTINGS), history, 70)
    assert found == pytest.approx((speed, startup)) and (len(updates) > 1 or found[1] == 0)


def test_a_line_of_the_history_leaves_out_what_is_no_number(tmp_path):
    lines = [made_up.epoch_of(1), made_up.epoch_of(2, train_loss=math.nan, valid_accuracy=0)]
    jobs.write_history(tmp_path / "history.csv", lines)
    assert (tmp_path / "history.csv").read_text().splitlines() == [
        "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy,valid_balanced_accuracy,"
        "valid_macro_f1,temperature,chance_p,grad_norm,learning_rate,updates,seconds",
        "1,0.61,0.62,0.63,0.64,0.65,0.66,1.7,0.067,6.8,0.001,7,6.9",
        "2,,0.62,0.63,0,0.65,0.66,1.7,0.067,6.8,0.001,14,6.9",
    ]


def test_every_epoch_is_told_with_its_speed_and_what_is_left(monkeypatch, caplog):
    caplog.set_level("INFO")
    clock = iter([100.0, 130.0, 150.0])
    monkeypatch.setattr(reporting, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    keys = {"dataset": "d", "model": "m", "pooling": "cls", "batch": 16, "seed": 3}
    recipe = Recipe(16, 3, SETTINGS | {"updates": 13, "epochs": 9})
    reporter = Reporter(keys, recipe, 70, "fp32", SimpleNamespace(log=lambda *_: None))
    reporter.epoch(*epoch_of(1, [0.5] * 5, 2.0))
    reporter.epoch(*epoch_of(3, [0.5] * 3, 1.5))
    assert caplog.messages == [
        "epoch 1: train loss 0.6100, accuracy 0.6200; valid loss 0.6300, accuracy 0.6400; "
        "5 updates so far; 150 updates/minute, 35 examples/s",
        "m cls 16 seed 3: epoch 1 of 3, validation accuracy 0.6400, 35 reviews/s, 1m 00s left",
        "epoch 3: train loss 0.6100, accuracy 0.6200; valid loss 0.6300, accuracy 0.6400; "
        "13 updates so far; 120 updates/minute, 32 examples/s",
        "m cls 16 seed 3: epoch 3 of 3, validation accuracy 0.6400, 32 reviews/s, done",
    ]


@pytest.mark.parametrize(
    ("number", "precision", "clipped", "said"),
    [
        (
            0,
            "fp32",
            "none",
            "validation loss of epoch 1 is not finite; steps may be too large: low",
        ),
        (3, "bf16", 1.0, "update 3, in epoch 1, is not finite; steps may be too large: lower lear"),
        (2, "fp16", "none", "set max_grad_norm; or passes may overflow in fp16: set precision to "),
        (1, "fp16", "none", "update 1, in epoch 1, is not finite; passes may overflow in fp16: se"),
        (1, "fp32", "none", "no weight has changed before, so that the attention of this encoder "),
    ],
)
def test_a_loss_that_is_not_finite_is_told_with_what_may_be_the_reason(
    caplog, number, precision, clipped, said
):
    caplog.set_level("INFO")
    losses = [math.nan if update == number else 0.5 for update in range(1, 6)]
    recipe = Recipe(16, 3, SETTINGS | {"max_grad_norm": clipped})
    reporter = Reporter({"seed": 3}, recipe, 70, precision, SimpleNamespace(log=lambda *_: None))
    epoch, updates = epoch_of(1, losses, 2.0)
    reporter.epoch(replace(epoch, train_loss=math.nan), updates)
    assert said in caplog.text
    later = number != 1
    assert ("lower learning_rate" in caplog.text) is later
    assert ("set max_grad_norm" in caplog.text) is (later and clipped == "none")
    assert ("overflow" in caplog.text) is (precision == "fp16")


@pytest.fixture
def interrupted(encoders, lopsided, tmp_path, monkeypatch) -> Path:
    """A run that was ended after the second update of its second epoch."""
    monkeypatch.setenv("WANDB_MODE", "disabled")

    def cut(saving, progress) -> None:
        if (len(progress.history), len(progress.rates)) == (1, 2):
            saving.save(progress)
            raise Interruption

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Saving, "save_when_due", cut)
        with pytest.raises(Interruption):
            call(train, train_command(encoders, lopsided, tmp_path / "run", FLAGS))
    return tmp_path / "run"


def test_an_interrupted_training_goes_on_whatever_the_minutes_between_its_states(
    encoders, lopsided, interrupted, run, caplog
):
    caplog.set_level("INFO")
    line = train_command(encoders, lopsided, interrupted, f"{FLAGS} --save-minutes 3")
    call(train, line)
    assert "resuming in epoch 2, after update 2 of it" in caplog.text
    assert "m masked-mean 16 base seed 3: epoch 3 of 3, validation accuracy" in caplog.text
    assert same_run(interrupted, run)


@pytest.mark.parametrize(
    ("other", "flags"),
    [
        ("keys.variant", "--variant other"),
        ("labels", "--labels bad good"),
        ("settings.learning_rate", "--learning-rate 6e-3"),
        ("settings.examples", "--examples 60"),
        ("settings.max_length", "--max-length 49"),
        ("settings.truncation", "--truncation tail"),
        ("encoder.config.json", ""),
        ("tokens.train.parquet", ""),
        ("tokens.valid.parquet", ""),
        ("code", ""),
        ("device", ""),
        ("libraries.torch", ""),
        ("precision", ""),
    ],
)
def test_an_interrupted_training_goes_on_as_no_other(
    encoders, lopsided, interrupted, tmp_path, monkeypatch, caplog, other, flags
):
    kind, _, part = other.partition(".")
    if kind == "encoder":
        encoders = {"bert": shutil.copytree(encoders["bert"], tmp_path / "encoder")}
        change(encoders["bert"] / "config.json", layer_norm_eps=1e-3)
    elif kind == "tokens":
        lopsided = {"bert": shutil.copytree(lopsided["bert"], tmp_path / "tokens")}
        table = pq.read_table(lopsided["bert"] / part, partitioning=None)
        pq.write_table(table.slice(1), lopsided["bert"] / part)
    elif kind == "code":
        monkeypatch.setattr(jobs, "digest", lambda command: f"other code of {command}")
    elif kind == "device":
        monkeypatch.setattr(jobs, "device_name", lambda device: "another processor")
    elif kind == "libraries":
        versions = jobs.versions()
        monkeypatch.setattr(jobs, "versions", lambda: versions | {part: "0.1"})
    elif kind == "precision":
        monkeypatch.setattr(backends, "choose_precision", lambda *_: "bf16")
    anew = tmp_path / "anew"
    for folder in (interrupted, anew):
        call(train, train_command(encoders, lopsided, folder, f"{FLAGS} {flags}"))
    assert f"training begins anew: '{interrupted}/.state/" in caplog.text
    assert f"is not used: other {other}" in caplog.text
    assert same_run(interrupted, anew)
