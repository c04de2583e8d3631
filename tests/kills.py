"""Kill processes of a study with SIGKILL at random, until it is complete, and compare its results.

Victims are Snakemake, its fork server, shells, and the commands: whatever lives at a random moment,
and by turns a training and a test, which are to be among them. Snakemake is started again after
each, and unlocked where it was the victim itself.
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
AIMS = {"train": 3.0, "evaluate": 0.2}  # seconds within which a command is killed, once it lives
TURNS = ("", "train", "", "evaluate")  # what kills aim at
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

    def kill_one(self, generator: random.Random, aim: str) -> str:
        """Kill a process at a random moment; its name, or nothing where all had ended.

        Args:
            generator: of the moment and the victim.
            aim: the name of the victim; empty for any that lives.
        """
        while self.process.poll() is None:
            self.wait_for(aim or START, 1 if aim else generator.randint(1, MOST_COMMANDS))
            time.sleep(generator.uniform(0, AIMS.get(aim, LONGEST)))
            alive = self.processes()
            if not alive or (aim and aim not in alive):
                continue
            name = aim or generator.choice(sorted(alive))
            with suppress(psutil.NoSuchProcess):
                generator.choice(alive[name]).kill()
                return name
        return ""

    def wait_for(self, name: str, number: int) -> None:
        """Wait until that many processes have been seen whose name begins so, or all have ended."""
        seen: set[psutil.Process] = set()
        while self.process.poll() is None and len(seen) < number:
            time.sleep(0.05)
            for own, found in self.processes().items():
                seen.update(found if own.startswith(name) else ())


def name_of(process: psutil.Process) -> str:
    """What a process is: the command whose log it writes or whose fork it is, or its program."""
    try:
        output = Path(f"/proc/{process.pid}/fd/1").readlink()
        words, name = process.cmdline(), process.name()
    except (psutil.Error, OSError):
        return "a process that ends"
    if output.suffix == ".log":
        return output.stem
    scripts = [Path(word).stem for word in words if Path(word).parent.name == "scripts"]
    if "lib.forks.server" in words:  # a fork has the name of its command
        return "fork server" if name.startswith("python") else name
    return START + scripts[0] if scripts else "shell"


def kill_until_complete(folder: Path, kills: int, seed: int) -> Counter:
    """Kill processes of the study in a folder; what was killed, counted."""
    generator = random.Random(seed)
    workspace, killed, flags = study_in(folder), Counter(), []
    for _ in range(ATTEMPTS_PER_KILL * kills):
        attempt = Attempt(workspace, *flags)
        aim = TURNS[killed.total() % len(TURNS)]
        name = attempt.kill_one(generator, aim) if killed.total() < kills else ""
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
    if missed := [name for name in AIMS if not killed[name]]:
        sys.exit(f"error: nothing was killed in: {', '.join(missed)}; give more --kills")
    sys.exit(f"error: different: {', '.join(different)}" if different else print("identical"))


if __name__ == "__main__":
    main()
