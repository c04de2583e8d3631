"""How large the passes of a training are to begin with, by what a device's memory holds."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from lib.training.backends import Torch
from lib.training.batches import AUTO, Bounds, Tokens
from lib.training.model import Classifier

CPU_EXAMPLES = 64  # of a pass
WEIGHT = 18  # bytes of a parameter: itself, gradient, two moments of Adam, and a copy in 16 bits
SHARE = 0.7  # of what weights leave; the rest is for gradients of states, CUDA and its libraries


def first_bounds(
    settings: Mapping[str, Any], batch: int, model: Classifier, tokens: Tokens, backend: Torch
) -> Bounds:
    """The bounds of a pass to begin with: never more than this process's share of an update.

    `auto` begins with the whole share on a GPU, as far as its memory should hold it. A CPU gains
    nothing from more than `CPU_EXAMPLES`, and memory that it lacks ends the process instead of
    raising an error.

    Args:
        settings: the section `training` of the configuration.
        batch: effective batch size.
        model: on its device, in training mode.
        tokens: the training split.
        backend: how to compute.
    """
    share, on_cpu = math.ceil(batch / backend.processes), backend.device.type == "cpu"
    automatic = CPU_EXAMPLES if on_cpu else share
    examples = automatic if settings["micro_batch"] == AUTO else int(settings["micro_batch"])
    bounds = Bounds.of(min(examples, share), settings["micro_tokens"], backend.device)
    if on_cpu or settings["micro_tokens"] != AUTO:
        return bounds
    return bounds.below(fitting_tokens(model, tokens, backend))


def fitting_tokens(model: Classifier, tokens: Tokens, backend: Torch) -> int:
    """Tokens of a pass that should fit into the memory of a GPU, by what one keeps of each.

    Args:
        model: on its device, in training mode.
        tokens: of which the longest text is taken twice.
        backend: how to compute.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    free = memory_of(backend.device) - WEIGHT * parameters
    return max(1, int(SHARE * free / saved_per_token(model, tokens, backend)))


def saved_per_token(model: Classifier, tokens: Tokens, backend: Torch) -> float:
    """Bytes that a forward pass keeps for the backward pass, for each further token."""
    longest = tokens.widths.argmax().repeat(2)
    one, two = (saved_bytes(model, tokens.batch(rows), backend) for rows in (longest[:1], longest))
    return (two - one) / tokens.padded(longest[:1])


def saved_bytes(model: Classifier, inputs: dict[str, Tensor], backend: Torch) -> int:
    """Bytes of all that a forward pass keeps for the backward pass, weights included."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor), backend.autocast():
        model.forward(inputs).sum()  # which is not compiled, as `model` may be
    return sum(kept.values())


def memory_of(device: torch.device) -> int:
    """Bytes of memory that a GPU has for computing."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return torch.mps.recommended_max_memory()
