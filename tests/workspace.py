"""A copy of the project in which tests run Snakemake."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import yaml
from conftest import ROOT
from snakemakes import call_snakemake

from lib.study import catalog

SUMMARY = "results/summary.md"
# Of a study without published figures, samples of the reviews, tuned rates and several cuts.
UNUSUAL_PARTS = {"published", "tuned", "data_curve", "cuts"}
USUAL_PARTS = [part for part in catalog.PARTS if part not in UNUSUAL_PARTS]
SECRETS = {"HF_TOKEN": "hf_" + "s" * 34, "WANDB_API_KEY": "5ec7e7" * 6 + "cafe"}
RUN = "results/runs/dataset=imdb-25k/model={}/pooling={}/batch={}/variant={}/seed={}"


class Workspace:
    """A copy of the project in which Snakemake runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: list[str] = []  # those of calls with -p
        self.environment: dict[str, str] = {}
        self.umask = -1  # that of the tests
        self.said = ""  # by all calls of `jobs`
        ignored = (".git", ".venv", ".snakemake", "results", "wandb", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*ignored), dirs_exist_ok=True)

    def snakemake(self, python, *arguments: str) -> subprocess.CompletedProcess:
        if "-n" in arguments and self.umask == -1:
            return call_snakemake(arguments, self.folder, self.variables())
        return subprocess.run(
            [python, "-m", "snakemake", *arguments],
            cwd=self.folder,
            env=self.variables(),
            capture_output=True,
            text=True,
            umask=self.umask,
            timeout=3600,  # so that a study that waits for ever fails its test
        )

    def variables(self) -> dict[str, str]:
        """The environment of Snakemake."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
        return kept | {"PATH": "/usr/bin:/bin"} | self.environment

    def jobs(self, python, *arguments: str) -> dict[str, int]:
        """Run, and count the jobs by rule; the target rule is left out."""
        done = self.snakemake(python, *arguments)
        assert done.returncode == 0, done.stderr
        said = done.stdout + done.stderr
        self.said += said
        self.commands += re.findall(r"Shell command: (python .*)", said)
        _, _, statistics = said.partition("Job stats:")
        counts = re.findall(r"^(\w+) +(\d+)$", statistics.split("\n\n")[0], re.MULTILINE)
        return {rule: int(n) for rule, n in counts if rule not in ("total", "all")}

    def command(self, script: str, of: str = "") -> str:
        """The first command that ran of a script, of those that hold a text, without its log."""
        found = (line for line in self.commands if f"scripts/{script}.py " in line and of in line)
        return re.sub(r" --log \S+", "", next(found)).removeprefix("python ")

    def flags(self, script: str, of: str = "") -> str:
        """The flags of that command."""
        return self.command(script, of).partition(" ")[2]

    def read(self, path: str) -> str:
        return (self.folder / path).read_text()

    def write_config(self, name: str, change=lambda config: None) -> str:
        config = yaml.safe_load(self.read("tests/config.yaml"))
        change(config)
        (self.folder / name).write_text(yaml.safe_dump(config))
        return name


def files_with(text: str, folder: Path) -> list[Path]:
    """The files of a folder, at any depth, that hold a text."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if text.encode() in path.read_bytes()]
