"""Whether two folders of results are the same but for what a clock or a machine's load decides."""

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

MEASURED = ("seconds", "per_second", "utilisation", "peak_memory", "durations")
PARTS = ("datasets", "encoders", "tokens", "runs", "baselines", "tables")
WITH_TIMES = ("costs.csv", "costs.parquet", "results.tex")
WITH_TIMES += tuple(
    f"{name}.{kind}" for name in ("serving", "latency") for kind in ("csv", "parquet")
)
LEFT_OVER = (".state", ".lock", ".tmp")


def differing(one: Path, other: Path) -> list[str]:
    """The files that differ, or stand in one of two folders results/ alone."""
    names = {str(path.relative_to(root)) for root in (one, other) for path in compared(root)}
    return sorted(name for name in names if content(one / name) != content(other / name))


def left_over(results: Path) -> list[str]:
    """What a study leaves behind only while it runs."""
    return sorted(str(path) for path in results.rglob("*") if path.name.endswith(LEFT_OVER))


def compared(results: Path) -> Iterator[Path]:
    for part in PARTS:
        for path in results.joinpath(part).rglob("*"):
            if path.is_file() and path.name[0] != "." and path.name not in WITH_TIMES:
                yield path


def content(path: Path) -> object:
    """What a file says, without what was measured by a clock."""
    if not path.is_file():
        return None
    if path.suffix == ".json":
        told = json.loads(path.read_text())
        if isinstance(told, list):
            return told
        return {key: x for key, x in told.items() if not measured(key)}
    if path.suffix == ".csv" or ("tables" in path.parts and path.suffix == ".parquet"):
        table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        if "question" in table:  # of findings, some of which tell of seconds
            table = table[~table["question"].fillna("").str.contains("seconds")]
        return table.drop(columns=list(filter(measured, table.columns))).to_csv(index=False)
    return path.read_bytes()


def measured(name: str) -> bool:
    return any(word in name.lower() for word in MEASURED)
