"""The finished runs of a study, as the analyses read them."""

import math
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from lib.cli import read_json, replacing
from lib.runs import BASELINE, KEYS, Run, is_baseline, run_of

Content = TypeVar("Content")
SIGNIFICANCE = 0.05
SETTING = ["model", "pooling", "batch", "variant"]
TEXTS = (
    *("dataset", "model", "pooling", "variant", "first", "second", "right", "wrong", "group"),
    *("text", "label_name", "predictions", "query_token", "key_token", "question", "answer"),
    *("source", "published_model", "published_pooling", "published_note"),
)
NUMBERS = ("batch", "seed")


def read_table(path: Path) -> pd.DataFrame:
    """A table of results; what a baseline lacks is an empty text or a missing number.

    Those in the forms of published tables are texts as a whole, for the digits that they show.
    """
    if path.stem.startswith("form_"):
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    table = pd.read_csv(
        path,
        dtype=dict.fromkeys(TEXTS, str) | dict.fromkeys(NUMBERS, "Int64"),
        keep_default_na=False,
        na_values=[""],
    )
    return table.fillna({name: "" for name in TEXTS if name in table})


def write_table(path: Path, rows: "pd.DataFrame | Iterable[dict[str, Any]]") -> None:
    """Write a table as CSV, whole or not at all."""
    with replacing(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


def read_measured(folder: Path) -> dict[str, Any]:
    """What training and test of a run or a baseline measured; NaN where it was not finite."""
    files = [folder / name for name in ("train.json", "test.json")]
    measured = {key: x for path in files if path.exists() for key, x in read_json(path).items()}
    return {key: math.nan if value is None else value for key, value in measured.items()}


def read_all(folders: Iterable[Path], read: Callable[[Path], Content]) -> dict[Run, Content]:
    """What a function reads from the folders of runs and baselines, by their keys."""
    return {run_of(folder): read(folder) for folder in folders}


def read_baselines(folders: Iterable[Path]) -> pd.DataFrame:
    """A row per baseline: its keys and what was measured of it."""
    rows = [key._asdict() | found for key, found in read_all(folders, read_measured).items()]
    return pd.DataFrame(rows, columns=None if rows else [*KEYS]).replace(
        {"batch": "", "seed": ""}, pd.NA
    )


def are_baselines(table: pd.DataFrame) -> pd.Series:
    """Which rows of a table are baselines."""
    return table["model"].str.startswith(BASELINE)


def read_texts(reviews: Path) -> pd.Series:
    """The texts of a split, by id."""
    return pd.read_parquet(reviews, partitioning=None).set_index("id")["text"]


def trained(association_p: Any) -> Any:
    """Whether a run trained: whether its predictions are shown to depend on the labels.

    Args:
        association_p: a number of test.json, or a column of them.
    """
    return association_p <= SIGNIFICANCE


def representatives(runs: pd.DataFrame) -> pd.DataFrame:
    """One run for each model, chosen by validation accuracy alone.

    It is the setting and seed, among those in which every model was trained, with the highest
    validation accuracy in the mean over the models; where there is none, each model's best run.

    Args:
        runs: rows of runs.csv.

    Returns:
        Some of these rows, in the order of the models.
    """
    shared = ["pooling", "batch", "variant", "seed"]
    groups = runs.groupby(shared, sort=False)["valid_accuracy"]
    complete = groups.mean()[groups.count() == runs["model"].nunique()]
    if len(complete):
        best = pd.DataFrame([complete.idxmax()], columns=shared)
        chosen = runs.merge(best, on=shared)
    else:
        chosen = runs.loc[runs.groupby("model", sort=False)["valid_accuracy"].idxmax()]
    return chosen.reset_index(drop=True)


def keys_of(row: Any) -> Run:
    """The keys of a row of runs.csv."""
    return Run(*(int(row[key]) if key in NUMBERS else row[key] for key in KEYS))


def find_representatives(table: Path, folders: Iterable[Path]) -> dict[Run, Path]:
    """The keys and the folder of the run that stands for each model.

    Args:
        table: runs.csv.
        folders: of all its runs.
    """
    known = {run_of(folder): folder for folder in folders}
    rows = representatives(read_table(table)).to_dict("records")
    return {key: known[key] for key in map(keys_of, rows)}


def stack(tables: dict[Run, pd.DataFrame], chosen: Collection[Run]) -> pd.DataFrame:
    """The tables of runs and baselines below one another, after the keys of their runs.

    The column `representative` marks baselines and the runs that stand for their models.
    """
    parts = []
    for key, table in tables.items():
        marked = key._asdict() | {"representative": is_baseline(key) or key in chosen}
        parts.append(pd.DataFrame([marked]).merge(table, how="cross"))
    return pd.concat(parts, ignore_index=True)
