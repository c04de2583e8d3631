"""Two Snakemakes at once in one folder: the second is refused, and the first goes on."""

import os
import signal
import subprocess

import psutil
import pytest
from workspace import Workspace

TARGET = "results/datasets/imdb-25k/reviews.parquet"


def servers(folder) -> list[int]:
    """The fork servers that run the code of a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if "lib.forks.server" in (process.info["cmdline"] or ()):
            found += [process.pid] if process.info["cwd"] == str(folder / "scripts") else []
    return sorted(found)


@pytest.fixture
def first(python, tmp_path):
    """A Snakemake that has begun its first job, and is held there."""
    workspace = Workspace(tmp_path / "project")
    workspace.write_config("study.yaml")
    process = subprocess.Popen(
        [python, "-m", "snakemake", "--cores", "1", "--configfile=study.yaml", TARGET],
        cwd=workspace.folder,
        env={**os.environ, "WANDB_MODE": "disabled"},
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "fetch and clean the reviews" in line:
            break
    process.send_signal(signal.SIGSTOP)
    yield workspace, process
    process.kill()
    process.wait()
    process.stderr.close()


@pytest.mark.slow
def test_the_second_is_refused_and_changes_nothing(python, first):
    workspace, process = first
    running = servers(workspace.folder)
    marker = workspace.folder / "results/.study"
    written = marker.stat().st_mtime_ns
    second = workspace.snakemake(python, "--cores", "1", "--configfile=study.yaml", TARGET)
    assert second.returncode == 1 and "cannot be locked" in second.stderr
    assert "Traceback" not in second.stderr
    assert marker.stat().st_mtime_ns == written
    assert servers(workspace.folder) == running and len(running) == 1
    process.send_signal(signal.SIGCONT)
    process.stderr.read()
    assert process.wait() == 0
    assert (workspace.folder / TARGET).is_file()
    assert servers(workspace.folder) == []
