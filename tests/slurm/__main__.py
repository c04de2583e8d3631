"""`make slurm-test`: a study on a Slurm cluster gives the same bytes as without one.

Sets up a cluster of one node on this machine, and runs the smallest study there through `sbatch`
with profiles/slurm. One of its trainings reaches its time limit, is submitted again, and goes on
where it was. The results are compared with those of a run without Slurm.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml
from cluster import answer, check, cluster, install
from same import differing, left_over

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "slurm-test"
RUN = "dataset=imdb-25k/model=bert/pooling=masked-mean/batch=64/variant=base/seed=1"
TRAINING_LOG = RESULTS / "cluster" / "results" / "logs" / RUN / "train.log"
FIRST_EPOCH = " epoch 1:"  # what this log says once that is done
RESUMED = " resuming "  # what it says of a training that goes on


def main() -> None:
    """Run the study without Slurm and with it, and compare."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # which not every root has there
    check()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    install(RESULTS / "apt.log")
    write("study.yaml", smallest_study())
    write("profile/config.yaml", adapted_profile())
    say("running the study without Slurm")
    with snakemake("local", "--cores=2"):
        pass
    with tempfile.TemporaryDirectory(prefix="slurm-test-") as folder:
        os.chmod(folder, 0o755)  # munge wants it so
        say(f"starting a cluster of one node, {answer('slurmctld', '-V')}")
        with cluster(Path(folder), RESULTS):
            run_on_cluster()
    tell_of_limit()
    compare()


def run_on_cluster() -> None:
    """Run the study through sbatch, and stop a training until its time limit ends it.

    A process that is stopped takes as long on every machine. Slurm wakes it before it asks it to
    end.
    """
    say("running the study through sbatch with profiles/slurm")
    with snakemake("cluster", f"--workflow-profile={RESULTS / 'profile'}") as study:
        while study.poll() is None and FIRST_EPOCH not in text(TRAINING_LOG):
            time.sleep(0.05)
        for process in filter(is_training, psutil.process_iter(["cmdline", "cwd"])):
            say(f"stopping a training after its first epoch, process {process.pid}")
            process.suspend()


def is_training(process: psutil.Process) -> bool:
    """Whether a process is the training that is to reach its time limit."""
    words = process.info["cmdline"] or []
    return process.info["cwd"] == str(RESULTS / "cluster") and f"results/runs/{RUN}" in words


def tell_of_limit() -> None:
    """Tell how the training ended and went on, or end with an error where it did not."""
    if "SLURM status is: 'TIMEOUT'" not in text(RESULTS / "cluster.log"):
        sys.exit(f"error: no time limit ended a training; see '{RESULTS / 'cluster.log'}'")
    say("Slurm ended the training at its time limit")
    resumed = [line for line in text(TRAINING_LOG).splitlines() if RESUMED in line]
    if not resumed:
        sys.exit(f"error: the training began anew when submitted again; see '{TRAINING_LOG}'")
    say(f"submitted again, it told at {resumed[0]}")


def compare() -> None:
    """Compare what was computed; the tables show durations. End with an error where it differs."""
    here, there = (RESULTS / name / "results" for name in ("local", "cluster"))
    different = [name for name in differing(here, there) if not name.startswith("tables/")]
    different += left_over(there)
    if different:
        sys.exit(f"error: different in '{there}' and '{here}': {', '.join(different)}")
    print("identical with and without Slurm: checkpoints, predictions, tests and histories")


def smallest_study() -> dict[str, Any]:
    """The smallest study, with enough epochs to stop it between two, and few analyses."""
    config = yaml.safe_load(text(ROOT / "tests" / "config.yaml"))
    config["training"]["epochs"] = 6
    parts = ("baseline", "statistics", "errors", "tsne", "attention")
    return config | {"analysis": dict.fromkeys(parts, False)}


def adapted_profile() -> dict[str, Any]:
    """The profile as a site without accounting adapts it; one training has little time at first."""
    profile = yaml.safe_load(text(ROOT / "profiles" / "slurm" / "config.yaml"))
    minutes = "attempt if wildcards.model == 'bert' else 30"
    profile["set-resources"]["train"]["runtime"] = minutes
    profile["slurm-status-command"] = "squeue"
    profile["slurm-init-seconds-before-status-checks"] = 3
    return profile


@contextmanager
def snakemake(name: str, *flags: str) -> Iterator[subprocess.Popen]:
    """Run the study in a folder of its own; end with an error where it fails."""
    log = RESULTS / f"{name}.log"
    study = [f"--configfile={RESULTS / 'study.yaml'}", "--directory", str(RESULTS / name)]
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *study, *flags],
            cwd=ROOT,
            env=os.environ | {"WANDB_MODE": "disabled"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
        if process.wait():
            sys.exit(f"error: the study failed; see '{log}'")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C, which ends its jobs
            process.wait()


def say(what: str) -> None:
    """Tell what is done now."""
    print(time.strftime("%H:%M:%S"), what, flush=True)


def text(path: Path) -> str:
    """The content of a file, empty where there is none."""
    return path.read_text("utf-8", "replace") if path.is_file() else ""


def write(name: str, content: dict[str, Any]) -> None:
    """Write a YAML file."""
    (RESULTS / name).parent.mkdir(exist_ok=True)
    (RESULTS / name).write_text(yaml.safe_dump(content))


if __name__ == "__main__":
    main()
