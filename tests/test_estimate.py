"""How long a study takes: what is left to do, and how fast it goes."""

import json
import os
import re
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

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
from lib.study.runs import run_of
from lib.training import estimate
from lib.training.job import Job
from lib.training.loop import Result, train

RUN = "dataset=d/model=bert/pooling=cls/batch={}/variant={}/seed={}"


@pytest.fixture
def job(tmp_path):
    """What makes a run of 100 training, 40 validation and 20 test reviews, at a batch of 32."""
    for split, rows in (("train", 100), ("valid", 40), ("test", 20)):
        pq.write_table(pa.table({"id": range(rows)}), tmp_path / f"{split}.parquet")

    def make(**changes) -> Job:
        check_section("training", settings := {"device": "cpu", **changes})
        keys = run_of(tmp_path / RUN.format(32, "base", 1))._asdict()
        return Job(tmp_path, tmp_path, tmp_path, (), keys, settings)

    return make


@pytest.mark.parametrize(
    ("changes", "seen", "predicted"),
    [
        ({"epochs": 3}, 300, 3 * 40 + 20),
        ({"epochs": 2, "examples": 50}, 100, 2 * 40 + 20),
        ({"updates": 6}, 100 + 2 * 32, 2 * 40 + 20),
        ({"epochs": 1, "backend": "accelerate", "processes": 2}, 100, 40 + 2 * 20),
    ],
)
def test_what_is_left_of_a_run(job, changes, seen, predicted):
    assert estimate.reviews_left(job(**changes)) == pytest.approx(seen + predicted / 3)
    (job().run / "train.json").write_text("{}")
    assert estimate.reviews_left(job(epochs=3)) == pytest.approx(20 / 3)


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
def test_jobs_at_once(job, changes, cores, gpus, jobs):
    assert estimate.jobs_at_once(job(**changes).settings, cores, gpus) == jobs


def test_the_whole_is_shared_by_jobs_at_once_and_no_shorter_than_a_run():
    assert estimate.whole([(30, 2), (30, 2), (30, 2), (8, 4)]) == 47
    assert estimate.whole([(30, 2), (4, 2)]) == 30
    assert estimate.whole([]) == 0


@pytest.mark.parametrize(
    ("changes", "gpus", "count", "speed"),
    [
        ({}, 0, 3, 10),
        ({"backend": "accelerate", "processes": 2}, 0, 6, 20),
        ({"device": "auto", "backend": "accelerate", "processes": 2}, 4, 1, 20),
    ],
)
def test_as_many_are_timed_as_run_at_once(job, monkeypatch, changes, gpus, count, speed):
    found = {1: [10.0], 3: [5.0, 10.0, 15.0], 6: [5.0, 10.0, 15.0] * 2}
    monkeypatch.setattr(estimate, "in_processes", lambda work, count: found.pop(count))
    assert estimate.timed(job(**changes), 3, gpus) == speed
    assert count not in found


@pytest.mark.parametrize(("processes", "speed"), [(1, 100 / 4), (2, 64 / 4)])
def test_the_training_loop_is_timed(tokens, encoders, monkeypatch, processes, speed):
    def second_per_update(model, data, recipe, backend):
        done = train(model, data, recipe, backend).history
        taken = [e.updates - b for e, b in zip(done, [0, *(e.updates for e in done)], strict=False)]
        return Result(
            [replace(e, seconds=s) for e, s in zip(done, taken, strict=True)], *[None] * 3
        )

    monkeypatch.setattr(estimate, "train", second_per_update)
    settings = {"device": "cpu", "backend": "accelerate", "processes": processes}
    check_section("training", settings)
    keys = {"pooling": "cls", "batch": 32, "seed": 1}
    job = Job(tokens["bert"], encoders["bert"], Path(), (), keys, settings)
    assert estimate.speed_of(job) == speed  # the fourth update of all 100 reviews has but 4


def refuse():
    raise UserError("a mistake")


def test_processes_work_at_the_same_time_and_tell_what_fails():
    wait = partial(get_context("fork").Barrier(2).wait, 60)
    assert sorted(estimate.in_processes(wait, 2)) == [0, 1]
    with pytest.raises(UserError, match="a mistake"):
        estimate.in_processes(refuse, 2)
    with pytest.raises(UserError, match="has ended"):
        estimate.in_processes(partial(os._exit, 3), 1)


@pytest.fixture
def flags(tokens, encoders, tmp_path):
    """The flags of an estimate on two cores, but for runs and variants."""
    (tmp_path / "model=bert").mkdir()
    for name, path in (("tokens", tokens["bert"]), ("encoder", encoders["bert"])):
        (tmp_path / "model=bert" / name).symlink_to(path)
    data = f"--tokens {tmp_path}/model=bert/tokens --encoders {tmp_path}/model=bert/encoder"
    return f"{data} --out {tmp_path}/estimate.md --cores 2 --device cpu --epochs 1"


@pytest.fixture
def finish(flags, tokens, encoders, tmp_path, monkeypatch):
    """What writes the train.json of a real training into the folder of a run, with changes."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    data = f"--tokens {tokens['bert']} --encoder {encoders['bert']} --run {tmp_path}/real"
    keys = "--dataset d --model bert --pooling cls --batch 32 --seed 1"
    call(train_command, f"{data} {keys} --device cpu --epochs 1")
    told = json.loads((tmp_path / "real" / "train.json").read_text())

    def write(run: str, **changes) -> None:
        (tmp_path / run).mkdir(parents=True)
        settings = told["settings"] | changes.pop("settings", {})
        text = json.dumps({**told, **changes, "settings": settings})
        (tmp_path / run / "train.json").write_text(text)

    return write


def test_finished_runs_of_a_kind_tell_its_speed_and_others_are_timed(
    flags, finish, tmp_path, monkeypatch
):
    timed = []
    monkeypatch.setattr(estimate, "timed", lambda job, *_: timed.append(job.settings) or 8.0)
    for seed, speed in ((1, 10.0), (2, 20.0), (3, 90.0)):
        finish(RUN.format(32, "base", seed), examples_per_second=speed)
    (tmp_path / RUN.format(32, "base", 1) / "test.json").touch()
    runs = f"--runs {tmp_path}/{RUN.format(32, 'base,rate', '1,2,3,4')} "
    runs += f"{tmp_path}/{RUN.format(32, 'small', 1)}"
    variants = '--variants base={} rate={"learning_rate":0.1} small={"micro_batch":8}'
    call(command, f"{runs} {variants} {flags}")
    assert [settings["micro_batch"] for settings in timed] == [8]
    text = (tmp_path / "estimate.md").read_text()
    # 5 of 100 + (40 + 40) / 3 reviews and 2 tests of 40 / 3, at 20 reviews a second; one at 8
    assert "Of 9 runs, 8 are left: about **24 s**" in text
    assert "| bert | cls | 32 | base, rate | 20 | 3 finished runs | 7 | 4.7 s | 2 |" in text
    assert "| bert | cls | 32 | small | 8 | timed updates | 1 | 16 s | 2 |" in text


@pytest.mark.parametrize(
    "other",
    [
        {"hardware": "another machine"},
        {"precision": "bf16"},
        {"tokens_sha256": "0"},
        {"encoder": {"sha256": {}}},
        *({"settings": {key: "other"}} for key in estimate.DECIDING),
    ],
    ids=str,
)
def test_a_run_of_another_kind_tells_nothing(flags, finish, tmp_path, monkeypatch, other):
    monkeypatch.setattr(estimate, "timed", lambda *_: 8.0)
    finish(RUN.format(32, "base", 1), **other)
    call(command, f"--runs {tmp_path}/{RUN.format(32, 'base', '1,2')} {flags}")
    assert "timed updates" in (tmp_path / "estimate.md").read_text()


@pytest.mark.parametrize(
    ("run", "variant", "message"),
    [
        ("dataset=d/model=bert", "base={}", "is no folder of a run"),
        (RUN.format(0, "base", 1), "base={}", "names no batch or no pooling"),
        (RUN.format(32, "base", 1), "other={}", "names 'base', which no other flag gives"),
        (RUN.format(32, "base", 1), "base=3", "allowed: a JSON object"),
        (RUN.format(32, "base", 1), 'base={"epochs":0}', "'variants.base.epochs' is 0"),
        (RUN.format(32, "base", 1).replace("bert", "gpt"), "base={}", "names 'gpt'"),
    ],
)
def test_wrong_use_is_one_line(flags, tmp_path, run, variant, message):
    with pytest.raises(UserError, match=re.escape(message)):
        call(command, f"--runs {tmp_path}/{run} --variants {variant} {flags}")


@pytest.mark.slow
def test_the_target_measures_whenever_it_is_asked_for(python, tmp_path):
    workspace = Workspace(tmp_path)
    workspace.write_config("study.yaml")
    study = ("--cores", "2", "--configfile=study.yaml")
    assert "estimate" not in workspace.jobs(python, "-n", *study, "all", "report_files")
    made = {"download": 1, "split": 1, "encoder": 2, "pretokenize": 2, "estimate": 1}
    assert workspace.jobs(python, *study, "estimate") == made
    assert "2 of 2 runs left" in workspace.said
    assert workspace.read("results/estimate.md").count("timed updates") == 2
    run = STUDY_RUN.format("bert", "masked-mean", 64, "base", 1)
    workspace.jobs(python, *study, f"{run}/train.json")
    assert workspace.jobs(python, *study, "results/estimate.md") == {"estimate": 1}
    text = workspace.read("results/estimate.md")
    assert "1 finished run" in text and text.count("timed updates") == 1
