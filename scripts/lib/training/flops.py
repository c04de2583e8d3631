"""Floating-point operations: what training needs, and what the device can do."""

import time

import torch
from torch import Tensor

from lib.training.model import Classifier

MATRIX = {"cpu": 1024, "cuda": 8192, "mps": 4096}  # rows, so that a product takes milliseconds
PRODUCTS = 5


def training_flops(model: Classifier, lengths: Tensor) -> float:
    """Operations of one forward and backward pass over examples, padding left out.

    Per token 6 for each parameter outside the embeddings and 12 * layers * width * length for
    attention over the whole length (Chowdhery et al. 2022, arXiv:2204.02311, appendix B).

    Args:
        model: the classifier.
        lengths: `(n,)` tokens of each example.
    """
    config = model.encoder.config
    parameters = model.encoder.num_parameters(exclude_embeddings=True)
    attention = 12 * config.num_hidden_layers * config.hidden_size
    lengths = lengths.double()
    return float(6 * parameters * lengths.sum() + attention * lengths.square().sum())


def peak_flops(device: torch.device, precision: str) -> float:
    """Operations per second of a large matrix product, the best of a few, as measured here."""
    rows = MATRIX[device.type]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    matrix = torch.ones(rows, rows, device=device, dtype=dtype)
    return 2 * rows**3 / min(_seconds(matrix) for _ in range(PRODUCTS))


def _seconds(matrix: Tensor) -> float:
    started = time.perf_counter()
    (matrix @ matrix)[0, 0].item()  # waits until the device is done
    return time.perf_counter() - started
