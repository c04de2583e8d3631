"""Files of labelled texts: CSV, TSV, JSON Lines and Parquet, told apart by their names."""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lib.command.console import UserError, one_line
from lib.data.delimited import open_delimited
from lib.data.json_lines import open_json_lines
from lib.data.streaming import CONVERT, Batches, read_parquet, require_columns

DELIMITERS = {".csv": ",", ".tsv": "\t"}
KINDS = (*DELIMITERS, ".jsonl", ".ndjson", ".parquet")


def open_file(
    path: Path, columns: Sequence[str], quote: str | None = None, escape: str | None = None
) -> Batches:
    """Open a CSV, TSV, JSON Lines or Parquet file, told apart by its name, to read columns of it.

    Args:
        path: of the file.
        columns: to read: that of the texts, that of the labels if there is one, others.
        quote: of a CSV or TSV file, as of `open_delimited`.
        escape: of a CSV or TSV file.

    Returns:
        A function that reads the file, some rows at a time, anew at each call.

    Raises:
        UserError: the file can't be read, is of another kind, or lacks a column.
    """
    kind = kind_of(path)
    with explained(path):
        if kind in DELIMITERS:
            read = open_delimited(path, columns, DELIMITERS[kind], quote, escape)
        elif kind == ".parquet":
            require_columns(columns, pq.read_schema(path).names, f"'{path}'")
            read = partial(read_parquet, path, columns)
        elif kind in KINDS:
            read = open_json_lines(path, columns)
        else:
            raise UserError(f"'{path}' is of an unknown kind; known are {', '.join(KINDS)}")

    def batches() -> Iterator[pa.RecordBatch]:
        with explained(path):
            yield from map(_validated, read())  # which holds no batch after the next is read

    return batches


def kind_of(path: Path) -> str:
    """The suffix by which a file is known, one of `KINDS` where it is a table that can be read."""
    suffixes = [suffix for suffix in path.suffixes if suffix not in (".gz", ".bz2")]
    return suffixes[-1].lower() if suffixes else ""


def _validated(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch whose texts are UTF-8, which Parquet does not ask of them."""
    batch.validate(full=True)
    return batch


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say in one line if the block can't read a file.

    Raises:
        UserError: it is not UTF-8, or can't be read.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        utf_16 = error.object.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
        how = CONVERT if utf_16 else CONVERT.replace("UTF-16", "latin1")
        raise UserError(f"'{path}' can't be read: it is not UTF-8; {how}") from error
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"'{path}' can't be read: {one_line(error)}; mend that file") from error
