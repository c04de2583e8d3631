"""The sections of the summary, each made from the tables that it needs.

A section whose tables are not there, because its part of the analysis is turned off, is left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lib.analysis.representatives import find, representatives
from lib.analysis.results import CHOOSE_BY, at_chosen_rates
from lib.analysis.statistics import BINS
from lib.analysis.wording import NOT_ASKED, OBSERVED
from lib.command.formats import NOT_LEARNED, capital, counted, measures_named, plural
from lib.command.markup import escape
from lib.page import tables
from lib.page.markdown import folded, table
from lib.study.catalog import FIGURE
from lib.study.metrics import ACCURACY

HOW = "How to read this table"
CONFIDENCES = {"label": "Label", "prediction": "Predicted", "confidence": "Confidence"}


@dataclass
class Page:
    """What the sections show.

    Attributes:
        tables: the tables of the study, by name.
        figures: paths of the figures relative to the page, by name.
        folder: path of the tables relative to the page.
        runs: folders of the runs.
        baselines: what was measured of the baselines.
        names: of the classes.
        metric: of the study.
        noun: what the dataset calls its texts.
        majority: metric of the answer that is always the most frequent class.
    """

    tables: Mapping[str, pd.DataFrame]
    figures: Mapping[str, str]
    folder: str
    runs: Sequence[Path]
    baselines: pd.DataFrame
    names: Sequence[str]
    metric: str
    noun: str
    majority: float

    def picture(self, name: str) -> str:
        """A figure alone."""
        alternative = FIGURE[name].told(self.metric, self.noun).alternative
        return f"![{alternative}]({self.figures[name]})"

    def figure(self, name: str, *notes: str) -> str:
        """A figure, with a link to its interactive page; how to read it is folded."""
        page = self.figures[name].removesuffix("svg") + "html"
        how = " ".join([FIGURE[name].told(self.metric, self.noun).caption, *notes])
        shown = [self.picture(name), f"[The same, interactive]({page})"]
        return "\n\n".join([*shown, folded("How to read this figure", how)])

    def file(self, name: str, what: str = "All rows") -> str:
        """A sentence that links to a whole table."""
        path = f"{self.folder}/{name}.csv"
        return f"{what}: [{path}]({path})"

    def errors(self, rows: pd.DataFrame, columns: dict[str, str]) -> str:
        """The first rows of a table of errors."""
        return tables.errors_table(rows, self.names, columns)

    def chosen_by(self) -> str:
        """The measures of validation by which epochs, rates and best runs are chosen."""
        return measures_named(self.tables["runs"][CHOOSE_BY])

    def best_runs(self) -> Iterator[str]:
        """The folder of the run that stands for each model; which models have none."""
        runs = self.tables["runs"]
        chosen = find(representatives(runs), self.runs)
        if chosen:
            yield "\n".join(f"- Best run: `{folder}`" for folder in chosen.values())
        absent = [name for name in runs["model"].unique() if name not in {c.model for c in chosen}]
        if absent:
            yield f"No run stands for a model of which none learned: {escape(', '.join(absent))}."


def findings(page: Page) -> Iterator[str]:
    """The verdicts as a picture and a table, what holds for all of them, and what was observed."""
    answers = page.tables["findings"]
    contrasts = answers.dropna(subset="first")
    if len(contrasts):
        yield page.figure("findings")
        yield table(tables.verdict_cells(contrasts, page.noun).map(escape), tables.LEFT)
        yield from tables.verdict_cautions(contrasts, page.metric, page.noun)
        yield folded("How this was tested", tables.verdict_note(contrasts, page.metric, page.noun))
    for question, found in answers[answers["verdict"] == OBSERVED].groupby("question", sort=False):
        lines = [f"- {escape(text)}" for text in found["answer"]]
        yield "\n".join([f"**{question}**", "", *lines])
    yield from prediction_costs(page)
    left_out = answers[answers["verdict"] == NOT_ASKED]
    if len(left_out):
        pairs = zip(left_out["question"], left_out["answer"], strict=True)
        reasons = [f"- *{question}* {escape(answer)}" for question, answer in pairs]
        yield folded("Not asked", "\n".join(reasons))
    yield page.file("findings", "With their numbers")


def results(page: Page) -> Iterator[str]:
    """The main table and its notes."""
    runs = at_chosen_rates(page.tables["runs"])
    yield tables.results_table(runs, page.baselines, page.metric)
    yield from tables.cautions(runs)
    yield from page.best_runs()
    notes = [
        *tables.notes(runs, page.majority, page.metric, page.noun),
        "Where one run has to stand for a model, as for reliability, errors, map and attention, it "
        "is its best run: of the condition with the best validation "
        f"{page.chosen_by()} in the mean over seeds, the run nearest to the median. "
        "`scripts/predict.py` labels texts with it.",
    ]
    if len(page.baselines):
        notes.append(
            "TF-IDF is a logistic regression on weighted counts of words, trained on the same "
            f"{page.noun} and tuned on the validation split, by `training.choose_by`: on the full "
            "text, and on the part of it that each encoder sees. Its duration includes the tuning; "
            "it has no seed and no part in the best values."
        )
    yield folded(HOW, *notes)
    yield page.file("runs", "All runs, one per row")
    names = ["results", *(["findings"] if "findings" in page.tables else [])]
    paths = [f"{page.folder}/{name}.tex" for name in names]
    yield "For a paper: " + ", ".join(f"[{path}]({path})" for path in paths)


def data_curve(page: Page) -> Iterator[str]:
    """The metric over the number of training texts."""
    points = page.tables["data_curve"]
    if len(points):
        yield page.figure("data_curve")
        yield tables.data_curve_table(points, page.noun)
    else:
        yield f"No setting was trained on two numbers of {page.noun}."
    yield folded(
        "How this was measured",
        f"The training {page.noun} of a size are the first ones of an order that the seed decides: "
        "those of a smaller size are among those of a larger one, and encoders and baselines learn "
        f"from the same. So intervals over seeds and {page.noun} count the choice of the training "
        f"{page.noun} as well. Validation is the same for all sizes, and may be larger than the "
        "smallest of them. The sizes are points of a curve, and no verdict compares them.",
    )
    yield page.file("data_curve", "All points")


def cuts(page: Page) -> Iterator[str]:
    """The metric and seconds over the tokens that are seen of a text."""
    points = page.tables["cuts"]
    if points.empty:
        yield "No two settings differ in the cut alone."
        return
    yield page.figure("cuts")
    yield tables.cut_table(points, page.metric)
    yield folded(
        HOW,
        "Texts cut and tokens lost are those of the training split. TF-IDF reads what the encoder "
        "sees: the part of each text that its tokens stand for.",
    )
    yield page.file("cuts")


def costs(page: Page) -> Iterator[str]:
    """Where the seconds went."""
    found = page.tables["costs"]
    yield table(tables.cost_cells(found), ["Part"])
    yield folded(
        HOW,
        "Seconds of jobs that ran side by side are added up, and depend on what else the machine "
        "did; those of Snakemake itself, tables and figures are not among them. Start-up is what a "
        "training or a test does outside its loops: it loads libraries, tokens and model, and "
        "writes results.",
    )


def prediction_costs(page: Page) -> Iterator[str]:
    """How long predictions take beside one another, as an answer."""
    if "serving" in page.tables and len(page.tables["serving"]):
        told = tables.latency_answers(page.tables["serving"], page.tables["latency"], page.noun)
        lines = [f"- {escape(text)}" for text in told]
        yield "\n".join(["**What does a prediction cost?**", "", *lines])


def serving(page: Page) -> Iterator[str]:
    """What those cost that predict."""
    found, took = page.tables["serving"], page.tables["latency"]
    if found.empty:
        yield "Nothing was timed, as no run learned."
        return
    if "findings" not in page.tables:
        yield from prediction_costs(page)
    if "latency" in page.figures:
        yield page.figure("latency")
    measured = pd.concat([at_chosen_rates(page.tables["runs"]), page.baselines])
    yield tables.serving_table(found, took, measured, page.metric, page.noun)
    where = [
        f"{row['hardware']} ({row['device']}, {row['precision']}, "
        f"{plural(row['threads'], 'thread')})"
        for row in found.drop_duplicates("hardware").to_dict("records")
    ]
    yield folded(
        HOW,
        f"Timed on {escape('; '.join(where))}, with nothing beside it. A row is a run of its "
        "model, pooling and cut, the best of these by validation. All take turns in rounds, the "
        "first of which does not count. Milliseconds are those of a single text from text to "
        f"label, tokenizing included: of test {page.noun} as training cuts them the median and "
        "the 95th percentile, of texts of so many tokens the median. They hold for a machine as "
        "busy as this one was; ratios hold beyond that, as each round is compared with itself. "
        f"{capital(page.noun)}/s are those of {counted(found['texts'].iloc[0], page.noun)} of the "
        "test split in passes of like length. Parameters of TF-IDF are its weights, and its bytes "
        "those of a pickle. Memory is what a process takes more at its peak, once it has loaded "
        "and predicted. Of an export it is told by how much the accuracy of its run was found to "
        "change.",
    )
    yield page.file("latency", "Each kind of text") + "; " + page.file("serving", "all else")


def tuning(page: Page) -> Iterator[str]:
    """The learning rates that settings have tried, and those that are chosen."""
    rates = page.tables["tuning"]
    if len(rates):
        yield page.figure("tuning")
        yield tables.tuning_table(rates)
        yield from tables.edge_notes(rates)
    yield folded(
        "How rates are chosen",
        "Variants that differ in the learning rate alone are one setting, with the name of the "
        "first of them. Of the rates at which most seeds learned, it has the one with the best "
        f"validation {page.chosen_by()} in the mean over seeds. Settings with equally many rates "
        "and seeds are compared each at its own, others at the same rate; runs at further rates "
        "are not tested.",
    )
    if len(rates):
        yield page.figure(
            "budgets",
            "It is what a setting is worth to those who can try no more, and settings are alike "
            "only at equal numbers of runs. The estimate draws with replacement, and is biased low "
            "(Tang et al. 2020).",
        )
    yield page.file("tuning", "All rates")


def certainty(page: Page) -> Iterator[str]:
    """The metric with its interval, other metrics and calibration by condition."""
    yield page.figure("batches")
    yield tables.conditions_table(at_chosen_rates(page.tables["conditions"]), page.metric)
    if page.metric != ACCURACY:
        yield from tables.interval_cautions(page.tables["classes"], page.names)
    yield folded(
        HOW,
        f"The 95% interval of one seed tells how exactly the test {page.noun} measure this one "
        "run; that of several counts the variance between seeds too, as all tell it that learned "
        f"with the same seeds. Calibration error (expected, {BINS} bins) and Brier score are those "
        "of the predicted class, before and after the temperature that validation asks for; 0 is "
        "best.",
    )
    yield page.file("conditions", "All conditions") + "; " + page.file("measures", "each run")
    yield page.figure("cost")


def estimates(page: Page) -> Iterator[str]:
    """The differences of single models and settings."""
    found = page.tables["estimates"]
    if len(found):
        yield table(tables.estimate_cells(found).map(escape), tables.LEFT)
        yield folded(
            f"{HOW}: no line is a finding",
            "What the verdicts are means of. Each 95% interval holds for itself; of many, some "
            "leave out 0 by chance. With fewer than three seeds an interval is over "
            f"{page.noun}, for these runs alone.",
        )
    yield page.file("estimates", "The same with all digits")
    yield page.file("comparisons", "Pairs of single runs, with a test of each")


def calibration(page: Page) -> Iterator[str]:
    """Reliability, what may be accepted unseen, and confusion matrices."""
    yield page.figure(
        "reliability",
        "There, a confidence of 0.8 is right in 80% of cases; below it a model is too sure of "
        "itself.",
    )
    shares = page.tables["acceptance"]
    yield page.figure("acceptance")
    wanted = shares[shares["representative"]].dropna(subset="wanted")
    if len(wanted):
        yield tables.acceptance_table(wanted)
        yield folded(
            HOW,
            "As many are accepted, the surest first, as have the wanted accuracy in the mean of "
            f"their confidences. `scripts/predict.py` tells the same ones, so that the {page.noun} "
            "below the least one that is accepted can be left to a person.",
        )
    yield page.file("acceptance", "All shares")
    confusion = page.tables["confusion"]
    if confusion["representative"].any():
        yield tables.confusion_table(confusion, page.tables["classes"], page.names)
    yield page.file("confusion", "Confusion matrices of all runs")


def published(page: Page) -> Iterator[str]:
    """Published figures beside the measured ones."""
    yield tables.published_table(page.tables["published"])
    yield folded(
        HOW,
        "A condition is the same where model, pooling, batch and the training settings agree that "
        "the source states. Inside tells whether the published accuracy lies in the 95% interval "
        "of the measured one. Where several conditions fit, because the source leaves some of "
        f"it unsaid, their range is shown. {NOT_LEARNED} marks what was measured with a run "
        "that did not learn."
        + " Accuracies are compared, as sources state no other metric."
        * (page.metric != ACCURACY),
    )
    yield page.file("published")


def curves(page: Page) -> Iterator[str]:
    """Learning curves."""
    yield page.figure(
        "learning_curves",
        "Training values are means over an epoch, each text at the weights that it met; validation "
        "values are those at its end.",
    )


def errors(page: Page) -> Iterator[str]:
    """The texts that the models get wrong."""
    models = len(representatives(page.tables["runs"]))
    if models:
        yield from errors_of_each(page)
    if models > 1:
        yield from errors_of_several(page)
    yield page.figure("lengths", f"Left: fifths of the test {page.noun} by number of words.")
    yield page.file("lengths")


def errors_of_each(page: Page) -> Iterator[str]:
    """The texts that each model gets wrong."""
    confident = page.tables["confident_errors"]
    for model, rows in confident.groupby("model", sort=False):
        yield f"**Most confidently wrong, {escape(model)}** ({plural(len(rows), 'error')}):"
        yield page.errors(rows, CONFIDENCES)
    yield page.file("confident_errors", "All errors")


def errors_of_several(page: Page) -> Iterator[str]:
    """The texts that all models get wrong, or one of two."""
    shared = page.tables["shared_errors"]
    yield (
        f"**Wrong by every model** ({counted(len(shared), page.noun)}): candidates for errors of "
        "the labels, those that most runs of the study get wrong first."
    )
    if len(shared):
        headings = {"runs_wrong": "Share of runs", "confidence": "Mean confidence"}
        yield page.errors(shared, {"label": "Label", "predictions": "Predicted"} | headings)
    for (right, wrong), rows in page.tables["disagreements"].groupby(
        ["right", "wrong"], sort=False
    ):
        yield (
            f"**{escape(right)} right, {escape(wrong)} wrong** ({counted(len(rows), page.noun)}), "
            "the most confident first:"
        )
        headings = {"confidence_right": escape(right), "confidence_wrong": escape(wrong)}
        yield page.errors(rows, {"label": "Label", "prediction": "Predicted"} | headings)
    yield page.file("shared_errors", "All that every model gets wrong")
    yield page.file("disagreements", "All on which models disagree")


def tsne(page: Page) -> Iterator[str]:
    """The map of sentence vectors, and the errors on its boundary."""
    yield page.figure(
        "tsne",
        f"The sample has {counted(page.tables['tsne']['id'].nunique(), page.noun)}. Distances "
        "between far groups mean nothing. A model whose vectors are all alike or not finite has no "
        "map.",
    )
    boundary = page.tables["boundary_errors"]
    for model, rows in boundary.groupby("model", sort=False):
        yield (
            f"**Boundary errors, {escape(model)}** ({counted(len(rows), page.noun)}): labelled "
            "wrongly, where the nearest on the map have both labels."
        )
        yield page.errors(rows, CONFIDENCES | {"own_label": "Own label near"})
    yield page.file("boundary_errors")


def attention(page: Page) -> Iterator[str]:
    """The attention map of one text."""
    yield page.figure("attention", "A row shows where one token looks.")
    rows = page.tables["attention"].drop_duplicates("model")
    if rows.empty:
        return
    shown = rows.iloc[0]
    predictions = [
        f"{row['model']} says {page.names[row['prediction']]} ({row['confidence']:.3f})"
        for row in rows.to_dict("records")
    ]
    yield (
        f"Text {shown['id']} of the test split, labelled {escape(page.names[shown['label']])}; "
        f"{escape('; '.join(predictions))}."
    )
    yield page.file("attention", "All weights")


# heading -> the tables that it needs, and what writes it
SECTIONS: dict[str, tuple[tuple[str, ...], Callable[[Page], Iterator[str]]]] = {
    "Findings": (("findings",), findings),
    "Results": (("runs",), results),
    "How much of a text": (("cuts",), cuts),
    "Learning curve over data": (("data_curve",), data_curve),
    "Tuned learning rates": (("tuning", "budgets"), tuning),
    "Intervals and calibration": (("conditions", "classes"), certainty),
    "By model and setting": (("estimates", "comparisons"), estimates),
    "Reliability and confusion": (
        ("reliability", "acceptance", "confusion", "classes"),
        calibration,
    ),
    "Published and measured": (("published",), published),
    "What does a prediction cost?": (("serving", "latency"), serving),
    "Learning curves": (("histories",), curves),
    "Errors on the test split": (
        ("confident_errors", "shared_errors", "disagreements", "lengths"),
        errors,
    ),
    "Map of the test split": (("tsne", "boundary_errors"), tsne),
    "Attention in one text": (("attention",), attention),
    "Where the seconds went": (("costs",), costs),
}


def sections(page: Page) -> Iterator[str]:
    """The paragraphs of all sections whose tables are there."""
    for heading, (needed, write) in SECTIONS.items():
        if all(name in page.tables for name in needed):
            yield f"## {heading}"
            yield from write(page)
