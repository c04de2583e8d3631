"""Tables that are larger than memory: read, chosen and written some rows at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.command.console import UserError
from lib.files.manifests import reading
from lib.files.whole import replacing

Batches = Callable[[], Iterator[pa.RecordBatch]]  # a table, read from its start at each call

ROWS = 4096  # read at a time
BLOCK = 1 << 22  # characters read at a time
LONGEST = 16 << 20  # characters of a text
CONVERT = "convert it, such as with: iconv -f UTF-16 -t UTF-8"
BUFFER = 1 << 20  # bytes of a file read at a time
ROW_GROUP = 64 << 20  # bytes written at a time

Kinds = Mapping[str, Callable[[pa.DataType], bool]]


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


KINDS: Kinds = {  # of the columns of reviews
    **{"id": pa.types.is_integer, "text": _is_text, "label": pa.types.is_integer},
    **{"split": _is_text, "group": _is_text},
}


class Source(NamedTuple):
    """What a source gave.

    Attributes:
        name: the source in words.
        revision: its version or commit; empty for the user's own files.
        digests: SHA-256 by file.
        parts: the columns asked for, by origin: a file or a split.
        licence: `license`, where the source tells one.
    """

    name: str
    revision: str
    digests: dict[str, str]
    parts: dict[str, Batches]
    licence: Mapping[str, str] = MappingProxyType({})


def read_parquet(
    path: Path,
    columns: Sequence[str],
    rows: int | None = None,
    kinds: Kinds | None = None,
    optional: Sequence[str] = (),
) -> Iterator[pa.RecordBatch]:
    """Columns of a Parquet file, however large its row groups are, some rows at a time.

    Args:
        path: of the file.
        columns: to read.
        rows: at a time; `ROWS` if none are given.
        kinds: by column, what tells whether a type is one that it may have.
        optional: columns to read besides, where they are there.

    Raises:
        UserError: it is missing or damaged, or lacks a column.
    """
    with reading(path), pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
        found = file.schema_arrow
        columns = [*columns, *(name for name in optional if name in found.names)]
        for name in columns:
            if name not in found.names:
                raise ValueError(f"it has no column '{name}'")
            if kinds and not kinds[name](found.field(name).type):
                raise ValueError(f"its column '{name}' holds {found.field(name).type}")
        yield from file.iter_batches(rows or ROWS, columns=columns)


def read_reviews(
    path: Path, columns: Sequence[str], rows: int | None = None, optional: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Columns of reviews.parquet or of a split; arguments as of `read_parquet`."""
    return read_parquet(path, columns, rows, KINDS, optional)


def chosen(batches: Iterable[pa.RecordBatch], keep: np.ndarray) -> Iterator[pa.RecordBatch]:
    """The rows of a stream that stay, by `(n,)` booleans over all of them."""
    start = 0
    for batch in batches:
        stop = start + batch.num_rows
        yield batch.filter(pa.array(keep[start:stop]))
        start = stop


@contextmanager
def open_text(path: Path) -> Iterator[TextIOWrapper]:
    """A file of UTF-8, compressed or not, whose lines keep their ends."""
    with pa.input_stream(str(path)) as file, TextIOWrapper(file, "utf-8-sig", newline="") as text:
        yield text


def require_columns(
    columns: Sequence[str], names: Sequence[str], source: str, hint: str = ""
) -> None:
    """Check that a source has each of some columns once.

    Raises:
        UserError: one is missing, or stands there twice.
    """
    twice = [column for column in columns if names.count(column) > 1]
    if twice:
        raise UserError(f"{source} has two columns '{twice[0]}'; rename or remove one")
    missing = [column for column in columns if column not in names]
    if missing:
        shown = (name if name.strip() == name else repr(name) for name in names)
        raise UserError(f"{source} has no column '{missing[0]}'; it has: {', '.join(shown)}{hint}")


def batched(
    rows: Iterable[Sequence[str | None]], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Rows of texts as tables, some rows at a time."""
    waiting: list[Sequence[str | None]] = []
    size = 0

    def table() -> pa.RecordBatch:
        texts = zip(*waiting, strict=True)
        return pa.RecordBatch.from_arrays([pa.array(each, pa.string()) for each in texts], columns)

    for row in rows:
        waiting.append(row)
        size += sum(len(text or "") for text in row)
        if len(waiting) >= ROWS or size >= BLOCK:
            yield table()
            waiting, size = [], 0
    if waiting:
        yield table()


@contextmanager
def writing(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Yield a function that appends rows to a Parquet file, which appears when the block ends."""
    waiting: list[pa.RecordBatch] = []

    def flush() -> None:
        writer.write_table(pa.Table.from_batches(waiting, schema).combine_chunks())
        waiting.clear()

    def append(batch: pa.RecordBatch) -> None:
        waiting.append(batch)
        if sum(each.nbytes for each in waiting) >= ROW_GROUP:
            flush()

    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        yield append
        flush()
