"""JSON Lines: an object a line, of which the fields that are asked for are read, as texts."""

import json
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from lib.command.console import UserError, one_line
from lib.data.streaming import Batches, batched, open_text, require_columns
from lib.study.schema import shown, word

TYPES = {"text": str | None, "numbers or text": str | int | float | None}  # bool is an int
LONG = 4000  # digits
HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair, which is no character


def open_json_lines(path: Path, columns: Sequence[str]) -> Batches:
    """Open a file to read fields of it, each of which stands in some line.

    Args:
        path: of the file.
        columns: to read: that of the texts, others.

    Raises:
        UserError: a field is in none of them, or a line before all are found can't be read.
    """
    names: dict[str, None] = {}
    for _, fields in _objects(path, columns):
        names |= dict.fromkeys(fields)
        if names.keys() >= set(columns):
            break
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
        for number, fields in _objects(path, columns)
    )
    return batched(found, columns)


def _written(value: Any) -> str:
    """A value as an error shows it."""
    return "a list or an object" if isinstance(value, list | tuple) else shown(value)


def _objects(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each line that is not empty, and its object; objects inside are pairs.

    Raises:
        UserError: a line is no object, or names one of the columns twice.
    """
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if not line.isspace():
                try:
                    yield number, _object(line, columns)
                except (ValueError, RecursionError) as error:
                    raise UserError(
                        f"'{path}' can't be read: line {number} is no JSON object "
                        f"({one_line(error)}); mend that line"
                    ) from error


def _object(line: str, columns: Sequence[str]) -> dict[str, Any]:
    pairs = json.loads(line, object_pairs_hook=tuple, parse_int=_whole)
    if not isinstance(pairs, tuple):
        raise ValueError("each has a line of its own")
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        for twice in (column for column in columns if names.count(column) > 1):
            raise ValueError(f"two values of '{twice}'")
    return fields


def _whole(digits: str) -> int | float:
    """A whole number, which Python does not read where it has thousands of digits."""
    return int(digits) if len(digits) < LONG else float(digits)
