"""Token files: what pretokenization writes and training reads."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# Columns that the encoder is fed, one value per token.
TOKEN_COLUMNS = ("input_ids", "token_type_ids")


def schema(types: bool, pad_id: int, max_length: int) -> pa.Schema:
    """Columns of a token file, with padding token and length in its metadata.

    `n_tokens` is the length before truncation, special tokens included.

    Args:
        types: whether the tokenizer makes `token_type_ids`.
        pad_id: token that fills the end of shorter examples.
        max_length: tokens kept of each text.
    """
    columns = {
        "id": pa.int64(),
        "label": pa.int8(),
        "input_ids": pa.list_(pa.int32()),
        "token_type_ids": pa.list_(pa.int8()),
        "n_tokens": pa.int32(),
    }
    if not types:
        del columns["token_type_ids"]
    return pa.schema(columns, {"pad_id": str(pad_id), "max_length": str(max_length)})


class TokenFile(NamedTuple):
    """The content of a token file, in arrays.

    Attributes:
        ids: `(n,)` int64, of the reviews.
        labels: `(n,)` int8.
        columns: per token column a flat array, the tokens of all examples in a row.
        bounds: `(n + 1,)` int64, where each example begins, and the last ends.
        pad_id: token that fills the end of shorter examples.
        max_length: length, in tokens, that no example exceeds.
    """

    ids: np.ndarray
    labels: np.ndarray
    columns: dict[str, np.ndarray]
    bounds: np.ndarray
    pad_id: int
    max_length: int


def read_tokens(path: Path) -> TokenFile:
    """Read a token file; its arrays can be written to."""
    found = pq.read_schema(path)
    names = [name for name in TOKEN_COLUMNS if name in found.names]
    table = pq.read_table(path, columns=["id", "label", *names], memory_map=True, partitioning=None)
    lists = {name: _large_list(table[name]) for name in names}
    return TokenFile(
        ids=table["id"].to_numpy(),
        labels=table["label"].to_numpy(),
        columns={name: column.values.to_numpy().copy() for name, column in lists.items()},
        bounds=lists["input_ids"].offsets.to_numpy().copy(),
        pad_id=int(found.metadata[b"pad_id"]),
        max_length=int(found.metadata[b"max_length"]),
    )


def _large_list(column: pa.ChunkedArray) -> pa.LargeListArray:
    return column.cast(pa.large_list(column.type.value_type)).combine_chunks()


def read_lengths(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """The `id` and `n_tokens` of all examples of a token file, and its `max_length`."""
    table = pq.read_table(path, columns=["id", "n_tokens"], partitioning=None)
    longest = int(pq.read_schema(path).metadata[b"max_length"])
    return table["id"].to_numpy(), table["n_tokens"].to_numpy(), longest
