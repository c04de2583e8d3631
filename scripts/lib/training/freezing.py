"""Encoders of which a part is not trained: all of them, or embeddings and lowest layers."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lib.command.console import UserError


def freeze(encoder: PreTrainedModel, how: str | int) -> None:
    """Leave weights of an encoder as they are, which then get no gradients.

    Args:
        encoder: whose weights they are.
        how: `none`, `encoder`, or a number of the lowest layers, with the embeddings before them.

    Raises:
        UserError: it has fewer layers, or none that can be told apart.
    """
    match how:
        case "none":
            fixed: Iterator[nn.Parameter] = iter(())
        case "encoder":
            fixed = encoder.parameters()
        case count:
            fixed = lowest(encoder, int(count))
    for weight in list(fixed):
        weight.requires_grad_(False)


def lowest(encoder: PreTrainedModel, count: int) -> Iterator[nn.Parameter]:
    """The weights of the lowest layers of an encoder, and of all that their input is made by.

    Raises:
        UserError: it has fewer layers, or none that can be told apart.
    """
    layers = layers_of(encoder)
    embeddings = embeddings_of(encoder, layers[0]) if layers else []
    told = len(layers) if embeddings else 0
    if count > told:
        raise UserError(
            f"freeze is {count}, but {encoder.config.model_type} has {told} layers that can be "
            f"told apart; allowed: none, encoder{f' or 1 to {told}' if told else ''}"
        )
    yield from embeddings
    yield from layers[:count].parameters()


def layers_of(encoder: PreTrainedModel) -> nn.ModuleList:
    """The layers of an encoder: its one list of as many modules as its configuration has layers.

    It is empty where layers share their weights, or their parts are in lists of their own.
    """
    count = getattr(encoder.config, "num_hidden_layers", 0)
    lists = [
        part for part in encoder.modules() if isinstance(part, nn.ModuleList) and len(part) == count
    ]
    inner = {part for each in lists for part in each.modules() if part is not each}
    outer = [each for each in lists if each not in inner]
    return outer[0] if len(outer) == 1 else nn.ModuleList()


class Reached(Exception):
    """The first layer has been called."""


def embeddings_of(encoder: PreTrainedModel, layer: nn.Module) -> list[nn.Parameter]:
    """The weights by which all that the first layer is given is made, as gradients tell.

    Positions that layers share, as in DeBERTa, are among them. There are none where the encoder
    does not call the layer as others do.

    Args:
        encoder: that is tried on a few tokens.
        layer: its first.
    """
    found: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        tensors = [x for x in (*given, *named.values()) if isinstance(x, Tensor)]
        found.extend(x for x in tensors if x.requires_grad)
        raise Reached  # layers may not take so few tokens, or other inputs

    weights = [weight for weight in encoder.parameters() if weight.requires_grad]
    ids = torch.zeros(1, 2, dtype=torch.long, device=weights[0].device)
    with suppress(Reached), layer.register_forward_pre_hook(keep, with_kwargs=True):
        encoder(input_ids=ids, attention_mask=torch.ones_like(ids))
    if not found:
        return []
    whole = torch.stack([x.sum() for x in found]).sum()
    gradients = torch.autograd.grad(whole, weights, allow_unused=True)
    pairs = zip(weights, gradients, strict=True)
    return [weight for weight, gradient in pairs if gradient is not None]
