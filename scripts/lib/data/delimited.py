"""CSV and TSV files: how their values are quoted, found out by reading, and their rows."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from lib.command.console import UserError, log
from lib.data.streaming import CONVERT, LONGEST, Batches, batched, open_text, require_columns

NONE = "none"  # as a key of the configuration says that there is no such character
MARK, BACKSLASH = '"', "\\"
DELIMITERS = ",;\t|"
TROUBLES = {  # as Python words them, and in the words of an error
    "unexpected end of data": "has a quote that nothing closes",
    "expected after": "has a value that goes on after its closing quote",
    "field larger than": f"has a value of more than {LONGEST} characters",
}
ADVICE = f"say with `quote` and `escape` how its values are quoted, `quote: {NONE}` if not at all"


# Lines of a value from which on it may hold whole rows: where the quote is guessed, and where the
# configuration gives it and a text may well be a list; and the share of them that look like rows.
GUESSED, GIVEN, LIKELY = 2, 10, 0.8


class Form(NamedTuple):
    """How the values of a file are written.

    Attributes:
        delimiter: stands between values.
        quote: stands around a value that holds anything, and twice inside for itself; or empty.
        escape: stands before a character that is meant as itself; or empty.
    """

    delimiter: str
    quote: str
    escape: str


class Row(NamedTuple):
    """A row of a file.

    Attributes:
        number: of its first line.
        lines: that it stands on, until the next row is read.
        values: in it.
    """

    number: int
    lines: list[str]
    values: list[str]


def open_delimited(
    path: Path,
    columns: Sequence[str],
    delimiter: str,
    quote: str | None,
    escape: str | None,
) -> Batches:
    """Find out how a file is written, by reading it to its end, to read columns of it.

    Where `quote` or `escape` is not given, the first of the usual forms is taken in which the file
    makes sense: quotes that are doubled inside, then those that a backslash escapes, and in a TSV
    no quoting at all.

    Args:
        path: of the file.
        columns: to read: that of the texts, that of the labels if there is one, others.
        delimiter: of its form.
        quote: of its form; `none` if values are not quoted.
        escape: of its form; `none` if there is none. The quote itself means that it is doubled.

    Raises:
        UserError: it makes sense in none of the forms; the message tells the first one's trouble.
    """
    problems = []
    least = GUESSED if quote is None else GIVEN if columns[1:] else LONGEST
    for form in _forms(delimiter, quote, escape):
        try:
            check(path, columns, form, least)
        except UserError as error:
            problems.append(error)
        else:
            if problems:
                log.info("'%s' is read with the quote '%s' and the escape '%s'", path, *form[1:])
            return partial(_read, path, columns, form)
    raise problems[0]


def _forms(delimiter: str, quote: str | None, escape: str | None) -> list[Form]:
    """The forms that a file may have, the most usual one first."""
    if quote is not None or escape is not None:
        quote = MARK if quote is None else quote.replace(NONE, "")
        escape = (escape or "").replace(NONE, "").replace(quote or NONE, "")
        return [Form(delimiter, quote, escape)]
    unquoted = [Form(delimiter, "", "")] if delimiter == "\t" else []
    return [Form(delimiter, MARK, ""), Form(delimiter, MARK, BACKSLASH), *unquoted]


def check(path: Path, columns: Sequence[str], form: Form, least: int = GUESSED) -> None:
    """Check that a file makes sense in a form.

    Args:
        path: of the file.
        columns: to read, as of `open_delimited`.
        form: to be checked.
        least: lines of a value that are looked at as rows.

    Raises:
        UserError: it is empty, lacks a column, has rows of several lengths or quotes that do not
            fit, or a value swallows whole rows.
    """
    found = rows(path, form)
    _, _, names = next(found, Row(0, [], []))
    if not names:
        raise UserError(f"'{path}' can't be read: it is empty")
    if "\0" in names[0]:
        raise UserError(f"'{path}' can't be read: it holds null bytes, as UTF-16 does; {CONVERT}")
    require_columns(columns, names, f"'{path}'", _hint(names, form))
    place = names.index(columns[1]) if columns[1:] else None
    labels: Counter[str] = Counter()
    doubtful = []
    for number, lines, values in found:
        if len(values) != len(names):
            raise UserError(
                f"'{path}' can't be read: line {number} has {len(values)} values and the header "
                f"{len(names)}; mend that line, or {ADVICE}"
            )
        labels[_label(values, place)] += 1
        if len(lines) >= least and (parts := _as_rows(lines, form, len(names))):
            doubtful.append((number, [_label(part, place) for part in parts]))
    for number, inside in doubtful:
        known = labels + Counter(inside)
        others = sum(known[each] > 1 for each in inside) - 1  # one is the label of the row itself
        if 2 * others >= len(inside) - 1:
            raise UserError(
                f"'{path}' can't be read: a value that a quote begins in line {number} holds whole "
                f"rows, {len(inside)} lines in all; {ADVICE}"
            )


def _label(values: Sequence[str], place: int | None) -> str:
    """The label of a row; where there are none, all rows are alike, and so are those in a value."""
    return "" if place is None else values[place]


def _hint(names: Sequence[str], form: Form) -> str:
    """What else may divide the values of a file that has one column."""
    others = [mark for mark in DELIMITERS if mark != form.delimiter and mark in names[0]]
    if len(names) > 1 or not others:
        return ""
    return f"; write commas between its values in place of {others[0]!r}, or name it .tsv for tabs"


def _as_rows(lines: Iterable[str], form: Form, count: int) -> list[list[str]]:
    """What the lines of a row would be, were each a row of its own; nothing if most could not."""
    parts = [line.rstrip("\r\n").split(form.delimiter) for line in lines if not line.isspace()]
    fitting = [part for part in parts if len(part) == count]
    return fitting if len(fitting) > max(1, LIKELY * len(parts)) and count > 1 else []


def rows(path: Path, form: Form) -> Iterator[Row]:
    """The rows of a file, its header first; empty lines are left out.

    Raises:
        UserError: a quote is not closed, or the value goes on after it.
    """
    csv.field_size_limit(LONGEST)
    taken: list[str] = []
    number = 1
    with open_text(path) as file:
        reader = csv.reader(
            _noted(file, taken, form),
            delimiter=form.delimiter,
            quotechar=form.quote or None,
            quoting=csv.QUOTE_MINIMAL if form.quote else csv.QUOTE_NONE,
            escapechar=form.escape or None,
            strict=True,
        )
        try:
            for values in reader:
                if values:
                    yield Row(number, taken, values)
                number += len(taken)
                taken.clear()
        except csv.Error as error:
            what = next((TROUBLES[each] for each in TROUBLES if each in str(error)), str(error))
            raise UserError(
                f"'{path}' can't be read: the row that begins in line {number} {what}; {ADVICE}"
            ) from error


def _noted(file: Iterable[str], taken: list[str], form: Form) -> Iterator[str]:
    """The lines of a file, which are noted; an escape that escapes nothing is made its own text.

    Writers of quoted values escape quotes and escapes alone, and leave all other text as it is.
    """
    special = re.escape(form.delimiter + form.quote + form.escape) + "\r\n"
    escape = re.escape(form.escape)
    pattern = re.compile(f"({escape}[{special}])|{escape}")
    for line in file:
        taken.append(line)
        if form.escape and form.escape in line:
            line = pattern.sub(lambda found: found[1] or form.escape * 2, line)
        yield line


def _read(path: Path, columns: Sequence[str], form: Form) -> Iterator[pa.RecordBatch]:
    """Columns of a file, some rows at a time."""
    found = rows(path, form)
    names = next(found).values
    places = [names.index(column) for column in columns]
    cells = ([row.values[place] for place in places] for row in found)
    return batched(cells, columns)
