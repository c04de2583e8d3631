"""The tables of the summary: seeds and intervals shown, best cells in bold, failures marked."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib.analysis.results import are_baselines, learned
from lib.formats import duration, interval, over_seeds, p_value, points
from lib.page.markdown import escape, excerpt, table
from lib.runs import CONDITION

NOT_LEARNED = "†"
NONE = "-"
ROWS = 8  # of a long table, whose file holds them all
LEFT = ("Model", "Pooling", "Variant", "First", "Second", "Label", "Predicted", "Review", "Source")


class Column(NamedTuple):
    """A column of the main table.

    Attributes:
        name: column of the table runs.
        title: heading.
        best: `max` or `min`, the better end.
        show: formats a value.
    """

    name: str
    title: str
    best: str
    show: Callable[[float], str]


COLUMNS = (
    Column("train_accuracy", "Train accuracy", "max", "{:.4f}".format),
    Column("valid_accuracy", "Validation accuracy", "max", "{:.4f}".format),
    Column("accuracy", "Test accuracy", "max", "{:.4f}".format),
    Column("loss", "Test loss", "min", "{:.4f}".format),
    Column("macro_f1", "Macro F1", "max", "{:.4f}".format),
    Column("train_seconds", "Duration", "min", duration),
    Column("examples_per_second", "Examples/s", "max", "{:,.0f}".format),
)


def results_table(runs: pd.DataFrame, baselines: pd.DataFrame) -> str:
    """The main table: a row per condition, with mean and standard deviation over its seeds.

    Bold is the best value of a column among the encoders whose runs all learned.

    Args:
        runs: the table runs.
        baselines: what was measured of them, with the same names.
    """
    both = pd.concat([runs, baselines], ignore_index=True)
    groups = [group for _, group in both.groupby(CONDITION, sort=False, dropna=False)]
    firsts = pd.concat([group.head(1) for group in groups])
    classical = are_baselines(firsts).to_numpy()
    failed = np.array([not learned(group["chance_p"]).all() for group in groups])
    cells = condition_cells(firsts, failed)
    cells["Seeds"] = [str(len(group)) for group in groups]
    for column in COLUMNS:
        values = [group[column.name] for group in groups]
        means = np.array([value.mean(skipna=False) for value in values], float)
        shown = [over_seeds(value, column.show) for value in values]
        cells[column.title] = embolden(shown, means, ~failed & ~classical, column)
    epochs = [group["best_epoch"].dropna().astype(int) for group in groups]
    cells["Best epoch"] = [", ".join(map(str, found)) for found in epochs]
    cells.loc[classical, ["Seeds", "Examples/s", "Best epoch"]] = NONE
    return table(cells, LEFT)


def condition_cells(rows: pd.DataFrame, failed: Iterable[bool] = ()) -> pd.DataFrame:
    """The cells that name the conditions of rows, those that did not learn with a dagger.

    The variant is left out where all are `base`, and so is what no row has.
    """
    marks = [f" {NOT_LEARNED}" if each else "" for each in failed] or [""] * len(rows)
    cells = pd.DataFrame(
        {
            name.capitalize(): [NONE if missing(x) else escape(x) for x in rows[name]]
            for name in CONDITION
            if not all(map(missing, rows[name]))
        }
    )
    if "Model" in cells:
        cells["Model"] += marks
    if "Variant" in cells and set(cells["Variant"]) <= {NONE, "base"}:
        del cells["Variant"]
    return cells


def missing(value: object) -> bool:
    """Whether a baseline or a comparison has no such key."""
    return pd.isna(value) or value == ""


def embolden(
    shown: list[str], means: np.ndarray, eligible: np.ndarray, column: Column
) -> list[str]:
    """Cells with the best eligible one in bold, and those that look the same as it."""
    eligible = eligible & np.isfinite(means)
    if not eligible.any():
        return shown
    best = column.show(getattr(means[eligible], column.best)())
    return [
        f"**{cell}**" if ok and column.show(mean) == best else cell
        for cell, mean, ok in zip(shown, means, eligible, strict=True)
    ]


def notes(runs: pd.DataFrame, majority: float) -> list[str]:
    """What a reader has to know before believing the main table."""
    counts = runs.groupby(CONDITION)["seed"].count()
    tested = runs["n"].iloc[0]
    texts = [
        f"Accuracy, loss (nats) and macro F1 are those of {tested:,} test reviews. The answer that "
        f"is always the most frequent class has an accuracy of {majority:.4f}."
    ]
    if counts.max() > 1:
        texts.append("± is the standard deviation over seeds.")
    if counts.min() == 1:
        some = "Each number" if counts.max() == 1 else "A number with 1 under Seeds"
        texts.append(
            f"**{some} comes from one seed**: another seed may change the order of the conditions, "
            "and nothing here tells by how much."
        )
    failed = runs[~learned(runs["chance_p"])]
    if len(failed):
        names = "; ".join(
            " ".join(f"{key}={row[key]}" for key in [*CONDITION, "seed"])
            + (" (diverged)" if row["diverged"] else "")
            for _, row in failed.iterrows()
        )
        texts.append(
            f"{NOT_LEARNED} **Did not learn**: the validation accuracy of {len(failed)} of "
            f"{len(runs)} runs is not shown to be above the share of the most frequent class "
            "(exact binomial test, 0.1%), or they diverged. They stand for nothing and are in no "
            f"comparison: {escape(names)}."
        )
    return texts


def conditions_table(conditions: pd.DataFrame) -> str:
    """Test accuracy with interval, F1 and calibration, a row per condition."""
    cells = condition_cells(conditions, conditions["learned"] < conditions["seeds"])
    cells["Seeds"] = (
        conditions["seeds"].astype(str).where(conditions["batch"].notna(), NONE).tolist()
    )
    cells["Test accuracy"] = share(conditions["accuracy"])
    ends = zip(conditions["low"].clip(lower=0), conditions["high"].clip(upper=1), strict=True)
    cells["95% interval"] = [interval(low, high, "{:.4f}".format) for low, high in ends]
    cells["Macro F1"] = share(conditions["macro_f1"])
    cells["Calibration error"] = share(conditions["calibration_error"])
    cells["Brier score"] = share(conditions["brier"])
    return table(cells, LEFT)


def share(values: pd.Series) -> list[str]:
    """Numbers between 0 and 1."""
    return [f"{value:.4f}" for value in values]


def comparisons_table(rows: pd.DataFrame) -> str:
    """Pairs, the clearest first: those of one factor, over seeds or on the same reviews."""
    order = rows.assign(size=-rows["difference"].abs()).sort_values(
        ["p_holm", "size"], kind="stable"
    )
    rows = rows.loc[order.index].head(ROWS)
    cells = condition_cells(rows)
    if (rows["second"] == rows["model"]).all():  # a baseline and an encoder
        del cells["Model"]
    cells.insert(0, "First", [escape(name) for name in rows["first"]])
    cells.insert(1, "Second", [escape(name) for name in rows["second"]])
    if "seeds" in rows:
        cells["Seeds"] = rows["seeds"].astype(str).tolist()
    else:
        cells["Seed"] = rows["seed"].astype(str).tolist()
    cells["Second minus first (points)"] = [points(value) for value in rows["difference"]]
    ends = zip(rows["low"], rows["high"], strict=True)
    cells["95% interval"] = [interval(low, high, points) for low, high in ends]
    cells["p"] = [escape(p_value(p)) for p in rows["p"]]
    cells["p (Holm)"] = [escape(p_value(p)) for p in rows["p_holm"]]
    if "agreement" in rows:
        cells["Right: first only, second only"] = [
            f"{first}, {second}"
            for first, second in zip(rows["only_first"], rows["only_second"], strict=True)
        ]
        cells["Agreement"] = share(rows["agreement"])
    return table(cells, LEFT)


def confusion_table(confusion: pd.DataFrame, classes: pd.DataFrame, names: Sequence[str]) -> str:
    """Predictions by label, and F1 by label, of the runs that stand for their models."""
    keys = ["model", "label"]
    shown = confusion[confusion["representative"]]
    counts = shown.pivot_table("n", keys, "prediction", sort=False)
    scores = classes[classes["representative"]].set_index(keys)
    cells = pd.DataFrame(
        {
            "Model": [escape(model) for model, _ in counts.index],
            "Label": [escape(names[label]) for _, label in counts.index],
            **{
                f"As {escape(names[label])}": [f"{count:,.0f}" for count in counts[label]]
                for label in counts
            },
        }
    )
    for score in ("precision", "recall", "f1"):
        cells[score.capitalize()] = share(scores.loc[counts.index, score])
    return table(cells, LEFT)


def plain(rows: pd.DataFrame) -> str:
    """A table of cells as they are."""
    cells = rows.astype(object).map(lambda cell: NONE if missing(cell) else escape(cell))
    return table(cells, rows.columns[:1])


def published_table(rows: pd.DataFrame) -> str:
    """Published accuracies beside the measured ones; where several conditions fit, their range."""
    cells = []
    for _, group in rows.groupby("row"):
        row = group.iloc[0]
        batch = row["published_batch"]
        cells.append(
            {
                "Source": escape(row["source"]),
                "Model": escape(row["published_model"]),
                "Pooling": escape(row["published_pooling"] or NONE),
                "Batch": NONE if missing(batch) else f"{batch:.0f}",
                "Published": f"{row['published_accuracy']:.4f}",
                **measured(group),
                "Note": escape(row["published_note"] or ""),
            }
        )
    return table(pd.DataFrame(cells), [*LEFT, "Note"])


def measured(group: pd.DataFrame) -> dict[str, str]:
    """What was measured beside one published figure."""
    found = group.dropna(subset="accuracy")
    if found.empty:
        blank = dict.fromkeys(("95% interval", "Measured minus published (points)", "Inside"), NONE)
        return {"Measured": "not measured", **blank}
    if len(found) > 1:
        low, high = found["accuracy"].min(), found["accuracy"].max()
        inside = int(found["inside"].astype(bool).sum())
        return {
            "Measured": f"{low:.4f} to {high:.4f}",
            "95% interval": f"{len(found)} conditions fit",
            "Measured minus published (points)": f"{points(found['difference'].min())} to "
            f"{points(found['difference'].max())}",
            "Inside": f"{inside} of {len(found)}",
        }
    row = found.iloc[0]
    return {
        "Measured": f"{row['accuracy']:.4f}",
        "95% interval": interval(row["low"], row["high"], "{:.4f}".format),
        "Measured minus published (points)": points(row["difference"]),
        "Inside": "yes" if row["inside"] else "no",
    }


def errors_table(rows: pd.DataFrame, names: Sequence[str], columns: dict[str, str]) -> str:
    """Reviews with their ids, labels and the beginnings of their texts.

    Args:
        rows: of a table of errors; the first ones are shown.
        names: of the classes.
        columns: headings of further columns, by the columns of the table.
    """
    rows = rows.head(ROWS)
    cells = [rows["id"].astype(str)]
    for name in columns:
        if name in ("label", "prediction", "predictions"):
            cells.append(rows[name].map(lambda value: classes_named(value, names)))
        else:
            cells.append(rows[name].map("{:.3f}".format))
    cells.append(rows["text"].map(excerpt))
    headings = ["Id", *columns.values(), "Review"]
    return table(pd.concat(cells, axis=1).set_axis(headings, axis=1), LEFT)


def classes_named(numbers: object, names: Sequence[str]) -> str:
    """The names of a class, or of several whose numbers stand in a text."""
    return " or ".join(escape(names[int(number)]) for number in str(numbers).split())
