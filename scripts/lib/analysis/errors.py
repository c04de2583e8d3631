"""The test reviews that the encoders get wrong, of those runs that learned."""

import itertools

import pandas as pd

from lib.analysis.study import Study

SHARED = ["runs_wrong", "confidence"]


def list_errors(study: Study, texts: pd.Series) -> dict[str, pd.DataFrame]:
    """The tables confident_errors, shared_errors and disagreements.

    Args:
        study: whose runs that learned are looked at.
        texts: of the test reviews, by id.
    """
    found = {key: mark_errors(study.predictions[key]) for key in study.learned()}
    chosen = {key.model: found[key] for key in study.representatives()}
    return {
        "confident_errors": confident_errors(chosen, texts),
        "shared_errors": shared_errors(chosen, list(found.values()), texts),
        "disagreements": disagreements(chosen, texts),
    }


def mark_errors(predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions, with a column `wrong`."""
    return predictions.assign(wrong=predictions["label"] != predictions["prediction"])


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
