"""Predictions of a classifier on a split, and their files."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from scipy.special import log_softmax, softmax

from lib.files.manifests import reading
from lib.files.whole import write_parquet

if TYPE_CHECKING:
    import pandas as pd

CALIBRATED = "calibrated"  # the confidence at the temperature


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
    def of(cls, logits: np.ndarray, label: np.ndarray) -> "Predictions":
        """Predictions from what gives probabilities by softmax, such as their logarithms.

        Args:
            logits: `(n, classes)`.
            label: `(n,)` true classes.
        """
        logarithms = log_softmax(logits.astype(np.float64), axis=1)
        rows, prediction = np.arange(len(label)), logits.argmax(axis=1)
        return cls(
            label=label.astype(np.int8),
            prediction=prediction.astype(np.int8),
            confidence=np.exp(logarithms[rows, prediction]).astype(np.float32),
            loss=-logarithms[rows, label].astype(np.float32),
        )

    def accuracy(self) -> float:
        """Share of examples predicted right."""
        return float((self.label == self.prediction).mean())

    def mean_loss(self) -> float:
        """Mean cross-entropy in nats."""
        return float(self.loss.mean(dtype=np.float64))


def write_predictions(
    folder: Path, ids: np.ndarray, logits: np.ndarray, label: np.ndarray, temperature: float
) -> Predictions:
    """Write predictions.parquet and probabilities.parquet: one row per example, ordered by id.

    Args:
        folder: of a run or a baseline.
        ids: `(n,)` of the examples.
        logits: `(n, classes)`, or what gives probabilities by softmax as they do.
        label: `(n,)` true classes.
        temperature: by which logits are divided in the second file.
    """
    predictions = Predictions.of(logits, label)
    chances = softmax(logits.astype(np.float64) / temperature, axis=1).astype(np.float32)
    columns = {f"probability_{number}": chance for number, chance in enumerate(chances.T)}
    for name, rows in (("predictions", predictions._asdict()), ("probabilities", columns)):
        write_parquet(folder / f"{name}.parquet", pa.table({"id": ids, **rows}).sort_by("id"))
    return predictions


def read_predictions(folder: Path) -> "pd.DataFrame":
    """The predictions of a run or a baseline, by `id`.

    Returns:
        Label, prediction, confidence, loss, and `calibrated`, the confidence at the temperature.
    """
    import pandas as pd  # a training does without it

    tables = []
    for name in ("predictions", "probabilities"):
        path = folder / f"{name}.parquet"
        with reading(path):
            tables.append(pd.read_parquet(path, partitioning=None).set_index("id"))
            if not tables[0].index.equals(tables[-1].index):
                raise ValueError("it is of other examples than predictions.parquet")
    found, chances = tables
    return found[[*Predictions._fields]].assign(**{CALIBRATED: chances.max(axis=1)})
