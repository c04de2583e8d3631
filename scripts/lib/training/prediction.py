"""What a classifier gives for a whole split: logits, or any other tensor per example."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lib.command.timing import timed
from lib.training.backends import Torch
from lib.training.batches import Bounds, Tokens
from lib.training.model import Classifier


@torch.no_grad()  # in inference mode, autocast would cast the weights in every pass
def compute(
    function: Callable[[dict[str, Tensor]], Tensor],
    width: int,
    tokens: Tokens,
    bounds: Bounds,
    backend: Torch,
) -> Tensor:
    """Compute `(n, width)` float32 for a split, in its order, in passes of like length.

    Args:
        function: gives `(b, width)` for a padded batch.
        width: of a row.
        tokens: the split.
        bounds: of a pass.
        backend: how to compute; each of several processes computes every so many-th pass.
    """
    device = tokens.labels.device
    found = torch.zeros(len(tokens), width, device=device)
    with backend.autocast():
        passes = list(tokens.passes(tokens.by_length(torch.arange(len(tokens))), bounds))
        for rows in passes[backend.rank :: backend.processes]:
            found[rows.to(device, non_blocking=True)] = function(tokens.batch(rows)).float()
    return backend.sum(found)  # all others left an example's row at zero


@timed("prediction")
@torch.no_grad()
def predict(model: Classifier, tokens: Tokens, bounds: Bounds, backend: Torch) -> np.ndarray:
    """The logits `(n, classes)` of a whole split, each example once, in evaluation mode.

    Args:
        model: left in the mode it was in.
        tokens: the split.
        bounds: of a pass.
        backend: how to compute.
    """
    training = model.training
    model.eval()
    logits = compute(model, model.head.out_features, tokens, bounds, backend)
    model.train(training)
    return logits.cpu().numpy()
