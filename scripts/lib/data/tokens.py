"""Token files: what pretokenization writes and training reads."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.data.cutting import Cut, Frame, bounds_of
from lib.files.manifests import reading

# Columns that the encoder is fed, one value per token.
TOKEN_COLUMNS = ("input_ids", "token_type_ids")

ROWS = 4096  # read at a time
BUFFER = 1 << 20  # bytes of a file read at a time


def schema(types: bool, pad_id: int, frame: Frame) -> pa.Schema:
    """Columns of a token file, with padding token and special tokens in its metadata.

    `input_ids` are those of the whole text, special tokens included, and `n_tokens` their number.

    Args:
        types: whether the tokenizer makes `token_type_ids`.
        pad_id: token that fills the end of shorter examples.
        frame: of the tokenizer.
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
    facts = {"pad_id": pad_id, **frame._asdict()}
    return pa.schema(columns, {name: str(value) for name, value in facts.items()})


class TokenFile(NamedTuple):
    """The content of a token file, cut, in arrays.

    Attributes:
        ids: `(n,)` int64, of the reviews.
        labels: `(n,)` int8.
        columns: per token column a flat array, the tokens of all examples in a row.
        bounds: `(n + 1,)` int64, where each example begins, and the last ends.
        uncut: `(n,)` int32, tokens of each text before it was cut.
        pad_id: token that fills the end of shorter examples.
        cut: which part of the texts the examples are.
        frame: of their tokenizer.
    """

    ids: np.ndarray
    labels: np.ndarray
    columns: dict[str, np.ndarray]
    bounds: np.ndarray
    uncut: np.ndarray
    pad_id: int
    cut: Cut
    frame: Frame


def read_tokens(path: Path, cut: Cut) -> TokenFile:
    """Read a token file into arrays of one's own, cutting some rows at a time.

    Raises:
        UserError: it is missing or damaged, or no token file, or leaves nothing of texts but
            special tokens.
    """
    with reading(path), pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
        pad_id, frame = _facts(file.schema_arrow)
        whole = file.read(["id", "label", "n_tokens"], use_threads=False)
        ids, labels, uncut = (column.to_numpy().copy() for column in whole.columns)
        bounds = bounds_of(cut.lengths(uncut))
        names = [name for name in TOKEN_COLUMNS if name in file.schema_arrow.names]
        kinds = [file.schema_arrow.field(name).type.value_type for name in names]
        columns = {
            name: np.empty(bounds[-1], kind.to_pandas_dtype())
            for name, kind in zip(names, kinds, strict=True)
        }
        row = 0
        for batch in file.iter_batches(ROWS, columns=names):
            stop = row + batch.num_rows
            kept = cut.kept(bounds_of(uncut[row:stop]), frame)
            for name, column in columns.items():
                column[bounds[row] : bounds[stop]] = batch[name].flatten().to_numpy()[kept]
            row = stop
        return TokenFile(
            ids=ids,
            labels=labels,
            columns=columns,
            bounds=bounds,
            uncut=uncut,
            pad_id=pad_id,
            cut=cut.by(frame),
            frame=frame,
        )


def read_lengths(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The `id` and `n_tokens` of all texts of a token file.

    Raises:
        UserError: it is missing or damaged, or no token file.
    """
    with reading(path):
        _facts(pq.read_schema(path))
        table = pq.read_table(path, columns=["id", "n_tokens"], partitioning=None)
        return table["id"].to_numpy(), table["n_tokens"].to_numpy()


def _facts(found: pa.Schema) -> tuple[int, Frame]:
    """What the metadata of a token file tell: the padding token, and what is around each text."""
    told = {name.decode(): value.decode() for name, value in (found.metadata or {}).items()}
    if not {"pad_id", *Frame._fields} <= told.keys() or "input_ids" not in found.names:
        raise ValueError("it is no token file of pretokenize.py")
    return int(told["pad_id"]), Frame(int(told["before"]), int(told["after"]), told["truncation"])
