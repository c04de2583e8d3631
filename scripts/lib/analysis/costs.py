"""Where the seconds of a study went, as the logs of its jobs tell."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from lib.command.console import log
from lib.command.timing import read_took
from lib.files.tables import read_table, write_table
from lib.study.runs import FULL_TEXT, KEYS, SEEN_TEXT, keys_in

START_UP = "start-up of training and test"
LOOPS = {"train": "training and validation", "evaluate": "testing"}
PREPARATION = {
    **dict.fromkeys(("download", "split", "encoder"), "reviews and encoders"),
    "pretokenize": "tokenizing",
}
REST = "baselines, tables and figures"
# They begin the names of what comes afterwards, or is no part of the study.
LATER = ("costs", "latex", "summary", "tables_html", "estimate")
PARTS = (*dict.fromkeys(PREPARATION.values()), START_UP, *LOOPS.values(), REST)


def cost(table: Path, logs: Path, out: Path) -> None:
    """Write the table costs: a row per part of the work, with jobs, seconds and share of all.

    Start-up is what a training or a test does outside its loops: importing libraries, loading
    tokens and model, writing results. A log without its last line is that of a job that has not
    ended, and is left out.

    Args:
        table: the table runs.
        logs: folder of the logs.
        out: folder of the table.
    """
    spent = pd.DataFrame(
        [each for path in logs_of(read_table(table), logs) for each in spent_in(path)],
        columns=["part", "log", "seconds"],
    )
    costs = spent.groupby("part").agg(jobs=("log", "nunique"), seconds=("seconds", "sum"))
    costs = costs.reindex(PARTS).dropna().astype({"jobs": int})
    costs["share"] = costs["seconds"] / costs["seconds"].sum()
    write_table(out, "costs", costs.reset_index())
    log.info("%.0f seconds in %d jobs", costs["seconds"].sum(), spent["log"].nunique())


def logs_of(runs: pd.DataFrame, logs: Path) -> list[Path]:
    """The logs of the runs, and of what they and their analysis are made from."""
    folders = [
        logs.joinpath(*(f"{key}={value}" for key, value in run.items()))
        for run in runs[[*KEYS]].to_dict("records")
    ]
    own = [folder / f"{name}.log" for folder in folders for name in LOOPS]
    models = set(runs["model"])
    texts = {FULL_TEXT, *(SEEN_TEXT + model for model in models)}
    sizes, seeds = (set(runs[name].map(str)) for name in ("settings.examples", "seed"))
    others = []
    for path in sorted(logs.rglob("*.log")):
        keys = keys_in(path.relative_to(logs))
        allowed = {"dataset": set(runs["dataset"]), "model": models, "text": texts}
        allowed |= {"examples": sizes, "seed": seeds}
        of_the_study = all(keys.get(key) in {None, *names} for key, names in allowed.items())
        is_run = "seed" in keys and "text" not in keys
        if not is_run and of_the_study and not path.stem.startswith(LATER):
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
