"""A Slurm cluster of one node on this machine, for as long as a block of code runs.

Its keys, state and logs are in a folder of its own. The one file outside is slurm.conf: Snakemake
starts the steps of a job without SLURM_CONF, so that they look for it there.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

CONF = Path("/etc/slurm/slurm.conf")
MARK = "# Written by make slurm-test, which removes it at its end.\n"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 300  # seconds within which the cluster is up, or its jobs have ended

# More CPUs and memory than there may be, so that the node has what the profile asks for.
SETTINGS = """\
ClusterName=slurm-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
KillWait=120
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE OverTimeLimit=0
"""


def check() -> None:
    """End with one line where no cluster can be set up, or another would be disturbed."""
    if os.geteuid():
        refuse("it starts the daemons of Slurm, which needs root")
    if not shutil.which("apt-get"):
        refuse("it installs Slurm by apt-get, which Debian and Ubuntu have")
    daemons = {"slurmctld", "slurmd", "sackd"} & {each.name() for each in psutil.process_iter()}
    if daemons:
        refuse(f"Slurm runs on this machine ({', '.join(sorted(daemons))})")
    if CONF.is_file() and not CONF.read_text().startswith(MARK):
        refuse(f"'{CONF}' is of a Slurm that it would disturb")


def refuse(reason: str) -> None:
    """End with one line."""
    sys.exit(f"error: make slurm-test can't run here: {reason}")


def install(log: Path) -> None:
    """Install Slurm and munge where they are missing."""
    if all(map(shutil.which, ("munged", "slurmctld", "slurmd", "sbatch"))):
        return
    print("installing slurm-wlm and munge by apt-get", flush=True)
    packages = "apt-get install --yes --no-install-recommends slurm-wlm munge"
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in ("apt-get update", packages):
        with log.open("w") as output:
            done = subprocess.run(command.split(), env=quiet, stdout=output, stderr=output)
        if done.returncode:
            sys.exit(f"error: '{command}' failed; its output is in '{log}'")


@contextmanager
def cluster(folder: Path, logs: Path) -> Iterator[None]:
    """Run a cluster of one node; its jobs end with it.

    Args:
        folder: that every user may enter, as munge wants it.
        logs: folder for the logs of the daemons.
    """
    host = socket.gethostname().partition(".")[0]
    munge = [f"--{name}={folder}/munge.{name}" for name in ("socket", "key-file", "pid-file")]
    munge += [f"--{name}={folder}/munge.{name}" for name in ("log-file", "seed-file")]
    (folder / "state").mkdir()
    (folder / "munge.key-file").touch(mode=0o600)
    (folder / "munge.key-file").write_bytes(os.urandom(128))
    settings = SETTINGS.format(host=host, folder=folder)
    with configured(settings), daemon(logs, "munged", "--foreground", *munge) as munged:
        wait_until_up("munge", (folder / "munge.socket").exists, munged, logs)
        with daemon(logs, "slurmctld", "-D"), daemon(logs, "slurmd", "-D") as slurmd:
            wait_until_up("a node", lambda: answer("sinfo", "-ho", "%T") == "idle", slurmd, logs)
            try:
                yield
            finally:
                end_jobs()


@contextmanager
def configured(settings: str) -> Iterator[None]:
    """Have a slurm.conf."""
    CONF.parent.mkdir(exist_ok=True)
    CONF.write_text(MARK + settings)
    try:
        yield
    finally:
        CONF.unlink()


@contextmanager
def daemon(logs: Path, name: str, *flags: str) -> Iterator[subprocess.Popen]:
    """Run a daemon, which Ctrl-C does not reach, because it has to end after the jobs."""
    with (logs / f"{name}.log").open("w") as log:
        process = subprocess.Popen([name, *flags], stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        end(process, signal.SIGTERM)


def end(process: subprocess.Popen, number: int) -> None:
    """End a process and its group by a signal, or else by SIGKILL."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ignore_signals() -> None:
    """Let nobody interrupt the end of what was started."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)


def end_jobs() -> None:
    """Cancel all jobs, and end what is left of them."""
    ignore_signals()
    answer("scancel", "--user=root")
    deadline = time.monotonic() + PATIENCE
    while answer("squeue", "-h") != "" and time.monotonic() < deadline:
        time.sleep(0.2)
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "slurmstepd":
            for each in (*process.children(recursive=True), process):
                with suppress(psutil.NoSuchProcess):
                    each.kill()


def wait_until_up(
    what: str, is_up: Callable[[], bool], process: subprocess.Popen, logs: Path
) -> None:
    """Wait for a daemon, or end with one line where it ends or takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not is_up():
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"error: {what} does not come up; see the logs in '{logs}'")
        time.sleep(0.2)


def answer(*command: str) -> str | None:
    """What a command of Slurm prints; None where it fails."""
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        return None if done.returncode else done.stdout.strip()
    return None
