"""The test reviews that the encoders get wrong, of those runs that learned."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lib.analysis.representatives import find_learned, find_representatives
from lib.analysis.results import read_all, read_texts
from lib.files.predictions import read_predictions
from lib.files.tables import write_table

SHARED = ["runs_wrong", "confidence"]


def list_errors(table: Path, runs: Sequence[Path], reviews: Path, out: Path) -> None:
    """Write the tables confident_errors, shared_errors and disagreements.

    Args:
        table: the table runs.
        runs: folders of the runs.
        reviews: the test split.
        out: folder of the tables.
    """
    found = read_all(find_learned(table, runs).values(), mark_errors)
    chosen = {key.model: found[key] for key in find_representatives(table, runs)}
    texts = read_texts(reviews)
    write_table(out, "confident_errors", confident_errors(chosen, texts))
    write_table(out, "shared_errors", shared_errors(chosen, list(found.values()), texts))
    write_table(out, "disagreements", disagreements(chosen, texts))


def mark_errors(run: Path) -> pd.DataFrame:
    """The predictions of a run, with a column `wrong`."""
    found = read_predictions(run)
    return found.assign(wrong=found["label"] != found["prediction"])


def confident_errors(chosen: dict[str, pd.DataFrame], texts: pd.Series) -> pd.DataFrame:
    """Every error of each model, the most confident first."""
    tables = [
        found[found["wrong"]]
        .sort_values("confidence", ascending=False, kind="stable")
        .reset_index()
        .assign(model=model)
        for model, found in chosen.items()
    ]
    names = ["model", "id", "label", "prediction", "confidence", "loss"]
    table = pd.concat(tables or [pd.DataFrame(columns=names)])[names]
    return table.assign(text=table["id"].map(texts))


def shared_errors(
    chosen: dict[str, pd.DataFrame], learned: list[pd.DataFrame], texts: pd.Series
) -> pd.DataFrame:
    """Reviews that every model gets wrong: those that most runs get wrong first.

    `confidence` is the mean over the models, `runs_wrong` the share of the runs that learned which
    get it wrong.
    """
    if not chosen:
        return pd.DataFrame(columns=["id", "label", "predictions", *SHARED, "text"])
    wrong = pd.concat({model: found["wrong"] for model, found in chosen.items()}, axis=1)
    ids = wrong.index[wrong.all(axis=1)]
    first = next(iter(chosen.values())).loc[ids]
    confidence = pd.concat([found.loc[ids, "confidence"] for found in chosen.values()], axis=1)
    errors = [found.loc[ids, "wrong"] for found in learned]
    answers = zip(*(found.loc[ids, "prediction"] for found in chosen.values()), strict=True)
    table = pd.DataFrame(
        {
            "label": first["label"],
            "predictions": [" ".join(dict.fromkeys(map(str, each))) for each in answers],
            "confidence": confidence.mean(axis=1),
            "runs_wrong": pd.concat(errors, axis=1).mean(axis=1),
            "text": texts.loc[ids],
        },
        index=ids,
    )
    return table.sort_values(SHARED, ascending=False, kind="stable").reset_index()


def disagreements(chosen: dict[str, pd.DataFrame], texts: pd.Series) -> pd.DataFrame:
    """Reviews that one model gets right and another wrong, for each pair of models both ways."""
    names = ["right", "wrong", "id", "label", "prediction", "confidence_right", "confidence_wrong"]
    tables = [pd.DataFrame(columns=[*names, "text"])]
    for right, wrong in itertools.permutations(chosen, 2):
        ids = chosen[right].index[~chosen[right]["wrong"] & chosen[wrong]["wrong"]]
        good, bad = chosen[right].loc[ids], chosen[wrong].loc[ids]
        found = pd.DataFrame(
            {
                "right": right,
                "wrong": wrong,
                "label": bad["label"],
                "prediction": bad["prediction"],
                "confidence_right": good["confidence"],
                "confidence_wrong": bad["confidence"],
                "text": texts.loc[ids],
            }
        )
        margin = found["confidence_right"] + found["confidence_wrong"]
        order = margin.sort_values(ascending=False, kind="stable").index
        tables.append(found.loc[order].reset_index())
    return pd.concat([table for table in tables if len(table)] or tables)[[*names, "text"]]
