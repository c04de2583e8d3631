"""What is measured on the predictions of a test."""

from scipy.stats.contingency import chi2_contingency, crosstab
from sklearn.metrics import f1_score

from lib.predictions import Predictions


def measure(predictions: Predictions) -> dict[str, float]:
    """What test.json says of predictions: accuracy, mean loss in nats, macro F1, association."""
    label, prediction = predictions.label, predictions.prediction
    return {
        "accuracy": predictions.accuracy(),
        "loss": predictions.mean_loss(),
        "macro_f1": float(f1_score(label, prediction, average="macro", zero_division=0)),
        "association_p": association_p(predictions),
        "n": len(label),
    }


def association_p(predictions: Predictions) -> float:
    """P of the chi-squared test that predictions do not depend on labels.

    1 where there is one prediction for all: a classifier that did not learn.
    """
    counts = crosstab(predictions.label, predictions.prediction).count
    return float(chi2_contingency(counts).pvalue) if min(counts.shape) > 1 else 1.0
