"""The tables and the figure of `speed.py`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from contestants import OURS, OURS_UNPADDED, TRAINER, Case
from lib.command.formats import duration, plural
from lib.files.whole import replacing, write_text
from lib.page import figures, markdown

CASE = list(Case._fields)
SETTINGS = ["contestant", "precision", "dropout"]  # that users choose
LARGEST, SMALLEST = 1024, 64  # effective batches whose memory is compared
LABEL_WIDTH = 320  # pixels, of the longest name of a case
GRID_REVIEWS = 5 * 40_000  # of each run of the published grid, over its epochs
NOTES = f"""\
The contestants of a case train the same reviews, once each, from the same initial weights, in \
passes of at most 64 and without worker processes, and take turns in each repeat. The Trainer has \
its default settings but for learning rate, schedule, batch and precision; as it does by itself, \
{OURS} clips gradients at a norm of 1. The published loop clips none, pads every review to the \
full length, and reads loss and accuracy in every pass. \
{OURS.capitalize()} is timed by its own history, the Trainer from the beginning of its epoch to \
the end, without evaluation, saving or logging. Grouped by length, the Trainer gets the reviews in \
the order that its own function makes with the mega-batches of a large dataset (50 batches), which \
brings reviews of like length together in one update. A speed is the median over the repeats, with \
the smallest and the largest; a ratio is the median of the ratios within repeats. Utilisation is \
the share of a large matrix product's operations per second that the encoder needs without \
padding. Encoders have no dropout, attention's included, but where a number is named: pretrained \
BERTs have 0.1. Memory is that of the process at its peak, without what it held before the model \
was built.

A job learns from 1,024 reviews, validates in each epoch, keeps the best checkpoint and tests it, \
from the start of its process on, one job at a time: {OURS} by `scripts/train.py` and \
`scripts/evaluate.py`, as the rules call them, in forks of a server that is started for them and \
that serves further runs; the others by `benchmarks/speed_job.py`, in one process."""


def write_report(
    out: Path, loops: pd.DataFrame, jobs: pd.DataFrame, facts: Mapping[str, str]
) -> None:
    """Write loops.csv, jobs.csv, speed.md and speed.svg.

    Args:
        out: folder to write to.
        loops: a row per case, contestant and repeat.
        jobs: a row per contestant and repeat.
        facts: what stands above the tables, by name.
    """
    for name, table in {"loops": loops, "jobs": jobs}.items():
        with replacing(out / f"{name}.csv") as path:
            table.to_csv(path, index=False)
    loops = loops.assign(
        times=ratios(loops, OURS, "seconds", CASE),
        to_trainer=1 / ratios(loops, TRAINER, "seconds", CASE),
    )
    jobs = jobs.assign(times=ratios(jobs, OURS, "seconds", []))
    parts = [
        "# Speed of training",
        markdown.facts(facts),
        headline(loops),
        "![Speed of each training loop relative to the Trainer](speed.svg)",
        "## Training loops",
        loops_table(loops),
        memory_sentence(loops),
        grid_sentence(loops),
        "## From the start of a process to a tested checkpoint",
        jobs_table(jobs),
        NOTES,
    ]
    write_text(out / "speed.md", "\n\n".join(filter(None, parts)) + "\n")
    chart = figures.styled(draw(loops)).to_json(indent=None)
    write_text(out / "speed.svg", vl_convert.vegalite_to_svg(chart))


def ratios(rows: pd.DataFrame, base: str, column: str, keys: list[str]) -> pd.Series:
    """Each value divided by that of a contestant in the same case and repeat."""
    keys = [*keys, "repeat"]
    of_base = rows[rows["contestant"] == base].set_index(keys)[column].rename("base")
    return rows[column] / rows.join(of_base, on=keys)["base"]


def headline(loops: pd.DataFrame) -> str:
    """How many times as fast as the others this workflow is, over the cases."""
    medians = loops.groupby(["contestant", *CASE], sort=False)["times"].median().dropna()
    lines = [
        f"{OURS.capitalize()} is {found.min():.2f} to {found.max():.2f} times as fast as the "
        f"{name}, both in {precision}, over {plural(len(found), 'case')}."
        for (name, precision), found in medians.groupby(["contestant", "precision"], sort=False)
        if not name.startswith(OURS)
    ]
    return "\n".join(f"- {line}" for line in (*lines, *fastest(loops), *cost_of_dropout(loops)))


def fastest(loops: pd.DataFrame) -> Iterator[str]:
    """How many times as fast this workflow is in its fastest settings as the Trainer in its own.

    The Trainer has the first precision, and the dropout that an encoder has in the first place.
    """
    keys = ["model", "length", "batch", "reviews"]
    for case, found in loops.groupby(keys, sort=False):
        first = found[found["precision"] == loops["precision"].iloc[0]]
        trainer = first[first["contestant"] == TRAINER]
        trainer = trainer[trainer["dropout"] == trainer["dropout"].max()]
        ours = found[found["contestant"].isin([OURS, OURS_UNPADDED])].set_index(SETTINGS)
        best = ours.loc[[ours.groupby(SETTINGS)["seconds"].median().idxmin()]]
        of_trainer, of_best = (each.set_index("repeat")["seconds"] for each in (trainer, best))
        yield (
            f"{of_case(case)}: fastest is {told(best.index[0])}, "
            f"{spread(of_trainer / of_best, '.2f')} times as fast as the "
            f"{told(trainer[SETTINGS].iloc[0])}."
        )


def told(settings: Sequence[Any]) -> str:
    """A contestant with its precision, and its dropout if it has any."""
    contestant, precision, dropout = settings
    return f"{contestant} in {precision}{of_dropout(dropout)}"


def of_case(case: Sequence[Any]) -> str:
    """A case by its model, length and batch."""
    model, length, batch, _ = case
    return f"{model}, {length} tokens, batch {batch}"


def cost_of_dropout(loops: pd.DataFrame) -> Iterator[str]:
    """How many times as fast this workflow is without dropout, of attention too, as with it."""
    keys = ["model", "length", "batch", "precision"]
    ours = loops[loops["contestant"] == OURS].set_index([*keys, "repeat"])
    times = ours[ours["dropout"] > 0]["seconds"] / ours[ours["dropout"] == 0]["seconds"]
    for case, found in times.dropna().groupby(keys, sort=False):
        yield (
            f"{of_case(case)}, {case[-1]}: without dropout in the encoder {OURS} is "
            f"{spread(found, '.2f')} times as fast as with it."
        )


def loops_table(loops: pd.DataFrame) -> str:
    """A row per case and contestant."""
    rows = []
    for (*case, name), found in loops.groupby([*CASE, "contestant"], sort=False):
        model, length, batch, _, precision, dropout = case
        memory = found["peak_memory_bytes"] - found["memory_before_bytes"]
        rows.append(
            {
                "model": model + of_dropout(dropout),
                "tokens": str(length),
                "batch": str(batch),
                "precision": precision,
                "loop": name,
                "reviews/s": spread(found["examples_per_second"], ".0f"),
                f"{OURS} is × as fast": spread(found["times"], ".2f"),
                "utilisation": f"{found['flop_utilisation'].median():.1%}",
                "memory (MB)": f"{memory.median() / 1e6:.0f}",
            }
        )
    return markdown.table(pd.DataFrame(rows), left=["model", "precision", "loop"])


def of_dropout(probability: float) -> str:
    """What is said besides of a model whose encoder has dropout."""
    return f", dropout {probability}" if probability else ""


def jobs_table(jobs: pd.DataFrame) -> str:
    """A row per contestant."""
    rows = [
        {
            "job": name,
            "seconds": spread(found["seconds"], ".1f"),
            "CPU seconds": spread(found["cpu_seconds"], ".1f"),
            f"{OURS} is × as fast": spread(found["times"], ".2f"),
            "peak memory (MB)": f"{found['peak_memory_bytes'].median() / 1e6:.0f}",
            "test accuracy": f"{found['test_accuracy'].median():.3f}",
        }
        for name, found in jobs.groupby("contestant", sort=False)
    ]
    return markdown.table(pd.DataFrame(rows), left=["job"])


def spread(values: pd.Series, form: str) -> str:
    """The median, with the smallest and the largest."""
    return f"{values.median():{form}} ({values.min():{form}} to {values.max():{form}})"


def memory_sentence(loops: pd.DataFrame) -> str:
    """What the largest batch costs in memory, where both were measured."""
    ours = loops[loops["contestant"] == OURS]
    if not {SMALLEST, LARGEST} <= set(ours["batch"]):
        return ""
    keys = ["model", "length", "precision", "dropout", "batch"]
    found = ours.groupby(keys)["peak_memory_bytes"].median()
    growth = (found.unstack("batch")[LARGEST] / found.unstack("batch")[SMALLEST]).dropna()
    return (
        f"The process of {OURS} takes {growth.min():.2f} to {growth.max():.2f} times the memory at "
        f"an effective batch of {LARGEST} that it takes at {SMALLEST}, on fewer reviews."
    )


def grid_sentence(loops: pd.DataFrame) -> str:
    """How long the published grid of two encoders and three batches would take, on a GPU."""
    if set(loops["device"]) != {"cuda"}:
        return ""
    hours = loops.assign(grid=GRID_REVIEWS / loops["examples_per_second"])
    grids = hours.groupby(["length", "contestant", "model", "batch"], sort=False)["grid"].median()
    totals = grids.groupby(["length", "contestant"], sort=False).sum()
    heading = (
        "The published grid (each encoder and batch, 5 epochs of 40,000 reviews) would take:\n\n"
    )
    return heading + "\n".join(
        f"- {name}, {length} tokens: {duration(seconds)}"
        for (length, name), seconds in totals.items()
    )


def draw(loops: pd.DataFrame) -> alt.TopLevelMixin:
    """Speeds relative to the Trainer: a row per case, a mark per other loop, over all repeats."""
    shown = loops[loops["contestant"] != TRAINER]
    names = shown["contestant"].unique().tolist()
    model = shown["model"] + shown["dropout"].map(of_dropout)
    case = model + ", batch " + shown["batch"].astype(str) + ", " + shown["precision"]
    shown = shown.assign(case=case)
    spans = shown.groupby(["length", "case", "contestant"], sort=False)["to_trainer"]
    spans = spans.agg(["median", "min", "max"]).reset_index()
    spans["length"] = "texts of " + spans["length"].astype(str) + " tokens"
    base = alt.Chart().encode(
        y=alt.Y(
            "case:N",
            title=None,
            sort=shown["case"].unique().tolist(),
            axis=alt.Axis(labelLimit=LABEL_WIDTH),
        ),
        yOffset=alt.YOffset("contestant:N", scale=alt.Scale(domain=names)),
        color=alt.Color(
            "contestant:N",
            title=None,
            scale=alt.Scale(domain=names, range=list(figures.COLOURS[: len(names)])),
        ),
    )
    x = alt.X(
        "median:Q",
        title="Speed relative to the Trainer (×, with the range over repeats)",
        scale=alt.Scale(type="log", nice=False, padding=12),
    )
    lines = base.mark_rule(strokeWidth=2).encode(x="min:Q", x2="max:Q")
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=x,
        shape=alt.Shape(
            "contestant:N",
            title=None,
            scale=alt.Scale(domain=names, range=list(figures.SHAPES[: len(names)])),
        ),
    )
    trainer = alt.Chart().mark_rule(color="#666666", strokeDash=[4, 3]).encode(x=alt.datum(1))
    layers = alt.layer(trainer, lines, points).properties(width=480, height=alt.Step(14))
    header = alt.Header(labelOrient="top", labelAnchor="start", labelFontWeight="bold", title=None)
    return (
        layers.properties(data=alt.Data(values=spans.to_dict("records")))
        .facet(row=alt.Row("length:N", sort=spans["length"].unique().tolist(), header=header))
        .resolve_scale(y="independent", yOffset="shared")
    )
