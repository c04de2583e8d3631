"""The finished runs of a study, as the analyses read them."""

import math
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from lib.files.manifests import reading
from lib.files.whole import read_json
from lib.study.runs import CONDITION, KEYS, PREFIX, Condition, Run, is_baseline, run_of
from lib.study.schema import word

Content = TypeVar("Content")
ALL = "all"  # of the training reviews, as the setting `examples` names them
SETTING = "settings."  # begins the columns of training settings
CHOOSE_BY = f"{SETTING}choose_by"
BETTER = ["score", "valid_loss"]  # a higher one, then a lower one
NUMBERS = {"batch": "Int64", "seed": "Int64"}  # missing for baselines


def read_trained(run: Path) -> dict[str, Any]:
    """What the training of a run tells."""
    return with_nan(read_json(run / "train.json", "best_epoch", "learned"))


def read_tested(folder: Path) -> dict[str, Any]:
    """What the test of a run or a baseline tells."""
    return with_nan(read_json(folder / "test.json", "accuracy"))


def read_baseline(folder: Path) -> dict[str, Any]:
    """What a baseline tells, which always learned: unlike a training, it does not fail."""
    return read_tested(folder) | {"learned": True}


def with_nan(measured: dict[str, Any]) -> dict[str, Any]:
    """What was measured, with NaN for what was not finite."""
    return {key: math.nan if value is None else value for key, value in measured.items()}


def read_all(folders: Iterable[Path], read: Callable[[Path], Content]) -> dict[Run, Content]:
    """What a function reads from the folders of runs and baselines, by their keys."""
    return {run_of(folder): read(folder) for folder in folders}


def runs_table(measured: dict[Run, dict[str, Any]]) -> pd.DataFrame:
    """A row per run: its keys, whether it learned or diverged, all that was measured, its settings.

    A setting that is a word in some runs is text in all, as in `settings.micro_batch`.
    """
    table = pd.DataFrame(measured.values())
    columns = table.select_dtypes(["number", "bool"]).columns.difference(KEYS, sort=False)
    settings = pd.DataFrame(one.get("settings", {}) for one in measured.values())
    mixed = [name for name in settings if settings[name].dtype == object]
    settings[mixed] = settings[mixed].map(word)
    return key_columns(measured).join([table[columns], settings.add_prefix(SETTING)])


def with_scores(runs: pd.DataFrame, choose_by: pd.Series | str) -> pd.DataFrame:
    """The table runs with the `value` in validation, and a `score` that is higher for a better one.

    A loss that is not finite is the worst.

    Args:
        runs: rows of the table runs.
        choose_by: the measure of each, or of all, as in `training.choose_by`.
    """
    measures = pd.Series(choose_by, runs.index, object)
    pairs = zip(measures, runs.to_dict("records"), strict=True)
    values = [row[f"valid_{measure}"] for measure, row in pairs]
    value = pd.Series(values, runs.index, float).fillna(math.inf)
    return runs.assign(value=value, score=value.mask(measures == "loss", -value))


def settings_of_variants(runs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The training settings of each variant, from the table runs."""
    columns = [name for name in runs.columns if name.startswith(SETTING)]
    first = runs.drop_duplicates("variant").set_index("variant")[columns]
    return first.rename(columns=lambda name: name.removeprefix(SETTING)).to_dict("index")


def has_samples(runs: pd.DataFrame) -> bool:
    """Whether some runs of the table runs learn from a part of the training reviews."""
    return bool(runs[f"{SETTING}examples"].ne(ALL).any())


def has_cuts(runs: pd.DataFrame) -> bool:
    """Whether the runs of the table runs see different parts of the texts."""
    return len(runs[[SETTING + "max_length", SETTING + "truncation"]].drop_duplicates()) > 1


def updates_of(runs: pd.DataFrame) -> dict[Condition, int]:
    """How many updates each condition is to have, from the table runs.

    Runs that diverge, or that patience ends, have fewer.
    """
    first = runs.drop_duplicates(CONDITION)
    of_epochs = first[f"{SETTING}epochs"] * -(-first["examples"] // first["batch"])
    given = pd.to_numeric(first[f"{SETTING}updates"], errors="coerce")
    counts = zip(first[CONDITION].itertuples(index=False), given.fillna(of_epochs), strict=True)
    return {Condition(*keys): int(count) for keys, count in counts}


def key_columns(keys: Iterable[Run]) -> pd.DataFrame:
    """The keys of runs as columns of their types, a row per run."""
    return pd.DataFrame(list(keys), columns=[*KEYS]).astype(NUMBERS)


def read_baselines(folders: Iterable[Path]) -> pd.DataFrame:
    """A row per baseline: its keys and what was measured of it."""
    found = read_all(folders, read_baseline)
    others = pd.DataFrame(found.values()).drop(columns=[*KEYS], errors="ignore")
    return key_columns(found).join(others)


def are_baselines(table: pd.DataFrame) -> pd.Series:
    """Which rows of a table are baselines."""
    return table["model"].str.startswith(PREFIX)


def at_chosen_rates(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that have the chosen learning rate, their settings as variants."""
    return table[table["chosen"]].assign(variant=table["setting"])


def read_texts(reviews: Path) -> pd.Series:
    """The texts of a split, by id."""
    with reading(reviews):
        return pd.read_parquet(reviews, partitioning=None).set_index("id")["text"]


def stack(
    tables: dict[Run, pd.DataFrame], measured: dict[Run, dict[str, Any]], chosen: Collection[Run]
) -> pd.DataFrame:
    """The tables of runs and baselines below one another, after the keys of their runs.

    The column `representative` marks baselines and the runs that stand for their models, the
    column `learned` those that learned.
    """
    marked = key_columns(tables).assign(
        representative=[is_baseline(key) or key in chosen for key in tables],
        learned=[bool(measured[key]["learned"]) for key in tables],
    )
    rows = marked.index.repeat([len(table) for table in tables.values()])
    below = pd.concat(tables.values(), ignore_index=True)
    return marked.loc[rows].reset_index(drop=True).join(below)
