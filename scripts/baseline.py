"""Train and test a classical baseline: TF-IDF with logistic regression, tuned on validation.

It writes predictions.parquet and test.json, as the test of an encoder does.
"""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import Parser, UserError, log, one_line, positive, progress, run, write_json
from lib.runs import run_of

if TYPE_CHECKING:
    import numpy as np
    from sklearn.pipeline import Pipeline

C = (0.1, 1.0, 10.0, 100.0, 1000.0)
WORDS = (1, 2)


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--splits", required=True, type=Path, help="folder of the split reviews")
    flags.add_argument(
        "--encoder", type=Path, help="read what this encoder's tokenizer keeps, not the full text"
    )
    flags.add_argument("--max-length", type=positive, help="tokens that it keeps of each review")
    flags.add_argument(
        "--out",
        required=True,
        type=Path,
        help="folder to write, such as baselines/dataset=imdb/text=full",
    )
    return flags


def main(options: argparse.Namespace) -> None:
    """Fit every setting, keep the best on the validation split, test it once."""
    import numpy as np
    import pyarrow.parquet as pq

    from lib.predictions import Predictions, write_predictions

    texts, labels = {}, {}
    for name in ("train", "valid", "test"):
        reviews = pq.read_table(options.splits / f"{name}.parquet", partitioning=None)
        texts[name], labels[name] = reviews["text"].to_pylist(), reviews["label"].to_numpy()
        if options.encoder:
            texts[name] = seen_texts(texts[name], options.encoder, options.max_length)
    started = time.perf_counter()
    model, settings = tune(texts["train"], labels["train"], texts["valid"], labels["valid"])
    seconds = time.perf_counter() - started
    predictions = Predictions.of(model.predict_log_proba(texts["test"]), labels["test"])
    keys = run_of(options.out)
    measured = {"dataset": keys.dataset, "model": keys.model, **settings}
    measured["train_accuracy"] = float(np.mean(model.predict(texts["train"]) == labels["train"]))
    measured["train_seconds"] = seconds
    write_predictions(options.out / "predictions.parquet", reviews["id"].to_numpy(), predictions)
    write_json(options.out / "test.json", measured | predictions.measures())
    log.info("test accuracy %.4f", predictions.accuracy())


def seen_texts(texts: list[str], encoder: Path, max_length: int) -> list[str]:
    """The part of each text that an encoder sees: up to the last token that truncation keeps."""
    from lib.encoders import load_tokenizer

    tokenizer = load_tokenizer(encoder)
    tokenizer.backend_tokenizer.enable_truncation(max_length)
    encodings = tokenizer.backend_tokenizer.encode_batch(texts)
    ends = (max(end for _, end in encoding.offsets) for encoding in encodings)
    return [text[:end] for text, end in zip(texts, ends, strict=True)]


def tune(
    train: list[str], labels: "np.ndarray", valid: list[str], valid_labels: "np.ndarray"
) -> tuple["Pipeline", dict[str, Any]]:
    """Fit every setting on the training split and keep the best on the validation split.

    Returns:
        The fitted model; its `c`, the longest sequence of `words` that it counts, and its
        `valid_accuracy` (ties: lower validation loss, then the earlier setting).

    Raises:
        UserError: no word stands in two training texts.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.pipeline import make_pipeline

    best: tuple[float, float] = (-1.0, 0.0)
    for words in progress(WORDS, len(WORDS), "tune the baseline", "setting"):
        vectorizer = TfidfVectorizer(ngram_range=(1, words), min_df=2, sublinear_tf=True)
        try:
            counts = vectorizer.fit_transform(train)
        except ValueError as error:
            raise UserError(
                f"TF-IDF finds no words in the training texts ({one_line(error)}); "
                "set analysis.baseline to false"
            ) from error
        valid_counts = vectorizer.transform(valid)
        for c in C:
            classifier = LogisticRegression(C=c, max_iter=1000).fit(counts, labels)
            accuracy = classifier.score(valid_counts, valid_labels)
            loss = log_loss(valid_labels, classifier.predict_proba(valid_counts))
            log.info("up to %d words, C %g: validation accuracy %.4f", words, c, accuracy)
            if (accuracy, -loss) > best:
                best = (accuracy, -loss)
                model = make_pipeline(vectorizer, classifier)
                settings = {"c": c, "words": words, "valid_accuracy": float(accuracy)}
    return model, settings


if __name__ == "__main__":
    run(main, arguments())
