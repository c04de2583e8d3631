"""A study as its analyses share it: all finished runs and baselines, read once."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lib.analysis.representatives import find, representatives
from lib.analysis.results import read_all, read_measured
from lib.files.predictions import read_predictions
from lib.files.tables import read_table
from lib.study.runs import KEYS, Run, is_baseline


class Study(NamedTuple):
    """The finished runs of a study and its baselines.

    Attributes:
        runs: the table runs.
        folders: those of all runs.
        measured: what was measured of each run and baseline, in the order of the study.
        predictions: a row per test review and run or baseline, by `id`.
    """

    runs: pd.DataFrame
    folders: Sequence[Path]
    measured: dict[Run, dict[str, Any]]
    predictions: dict[Run, pd.DataFrame]

    def learned(self) -> list[Run]:
        """The runs that learned."""
        return list(find(self.runs[self.runs["learned"]], self.folders))

    def representatives(self) -> list[Run]:
        """The run that stands for each model of which one learned."""
        return list(find(representatives(self.runs), self.folders))

    def encoders(self) -> list[Run]:
        """All runs, without the baselines."""
        return [run for run in self.predictions if not is_baseline(run)]

    def that_count(self) -> dict[Run, pd.DataFrame]:
        """The predictions of the runs that learned, and of the baselines."""
        baselines = filter(is_baseline, self.predictions)
        return {run: self.predictions[run] for run in (*self.learned(), *baselines)}


def read_study(table: Path, runs: Sequence[Path], baselines: Iterable[Path]) -> Study:
    """Read what the analyses share.

    Args:
        table: the table runs.
        runs: folders of all its runs.
        baselines: folders of the baselines.

    Raises:
        UserError: a file is missing or damaged.
    """
    trained = read_table(table)
    rows = {Run(*(row[key] for key in KEYS)): row for row in trained.to_dict("records")}
    baselines = list(baselines)
    return Study(
        runs=trained,
        folders=runs,
        measured=rows | read_all(baselines, read_measured),
        predictions=read_all([*runs, *baselines], read_predictions),
    )
