"""Set published figures beside the measured runs of the same setting.

A published row and a setting are the same where model, pooling, effective batch and epochs agree.
A pooling or batch that a source does not state agrees with any: such rows are marked as not
stated in full.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lib.cli import Parser, UserError, mapping, positive, run

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("source", "model", "pooling", "effective_batch", "epochs", "test_accuracy")
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
        help="how sources name each encoder",
    )
    flags.add_argument(
        "--variants", required=True, nargs="+", help="variants that learn as the base does"
    )
    flags.add_argument("--epochs", required=True, type=positive, help="epochs of the training")
    flags.add_argument("--out", required=True, type=Path, help="CSV file to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write one row per published row and measured setting."""
    from lib.study import read_table, write_table

    settings = read_table(options.settings)
    settings = settings[settings["variant"].isin(options.variants)]
    names = dict(options.models)
    settings = settings.assign(name=settings["model"].map(names).str.lower())
    published = read_published(options.published)
    published = published[published["epochs"].fillna(options.epochs) == options.epochs]
    write_table(options.out, match(published, settings))


def read_published(path: Path) -> "pd.DataFrame":
    """The published figures, checked.

    Raises:
        UserError: a column is missing, or holds what it may not.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except ValueError as error:
        raise UserError(f"'{path}' can't be read as CSV: {error}") from error
    missing = [name for name in REQUIRED if name not in table.columns]
    if missing:
        raise UserError(f"'{path}' lacks the columns {', '.join(missing)}")
    for name in ("effective_batch", "epochs", "test_accuracy", "test_loss", "train_seconds"):
        numbers = pd.to_numeric(table.get(name), errors="coerce")
        if name in table and (numbers.isna() & table[name].notna()).any():
            raise UserError(f"'{path}': column {name} holds something that is not a number")
    return table


def match(published: "pd.DataFrame", settings: "pd.DataFrame") -> "pd.DataFrame":
    """Published rows with the settings that agree; a row without any stays, once."""
    import pandas as pd

    rows = []
    for row in published.to_dict("records"):
        same = settings["name"] == str(row["model"]).lower()
        for theirs, ours in (("pooling", "pooling"), ("effective_batch", "batch")):
            if pd.notna(row[theirs]):
                same &= settings[ours] == row[theirs]
        stated = pd.notna(row["pooling"]) and pd.notna(row["effective_batch"])
        known = {
            "source": row["source"],
            "published_model": row["model"],
            "published_pooling": row["pooling"],
            "published_batch": row["effective_batch"],
            "published_accuracy": row["test_accuracy"],
            **{f"published_{name}": row.get(name) for name in OPTIONAL},
            "stated": stated,
        }
        found = settings[same].to_dict("records") or [{}]
        rows += [known | beside(row["test_accuracy"], setting) for setting in found]
    return pd.DataFrame(rows)


def beside(accuracy: float, setting: dict) -> dict:
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
