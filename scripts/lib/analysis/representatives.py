"""The run that stands for each model where one has to, chosen by validation alone."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from lib.analysis.results import BETTER, CHOOSE_BY, with_scores
from lib.study.runs import CONDITION, KEYS, Run, run_of


def representatives(runs: pd.DataFrame) -> pd.DataFrame:
    """One run for each model of which a run learned, chosen by validation, and not by luck.

    Its condition is the one with the best validation in the mean over seeds, by the measure by
    which the model's first run chooses an epoch, `training.choose_by` (ties: the lower loss, then
    the one that comes first), of those with as many seeds as any of the model, and with a run that
    learned; tuned settings are at the learning rate that is chosen. Of the runs there that learned,
    it is the one nearest to the median of the condition (ties: the better).

    Args:
        runs: rows of the table runs.

    Returns:
        Some of these rows, in the order of the models.
    """
    found = [best_run(rows) for _, rows in runs[runs["chosen"]].groupby("model", sort=False)]
    return pd.concat([runs.head(0), *found], ignore_index=True)


def best_run(runs: pd.DataFrame) -> pd.DataFrame:
    """The row of the run that stands for a model, of all its runs; none where none learned."""
    runs = with_scores(runs, runs[CHOOSE_BY].iloc[0])
    groups = runs.groupby(CONDITION, sort=False)
    means = groups.agg(
        seeds=("seed", "count"),
        learned=("learned", "any"),
        score=("score", "mean"),
        valid_loss=("valid_loss", "mean"),
    )
    means = means[means["learned"]]
    means = means[means["seeds"] == means["seeds"].max()]
    best = means.sort_values(BETTER, ascending=[False, True], kind="stable").head(1)
    rows = runs.merge(best.reset_index()[CONDITION], on=CONDITION)
    learned = rows[rows["learned"]]
    distance = (learned["value"] - rows["value"].median()).abs().round(9)
    order = learned.sort_values(BETTER, ascending=[False, True], kind="stable").index
    return learned.loc[distance[order].nsmallest(1).index].drop(columns=["value", "score"])


def find(rows: pd.DataFrame, folders: Iterable[Path]) -> dict[Run, Path]:
    """The keys and the folders of some rows of the table runs."""
    known = {run_of(folder): folder for folder in folders}
    keys = [Run(*(row[key] for key in KEYS)) for row in rows.to_dict("records")]
    return {key: known[key] for key in keys}
