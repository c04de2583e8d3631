"""Token files: what pretokenization writes and training reads."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.files.manifests import reading

# Columns that the encoder is fed, one value per token.
TOKEN_COLUMNS = ("input_ids", "token_type_ids")

ROWS = 4096  # read at a time
BUFFER = 1 << 20  # bytes of a file read at a time


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
    """Read a token file into arrays of one's own, some rows at a time.

    Raises:
        UserError: it is missing or damaged, or no token file.
    """
    with reading(path), pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
        facts = _facts(file.schema_arrow)
        names = [name for name in TOKEN_COLUMNS if name in file.schema_arrow.names]
        rows = file.metadata.num_rows
        ids, labels = np.empty(rows, np.int64), np.empty(rows, np.int8)
        columns = {name: _room(file, name) for name in names}
        bounds = np.zeros(rows + 1, np.int64)
        row = 0
        for batch in file.iter_batches(ROWS, columns=["id", "label", *names]):
            here = slice(row, row + batch.num_rows)
            ids[here], labels[here] = batch["id"], batch["label"]
            lengths = batch["input_ids"].value_lengths().to_numpy()
            bounds[row + 1 : here.stop + 1] = bounds[row] + lengths.cumsum()
            for name in names:
                columns[name][bounds[row] : bounds[here.stop]] = batch[name].flatten()
            row = here.stop
        return TokenFile(
            ids=ids,
            labels=labels,
            columns={name: column[: bounds[-1]] for name, column in columns.items()},
            bounds=bounds,
            pad_id=facts["pad_id"],
            max_length=facts["max_length"],
        )


def _room(file: pq.ParquetFile, name: str) -> np.ndarray:
    """An empty array for all tokens of a column; Parquet counts an empty list as a value."""
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    chunks = (group.column(number) for group in groups for number in range(group.num_columns))
    tokens = sum(each.num_values for each in chunks if each.path_in_schema.startswith(f"{name}."))
    return np.empty(tokens, file.schema_arrow.field(name).type.value_type.to_pandas_dtype())


def read_lengths(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """The `id` and `n_tokens` of all examples of a token file, and its `max_length`.

    Raises:
        UserError: it is missing or damaged, or no token file.
    """
    with reading(path):
        longest = _facts(pq.read_schema(path))["max_length"]
        table = pq.read_table(path, columns=["id", "n_tokens"], partitioning=None)
        return table["id"].to_numpy(), table["n_tokens"].to_numpy(), longest


def _facts(found: pa.Schema) -> dict[str, int]:
    """What the metadata of a token file tell: `pad_id` and `max_length`."""
    metadata = found.metadata or {}
    if b"pad_id" not in metadata or "input_ids" not in found.names:
        raise ValueError("it is no token file of pretokenize.py")
    return {name: int(metadata[name.encode()]) for name in ("pad_id", "max_length")}
