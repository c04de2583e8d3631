"""The run that stands for each model where one has to, chosen by validation accuracy alone."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from lib.baselines import run_of
from lib.runs import KEYS, Run
from lib.tables import read_table


def representatives(runs: pd.DataFrame) -> pd.DataFrame:
    """One run for each model.

    It is the condition and seed, among those in which every model was trained, with the highest
    validation accuracy in the mean over the models; where there is none, each model's best run.

    Args:
        runs: rows of the table runs.

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
    """The keys of a row of the table runs."""
    return Run(*(row[key] for key in KEYS))


def find_representatives(table: Path, folders: Iterable[Path]) -> dict[Run, Path]:
    """The keys and the folder of the run that stands for each model.

    Args:
        table: the table runs.
        folders: of all its runs.
    """
    known = {run_of(folder): folder for folder in folders}
    rows = representatives(read_table(table)).to_dict("records")
    return {key: known[key] for key in map(keys_of, rows)}
