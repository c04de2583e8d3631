"""What the training loops that `speed.py` compares have in common."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AttentionMaskInterface, set_seed
from transformers.masking_utils import sdpa_mask

from lib.data.cutting import Cut
from lib.data.tokens import read_tokens
from lib.training.device import choose, choose_precision
from lib.training.model import Classifier, load_encoder
from lib.training.unpadding import unpad

PASS = 64  # examples per forward and backward pass
SEED = 1
POOLING = "masked-mean"


class Setup(NamedTuple):
    """What a contestant trains with.

    Attributes:
        encoder: folder of the encoder.
        valid: token file of the validation split.
        batch: effective batch size, a multiple of `PASS` if larger.
        settings: the section `training` of the configuration.
        out: folder for files.
    """

    encoder: Path
    valid: Path
    batch: int
    settings: Mapping[str, Any]
    out: Path

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        return choose(self.settings["device"])

    @property
    def cut(self) -> Cut:
        """Which part of each text is seen."""
        return Cut(self.settings["max_length"], self.settings["truncation"])

    @property
    def micro_batch(self) -> int:
        """Examples per pass."""
        return min(PASS, self.batch)

    @property
    def passes(self) -> int:
        """Passes per update."""
        return self.batch // self.micro_batch


class Loop(NamedTuple):
    """What a training loop did.

    Attributes:
        examples: trained, each once.
        updates: optimizer steps.
        seconds: of the loop alone.
        loss: mean over the epoch in nats, each example at the weights that it met.
    """

    examples: int
    updates: int
    seconds: float
    loss: float


def build(setup: Setup, stock: bool = True) -> Classifier:
    """The classifier before training, with weights that the seed decides alone.

    Args:
        setup: names encoder and device.
        stock: whether attention masks are made as transformers makes them by itself.
    """
    set_seed(SEED)
    settings = setup.settings
    encoder = load_encoder(setup.encoder, POOLING, settings["encoder_dropout"])
    if stock:
        AttentionMaskInterface.register("sdpa", sdpa_mask)
    classes = int(read_tokens(setup.valid, setup.cut).labels.max()) + 1
    classifier = Classifier(encoder, POOLING, classes, settings["dropout"])
    if settings["unpadded"]:
        unpad(classifier, setup.device, choose_precision(settings["precision"], setup.device))
    return classifier.to(setup.device)


def now(device: torch.device) -> float:
    """Seconds on a clock, when the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
