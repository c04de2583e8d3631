"""Where the seconds of a study went, as the logs of its jobs tell."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from lib.baselines import FULL_TEXT, SEEN_TEXT
from lib.console import log
from lib.runs import KEYS, keys_in
from lib.tables import write_table
from lib.timing import read_took

START_UP = "start-up of training and test"
LOOPS = {"train": "training and validation", "evaluate": "testing"}
PREPARATION = {
    **dict.fromkeys(("download", "split", "encoder"), "reviews and encoders"),
    "pretokenize": "tokenizing",
}
REST = "baselines, tables and figures"
PARTS = (*dict.fromkeys(PREPARATION.values()), START_UP, *LOOPS.values(), REST)


def cost(logs: Path, runs: Sequence[Path], out: Path) -> None:
    """Write the table costs: a row per part of the work, with jobs, seconds and share of all.

    Start-up is what a training or a test does outside its loops: importing libraries, loading
    tokens and model, writing results. A log without its last line is that of a job that has not
    ended, and is left out.

    Args:
        logs: folder of the logs.
        runs: folders of the runs.
        out: folder of the table.
    """
    spent = pd.DataFrame(
        [each for path in logs_of(logs, runs) for each in spent_in(path)],
        columns=["part", "log", "seconds"],
    )
    table = spent.groupby("part").agg(jobs=("log", "nunique"), seconds=("seconds", "sum"))
    table = table.reindex(PARTS).dropna().astype({"jobs": int})
    table["share"] = table["seconds"] / table["seconds"].sum()
    write_table(out, "costs", table.reset_index())
    log.info("%.0f seconds in %d jobs", table["seconds"].sum(), spent["log"].nunique())


def logs_of(logs: Path, runs: Sequence[Path]) -> list[Path]:
    """The logs of the runs, and of what they and their analysis are made from."""
    own = [logs.joinpath(*run.parts[-len(KEYS) :], f"{name}.log") for run in runs for name in LOOPS]
    models = {keys_in(run)["model"] for run in runs}
    texts = {FULL_TEXT, *(SEEN_TEXT + model for model in models)}
    others = []
    for path in sorted(logs.rglob("*.log")):
        keys = keys_in(path.relative_to(logs))
        of_the_study = keys.get("model") in {None, *models} and keys.get("text") in {None, *texts}
        if "seed" not in keys and of_the_study:
            others.append(path)
    return own + others


def spent_in(path: Path) -> Iterator[tuple[str, Path, float]]:
    """The parts of the work of one job, with its log and seconds; none if it has not ended."""
    took = read_took(path)
    if took is None:
        return
    total, parts = took
    if path.stem not in LOOPS:
        yield PREPARATION.get(path.stem, REST), path, total
        return
    inside = sum(parts.values())
    yield LOOPS[path.stem], path, inside
    yield START_UP, path, total - inside
