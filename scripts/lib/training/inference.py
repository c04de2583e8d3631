"""A trained checkpoint in use: labels of new texts, sentence vectors, attention."""

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lib.command.console import UserError
from lib.data.cutting import bounds_of
from lib.data.encoding import TextEncoding
from lib.data.tokens import TokenFile
from lib.files.whole import to_json
from lib.training.backends import Torch
from lib.training.batches import AUTO, Bounds, Tokens, load_tokens
from lib.training.checkpoints import HEAD_CONFIG, cut_of, load_checkpoint
from lib.training.device import choose, choose_precision, explain_lack_of_memory
from lib.training.prediction import compute, predict

BATCH = 32  # texts per forward pass
AT_A_TIME = 32  # batches of which texts are sorted by length


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
        precision: `auto`, `fp32`, `tf32`, `bf16` or `fp16`.

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
        self.encoding, self.cut = TextEncoding(folder), cut_of(folder)
        self.names = self.model.encoder.config.id2label

    def __call__(
        self, texts: str | Iterable[str], batch: int = BATCH, first: int = 0
    ) -> list[Label]:
        """The label of each text, in their order; of a single one as well, in a list.

        Args:
            texts: to label.
            batch: texts per forward pass, at most; passes are of like length.
            first: number of the first text, for errors.

        Raises:
            TypeError: one of them is not text.
            UserError: one of them has no tokens, or is no valid Unicode.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        for number, text in enumerate(texts, first):
            if not isinstance(text, str):
                raise TypeError(f"text {number} is {text!r}; give texts, and none that is missing")
        if not texts:
            return []
        bounds = Bounds.of(batch, AUTO, self.backend.device)
        found = predict(self.model, self._tokens(texts, first), bounds, self.backend)
        return [
            Label(self.names[number], float(probability))
            for number, probability in zip(found.prediction, found.confidence, strict=True)
        ]

    def _tokens(self, texts: Sequence[str], first: int) -> Tokens:
        """The tokens of texts, with labels that mean nothing."""
        ids = np.arange(first, first + len(texts))
        found = self.encoding(texts, ids)
        uncut = np.fromiter(map(len, found), np.int32)
        kept = self.cut.kept(bounds_of(uncut), self.encoding.frame)
        file = TokenFile(
            ids=ids,
            labels=np.zeros(len(texts), np.int8),
            columns={
                name: np.fromiter(itertools.chain.from_iterable(rows), np.int32)[kept]
                for name, rows in self.encoding.columns(found).items()
            },
            bounds=bounds_of(self.cut.lengths(uncut)),
            uncut=uncut,
            pad_id=self.encoding.pad_id,
            cut=self.cut,
            frame=self.encoding.frame,
        )
        return Tokens.of(file, self.backend.device, self.model.pooling)


def print_labels(
    run: Path,
    text: Sequence[str] | None,
    file: Path | None,
    batch: int,
    settings: Mapping[str, Any],
) -> None:
    """Print a line of JSON for each text, as soon as its batch is done.

    Texts that are all there are taken by many batches at a time, to be computed in passes of like
    length; those of standard input or a pipe, which may wait for an answer, by one.

    Args:
        run: folder of a run, or a checkpoint in it.
        text: the texts; without them those of `file`, without both those of standard input.
        file: one text on each line, in UTF-8.
        batch: texts per forward pass.
        settings: the section `training` of the configuration.

    Raises:
        UserError: there is no checkpoint, a text has no tokens, or the device is out of memory.
    """
    torch.set_num_threads(settings["threads"])
    inner = run / "checkpoint"
    checkpoint = inner if inner.is_dir() else run
    classify = TextClassifier(checkpoint, settings["device"], settings["precision"])
    at_a_time = AT_A_TIME * batch if text or (file and file.is_file()) else batch
    for number, part in enumerate(batches(read_texts(text, file), at_a_time)):
        with explain_lack_of_memory("lower --batch"):
            labels = classify(part, batch, number * at_a_time)
        for label in labels:
            print(to_json(label._asdict()))
        sys.stdout.flush()


def read_texts(given: Sequence[str] | None, file: Path | None) -> Iterator[str]:
    """The texts, one at a time."""
    if given:
        source: Any = nullcontext(map(os.fsencode, given))
    else:
        source = file.open("rb") if file else nullcontext(sys.stdin.buffer)
    with source as lines:
        for line in lines:
            yield line.decode("utf-8", "replace").rstrip("\r\n")


def batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of `size` items, of which the last may be shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


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
    split = load_tokens(tokens, cut_of(checkpoint), cpu.device, classifier.pooling)
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
    (kept,) = cut_of(checkpoint).kept(np.array([0, len(found)]), encoding.frame).nonzero()
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
