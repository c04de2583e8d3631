"""Predictions of a classifier on a split, and their file."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from lib.files.manifests import reading
from lib.files.whole import write_parquet

if TYPE_CHECKING:
    import pandas as pd


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


def write_predictions(path: Path, ids: np.ndarray, predictions: Predictions) -> None:
    """Write predictions.parquet: one row per example, ordered by id."""
    write_parquet(path, pa.table({"id": ids, **predictions._asdict()}).sort_by("id"))


def read_predictions(folder: Path) -> "pd.DataFrame":
    """The predictions of a run or a baseline, by `id`: label, prediction, confidence, loss."""
    import pandas as pd  # a training does without it

    path = folder / "predictions.parquet"
    with reading(path):
        found = pd.read_parquet(path, partitioning=None).set_index("id")
        return found[[*Predictions._fields]]
