"""GPUs are counted, and claimed by one process at a time.

No GPU is needed: a stand-in for nvidia-smi lists some, and what claims them is a real process.
"""

import os
import re
import subprocess
import time

import pytest
from conftest import ROOT
from workspace import RUN, Workspace

from lib.command.console import UserError
from lib.training import gpus

HOLD = (
    "import os, sys, time; from lib.training import gpus\n"
    "gpus.claim('auto', int(sys.argv[1])); print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True)\n"
    "time.sleep(600)"
)


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

    def start(count: int) -> subprocess.Popen:
        holders.append(
            subprocess.Popen(
                [python, "-c", HOLD, str(count)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
        return holders[-1]

    yield start
    for holder in holders:
        holder.kill()
        holder.communicate()


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
import sys, time
from pathlib import Path

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
time.sleep(name == "train")
for path in (out / file for file in made[name]):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
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
