"""Kill processes of a study with SIGKILL at random, until it is complete, and compare its results.

Victims are Snakemake, its fork server, shells, and the commands: whatever lives at a random moment.
Snakemake is started again after each, and unlocked where it was the victim itself.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
from same import differing, left_over
from workspace import SUMMARY, Workspace

KILLS = 20
MOST_COMMANDS = 5  # that begin before a kill
LONGEST = 3.0  # seconds from then to the kill
ATTEMPTS_PER_KILL = 5
START = "start of "  # begins the name of a command that has not come to write its log, or waits


class Attempt:
    """One run of Snakemake on the study.

    Args:
        workspace: where.
        flags: besides the target.
    """

    def __init__(self, workspace: Workspace, *flags: str) -> None:
        words = f"{sys.executable} -m snakemake {SUMMARY} --cores 2 --configfile=study.yaml"
        with (workspace.folder / "output.txt").open("a") as output:
            self.process = subprocess.Popen(
                [*words.split(), *flags],
                cwd=workspace.folder,
                env=workspace.variables(),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def processes(self) -> dict[str, list[psutil.Process]]:
        """What is alive, by what it is."""
        found: dict[str, list[psutil.Process]] = {}
        with suppress(psutil.NoSuchProcess):
            own = psutil.Process(self.process.pid)
            for each in own.children(recursive=True):
                found.setdefault(name_of(each), []).append(each)
            found["Snakemake"] = [own]
        return found

    def kill_one(self, generator: random.Random) -> str:
        """Kill a process at a random moment; its name, or nothing where all had ended."""
        begun: set[psutil.Process] = set()
        commands = generator.randint(1, MOST_COMMANDS)
        while self.process.poll() is None and len(begun) < commands:
            time.sleep(0.05)
            for name, found in self.processes().items():
                begun.update(found if name.startswith(START) else ())
        time.sleep(generator.uniform(0, LONGEST))
        alive = self.processes()
        if self.process.poll() is not None or not alive:
            return ""
        name = generator.choice(sorted(alive))
        with suppress(psutil.NoSuchProcess):
            generator.choice(alive[name]).kill()
            return name
        return ""


def name_of(process: psutil.Process) -> str:
    """What a process is: the command whose log it writes, or else its program."""
    try:
        output = Path(f"/proc/{process.pid}/fd/1").readlink()
        words = process.cmdline()
    except (psutil.Error, OSError):
        return "a process that ends"
    if output.suffix == ".log":
        return output.stem
    scripts = [Path(word).stem for word in words if Path(word).parent.name == "scripts"]
    if "lib.forkserver" in words:
        return "fork server"
    return START + scripts[0] if scripts else "shell"


def kill_until_complete(folder: Path, kills: int, seed: int) -> Counter:
    """Kill processes of the study in a folder; what was killed, counted."""
    generator = random.Random(seed)
    workspace, killed, flags = study_in(folder), Counter(), []
    for _ in range(ATTEMPTS_PER_KILL * kills):
        attempt = Attempt(workspace, *flags)
        name = attempt.kill_one(generator) if killed.total() < kills else ""
        code = attempt.process.wait()
        if name:
            killed[name] += 1
            print(f"kill {killed.total()}: {name}", flush=True)
        if name == "Snakemake":
            workspace.snakemake(sys.executable, "--unlock", "--configfile=study.yaml")
        if code == 0 and killed.total() >= kills:
            return killed
        flags = ["--forceall"] if code == 0 else []  # there is nothing left to kill
    sys.exit(f"error: the study does not complete; see {folder}/output.txt")


def study_in(folder: Path) -> Workspace:
    """The smallest study in a copy of the project, with trainings of some seconds."""
    workspace = Workspace(folder)

    def lengthen(config: dict) -> None:
        config["training"] |= {"epochs": 4, "save_minutes": 0.01}

    workspace.write_config("study.yaml", lengthen)
    return workspace


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--kills", type=int, default=KILLS, help="at least")
    flags.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the kills")
    options = flags.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder, "undisturbed"), Path(folder, "killed")
        if Attempt(study_in(one)).process.wait():
            sys.exit((one / "output.txt").read_text())
        killed = kill_until_complete(other, options.kills, options.seed)
        different = differing(one / "results", other / "results")
        different += left_over(other / "results")
    counts = ", ".join(f"{name} {n}" for name, n in killed.most_common())
    print(f"{killed.total()} kills: {counts}")
    sys.exit(f"error: different: {', '.join(different)}" if different else print("identical"))


if __name__ == "__main__":
    main()
