"""Accuracy by the length of the test reviews: in fifths by words, and truncated or whole.

Words are those between white space, the same for all models; a review is truncated where it has
more tokens than the encoder was given of it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.analysis.representatives import find_representatives
from lib.analysis.results import read_all, read_runs, read_texts, stack
from lib.analysis.statistics import proportion
from lib.data.tokens import read_lengths
from lib.files.predictions import read_predictions
from lib.files.tables import write_table
from lib.study.runs import keys_in

FIFTHS = 5


def measure_by_length(
    table: Path,
    runs: Sequence[Path],
    baselines: Sequence[Path],
    reviews: Path,
    tokens: Sequence[Path],
    out: Path,
) -> None:
    """Write the table lengths: a row per run and group of reviews.

    Args:
        table: the table runs.
        runs: folders of the runs.
        baselines: folders of the baselines.
        reviews: the test split.
        tokens: the tokenized test splits, in folders that name the model.
        out: folder of the tables.
    """
    chosen = find_representatives(table, runs)
    fifths = fifths_of_words(reviews)
    truncated = {keys_in(path)["model"]: truncation(path) for path in tokens}
    tables = {
        key: accuracies(found, {"words": fifths, "truncation": truncated.get(key.model)})
        for key, found in read_all([*runs, *baselines], read_predictions).items()
    }
    write_table(out, "lengths", stack(tables, read_runs(table, baselines), chosen))


def fifths_of_words(reviews: Path) -> pd.Series:
    """By review id, the fifth of the reviews to which it belongs, such as `52 to 130`."""
    words = read_texts(reviews).str.split().str.len()
    bins = pd.qcut(words, FIFTHS, labels=False, duplicates="drop").fillna(0)  # one length
    names = words.groupby(bins).agg(lambda group: f"{group.min():,} to {group.max():,}")
    ordered = pd.CategoricalDtype(names.tolist(), ordered=True)
    return bins.map(names).astype(ordered)


def truncation(tokens: Path) -> pd.Series:
    """By review id, whether the encoder sees it `whole` or `truncated`."""
    ids, lengths, longest = read_lengths(tokens)
    names = np.where(lengths > longest, "truncated", "whole")
    ordered = pd.CategoricalDtype(["whole", "truncated"], ordered=True)
    return pd.Series(names, pd.Index(ids, name="id")).astype(ordered)


def accuracies(predictions: pd.DataFrame, groupings: dict[str, pd.Series | None]) -> pd.DataFrame:
    """Accuracy with Wilson interval in each group of reviews, for one run."""
    right = predictions["label"] == predictions["prediction"]
    rows = []
    for by, groups in groupings.items():
        if groups is None:
            continue
        for group, found in right.groupby(groups, observed=True):
            accuracy, low, high = proportion(int(found.sum()), len(found))
            row = {"by": by, "group": group, "n": len(found)}
            rows.append(row | {"accuracy": accuracy, "low": low, "high": high})
    return pd.DataFrame(rows)
