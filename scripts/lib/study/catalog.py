"""Every table and figure of a study, declared once: rules, report, page and documents read it here.

A table is written by the function behind its command, a figure is drawn by the function of its
name in page/figures.py, and a section of page/sections.py shows each of them.
"""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from lib.command.formats import capital
from lib.study.metrics import METRICS


class Table(NamedTuple):
    """A table of results.

    Attributes:
        name: of its files, without their suffixes.
        command: that writes it, and the rule that runs the command.
        part: of the analysis that it belongs to, which the configuration turns off, and page of
            the report that shows it.
        row: what a row is.
        content: what it tells.
        drawn: whether it is made for a figure, not to be read.
    """

    name: str
    command: str
    part: str
    row: str
    content: str
    drawn: bool = False


class Figure(NamedTuple):
    """A figure, drawn from one table or two.

    Attributes:
        name: of its files, without their suffixes.
        table: that it shows.
        theme: its heading in the report.
        title: its name in the report.
        alternative: text for those who do not see it.
        caption: how to read it.
        beside: the second table, where it needs one.

    In all but the names, `{noun}` stands for the texts, and `{metric}`, or `{Metric}` at the start
    of a sentence, for the metric of the study.
    """

    name: str
    table: str
    theme: str
    title: str
    alternative: str
    caption: str
    beside: str = ""

    @property
    def tables(self) -> list[str]:
        """The names of the tables that it shows."""
        return [name for name in (self.table, self.beside) if name]

    def told(self, metric: str, noun: str) -> "Figure":
        """The figure in words of a study.

        Args:
            metric: of the study.
            noun: what the dataset calls its texts.
        """
        name = METRICS[metric]
        words = {"noun": noun, "metric": name, "Metric": capital(name)}
        return Figure(*(text.format(**words) for text in self))


TABLES = (
    Table(
        name="runs",
        command="collect",
        part="results",
        row="run",
        content="its keys, every number that was measured, and its training settings; its setting, "
        "how many learning rates that has tried, and whether this one is chosen; whether it is "
        "tested, as those at rates that are chosen, or compared with others at the same rate",
    ),
    Table(
        name="histories",
        command="collect",
        part="results",
        row="run, epoch, split and measure",
        content="the value, and whether it is of the best epoch",
        drawn=True,
    ),
    Table(
        name="costs",
        command="collect",
        part="results",
        row="part of the work",
        content="its jobs, their seconds added up, and its share of all",
    ),
    Table(
        name="tuning",
        command="choose",
        part="tuned",
        row="condition: a setting and a learning rate",
        content="the measure of validation that chooses, its mean, whether the rate is chosen, "
        "whether it is tested, and whether at an edge",
    ),
    Table(
        name="budgets",
        command="choose",
        part="tuned",
        row="setting and number of runs",
        content="what is expected of the best of so many in validation",
        drawn=True,
    ),
    Table(
        name="data_curve",
        command="analyse",
        part="data_curve",
        row="model, pooling, batch and setting, and number of training texts",
        content="the name of its curve; `value` of the metric with deviation and interval over "
        "seeds and texts (one seed, and a baseline on all texts: over texts)",
    ),
    Table(
        name="cuts",
        command="analyse",
        part="cuts",
        row="condition of which another differs in the cut alone, and baseline",
        content="the name of its curve; length and part of the texts; share of the training texts "
        "that is cut and of their tokens that is lost; seconds; `value` of the metric with "
        "deviation and interval over seeds and texts",
    ),
    Table(
        name="measures",
        command="analyse",
        part="statistics",
        row="run or baseline",
        content="`value` of the metric with interval over texts (of accuracy Wilson's); accuracy, "
        "balanced accuracy, macro F1; the temperature, calibration error and Brier score before it "
        "and after it",
    ),
    Table(
        name="conditions",
        command="analyse",
        part="statistics",
        row="condition: model, pooling, batch and variant",
        content="its setting and training texts; means over its seeds; `value` of the metric with "
        "deviation and interval over seeds and texts (one seed: over texts)",
    ),
    Table(
        name="reliability",
        command="analyse",
        part="statistics",
        row="run or baseline, and bin of confidence",
        content="accuracy by confidence, before the temperature and after it",
    ),
    Table(
        name="acceptance",
        command="analyse",
        part="statistics",
        row="run or baseline, and share of texts that is accepted, or wanted accuracy of these",
        content="the least confidence that is accepted, the share that is, the accuracy that their "
        "confidences promise, and theirs with its interval",
    ),
    Table(
        name="classes",
        command="analyse",
        part="statistics",
        row="run or baseline, and class",
        content="precision, recall, F1",
    ),
    Table(
        name="confusion",
        command="analyse",
        part="statistics",
        row="run or baseline, and pair of classes",
        content="how many texts of a label got a prediction",
    ),
    Table(
        name="comparisons",
        command="analyse",
        part="statistics",
        row="two runs that differ in one key, or a run and a baseline",
        content="`value` of the metric of both; difference with interval over texts; of accuracy "
        "an exact McNemar test, of other metrics or texts in groups a t test; agreement",
    ),
    Table(
        name="findings",
        command="analyse",
        part="statistics",
        row="answer",
        content="the sentence and its verdict; of a contrast: difference, simultaneous interval, "
        "p before and after Holm's correction, what the design would have found",
    ),
    Table(
        name="estimates",
        command="analyse",
        part="statistics",
        row="contrast, and model or setting in it",
        content="difference with its own 95% interval, without a verdict",
    ),
    Table(
        name="published",
        command="analyse",
        part="published",
        row="published figure and condition that fits",
        content="both, the difference, whether the figure lies in the interval",
    ),
    Table(
        name="confident_errors",
        command="analyse",
        part="errors",
        row="model and test text that it labels wrongly",
        content="the most confident first",
    ),
    Table(
        name="shared_errors",
        command="analyse",
        part="errors",
        row="test text that every model labels wrongly",
        content="mean confidence, share of the runs that learned which err",
    ),
    Table(
        name="disagreements",
        command="analyse",
        part="errors",
        row="test text that one model gets right and another wrong",
        content="confidence of both",
    ),
    Table(
        name="lengths",
        command="analyse",
        part="errors",
        row="run or baseline, and group of test texts",
        content="accuracy with Wilson interval by number of words, and of truncated texts",
    ),
    Table(
        name="tsne",
        command="explain",
        part="tsne",
        row="model and test text",
        content="its place on the map",
        drawn=True,
    ),
    Table(
        name="boundary_errors",
        command="explain",
        part="tsne",
        row="model and test text that it labels wrongly",
        content="those whose neighbours on the map have both labels",
    ),
    Table(
        name="attention",
        command="explain",
        part="attention",
        row="model and pair of tokens",
        content="attention of the last layer in one test text",
        drawn=True,
    ),
    Table(
        name="serving",
        command="latency",
        part="latency",
        row="what predicts: a run of each model, pooling and cut, its exports, and TF-IDF",
        content="parameters, bytes on disk and in memory; `texts_per_second` of a sample of the "
        "test texts with range over rounds; where that was measured",
    ),
    Table(
        name="latency",
        command="latency",
        part="latency",
        row="what predicts, and kind of single texts: of so many `tokens`, or test texts",
        content="`median` and `p95` of the seconds of a call; range of the medians of rounds; "
        "`ratio` to the row that is the reference, by rounds, with its range",
    ),
)

FIGURES = (
    Figure(
        name="findings",
        table="findings",
        theme="Findings",
        title="Differences and verdicts",
        alternative="Differences of {metric} with their intervals and verdicts",
        caption="Differences of test {metric}, the second level minus the first, in the mean over "
        "settings that share everything else. Lines are simultaneous 95% intervals; grey ones are "
        "over test {noun} and hold for these runs alone. The band is the margin of practical "
        "equality.",
    ),
    Figure(
        name="learning_curves",
        table="histories",
        theme="Training",
        title="Loss and accuracy by epoch",
        alternative="Loss and accuracy by epoch",
        caption="Loss and accuracy by epoch. Solid and filled: validation; dashed and hollow: "
        "training. A ring marks the best epoch, whose checkpoint is tested; a dagger ends the line "
        "of a run that did not learn.",
    ),
    Figure(
        name="tuning",
        table="tuning",
        theme="Tuning",
        title="Validation by learning rate",
        alternative="Validation by learning rate, a line per tuned setting",
        caption="Mean validation over seeds by learning rate, a line per tuned setting. A "
        "ring marks the rate that is chosen; where it ends its line, a rate beyond may be better.",
    ),
    Figure(
        name="budgets",
        table="budgets",
        theme="Tuning",
        title="Validation by number of runs",
        alternative="Expected validation by number of runs, a line per tuned setting",
        caption="Validation that is expected of the best of so many runs of a setting, "
        "drawn from its learning rates and seeds (Dodge et al. 2019).",
    ),
    Figure(
        name="data_curve",
        table="data_curve",
        theme="{Metric}",
        title="{Metric} by size of the training split",
        alternative="Test {metric} by number of training {noun}, a line per encoder and baseline",
        caption="Test {metric} by number of training {noun}, with 95% intervals over test "
        "{noun}, and over seeds where there are several. Points of one number stand side by side. "
        "Dashed lines are the TF-IDF baselines, on the same samples; a dagger marks points with a "
        "run that did not learn.",
    ),
    Figure(
        name="cuts",
        table="cuts",
        theme="{Metric}",
        title="{Metric} and seconds by length",
        alternative="Test {metric} and seconds of training by the tokens that are seen of a text",
        caption="Test {metric} and seconds of training by the number of tokens that are seen of a "
        "text at most, with 95% intervals of the encoders over test {noun}, and over seeds where "
        "there are several. Points of one number stand side by side. Dashed lines are TF-IDF on "
        "the same tokens, the one without points TF-IDF on full texts. Seconds of a baseline "
        "include its tuning; all depend on what else the machine did. A dagger marks points with a "
        "run that did not learn.",
    ),
    Figure(
        name="batches",
        table="conditions",
        theme="{Metric}",
        title="{Metric} by batch and pooling",
        alternative="Test {metric} by effective batch and pooling",
        caption="Test {metric} with 95% intervals over test {noun}, and over seeds where there are "
        "several. Dashed lines are the TF-IDF baselines; a dagger marks conditions with a run that "
        "did not learn, and a baseline that did not.",
    ),
    Figure(
        name="cost",
        table="conditions",
        theme="{Metric}",
        title="{Metric} against seconds",
        alternative="Test {metric} against seconds of training",
        caption="Test {metric} against the seconds of the training loop, with 95% intervals. The "
        "seconds of a baseline include its tuning; all depend on what else the machine did. A "
        "dagger marks conditions with a run that did not learn.",
    ),
    Figure(
        name="reliability",
        table="reliability",
        theme="Calibration",
        title="Accuracy by confidence",
        alternative="Accuracy by confidence, a panel per model",
        caption="Share of right predictions by confidence, with 95% Wilson intervals; a larger "
        "point stands for more test {noun}. On the dashed line confidence is right. Hollow points "
        "are confidences as the model learned to give them, filled ones those after the "
        "temperature that validation asks for.",
    ),
    Figure(
        name="acceptance",
        table="acceptance",
        theme="Calibration",
        title="Accuracy of what is accepted",
        alternative="Accuracy of the surest predictions by the share of {noun} that they are",
        caption="Accuracy of the surest predictions by the share of test {noun} that they are; all "
        "others are left to a person. A mark shows where confidences promise a wanted accuracy, "
        "with the 95% Wilson interval of what it is; labels have no part in where it stands.",
    ),
    Figure(
        name="lengths",
        table="lengths",
        theme="Errors",
        title="Accuracy by length",
        alternative="Test accuracy by length of the {noun}",
        caption="Test accuracy by length of the {noun}, and of {noun} that the encoder sees "
        "whole against truncated ones, with 95% Wilson intervals.",
    ),
    Figure(
        name="tsne",
        table="tsne",
        theme="Errors",
        title="Map of the test split",
        alternative="Sentence vectors on a map, a panel per model",
        caption="t-SNE of the pooled sentence vectors of a sample of test {noun}, the same for "
        "all models. Rings mark wrongly labelled {noun}.",
    ),
    Figure(
        name="attention",
        table="attention",
        theme="Errors",
        title="Attention in one text",
        alternative="Attention between the tokens of one text, a panel per model",
        caption="Attention of the last layer for one test text: mean over heads, special tokens "
        "left out, rows brought to a sum of 1. One scale for all models, by the square root so "
        "that small weights differ. Of longer {noun}, the tokens that are looked at most.",
    ),
    Figure(
        name="latency",
        table="latency",
        theme="{Metric}",
        title="{Metric} against latency",
        alternative="Test {metric} against the time of a single prediction",
        caption="Test {metric} with 95% intervals against the median time of a prediction, for "
        "single test {noun} from text to label; horizontal lines span the medians of rounds. No "
        "other setting is both quicker and better than one on the dashed line. A point is a model, "
        "a pooling and a cut; exports stand by what their check found {metric} to change.",
        beside="conditions",
    ),
)

PARTS = tuple(dict.fromkeys(table.part for table in TABLES))
FIGURE = {figure.name: figure for figure in FIGURES}


def tables_in(parts: Collection[str], command: str = "") -> list[str]:
    """The names of the tables of some parts of the analysis: of one command, or of all."""
    return [
        table.name for table in TABLES if table.part in parts and command in ("", table.command)
    ]


def tables_to_read(part: str) -> list[str]:
    """The names of the tables of a part that are made to be read."""
    return [table.name for table in TABLES if table.part == part and not table.drawn]


def figures_in(parts: Collection[str]) -> list[str]:
    """The names of the figures that show the tables of some parts of the analysis."""
    tables = set(tables_in(parts))
    return [figure.name for figure in FIGURES if tables.issuperset(figure.tables)]


def document(path: str) -> None:
    """Write all tables into a document, as a table between two marks."""
    rows = [f"| `{table.name}` | {table.row} | {table.content} |" for table in TABLES]
    heading = ["| table | a row per | content |", "| --- | --- | --- |"]
    before, mark, rest = Path(path).read_text("utf-8").partition("<!-- tables -->\n")
    after = rest[rest.index("<!-- /tables -->") :]
    text = "\n".join([*heading, *rows, ""])
    Path(path).write_text(f"{before}{mark}\n{text}\n{after}", "utf-8")
