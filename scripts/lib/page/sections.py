"""The sections of the summary, each made from the tables that it needs.

A section whose tables are not there, because its part of the analysis is turned off, is left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from lib.analysis.representatives import representatives
from lib.analysis.statistics import BINS, RESAMPLES
from lib.catalog import FIGURE
from lib.formats import plural
from lib.page import tables
from lib.page.markdown import escape

FACTORS = {
    "model": "Between models, at equal pooling, batch, variant and seed",
    "pooling": "Between poolings of a model",
    "batch": "Between effective batches of a model",
    "variant": "Between variants of a model",
    "baseline": "Encoders against the baselines",
}
OVERVIEWS = {
    "accuracy_by_model": "Accuracies per model",
    "best_epoch_by_model": "Validation accuracy with its epoch, test loss and test accuracy",
    "accuracy_by_batch": "Accuracies and duration by effective batch size",
    "loss_by_batch": "Test loss and accuracy by effective batch size",
}
CONFIDENCES = {"label": "Label", "prediction": "Predicted", "confidence": "Confidence"}


@dataclass
class Page:
    """What the sections show.

    Attributes:
        tables: the tables of the study, by name.
        figures: paths of the figures relative to the page, by name.
        folder: path of the tables relative to the page.
        baselines: what was measured of the baselines.
        names: of the classes.
        majority: accuracy of the answer that is always the most frequent class.
    """

    tables: Mapping[str, pd.DataFrame]
    figures: Mapping[str, str]
    folder: str
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

    def stand_ins(self) -> str:
        """Which run stands for each model, and why."""
        chosen = representatives(self.tables["runs"])
        keys = ("pooling", "batch", "variant", "seed")
        runs = [
            f"{row['model']} ({', '.join(f'{key} {row[key]}' for key in keys)})"
            for row in chosen.to_dict("records")
        ]
        return (
            f"One run stands for each model: {escape('; '.join(runs))}. It is chosen by validation "
            "accuracy, where possible in a condition that all models share."
        )


def findings(page: Page) -> Iterator[str]:
    """The questions with their answers."""
    yield (
        "A difference is *shown* where p is under 5% after Holm's correction over all comparisons "
        "of its kind. The test is the paired t-test over seeds where two conditions share two "
        "seeds or more, else the exact McNemar test on the test reviews of the one seed. Runs that "
        "did not learn are not compared."
    )
    for question, answers in page.tables["findings"].groupby("question", sort=False)["answer"]:
        yield "\n".join([f"**{question}**", "", *(f"- {escape(answer)}" for answer in answers)])
    yield page.file("findings", "With their numbers")


def results(page: Page) -> Iterator[str]:
    """The main table and its notes."""
    runs = page.tables["runs"]
    yield tables.results_table(runs, page.baselines)
    yield from tables.notes(runs, page.majority)
    if len(page.baselines):
        yield (
            "TF-IDF is a logistic regression on weighted counts of words, trained on the same "
            "reviews and tuned on the validation split: on the full text, and on the part of it "
            "that each encoder sees. Its duration includes the tuning; it has no seed and no part "
            "in the best values."
        )
    yield page.file("runs", "All runs, one per row")


def certainty(page: Page) -> Iterator[str]:
    """Accuracy with its interval, F1 and calibration by condition."""
    yield page.figure("accuracy")
    yield tables.conditions_table(page.tables["conditions"])
    yield (
        "The 95% interval of one seed is Wilson's, which tells how exactly the test reviews "
        "measure this one run; that of several is the t-interval of their mean. Calibration error "
        f"(expected, {BINS} bins) and Brier score are those of the predicted class; 0 is best."
    )
    yield page.file("conditions", "All conditions") + "; " + page.file("measures", "each run")
    yield page.figure("cost")


def comparisons(page: Page) -> Iterator[str]:
    """The clearest comparisons of each kind."""
    yield (
        "On the same test reviews: exact McNemar test, and bootstrap interval of the difference "
        f"({RESAMPLES:,} resamples of the reviews). Over seeds: paired t-test and its interval. "
        "p (Holm) is corrected for all comparisons of the same kind. The clearest come first."
    )
    single, several = page.tables["comparisons"], page.tables["comparisons_over_seeds"]
    failed = ~single["both_learned"]
    if failed.any():
        yield (
            f"{plural(int(failed.sum()), 'pair')} with a run that did not learn are in the file "
            "alone; the correction counts them."
        )
    single = single[~failed]
    for factor, heading in FACTORS.items():
        for table, how in ((several, "over seeds"), (single, "on the same test reviews")):
            rows = table[table["factor"] == factor]
            if len(rows):
                count = plural(len(rows), "comparison")
                yield f"**{heading}**, {how}, {count}:"
                yield tables.comparisons_table(rows)
    yield page.file("comparisons", "All pairs of runs")
    yield page.file("comparisons_over_seeds", "All pairs of conditions over seeds")


def calibration(page: Page) -> Iterator[str]:
    """Reliability, and confusion matrices."""
    yield page.stand_ins()
    yield page.figure("reliability")
    yield (
        "On the dashed line, reviews labelled with a confidence of 0.8 are right in 80% of cases; "
        "below it a model is too sure of itself. Lines are 95% Wilson intervals."
    )
    yield tables.confusion_table(page.tables["confusion"], page.tables["classes"], page.names)
    yield page.file("confusion", "Confusion matrices of all runs")


def published(page: Page) -> Iterator[str]:
    """Published figures beside the measured ones."""
    yield tables.published_table(page.tables["published"])
    yield (
        "A condition is the same where model, pooling, batch and the training settings agree that "
        "the source states. Inside tells whether the published accuracy lies in the 95% interval "
        "of the measured one. Where several conditions fit, because the source leaves some of "
        "it unsaid, their range is shown."
    )
    yield page.file("published")


def overviews(page: Page) -> Iterator[str]:
    """The results in the forms of published tables."""
    yield page.stand_ins()
    for name, heading in OVERVIEWS.items():
        yield f"**{heading}**:"
        yield tables.plain(page.tables[name])


def curves(page: Page) -> Iterator[str]:
    """Learning curves."""
    yield page.figure("learning_curves")
    yield (
        "Training values are means over an epoch, each review at the weights that it met; "
        "validation values are those at the end of the epoch. A ring marks the best epoch."
    )


def errors(page: Page) -> Iterator[str]:
    """The reviews that the models get wrong."""
    tested = page.tables["runs"]["n"].iloc[0]
    yield f"All of this is on the test split, {tested:,} reviews. {page.stand_ins()}"
    confident = page.tables["confident_errors"]
    for model, rows in confident.groupby("model", sort=False):
        yield f"**Most confidently wrong, {escape(model)}** ({plural(len(rows), 'error')}):"
        yield page.errors(rows, CONFIDENCES)
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
    yield page.file("confident_errors", "All errors")
    yield page.file("shared_errors", "All that every model gets wrong")
    yield page.file("disagreements", "All on which models disagree")
    yield page.figure("lengths")
    yield (
        "Left: fifths of the test reviews by number of words. Right: reviews that the encoder sees "
        "whole, and those of which it sees the beginning alone. Lines are 95% Wilson intervals."
    )
    yield page.file("lengths")


def tsne(page: Page) -> Iterator[str]:
    """The map of sentence vectors, and the errors on its boundary."""
    places = page.tables["tsne"]
    sample = places["id"].nunique()
    yield page.figure("tsne")
    yield (
        f"t-SNE of the pooled vectors of {sample:,} reviews of the test split, the same for each "
        f"model. {page.stand_ins()} Distances between far groups mean nothing. A model whose "
        "vectors are all alike or not finite has no map."
    )
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
    rows = page.tables["attention"].drop_duplicates("model")
    if rows.empty:
        yield "No run learned, so that there is no attention to show."
        return
    shown = rows.iloc[0]
    predictions = [
        f"{row['model']} says {page.names[row['prediction']]} ({row['confidence']:.3f})"
        for row in rows.to_dict("records")
    ]
    yield page.figure("attention")
    yield (
        f"Review {shown['id']} of the test split, labelled {escape(page.names[shown['label']])}; "
        f"{escape('; '.join(predictions))}. A row shows where one token looks: the mean over the "
        "heads of the last layer, without special tokens, brought to a sum of 1. Of longer "
        "reviews, the tokens are shown that are looked at most."
    )
    yield page.file("attention", "All weights")


# heading -> the tables that it needs, and what writes it
SECTIONS: dict[str, tuple[tuple[str, ...], Callable[[Page], Iterator[str]]]] = {
    "Findings": (("findings",), findings),
    "Results": (("runs",), results),
    "Accuracy and calibration": (("conditions",), certainty),
    "Comparisons": (("comparisons", "comparisons_over_seeds"), comparisons),
    "Reliability and confusion": (("reliability", "confusion", "classes"), calibration),
    "Published and measured": (("published",), published),
    "In the form of published tables": (tuple(OVERVIEWS), overviews),
    "Learning curves": (("histories",), curves),
    "Errors on the test split": (
        ("confident_errors", "shared_errors", "disagreements", "lengths"),
        errors,
    ),
    "Map of the test reviews": (("tsne", "boundary_errors"), tsne),
    "Attention in a test review": (("attention",), attention),
}


def sections(page: Page) -> Iterator[str]:
    """The paragraphs of all sections whose tables are there."""
    for heading, (needed, write) in SECTIONS.items():
        if all(name in page.tables for name in needed):
            yield f"## {heading}"
            yield from write(page)
