"""Files of labelled texts: CSV, TSV, JSON Lines and Parquet, told apart by their names."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from lib.console import UserError, one_line
from lib.data.streaming import Batches, read_parquet

BLOCK = 16 << 20  # bytes parsed at a time, and the longest row; 32 blocks are read ahead


def open_file(path: Path, columns: Sequence[str]) -> Batches:
    """Open a CSV, TSV, JSON Lines or Parquet file, told apart by its name, to read columns of it.

    The fields of a JSON Lines file are those of its first block.

    Returns:
        A function that reads the file, some rows at a time, anew at each call.

    Raises:
        UserError: the file can't be read, is of another kind, or lacks a column.
    """
    suffixes = [suffix for suffix in path.suffixes if suffix not in (".gz", ".bz2")]
    kind = suffixes[-1].lower() if suffixes else ""
    if kind not in _READERS:
        raise UserError(f"'{path}' is of an unknown kind; known are {', '.join(_READERS)}")
    with _explained(path):
        names, read = _READERS[kind](path)
    require_columns(columns, names, f"'{path}'")

    def batches() -> Iterator[pa.RecordBatch]:
        with _explained(path):
            yield from map(_validated, read(columns))  # which holds no batch after the next is read

    return batches


def _validated(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch whose texts are UTF-8, which Parquet does not ask of them."""
    batch.validate(full=True)
    return batch


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"'{path}' can't be read: {one_line(error)}; mend that file") from error


def require_columns(columns: Sequence[str], names: Sequence[str], source: str) -> None:
    """Check that a source has each of some columns once.

    Raises:
        UserError: one is missing, or stands there twice.
    """
    twice = [column for column in columns if names.count(column) > 1]
    if twice:
        raise UserError(f"{source} has two columns '{twice[0]}'; rename or remove one")
    missing = [column for column in columns if column not in names]
    if missing:
        raise UserError(f"{source} has no column '{missing[0]}'; it has: {', '.join(names)}")


Opened = tuple[list[str], Callable[[Sequence[str]], Iterable[pa.RecordBatch]]]  # names, reader


def _open_csv(path: Path, delimiter: str = ",") -> Opened:
    settings = {
        "read_options": pyarrow.csv.ReadOptions(block_size=BLOCK),
        "parse_options": pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
    }

    def read(columns: Sequence[str]) -> Iterable[pa.RecordBatch]:
        as_text = pyarrow.csv.ConvertOptions(
            include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
        )
        return pyarrow.csv.open_csv(path, convert_options=as_text, **settings)

    with pyarrow.csv.open_csv(path, **settings) as reader:
        return reader.schema.names, read


def _open_json(path: Path) -> Opened:
    def read(columns: Sequence[str]) -> Iterable[pa.RecordBatch]:
        for block in _lines(path):
            table = _parse_json(block)
            names = table.column_names
            for name in columns:  # that may be absent, or null, throughout the block
                if name in names and not pa.types.is_null(table[name].type):
                    continue
                empty = pa.nulls(table.num_rows, pa.string())
                table = table.drop_columns([name] if name in names else [])
                table = table.append_column(name, empty)
            yield from table.select(columns).to_batches()

    return _parse_json(next(_lines(path), b"")).column_names, read


def _lines(path: Path) -> Iterator[bytes]:
    """A file in blocks of whole lines; Arrow's own JSON stream fails where a block cuts one."""
    rest = b""
    with pa.input_stream(str(path)) as file:
        while read := file.read(BLOCK):
            lines, newline, rest = (rest + read).rpartition(b"\n")
            if newline:
                yield lines + newline
    if rest.strip():
        yield rest


def _parse_json(block: bytes) -> pa.Table:
    options = pyarrow.json.ReadOptions(block_size=len(block) + 1)
    return pyarrow.json.read_json(pa.BufferReader(block), options)


def _open_parquet(path: Path) -> Opened:
    return pq.read_schema(path).names, partial(read_parquet, path)


_READERS: dict[str, Callable[[Path], Opened]] = {
    ".csv": _open_csv,
    ".tsv": partial(_open_csv, delimiter="\t"),
    ".jsonl": _open_json,
    ".ndjson": _open_json,
    ".parquet": _open_parquet,
}
