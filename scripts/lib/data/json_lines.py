"""JSON Lines: an object a line, of which the fields that are asked for are read, as texts."""

import json
import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from lib.console import UserError, one_line
from lib.data.streaming import ROWS, Batches, batched, open_text, require_columns
from lib.schema import shown, word

TYPES = {"text": str | None, "numbers or text": str | int | float | None}  # bool is an int
HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair, which is no character


def open_json_lines(path: Path, columns: Sequence[str]) -> Batches:
    """Open a file to read fields of it; those that it has are those of its first lines.

    Args:
        path: of the file.
        columns: to read: that of the texts, others.

    Raises:
        UserError: a field is in none of them, or one of these lines can't be read.
    """
    first = islice(_objects(path), ROWS)
    names = dict.fromkeys(name for _, fields in first for name in fields)
    require_columns(columns, list(names), f"'{path}'")
    return partial(_read, path, columns)


def _read(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Fields of a file as texts, some lines at a time; null where a line lacks one."""

    def cell(number: int, name: str, value: Any) -> str | None:
        allowed = "text" if name == columns[0] else "numbers or text"
        if not isinstance(value, TYPES[allowed]):
            raise UserError(
                f"column '{name}' of {path} holds {_written(value)} (line {number}); "
                f"allowed: {allowed}"
            )
        text = None if value is None else word(value)
        if text and not text.isascii() and HALF.search(text):
            raise UserError(
                f"'{path}' can't be read: line {number} holds half a surrogate pair in '{name}'; "
                "mend that line"
            )
        return text

    found = (
        [cell(number, name, fields.get(name)) for name in columns]
        for number, fields in _objects(path)
    )
    return batched(found, columns)


def _written(value: Any) -> str:
    """A value as an error shows it."""
    return "a list or an object" if isinstance(value, list | tuple) else shown(value)


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each line that is not empty, and its object; objects inside are pairs.

    Raises:
        UserError: a line is no object, or names a field twice.
    """
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if not line.isspace():
                try:
                    yield number, _object(line)
                except (ValueError, RecursionError) as error:
                    raise UserError(
                        f"'{path}' can't be read: line {number} is no JSON object "
                        f"({one_line(error)}); mend that line"
                    ) from error


def _object(line: str) -> dict[str, Any]:
    pairs = json.loads(line, object_pairs_hook=tuple)
    if not isinstance(pairs, tuple):
        raise ValueError("each has a line of its own")
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"two values of '{next(name for name in names if names.count(name) > 1)}'")
    return fields
