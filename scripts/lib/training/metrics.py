"""What is measured on the predictions of a validation and a test."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import fisher_exact, norm
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from lib.files.predictions import Predictions

CLEAR = 0.1  # above the share of the largest class, an accuracy that is clearly above it
LEVELS = (0.001, 0.05)
TEMPERATURES = (0.05, 20.0)


def measure(predictions: Predictions) -> dict[str, float]:
    """Accuracy, balanced accuracy, macro F1, mean loss in nats, count.

    Balanced accuracy is the mean over the classes that there are; macro F1 that over them and
    those that are predicted.
    """
    label, prediction = predictions.label, predictions.prediction
    present = np.unique(label)
    recall = recall_score(label, prediction, labels=present, average="macro", zero_division=0)
    return {
        "accuracy": predictions.accuracy(),
        "balanced_accuracy": float(recall),
        "macro_f1": float(f1_score(label, prediction, average="macro", zero_division=0)),
        "loss": predictions.mean_loss(),
        "n": len(label),
    }


def fit_temperature(logits: np.ndarray, label: np.ndarray) -> float:
    """What logits are divided by so that the mean loss is least, from 0.05 to 20.

    Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv:1706.04599). It is 1 where
    nothing tells: all are right, so that the loss falls with the temperature for ever, or some
    logits are not finite.

    Args:
        logits: `(n, classes)` of validation.
        label: `(n,)` true classes.
    """
    logits = logits.astype(np.float64)
    if not np.isfinite(logits).all() or (logits.argmax(axis=1) == label).all():
        return 1.0
    rows = np.arange(len(label))

    def loss(logarithm: float) -> float:
        return -float(log_softmax(logits / np.exp(logarithm), axis=1)[rows, label].mean())

    found = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded")
    return float(np.exp(found.x))


def chance_p(label: np.ndarray, prediction: np.ndarray) -> float:
    """P of as many right answers, or more, if the same predictions stood beside any labels.

    So it is the same whatever the shares of the classes, and 1 if all is predicted to be of one.
    Of two classes Fisher's exact test; of more a normal approximation, corrected for continuity,
    with the moments of all permutations (Hoeffding 1951, Annals of Mathematical Statistics 22).

    Args:
        label: `(n,)` true classes.
        prediction: `(n,)` predicted ones.
    """
    table = confusion_matrix(label, prediction)
    if len(table) == 2:
        return float(fisher_exact(table, alternative="greater").pvalue)
    n, right = table.sum(), np.eye(len(table))
    labels, predictions = table.sum(axis=1), table.sum(axis=0)
    pairs = np.outer(labels, predictions)
    expected = np.trace(pairs) / n
    moved = right - (predictions[:, None] + labels - expected) / n
    deviation = np.sqrt((pairs * moved**2).sum() / (n - 1))
    return float(norm.sf((np.trace(table) - 0.5 - expected) / deviation)) if deviation else 1.0


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
