"""What is measured on the predictions of a validation and a test."""

import numpy as np
from scipy.stats import binomtest, norm
from sklearn.metrics import f1_score

from lib.files.predictions import Predictions

CLEAR = 0.1  # above the share of the largest class, an accuracy that is clearly above it
LEVELS = (0.001, 0.05)


def measure(predictions: Predictions) -> dict[str, float]:
    """What test.json says of predictions: accuracy, mean loss in nats, macro F1, count."""
    label, prediction = predictions.label, predictions.prediction
    return {
        "accuracy": predictions.accuracy(),
        "loss": predictions.mean_loss(),
        "macro_f1": float(f1_score(label, prediction, average="macro", zero_division=0)),
        "n": len(label),
    }


def chance_p(accuracy: float, label: np.ndarray) -> float:
    """P of the exact binomial test that an accuracy is not above the share of the largest class.

    Args:
        accuracy: share of examples predicted right.
        label: `(n,)` their true classes.
    """
    right = round(accuracy * len(label))
    return float(binomtest(right, len(label), majority(label), alternative="greater").pvalue)


def chance_level(label: np.ndarray) -> float:
    """The p of `chance_p` below which a run has learned, from 0.1% to 5%.

    A run that is at the share of the largest class passes it about as often as one is lost that is
    10 points above (or half of what there is above, where that is less).

    Args:
        label: `(n,)` true classes of the validation examples.
    """
    share = majority(label)
    error = np.sqrt(share * (1 - share) / len(label))
    return float(np.clip(norm.sf(min(CLEAR, (1 - share) / 2) / 2 / error), *LEVELS))


def majority(label: np.ndarray) -> float:
    """The share of the largest class."""
    return float(np.bincount(label).max() / len(label))
