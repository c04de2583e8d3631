"""What is measured on the predictions of a validation and a test."""

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from lib.predictions import Predictions


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
    majority = float(np.bincount(label).max() / len(label))
    return float(binomtest(right, len(label), majority, alternative="greater").pvalue)
