"""What plans and tables of large studies cost, on studies that nobody trained.

Measured is CPU time, the median over repeats in which what is compared takes turns: a plan from
nothing, tuned and not, beside one of as many pairs of bare rules, a plan of the finished quick
study beside one of an empty Snakefile, `--touch` of a finished study, and the commands that make
tables of all runs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from lib.command.console import progress
from lib.files.predictions import write_predictions
from lib.files.whole import write_json, write_parquet
from lib.study import config
from lib.study.planning import baselines
from lib.study.runs import KEYS, folders_of, keys_in
from lib.training.loop import Recipe
from lib.training.metrics import measure

ROOT = Path(__file__).parents[1]
QUICK = ROOT / "config" / "config.yaml"
GRID = {"model": ["bert", "modernbert"], "pooling": ["cls", "masked-mean"], "batch": [64, 256]}
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "accelerate": {"backend": "accelerate"},
    "sqrt-lr": {"lr_scaling": "sqrt"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.01},
    "constant": {"scheduler": "constant", "warmup": 0.0},
}
CONDITIONS = 2**3 * len(VARIANTS)
EMPTY = "rule all:\n"
TEST = "test.parquet"
TRAIN = 4800  # reviews to learn from
PAIRS = """
rule all:
    input: expand("{{run}}.test", run=range({runs}))
rule train:
    output: "{{run}}.train"
    shell: "touch {{output}}"
rule test:
    input: "{{run}}.train"
    output: "{{run}}.test"
    shell: "touch {{output}}"
"""


class Study(NamedTuple):
    """A study in a folder of its own.

    Attributes:
        folder: of its configuration and its results.
        runs: folders of the runs.
        baselines: folders of the baselines.
        settings: the checked configuration.
    """

    folder: Path
    runs: list[Path]
    baselines: list[Path]
    settings: Mapping[str, Any]

    def snakemake(self, *flags: str) -> list[str]:
        """The command that runs Snakemake on it."""
        files = (f"--snakefile={ROOT}/Snakefile", f"--configfile={self.folder}/config.yaml")
        return [*snakemake(self.folder), *files, *flags]

    def command(self, name: str, **flags: str) -> list[str]:
        """A command that makes tables of all runs.

        Args:
            name: of the command.
            flags: what else it is given.
        """
        root, dataset = self.folder / "results" / "runs", self.settings["dataset"]["name"]
        blocks = [f"{root}/{folders_of(dataset, block)}" for block in self.settings["grid"]]
        given = {flag: [value] for flag, value in flags.items()}
        given |= {"runs": blocks, "out": [str(self.folder / "results" / "tables")]}
        words = (word for flag, values in given.items() for word in (f"--{flag}", *values))
        return [sys.executable, f"{ROOT}/scripts/{name}.py", *words]

    def collecting(self) -> list[str]:
        """The command that collects all runs."""
        return self.command("collect", logs=str(self.folder / "results" / "logs"))

    def analysing(self) -> list[str]:
        """The command that measures, compares and answers, with the baselines."""
        given = {"table": str(self.folder / "results" / "tables" / "runs.parquet")}
        given |= {"reviews": str(self.folder / TEST), "tokens": "none"}  # which errors alone need
        words = self.command("analyse", errors="false", margin="1", **given)
        return [*words, "--baselines", *map(str, self.baselines)]


def snakemake(folder: Path) -> list[str]:
    """The command that runs Snakemake in a folder."""
    return [sys.executable, "-m", "snakemake", "--cores=1", f"--directory={folder}"]


def seconds(words: list[str]) -> float:
    """Run a command without its output, and return its CPU time and that of what it started.

    Raises:
        RuntimeError: it failed; the message is the end of its output.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(output.read()[-2000:])
    return used.ru_utime + used.ru_stime


def plan_of(folder: Path, snakefile: str) -> list[str]:
    """The command that plans a Snakefile, which it writes."""
    folder.mkdir()
    (folder / "Snakefile").write_text(snakefile, "utf-8")
    return [*snakemake(folder), f"--snakefile={folder}/Snakefile", "--dry-run"]


def new_study(folder: Path, settings: dict[str, Any]) -> Study:
    """A study of which nothing is made."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    config.check(settings)
    runs = config.runs(settings)
    results = folder / "results"
    keys = ([f"{key}={value}" for key, value in zip(KEYS, run, strict=True)] for run in runs)
    texts, _ = baselines(settings, runs)
    dataset = results / "baselines" / f"dataset={settings['dataset']['name']}"
    return Study(
        folder,
        [results.joinpath("runs", *parts) for parts in keys],
        [dataset / f"text={text}" for text in texts],
        settings,
    )


def large(runs: int) -> dict[str, Any]:
    """The configuration of the quick study, with a grid of as many runs."""
    settings = yaml.safe_load(QUICK.read_text("utf-8"))
    grid = GRID | {"variant": list(VARIANTS), "seed": list(range(runs // CONDITIONS))}
    return settings | {"study": "large", "variants": VARIANTS, "grid": [grid]}


def make_up(study: Study, reviews: int) -> None:
    """Write the files that tables are made from, of runs and baselines that nobody trained.

    Args:
        study: whose runs they are.
        reviews: in the test split.
    """
    rng = np.random.default_rng(0)
    ids = np.arange(reviews)
    hard = rng.standard_normal(reviews)  # for all
    texts = pa.table({"id": ids, "text": [""] * reviews, "label": ids % 2})
    write_parquet(study.folder / TEST, texts)
    for folder in (*study.runs, *study.baselines):
        folder.mkdir(parents=True)
        score = (
            hard + rng.standard_normal(reviews) + 1.2
        )  # above 0 where a review is labelled right
        right = 1 / (1 + np.exp(-score))
        both = np.where(ids[:, None] % 2 == [0, 1], right[:, None], 1 - right[:, None])
        test = measure(write_predictions(folder, ids, np.log(both), ids % 2, 1.25))
        train: dict[str, Any] = {
            "best_epoch": 1,
            "train_accuracy": test["accuracy"],
            "valid_accuracy": test["accuracy"],
            "valid_loss": test["loss"],
            "temperature": 1.25,
            "learned": True,
            "chance_p": 0.0,
            "chance_level": 0.001,
            "diverged": False,
            "train_seconds": 60 + rng.random(),
        }
        if folder in study.baselines:
            write_json(folder / "test.json", train | test)
            continue
        keys = keys_in(folder)
        settings = config.training(study.settings, keys["variant"])
        updates = Recipe(int(keys["batch"]), 0, settings).updates(TRAIN)
        train |= {"settings": settings, "learning_rate": settings["learning_rate"]}
        train |= {"updates": updates, "examples": TRAIN}
        write_json(folder / "train.json", train)
        write_json(folder / "test.json", test)
        epochs = {"epoch": [1, 2], "train_accuracy": test["accuracy"], "train_loss": test["loss"]}
        epochs |= {"valid_accuracy": [test["accuracy"], 0.5], "valid_loss": test["loss"]}
        pd.DataFrame(epochs).to_csv(folder / "history.csv", index=False)


def finish(study: Study) -> None:
    """Put an empty file or folder where a result is missing."""
    listed = subprocess.run(study.snakemake("--summary"), capture_output=True, text=True).stdout
    for line in listed.splitlines()[1:]:
        path = study.folder / line.split("\t")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix:
            path.touch()
        else:
            path.mkdir(exist_ok=True)


def compared(commands: Mapping[str, list[str]], repeats: int) -> list[dict[str, Any]]:
    """The median cost of each of several commands, which take turns.

    Args:
        commands: by what they do.
        repeats: of each.
    """
    costs: dict[str, list[float]] = {name: [] for name in commands}
    for name in progress(list(commands) * repeats, len(commands) * repeats, "commands", "command"):
        costs[name].append(seconds(commands[name]))
    return [
        {
            "command": name,
            "CPU seconds": median(found),
            "least": min(found),
            "most": max(found),
            "repeats": repeats,
        }
        for name, found in costs.items()
    ]


def benchmark(
    folder: Path, planned: int, touched: int, tabulated: int, reviews: int, repeats: int
) -> pd.DataFrame:
    """The whole table.

    Args:
        folder: an empty one.
        planned: runs of the plan from nothing.
        touched: runs that are touched.
        tabulated: runs of the tables.
        reviews: in their test split.
        repeats: of each plan; what takes longer is done once.
    """
    unmade = new_study(folder / "unmade", large(planned))
    rates = {name: {"learning_rate": 10.0**-i} for i, name in enumerate(VARIANTS, 2)}
    tuned = large(planned) | {"variants": rates, "analysis": {"tuned": True}}
    chosen = new_study(folder / "chosen", tuned)
    quick = new_study(folder / "quick", yaml.safe_load(QUICK.read_text("utf-8")))
    finished = new_study(folder / "finished", large(touched))
    many = new_study(folder / "many", large(tabulated))
    for study, n in ((quick, 20), (finished, 20), (many, reviews)):
        make_up(study, n)
    for study in (quick, finished):
        finish(study)
    seconds(quick.snakemake("--touch", "--forceall"))
    plans = {
        f"plan {planned:,} runs": unmade.snakemake("--dry-run"),
        f"plan {planned:,} runs, tuned": chosen.snakemake("--dry-run"),
        f"plan {planned:,} bare pairs": plan_of(folder / "pairs", PAIRS.format(runs=planned)),
        "plan the finished quick study": quick.snakemake("--dry-run"),
        "plan an empty Snakefile": plan_of(folder / "empty", EMPTY),
    }
    long = {
        f"touch {touched:,} runs": finished.snakemake("--touch", "--forceall"),
        f"plan {touched:,} finished runs": finished.snakemake("--dry-run"),
        f"collect {tabulated:,} runs": many.collecting(),
        f"analyse {tabulated:,} runs": many.analysing(),
    }
    return pd.DataFrame([*compared(plans, repeats), *compared(long, 1)])


def main() -> None:
    """Print the table."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--planned", type=int, default=1000, help="runs of the plan from nothing")
    flags.add_argument("--touched", type=int, default=400, help="runs that are touched")
    flags.add_argument("--tabulated", type=int, default=1600, help="runs of the tables")
    flags.add_argument("--reviews", type=int, default=2500, help="in the test split of the tables")
    flags.add_argument("--repeats", type=int, default=5, help="of each plan")
    flags.add_argument("--out", type=Path, help="CSV file for the table")
    options = vars(flags.parse_args())
    out = options.pop("out")
    with tempfile.TemporaryDirectory() as folder:
        table = benchmark(Path(folder), **options).round(2)
    print(table.to_markdown(index=False))
    if out:
        table.to_csv(out, index=False)


if __name__ == "__main__":
    main()
