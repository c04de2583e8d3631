"""GPUs are counted, and claimed by one process at a time.

No GPU is needed: a stand-in for nvidia-smi lists some, and what claims them is a real process.
"""

import os
import re
import select
import signal
import subprocess
import time

import pytest
from conftest import ROOT
from workspace import RUN, Workspace

from lib.command.console import UserError
from lib.forks.client import ADDRESS
from lib.training import gpus

HOLD = (
    "import os, sys, time; from lib.training import gpus\n"
    "gpus.claim('auto', int(sys.argv[1])); print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True)\n"
    "time.sleep(600)"
)
MEASURE = (
    "import os, sys, time; from functools import partial; from lib.training import estimate, gpus\n"
    "gpus.claim('auto'); look = partial(os.getenv, 'CUDA_VISIBLE_DEVICES')\n"
    "print(*estimate.in_processes(look, int(sys.argv[1])), sep=',', flush=True); time.sleep(600)"
)
# A command that claims a GPU in a fork of the server, and tells which process has which.
COMMAND = """
import os, sys, time
from lib.forks.client import run_in_fork
if (code := run_in_fork()) is not None:
    sys.exit(code)
from lib.training import gpus
gpus.claim(sys.argv[1])
print(os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid(), flush=True)
if sys.argv[1] == "auto":
    time.sleep(600)
"""
STARTER = """
import sys
from lib.forks import client
client.start({"hold": ["training.saving"]})  # which imports what locks files, as trainings do
print(client.os.environ[client.ADDRESS], flush=True)
sys.stdin.read()
"""


def list_gpus(folder, *names: str) -> None:
    """Put an nvidia-smi into a folder that lists these GPUs."""
    lines = [f"GPU {n}: NVIDIA A100 (UUID: {name})" for n, name in enumerate(names)]
    command = folder / "nvidia-smi"
    command.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    command.chmod(0o755)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with four GPUs, and with a folder of its own for locks."""
    names = [f"GPU-{letter}" for letter in "abcd"]
    list_gpus(tmp_path, *names)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return names


@pytest.fixture
def hold(python, machine, monkeypatch):
    """Start processes that claim GPUs and keep them."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}/scripts")
    holders = []

    def start(count: int, code: str = HOLD) -> subprocess.Popen:
        holders.append(
            subprocess.Popen(
                [python, "-c", code, str(count)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
        return holders[-1]

    yield start
    for holder in holders:
        holder.kill()
        holder.communicate()


@pytest.fixture
def hold_in_fork(python, machine, tmp_path, monkeypatch):
    """Start commands whose forks claim a GPU, one fork server for all."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}/scripts")
    script = tmp_path / "hold.py"
    script.write_text(COMMAND)
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([python, "-c", STARTER], **piped)]
    monkeypatch.setenv(ADDRESS, processes[0].stdout.readline().strip())

    def start(device: str = "auto") -> subprocess.Popen:
        processes.append(subprocess.Popen([python, script, device], **piped))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def told(command: subprocess.Popen) -> tuple[str, int]:
    """The GPU that a fork has claimed, and its process number."""
    gpu, process = command.stdout.readline().split()
    assert int(process) != command.pid
    return gpu, int(process)


def free(gpu: str) -> bool:
    """Whether no process holds a GPU; this one holds it then."""
    return gpus._try([gpu], 1) == [gpu]


def claimed(holder: subprocess.Popen) -> list[str]:
    return holder.stdout.readline().decode().strip().split(",")


def test_gpus_are_those_of_cuda_visible_devices(machine, monkeypatch):
    assert gpus.visible() == machine
    for chosen, expected in {
        "2,0": ["GPU-c", "GPU-a"],
        "GPU-b": ["GPU-b"],
        "": [],
        "-1": [],
        "MIG-1": ["MIG-1"],
        "NoDevFiles": [],
        "1,9,2": ["GPU-b"],
        "3,3": ["GPU-d"],
    }.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
        assert gpus.visible() == expected


def test_gpus_are_those_of_the_driver_where_nvidia_smi_is_missing(tmp_path, monkeypatch):
    folder = tmp_path / "gpus" / "0000:01:00.0"
    folder.mkdir(parents=True)
    (folder / "information").write_text("Model: \t NVIDIA H200\nGPU UUID: \t GPU-1f-2e\n")
    monkeypatch.setattr(gpus, "DRIVER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.visible() == ["GPU-1f-2e"]


def test_four_trainings_have_a_gpu_each_and_a_fifth_waits(hold, machine):
    holders = [hold(1) for _ in range(4)]
    assert sorted(gpu for holder in holders for gpu in claimed(holder)) == machine
    fifth = hold(1)
    time.sleep(3)
    assert fifth.poll() is None
    holders[2].kill()  # a claim is gone with its process, however that ends
    freed = claimed(fifth)
    assert len(freed) == 1 and set(freed) < set(machine)


def test_several_gpus_are_claimed_together_or_not_at_all(hold, machine):
    first = claimed(hold(3))
    both = hold(2)
    time.sleep(3)
    last = claimed(hold(1))  # which the waiting process does not hold meanwhile
    assert sorted(first + last) == machine
    assert both.poll() is None


@pytest.mark.slow
def test_forks_hold_their_own_gpu_until_they_end(hold_in_fork, machine, tmp_path):
    list_gpus(tmp_path, "GPU-a", "GPU-b")
    one, other = hold_in_fork(), hold_in_fork()
    first, second = told(one), told(other)
    assert {first[0], second[0]} == {"GPU-a", "GPU-b"}
    third = hold_in_fork("cpu")
    assert told(third)[0] == "None" and third.wait() == 0
    assert not free("GPU-a") and not free("GPU-b")  # by no fork that ends
    waiting = [hold_in_fork(), hold_in_fork()]
    os.kill(first[1], signal.SIGKILL)
    assert one.wait() == 128 + signal.SIGKILL
    ready, _, _ = select.select([each.stdout for each in waiting], [], [], 60)
    freed = next(each for each in waiting if each.stdout in ready)
    assert told(freed)[0] == first[0]
    waiting.remove(freed)
    other.kill()  # the command alone, with which its fork ends
    assert told(waiting[0])[0] == second[0]


@pytest.mark.slow
def test_processes_that_measure_free_no_gpu_of_the_one_that_starts_them(hold, machine, tmp_path):
    list_gpus(tmp_path, "GPU-a")
    measuring = hold(2, MEASURE)
    assert claimed(measuring) == ["GPU-a", "GPU-a"]
    assert not free("GPU-a")
    waiting = hold(1)
    measuring.kill()
    assert claimed(waiting) == ["GPU-a"]


def test_more_processes_than_gpus_are_refused(machine):
    with pytest.raises(UserError, match="5 processes need a GPU each, but there are 4"):
        gpus.claim("cuda", 5)


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_other_devices_claim_nothing(machine, monkeypatch, device):
    gpus.claim(device, 8)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def most_at_once(output: str, rule: str) -> int:
    """The most jobs of a rule that ran at once, from what Snakemake printed."""
    started, most, running = {}, 0, 0
    for line in output.splitlines():
        if found := re.match(r"Job (\d+): (\w+)", line):
            started[found[1]] = found[2]
            running += found[2] == rule
            most = max(most, running)
        elif found := re.match(r"Finished jobid: (\d+)", line):
            running -= started.get(found[1]) == rule
    return most


STAND_IN = """
import os, sys, time
from pathlib import Path
from lib.forks.client import run_in_fork
from lib.training import gpus

if (code := run_in_fork()) is not None:
    sys.exit(code)
made = {
    "download": ["reviews.parquet", "reviews.json"],
    "split": ["train.parquet", "valid.parquet", "test.parquet", "../splits.json"],
    "encoder": ["config.json"],
    "pretokenize": ["train.parquet", "valid.parquet", "test.parquet", "tokens.json"],
    "train": ["checkpoint/config.json", "history.csv", "train.json"],
}
name = Path(sys.argv[0]).stem
flag = "--run" if name == "train" else "--out"
out = Path(sys.argv[sys.argv.index(flag) + 1])
if name == "train":
    gpus.claim("auto")
    time.sleep(1)
told = Path("/proc/self/comm").read_text() + os.environ.get("CUDA_VISIBLE_DEVICES", "")
for path in (out / file for file in made[name]):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(told)
"""


@pytest.mark.slow
def test_trainings_run_on_as_many_gpus_as_there_are(python, tmp_path):
    workspace = Workspace(tmp_path / "study")
    config = workspace.write_config("study.yaml")
    for name in ("download", "split", "encoder", "pretokenize", "train"):
        command = workspace.folder / f"scripts/{name}.py"
        main = "def main():\n    from lib.study import runs\n"  # what a rule finds of its code
        command.write_text(main + STAND_IN)
    workspace.environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    for names, seeds in ((["GPU-a"], [1, 2]), (["GPU-a", "GPU-b"], [3, 4, 5])):
        list_gpus(tmp_path, *names)
        targets = [RUN.format("bert", "cls", 64, "base", seed) + "/train.json" for seed in seeds]
        done = workspace.snakemake(python, *targets, "--cores", "8", f"--configfile={config}")
        assert done.returncode == 0, done.stderr
        assert most_at_once(done.stdout + done.stderr, "train") == len(names)
        told = {workspace.read(target) for target in targets}
        assert told == {f"train\n{name}" for name in names}  # each in a fork, named so
