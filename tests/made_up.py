"""A study made up in a folder: predictions of known quality, and all that is made of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import call

import collect
import compare
import draw
import errors
import find
import forms
import lengths
import measure
import summarize
from lib.cli import write_json
from lib.predictions import Predictions, write_predictions

KEYS = ("model", "pooling", "batch", "variant", "seed")
SETTINGS = {"backend": "torch", "processes": 1, "lr_scaling": "none", "lr_scaling_base": 64}
FIGURES = {
    "learning_curves": "histories",
    "accuracy": "settings",
    "cost": "settings",
    "reliability": "reliability",
    "lengths": "lengths",
}


def right_or_wrong(n: int, accuracy: float, seed: int) -> np.ndarray:
    """`(n,)` booleans, of which a share of `accuracy` is true in expectation."""
    return np.random.default_rng(seed).random(n) < accuracy


class MadeUp:
    """A study whose runs were never trained.

    Args:
        folder: where it is.
        n: test reviews.
        classes: number of classes.
        texts: of the test reviews, repeated as needed.
    """

    def __init__(
        self, folder: Path, n: int = 400, classes: int = 2, texts: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.tables = folder / "tables"
        self.ids = np.arange(n) * 3
        self.labels = np.arange(n) % classes
        self.classes = classes
        self.runs: list[Path] = []
        self.baselines: list[Path] = []
        words = ["good", "film", "plot", "bad", "song"]
        given = texts or [" ".join(words * (1 + i % 9)) for i in range(n)]
        self.texts = [given[i % len(given)] for i in range(n)]
        self.reviews = folder / "test.parquet"
        folder.mkdir(parents=True, exist_ok=True)
        columns = {"id": self.ids, "text": self.texts, "label": self.labels}
        pq.write_table(pa.table(columns), self.reviews)

    def add(self, right: np.ndarray, *keys: str | int, **quirks: int | bool) -> None:
        """Add a run that gets some reviews right.

        Args:
            right: which ones.
            keys: model, pooling, batch, variant, seed.
            quirks: `answer`, which it gives to all instead, or `diverged`, where it ends in NaN.
        """
        path = "/".join(f"{name}={key}" for name, key in zip(KEYS, keys, strict=True))
        folder = self.folder / "runs" / "dataset=d" / path
        self.runs.append(folder)
        run = {"dataset": "d", **dict(zip(KEYS, keys, strict=True))}
        measured = self.predict(folder, right, **quirks)
        accuracy = measured["accuracy"]
        trained = {
            "best_epoch": 1,
            "train_accuracy": accuracy,
            "valid_accuracy": accuracy,
            "train_seconds": 60.0 + len(self.runs),
            "examples_per_second": 100.0,
            "parameters": 1000,
            "versions": {"torch": "0"},
            "hardware": "none",
            "device": "cpu",
            "precision": "fp32",
            "threads": 1,
        }
        (folder / "train.json").write_text(json.dumps(run | trained))
        write_json(folder / "test.json", run | measured)
        epochs = {"epoch": [1, 2], "train_loss": [0.7, 0.6], "train_accuracy": [0.5, accuracy]}
        epochs |= {"valid_loss": [0.7, 0.7], "valid_accuracy": [accuracy, 0.5]}
        pd.DataFrame(epochs).to_csv(folder / "history.csv", index=False)

    def add_baseline(self, right: np.ndarray, text: str = "full") -> None:
        """Add a baseline."""
        folder = self.folder / "baselines" / "dataset=d" / f"text={text}"
        self.baselines.append(folder)
        measured = self.predict(folder, right)
        measured |= {"valid_accuracy": 0.8, "train_accuracy": 1.0, "train_seconds": 2.0}
        (folder / "test.json").write_text(json.dumps(measured))

    def predict(
        self, folder: Path, right: np.ndarray, answer: int | None = None, diverged: bool = False
    ) -> dict[str, float]:
        """Write predictions, and return what is measured of them."""
        folder.mkdir(parents=True)
        prediction = np.where(right, self.labels, (self.labels + 1) % self.classes)
        if answer is not None:
            prediction = np.full_like(self.labels, answer)
        rest = 0.1 / (self.classes - 1)
        probabilities = np.where(np.eye(self.classes)[prediction] > 0, 0.9, rest)
        if diverged:
            probabilities = np.full_like(probabilities, np.nan)
        predictions = Predictions.of(np.log(probabilities), self.labels)
        write_predictions(folder / "predictions.parquet", self.ids, predictions)
        return predictions.measures()

    def tokens(self, model: str) -> Path:
        """A tokenized test split of which every other review is truncated."""
        path = self.folder / f"tokens-{model}.parquet"
        lengths = pa.array([8 + 8 * (i % 2) for i in range(len(self.ids))], pa.int32())
        table = pa.table({"id": self.ids, "n_tokens": lengths})
        pq.write_table(table.replace_schema_metadata({"max_length": "8"}), path)
        return path

    def baseline_flags(self) -> str:
        """The baselines as commands take them."""
        return f"--baselines {' '.join(map(str, self.baselines))}" if self.baselines else ""

    def analyse(self, variants: Mapping[str, dict] | None = None) -> pd.DataFrame:
        """Make the tables, and return the findings."""
        runs = " ".join(map(str, self.runs))
        baselines = self.baseline_flags()
        table = f"--table {self.tables}/runs.csv"
        call(collect, f"--runs {runs} --out {self.tables}")
        call(measure, f"{table} --runs {runs} {baselines} --out {self.tables}")
        call(compare, f"--runs {runs} {baselines} --out {self.tables}")
        changes = " ".join(
            f"{name}={json.dumps(SETTINGS | changed, separators=(',', ':'))}"
            for name, changed in (variants or {"base": {}}).items()
        )
        files = {
            "measures": "measures",
            "settings": "settings",
            "comparisons": "comparisons",
            "over-seeds": "comparisons_over_seeds",
        }
        given = " ".join(f"--{flag} {self.tables}/{name}.csv" for flag, name in files.items())
        call(find, f"{given} --variants {changes} --out {self.tables}/findings.csv")
        return pd.read_csv(self.tables / "findings.csv")

    def page(self, labels: Sequence[str] = ()) -> str:
        """Draw the figures and write the summary, and return its text."""
        runs = " ".join(map(str, self.runs))
        table = f"--table {self.tables}/runs.csv"
        baselines = self.baseline_flags()
        call(forms, f"{table} {baselines} --out {self.tables}")
        call(errors, f"{table} --runs {runs} --reviews {self.reviews} --out {self.tables}")
        models = dict.fromkeys(folder.parts[-5].partition("=")[2] for folder in self.runs)
        tokens = " ".join(f"{model}={self.tokens(model)}" for model in models)
        call(
            lengths,
            f"{table} --runs {runs} {baselines} --reviews {self.reviews} --tokens {tokens} "
            f"--out {self.tables}/lengths.csv",
        )
        figures = self.folder / "figures"
        for name, source in FIGURES.items():
            files = f"--svg {figures}/{name}.svg --html {figures}/{name}.html"
            call(draw, f"{name} --table {self.tables}/{source}.csv {files}")
        counts = np.bincount(self.labels).tolist()
        reviews = {"source": "s", "revision": "", "sha256": {}, "rows": 9, "dropped": {}}
        reviews |= {"reviews": 9, "classes": counts, "labels": list(labels)}
        (self.folder / "reviews.json").write_text(json.dumps(reviews))
        split = {"reviews": len(self.ids), "classes": counts}
        splits = {"seed": 1, "train": split, "valid": split, "test": split}
        (self.folder / "splits.json").write_text(json.dumps(splits))
        others = " ".join(str(path) for path in sorted(self.tables.glob("*.csv")))
        trained = " ".join(f"{folder}/train.json" for folder in self.runs)
        named = " ".join(f"{model}=hub" for model in models)
        shown = " ".join(f"{figures}/{name}.svg" for name in FIGURES)
        call(
            summarize,
            f"--study made-up --tables {self.tables}/runs.csv {others} --figures {shown} "
            f"{baselines} --trained {trained} --reviews {self.folder}/reviews.json "
            f"--splits {self.folder}/splits.json --max-length 8 --models {named} "
            f"--training none --variants base= --out {self.folder}/summary.md",
        )
        return (self.folder / "summary.md").read_text()
