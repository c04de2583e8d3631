"""Where the seconds of a study went, as the logs of its jobs tell."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from lib.analysis.results import SETTING
from lib.command.timing import read_took
from lib.study.runs import FULL_TEXT, KEYS, SEEN_TEXT, keys_in

START_UP = "start-up of training and test"
LOOPS = {"train": "training and validation", "evaluate": "testing"}
OTHERS = {
    **dict.fromkeys(("download", "split", "encoder"), "data and encoders"),
    "pretokenize": "tokenizing",
    "vectors": "vectors of encoders that are not trained",
    "baseline": "baselines",
}
CUT_AND_SAMPLE = ("max_length", "truncation", "examples")  # settings in paths of logs
BEFORE = tuple(dict.fromkeys(OTHERS.values()))[:-1]
PARTS = (*BEFORE, START_UP, *LOOPS.values(), OTHERS["baseline"])


def costs(runs: pd.DataFrame, logs: Path) -> pd.DataFrame:
    """The table costs: a row per part of the work, with jobs, seconds and share of all.

    Start-up is what a training or a test does outside its loops: importing libraries, loading
    tokens and model, writing results. A log without its last line is that of a job that has not
    ended, and is left out.

    Args:
        runs: the table runs.
        logs: folder of the logs.
    """
    spent = pd.DataFrame(
        [each for path in logs_of(runs, logs) for each in spent_in(path)],
        columns=["part", "log", "seconds"],
    )
    table = spent.groupby("part").agg(jobs=("log", "nunique"), seconds=("seconds", "sum"))
    table = table.reindex(PARTS).dropna().astype({"jobs": int})
    return table.assign(share=table["seconds"] / table["seconds"].sum()).reset_index()


def logs_of(runs: pd.DataFrame, logs: Path) -> list[Path]:
    """The logs of the runs, of what they are made from, and of the baselines.

    Tests are those of the runs that count as tested.
    """
    folders = [
        logs.joinpath(*(f"{key}={value}" for key, value in run.items()))
        for run in runs[[*KEYS]].to_dict("records")
    ]
    own = [
        folder / f"{name}.log"
        for folder, tested in zip(folders, runs["tested"], strict=True)
        for name in (LOOPS if tested else ["train"])
    ]
    columns = ["dataset", "model", "pooling", "seed", *(SETTING + key for key in CUT_AND_SAMPLE)]
    allowed = {name.removeprefix(SETTING): set(runs[name].map(str)) for name in columns}
    allowed["text"] = {FULL_TEXT, *(SEEN_TEXT + model for model in allowed["model"])}
    found = [path for path in sorted(logs.rglob("*.log")) if path.stem in OTHERS]
    keys = [keys_in(path.relative_to(logs)) for path in found]
    return own + [
        path
        for path, each in zip(found, keys, strict=True)
        if all(each.get(key) in {None, *names} for key, names in allowed.items())
    ]


def spent_in(path: Path) -> Iterator[tuple[str, Path, float]]:
    """The parts of the work of one job, with its log and seconds; none if it has not ended."""
    took = read_took(path)
    if took is None:
        return
    total, parts = took
    if path.stem in OTHERS:
        yield OTHERS[path.stem], path, total
        return
    inside = sum(parts.values())
    yield LOOPS[path.stem], path, inside
    yield START_UP, path, total - inside
