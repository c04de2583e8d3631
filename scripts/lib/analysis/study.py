"""A study as its analyses share it: all finished runs and baselines, read once."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow.parquet as pq

from lib.analysis.groups import Groups
from lib.analysis.representatives import find, representatives
from lib.analysis.results import read_all, read_baseline
from lib.command.console import UserError
from lib.files.manifests import reading
from lib.files.predictions import read_predictions
from lib.files.tables import read_table
from lib.study.runs import KEYS, Run, is_baseline


class Study(NamedTuple):
    """The finished runs of a study and its baselines.

    Runs at learning rates that are neither chosen nor compared are not tested: they are in `runs`
    alone, and in what follows from it.

    Attributes:
        runs: the table runs.
        folders: those of all runs.
        measured: what was measured of each run and baseline, in the order of the study.
        predictions: a row per test review and tested run or baseline, by `id`.
        groups: of the test reviews, in the order of the predictions.
        metric: in which all is told that does not name another.
    """

    runs: pd.DataFrame
    folders: Sequence[Path]
    measured: dict[Run, dict[str, Any]]
    predictions: dict[Run, pd.DataFrame]
    groups: Groups
    metric: str

    def learned(self) -> list[Run]:
        """The tested runs that learned."""
        return list(find(self.runs[self.runs["learned"] & self.runs["tested"]], self.folders))

    def representatives(self) -> list[Run]:
        """The run that stands for each model of which one learned."""
        return list(find(representatives(self.runs), self.folders))

    def encoders(self) -> list[Run]:
        """The tested runs, without the baselines."""
        return [run for run in self.predictions if not is_baseline(run)]

    def that_count(self) -> dict[Run, pd.DataFrame]:
        """The predictions of the tested runs that learned, and of the baselines."""
        baselines = filter(is_baseline, self.predictions)
        return {run: self.predictions[run] for run in (*self.learned(), *baselines)}


def read_study(
    table: Path, runs: Sequence[Path], baselines: Sequence[Path], reviews: Path, metric: str
) -> Study:
    """Read what the analyses share.

    Args:
        table: the table runs.
        runs: folders of all its runs.
        baselines: folders of the baselines.
        reviews: the test split.
        metric: of the study.

    Raises:
        UserError: a file is missing or damaged, or the groups are of other reviews.
    """
    trained = read_table(table)
    rows = {Run(*(row[key] for key in KEYS)): row for row in trained.to_dict("records")}
    tested = find(trained[trained["tested"]], runs).values()
    predictions = read_all([*tested, *baselines], read_predictions)
    return Study(
        runs=trained,
        folders=runs,
        measured=rows | read_all(baselines, read_baseline),
        predictions=predictions,
        groups=read_groups(reviews, predictions.values()),
        metric=metric,
    )


def read_groups(reviews: Path, predictions: Iterable[pd.DataFrame]) -> Groups:
    """The groups of the test reviews, in the order of their ids; a review without is one itself.

    None where the split has no column `group`, or every review a group of its own. One group of
    all reviews is None as well: it can't tell how groups differ, and all that is said is about it
    alone.

    Args:
        reviews: the test split.
        predictions: of the runs, which have to be about the same reviews.

    Raises:
        UserError: they are about others, or the split can't be read.
    """
    with reading(reviews):
        if "group" not in pq.read_schema(reviews).names:
            return None
        columns = ["id", "group"]
        table = pd.read_parquet(reviews, columns=columns, partitioning=None).set_index("id")
        names = table["group"].sort_index().astype(object)
    if any(not names.index.equals(found.index) for found in predictions):
        raise UserError(f"'{reviews}' holds other reviews than those that were labelled")
    groups, found = pd.factorize(names.where(names.notna(), names.index))
    return groups if 1 < len(found) < len(groups) else None
