"""Poolings: how the states of tokens become one vector."""

from types import NoneType

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
)


def pool_cls(states: Tensor, mask: Tensor) -> Tensor:
    """The state of the first token."""
    return states[:, 0]


def pool_padded_mean(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over all positions, padding included, as several published studies have it."""
    return states.mean(dim=1)


def pool_masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over real tokens."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def pool_max(states: Tensor, mask: Tensor) -> Tensor:
    """The maximum over real tokens, per dimension."""
    return states.masked_fill(~mask.unsqueeze(-1), torch.finfo(states.dtype).min).amax(dim=1)


PADDED_MEAN = "padded-mean"
# (n, length, width) states and an (n, length) boolean mask of real tokens -> (n, width)
POOLINGS = {
    "cls": pool_cls,
    PADDED_MEAN: pool_padded_mean,
    "masked-mean": pool_masked_mean,
    "max": pool_max,
}
POOLER = "pooler"  # the encoder's own, tanh(W · first state)
OWN_HEAD = "head"  # all that the architecture's own classifier has before its last layer
NAMES = (*POOLINGS, POOLER, OWN_HEAD)


def has_pooler(encoder: PreTrainedModel) -> bool:
    """Whether an encoder has a pooler with weights of its own."""
    return not isinstance(getattr(encoder, "pooler", None), NoneType | nn.Identity)


def has_own_head(config: PreTrainedConfig) -> bool:
    """Whether transformers has a classifier of texts for an architecture."""
    return type(config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
