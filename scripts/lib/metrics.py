"""Predictions of a classifier, and what is measured on them."""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from lib.backends import Torch
from lib.batches import Tokens
from lib.model import Classifier


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


@torch.inference_mode()
def predict(model: Classifier, tokens: Tokens, batch_size: int, backend: Torch) -> Predictions:
    """Predict a whole split, each example once, in evaluation mode.

    Args:
        model: left in the mode it was in.
        tokens: the split.
        batch_size: examples per forward pass.
        backend: how to compute; each of several processes computes every so many-th pass.
    """
    training = model.training
    model.eval()
    classes = model.head.out_features
    logits = torch.zeros(len(tokens), classes, device=tokens.labels.device)
    passes = torch.arange(len(tokens)).split(batch_size)
    for rows in passes[backend.rank :: backend.processes]:
        with backend.autocast():
            logits[rows[0] : rows[-1] + 1] = model(tokens.batch(rows)).float()
    logits = backend.sum(logits)  # all others left an example's logits at zero
    model.train(training)
    confidence, prediction = logits.softmax(dim=-1).max(dim=-1)
    return Predictions(
        label=tokens.labels.cpu().numpy().astype(np.int8),
        prediction=prediction.cpu().numpy().astype(np.int8),
        confidence=confidence.cpu().numpy(),
        loss=cross_entropy(logits, tokens.labels, reduction="none").cpu().numpy(),
    )
