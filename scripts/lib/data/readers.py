"""Files of labelled texts: CSV, TSV, JSON Lines and Parquet, told apart by their names."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from lib.console import UserError, one_line

BLOCK = 64 << 20  # bytes parsed at a time, and the longest row


def read_file(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read columns of a CSV, TSV, JSON Lines or Parquet file, told apart by its name.

    Raises:
        UserError: the file can't be read, is of another kind, or lacks a column.
    """
    suffixes = [suffix for suffix in path.suffixes if suffix not in (".gz", ".bz2")]
    kind = suffixes[-1].lower() if suffixes else ""
    if kind not in _READERS:
        raise UserError(f"'{path}' is of an unknown kind; known are {', '.join(_READERS)}")
    try:
        names, read = _READERS[kind](path)
        require_columns(columns, names, f"'{path}'")
        return read(list(columns))
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"'{path}' can't be read: {one_line(error)}") from error


def require_columns(columns: Sequence[str], names: Sequence[str], source: str) -> None:
    """Check that a source has columns.

    Raises:
        UserError: one is missing.
    """
    missing = [column for column in columns if column not in names]
    if missing:
        raise UserError(f"{source} has no column '{missing[0]}'; it has: {', '.join(names)}")


Opened = tuple[list[str], Callable[[list[str]], pa.Table]]  # column names, and how to read some


def _open_csv(path: Path, delimiter: str = ",") -> Opened:
    settings = {
        "read_options": pyarrow.csv.ReadOptions(block_size=BLOCK),
        "parse_options": pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
    }

    def read(columns: list[str]) -> pa.Table:
        as_text = pyarrow.csv.ConvertOptions(
            include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
        )
        return pyarrow.csv.read_csv(path, convert_options=as_text, **settings)

    with pyarrow.csv.open_csv(path, **settings) as reader:
        return reader.schema.names, read


def _open_json(path: Path) -> Opened:
    table = pyarrow.json.read_json(path, pyarrow.json.ReadOptions(block_size=BLOCK))
    return table.column_names, table.select


def _open_parquet(path: Path) -> Opened:
    names = pq.read_schema(path).names
    return names, lambda columns: pq.read_table(path, columns=columns, partitioning=None)


_READERS: dict[str, Callable[[Path], Opened]] = {
    ".csv": _open_csv,
    ".tsv": partial(_open_csv, delimiter="\t"),
    ".jsonl": _open_json,
    ".ndjson": _open_json,
    ".parquet": _open_parquet,
}
