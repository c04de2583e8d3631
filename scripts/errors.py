"""List the test reviews that the encoders get wrong.

One run stands for each model: the setting with the highest validation accuracy among those in
which all models were trained. It writes confident_errors.csv (every error of each, the most
confident first), shared_errors.csv (reviews that all of them get wrong, candidates for errors of
the labels) and disagreements.csv (reviews that one gets right and another wrong).
"""

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from lib.cli import Parser, run
from lib.flags import add_flags

if TYPE_CHECKING:
    import pandas as pd


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_flags(flags, "--table", "--runs", "--reviews")
    flags.add_argument("--out", required=True, type=Path, help="folder of the tables")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the three tables."""
    from lib.predictions import read_predictions
    from lib.study import find_representatives, read_all, read_texts, write_table

    predictions = read_all(options.runs, read_predictions)
    chosen = {}
    for key in find_representatives(options.table, options.runs):
        found = predictions[key]
        chosen[key.model] = found.assign(wrong=found["label"] != found["prediction"])
    texts = read_texts(options.reviews)
    write_table(options.out / "confident_errors.csv", confident_errors(chosen, texts))
    shared = shared_errors(chosen, list(predictions.values()), texts)
    write_table(options.out / "shared_errors.csv", shared)
    write_table(options.out / "disagreements.csv", disagreements(chosen, texts))


def confident_errors(chosen: "dict[str, pd.DataFrame]", texts: "pd.Series") -> "pd.DataFrame":
    """Every error of each model, the most confident first."""
    import pandas as pd

    errors = [
        found[found["wrong"]]
        .drop(columns="wrong")
        .sort_values("confidence", ascending=False, kind="stable")
        .reset_index()
        .assign(model=model)
        for model, found in chosen.items()
    ]
    table = pd.concat(errors)
    table.insert(0, "model", table.pop("model"))
    return table.assign(text=table["id"].map(texts))


def shared_errors(
    chosen: "dict[str, pd.DataFrame]", all_runs: "list[pd.DataFrame]", texts: "pd.Series"
) -> "pd.DataFrame":
    """Reviews that every model gets wrong: those that most runs get wrong first.

    `confidence` is the mean over the models, `runs_wrong` the share of all runs of the study that
    get it wrong.
    """
    import pandas as pd

    wrong = pd.concat({model: found["wrong"] for model, found in chosen.items()}, axis=1)
    ids = wrong.index[wrong.all(axis=1)]
    first = next(iter(chosen.values())).loc[ids]
    confidence = pd.concat([found.loc[ids, "confidence"] for found in chosen.values()], axis=1)
    errors = [(found["label"] != found["prediction"]).loc[ids] for found in all_runs]
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
    order = ["runs_wrong", "confidence"]
    return table.sort_values(order, ascending=False, kind="stable").reset_index()


def disagreements(chosen: "dict[str, pd.DataFrame]", texts: "pd.Series") -> "pd.DataFrame":
    """Reviews that one model gets right and another wrong, for each pair of models both ways."""
    import pandas as pd

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


if __name__ == "__main__":
    run(main, arguments())
