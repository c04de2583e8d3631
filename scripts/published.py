"""Set published figures beside the measured runs of the same setting.

A published row and a setting are the same where model, pooling, effective batch and epochs agree.
What a source does not state agrees with any, and the row is marked as not stated in full.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import Parser, UserError, mapping, one_line, positive, run

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("source", "model", "pooling")
NUMBERS = ("effective_batch", "epochs", "test_accuracy")
OPTIONAL = ("test_loss", "train_seconds", "note")
MEASURED = ("seeds", "accuracy", "low", "high", "interval", "loss", "train_seconds")


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--published", required=True, type=Path, help="CSV of published figures")
    flags.add_argument("--settings", required=True, type=Path, help="table of measure.py")
    flags.add_argument(
        "--models",
        required=True,
        nargs="+",
        type=mapping,
        metavar="MODEL=NAME",
        help="how sources name each encoder, such as the id of its repository",
    )
    flags.add_argument(
        "--variants", nargs="*", default=[], help="variants that learn as published studies did"
    )
    flags.add_argument("--epochs", required=True, type=positive, help="epochs of the training")
    flags.add_argument("--out", required=True, type=Path, help="CSV file to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write one row per published row and measured setting."""
    import pandas as pd

    from lib.study import read_table, write_table

    settings = read_table(options.settings)
    settings = settings[settings["variant"].isin(options.variants)]
    names = {model: spellings(model, name) for model, name in options.models}
    published = read_published(options.published)
    rows = []
    for number, row in enumerate(published.to_dict("records")):
        own = [model for model, known in names.items() if row["model"].lower() in known]
        same = settings["model"].isin(own)
        if row["pooling"]:
            same &= settings["pooling"] == row["pooling"].lower()
        if pd.notna(row["effective_batch"]):
            same &= settings["batch"] == row["effective_batch"]
        if pd.notna(row["epochs"]):
            same &= row["epochs"] == options.epochs
        found = settings[same].to_dict("records") or [{}]
        rows += [known(number, row) | beside(row["test_accuracy"], setting) for setting in found]
    write_table(options.out, pd.DataFrame(rows, columns=list(known(0, {}) | beside(0, {}))))


def spellings(model: str, name: str) -> set[str]:
    """How sources may name a model: as the study does, by its id or by the last part of that."""
    return {model.lower(), name.lower(), name.lower().rpartition("/")[2]}


def read_published(path: Path) -> "pd.DataFrame":
    """The published figures, checked.

    Raises:
        UserError: a column is missing, or holds what it may not.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except (ValueError, UnicodeError) as error:
        raise UserError(f"'{path}' can't be read as CSV: {one_line(error)}") from error
    missing = [name for name in (*NAMES, *NUMBERS) if name not in table.columns]
    if missing:
        raise UserError(f"'{path}' lacks the columns {', '.join(missing)}")
    table = table.map(str.strip)
    for name in NUMBERS:
        numbers = pd.to_numeric(table[name].replace("", None), errors="coerce")
        if (numbers.isna() & (table[name] != "")).any():
            raise UserError(f"'{path}': column {name} holds something that is not a number")
        table[name] = numbers
    if not table["test_accuracy"].between(0, 1).all():
        raise UserError(f"'{path}': column test_accuracy holds something that is not from 0 to 1")
    return table


def known(number: int, row: dict[str, Any]) -> dict[str, Any]:
    """What is known of a published row, of which `row` is the number."""
    import pandas as pd

    columns = {"effective_batch": "batch", "test_accuracy": "accuracy"}
    names = (*NAMES[1:], *NUMBERS, *OPTIONAL)
    values = {f"published_{columns.get(name, name)}": row.get(name) for name in names}
    stated = bool(row.get("pooling")) and pd.notna(row.get("effective_batch"))
    return {"row": number, "source": row.get("source"), **values, "stated": stated}


def beside(accuracy: float, setting: dict[str, Any]) -> dict[str, Any]:
    """What was measured in a setting, and where the published accuracy lies to it."""
    from lib.study import SETTING

    measured = {name: setting.get(name) for name in (*SETTING, *MEASURED)}
    if not setting:
        return measured | {"difference": None, "inside": None}
    return measured | {
        "difference": setting["accuracy"] - accuracy,
        "inside": setting["low"] <= accuracy <= setting["high"],
    }


if __name__ == "__main__":
    run(main, arguments())
