"""What a checkpoint makes of reviews within: sentence vectors, attention."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lib.command.console import UserError
from lib.data.encoding import TextEncoding
from lib.training.backends import Torch
from lib.training.batches import AUTO, Bounds, load_tokens
from lib.training.checkpoints import load_checkpoint, read_head
from lib.training.prediction import compute

BATCH = 32  # texts per forward pass


class Vectors(NamedTuple):
    """Sentence vectors of examples.

    Attributes:
        vectors: `(n, width)` float32.
        names: of the classes, by number.
    """

    vectors: np.ndarray
    names: dict[int, str]


def sentence_vectors(checkpoint: Path, tokens: Path, ids: np.ndarray) -> Vectors:
    """Pooled sentence vectors of some reviews, on the CPU.

    Args:
        checkpoint: folder of the checkpoint.
        tokens: file of tokenized reviews.
        ids: `(n,)` ids, in ascending order, as the vectors are.
    """
    classifier = load_checkpoint(checkpoint)
    cpu = Torch(torch.device("cpu"), "fp32")
    split = load_tokens(tokens, read_head(checkpoint).cut, cpu.device, classifier.pooling)
    order = np.argsort(split.ids)
    chosen = split.select(torch.from_numpy(order[np.isin(split.ids[order], ids)]))
    bounds = Bounds.of(BATCH, AUTO, cpu.device)
    width = classifier.head.in_features
    vectors = compute(classifier.represent, width, chosen, bounds, cpu)
    return Vectors(vectors.numpy(), classifier.encoder.config.id2label)


class Attention(NamedTuple):
    """Attention between the tokens of one text, special tokens left out.

    Attributes:
        tokens: `n` pieces of the text.
        weights: `(n, n)` float32; a row is where one token looks, and sums to 1.
    """

    tokens: list[str]
    weights: np.ndarray


@torch.inference_mode()
def attention(checkpoint: Path, text: str) -> Attention:
    """Attention of the last layer, the mean over its heads, from eager attention.

    Raises:
        UserError: the text has no tokens.
    """
    classifier = load_checkpoint(checkpoint)
    encoding = TextEncoding(checkpoint)
    (found,) = encoding([text], offsets=True)
    (kept,) = read_head(checkpoint).cut.kept(np.array([0, len(found)]), encoding.frame).nonzero()
    columns = encoding.columns([found]).items()
    inputs = {name: torch.tensor(rows)[:, kept] for name, rows in columns}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    real = torch.tensor(found.special_tokens_mask)[kept] == 0
    if not real.any():
        raise UserError("the review has no tokens; set analysis.review to another id")
    weights = classifier.attend(inputs)[0].mean(dim=0)[real][:, real]
    weights = weights / weights.sum(dim=1, keepdim=True)
    offsets = found.offsets
    spans = (offsets[place] for place in kept[real.numpy()])
    tokens = [text[start:end].strip() or "␣" for start, end in spans]
    return Attention(tokens, weights.numpy())
