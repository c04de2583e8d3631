"""The run that stands for each model where one has to, chosen by validation alone."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from lib.analysis.results import learned
from lib.baselines import run_of
from lib.runs import KEYS, Run
from lib.tables import read_table


def representatives(runs: pd.DataFrame) -> pd.DataFrame:
    """One run for each model of which a run learned.

    It is the condition and seed, among those in which all of these models learned, with the highest
    validation accuracy in the mean over the models; where there is none, each model's best run.
    Tuned settings are conditions at the learning rate that is chosen for each model.

    Args:
        runs: rows of the table runs.

    Returns:
        Some of these rows, in the order of the models.
    """
    runs = runs[learned(runs["chance_p"]) & runs["chosen"]]
    shared = ["pooling", "batch", "setting", "seed"]
    groups = runs.groupby(shared, sort=False)["valid_accuracy"]
    complete = groups.mean()[groups.count() == runs["model"].nunique()]
    if len(complete):
        best = pd.DataFrame([complete.idxmax()], columns=shared)
        chosen = runs.merge(best, on=shared)
    else:
        chosen = runs.loc[runs.groupby("model", sort=False)["valid_accuracy"].idxmax()]
    return chosen.reset_index(drop=True)


def find_learned(table: Path, folders: Iterable[Path]) -> dict[Run, Path]:
    """The keys and the folders of the runs that learned.

    Args:
        table: the table runs.
        folders: of all its runs.
    """
    runs = read_table(table)
    return find(runs[learned(runs["chance_p"])], folders)


def find_representatives(table: Path, folders: Iterable[Path]) -> dict[Run, Path]:
    """The keys and the folder of the run that stands for each model.

    Args:
        table: the table runs.
        folders: of all its runs.
    """
    return find(representatives(read_table(table)), folders)


def find(rows: pd.DataFrame, folders: Iterable[Path]) -> dict[Run, Path]:
    """The keys and the folders of some rows of the table runs."""
    known = {run_of(folder): folder for folder in folders}
    keys = [Run(*(row[key] for key in KEYS)) for row in rows.to_dict("records")]
    return {key: known[key] for key in keys}
