"""The measurement of speed: all contestants do the same work, and what they did is told."""

import argparse
import subprocess

import pandas as pd
import pytest
import yaml
from conftest import ROOT

import speed
import speed_report
from contestants import CONTESTANTS, OURS, OURS_UNPADDED, PUBLISHED, TRAINER
from lib.command.console import UserError


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of one tiny encoder without dropout, so that equal work gives equal losses."""
    study = yaml.safe_load((ROOT / "tests" / "config.yaml").read_text())
    study["models"] = {"bert": study["models"]["bert"]}
    study["training"]["dropout"] = 0.0
    study["grid"] = study["grid"][:1]
    path = tmp_path_factory.mktemp("study") / "config.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


@pytest.fixture(scope="module")
def out(study, python, tmp_path_factory):
    """What the smallest case gives: one update of two passes."""
    out = tmp_path_factory.mktemp("bench")
    flags = f"--config {study} --lengths 32 --batches 128 --reviews 1 --repeats 1 --no-larger"
    subprocess.run(
        [python, "benchmarks/speed.py", "--device", "cpu", *flags.split(), "--out", out],
        cwd=ROOT,
        env={"PYTHONPATH": "scripts", "PATH": "/usr/bin:/bin"},
        check=True,
    )
    return out


@pytest.mark.slow
def test_all_contestants_do_the_same_work(out):
    loops = pd.read_csv(out / "loops.csv")
    alike = dict([*loops.groupby("precision", sort=False)])
    assert list(alike) == speed.precisions({"device": "cpu", "precision": "auto"})
    for precision, found in alike.items():
        others = [name for name in CONTESTANTS if precision == "fp32" or name != PUBLISHED]
        assert list(found["contestant"]) == others
        rounding = 1e-5 if precision == "fp32" else 1e-2
        assert found["loss"].to_numpy() == pytest.approx(loops["loss"][0], abs=rounding)
    assert set(loops["examples"]) == {128} and set(loops["updates"]) == {1}
    assert (loops["seconds"] > 0).all() and loops["flop_utilisation"].between(0, 1.5).all()
    assert (loops["peak_memory_bytes"] > loops["memory_before_bytes"]).all()


@pytest.mark.slow
def test_every_job_tests_a_checkpoint(out):
    jobs = pd.read_csv(out / "jobs.csv")
    assert set(jobs["contestant"]) == {*speed.JOBS, speed.AGAIN}
    seconds = jobs.set_index("contestant")["cpu_seconds"]
    assert seconds[speed.AGAIN] < seconds[OURS]  # libraries are imported
    assert jobs["test_accuracy"].between(0.3, 1).all()
    assert (jobs["cpu_seconds"] > 0.2).all() and (jobs["peak_memory_bytes"] > 1e8).all()


@pytest.mark.slow
def test_table_and_figure_tell_of_every_contestant(out):
    page, figure = (out / "speed.md").read_text(), (out / "speed.svg").read_text()
    for name in CONTESTANTS:
        assert f"| {name}" in page
        assert name == TRAINER or name in figure
    assert "bert, batch 128, fp32" in figure and "texts of 32 tokens" in figure


def test_ratios_are_those_within_repeats():
    rows = pd.DataFrame(
        {
            "model": ["a", "a", "b", "a", "a", "b"],
            "contestant": [OURS, TRAINER, OURS, TRAINER, OURS, TRAINER],
            "repeat": [1, 1, 1, 2, 2, 1],
            "seconds": [1.0, 2.0, 5.0, 30.0, 10.0, 20.0],
        }
    )
    assert speed_report.ratios(rows, OURS, "seconds", ["model"]).tolist() == [1, 2, 1, 3, 1, 4]


def test_the_fastest_settings_stand_beside_the_trainer_with_the_dropout_of_the_encoder():
    seconds = {
        (TRAINER, "fp32", 0.1): [90.0, 100.0],
        (TRAINER, "fp32", 0.0): [40.0, 40.0],
        (TRAINER, "bf16", 0.1): [50.0, 50.0],
        (OURS, "fp32", 0.1): [60.0, 60.0],
        (OURS, "fp32", 0.0): [30.0, 20.0],
        (OURS_UNPADDED, "bf16", 0.0): [10.0, 10.0],
        (OURS_UNPADDED, "fp32", 0.0): [25.0, 25.0],
    }
    rows = [
        dict(zip(speed_report.SETTINGS, settings, strict=True))
        | {"model": "bert", "length": 512, "batch": 32, "reviews": 32}
        | {"repeat": repeat, "seconds": found}
        for settings, each in seconds.items()
        for repeat, found in enumerate(each, 1)
    ]
    assert [*speed_report.fastest(pd.DataFrame(rows))] == [
        "bert, 512 tokens, batch 32: fastest is this workflow, unpadded in bf16, "
        "9.50 (9.00 to 10.00) times as fast as the Trainer in fp32, dropout 0.1."
    ]
    assert [*speed_report.cost_of_dropout(pd.DataFrame(rows))] == [
        "bert, 512 tokens, batch 32, fp32: without dropout in the encoder this workflow is "
        "2.50 (2.00 to 3.00) times as fast as with it."
    ]


def test_contestants_take_turns_to_be_first(study, tmp_path):
    plan = speed.make_plan(options(study, batches=[64], repeats=len(CONTESTANTS)))
    first = {task.repeat: task.contestant for task in reversed([*speed.tasks(plan, tmp_path)])}
    assert sorted(first.values()) == sorted(CONTESTANTS)


def test_a_batch_that_passes_do_not_divide_is_refused(study):
    with pytest.raises(UserError, match="--batches 100 is no multiple of 64"):
        speed.make_plan(options(study, batches=[64, 100]))


def options(study, **changed):
    flags = {"lengths": [32], "reviews": 64, "repeats": 1, "processes": 1, "larger": False}
    return argparse.Namespace(config=study, device="cpu", **flags | changed)
