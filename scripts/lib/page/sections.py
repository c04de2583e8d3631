"""The sections of the summary, each made from the tables that it needs.

A section whose tables are not there, because its part of the analysis is turned off, is left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lib.analysis.representatives import find, representatives
from lib.analysis.results import at_chosen_rates
from lib.analysis.statistics import BINS
from lib.analysis.wording import NOT_ASKED, OBSERVED
from lib.command.formats import NOT_LEARNED, plural
from lib.command.markup import escape
from lib.page import tables
from lib.page.markdown import table
from lib.study.catalog import FIGURE

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
        majority: accuracy of the answer that is always the most frequent class.
    """

    tables: Mapping[str, pd.DataFrame]
    figures: Mapping[str, str]
    folder: str
    runs: Sequence[Path]
    baselines: pd.DataFrame
    names: Sequence[str]
    majority: float

    def figure(self, name: str) -> str:
        """A figure, with a link to its interactive page."""
        path = self.figures[name]
        page = path.removesuffix("svg") + "html"
        return f"![{FIGURE[name].alternative}]({path})\n\n[The same, interactive]({page})"

    def file(self, name: str, what: str = "All rows") -> str:
        """A sentence that links to a whole table."""
        path = f"{self.folder}/{name}.csv"
        return f"{what}: [{path}]({path})"

    def errors(self, rows: pd.DataFrame, columns: dict[str, str]) -> str:
        """The first rows of a table of errors."""
        return tables.errors_table(rows, self.names, columns)

    def best_runs(self) -> Iterator[str]:
        """The folder of the run that stands for each model, and why; which models have none."""
        runs = self.tables["runs"]
        chosen = find(representatives(runs), self.runs)
        if chosen:
            yield "\n".join(f"- Best run: `{folder}`" for folder in chosen.values())
            yield (
                "Where one run has to stand for a model, it is this one: of the condition with the "
                "best validation accuracy in the mean over seeds, the run nearest to the median. "
                "`scripts/predict.py` labels texts with it."
            )
        absent = [name for name in runs["model"].unique() if name not in {c.model for c in chosen}]
        if absent:
            yield f"No run stands for a model of which none learned: {escape(', '.join(absent))}."


def answer(page: Page) -> Iterator[str]:
    """What the report shows first: the differences as a picture, and what they show in words."""
    found = page.tables.get("findings", pd.DataFrame(columns=["first"])).dropna(subset="first")
    if len(found):
        yield f"![{FIGURE['findings'].alternative}]({page.figures['findings']})"
        yield "\n".join(f"- {escape(text)}" for text in found["answer"])
    else:
        yield "The study has no findings: see its summary."


def findings(page: Page) -> Iterator[str]:
    """The verdicts as a picture and a table, what holds for all of them, and what was observed."""
    answers = page.tables["findings"]
    contrasts = answers.dropna(subset="first")
    if len(contrasts):
        yield page.figure("findings")
        yield table(tables.verdict_cells(contrasts).map(escape), tables.LEFT)
        yield tables.verdict_note(contrasts)
    for question, found in answers[answers["verdict"] == OBSERVED].groupby("question", sort=False):
        lines = [f"- {escape(text)}" for text in found["answer"]]
        yield "\n".join([f"**{question}**", "", *lines])
    left_out = answers[answers["verdict"] == NOT_ASKED]
    if len(left_out):
        pairs = zip(left_out["question"], left_out["answer"], strict=True)
        reasons = [f"*{question}* {escape(answer)}" for question, answer in pairs]
        yield f"Not asked: {' '.join(reasons)}"
    yield page.file("findings", "With their numbers")


def results(page: Page) -> Iterator[str]:
    """The main table and its notes."""
    runs = at_chosen_rates(page.tables["runs"])
    yield tables.results_table(runs, page.baselines)
    yield from tables.notes(runs, page.majority)
    yield from page.best_runs()
    if len(page.baselines):
        yield (
            "TF-IDF is a logistic regression on weighted counts of words, trained on the same "
            "reviews and tuned on the validation split: on the full text, and on the part of it "
            "that each encoder sees. Its duration includes the tuning; it has no seed and no part "
            "in the best values."
        )
    yield page.file("runs", "All runs, one per row")
    names = ["results", *(["findings"] if "findings" in page.tables else [])]
    paths = [f"{page.folder}/{name}.tex" for name in names]
    yield "For a paper: " + ", ".join(f"[{path}]({path})" for path in paths)


def data_curve(page: Page) -> Iterator[str]:
    """Accuracy over the number of training reviews."""
    points = page.tables["data_curve"]
    if len(points):
        yield page.figure("data_curve")
        yield tables.data_curve_table(points)
    else:
        yield "No setting was trained on two numbers of reviews."
    yield (
        "The training reviews of a size are the first ones of an order that the seed decides: "
        "those of a smaller size are among those of a larger one, and encoders and baselines learn "
        "from the same. So 95% intervals over seeds and reviews count the choice of the training "
        "reviews as well; those of one seed, and of a baseline on all reviews, are Wilson's. "
        "Validation is the same for all sizes, and may be larger than the smallest of them. The "
        "sizes are points of a curve, and no verdict compares them. "
        f"{NOT_LEARNED} marks what was measured with a run that did not learn."
    )
    yield page.file("data_curve", "All points")


def cuts(page: Page) -> Iterator[str]:
    """Accuracy and seconds over the tokens that are seen of a text."""
    points = page.tables["cuts"]
    if points.empty:
        yield "No two settings differ in the cut alone."
        return
    yield page.figure("cuts")
    yield tables.cut_table(points)
    yield (
        "Texts cut and tokens lost are those of the training split. TF-IDF reads what the encoder "
        "sees: the part of each text that its tokens stand for."
    )
    yield page.file("cuts")


def costs(page: Page) -> Iterator[str]:
    """Where the seconds went."""
    found = page.tables["costs"]
    yield table(tables.cost_cells(found), ["Part"])
    yield (
        "Seconds of jobs that ran side by side are added up, and depend on what else the machine "
        "did; those of Snakemake itself, tables and figures are not among them. Start-up is what a "
        "training or a test does outside its loops: it loads libraries, tokens and model, and "
        "writes results."
    )


def tuning(page: Page) -> Iterator[str]:
    """The learning rates that settings have tried, and those that are chosen."""
    rates = page.tables["tuning"]
    yield (
        "Variants that differ in the learning rate alone are one setting, with the name of the "
        "first of them. Its rate is the one with the best validation accuracy in the mean over "
        "seeds; the test has no part in that. Settings with equally many rates and seeds are "
        "compared each at its own, others at the same rate."
    )
    if len(rates):
        yield page.figure("tuning")
        yield tables.tuning_table(rates)
        yield from tables.edge_notes(rates)
        yield page.figure("budgets")
        yield (
            "The validation accuracy that is expected of the best of so many runs of a setting, of "
            "any of its rates and seeds: what a setting is worth to those who can try no more. "
            "Settings are alike only at equal numbers of runs (Dodge et al. 2019). The estimate "
            "draws with replacement, and is biased low (Tang et al. 2020)."
        )
    yield page.file("tuning", "All rates")


def certainty(page: Page) -> Iterator[str]:
    """Accuracy with its interval, F1 and calibration by condition."""
    yield page.figure("accuracy")
    yield tables.conditions_table(at_chosen_rates(page.tables["conditions"]))
    yield (
        "The 95% interval of one seed is Wilson's, which tells how exactly the test reviews "
        "measure this one run; that of several is over seeds and reviews, with the variance "
        "between seeds of all that learned with the same seeds. ± is the standard deviation over "
        "the seeds of the condition itself. Calibration error "
        f"(expected, {BINS} bins) and Brier score are those of the predicted class; 0 is best."
    )
    yield page.file("conditions", "All conditions") + "; " + page.file("measures", "each run")
    yield page.figure("cost")


def estimates(page: Page) -> Iterator[str]:
    """The differences of single models and settings."""
    found = page.tables["estimates"]
    if len(found):
        yield (
            "What the verdicts are means of. Each 95% interval holds for itself; of many, some "
            "leave out 0 by chance, so that no line is a finding. With fewer than three seeds an "
            "interval is over reviews, for these runs alone."
        )
        yield table(tables.estimate_cells(found).map(escape), tables.LEFT)
    yield page.file("estimates", "The same with all digits")
    yield page.file("comparisons", "Pairs of single runs, with exact McNemar tests")


def calibration(page: Page) -> Iterator[str]:
    """Reliability, and confusion matrices."""
    yield page.figure("reliability")
    yield (
        "Of the best run of each model, and of the baselines. "
        "On the dashed line, reviews labelled with a confidence of 0.8 are right in 80% of cases; "
        "below it a model is too sure of itself. Lines are 95% Wilson intervals."
    )
    confusion = page.tables["confusion"]
    if confusion["representative"].any():
        yield tables.confusion_table(confusion, page.tables["classes"], page.names)
    yield page.file("confusion", "Confusion matrices of all runs")


def published(page: Page) -> Iterator[str]:
    """Published figures beside the measured ones."""
    yield tables.published_table(page.tables["published"])
    yield (
        "A condition is the same where model, pooling, batch and the training settings agree that "
        "the source states. Inside tells whether the published accuracy lies in the 95% interval "
        "of the measured one. Where several conditions fit, because the source leaves some of "
        f"it unsaid, their range is shown. {NOT_LEARNED} marks what was measured with a run "
        "that did not learn."
    )
    yield page.file("published")


def curves(page: Page) -> Iterator[str]:
    """Learning curves."""
    yield page.figure("learning_curves")
    yield (
        "Training values are means over an epoch, each review at the weights that it met; "
        "validation values are those at the end of the epoch. A ring marks the best epoch, "
        f"{NOT_LEARNED} the end of a run that did not learn."
    )


def errors(page: Page) -> Iterator[str]:
    """The reviews that the models get wrong."""
    tested = page.tables["runs"]["n"].iloc[0]
    models = len(representatives(page.tables["runs"]))
    yield f"All of this is on the test split, {tested:,} reviews, by the best run of each model."
    if models:
        yield from errors_of_each(page)
    if models > 1:
        yield from errors_of_several(page)
    yield page.figure("lengths")
    yield (
        "Left: fifths of the test reviews by number of words. Right: reviews that the encoder sees "
        "whole, and those of which it sees the beginning alone. Lines are 95% Wilson intervals."
    )
    yield page.file("lengths")


def errors_of_each(page: Page) -> Iterator[str]:
    """The reviews that each model gets wrong."""
    confident = page.tables["confident_errors"]
    for model, rows in confident.groupby("model", sort=False):
        yield f"**Most confidently wrong, {escape(model)}** ({plural(len(rows), 'error')}):"
        yield page.errors(rows, CONFIDENCES)
    yield page.file("confident_errors", "All errors")


def errors_of_several(page: Page) -> Iterator[str]:
    """The reviews that all models get wrong, or one of two."""
    shared = page.tables["shared_errors"]
    yield (
        f"**Wrong by every model** ({plural(len(shared), 'review')}): candidates for errors of the "
        "labels, those that most runs of the study get wrong first."
    )
    if len(shared):
        headings = {"runs_wrong": "Share of runs", "confidence": "Mean confidence"}
        yield page.errors(shared, {"label": "Label", "predictions": "Predicted"} | headings)
    for (right, wrong), rows in page.tables["disagreements"].groupby(
        ["right", "wrong"], sort=False
    ):
        yield (
            f"**{escape(right)} right, {escape(wrong)} wrong** ({plural(len(rows), 'review')}), "
            "the most confident first:"
        )
        headings = {"confidence_right": escape(right), "confidence_wrong": escape(wrong)}
        yield page.errors(rows, {"label": "Label", "prediction": "Predicted"} | headings)
    yield page.file("shared_errors", "All that every model gets wrong")
    yield page.file("disagreements", "All on which models disagree")


def tsne(page: Page) -> Iterator[str]:
    """The map of sentence vectors, and the errors on its boundary."""
    places = page.tables["tsne"]
    yield page.figure("tsne")
    if len(places):
        yield (
            f"t-SNE of the pooled vectors of {plural(places['id'].nunique(), 'review')} of the "
            "test split, the same for each model, by its best run. Distances between far groups "
            "mean nothing."
        )
    yield "A model whose vectors are all alike or not finite has no map."
    boundary = page.tables["boundary_errors"]
    for model, rows in boundary.groupby("model", sort=False):
        yield (
            f"**Boundary errors, {escape(model)}** ({plural(len(rows), 'review')}): labelled "
            "wrongly, where the nearest on the map have both labels."
        )
        yield page.errors(rows, CONFIDENCES | {"own_label": "Own label near"})
    yield page.file("boundary_errors")


def attention(page: Page) -> Iterator[str]:
    """The attention map of one review."""
    yield page.figure("attention")
    rows = page.tables["attention"].drop_duplicates("model")
    if rows.empty:
        return
    shown = rows.iloc[0]
    predictions = [
        f"{row['model']} says {page.names[row['prediction']]} ({row['confidence']:.3f})"
        for row in rows.to_dict("records")
    ]
    yield (
        f"Review {shown['id']} of the test split, labelled {escape(page.names[shown['label']])}; "
        f"{escape('; '.join(predictions))}. A row shows where one token of the best run of a "
        "model looks: the mean over the heads of the last layer, without special tokens, brought "
        "to a sum of 1. Of longer reviews, the tokens are shown that are looked at most."
    )
    yield page.file("attention", "All weights")


# heading -> the tables that it needs, and what writes it
SECTIONS: dict[str, tuple[tuple[str, ...], Callable[[Page], Iterator[str]]]] = {
    "Findings": (("findings",), findings),
    "Results": (("runs",), results),
    "How much of a text": (("cuts",), cuts),
    "Learning curve over data": (("data_curve",), data_curve),
    "Tuned learning rates": (("tuning", "budgets"), tuning),
    "Accuracy and calibration": (("conditions",), certainty),
    "By model and setting": (("estimates", "comparisons"), estimates),
    "Reliability and confusion": (("reliability", "confusion", "classes"), calibration),
    "Published and measured": (("published",), published),
    "Learning curves": (("histories",), curves),
    "Errors on the test split": (
        ("confident_errors", "shared_errors", "disagreements", "lengths"),
        errors,
    ),
    "Map of the test reviews": (("tsne", "boundary_errors"), tsne),
    "Attention in a test review": (("attention",), attention),
    "Where the seconds went": (("costs",), costs),
}


def sections(page: Page) -> Iterator[str]:
    """The paragraphs of all sections whose tables are there."""
    for heading, (needed, write) in SECTIONS.items():
        if all(name in page.tables for name in needed):
            yield f"## {heading}"
            yield from write(page)
