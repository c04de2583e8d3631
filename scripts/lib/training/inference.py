"""A trained classifier of texts in use: labels and probabilities."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tokenizers import Encoding

from lib.data.cutting import bounds_of
from lib.data.encoder_files import CONFIG_FILE
from lib.data.encoders import class_names, load_config, using
from lib.data.encoding import TextEncoding
from lib.data.tokens import TokenFile
from lib.training.backends import Torch
from lib.training.batches import AUTO, Bounds, Tokens
from lib.training.checkpoints import load_checkpoint, read_head
from lib.training.device import choose, choose_precision
from lib.training.exported import Exported, device_of_export, is_export
from lib.training.prediction import compute

if TYPE_CHECKING:
    import pandas as pd

BATCH = 32  # texts per forward pass


class Label(NamedTuple):
    """What a text was labelled as.

    Attributes:
        label: name of the class, or its number where the configuration names none.
        confidence: its probability, at the temperature that fits validation.
    """

    label: str
    confidence: float


class TextClassifier:
    """A trained classifier of texts.

    Args:
        checkpoint: the folder `checkpoint/` of a run, one from its `checkpoints/`, a classifier
            that sentence-transformers has written, or what export.py has.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `fp32`, `tf32`, `bf16` or `fp16`.

    Attributes:
        names: of the classes, by number.

    Raises:
        UserError: the folder holds no checkpoint, or the device is not there.
    """

    def __init__(
        self, checkpoint: str | PathLike, device: str = "auto", precision: str = "auto"
    ) -> None:
        folder = Path(checkpoint)
        self.cut = read_head(folder).cut
        exported = is_export(folder)
        chosen = choose(device_of_export(device, precision) if exported else device)
        self.backend = Torch(chosen, choose_precision(precision, chosen))
        self.model = Exported(folder) if exported else load_checkpoint(folder).to(chosen)
        self.encoding = TextEncoding(folder)
        with using(folder, CONFIG_FILE):
            model = self.model
            known = load_config(folder) if isinstance(model, Exported) else model.encoder.config
            self.names = class_names(known)

    def __call__(
        self, texts: "str | Iterable[str] | pd.Series", batch: int = BATCH, first: int = 0
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
        found = self._chances(texts, batch, first)
        return [Label(self.names[row.argmax()], float(row.max())) for row in found]

    def probabilities(
        self, texts: "str | Iterable[str] | pd.Series", batch: int = BATCH
    ) -> "pd.DataFrame":
        """The probability of each class, a column by its name, a row per text.

        Args:
            texts: to label; the rows have the index of a Series.
            batch: texts per forward pass, at most.

        Raises:
            TypeError: one of them is not text.
            UserError: one of them has no tokens, or is no valid Unicode.
        """
        import pandas as pd  # a test does without it

        index = texts.index if isinstance(texts, pd.Series) else None
        return pd.DataFrame(self._chances(texts, batch, 0), index, self.names)

    def _chances(self, texts: str | Iterable[str], batch: int, first: int) -> np.ndarray:
        """`(n, classes)` float32."""
        if isinstance(texts, Mapping) or hasattr(texts, "columns"):
            raise TypeError("texts are a table; give a column of it, such as table['text']")
        texts = [texts] if isinstance(texts, str) else list(texts)
        for number, text in enumerate(texts, first):
            if not isinstance(text, str):
                raise TypeError(f"text {number} is {text!r}; give texts, and none that is missing")
        numbers = np.arange(first, first + len(texts))
        return self.chances_of(self.encoding(texts, numbers), numbers, batch)

    def chances_of(self, texts: Sequence[Encoding], numbers: np.ndarray, batch: int) -> np.ndarray:
        """The probabilities of the classes of encoded texts, `(n, classes)` float32.

        Args:
            texts: all tokens of each.
            numbers: `(n,)` of the texts, for errors.
            batch: texts per forward pass, at most.

        Raises:
            UserError: one of them has no tokens.
        """
        if not texts:
            return np.empty((0, len(self.names)), np.float32)
        bounds, tokens = Bounds.of(batch, AUTO, self.backend.device), self.tokens(texts, numbers)
        found = compute(self.model.chances, len(self.names), tokens, bounds, self.backend)
        return found.numpy(force=True)

    def tokens(self, texts: Sequence[Encoding], numbers: np.ndarray) -> Tokens:
        """What the model is fed of encoded texts, with labels that mean nothing."""
        uncut = np.fromiter(map(len, texts), np.int32)
        kept = self.cut.kept(bounds_of(uncut), self.encoding.frame)
        file = TokenFile(
            ids=numbers,
            labels=np.zeros(len(texts), np.int8),
            columns={
                name: np.fromiter(itertools.chain.from_iterable(rows), np.int32)[kept]
                for name, rows in self.encoding.columns(texts).items()
            },
            bounds=bounds_of(self.cut.lengths(uncut)),
            uncut=uncut,
            pad_id=self.encoding.pad_id,
            cut=self.cut,
            frame=self.encoding.frame,
        )
        return Tokens.of(file, self.backend.device, self.model.pooling)
