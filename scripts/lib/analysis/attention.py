"""The attention of each model in one test review."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from lib.command.console import UserError
from lib.data.words import words
from lib.study.runs import Run
from lib.training.insight import Attention, attention

REVIEW = ["model", "id", "label", "prediction", "confidence"]
PAIR = ["query", "key", "query_token", "key_token", "weight"]


def show_attention(
    folders: Mapping[Run, Path],
    predictions: Mapping[Run, pd.DataFrame],
    texts: pd.Series,
    review: int | None,
) -> pd.DataFrame:
    """The table attention: a row per model and pair of tokens.

    Args:
        folders: of the run that stands for each model.
        predictions: of these runs.
        texts: of the test reviews, by id.
        review: id of the review; without it the shortest one that the models disagree on.

    Raises:
        UserError: the review that was asked for is not in the test split.
    """
    if not folders:
        return pd.DataFrame(columns=[*REVIEW, *PAIR])
    shown = choose(texts, predictions, review)
    parts = []
    for key, folder in folders.items():
        found = predictions[key].loc[[shown]].reset_index().assign(model=key.model)
        pairs = pairs_of_tokens(attention(folder / "checkpoint", texts[shown]))
        parts.append(found[REVIEW].merge(pairs, how="cross"))
    return pd.concat(parts)


def choose(texts: pd.Series, predictions: Mapping[Run, pd.DataFrame], review: int | None) -> int:
    """The id of the review to show.

    Raises:
        UserError: the review that was asked for is not in the test split.
    """
    if review is not None:
        if review not in texts.index:
            raise UserError(
                f"analysis.review is {review}, which is not the id of a test review; "
                "predictions.parquet holds the ids"
            )
        return review
    found = pd.concat([table["prediction"] for table in predictions.values()], axis=1)
    label = next(iter(predictions.values()))["label"]
    disagreed = found.nunique(axis=1) > 1
    wrong = found.ne(label, axis=0).any(axis=1)
    legible = texts.reindex(label.index).map(words).astype(bool)
    candidates = (disagreed & legible, wrong & legible, legible, label.notna())
    chosen = next(ids for ids in candidates if ids.any())
    lengths = texts.loc[chosen.index[chosen]].map(words).str.len()
    return int(lengths.idxmin())


def pairs_of_tokens(found: Attention) -> pd.DataFrame:
    """One row per pair of tokens: `query`, `key` (positions), their texts, `weight`."""
    count = len(found.tokens)
    return pd.DataFrame(
        {
            "query": [row for row in range(count) for _ in range(count)],
            "key": list(range(count)) * count,
            "query_token": [token for token in found.tokens for _ in range(count)],
            "key_token": found.tokens * count,
            "weight": found.weights.flatten(),
        },
        columns=PAIR,
    )
