"""A study made up in a folder: predictions of known quality, and all that is made of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import call

import analyse
import choose
import collect
import draw
import summary
from lib.data.cutting import Frame
from lib.data.tokens import schema
from lib.files.predictions import write_predictions
from lib.files.tables import read_table
from lib.files.whole import write_json, write_text
from lib.study.catalog import FIGURES
from lib.study.schema import options_of, word
from lib.training.metrics import chance_level, chance_p
from lib.training.metrics import measure as measure_predictions
from lib.training.progress import Epoch

TRAIN = 1200  # reviews of the training split
TEMPERATURE = 1.25
VALID = 1000  # reviews of the validation split
KEYS = ("model", "pooling", "batch", "variant", "seed")
POWERS = {"none": 0, "sqrt": 0.5, "linear": 1}
SETTINGS = {key: option["default"] for key, option in options_of("training").items()}


def right_or_wrong(n: int, accuracy: float, seed: int) -> np.ndarray:
    """`(n,)` booleans, of which a share of `accuracy` is true in expectation."""
    return np.random.default_rng(seed).random(n) < accuracy


def updates_in(settings: Mapping[str, Any], batch: int) -> int:
    """The updates of a training."""
    examples = TRAIN if settings["examples"] == "all" else settings["examples"]
    by_epochs = settings["epochs"] * -(-examples // batch)
    return by_epochs if settings["updates"] == "auto" else settings["updates"]


def losses(max_length: int, truncation: str) -> dict[str, Any]:
    """What a training tells of the parts of texts that it saw."""
    return {
        "truncation": "head" if truncation == "auto" else truncation,
        "first_tokens": max_length - 1,
        "last_tokens": 1,
        "texts_cut": 32 / max_length,
        "tokens_lost": 16 / max_length,
    }


def epoch_of(number: int, **measured: float) -> Epoch:
    """An epoch of which some numbers are given, and of the others no two are alike."""
    others = {
        "train_loss": 0.61,
        "train_accuracy": 0.62,
        "valid_loss": 0.63,
        "valid_accuracy": 0.64,
        "valid_balanced_accuracy": 0.65,
        "valid_macro_f1": 0.66,
        "temperature": 1.7,
        "chance_p": 0.067,
        "grad_norm": 6.8,
        "learning_rate": 1e-3,
        "updates": 7 * number,
        "seconds": 6.9,
    }
    return Epoch(number, **(others | measured))


def guesses(labels: np.ndarray, accuracy: float) -> np.ndarray:
    """Predictions of an accuracy: the most frequent class, but of some that are another."""
    often = np.bincount(labels).argmax()
    found = np.full_like(labels, often)
    known = round(accuracy * len(labels)) - (labels == often).sum()
    (others,), (same,) = np.nonzero(labels != often), np.nonzero(labels == often)
    found[others[: max(known, 0)]] = labels[others[: max(known, 0)]]
    found[same[: max(-known, 0)]] = (often + 1) % (labels.max() + 1)
    return found


class MadeUp:
    """A study whose runs were never trained, with splits of unequal sizes.

    Each run has three epochs: the second is its best one by validation, the last by training.

    Args:
        folder: where it is.
        n: test reviews.
        classes: number of classes.
        labels: of the test reviews; as many of each class where they are not given.
        texts: of the test reviews, repeated as needed.
        variants: what each variant changes of the defaults of training.
        noun: what the dataset calls its texts.
        groups: of the test reviews, which have none where they are not given.
        metric: of the study.
    """

    def __init__(
        self,
        folder: Path,
        n: int = 400,
        classes: int = 2,
        texts: Sequence[str] = (),
        variants: Mapping[str, dict] | None = None,
        labels: Sequence[int] | None = None,
        noun: str = "reviews",
        groups: Sequence[str | None] | None = None,
        metric: str = "accuracy",
    ) -> None:
        self.folder = folder
        self.words = f"--noun {noun} --metric {metric}"
        self.variants = variants or {}
        self.tables = folder / "tables"
        self.ids = np.arange(n) * 3
        self.labels = np.arange(n) % classes if labels is None else np.array(labels)
        self.classes = classes
        self.runs: list[Path] = []
        self.baselines: list[Path] = []
        self.samples: list[Path] = []
        self.told: dict[str, dict] = {}  # by tokens.json of a model, where it is something else
        words = ["good", "film", "plot", "bad", "song"]
        given = texts or [" ".join(words * (1 + i % 9)) for i in range(n)]
        self.texts = [given[i % len(given)] for i in range(n)]
        self.reviews = folder / "test.parquet"
        folder.mkdir(parents=True, exist_ok=True)
        columns = {"id": self.ids, "text": self.texts, "label": self.labels}
        columns |= {} if groups is None else {"group": groups}
        pq.write_table(pa.table(columns)[::-1], self.reviews)

    def add(
        self,
        right: np.ndarray,
        *keys: str | int,
        valid: float | None = None,
        seconds: float | None = None,
        train: float | None = None,
        **quirks: int | bool | np.ndarray,
    ) -> None:
        """Add a run that gets some reviews right.

        Args:
            right: which ones.
            keys: model, pooling, batch, variant, seed.
            valid: validation accuracy; that of the test where it is not given.
            seconds: of training.
            train: training accuracy; halfway from that of the test to 1 where it is not given.
            quirks: `answer`, which it gives to all instead, or to each; `confidence` of all answers
                or of each; or `diverged`, where it ends in NaN.
        """
        path = "/".join(f"{name}={key}" for name, key in zip(KEYS, keys, strict=True))
        folder = self.folder / "runs" / "dataset=d" / path
        self.runs.append(folder)
        run = {"dataset": "d", **dict(zip(KEYS, keys, strict=True))}
        measured = self.predict(folder, right, **quirks)
        accuracy = measured["accuracy"]
        valid = accuracy if valid is None else valid
        train = (1 + accuracy) / 2 if train is None else train
        seconds = seconds or 60.0 + len(self.runs)
        settings = SETTINGS | self.variants.get(run["variant"], {})
        scale = (run["batch"] / settings["lr_scaling_base"]) ** POWERS[settings["lr_scaling"]]
        labels = np.resize(self.labels, VALID)
        p, level = chance_p(labels, guesses(labels, valid)), chance_level(labels)
        training = {
            "best_epoch": 2,
            "train_accuracy": train,
            "valid_accuracy": valid,
            "valid_loss": 1 - valid,
            "temperature": TEMPERATURE,
            "diverged": quirks.get("diverged", False),
            "learned": not quirks.get("diverged") and p < level,
            "chance_p": 1.0 if quirks.get("diverged") else p,
            "chance_level": level,
            "train_seconds": seconds,
            "startup_seconds": seconds / 20,
            "examples_per_second": 6000 / seconds,
            "examples": TRAIN if settings["examples"] == "all" else settings["examples"],
            "parameters": 4_400_000,
            "versions": {"torch": "0"},
            "hardware": "none",
            "device": "cpu",
            "precision": "fp32",
            "threads": 3,
            "learning_rate": settings["learning_rate"] * scale,
            "updates": updates_in(settings, run["batch"]),
            **losses(settings["max_length"], settings["truncation"]),
            "settings": settings,
            "encoder": {"source": "hub", "id": f"org/Some-{run['model']}", "sha256": {}},
            "workflow": "0",
        }
        (folder / "train.json").write_text(json.dumps(run | training))
        write_json(folder / "test.json", run | measured)
        epochs = {"epoch": [1, 2, 3], "train_loss": [0.75, 0.6, 0.5]}
        epochs |= {"train_accuracy": [0.5, train, 0.99]}
        epochs |= {"valid_loss": [0.7, 1 - valid, 0.8], "valid_accuracy": [0.45, valid, 0.48]}
        pd.DataFrame(epochs).to_csv(folder / "history.csv", index=False)

    def add_baseline(
        self,
        right: np.ndarray,
        text: str = "full",
        chance_p: float = 0.0,
        sample: tuple[int, int] | None = None,
        cut: Mapping[str, Any] = SETTINGS,
        **quirks: int | bool | np.ndarray,
    ) -> None:
        """Add a baseline, on the full text or on what is seen of it.

        Args:
            right: as of a run.
            text: as in its path.
            chance_p: of its validation.
            sample: of the training reviews, their number and a seed.
            cut: settings of which it has `max_length` and `truncation`, unless its text is full.
            quirks: as of a run.
        """
        read = {} if text == "full" else {key: cut[key] for key in ("max_length", "truncation")}
        folder = self.folder / "baselines" / "dataset=d" / f"text={text}"
        folder = folder.joinpath(*(f"{key}={value}" for key, value in read.items()))
        if sample:
            folder = folder / f"examples={sample[0]}" / f"seed={sample[1]}"
        (self.samples if sample else self.baselines).append(folder)
        measured = self.predict(folder, right, **quirks)
        measured |= {
            "text": text,
            **read,
            "chance_p": chance_p,
            "temperature": TEMPERATURE,
            "valid_accuracy": 0.8,
            "train_accuracy": 1.0,
            "train_seconds": 2.0,
        }
        (folder / "test.json").write_text(json.dumps(measured))

    def predict(
        self,
        folder: Path,
        right: np.ndarray,
        answer: int | np.ndarray | None = None,
        confidence: float | np.ndarray = 0.9,
        diverged: bool = False,
    ) -> dict[str, float]:
        """Write predictions, and return what is measured of them."""
        folder.mkdir(parents=True)
        prediction = np.where(right, self.labels, (self.labels + 1) % self.classes)
        if answer is not None:
            prediction = np.broadcast_to(answer, self.labels.shape)
        sure = np.broadcast_to(confidence, self.labels.shape)[:, None]
        rest = (1 - sure) / (self.classes - 1)
        probabilities = np.where(np.eye(self.classes)[prediction] > 0, sure, rest)
        if diverged:
            probabilities = np.full_like(probabilities, np.nan)
        logits = np.log(probabilities)
        predictions = write_predictions(folder, self.ids, logits, self.labels, TEMPERATURE)
        return measure_predictions(predictions)

    def tokens(self, model: str) -> Path:
        """A tokenized test split of which every third review is truncated at 128 tokens."""
        path = self.folder / f"tokens/model={model}/test.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {
            "id": self.ids,
            "label": self.labels,
            "input_ids": [[0]] * len(self.ids),
            "n_tokens": [129 if i % 3 == 2 else 128 for i in range(len(self.ids))],
        }
        tokens = pa.table(columns, schema(types=False, pad_id=0, frame=Frame(1, 1, "head")))
        pq.write_table(tokens[::-1], path)
        return path

    def counts(self, model: str) -> Path:
        """What `tokens.json` tells of a model."""
        path = self.folder / f"tokens/model={model}/tokens.json"
        told = {"unknown_share": 0.0, "warning": None}
        path.write_text(json.dumps(told | self.told.get(model, {})))
        return path

    def flags(self) -> str:
        """The runs and the baselines as commands take them."""
        named = {"runs": self.runs, "baselines": self.baselines}
        return " ".join(f"--{name} {' '.join(map(str, each))}" for name, each in named.items())

    def models(self) -> list[str]:
        """The models, in the order of their first runs."""
        return list(dict.fromkeys(folder.parts[-5].partition("=")[2] for folder in self.runs))

    def analyse(self, margin: float = 1, tuned: bool = False, more: str = "") -> pd.DataFrame:
        """Make the tables, and return the findings.

        Args:
            margin: of practical equality, in points.
            tuned: whether learning rates are tuned.
            more: flags of the analysis.
        """
        write_text(self.folder / "logs" / "dataset=d" / "download.log", "12:00:00 took 1.50 s")
        runs = " ".join(map(str, self.runs))
        out = f"--out {self.tables}"
        if tuned:
            call(choose, f"--runs {runs} {out}")
        call(collect, f"--runs {runs} --logs {self.folder}/logs --tuned {word(tuned)} {out}")
        tokens = " ".join(str(self.tokens(model)) for model in self.models())
        samples = " ".join(map(str, self.samples))
        call(
            analyse,
            f"--table {self.tables}/runs.parquet {self.flags()} --samples {samples} "
            f"--reviews {self.reviews} --tokens {tokens} --margin {margin} {self.words} {more} "
            f"{out}",
        )
        return self.read("findings")

    def read(self, name: str) -> pd.DataFrame:
        """A table of the study."""
        return read_table(self.tables / f"{name}.parquet")

    def page(self, labels: Sequence[str] = (), drawn: bool = False) -> str:
        """Write the summary, and return its text.

        Args:
            labels: names of the classes.
            drawn: whether its figures are drawn; they are empty otherwise, which is quicker.
        """
        (self.folder / "figures").mkdir(exist_ok=True)
        there = {path.stem for path in self.tables.glob("*.parquet")}
        figures = [each for each in FIGURES if there.issuperset(each.tables)]
        if drawn:
            self.draw(*(name for figure in figures for name in figure.tables))
        for figure in figures if not drawn else ():
            (self.folder / f"figures/{figure.name}.svg").write_text("<svg></svg>")
        found = {"train": np.arange(TRAIN) % self.classes, "valid": np.resize(self.labels, VALID)}
        counts = {name: np.bincount(each) for name, each in {**found, "test": self.labels}.items()}
        of_all = sum(counts.values())
        reviews = {"source": "s", "revision": "", "sha256": {}, "rows": 3000, "dropped": {}}
        reviews |= {"reviews": int(of_all.sum()), "classes": of_all.tolist()}
        reviews |= {"labels": list(labels)}
        (self.folder / "reviews.json").write_text(json.dumps(reviews))
        splits = {
            name: {"reviews": int(each.sum()), "classes": each.tolist()}
            for name, each in counts.items()
        }
        splits |= {"seed": 7}
        (self.folder / "splits.json").write_text(json.dumps(splits))
        tables = " ".join(str(path) for path in sorted(self.tables.glob("*.parquet")))
        shown = " ".join(f"{self.folder}/figures/{figure.name}.svg" for figure in figures)
        call(
            summary,
            f"--study made-up --tables {tables} --figures {shown} {self.flags()} "
            f"--reviews {self.folder}/reviews.json --splits {self.folder}/splits.json "
            f"--tokens {' '.join(str(self.counts(model)) for model in self.models())} "
            f"{self.words} --out {self.folder}",
        )
        return (self.folder / "summary.md").read_text()

    def draw(self, *tables: str) -> None:
        """Draw the figures of some tables."""
        paths = " ".join(f"{self.tables}/{name}.parquet" for name in dict.fromkeys(tables))
        call(draw, f"--tables {paths} {self.words} --out {self.folder}/figures")


CLASSES = ["bad", "so-so", "good"]
MATRICES = {  # model, batch and seed -> how many reviews of each label get each answer
    ("a", 32, 1): [[24, 4, 2], [3, 15, 2], [1, 1, 8]],
    ("a", 32, 2): [[26, 3, 1], [2, 16, 2], [0, 3, 7]],
    ("a", 128, 1): [[21, 6, 3], [4, 14, 2], [2, 2, 6]],
    ("b", 32, 1): [[27, 2, 1], [6, 12, 2], [2, 3, 5]],
    ("b", 32, 2): [[28, 1, 1], [5, 13, 2], [1, 4, 5]],
    ("b", 128, 1): [[30, 0, 0], [20, 0, 0], [10, 0, 0]],
}
MEASURED = {  # training and validation accuracy, and seconds
    ("a", 32, 1): (0.91, 0.74, 100),
    ("a", 32, 2): (0.95, 0.82, 140),
    ("a", 128, 1): (0.88, 0.85, 50),
    ("b", 32, 1): (0.90, 0.71, 7200),
    ("b", 32, 2): (0.93, 0.78, 7260),
    ("b", 128, 1): (0.52, 0.50, 3600),
}
FULL_TEXT = [[29, 1, 0], [4, 14, 2], [3, 1, 6]]


def uneven(folder: Path) -> MadeUp:
    """Two models on three classes of 30, 20 and 10 test reviews; `b` at batch 128 did not learn.

    The second seed is better than the first by two reviews for either model.
    """
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    study = MadeUp(folder, 60, 3, labels=labels)
    everything = np.ones(60, bool)
    for (model, batch, seed), matrix in MATRICES.items():
        train, valid, seconds = MEASURED[model, batch, seed]
        told = {"train": train, "valid": valid, "seconds": seconds}
        told |= {"answer": answers_in(matrix), "confidence": confidences(7 if model == "a" else 31)}
        study.add(everything, model, "cls", batch, "base", seed, **told)
    study.add_baseline(everything, answer=answers_in(FULL_TEXT), confidence=confidences(13))
    return study


def answers_in(matrix: Sequence[Sequence[int]]) -> np.ndarray:
    """The answers of a confusion matrix to reviews in the order of their labels."""
    return np.concatenate([np.repeat(range(len(row)), row) for row in matrix])


def confidences(step: int) -> np.ndarray:
    """Confidences of 60 answers from 0.51 to 0.877, no two the same and none where bins meet."""
    return 0.51 + 0.38 * ((step * np.arange(60) % 60) / 60) ** 2
