"""All statistics of a study, from the predictions of its runs."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lib.analysis.comparisons import compare
from lib.analysis.cuts import compare_cuts
from lib.analysis.data_curve import data_curve
from lib.analysis.errors import list_errors
from lib.analysis.findings import answer
from lib.analysis.lengths import measure_by_length
from lib.analysis.measures import measure
from lib.analysis.published import set_beside
from lib.analysis.results import has_cuts, has_samples, read_texts
from lib.analysis.study import Study, read_study
from lib.command.console import log
from lib.files.tables import write_table
from lib.study.metrics import ACCURACY


def analyse(
    table: Path,
    runs: Sequence[Path],
    baselines: Sequence[Path],
    samples: Sequence[Path],
    reviews: Path,
    tokens: Sequence[Path],
    statistics: bool,
    errors: bool,
    metric: str,
    margin: float,
    noun: str,
    published: Path | None,
    out: Path,
) -> None:
    """Write the tables of the parts that are asked for.

    Args:
        table: the table runs, which tells settings, chosen rates and who learned.
        runs: folders of the runs.
        baselines: folders of the baselines.
        samples: folders of the baselines on samples of the training reviews.
        reviews: the test split.
        tokens: the tokenized test splits, in folders that name the model.
        statistics: whether to measure, compare and answer.
        errors: whether to list the errors, and to measure accuracy by length.
        metric: of the study.
        margin: percentage points up to which a difference counts as none in practice.
        noun: what the dataset calls its texts.
        published: CSV of published figures to set beside the measured ones.
        out: folder of the tables.
    """
    study = read_study(table, runs, baselines, reviews, metric)
    tables: dict[str, pd.DataFrame] = {}
    if statistics:
        tables |= measure(study)
        conditions = tables["conditions"]
        tables |= {"comparisons": compare(study)} | answer(study, conditions, margin / 100, noun)
        if has_samples(study.runs):
            tables["data_curve"] = data_curve(study, conditions, samples)
        if has_cuts(study.runs):
            tables["cuts"] = compare_cuts(study, conditions)
        if published:
            tables["published"] = set_beside(published, study, in_accuracy(study, conditions))
    if errors:
        texts = read_texts(reviews)
        tables |= list_errors(study, texts)
        tables["lengths"] = measure_by_length(study, texts, tokens)
    for name, rows in tables.items():
        write_table(out, name, rows)
    log.info("%d tables of %d runs and baselines", len(tables), len(study.predictions))


def in_accuracy(study: Study, conditions: pd.DataFrame) -> pd.DataFrame:
    """The table conditions in accuracy, which is what studies publish."""
    if study.metric == ACCURACY:
        return conditions
    return measure(study._replace(metric=ACCURACY))["conditions"]
