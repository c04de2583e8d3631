"""What Snakemake plans and what it refuses, in a copy of the project that has no results."""

import re
import socket
import subprocess
from collections.abc import Iterator

import pytest
import yaml
from workspace import RUN, SUMMARY, Workspace

from lib.study.config import check, runs


@pytest.fixture
def project(tmp_path) -> Workspace:
    """A copy of the project, with tests/config.yaml as study.yaml."""
    workspace = Workspace(tmp_path)
    workspace.write_config("study.yaml")
    return workspace


def test_commands_of_the_readme_name_runs_of_the_quick_study(project):
    config = yaml.safe_load(project.read("config/config.yaml"))
    check(config)
    known = {RUN.format(*run[1:]) for run in runs(config)}
    named = set(re.findall(r"results/runs/dataset=[^\"…]*seed=\d+", project.read("README.md")))
    assert named and named <= known


@pytest.fixture
def offline(project) -> Iterator[None]:
    """A network whose one address must not be asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        names = ("HTTPS_PROXY", "HTTP_PROXY", "HF_ENDPOINT", "PIP_INDEX_URL")
        project.environment = dict.fromkeys(names, address)
        yield
        server.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody waits for an answer
            server.accept()


def test_the_plan_of_the_full_study_needs_no_network(project, python, offline):
    jobs = project.jobs(python, "-n", "--configfile=config/imdb.yaml", SUMMARY)
    assert jobs["train"] == 148 and jobs["encoder"] == 2
    said = project.snakemake(python, "-n", "-p", "--configfile=config/imdb.yaml", SUMMARY).stdout
    assert "--published config/published.csv" in said and "tables/tuning.parquet" in said


def test_the_plan_of_the_study_of_the_official_halves_needs_no_network(project, python, offline):
    arguments = ("-n", "-p", "--configfile=config/official.yaml", SUMMARY)
    assert project.jobs(python, *arguments)["train"] == 36
    download, split = (project.flags(name) for name in ("download", "split"))
    assert "--splits-test test --splits-train train" in download
    assert "--seed 42 --valid 0.1 --out" in split and "--ratios" not in split


def test_the_plan_of_the_laptop_study_needs_no_network(project, python, offline):
    jobs = project.jobs(python, "-n", "--configfile=config/minilm.yaml", SUMMARY)
    assert jobs["train"] == 108 and jobs["encoder"] == 2
    assert jobs["choose"] == 1 and "evaluate" not in jobs  # which are planned after that


def test_parts_of_the_analysis_are_turned_off(project, python):
    everything = set(project.jobs(python, "-n", SUMMARY, "--configfile", "study.yaml"))
    for off, left_out in (
        (["statistics", "tsne", "baseline"], {"baseline"}),
        (["statistics", "errors"], {"analyse"}),
        (["baseline", "statistics", "errors", "tsne", "attention"], {*LEFT_OUT}),
    ):
        analysis = dict.fromkeys(off, False)
        config = project.write_config(
            "changed.yaml", lambda config, analysis=analysis: config.update(analysis=analysis)
        )
        jobs = project.jobs(python, "-n", SUMMARY, "--configfile", config)
        assert set(jobs) == everything - left_out


LEFT_OUT = ("analyse", "explain", "baseline")


def test_a_study_with_sizes_has_baselines_on_the_same_samples(project, python):
    def change(config):
        config["variants"] |= {"n40": {"examples": 40}, "n80": {"examples": 80}}
        config["grid"][0] |= {"variant": ["base", "n40"], "seed": [1, 2]}
        config["grid"][1] |= {"variant": ["n80"], "seed": [5]}

    small = project.write_config("small.yaml", change)
    texts, samples = 3, 2 * 3  # full and seen: 40 reviews with two seeds, 80 with one
    jobs = project.jobs(python, "-n", SUMMARY, "--configfile", small)
    assert jobs["baseline"] == texts + samples
    seen = "text=seen-by-bert/max_length=64/truncation=auto"
    folder = f"results/baselines/dataset=imdb-25k/{seen}/examples=40/seed=2"
    said = project.snakemake(python, "-n", "-p", SUMMARY, "--configfile", small)
    assert f"--examples 40 --max-length 64 --seed 2 --truncation auto --out {folder}" in said.stdout
    whole = project.snakemake(python, "-n", SUMMARY, "--configfile", "study.yaml")
    assert "data_curve" in said.stdout and "data_curve" not in whole.stdout


def test_a_study_of_several_cuts_tokenizes_once_and_has_the_baselines_of_each(project, python):
    def change(config):
        config["variants"] |= {"long": {"max_length": 96}, "tail": {"truncation": "tail"}}
        config["grid"][0]["variant"] = ["base", "long", "tail"]

    several = project.write_config("several.yaml", change)
    done = project.snakemake(python, "-n", "-p", SUMMARY, "--configfile", several)
    assert done.returncode == 0, done.stderr
    commands = re.findall(r"/(\w+\.py) (.*)", done.stdout)
    tokens = [flags for name, flags in commands if name == "pretokenize.py"]
    assert len(tokens) == 2 and not [flags for flags in tokens if "length" in flags]
    tried = [re.findall(r"--max-length (\d+)", flags) for name, flags in commands if name in TRIED]
    assert sorted(tried) == [["64"], ["96"]]  # the longest of each model
    found = set(re.findall(r"text=(\S+)", " ".join(f for n, f in commands if n == "baseline.py")))
    assert {text for text in found if "log" not in text} == {
        "full",
        "seen-by-bert/max_length=64/truncation=auto",
        "seen-by-bert/max_length=96/truncation=auto",
        "seen-by-bert/max_length=64/truncation=tail",
        "seen-by-modernbert/max_length=64/truncation=auto",
    }
    assert "tables/cuts.parquet" in done.stdout


TRIED = ("encoder.py",)


def test_an_unknown_target_is_refused_before_any_job(project, python):
    target = f"{RUN.format('gpt', 'cls', 64, 'base', 1)}/test.json"
    failed = project.snakemake(python, target, "-n", "--configfile", "study.yaml")
    assert failed.returncode == 1
    said = failed.stdout + failed.stderr  # of a plan on one, of a run on the other
    assert "No rule to produce" in said and target in said and "Traceback" not in said


def test_a_bad_grid_is_refused_in_one_line_before_any_job(project, python):
    def change(config):
        config["grid"][0]["batch"] = [64, 0]

    config = project.write_config("changed.yaml", change)
    failed = project.snakemake(python, SUMMARY, "--cores", "1", "--configfile", config)
    assert failed.returncode == 1
    assert "error: config key 'grid[0].batch[1]' is 0; allowed: at least 1" in failed.stderr
    assert "Traceback" not in failed.stderr and "Job" not in failed.stderr


def test_nested_settings_of_a_command_line_have_the_types_of_the_schema(project, python):
    changes = [
        "training={'epochs': 1, 'learning_rate': 1e-4, 'deterministic': false, 'updates': 7}",
        "split={'sizes': [100, 20, 20], 'seed': 3}",
        "analysis={'tsne': no, 'margin': 0.5}",
    ]
    flags = ("--configfile=study.yaml", "--config", *changes, "--", SUMMARY)
    said = project.snakemake(python, "-n", "-p", *flags)
    assert said.returncode == 0, said.stderr
    for expected in (
        *("--epochs 1 ", "--learning-rate 0.0001 ", "--deterministic false ", "--updates 7 "),
        *("--seed 3 --sizes 100 20 20 ", "--margin 0.5 "),
    ):
        assert expected in said.stdout
    assert "--tsne false" in said.stdout and "tables/tsne" not in said.stdout


def test_a_user_without_a_name_is_one(project, python):
    """As in a container that is given the number of a user which it does not know."""
    nameless = """import pwd, sys
def unknown(number): raise KeyError("getpwuid(): uid not found: 12345")
pwd.getpwuid = unknown
from snakemake.cli import main
main(["-n", "--configfile=study.yaml"])
"""
    variables = project.variables()
    kept = {key: variables[key] for key in variables.keys() - {*("LOGNAME", "USER"), "USERNAME"}}
    done = subprocess.run(
        [python, "-c", nameless], cwd=project.folder, env=kept, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout
