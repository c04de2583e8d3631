"""A classical baseline: TF-IDF with logistic regression, tuned on validation."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from threadpoolctl import threadpool_limits

from lib.command.console import UserError, log, one_line, progress
from lib.data.cutting import Cut
from lib.data.encoding import TextEncoding
from lib.data.sampling import first_of
from lib.data.words import words
from lib.files.manifests import reading
from lib.files.predictions import Predictions, write_predictions
from lib.files.whole import write_json
from lib.study.runs import keys_in, run_of
from lib.training.metrics import chance_p, fit_temperature, measure

C = (0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
RUNS = (1, 2)  # of words, the longest that is counted
LEAST = np.finfo(float).eps  # of a probability, so that one of 0 has a finite loss
TOLERANCE = 1e-8  # at 1e-4 a large C stops far from its minimum, at another accuracy


def train_baseline(
    splits: Path,
    encoder: Path | None,
    max_length: int,
    truncation: str,
    choose_by: str,
    out: Path,
    examples: int | None = None,
    seed: int | None = None,
) -> None:
    """Fit every setting, keep the best on the validation split, test it once.

    Writes predictions, probabilities and test.json, as the test of an encoder does.

    Args:
        splits: folder of the split reviews.
        encoder: reads what this encoder is fed, not the full text.
        max_length: tokens that it is fed of each review.
        truncation: which of them, as the setting of that name.
        choose_by: the measure of validation, likewise.
        out: folder to write, such as baselines/dataset=imdb/text=full.
        examples: training reviews to learn from, those of a run with this setting and seed; all
            where it is not given.
        seed: of the run.

    Raises:
        UserError: one of `examples` and `seed` is given, or there are too few reviews.
    """
    if (examples is None) != (seed is None):
        raise UserError("--examples and --seed choose the training reviews together; give both")
    texts, labels = {}, {}
    for name in ("train", "valid", "test"):
        with reading(splits / f"{name}.parquet"):
            reviews = pq.read_table(splits / f"{name}.parquet", partitioning=None)
            texts[name], labels[name] = reviews["text"].to_pylist(), reviews["label"].to_numpy()
        if encoder:
            texts[name] = seen_texts(texts[name], encoder, Cut(max_length, truncation))
    sample = {}
    if examples is not None and seed is not None:
        sample = {"examples": examples, "seed": seed}
        rows = first_of(labels["train"], examples, seed)
        texts["train"] = [texts["train"][row] for row in rows]
        labels["train"] = labels["train"][rows]
    started = time.perf_counter()
    with threadpool_limits(1):  # more threads wait for one another longer than they compute
        splits_of_tuning = texts["train"], labels["train"], texts["valid"], labels["valid"]
        model, settings = tune(*splits_of_tuning, choose_by)
    seconds = time.perf_counter() - started
    keys = run_of(out)
    read: dict[str, Any] = {"text": keys_in(out)["text"]}
    if encoder:
        read |= {"max_length": max_length, "truncation": truncation}
    measured = {"dataset": keys.dataset, "model": keys.model, **read, **sample, **settings}
    measured["train_accuracy"] = float(np.mean(model.predict(texts["train"]) == labels["train"]))
    measured["train_seconds"] = seconds
    measured["chance_p"] = chance_p(labels["valid"], model.predict(texts["valid"]))
    ids, logits = reviews["id"].to_numpy(), model.predict_log_proba(texts["test"])
    predictions = write_predictions(out, ids, logits, labels["test"], settings["temperature"])
    write_json(out / "test.json", measured | measure(predictions))
    log.info("test accuracy %.4f", predictions.accuracy())


def seen_texts(texts: list[str], encoder: Path, cut: Cut) -> list[str]:
    """The part of each text that an encoder sees: all that the tokens stand for that it is fed.

    Where tokens are left out in the middle, the ends are joined by a space.
    """
    encoding = TextEncoding(encoder)
    found = []
    for text, each in zip(texts, encoding(texts, offsets=True), strict=True):
        kept = cut.kept(np.array([0, len(each)]), encoding.frame).nonzero()[0]
        offsets = each.offsets  # a list that is made anew whenever it is asked for
        runs = np.split(kept, np.flatnonzero(np.diff(kept) > 1) + 1)
        parts = (text[seen([offsets[place] for place in run])] for run in runs)
        found.append(" ".join(filter(None, parts)))
    return found


def seen(offsets: Sequence[tuple[int, int]]) -> slice:
    """Where the first token that stands for a part of a text begins, and the last one ends."""
    spans = [(start, end) for start, end in offsets if start < end] or [(0, 0)]
    return slice(min(start for start, _ in spans), max(end for _, end in spans))


def tune(
    train: list[str],
    labels: np.ndarray,
    valid: list[str],
    valid_labels: np.ndarray,
    choose_by: str,
) -> tuple[Pipeline, dict[str, Any]]:
    """Fit every setting on the training split and keep the best on the validation split.

    Args:
        train: texts to learn from.
        labels: theirs.
        valid: texts of the validation split.
        valid_labels: theirs.
        choose_by: the measure of validation by which a setting is better, as in `training`.

    Returns:
        The fitted model, which `fit` makes again; its `c`, the longest sequence of `words` that it
        counts, its `valid_accuracy` (ties: lower validation loss, then the earlier setting), and
        the `temperature` that fits its validation.

    Raises:
        UserError: no word stands in two training texts.
    """
    best = (-math.inf, -math.inf)
    for longest in progress(RUNS, len(RUNS), "tune the baseline", "setting"):
        vectorizer, counts = count_words(train, longest)
        valid_counts = vectorizer.transform(valid)
        for c in C:
            classifier = learn(counts, labels, c)
            logits = np.log(classifier.predict_proba(valid_counts).clip(LEAST))
            found = measure(Predictions.of(logits, valid_labels))
            value = found[choose_by]
            log.info("up to %d words, C %g: validation %s %.4f", longest, c, choose_by, value)
            rank = -value if choose_by == "loss" else value, -found["loss"]
            if rank > best:
                best = rank
                model = make_pipeline(vectorizer, classifier)
                settings = {"c": c, "words": longest, "valid_accuracy": found["accuracy"]}
                settings["temperature"] = fit_temperature(logits, valid_labels)
    if settings["c"] in (C[0], C[-1]):
        log.warning(
            "the best C, %g, is at the edge of those tried, and one beyond it may be better; "
            "to try more, widen C in scripts/lib/analysis/baseline.py",
            settings["c"],
        )
    return model, settings


def fit(train: list[str], labels: np.ndarray, longest: int, c: float) -> Pipeline:
    """The model of a setting, the same as where it is tuned.

    Args:
        train: texts to learn from.
        labels: theirs.
        longest: sequence of words that is counted, as `words` of test.json tells.
        c: of the regression, likewise.

    Raises:
        UserError: no word stands in two training texts.
    """
    with threadpool_limits(1):  # more threads wait for one another longer than they compute
        vectorizer, counts = count_words(train, longest)
        return make_pipeline(vectorizer, learn(counts, labels, c))


def count_words(train: list[str], longest: int) -> tuple[TfidfVectorizer, csr_matrix]:
    """What weighs the words of texts and their sequences up to a length, and those of training."""
    vectorizer = TfidfVectorizer(
        tokenizer=words,
        token_pattern=None,
        ngram_range=(1, longest),
        min_df=2,
        sublinear_tf=True,
    )
    try:
        return vectorizer, vectorizer.fit_transform(train)
    except ValueError as error:
        raise UserError(
            f"TF-IDF finds no words in the training texts ({one_line(error)}); "
            "set analysis.baseline to false"
        ) from error


def learn(counts: csr_matrix, labels: np.ndarray, c: float) -> LogisticRegression:
    """The regression of labels on weighted counts of words."""
    classifier = LogisticRegression(C=c, solver="newton-cg", tol=TOLERANCE, max_iter=1000)
    return classifier.fit(counts, labels)
