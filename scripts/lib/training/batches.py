"""Pre-tokenized splits on a device, the order of examples, and padded passes of like length."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.command.console import UserError
from lib.data.cutting import Cut, Frame
from lib.data.tokens import TokenFile, read_tokens

AUTO = "auto"
CPU_TOKENS = 2048
GPU_TOKENS = 32768
# The lengths of passes that autocast computes on a CPU are multiples of it: oneDNN compiles kernels
# for every new shape, which took a one-layer BERT longer than the pass itself.
AUTOCAST_WIDTHS = 32


class Bounds(NamedTuple):
    """What one pass holds at most.

    Attributes:
        examples: the micro-batch.
        tokens: padding included; a single example may be longer.
    """

    examples: int
    tokens: int

    @classmethod
    def of(cls, examples: int, micro_tokens: int | str, device: torch.device) -> "Bounds":
        """The bounds of settings; `auto` keeps a GPU busy, or fits the caches of a CPU."""
        automatic = CPU_TOKENS if device.type == "cpu" else GPU_TOKENS
        return cls(examples, automatic if micro_tokens == AUTO else int(micro_tokens))

    def below(self, tokens: int) -> "Bounds":
        """These, for passes of so many tokens at most."""
        return self._replace(tokens=min(self.tokens, tokens))


@dataclass(frozen=True)
class Tokens:
    """One tokenized split: all tokens in a row, without padding.

    Attributes:
        ids: `(n,)` int64 array of review ids.
        labels: `(n,)` int64 tensor on the device.
        columns: per token column a flat int32 or int8 tensor on the device.
        starts: `(n,)` int64 tensor on the device: where each example begins.
        ends: `(n,)` int64 tensor on the device: where the next one does.
        lengths: `(n,)` int64 tensor on the CPU, so that passes are shaped without synchronisation.
        widths: `(n,)` int64 tensor on the CPU: the length that an example asks of its batch, its
            own, or the most that the cut leaves.
        pad_id: token that fills the end of shorter examples.
        uncut: `(n,)` int32 array: tokens of each text before it was cut.
        cut: which part of the texts the examples are.
        frame: of their tokenizer.
    """

    ids: np.ndarray
    labels: Tensor
    columns: dict[str, Tensor]
    starts: Tensor
    ends: Tensor
    lengths: Tensor
    widths: Tensor
    pad_id: int
    uncut: np.ndarray
    cut: Cut
    frame: Frame

    @classmethod
    def of(cls, file: TokenFile, device: torch.device, pooling: str) -> "Tokens":
        """The content of a token file on a device.

        Args:
            file: the arrays.
            device: where tokens and batches live.
            pooling: `padded-mean` has every batch padded to the length of the cut.

        Raises:
            UserError: an example has no tokens, and so no states to pool.
        """
        bounds = torch.from_numpy(file.bounds)
        lengths = bounds.diff()
        for nothing in (lengths == 0).nonzero():
            raise UserError(
                f"text {file.ids[nothing]} has no tokens, and so no states to pool; leave it out"
            )
        return cls(
            ids=file.ids,
            labels=torch.from_numpy(file.labels.astype(np.int64)).to(device),
            columns={
                name: torch.from_numpy(column).to(device) for name, column in file.columns.items()
            },
            starts=bounds[:-1].to(device),
            ends=bounds[1:].to(device),
            lengths=lengths,
            widths=torch.full_like(lengths, file.cut.max_length)
            if pooling == "padded-mean"
            else lengths,
            pad_id=file.pad_id,
            uncut=file.uncut,
            cut=file.cut,
            frame=file.frame,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: Tensor) -> "Tokens":
        """Some examples, by an int64 tensor of rows on the CPU."""
        there = rows.to(self.starts.device)
        return replace(
            self,
            ids=self.ids[rows.numpy()],
            labels=self.labels[there],
            starts=self.starts[there],
            ends=self.ends[there],
            lengths=self.lengths[rows],
            widths=self.widths[rows],
            uncut=self.uncut[rows.numpy()],
        )

    def by_length(self, rows: Tensor) -> Tensor:
        """Rows on the CPU in the order of their widths, the longest first; alike ones as given."""
        return rows[self.widths[rows].argsort(descending=True, stable=True)]

    def passes(self, rows: Tensor, bounds: Bounds) -> Iterator[Tensor]:
        """Divide rows, as `by_length` orders them, into as few passes as the bounds allow."""
        start = 0
        while start < len(rows):
            fitting = bounds.tokens // max(1, self.length(rows[start]))
            end = start + max(1, min(fitting, bounds.examples))
            yield rows[start:end]
            start = end

    def padded(self, rows: Tensor) -> int:
        """The tokens of a batch of some examples, padding included."""
        return len(rows) * self.length(rows)

    def length(self, rows: Tensor) -> int:
        """The length of a batch of some examples."""
        width = int(self.widths[rows].max())
        if not torch.is_autocast_enabled("cpu"):
            return width
        return min(math.ceil(width / AUTOCAST_WIDTHS) * AUTOCAST_WIDTHS, self.cut.max_length)

    def batch(self, rows: Tensor) -> dict[str, Tensor]:
        """The padded inputs of some examples.

        Args:
            rows: `(b,)` int64 tensor on the CPU.

        Returns:
            `(b, length)` tensors on the device: int64 token columns and, where any of it is
            padding, a boolean `attention_mask`.
        """
        width = self.length(rows)
        whole = bool((self.lengths[rows] == width).all())
        rows = rows.to(self.starts.device, non_blocking=True)
        places = self.starts[rows, None] + torch.arange(width, device=self.starts.device)
        if whole:
            return {name: column[places].long() for name, column in self.columns.items()}
        mask = places < self.ends[rows, None]
        padding = {"input_ids": self.pad_id}
        inputs = {
            name: column[places * mask].long().masked_fill(~mask, padding.get(name, 0))
            for name, column in self.columns.items()
        }
        return inputs | {"attention_mask": mask}


def load_tokens(path: Path, cut: Cut, device: torch.device, pooling: str) -> Tokens:
    """Load a token file that pretokenize.py wrote, cut, to a device, as `Tokens.of` does."""
    return Tokens.of(read_tokens(path, cut), device, pooling)


def epoch_order(examples: int, seed: int, epoch: int) -> Tensor:
    """The order of examples in an epoch, a permutation `(n,)` on the CPU.

    It depends on its arguments alone: not on micro-batch, device or what was drawn before.
    """
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(examples))
