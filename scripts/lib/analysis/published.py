"""Published figures beside the measured runs of the same condition.

A published row and a condition are the same where model, pooling, effective batch and every
training setting agree for which the table of published figures has a column. What a source does
not state agrees with any, and the row is marked as not stated in full.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from lib.analysis.results import ALL, SETTING, read_trained
from lib.analysis.study import Study
from lib.command.console import UserError, one_line
from lib.study.runs import CONDITION, keys_in
from lib.study.schema import poolings, word

NAMES = ("source", "model", "pooling")
NUMBERS = ("effective_batch", "test_accuracy")
OPTIONAL = ("epochs", "test_loss", "train_seconds", "note")
COUNTED = ("published_batch", "published_epochs", "batch", "seeds", "learned")  # may be missing
MEASURED = ("seeds", "learned", "accuracy", "low", "high", "interval", "loss", "train_seconds")


def set_beside(published: Path, study: Study, conditions: pd.DataFrame) -> pd.DataFrame:
    """The table published: a row per published row and measured condition.

    Args:
        published: CSV of published figures.
        study: whose runs tell how they were trained, and where their encoders come from.
        conditions: the table conditions, in accuracy.

    Raises:
        UserError: the published figures can't be used.
    """
    measured = with_settings(conditions, study.runs)
    folders = {keys_in(folder)["model"]: folder for folder in study.folders}
    names = {model: spellings(folder) for model, folder in folders.items()}
    rows = []
    for number, row in enumerate(read_published(published, measured).to_dict("records")):
        own = [model for model, known in names.items() if row["model"].lower() in known]
        same = measured["model"].isin(own)
        for key in (*CONDITION[1:], *measured.filter(like=SETTING)):
            if pd.notna(row.get(key)) and row[key] != "":
                same &= measured[key] == row[key]
        found = measured[same].to_dict("records") or [{}]
        rows += [known(number, row) | beside(row["test_accuracy"], each) for each in found]
    table = pd.DataFrame(rows, columns=list(known(0, {}) | beside(0, {})))
    return table.assign(**table[[*COUNTED]].convert_dtypes())


def with_settings(conditions: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The conditions of encoders that learned from all reviews, with the settings in use.

    Of the learning rate that is the scaled one, of epochs none where `updates` takes their place.
    """
    settings = [name for name in runs if name.startswith(SETTING)]
    epochs = runs[f"{SETTING}epochs"].where(runs[f"{SETTING}updates"] == "auto")
    rates = {f"{SETTING}learning_rate": runs["learning_rate"], f"{SETTING}epochs": epochs}
    used = runs[runs[f"{SETTING}examples"] == ALL].assign(**rates)
    words = [name for name in settings if used[name].dtype.kind not in "if"]
    used[words] = used[words].map(word)
    return conditions.merge(used.drop_duplicates(CONDITION)[[*CONDITION, *settings]], on=CONDITION)


def spellings(run: Path) -> set[str]:
    """How sources may name a run's model: as the study does, by its id or the last part of it."""
    model = keys_in(run)["model"].lower()
    name = str(read_trained(run)["encoder"].get("id", model)).lower()
    return {model, name, name.rpartition("/")[2]}


def read_published(path: Path, measured: pd.DataFrame) -> pd.DataFrame:
    """The published figures, checked, with keys and settings named as those measured.

    Raises:
        UserError: a column is missing, or holds what it may not.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except (ValueError, UnicodeError) as error:
        raise UserError(f"'{path}' can't be read as CSV: {one_line(error)}") from error
    missing = [name for name in (*NAMES, *NUMBERS) if name not in table.columns]
    if missing:
        raise UserError(f"'{path}' lacks the columns {', '.join(missing)}")
    table = table.map(str.strip)
    settings = {name for name in table if f"{SETTING}{name}" in measured}
    counted = [name for name in settings if measured[f"{SETTING}{name}"].dtype.kind in "if"]
    for name in (*NUMBERS, *counted):
        numbers = pd.to_numeric(table[name].replace("", None), errors="coerce")
        if (numbers.isna() & (table[name] != "")).any():
            raise UserError(f"'{path}': column {name} holds something that is not a number")
        table[name] = numbers
    if not table["test_accuracy"].between(0, 1).all():
        raise UserError(f"'{path}': column test_accuracy holds something that is not from 0 to 1")
    own = {f"{SETTING}{name}": table[name] for name in settings}
    pooling = table["pooling"].str.lower()
    for name in set(pooling) - set(poolings()):
        if meant := [known for known in poolings() if name in known.split("-")]:
            raise UserError(f"'{path}': column pooling holds '{name}'; write {' or '.join(meant)}")
    return table.assign(
        published_pooling=table["pooling"], pooling=pooling, batch=table["effective_batch"], **own
    )


def known(number: int, row: dict[str, Any]) -> dict[str, Any]:
    """What is known of a published row, of which `row` is the number."""
    stated = bool(row.get("pooling")) and pd.notna(row.get("batch"))
    return {
        "row": number,
        "source": row.get("source"),
        "published_model": row.get("model"),
        "published_pooling": row.get("published_pooling"),
        "published_batch": row.get("batch"),
        "published_accuracy": row.get("test_accuracy"),
        **{f"published_{name}": row.get(name) for name in OPTIONAL},
        "stated": stated,
    }


def beside(accuracy: float, condition: dict[str, Any]) -> dict[str, Any]:
    """What was measured in a condition, and where the published accuracy lies to it."""
    measured = {name: condition.get(name) for name in (*CONDITION, *MEASURED)}
    if not condition:
        return measured | {"difference": None, "inside": None}
    inside = condition["low"] <= accuracy <= condition["high"]
    return measured | {
        "difference": condition["accuracy"] - accuracy,
        "inside": None if pd.isna(condition["low"]) else inside,
    }
