"""The predictions that a classifier makes on a split."""

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from lib.predictions import Predictions
from lib.training.backends import Torch
from lib.training.batches import Tokens
from lib.training.model import Classifier


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
