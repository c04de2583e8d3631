"""The attention of each model in one test review."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from lib.analysis.representatives import find_representatives
from lib.analysis.results import read_texts
from lib.command.console import UserError
from lib.data.words import words
from lib.files.predictions import read_predictions
from lib.files.tables import write_table
from lib.study.runs import Run
from lib.training.inference import Attention, attention

REVIEW = ["model", "id", "label", "prediction", "confidence"]
PAIR = ["query", "key", "query_token", "key_token", "weight"]


def show_attention(
    table: Path, runs: Sequence[Path], reviews: Path, threads: int, review: int | None, out: Path
) -> None:
    """Write the table attention: a row per model and pair of tokens.

    Args:
        table: the table runs.
        runs: folders of the runs.
        reviews: the test split.
        threads: CPU threads of the encoders.
        review: id of the review; without it the shortest one that the models disagree on.
        out: folder of the tables.
    """
    torch.set_num_threads(threads)
    texts = read_texts(reviews)
    folders = find_representatives(table, runs)
    predictions = {key: read_predictions(folder) for key, folder in folders.items()}
    parts = [pd.DataFrame(columns=[*REVIEW, *PAIR])]
    if predictions:
        shown = choose(texts, predictions, review)
        for key, folder in folders.items():
            found = predictions[key].loc[[shown]].reset_index().assign(model=key.model)
            pairs = pairs_of_tokens(attention(folder / "checkpoint", texts[shown]))
            parts.append(found[REVIEW].merge(pairs, how="cross"))
    write_table(out, "attention", pd.concat(parts[1:] or parts))


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
    lengths = texts.loc[chosen.index[chosen]].str.split().str.len()
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
