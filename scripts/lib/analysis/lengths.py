"""Accuracy by the length of the test reviews: in fifths by words, and truncated or whole.

Words are those of `data.words`, in any script, the same for all models; a review is truncated where
it has more tokens than the encoder was given of it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.analysis.groups import Groups, part
from lib.analysis.results import SETTING, stack
from lib.analysis.statistics import proportion
from lib.analysis.study import Study
from lib.data.tokens import read_lengths
from lib.data.words import words
from lib.study.runs import keys_in

FIFTHS = 5


def measure_by_length(study: Study, texts: pd.Series, tokens: Sequence[Path]) -> pd.DataFrame:
    """The table lengths: a row per run and group of reviews.

    Args:
        study: whose runs and baselines are measured.
        texts: of the test reviews, by id.
        tokens: the tokenized test splits, in folders that name the model.
    """
    fifths = fifths_of_words(texts)
    uncut = {keys_in(path)["model"]: read_lengths(path) for path in tokens}
    longest = {run: study.measured[run][f"{SETTING}max_length"] for run in study.encoders()}
    cut = {run: truncation(*uncut[run.model], length) for run, length in longest.items()}
    tables = {
        key: accuracies(found, {"words": fifths, "truncation": cut.get(key)}, study.groups)
        for key, found in study.predictions.items()
    }
    return stack(tables, study.measured, study.representatives())


def fifths_of_words(texts: pd.Series) -> pd.Series:
    """By review id, the fifth of the reviews to which it belongs, such as `52 to 130`."""
    counts = texts.map(words).str.len()
    bins = pd.qcut(counts, FIFTHS, labels=False, duplicates="drop").fillna(0)  # one length
    names = counts.groupby(bins).agg(lambda group: f"{group.min():,} to {group.max():,}")
    ordered = pd.CategoricalDtype(names.tolist(), ordered=True)
    return bins.map(names).astype(ordered)


def truncation(ids: np.ndarray, lengths: np.ndarray, longest: int) -> pd.Series:
    """By review id, whether an encoder sees it `whole` or `truncated`."""
    names = np.where(lengths > longest, "truncated", "whole")
    ordered = pd.CategoricalDtype(["whole", "truncated"], ordered=True)
    return pd.Series(names, pd.Index(ids, name="id")).astype(ordered)


def accuracies(
    predictions: pd.DataFrame, groupings: dict[str, pd.Series | None], clusters: Groups
) -> pd.DataFrame:
    """Accuracy with Wilson interval in each group of reviews, for one run."""
    right = (predictions["label"] == predictions["prediction"]).to_numpy()
    places = pd.Series(range(len(right)), predictions.index)
    rows = []
    for by, groups in groupings.items():
        if groups is None:
            continue
        for group, found in places.groupby(groups, observed=True):
            accuracy, low, high = proportion(right[found], part(clusters, found))
            row = {"by": by, "group": group, "n": len(found)}
            rows.append(row | {"accuracy": accuracy, "low": low, "high": high})
    return pd.DataFrame(rows)
