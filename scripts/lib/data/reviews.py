"""Labelled texts as one table, assembled from its sources and cleaned.

Texts stay in Arrow columns; Python sees them a few thousand at a time.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lib.console import UserError
from lib.data.folding import digests

SCHEMA = pa.schema(
    [("id", pa.int64()), ("text", pa.string()), ("label", pa.int8()), ("origin", pa.string())]
)
MAX_CLASSES = 128  # labels are int8
CHUNK = 4096  # texts turned into Python strings at a time


def assemble(
    parts: Mapping[str, pa.Table],
    text_column: str,
    label_column: str,
    labels: Sequence[str] | None = None,
    where: Mapping[str, str] | None = None,
) -> pa.Table:
    """One table `id, text, label, origin` from a table per origin.

    `id` is the position in the concatenated source, before `where` leaves out any row.

    Args:
        parts: tables that hold both columns and those of `where`, by the name of their origin.
        text_column: holds the texts.
        label_column: holds class numbers or names.
        labels: names of the classes in the order of their numbers, where labels are names.
        where: rows to keep, as column and value.

    Raises:
        UserError: there is no row, a text is not text, or a label is not a class.
    """
    tables, offset = [], 0
    for origin, part in parts.items():
        keep = np.ones(part.num_rows, dtype=bool)
        for column, value in (where or {}).items():
            cells = _cells(part, column, origin)
            keep &= pc.fill_null(pc.equal(cells, value), False).to_numpy()
        columns = {
            "id": pa.array(np.arange(offset, offset + part.num_rows)),
            "text": _text(part[text_column], f"column '{text_column}' of {origin}"),
            "label": _cells(part, label_column, origin),
            "origin": pa.repeat(origin, part.num_rows),
        }
        tables.append(pa.table(columns).filter(pa.array(keep)))
        offset += part.num_rows
    table = pa.concat_tables(tables)
    if not table.num_rows:
        raise UserError("there are no reviews: the source, or what `where` keeps of it, is empty")
    numbers = _class_numbers(table, label_column, labels)
    return table.set_column(2, "label", numbers).cast(SCHEMA)


def _cells(part: pa.Table, column: str, origin: str) -> pa.ChunkedArray:
    """The cells of a column as strings."""
    try:
        return pc.cast(part[column], pa.string())
    except pa.ArrowException as error:
        raise UserError(
            f"column '{column}' of {origin} holds {part[column].type}; allowed: numbers or text"
        ) from error


def _text(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UserError(f"{name} holds {kind}, not text")
    return pc.cast(column, pa.string())  # decodes dictionaries as well


def _class_numbers(table: pa.Table, column: str, labels: Sequence[str] | None) -> pa.Array:
    """The class number of each row: the position of its name in `labels`, or its own number."""
    raw = table["label"].combine_chunks()
    present = pc.unique(raw)
    numbers = {str(name): number for number, name in enumerate(labels or ())}
    if numbers.keys().isdisjoint(present.to_pylist()):
        numbers = {str(number): number for number in range(len(numbers) or MAX_CLASSES)}
    for label in present.to_pylist():
        if label not in numbers:
            first = int(np.argmax(raw.is_null() if label is None else pc.equal(raw, label)))
            row = table.slice(first, 1)
            allowed = labels or ["whole numbers from 0 on, or names that `labels` lists"]
            raise UserError(
                f"column '{column}' of {row['origin'][0]} holds the label {label!r} "
                f"(row {row['id'][0]}, counted from 0); allowed: {', '.join(map(str, allowed))}"
            )
    encoded = pa.array([numbers[label] for label in present.to_pylist()], pa.int8())
    return encoded.take(pc.index_in(raw, value_set=present))


def clean(table: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """Drop empty texts, texts that stand under two labels, and all but the first of duplicates.

    Texts are compared in their folded form; those that stay are not altered.

    Returns:
        The rows that stay, in order, and how many were dropped for each reason.

    Raises:
        UserError: nothing stays.
    """
    frame = pd.DataFrame({"digest": digests(texts(table)), "label": table["label"].to_numpy()})
    by_text = frame.groupby("digest")["label"]
    empty = frame["digest"] == 0
    conflicting = ~empty & (by_text.transform("min") != by_text.transform("max"))
    duplicate = ~empty & ~conflicting & frame.duplicated("digest")
    dropped = {
        "empty": int(empty.sum()),
        "conflicting_labels": int(conflicting.sum()),
        "duplicates": int(duplicate.sum()),
    }
    kept = table.filter(pa.array(~(empty | conflicting | duplicate)))
    if not kept.num_rows:
        raise UserError(
            f"no reviews are left after cleaning: of {table.num_rows}, {dropped['empty']} are "
            f"empty and {dropped['conflicting_labels']} stand under two labels"
        )
    return kept, dropped


def texts(table: pa.Table) -> Iterator[str | None]:
    """The texts of a table, without ever holding all of them as Python strings."""
    for batch in table.select(["text"]).to_batches(max_chunksize=CHUNK):
        yield from batch["text"].to_pylist()


def class_counts(labels: np.ndarray, classes: int = 0) -> list[int]:
    """Number of reviews per class, for `(n,)` class numbers of at least `classes` classes.

    Raises:
        UserError: there is one class alone, or a class without reviews.
    """
    counts = np.bincount(labels, minlength=classes).tolist()
    if len(counts) < 2 or 0 in counts:
        raise UserError(
            f"the reviews per class 0, 1, ... are {counts}; there have to be two classes or more, "
            "and reviews of each"
        )
    return counts
