"""How long a study takes: what is left to do, and how fast it goes."""

import json
import re
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, call
from workspace import Workspace

import estimate as command
from lib.command.console import UserError
from lib.study.config import check_section
from lib.training import speed
from lib.training.estimate import (
    Kind,
    Left,
    Sizes,
    Speed,
    jobs_at_once,
    left_of_run,
    page,
    sizes_of,
    spent,
    whole,
)
from lib.training.job import Job

RUN = "dataset=d/model=bert/pooling=cls/batch={}/variant={}/seed={}"
KEYS = {"model": "bert", "pooling": "cls", "batch": "32", "seed": "1"}
SIZES = Sizes(100, 40, 20)
SPEED = Speed(training=10.0, prediction=40.0, start=2.0, checkpoint=1.0)


def settings(**changes) -> dict:
    found = {"device": "cpu", **changes}
    check_section("training", found)
    return found


@pytest.mark.parametrize(
    ("changes", "seen", "epochs"),
    [
        ({"epochs": 3}, 300, 3),
        ({"epochs": 2, "examples": 50}, 100, 2),
        ({"updates": 6}, 100 + 2 * 32, 2),
        ({"updates": 3, "examples": 50}, 50 + 32, 2),
    ],
)
def test_what_is_left_of_a_run_follows_from_its_settings(changes, seen, epochs):
    left = left_of_run(KEYS, settings(**changes), SIZES, trained=False)
    assert (left.seen, left.validated, left.tested) == (seen, epochs * 40, 20)
    left = left_of_run(KEYS, settings(**changes), SIZES, trained=True)
    assert (left.seen, left.validated, left.tested) == (0, 0, 20)


def test_kinds_are_apart_where_the_time_of_a_pass_is():
    def kind(**changes) -> Kind:
        return left_of_run(KEYS, settings(**changes), SIZES, trained=False).kind

    assert kind() == kind(learning_rate=1e-3, epochs=7, examples=50)
    for changes in ({"micro_batch": 8}, {"threads": 2}, {"backend": "accelerate"}):
        assert kind() != kind(**changes)


@pytest.mark.parametrize(
    ("changes", "cores", "gpus", "jobs"),
    [
        ({}, 2, 0, 2),
        ({"threads": 4}, 10, 0, 2),
        ({"threads": 4}, 2, 0, 1),
        ({"backend": "accelerate", "processes": 2}, 4, 0, 2),
        ({"device": "auto"}, 16, 4, 4),
        ({"device": "auto"}, 2, 4, 2),
        ({"device": "auto", "backend": "accelerate", "processes": 2}, 16, 4, 2),
        ({"device": "cpu"}, 16, 4, 16),
    ],
)
def test_jobs_at_once(changes, cores, gpus, jobs):
    assert jobs_at_once(settings(**changes), cores, gpus) == jobs


def test_seconds_of_a_run_and_of_all():
    left = left_of_run(KEYS, settings(epochs=2), SIZES, trained=False)
    assert spent(left, SPEED) == (20, 2, 0.5, 5)
    tested = left_of_run(KEYS, settings(epochs=2), SIZES, trained=True)
    assert spent(tested, SPEED) == (0, 0, 0.5, 2)
    two = settings(epochs=2, backend="accelerate", processes=2)
    assert spent(left_of_run(KEYS, two, SIZES, trained=False), SPEED) == (20, 1, 0.5, 5)
    measured = {left.kind: (SPEED, 2)}
    assert whole([left] * 3 + [tested], measured) == (3 * 27.5 + 2.5) / 2
    assert whole([left], measured) == 27.5  # which no second core makes faster
    assert whole([], {}) == 0


def test_the_page_tells_what_is_apart_and_what_is_alike():
    lefts = [
        Left(kind=one.kind, settings=one.settings, seen=3000, validated=800, tested=20)
        for one in (
            left_of_run(KEYS, settings(), SIZES, trained=False),
            left_of_run(KEYS, settings(threads=2), SIZES, trained=False),
        )
    ]
    measured = {lefts[0].kind: (SPEED, 2), lefts[1].kind: (SPEED._replace(training=20), 1)}
    text = page([lefts[0], *lefts], measured, 5)
    assert "Of 5 runs, 3 are left: about **8m 21s**" in text
    assert "| bert | cls | 32 | 1 | 10 | 40 | 2 | 5m 26s | 2 |" in text
    assert "| bert | cls | 32 | 2 | 20 | 40 | 1 | 2m 56s | 1 |" in text
    assert "micro_batch 64" in text and "threads 1" not in text and "exchange" not in text
    work = ("12m 30s", "1m 00s", "1.5 s", "15 s")  # of 750 + 60 + 1.5 + 15 seconds
    parts = ("training", "validation", "tests", "start of jobs, and checkpoints")
    for part, seconds in zip(parts, work, strict=True):
        assert f"| {part} | {seconds} |" in text
    assert "All of 5 runs are done" in page([], {}, 5)


def test_sizes_are_those_of_the_splits(tmp_path):
    for split, rows in (("train", 5), ("valid", 3), ("test", 2)):
        pq.write_table(pa.table({"id": range(rows)}), tmp_path / f"{split}.parquet")
    assert sizes_of(tmp_path) == (5, 3, 2)


def test_a_speed_is_that_of_the_reviews_that_were_drawn(tokens, encoders, monkeypatch):
    monkeypatch.setattr(speed, "UPDATES", 2)  # of 32 reviews, in two passes each
    monkeypatch.setattr(speed, "seconds_of", lambda work, device: (work(), 0.5)[1])
    job = Job(
        tokens=tokens["bert"],
        encoder=encoders["bert"],
        run=Path(),
        labels=(),
        keys={"pooling": "cls", "batch": 32, "seed": 1},
        settings=settings(micro_batch=16, micro_tokens=10**6, eval_batch=7),
    )
    found = speed.speed_of(job, began=time.time() - 1000)
    assert found.training == pytest.approx(64 / (4 * 0.5 + 2 * 0.5))  # a step for each update
    assert found.prediction == pytest.approx(40 / (6 * 0.5))
    assert found.checkpoint == 0.5 and 1000.5 < found.start < 2000


def flags(tokens, encoders, folder: Path, *runs: str) -> list[str]:
    """The flags of an estimate of some runs of BERT."""
    folder.joinpath("model=bert").mkdir(parents=True, exist_ok=True)
    for name, path in (("tokens", tokens["bert"]), ("encoder", encoders["bert"])):
        link = folder / "model=bert" / name
        link.is_symlink() or link.symlink_to(path)
    return [
        *("--runs", *(str(folder / run) for run in runs)),
        *("--tokens", f"{folder}/model=bert/tokens", "--encoders", f"{folder}/model=bert/encoder"),
        *("--out", str(folder / "estimate.md"), "--device", "cpu"),
    ]


def test_the_measured_speed_is_that_of_a_training(python, tokens, encoders, tmp_path):
    done = tmp_path / RUN.format(32, "base", 1)
    shared = ["--epochs", "20", "--micro-batch", "16"]
    train = [
        *("scripts/train.py", "--tokens", str(tokens["bert"]), "--encoder", str(encoders["bert"])),
        *("--run", str(done), "--dataset", "d", "--model", "bert", "--pooling", "cls"),
        *("--batch", "32", "--seed", "1", "--device", "cpu", *shared),
    ]
    environment = {"WANDB_MODE": "disabled", "PATH": "/usr/bin:/bin"}
    subprocess.run([python, *train], cwd=ROOT, env=environment, check=True, capture_output=True)
    words = flags(tokens, encoders, tmp_path, RUN.format(32, "base,wide", "1,2"))
    variants = ["--variants", "base={}", 'wide={"micro_batch": 64}', "--cores", "2"]
    estimated = subprocess.run(
        [python, "scripts/estimate.py", *words, *shared, *variants],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert estimated.returncode == 0, estimated.stderr
    assert "4 of 4 runs left" in estimated.stderr  # one is trained, and not yet tested
    text = (tmp_path / "estimate.md").read_text()
    row = re.search(r"\| bert \| cls \| 32 \| 16 \| ([\d,]+) \| [\d,]+ \| 2 \| .* \| 2 \|", text)
    expected = json.loads((done / "train.json").read_text())["examples_per_second"]
    assert expected / 3 < float(row[1].replace(",", "")) < expected * 3


@pytest.mark.parametrize(
    ("run", "variant", "message"),
    [
        ("dataset=d/model=bert", "base={}", "does not name dataset, model, pooling"),
        (RUN.format(0, "base", 1), "base={}", "names no batch that there is"),
        (RUN.format(32, "base", 1), "other={}", "--variants lacks base"),
        (RUN.format(32, "base", 1), "base=[", "allowed: a JSON object"),
        (RUN.format(32, "base", 1), "base=3", "allowed: a JSON object"),
        (RUN.format(32, "base", 1), 'base={"epochs":0}', "'variants.base.epochs' is 0"),
        (RUN.format(32, "base", 1).replace("bert", "gpt"), "base={}", "--tokens lacks gpt"),
    ],
)
def test_wrong_use_is_one_line(tokens, encoders, tmp_path, run, variant, message):
    words = flags(tokens, encoders, tmp_path, run)
    with pytest.raises(UserError, match=re.escape(message)):
        call(command, " ".join([*words, "--variants", variant]))


@pytest.mark.slow
def test_the_target_measures_whenever_it_is_asked_for(python, tmp_path):
    workspace = Workspace(tmp_path)
    workspace.write_config("study.yaml")
    study = ("--cores", "2", "--configfile=study.yaml")
    assert "estimate" not in workspace.jobs(python, "-n", *study, "all", "report_files")
    made = {"download": 1, "split": 1, "encoder": 2, "pretokenize": 2, "estimate": 1}
    assert workspace.jobs(python, *study, "estimate") == made
    assert "2 of 2 runs left" in workspace.said
    text = workspace.read("results/estimate.md")
    assert "| modernbert | mean | 64 | 2 | accelerate |" in text and "exchange" in text
    assert workspace.jobs(python, "-n", *study, "results/estimate.md") == {"estimate": 1}
