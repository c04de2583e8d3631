"""Pre-tokenized splits on a device, the order of examples, and padded batches."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib.data.tokens import read_tokens


@dataclass(frozen=True)
class Tokens:
    """One tokenized split: all tokens in a row, without padding.

    Attributes:
        ids: `(n,)` int64 array of review ids.
        labels: `(n,)` int64 tensor on the device.
        columns: per token column a flat int32 or int8 tensor on the device.
        starts: `(n,)` int64 tensor on the device: where each example begins.
        lengths: `(n,)` int64 tensor on the device.
        host_lengths: the same on the CPU, so that batches are shaped without synchronisation.
        pad_id: token that fills the end of shorter examples.
        max_length: length, in tokens, that no example exceeds.
        pad_to_max: whether batches are padded to `max_length`, not to their longest example.
    """

    ids: np.ndarray
    labels: Tensor
    columns: dict[str, Tensor]
    starts: Tensor
    lengths: Tensor
    host_lengths: Tensor
    pad_id: int
    max_length: int
    pad_to_max: bool

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, rows: Tensor) -> dict[str, Tensor]:
        """The padded inputs of some examples.

        Args:
            rows: `(b,)` int64 tensor on the CPU.

        Returns:
            `(b, length)` tensors on the device: int64 token columns and a boolean attention mask.
        """
        width = self.max_length if self.pad_to_max else int(self.host_lengths[rows].max())
        rows = rows.to(self.starts.device, non_blocking=True)
        offsets = torch.arange(width, device=self.starts.device)
        mask = offsets < self.lengths[rows, None]
        places = (self.starts[rows, None] + offsets) * mask
        padding = {"input_ids": self.pad_id}
        inputs = {
            name: column[places].long().masked_fill(~mask, padding.get(name, 0))
            for name, column in self.columns.items()
        }
        return inputs | {"attention_mask": mask}


def load_tokens(path: Path, device: torch.device, pooling: str) -> Tokens:
    """Load a token file to a device.

    Args:
        path: a file that pretokenize.py wrote.
        device: where tokens and batches live.
        pooling: `mean` has every batch padded to `max_length`.
    """
    file = read_tokens(path)
    bounds = torch.from_numpy(file.bounds.copy())
    lengths = bounds.diff()
    return Tokens(
        ids=file.ids,
        labels=torch.from_numpy(file.labels.astype(np.int64)).to(device),
        columns={
            name: torch.from_numpy(column.copy()).to(device)
            for name, column in file.columns.items()
        },
        starts=bounds[:-1].to(device),
        lengths=lengths.to(device),
        host_lengths=lengths,
        pad_id=file.pad_id,
        max_length=file.max_length,
        pad_to_max=pooling == "mean",
    )


def epoch_order(examples: int, seed: int, epoch: int) -> Tensor:
    """The order of examples in an epoch, a permutation `(n,)` on the CPU.

    It depends on its arguments alone: not on micro-batch, device or what was drawn before.
    """
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(examples))
