"""Predictions of a classifier on a split, what is measured on them, and their file."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from lib.reviews import write_table


class Predictions(NamedTuple):
    """Per example, in the order of the split.

    Attributes:
        label: `(n,)` int8, the true class.
        prediction: `(n,)` int8, the predicted class.
        confidence: `(n,)` float32, probability of the predicted class.
        loss: `(n,)` float32, cross-entropy in nats.
    """

    label: np.ndarray
    prediction: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray

    @classmethod
    def of(cls, log_probabilities: np.ndarray, label: np.ndarray) -> "Predictions":
        """Predictions from `(n, classes)` logarithms of probabilities and `(n,)` true classes."""
        rows = np.arange(len(label))
        prediction = log_probabilities.argmax(axis=1)
        return cls(
            label=label.astype(np.int8),
            prediction=prediction.astype(np.int8),
            confidence=np.exp(log_probabilities[rows, prediction]).astype(np.float32),
            loss=-log_probabilities[rows, label].astype(np.float32),
        )

    def accuracy(self) -> float:
        """Share of examples predicted right."""
        return float((self.label == self.prediction).mean())

    def mean_loss(self) -> float:
        """Mean cross-entropy in nats."""
        return float(self.loss.mean(dtype=np.float64))

    def macro_f1(self) -> float:
        """F1 score, averaged over the classes with equal weight."""
        from sklearn.metrics import f1_score  # a second to import, which training need not spend

        return float(f1_score(self.label, self.prediction, average="macro", zero_division=0))

    def association_p(self) -> float:
        """P of the chi-squared test that predictions do not depend on labels.

        1 where there is one prediction for all: a classifier that did not train.
        """
        from scipy.stats.contingency import chi2_contingency, crosstab

        counts = crosstab(self.label, self.prediction).count
        return float(chi2_contingency(counts).pvalue) if min(counts.shape) > 1 else 1.0

    def measures(self) -> dict[str, float]:
        """What test.json says of them."""
        return {
            "accuracy": self.accuracy(),
            "loss": self.mean_loss(),
            "macro_f1": self.macro_f1(),
            "association_p": self.association_p(),
            "n": len(self.label),
        }


def write_predictions(path: Path, ids: np.ndarray, predictions: Predictions) -> None:
    """Write predictions.parquet: one row per example, ordered by id."""
    write_table(path, pa.table({"id": ids, **predictions._asdict()}).sort_by("id"))


def read_predictions(folder: Path) -> pd.DataFrame:
    """The predictions of a run or a baseline, by `id`: label, prediction, confidence, loss."""
    return pd.read_parquet(folder / "predictions.parquet", partitioning=None).set_index("id")
