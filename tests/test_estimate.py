"""How long a study takes: what is left to do, and how fast it goes."""

import os
import re
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import call
from workspace import RUN as STUDY_RUN
from workspace import Workspace

import estimate as command
from lib.command.console import UserError
from lib.files.whole import read_json, write_json
from lib.study.config import check_section
from lib.study.runs import run_of
from lib.training import estimate
from lib.training.job import Job, train_run
from lib.training.loop import train

RUN = "dataset=d/model=bert/pooling=cls/batch=32/variant={}/seed={}"
FLAGS = (
    "--tokens tokens/model=bert --encoders encoders/model=bert --device cpu --epochs 1 "
    "--max-length 48 --cores 2"
)
TWO = {"backend": "accelerate", "processes": 2}


def job(tokens=Path(), encoder=Path(), **changes) -> Job:
    check_section("training", settings := {"device": "cpu", "max_length": 48, **changes})
    return Job(tokens, encoder, tokens, (), {"pooling": "cls", "batch": 32, "seed": 1}, settings)


def test_what_is_left_of_a_run(tokens):
    for changes, seen, predicted in (
        ({"updates": 3, "examples": 50}, 50 + 32, 2 * 40 + 40),
        ({"epochs": 1, **TWO}, 100, 40 + 2 * 40),  # one process tests, in twice the time
    ):
        left = estimate.reviews_left(job(tokens["bert"], **changes))
        assert left == pytest.approx(seen + predicted / 3)


def test_as_many_are_timed_as_run_at_once(monkeypatch):
    monkeypatch.setattr(estimate, "in_processes", lambda work, count: [*range(1, count + 1)])
    for changes, cores, gpus, jobs, timed in (
        ({"threads": 4}, 2, 0, 1, 1),
        ({"device": "cpu"}, 6, 4, 6, 6),
        (TWO, 7, 0, 3, 6),
        ({"device": "auto", **TWO}, 16, 4, 2, 1),
    ):
        one = job(**changes)
        assert estimate.jobs_at_once(one.settings, cores, gpus) == jobs
        assert (
            estimate.timed(estimate.speed_of, one, jobs, gpus)
            == one.settings["processes"] * (1 + timed) / 2
        )


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


def test_a_timed_training_makes_all_its_updates(tokens, encoders, monkeypatch):
    def second_per_update(model, data, recipe, backend):
        last = train(model, data, recipe, backend).history[-1]
        assert last.updates == recipe.updates(len(data[0]))
        return SimpleNamespace(history=[replace(last, seconds=last.updates)])

    monkeypatch.setattr(estimate, "train", second_per_update)
    monkeypatch.setattr(estimate, "SECONDS", 16)  # of several epochs
    one = job(tokens["bert"], encoders["bert"], examples=32, patience=1)
    assert estimate.speed_of(one) == 32


def test_vectors_are_timed_by_passes_and_trainings_on_them_without(tokens, encoders, monkeypatch):
    def second_per_review(model, data, recipe, backend):
        assert set(data[0].batch(torch.arange(2))) == {"vectors"}
        last = train(model, data, recipe, backend).history[-1]
        return SimpleNamespace(history=[replace(last, seconds=recipe.batch * last.updates)])

    def pooler(encoder, pooling, settings, backend):
        def pool(split):
            clock[0] += len(split) / 5
            return torch.zeros(1)

        return pool

    clock = [0.0]
    monkeypatch.setattr(estimate, "train", second_per_review)
    monkeypatch.setattr(estimate, "pooler", pooler)
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    frozen = job(tokens["bert"], encoders["bert"], freeze="encoder")._replace(vectors=Path("none"))
    assert estimate.speed_of(frozen) == 1
    assert estimate.speed_of_vectors(frozen) == pytest.approx(5)


def test_vectors_count_once_for_all_variants_that_share_them(
    tokens, encoders, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    speeds = {estimate.speed_of_vectors: 2.0, estimate.speed_of: 1000.0}
    monkeypatch.setattr(estimate, "timed", lambda work, *_: speeds[work])
    for name, path in (("tokens", tokens["bert"]), ("encoders", encoders["bert"])):
        Path(name).mkdir()
        Path(name, "model=bert").symlink_to(path)
    folder = Path("v/dataset=d/model=bert/pooling=cls/max_length=48/truncation=auto")
    given = " ".join(RUN.format(variant, "1,2") for variant in ("base", "rate", "long"))
    variants = 'base={} rate={"learning_rate":0.1} long={"max_length":64}'
    line = f"--runs {given} --variants {variants} --vectors {folder} {folder.parents[1]}/max_length"
    line = f"{line}=64/truncation=auto --freeze encoder --out page.md {FLAGS}"
    call(command, line)
    text = Path("page.md").read_text()
    assert "| bert | cls | vectors | base, rate | 2 | timed passes | 1 | 1m 30s | 2 |" in text
    assert "| bert | cls | vectors | long | 2 | timed passes | 1 | 1m 30s | 2 |" in text
    assert "about **1m 30s**" in text and "made once for all runs" in text
    folder.mkdir(parents=True)
    (folder / "train.parquet").touch()
    call(command, line)
    assert Path("page.md").read_text().count("| vectors |") == 1


@pytest.mark.parametrize("late", [1, 3])
def test_what_compiling_takes_is_not_timed(tokens, encoders, monkeypatch, late):
    shapes = set()

    def compiled(model, data, recipe, backend):
        """Take a tenth of a second for a review, and an hour where passes are new."""
        last = train(model, data, recipe, backend).history[-1]
        size = last.updates * recipe.batch
        begun = {each for each in (8, 8 * 2**late) if each <= size} - shapes
        shapes.update(begun)
        return SimpleNamespace(history=[replace(last, seconds=size / 10 + 3600 * len(begun))])

    monkeypatch.setattr(estimate, "train", compiled)
    assert estimate.speed_of(job(tokens["bert"], encoders["bert"], examples=32)) == 10


def test_processes_work_at_the_same_time_and_tell_what_fails():
    wait = partial(get_context("fork").Barrier(2).wait, 60)
    assert sorted(estimate.in_processes(wait, 2)) == [0, 1]
    with pytest.raises(UserError, match="allowed: a JSON object"):
        estimate.in_processes(partial(estimate.settings_of, {}, "base", "["), 2)
    with pytest.raises(UserError, match="has ended"):
        estimate.in_processes(partial(os._exit, 3), 1)


def test_finished_runs_tell_the_speed_of_their_kind(tokens, encoders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(estimate, "timed", lambda _, job, *__: float(job.settings["micro_batch"]))
    for name, path in (("tokens", tokens["bert"]), ("encoders", encoders["bert"])):
        Path(name).mkdir()
        Path(name, "model=bert").symlink_to(path)
    runs = [Path(RUN.format("base", seed)) for seed in range(20)]
    one = job(tokens["bert"], encoders["bert"], epochs=1)
    train_run(one._replace(run=runs[0], keys=run_of(runs[0])._asdict()))
    told = read_json(runs[0] / "train.json")
    deciding = ("micro_batch", "threads", "compile", "unpadded", "max_length", "truncation")
    deciding += ("freeze", "encoder_dropout")
    settings = [one.settings | {key: 3} for key in deciding]
    settings.append({key: x for key, x in one.settings.items() if key != "unpadded"})  # older
    shared = ("model", "pooling", "batch", "hardware", "device", "precision", "tokens_sha256")
    others = [{"encoder": {"sha256": {}}}, *({"settings": each} for each in settings)]
    others += [{key: "other"} for key in shared]
    alike = [{"examples_per_second": speed} for speed in (10.0, 25.0, 90.0)]
    for run, changes in zip(runs, alike + others, strict=True):
        run.mkdir(parents=True, exist_ok=True)
        write_json(run / "train.json", told | changes)
    (runs[0] / "test.json").touch()
    given = " ".join(map(str, [*runs, RUN.format("rate,small", "1,2")]))
    variants = 'base={} rate={"learning_rate":0.1} small={"micro_batch":8}'
    call(command, f"--runs {given} --variants {variants} --out page.md {FLAGS}")
    text = Path("page.md").read_text()
    # 19 tests of 40 / 3 reviews and two runs of 100 + 80 / 3, at 25 a second; two runs at 8
    assert "Of 24 runs, 23 are left: about **26 s**" in text
    assert "| bert | cls | 32 | base, rate | 25 | 3 finished runs | 21 | 1.0 s | 2 |" in text
    assert "| bert | cls | 32 | small | 8 | timed updates | 2 | 16 s | 2 |" in text
    call(command, f"--runs {given} --variants {variants} --tuned true --out page.md {FLAGS}")
    assert "Of 24 runs, 4 are left" in Path("page.md").read_text()


def test_wrong_use_is_one_line():
    for old, new, message in (
        ("/seed=", "/none=", "is no folder of a run"),
        ("=32", "=0", "names no batch or no pooling"),
        ("bert", "gpt", "names 'gpt', which no other flag gives"),
        ("base={}", "other={}", "names 'base', which no other flag gives"),
        ("{}", '{"epochs":0}', "'variants.base.epochs' is 0"),
    ):
        flags = f"--runs {RUN.format('base', 1)} --variants base={{}}".replace(old, new)
        with pytest.raises(UserError, match=re.escape(message)):
            call(command, f"{flags} --out page.md {FLAGS}")


@pytest.mark.slow
def test_the_target_measures_what_no_finished_run_tells(python, tmp_path):
    workspace = Workspace(tmp_path)
    study = ("--cores", "2", f"--configfile={workspace.write_config('study.yaml')}")
    assert "estimate" not in workspace.jobs(python, "-n", *study)
    made = {"download": 1, "split": 1, "encoder": 2, "pretokenize": 2, "estimate": 1}
    assert workspace.jobs(python, *study, "estimate") == made
    assert workspace.read("results/estimate.md").count("| timed updates |") == 2
    run = STUDY_RUN.format("bert", "masked-mean", 64, "base", 1)
    workspace.jobs(python, *study, f"{run}/train.json")
    assert workspace.jobs(python, *study, "results/estimate.md") == {"estimate": 1}
    text = workspace.read("results/estimate.md")
    assert text.count("| 1 finished run |") == text.count("| timed updates |") == 1
