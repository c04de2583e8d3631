"""Passes without padding: texts in one row, of which each attends to itself alone.

On an NVIDIA GPU a kernel of FlashAttention takes them all, which has no dropout
(`torch.nn.attention.varlen`); on a CPU they take turns.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from lib.training.batches import Tokens

UNPADDED = "unpadded"  # the attention of transformers that reads such a row
PLACES = "places"  # key of the inputs that a padded batch has not


class Unpadded(Tokens):
    """A split whose batches are rows of texts without padding."""

    def batch(self, rows: Tensor) -> dict[str, Tensor]:
        """The inputs of some examples, all in one row.

        Args:
            rows: `(b,)` int64 tensor on the CPU.

        Returns:
            On the device: `(1, t)` int64 token columns, and `position_ids`, which begin anew with
            each text; the `(b + 1,)` int32 bounds of the texts, by the name that transformers has
            for them (FlashAttentionKwargs); the boolean `attention_mask` `(b, length)` of the
            padded batch, and the `(t,)` `places` of the tokens in it, counted through its rows.
        """
        widths = self.widths[rows]
        total, width = int(widths.sum()), int(widths.max())
        device = self.starts.device
        rows = rows.to(device, non_blocking=True)
        starts = self.starts[rows]
        lengths = self.ends[rows] - starts
        bounds = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        text = torch.repeat_interleave(
            torch.arange(len(rows), device=device), lengths, output_size=total
        )
        positions = torch.arange(total, device=device) - bounds[text]
        tokens = starts[text] + positions
        columns = {name: column[tokens].long()[None] for name, column in self.columns.items()}
        return columns | {
            "position_ids": positions[None],
            "cu_seq_lens_q": bounds.int(),
            "attention_mask": torch.arange(width, device=device) < lengths[:, None],
            PLACES: text * width + positions,
        }


def encode(encoder: PreTrainedModel, inputs: Mapping[str, Any], **options: Any) -> Any:
    """The outputs of an encoder that attends unpadded, its last states as a padded batch has them.

    Args:
        encoder: that `unpad` has set to it.
        inputs: those of `Unpadded.batch`, without what the encoder does not take.
        options: of the encoder.
    """
    mask = inputs["attention_mask"]
    given = {name: x for name, x in inputs.items() if name not in (PLACES, "attention_mask")}
    outputs = encoder(**given, max_length_q=mask.shape[1], **options)
    (states,) = outputs.last_hidden_state
    # A place gets one state or none, so that gradients are gathered, and not summed.
    padded = states.new_zeros(mask.numel(), states.shape[-1])
    padded = padded.index_copy(0, inputs[PLACES], states)
    outputs.last_hidden_state = padded.view(*mask.shape, -1)
    return outputs


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention of each text to itself, as transformers calls it.

    Args:
        module: that asks.
        query: `(1, heads, t, width)`.
        key: likewise, of as many heads or of a divisor of them.
        value: likewise.
        attention_mask: none.
        cu_seq_lens_q: `(b + 1,)` int32 bounds of the texts.
        max_length_q: tokens of the longest text.
        scaling: of the products.
        dropout: of the weights.
        sliding_window: one more than the farthest distance that is seen; all is without it.
        others: not used.

    Returns:
        `(1, t, heads, width)`, and no weights.

    Raises:
        ValueError: weights are to be dropped.
    """
    if dropout:
        raise ValueError("it drops out attention weights")
    far = -1 if sliding_window is None else sliding_window - 1
    if query.device.type == "cpu":
        return _in_turn(query, key, value, cu_seq_lens_q, scaling, far), None
    return _at_once(query, key, value, cu_seq_lens_q, max_length_q, scaling, far), None


def _at_once(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bounds: Tensor,
    longest: int,
    scaling: float | None,
    far: int,
) -> Tensor:
    """What `attend` returns, by a kernel for all texts, which sees `far` tokens to each side."""
    from torch.nn.attention.varlen import varlen_attn  # whose import warns where Triton is missing

    q, k, v = (x[0].transpose(0, 1).to(value.dtype) for x in (query, key, value))
    found: Any = varlen_attn(
        *(q, k, v, bounds, bounds, longest, longest),
        scale=scaling,
        window_size=(far, far),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return found[None]


@torch.compiler.disable
def _in_turn(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, scaling: float | None, far: int
) -> Tensor:
    """What `attend` returns, one text after the other."""
    lengths = bounds.diff().tolist()
    places = torch.arange(max(lengths))
    near = (places - places[:, None]).abs() <= far if far >= 0 else None
    parts = (x.split(lengths, dim=2) for x in (query, key, value))
    found = [
        scaled_dot_product_attention(
            *(q, k, v),
            attn_mask=None if near is None else near[:length, :length],
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        for length, q, k, v in zip(lengths, *parts, strict=True)
    ]
    return torch.cat(found, dim=2).transpose(1, 2)


AttentionInterface.register(UNPADDED, attend)
AttentionMaskInterface.register(UNPADDED, lambda *_, **__: None)
