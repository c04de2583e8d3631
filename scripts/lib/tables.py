"""Tables in Markdown, made to be believed: seeds shown, best cells in bold, failures marked."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from tabulate import tabulate

SETTING = ["model", "pooling", "batch", "variant"]
NOT_TRAINED = "†"
SIGNIFICANCE = 0.05


class Column(NamedTuple):
    """A column of the main table.

    Attributes:
        name: column of runs.csv.
        title: heading.
        best: `max` or `min`, the better end.
        show: formats a value.
    """

    name: str
    title: str
    best: str
    show: Callable[[float], str]


def duration(seconds: float) -> str:
    """Seconds as `45 s`, `21m 14s` or `3h 05m`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    return f"{minutes // 60}h {minutes % 60:02d}m"


COLUMNS = (
    Column("train_accuracy", "Train accuracy", "max", "{:.4f}".format),
    Column("valid_accuracy", "Validation accuracy", "max", "{:.4f}".format),
    Column("accuracy", "Test accuracy", "max", "{:.4f}".format),
    Column("loss", "Test loss", "min", "{:.4f}".format),
    Column("macro_f1", "Macro F1", "max", "{:.4f}".format),
    Column("train_seconds", "Duration", "min", duration),
    Column("examples_per_second", "Examples/s", "max", "{:,.0f}".format),
)


def majority_share(class_counts: Sequence[int]) -> float:
    """Accuracy of the answer that is always the most frequent class."""
    return max(class_counts) / sum(class_counts)


def untrained(runs: pd.DataFrame) -> pd.Series:
    """Whether each run ended at the majority class, or too near it to tell.

    That is where its predictions on the test split are not shown to depend on the labels.
    """
    return runs["association_p"] > SIGNIFICANCE


def results_table(runs: pd.DataFrame) -> str:
    """The main table: a row per setting, with mean and standard deviation over its seeds.

    Bold is the best value of a column among settings whose runs all trained.
    """
    runs = runs.assign(untrained=untrained(runs))
    groups = runs.groupby(SETTING, sort=False)
    means = groups[[column.name for column in COLUMNS]].mean()
    deviations = groups[[column.name for column in COLUMNS]].std(ddof=1)
    failed = groups["untrained"].sum()
    counts = groups["seed"].count()
    rows = {name: means.index.get_level_values(name).astype(str).tolist() for name in SETTING}
    if runs["variant"].nunique() == 1:
        del rows["variant"]
    rows["model"] = [
        f"{model} {NOT_TRAINED}" if count else model
        for model, count in zip(rows["model"], failed, strict=True)
    ]
    table = {name.capitalize(): cells for name, cells in rows.items()}
    table["Seeds"] = counts.astype(str).tolist()
    for column in COLUMNS:
        shown = [
            show(column, mean) + (f" ± {show(column, deviation)}" if count > 1 else "")
            for mean, deviation, count in zip(
                means[column.name], deviations[column.name], counts, strict=True
            )
        ]
        table[column.title] = embolden(shown, means[column.name], failed == 0, column)
    epochs = groups["best_epoch"].agg(lambda values: ", ".join(map(str, values)))
    table["Best epoch"] = epochs.tolist()
    return markdown(pd.DataFrame(table))


def show(column: Column, value: float) -> str:
    """A value as its column shows it; n/a where a run diverged."""
    return column.show(value) if math.isfinite(value) else "n/a"


def embolden(shown: list[str], means: pd.Series, eligible: pd.Series, column: Column) -> list[str]:
    """Cells with the best eligible one in bold, and those that look the same as it."""
    candidates = means[eligible & np.isfinite(means)]
    if candidates.empty:
        return shown
    best = show(column, getattr(candidates, column.best)())
    return [
        f"**{cell}**" if ok and show(column, mean) == best else cell
        for cell, mean, ok in zip(shown, means, eligible, strict=True)
    ]


def notes(runs: pd.DataFrame, majority: float) -> list[str]:
    """What a reader has to know before believing the main table."""
    counts = runs.groupby(SETTING)["seed"].count()
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
            f"**{some} comes from one seed**: another seed may change the order of the settings, "
            "and nothing here tells by how much."
        )
    failed = runs[untrained(runs)]
    if len(failed):
        names = "; ".join(
            " ".join(f"{key}={row[key]}" for key in [*SETTING, "seed"])
            for _, row in failed.iterrows()
        )
        texts.append(
            f"{NOT_TRAINED} **Not trained**: {len(failed)} of {len(runs)} runs ended at the "
            "majority class, or so near it that their predictions are not shown to depend on the "
            f"label (chi-squared test, 5%). They take no part in the best values: {names}."
        )
    return texts


def facts(entries: Mapping[str, str]) -> str:
    """A list of named facts, without those that are empty."""
    return "\n".join(f"- **{name}:** {escape(text)}" for name, text in entries.items() if text)


def markdown(table: pd.DataFrame) -> str:
    """A table for GitHub, with numbers to the right."""
    cells = table.map(escape)
    names = {"Model", "Pooling", "Variant"}
    align = ["left" if name in names else "right" for name in cells.columns]
    return tabulate(
        cells.to_numpy().tolist(),
        headers=list(cells.columns),
        tablefmt="github",
        colalign=align,
        disable_numparse=True,
    )


def escape(text: str) -> str:
    """Text that can't break out of a table's cell."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")
