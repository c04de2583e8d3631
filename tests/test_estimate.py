"""How long a study takes: what is left to do, and how fast it goes."""

import json
import os
import re
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import call
from workspace import RUN as STUDY_RUN
from workspace import Workspace

import estimate as command
import train as train_command
from lib.command.console import UserError
from lib.study.config import check_section
from lib.training import estimate
from lib.training.job import Job
from lib.training.loop import train

RUN = "dataset=d/model=bert/pooling=cls/batch=32/variant={}/seed={}"
TWO = {"backend": "accelerate", "processes": 2}


def job(tokens=Path(), encoder=Path(), **changes) -> Job:
    check_section("training", settings := {"device": "cpu", **changes})
    return Job(tokens, encoder, tokens, (), {"pooling": "cls", "batch": 32, "seed": 1}, settings)


def test_what_is_left_of_a_run(tmp_path):
    for split, rows in (("train", 100), ("valid", 40), ("test", 20)):
        pq.write_table(pa.table({"id": range(rows)}), tmp_path / f"{split}.parquet")
    for changes, seen, predicted in (
        ({"epochs": 2, "examples": 50}, 100, 2 * 40 + 20),
        ({"updates": 6}, 100 + 2 * 32, 2 * 40 + 20),
        ({"epochs": 1, **TWO}, 100, 40 + 2 * 20),  # one process tests, in twice the time
    ):
        left = estimate.reviews_left(job(tmp_path, **changes))
        assert left == pytest.approx(seen + predicted / 3)
    (tmp_path / "train.json").touch()
    assert estimate.reviews_left(job(tmp_path)) == pytest.approx(20 / 3)


def test_as_many_are_timed_as_run_at_once(monkeypatch):
    monkeypatch.setattr(estimate, "in_processes", lambda work, count: [*range(1, count + 1)])
    for changes, cores, gpus, jobs, timed in (
        ({"threads": 4}, 10, 0, 2, 2),
        ({"threads": 4}, 2, 0, 1, 1),
        ({"device": "cpu"}, 6, 4, 6, 6),
        (TWO, 7, 0, 3, 6),
        ({"device": "auto"}, 2, 4, 2, 1),
        ({"device": "auto", **TWO}, 16, 4, 2, 1),
    ):
        one = job(**changes)
        assert estimate.jobs_at_once(one.settings, cores, gpus) == jobs
        assert estimate.timed(one, jobs, gpus) == one.settings["processes"] * (1 + timed) / 2


def test_the_whole_is_shared_by_jobs_at_once_and_no_shorter_than_a_run():
    for spent, seconds in (([(30, 2)] * 3 + [(8, 4)], 47), ([(30, 2), (4, 2)], 30), ([], 0)):
        assert estimate.whole(spent) == seconds


def test_the_training_loop_is_timed(tokens, encoders, monkeypatch):
    def second_per_update(*given):
        *others, last = (replace(epoch, seconds=0) for epoch in train(*given).history)
        return SimpleNamespace(history=[*others, replace(last, seconds=last.updates)])

    monkeypatch.setattr(estimate, "train", second_per_update)
    alone, half = (job(tokens["bert"], encoders["bert"], **changes) for changes in ({}, TWO))
    assert estimate.speed_of(alone) == 100 / 4  # the fourth update of all 100 reviews has but 4
    assert estimate.speed_of(half) == 64 / 4


def test_processes_work_at_the_same_time_and_tell_what_fails():
    wait = partial(get_context("fork").Barrier(2).wait, 60)
    assert sorted(estimate.in_processes(wait, 2)) == [0, 1]
    with pytest.raises(UserError, match="allowed: a JSON object"):
        estimate.in_processes(partial(estimate.settings_of, {}, "base", "["), 2)
    with pytest.raises(UserError, match="has ended"):
        estimate.in_processes(partial(os._exit, 3), 1)


@pytest.fixture
def flags(tokens, encoders, tmp_path) -> str:
    """The flags of an estimate, but for runs and variants."""
    for name, path in (("tokens", tokens["bert"]), ("encoders", encoders["bert"])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model=bert").symlink_to(path)
    data = " ".join(f"--{name} {tmp_path}/{name}/model=bert" for name in ("tokens", "encoders"))
    return f"{data} --out {tmp_path}/estimate.md --cores 2 --device cpu --epochs 1"


def test_finished_runs_tell_the_speed_of_their_kind(tokens, encoders, flags, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(estimate, "timed", lambda job, *_: float(job.settings["micro_batch"]))
    data = f"--tokens {tokens['bert']} --encoder {encoders['bert']} --run {tmp_path}/real"
    keys = "--dataset d --model bert --pooling cls --batch 32 --seed 1 --device cpu --epochs 1"
    call(train_command, f"{data} {keys}")
    told = json.loads((tmp_path / "real" / "train.json").read_text())
    shared = ("hardware", "device", "precision", "tokens_sha256")
    others = [{key: "other"} for key in shared] + [{"encoder": {"sha256": {}}}]
    for key in ("micro_batch", "threads", "deterministic"):
        others.append({"settings": told["settings"] | {key: 3}})
    alike = [{"examples_per_second": speed} for speed in (10.0, 20.0, 90.0)]
    for seed, changes in enumerate([*alike, *others]):
        run = tmp_path / RUN.format("base", seed)
        run.mkdir(parents=True)
        (run / "train.json").write_text(json.dumps(told | changes))
    (tmp_path / RUN.format("base", 0) / "test.json").touch()
    runs = f"{tmp_path}/{RUN.format('base', '0,1,2,3,4,5,6,7,8,9,10')}"
    runs += f" {tmp_path}/{RUN.format('rate', '1,2')} {tmp_path}/{RUN.format('small', 1)}"
    variants = 'base={} rate={"learning_rate":0.1} small={"micro_batch":8}'
    call(command, f"--runs {runs} --variants {variants} {flags}")
    text = (tmp_path / "estimate.md").read_text()
    # ten tests of 40 / 3 reviews and two runs of 100 + 80 / 3, at 20 a second; one at 8
    assert "Of 14 runs, 13 are left: about **18 s**" in text
    assert "| bert | cls | 32 | base, rate | 20 | 3 finished runs | 12 | 1.6 s | 2 |" in text
    assert "| bert | cls | 32 | small | 8 | timed updates | 1 | 16 s | 2 |" in text


def test_wrong_use_is_one_line(flags, tmp_path):
    run = RUN.format("base", 1)
    for path, variant, message in (
        ("dataset=d/model=bert", "base={}", "is no folder of a run"),
        (run.replace("32", "0"), "base={}", "names no batch or no pooling"),
        (run.replace("bert", "gpt"), "base={}", "names 'gpt', which no other flag gives"),
        (run, "other={}", "names 'base', which no other flag gives"),
        (run, "base=3", "allowed: a JSON object"),
        (run, 'base={"epochs":0}', "'variants.base.epochs' is 0"),
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            call(command, f"--runs {tmp_path}/{path} --variants {variant} {flags}")


@pytest.mark.slow
def test_the_target_measures_what_no_finished_run_tells(python, tmp_path):
    workspace = Workspace(tmp_path)
    study = ("--cores", "2", f"--configfile={workspace.write_config('study.yaml')}")
    assert "estimate" not in workspace.jobs(python, "-n", *study, "all", "report_files")
    made = {"download": 1, "split": 1, "encoder": 2, "pretokenize": 2, "estimate": 1}
    assert workspace.jobs(python, *study, "estimate") == made
    assert "2 of 2 runs left" in workspace.said
    assert workspace.read("results/estimate.md").count("| timed updates |") == 2
    run = STUDY_RUN.format("bert", "masked-mean", 64, "base", 1)
    workspace.jobs(python, *study, f"{run}/train.json")
    assert workspace.jobs(python, *study, "results/estimate.md") == {"estimate": 1}
    text = workspace.read("results/estimate.md")
    assert text.count("| 1 finished run |") == text.count("| timed updates |") == 1
