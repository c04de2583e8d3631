"""`make slurm-test`: a study on a Slurm cluster gives the same bytes as without one.

Sets up a cluster of one node on this machine, and runs the smallest study there through `sbatch`
with profiles/slurm. One of its trainings reaches its time limit, is submitted again, and goes on
where it was. The results are compared with those of a run without Slurm. Whatever goes wrong ends
the test in one line.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import yaml
from cluster import SIGNALS, answer, check, cluster, end, ignore_signals, install
from same import differing, left_over

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "slurm-test"
PROFILE = f"--workflow-profile={RESULTS / 'profile'}"
RUN = "dataset=imdb-25k/model=bert/pooling=masked-mean/batch=64/variant=base/seed=1"
TRAINING_LOG = RESULTS / "cluster" / "results" / "logs" / RUN / "train.log"
PATIENCE = 600  # seconds without any change to a file after which a study hangs
FIRST_EPOCH = " epoch 1:"  # what this log says once that is done
RESUMED = " resuming "  # what it says of a training that goes on


def main() -> None:
    """Run the study without Slurm and with it, and compare."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # which not every root has there
    check()
    for each in SIGNALS:
        signal.signal(each, end_by_signal)
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    install(RESULTS / "apt.log")
    write("study.yaml", smallest_study())
    write("profile/config.yaml", adapted_profile())
    say("running the study without Slurm")
    with snakemake("local", "--cores=2"):
        pass
    with tempfile.TemporaryDirectory(prefix="slurm-test-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # munge wants it so
        say(f"starting a cluster of one node, {answer('slurmctld', '-V')}")
        with cluster(Path(folder), RESULTS):
            check_refusal()
            run_on_cluster()
    tell_of_limit()
    compare()


def end_by_signal(number: int, _: object) -> None:
    """End with one line; a second signal does not keep what was started from being ended."""
    ignore_signals()
    sys.exit(f"error: ended by {signal.Signals(number).name}")


def check_refusal() -> None:
    """End with an error where the study is not refused that would wait for ever for sacct."""
    say("asking for the study without slurm-status-command: squeue")
    words = command("cluster", PROFILE, "--slurm-status-command=sacct")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    last = done.stderr.splitlines()[-1:]
    if not done.returncode or "cluster keeps no account of jobs" not in "".join(last):
        sys.exit(f"error: a study was not refused that would wait for ever: {last}")


def run_on_cluster() -> None:
    """Run the study through sbatch, and have the time limit of a training end it.

    The training is stopped, so that it does not end by itself, and its limit then lowered, so that
    it can't come too early. Slurm wakes a process before it asks it to end.
    """
    say("running the study through sbatch with profiles/slurm")
    with snakemake("cluster", PROFILE) as study:
        wait(study, "cluster", lambda: FIRST_EPOCH in text(TRAINING_LOG))
        for process in filter(is_training, psutil.process_iter(["cmdline", "cwd"])):
            say(f"stopping a training after its first epoch, process {process.pid}")
            process.suspend()
            job = process.environ()["SLURM_JOB_ID"]
            answer("scontrol", "update", f"JobId={job}", "TimeLimit=1")


def is_training(process: psutil.Process) -> bool:
    """Whether a process is the training that is to reach its time limit."""
    words = process.info["cmdline"] or []
    return process.info["cwd"] == str(RESULTS / "cluster") and f"results/runs/{RUN}" in words


def tell_of_limit() -> None:
    """Tell how the training ended and went on, or end with an error where it did not."""
    if "SLURM status is: 'TIMEOUT'" not in text(log_of("cluster")):
        sys.exit(f"error: no time limit ended a training; see '{log_of('cluster')}'")
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
    parts = ("baseline", "statistics", "errors", "tsne", "attention", "latency")
    return config | {"analysis": dict.fromkeys(parts, False)}


def adapted_profile() -> dict[str, Any]:
    """The profile as a site without accounting adapts it."""
    profile = yaml.safe_load(text(ROOT / "profiles" / "slurm" / "config.yaml"))
    profile["default-resources"]["runtime"] = 720  # so that a busy machine meets no limit
    profile["slurm-status-command"] = "squeue"
    profile["slurm-init-seconds-before-status-checks"] = 3
    return profile


@contextmanager
def snakemake(name: str, *flags: str) -> Iterator[subprocess.Popen]:
    """Run the study in a folder of its own; end with an error where it fails."""
    (RESULTS / name).mkdir(exist_ok=True)
    with log_of(name).open("w") as output:
        process = subprocess.Popen(
            command(name, *flags),
            cwd=ROOT,
            env=os.environ | {"WANDB_MODE": "disabled"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
        wait(process, name)
        if process.returncode:
            sys.exit(f"error: the study failed; see '{log_of(name)}'")
    finally:
        if process.poll() is None:
            end(process, signal.SIGINT)  # as Ctrl-C, which ends its jobs


def command(name: str, *flags: str) -> list[str]:
    """The words that run the study in a folder of its own."""
    study = [f"--configfile={RESULTS / 'study.yaml'}", f"--directory={RESULTS / name}"]
    return [sys.executable, "-m", "snakemake", *study, *flags]


def log_of(name: str) -> Path:
    """What Snakemake says of a study."""
    return RESULTS / name / "snakemake.log"


def wait(study: subprocess.Popen, name: str, holds: Callable[[], bool] = lambda: False) -> None:
    """Wait until a study has ended or something holds; end with an error where it hangs."""
    while study.poll() is None and not holds():
        if time.time() - last_change(RESULTS / name) > PATIENCE:
            sys.exit(f"error: the study wrote nothing for {PATIENCE} seconds; see '{log_of(name)}'")
        time.sleep(0.1)


def last_change(path: Path) -> float:
    """When a file of a folder was written last."""
    times = [0.0]
    for folder, _, files in os.walk(path):
        for name in (".", *files):
            with suppress(FileNotFoundError):
                times.append(os.stat(f"{folder}/{name}").st_mtime)
    return max(times)


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
    try:
        main()
    except Exception as error:
        sys.exit(f"error: {type(error).__name__}: {' '.join(str(error).split())}")
