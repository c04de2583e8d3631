"""The tables of the summary: seeds and intervals shown, best cells in bold, failures marked.

Those of a paper have the same cells.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lib.analysis.results import are_baselines
from lib.analysis.wording import (
    ALIKE,
    ALONE,
    IDENTICAL,
    UNDECIDED,
    margin_is,
    paired_test,
    what_would_decide,
)
from lib.command.formats import (
    NOT_LEARNED,
    capital,
    classes_named,
    duration,
    interval,
    joined,
    marked,
    measures_named,
    over_seeds,
    p_value,
    percent,
    plural,
    points,
)
from lib.command.markup import escape
from lib.files.manifests import EXPORTS
from lib.page.markdown import excerpt, table
from lib.study.metrics import ACCURACY, BALANCED_ACCURACY, MACRO_F1, METRICS
from lib.study.runs import CONDITION, KEYS

NONE = "-"
NOT_ALONE = "‡"  # marks a verdict that rests on the variance of other settings
FEW = 10  # answers of a kind, with fewer of which an interval is too narrow
ROWS = 8  # of a long table, whose file holds them all
OF_SERVING = [*KEYS, "form"]  # of which each that predicts has its own
OF_SIZE = {"Parameters (M)": "parameters", "Disk (MB)": "bytes", "Memory (MB)": "memory_bytes"}
LEFT = (
    *("Question", "Difference", "Verdict", "What would decide it"),
    *("Model", "Pooling", "Variant", "First", "Second", "Label", "Predicted", "Text", "Source"),
    "Form",
)


class Column(NamedTuple):
    """A column of the main table.

    Attributes:
        name: column of the table runs.
        title: heading.
        best: `max` or `min`, the better end; empty where the load of the machine decides.
        show: formats a value.
    """

    name: str
    title: str
    best: str
    show: Callable[[float], str]


OF_TRAINING = (
    Column("train_accuracy", "Train accuracy", "max", "{:.4f}".format),
    Column("valid_accuracy", "Validation accuracy", "max", "{:.4f}".format),
)
OF_TEST = {
    ACCURACY: Column(ACCURACY, "Test accuracy", "max", "{:.4f}".format),
    BALANCED_ACCURACY: Column(BALANCED_ACCURACY, "Test balanced accuracy", "max", "{:.4f}".format),
    "loss": Column("loss", "Test loss", "min", "{:.4f}".format),
    MACRO_F1: Column(MACRO_F1, "Macro F1", "max", "{:.4f}".format),
}
OF_COST = (
    Column("train_seconds", "Duration", "", duration),
    Column("examples_per_second", "Examples/s", "", "{:,.0f}".format),
)


def columns(metric: str) -> list[Column]:
    """The columns of the main table, of those of the test the metric of the study first."""
    tested = dict.fromkeys([metric, ACCURACY, "loss", MACRO_F1])
    return [*OF_TRAINING, *(OF_TEST[name] for name in tested), *OF_COST]


def results_table(runs: pd.DataFrame, baselines: pd.DataFrame, metric: str) -> str:
    """The main table, with the best cells in bold.

    Args:
        runs: the table runs.
        baselines: what was measured of them, with the same names.
        metric: of the study.
    """
    cells, best = result_cells(runs, baselines, metric)
    cells = cells.map(escape)
    return table(cells.where(~best, "**" + cells + "**"), LEFT)


def result_cells(
    runs: pd.DataFrame, baselines: pd.DataFrame, metric: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The texts of the main table: a row per condition, mean and deviation over its seeds.

    Args:
        runs: the table runs.
        baselines: what was measured of them, with the same names.
        metric: of the study.

    Returns:
        The texts, and which of them are the best of a column among the encoders whose runs all
        learned.
    """
    both = pd.concat([runs, baselines], ignore_index=True)
    groups = [group for _, group in both.groupby(CONDITION, sort=False, dropna=False)]
    firsts = pd.concat([group.head(1) for group in groups])
    classical = are_baselines(firsts).to_numpy()
    failed = np.array([not group["learned"].all() for group in groups])
    cells = condition_texts(firsts, failed)
    cells["Seeds"] = [str(len(group)) for group in groups]
    best = {}
    for column in columns(metric):
        values = [group[column.name] for group in groups]
        means = np.array([value.mean(skipna=False) for value in values], float)
        cells[column.title] = [over_seeds(value, column.show) for value in values]
        best[column.title] = are_best(means, ~failed & ~classical, column)
    epochs = [group["best_epoch"].dropna().astype(int) for group in groups]
    cells["Best epoch"] = [", ".join(map(str, found)) for found in epochs]
    cells.loc[classical, ["Seeds", "Examples/s", "Best epoch"]] = NONE
    return cells, pd.DataFrame(best).reindex(columns=cells.columns, fill_value=False)


def condition_cells(rows: pd.DataFrame, failed: Iterable[bool] = ()) -> pd.DataFrame:
    """The same as `condition_texts`, as Markdown."""
    return condition_texts(rows, failed).map(escape)


def condition_texts(rows: pd.DataFrame, failed: Iterable[bool] = ()) -> pd.DataFrame:
    """The texts that name the conditions of rows, those that did not learn with a dagger.

    The variant is left out where all are `base`, and so is what no row has.
    """
    cells = pd.DataFrame(
        {
            name.capitalize(): [NONE if missing(x) else str(x) for x in rows[name]]
            for name in CONDITION
            if not all(map(missing, rows[name]))
        }
    )
    if "Model" in cells:
        cells["Model"] = marked(cells["Model"], list(failed) or [False] * len(rows))
    if "Variant" in cells and set(cells["Variant"]) <= {NONE, "base"}:
        del cells["Variant"]
    return cells


def missing(value: object) -> bool:
    """Whether a baseline or a comparison has no such key."""
    return pd.isna(value) or value == ""


def are_best(means: np.ndarray, eligible: np.ndarray, column: Column) -> np.ndarray:
    """Which eligible means are the best of a column, or look the same as it."""
    eligible = eligible & np.isfinite(means) & bool(column.best)
    if not eligible.any():
        return eligible
    best = column.show(getattr(means[eligible], column.best)())
    return eligible & np.array([column.show(mean) == best for mean in means])


def notes(runs: pd.DataFrame, majority: float, metric: str, noun: str) -> list[str]:
    """How to read the main table.

    Args:
        runs: the table runs.
        majority: metric of the answer that is always the most frequent class.
        metric: of the study.
        noun: what the dataset calls its texts.
    """
    names = METRICS | {"loss": "loss (nats)"}
    tested = joined([names[column.name] for column in columns(metric) if column.name in names])
    texts = [
        f"{capital(tested)} are those of {runs['n'].iloc[0]:,} test {noun}. The {METRICS[metric]} "
        f"of the answer that is always the most frequent class is {majority:.4f}.",
        "Bold is the best of a column among the encoders whose runs all learned. Durations and "
        "examples/s depend on what else the machine does, and have no best.",
    ]
    if runs.groupby(CONDITION)["seed"].count().max() > 1:
        texts.append("± is the standard deviation over seeds.")
    return texts


def cautions(runs: pd.DataFrame) -> list[str]:
    """What a reader has to know before believing the main table."""
    counts = runs.groupby(CONDITION)["seed"].count()
    texts = []
    if counts.min() == 1:
        some = "Each number" if counts.max() == 1 else "A number with 1 under Seeds"
        texts.append(
            f"**{some} comes from one seed**: another seed may change the order of the conditions, "
            "and nothing here tells by how much."
        )
    failed = runs[~runs["learned"]]
    if len(failed):
        level = percent(failed["chance_level"].max())
        names = "; ".join(
            " ".join(f"{key}={row[key]}" for key in [*CONDITION, "seed"] if not missing(row[key]))
            + (" (diverged)" if row.get("diverged") is True else "")
            for _, row in failed.iterrows()
        )
        texts.append(
            f"{NOT_LEARNED} **Did not learn**: the validation predictions of "
            f"{plural(len(failed), 'run')} are not shown to be right more often than the same ones "
            f"in any order (permutation test, {level}), or it diverged. It stands for no model and "
            f"has no part in a verdict: {escape(names)}."
        )
    return texts


def tuning_table(rates: pd.DataFrame) -> str:
    """The learning rates of each tuned setting, with the one that is chosen in bold."""
    rows = []
    for keys, group in rates.groupby(["model", "pooling", "batch", "setting"], sort=False):
        tried = group.sort_values("learning_rate")
        texts = [
            f"**{rate_text(row)}**" if row["chosen"] else rate_text(row)
            for row in tried.to_dict("records")
        ]
        names = map(escape, map(str, keys))
        rows.append([*names, ", ".join(texts), "yes" if group["edge"].any() else ""])
    headings = ["Model", "Pooling", "Batch", "Setting"]
    measures = measures_named(rates["choose_by"])
    headings += [f"Validation {measures} at each learning rate", "At the edge"]
    return table(pd.DataFrame(rows, columns=headings), [*LEFT, *headings[3:5]])


def rate_text(row: Mapping[str, Any]) -> str:
    """A learning rate with its validation, as `5e-05: 0.8123`."""
    return f"{row['learning_rate']:.3g}: {row['value']:.4f}"


def edge_notes(rates: pd.DataFrame) -> list[str]:
    """That some chosen rates are at the edge of those tried."""
    edges, settings = int(rates["edge"].sum()), int(rates["chosen"].sum())
    if not edges:
        return []
    return [
        f"**{edges} of {settings} chosen rates are at the edge of those tried**: a lower or a "
        "higher one may be better, and what is said of these settings is about the rates that "
        "were tried."
    ]


def conditions_table(conditions: pd.DataFrame, metric: str) -> str:
    """The metric with deviation and interval, other metrics and calibration, by condition."""
    cells = condition_cells(conditions, conditions["learned"] < conditions["seeds"])
    cells["Seeds"] = (
        conditions["seeds"].astype(str).where(conditions["batch"].notna(), NONE).tolist()
    )
    pairs = zip(share(conditions["value"]), conditions["deviation"], strict=True)
    cells[f"Test {METRICS[metric]}"] = [
        value if pd.isna(deviation) else f"{value} ± {deviation:.4f}" for value, deviation in pairs
    ]
    ends = zip(conditions["low"].clip(lower=0), conditions["high"].clip(upper=1), strict=True)
    cells["95% interval"] = [interval(low, high, "{:.4f}".format) for low, high in ends]
    for other in (ACCURACY, MACRO_F1):
        if other != metric:
            cells[capital(METRICS[other])] = share(conditions[other])
    for title, name in (("Calibration error", "calibration_error"), ("Brier score", "brier")):
        both = zip(share(conditions[name]), share(conditions[f"{name}_after"]), strict=True)
        cells[title] = [f"{before} → {after}" for before, after in both]
    return table(cells, LEFT)


def interval_cautions(classes: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """That intervals of runs are too narrow which label few texts of a class right, or few wrong.

    Args:
        classes: the table classes.
        names: of the classes.
    """
    right = (classes["recall"] * classes["n"]).round()
    few = classes[classes["learned"] & (np.minimum(right, classes["n"] - right) < FEW)]
    if few.empty:
        return []
    rare = joined([escape(names[label]) for label in sorted(few["label"].unique())])
    return [
        f"**Few answers of a kind**: of {rare}, some runs that learned label fewer than {FEW} "
        "texts right, or fewer wrong. The 95% interval of such a run is too narrow; verdicts hold "
        "their level."
    ]


def data_curve_table(points: pd.DataFrame, noun: str) -> str:
    """The metric with its 95% interval: a row per curve, a column per number of training texts."""
    ends = zip(points["low"].clip(lower=0), points["high"].clip(upper=1), strict=True)
    pairs = zip(share(points["value"]), ends, strict=True)
    texts = [f"{value} ({interval(*both, '{:.4f}'.format)})" for value, both in pairs]
    shown = points.assign(text=marked(texts, points["learned"] < points["seeds"]))
    cells = shown.pivot(index="curve", columns="examples", values="text").fillna(NONE)
    cells = cells.loc[points["curve"].unique()].rename(columns=lambda size: f"{size:,} {noun}")
    cells.insert(0, "Model", [escape(name) for name in cells.index])
    return table(cells, LEFT)


def cut_table(points: pd.DataFrame, metric: str) -> str:
    """What each cut leaves, costs and reaches: a row per condition and baseline."""
    rows = points.to_dict("records")
    texts = [
        f"{value} ({interval(max(row['low'], 0), min(row['high'], 1), '{:.4f}'.format)})"
        for value, row in zip(share(points["value"]), rows, strict=True)
    ]
    cells = {
        "Model": [escape(row["curve"]) for row in rows],
        "Part": [row["truncation"] for row in rows],
        "Tokens": ["all" if pd.isna(row["max_length"]) else str(row["max_length"]) for row in rows],
        "Texts cut": [part(row["texts_cut"]) for row in rows],
        "Tokens lost": [part(row["tokens_lost"]) for row in rows],
        capital(METRICS[metric]): marked(texts, points["learned"] < points["seeds"]),
        "Seeds": [count(row["seeds"]) for row in rows],
        "Duration": [duration(row["train_seconds"]) for row in rows],
    }
    return table(pd.DataFrame(cells), LEFT)


def part(share: float) -> str:
    """A share as `80.1%`; nothing where it is missing."""
    return NONE if pd.isna(share) else f"{share:.1%}"


def share(values: pd.Series) -> list[str]:
    """Numbers between 0 and 1."""
    return ["n/a" if pd.isna(value) else f"{value:.4f}" for value in values]


def verdict_cells(findings: pd.DataFrame, noun: str) -> pd.DataFrame:
    """The verdicts of the table findings, a row per contrast."""
    contrasts = findings.dropna(subset="first")
    p = contrasts["p_holm"].where(contrasts["verdict"] != ALIKE, contrasts["p_alike_holm"])
    p = p.where(contrasts["verdict"] != ALONE, contrasts["p"])
    rows = contrasts.assign(p=p).to_dict("records")
    return pd.DataFrame(
        {
            "Question": once(contrasts["question"]),
            "Difference": [f"{row['second']} − {row['first']}" for row in rows],
            "Verdict": resting(contrasts),
            "Points": [points(row["difference"]) for row in rows],
            "95% interval": [interval(row["low"], row["high"], points) for row in rows],
            "p": [p_value(row["p"]) for row in rows],
            "Settings": [count(row["settings"]) for row in rows],
            "Seeds": [count(row["seeds"]) for row in rows],
            noun.capitalize(): [count(row["n"]) for row in rows],
            "What would decide it": [
                what_would_decide(row, noun) if row["verdict"] == UNDECIDED else "" for row in rows
            ],
        }
    )


def resting(contrasts: pd.DataFrame) -> list[str]:
    """The verdicts, with a double dagger those that rest on the variance of other settings."""
    pairs = zip(contrasts["verdict"], contrasts["rests_on_others"].fillna(False), strict=True)
    return [f"{verdict} {NOT_ALONE}" if rests else verdict for verdict, rests in pairs]


def verdict_note(contrasts: pd.DataFrame, metric: str, noun: str) -> str:
    """How all verdicts of a page are made."""
    family = int(contrasts["p_holm"].notna().sum())
    texts = [
        "Each line compares two levels in the mean over the settings that share everything else, "
        "the first named minus the second. Where settings have different seeds, those count that "
        "share the most; where some of a question were planned with three, others planned "
        "with fewer are left out.",
    ]
    if family:
        texts.append(
            f"Seeds and test {noun} are both a sample, and a difference has to stand out from "
            f"both. It is *shown* where p is under 5% after Holm's correction over the {family} "
            "lines with a verdict; two levels are *alike* where both one-sided tests against the "
            f"margin of {margin_is(contrasts['margin'].iloc[0])} are, corrected likewise. "
            "Intervals are simultaneous ones of the same family. What an *undecided* line says "
            "would be found has a power of 80%."
        )
    if metric != ACCURACY:
        texts.append(
            f"Points are of {METRICS[metric]}, in which each of the test {noun} counts by its "
            "influence (linearisation)."
        )
    groups = contrasts["groups"].max()
    if pd.notna(groups):
        texts.append(
            "Texts of one group tend to be alike, so errors are clustered by the "
            f"{groups:,} groups of the test {noun}."
        )
    if IDENTICAL in set(contrasts["verdict"]):
        texts.append("*Identical*: both give every test text the same label.")
    return " ".join([*texts, "Runs that did not learn take no part."])


def verdict_cautions(contrasts: pd.DataFrame, metric: str, noun: str) -> list[str]:
    """What a reader has to know before believing some of the verdicts."""
    texts = []
    if contrasts["rests_on_others"].any():
        texts.append(
            f"{NOT_ALONE} rests on the variance of other settings: how much a seed matters is told "
            "by all settings together, and if each had its own variance between seeds, the "
            "verdict would be another."
        )
    if ALONE in set(contrasts["verdict"]):
        test = paired_test(contrasts["groups"].max(), metric)
        texts.append(
            "**On these runs alone**: a verdict needs three seeds. Here p is that of the "
            f"{test} (the smallest of its pairs of runs, after Holm's correction over them) and "
            f"the interval is over {noun}; both are about these trained models, and say nothing of "
            "others with other seeds."
        )
    return texts


def estimate_cells(estimates: pd.DataFrame) -> pd.DataFrame:
    """The estimates of single models and settings, a row each."""
    rows = estimates.to_dict("records")
    shared = {
        name.capitalize(): ["" if missing(x) else str(x) for x in estimates[name]]
        for name in CONDITION
    }
    return pd.DataFrame(
        {
            "Question": once(estimates["question"]),
            "Difference": [f"{row['second']} − {row['first']}" for row in rows],
            **shared,
            "Points": [points(row["difference"]) for row in rows],
            "95% interval": [interval(row["low"], row["high"], points) for row in rows],
            "Seeds": [count(row["seeds"]) for row in rows],
        }
    )


def once(names: pd.Series) -> list[str]:
    """Names, each in its first row alone."""
    return names.mask(names.duplicated(), "").tolist()


def count(number: float) -> str:
    """A number of things; nothing where there is none."""
    return "" if pd.isna(number) else f"{number:,.0f}"


def confusion_table(confusion: pd.DataFrame, classes: pd.DataFrame, names: Sequence[str]) -> str:
    """Predictions by label, and F1 by label, of the runs that stand for their models."""
    keys = ["model", "label"]
    shown = confusion[confusion["representative"]]
    counts = shown.pivot_table("n", keys, "prediction", sort=False)
    models = counts.index.get_level_values("model")
    scores = classes[classes["representative"]].set_index(keys)
    cells = pd.DataFrame(
        {
            "Model": [escape(model) for model in models],
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


def acceptance_table(wanted: pd.DataFrame) -> str:
    """What is accepted for each wanted accuracy."""
    rows = wanted.to_dict("records")
    cells = {
        "Model": [escape(row["model"]) for row in rows],
        "Wanted accuracy": [f"{row['wanted']:.0%}" for row in rows],
        "Accepted": [f"{row['share']:.1%}" for row in rows],
        "Left to a person": [f"{1 - row['share']:.1%}" for row in rows],
        "From a confidence of": share(wanted["threshold"]),
        "Accuracy of these": share(wanted["accuracy"]),
        "95% interval": [interval(row["low"], row["high"], "{:.4f}".format) for row in rows],
    }
    return table(pd.DataFrame(cells), LEFT)


def cost_cells(costs: pd.DataFrame) -> pd.DataFrame:
    """The parts of the work, with their jobs, seconds and shares, and all of them together."""
    whole = pd.DataFrame([{"part": "all", "seconds": costs["seconds"].sum(), "share": 1.0}])
    rows = pd.concat([costs, whole])
    return pd.DataFrame(
        {
            "Part": rows["part"],
            "Jobs": ["" if pd.isna(jobs) else f"{jobs:.0f}" for jobs in rows["jobs"]],
            "Duration": rows["seconds"].map(duration),
            "Share": [f"{share:.0%}" for share in rows["share"]],
        }
    )


def serving_table(
    serving: pd.DataFrame, latency: pd.DataFrame, measured: pd.DataFrame, metric: str, noun: str
) -> str:
    """What each costs that predicts: milliseconds, texts per second, parameters, bytes.

    Args:
        serving: that table.
        latency: likewise.
        measured: runs and baselines with the metric of their tests.
        metric: of the study.
        noun: what the dataset calls its texts.
    """
    shown = serving.assign(variant=serving["setting"])
    means = measured.groupby(CONDITION, dropna=False)[metric].mean().rename("value").reset_index()
    lengths = zip(shown["max_length"], shown["truncation"], strict=True)
    cells = condition_cells(shown)
    cells["Tokens"] = ["all" if pd.isna(size) else f"{size:.0f} {part}" for size, part in lengths]
    cells["Form"] = shown["form"]
    values = zip(
        share(shown.merge(means, "left", on=CONDITION)["value"]),
        shown["form"].isin(EXPORTS),
        shown["accuracy_change"],
        strict=True,
    )
    cells[f"Test {METRICS[metric]}"] = [
        f"{value} ({change:+.4f} by the export)" if exported and metric == ACCURACY else value
        for value, exported, change in values
    ]
    took = shown[OF_SERVING].merge(latency[latency["tokens"].isna()], "left", on=OF_SERVING)
    cells[f"Test {noun} (ms)"] = took["median"].map(milliseconds)
    cells["95% within (ms)"] = took["p95"].map(milliseconds)
    for tokens, rows in latency.groupby("tokens"):
        took = shown[OF_SERVING].merge(rows, "left", on=OF_SERVING)
        cells[f"{tokens} tokens (ms)"] = took["median"].map(milliseconds)
    cells[f"{capital(noun)}/s"] = shown["texts_per_second"].map(number)
    for title, name in OF_SIZE.items():
        cells[title] = (shown[name] / 1e6).map(number)
    return table(cells, LEFT)


def latency_answers(serving: pd.DataFrame, latency: pd.DataFrame, noun: str) -> list[str]:
    """How long those predict that stand for their models, beside one of them, in sentences.

    On single test texts, and on texts of the longest length that most of them take.
    """
    standing = serving.loc[serving["representative"], OF_SERVING]
    rows = standing.merge(latency, on=OF_SERVING)
    texts = [latency_answer(rows[rows["tokens"].isna()], f"one of the test {noun}")]
    counts = rows["tokens"].value_counts()
    if len(counts) and counts.max() > 1:
        tokens = counts.index[counts == counts.max()].max()
        texts.append(latency_answer(rows[rows["tokens"] == tokens], f"a text of {tokens} tokens"))
    return texts


def latency_answer(rows: pd.DataFrame, text: str) -> str:
    """How long a text takes the reference, and how many times as long the others."""
    exported = rows["form"].isin(EXPORTS)
    rows = rows.assign(name=rows["model"].mask(exported, rows["model"] + " as " + rows["form"]))
    first = rows[rows["reference"]].iloc[0]
    others = [
        f"{row['name']} {number(row['ratio'])} times as long ({number(row['ratio_low'])} to "
        f"{number(row['ratio_high'])} over {row['rounds']} rounds)"
        for row in rows[~rows["reference"]].to_dict("records")
    ]
    told = f"{first['name']} takes {milliseconds(first['median'])} ms (median) for {text}"
    return f"{told}; {joined(others)}." if others else f"{told}."


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds of three digits; nothing where they are missing."""
    return number(1000 * seconds)


def number(value: float) -> str:
    """A number of three digits at least; nothing where it is missing."""
    if pd.isna(value):
        return NONE
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"


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
    failed = f" {NOT_LEARNED}" if (found["learned"] < found["seeds"]).any() else ""
    if len(found) > 1:
        low, high = found["accuracy"].min(), found["accuracy"].max()
        inside = found["inside"].dropna().astype(bool)
        return {
            "Measured": f"{low:.4f} to {high:.4f}{failed}",
            "95% interval": f"{len(found)} conditions fit",
            "Measured minus published (points)": f"{points(found['difference'].min())} to "
            f"{points(found['difference'].max())}",
            "Inside": f"{inside.sum()} of {len(inside)}" if len(inside) else NONE,
        }
    row = found.iloc[0]
    return {
        "Measured": f"{row['accuracy']:.4f}{failed}",
        "95% interval": interval(row["low"], row["high"], "{:.4f}".format),
        "Measured minus published (points)": points(row["difference"]),
        "Inside": NONE if missing(row["inside"]) else "yes" if row["inside"] else "no",
    }


def errors_table(rows: pd.DataFrame, names: Sequence[str], columns: dict[str, str]) -> str:
    """Texts with their ids, labels and the beginnings of their texts.

    Args:
        rows: of a table of errors; the first ones are shown.
        names: of the classes.
        columns: headings of further columns, by the columns of the table.
    """
    rows = rows.head(ROWS)
    cells = [rows["id"].astype(str)]
    for name in columns:
        if name in ("label", "prediction", "predictions"):
            cells.append(rows[name].map(lambda value: escape(classes_named(value, names))))
        else:
            cells.append(rows[name].map("{:.3f}".format))
    cells.append(rows["text"].map(excerpt))
    headings = ["Id", *columns.values(), "Text"]
    return table(pd.concat(cells, axis=1).set_axis(headings, axis=1), LEFT)
