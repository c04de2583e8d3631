"""Labels of new texts by a trained checkpoint, read exactly as in training."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import torch

from lib.backends import Torch
from lib.cli import UserError, read_json
from lib.device import choose, choose_precision
from lib.encoders import load_tokenizer
from lib.model import HEAD_CONFIG, load_checkpoint


class Label(NamedTuple):
    """What a text was labelled as.

    Attributes:
        label: name of the class, or its number where the configuration names none.
        confidence: its probability.
    """

    label: str
    confidence: float


class TextClassifier:
    """A trained classifier of texts.

    Args:
        checkpoint: the folder `checkpoint/` of a run, or one from its `checkpoints/`.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `fp32` or `bf16`.

    Raises:
        UserError: the folder holds no checkpoint, or the device is not there.
    """

    def __init__(
        self, checkpoint: str | PathLike, device: str = "auto", precision: str = "auto"
    ) -> None:
        folder = Path(checkpoint)
        if not (folder / HEAD_CONFIG).is_file():
            raise UserError(f"'{folder}' holds no checkpoint; name the folder of a finished run")
        chosen = choose(device)
        self.backend = Torch(chosen, choose_precision(precision, chosen))
        self.model = load_checkpoint(folder).to(chosen)
        self.tokenizer = load_tokenizer(folder)
        head = read_json(folder / HEAD_CONFIG)
        self.names = self.model.encoder.config.id2label
        self.max_length = head["max_length"]
        self.padding = "max_length" if head["pooling"] == "mean" else "longest"

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> list[Label]:
        """The label of each text, in their order; all are computed in one pass."""
        inputs = self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self.max_length,
            padding=self.padding,
            return_tensors="pt",
        ).to(self.backend.device)
        inputs["attention_mask"] = inputs["attention_mask"].bool()
        with self.backend.autocast():
            logits = self.model(inputs)
        confidence, prediction = logits.float().softmax(dim=-1).max(dim=-1)
        return [
            Label(self.names[number], probability)
            for number, probability in zip(prediction.tolist(), confidence.tolist(), strict=True)
        ]
