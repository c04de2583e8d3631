"""Floating-point operations: what training needs, and what the device can do."""

import time

import torch
from torch import Tensor

from lib.training.device import DTYPES, allow_tf32
from lib.training.model import Classifier

MATRIX = {"cpu": 1024, "cuda": 8192, "mps": 4096}  # rows, so that a product takes milliseconds
PRODUCTS = 5
ENOUGH = 1.0  # seconds, after which no further product is begun


def training_flops(model: Classifier, lengths: Tensor) -> float:
    """Operations of one forward and backward pass over examples, padding left out.

    Per token 6 for each parameter outside the embeddings and 12 * layers * width * length for
    attention over the whole length (Chowdhery et al. 2022, arXiv:2204.02311, appendix B). Of
    frozen layers a third of it, as there is no backward pass.

    Args:
        model: the classifier.
        lengths: `(n,)` tokens of each example.
    """
    config = model.encoder.config
    parameters, trained = (
        model.encoder.num_parameters(only_trainable=only, exclude_embeddings=True)
        for only in (False, True)
    )
    attention = 12 * config.num_hidden_layers * config.hidden_size
    lengths = lengths.double()
    whole = float(6 * parameters * lengths.sum() + attention * lengths.square().sum())
    return whole * (1 + 2 * trained / parameters) / 3


def head_flops(model: Classifier) -> float:
    """Operations of a forward and backward pass of the head over one sentence vector.

    Per weight 4: a vector that was computed before needs no gradient.

    Args:
        model: the classifier.
    """
    return 4.0 * model.head.weight.numel()


def peak_flops(device: torch.device, precision: str) -> float:
    """Operations per second of a large matrix product, the best of a few, as measured here.

    Of random numbers, as weights are: a GPU that is limited by its power multiplies ones faster.

    Args:
        device: to measure.
        precision: of the product, which is that of later ones in this process as far as TF32 goes.
    """
    allow_tf32(precision == "tf32")
    rows, dtype = MATRIX[device.type], DTYPES.get(precision, torch.float32)
    generator = torch.Generator(device).manual_seed(0)  # the random state of a training stays
    matrix = torch.randn(rows, rows, generator=generator, device=device, dtype=dtype)
    spent = [_seconds(matrix)]
    while len(spent) < PRODUCTS and sum(spent) < ENOUGH:
        spent.append(_seconds(matrix))
    return 2 * rows**3 / min(spent)


def _seconds(matrix: Tensor) -> float:
    started = time.perf_counter()
    (matrix @ matrix)[0, 0].item()  # waits until the device is done
    return time.perf_counter() - started
