"""Labelled texts as one stream of rows, assembled from their sources and cleaned.

What decides which rows stay is a few bytes of each; the texts are read anew when they are needed,
and Python sees a few thousand at a time.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.command.console import UserError, announcements
from lib.data.folding import digests
from lib.data.streaming import ROWS, Batches

SCHEMA = pa.schema(
    [("id", pa.int64()), ("text", pa.string()), ("label", pa.int8()), ("origin", pa.string())]
)
MAX_CLASSES = 128  # labels are int8
TEXTS = (pa.string(), pa.large_string(), pa.string_view())
WHOLE = (r"^(-?[0-9]+)\.0+$", r"\1")  # pattern and replacement


# What reviews are dropped as, in words, and what to do where a class loses many by it.
LOSSES = {
    "empty": ("empty", "look at `dataset.text_column`"),
    "conflicting_labels": ("texts under two labels", "look at `dataset.label_column`"),
    "duplicates": ("duplicates", "look at `dataset.text_column`"),
    "near_duplicates": ("near-duplicates", "raise `dataset.near_duplicates`; at 1 all stay"),
}


def counted(parts: Mapping[str, Batches], read: dict[str, int]) -> dict[str, Batches]:
    """Parts that note of each, in `read`, how many rows it has, whenever they are read."""

    def batches(origin: str) -> Iterator[pa.RecordBatch]:
        read[origin] = 0
        for batch in parts[origin]():
            read[origin] += batch.num_rows
            yield batch

    return {origin: partial(batches, origin) for origin in parts}


def assemble(
    parts: Mapping[str, Batches],
    text_column: str,
    label_column: str,
    where: Mapping[str, str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """One stream of `id, text, label, origin` from a table per origin, each label as a string.

    `id` is the position in the concatenated source, before `where` leaves out any row.

    Args:
        parts: tables that hold both columns and those of `where`, by the name of their origin.
        text_column: holds the texts.
        label_column: holds class numbers or names.
        where: rows to keep, as column and value.

    Raises:
        UserError: a text is not text, or a label or a cell of `where` is no number or text.
    """
    offset = 0
    for origin, batches in parts.items():
        for part in batches():
            keep = np.ones(part.num_rows, dtype=bool)
            for column, value in (where or {}).items():
                cells = pc.replace_substring_regex(_cells(part, column, origin), *WHOLE)
                same = pc.equal(cells, re.sub(*WHOLE, str(value)))
                keep &= pc.fill_null(same, False).to_numpy(zero_copy_only=False)
            columns = {
                "id": pa.array(np.arange(offset, offset + part.num_rows)),
                "text": _text(part[text_column], f"column '{text_column}' of {origin}"),
                "label": _cells(part, label_column, origin),
                "origin": pa.repeat(origin, part.num_rows),
            }
            yield pa.RecordBatch.from_pydict(columns).filter(pa.array(keep))
            offset += part.num_rows


def _cells(part: pa.RecordBatch, column: str, origin: str) -> pa.Array:
    """The cells of a column as strings."""
    try:
        return _as_strings(part[column])
    except pa.ArrowException as error:
        raise UserError(
            f"column '{column}' of {origin} holds {part[column].type}; allowed: numbers or text"
        ) from error


def _text(column: pa.Array, name: str) -> pa.Array:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if kind not in TEXTS:
        raise UserError(f"{name} holds {kind}; allowed: text")
    return _as_strings(column)


def _as_strings(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return pc.cast(column.dictionary, pa.string()).take(column.indices)
    return pc.cast(column, pa.string())


def survey(
    rows: Iterable[pa.RecordBatch], label_column: str, labels: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What decides which of the assembled rows stay.

    Args:
        rows: the assembled rows.
        label_column: of the source, for errors.
        labels: names of the classes in the order of their numbers, where labels are names.

    Returns:
        Of each row the digest of its text, `(n,)` uint64, and its class number, `(n,)` int8.

    Raises:
        UserError: there is no row, or a label is not a class.
    """
    hashes, others = [], []
    for batch in rows:
        hashes.append(digests(texts([batch])))
        others.append(batch.select(["id", "label", "origin"]))
    if not sum(map(len, hashes)):
        raise UserError("there are no reviews: the source, or what `where` keeps of it, is empty")
    numbers = class_numbers(pa.Table.from_batches(others), label_column, labels)
    return np.concatenate(hashes), numbers.to_numpy()


def class_numbers(table: pa.Table, column: str, labels: Sequence[str] | None) -> pa.Array:
    """The class number of each row: the position of its name in `labels`, or its own number.

    A whole number may be written as `1.0`, as pandas does where a column had gaps.

    Args:
        table: the assembled rows.
        column: of the source, for errors.
        labels: names of the classes in the order of their numbers, where labels are names.

    Raises:
        UserError: a label is not a class.
    """
    names = pa.array(map(str, labels or ()), pa.string())
    raw = pc.replace_substring_regex(table["label"].combine_chunks(), *WHOLE)
    names = pc.replace_substring_regex(names, *WHOLE)
    present = pc.unique(raw)
    numbers = {name: number for number, name in enumerate(names.to_pylist())}
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


def clean(hashes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Drop empty texts, texts that stand under two labels, and all but the first of duplicates.

    Texts are compared in their folded form.

    Args:
        hashes: `(n,)` digests of the texts.
        classes: `(n,)` class numbers.

    Returns:
        Which rows stay, as `(n,)` booleans, and how many were dropped for each reason.

    Raises:
        UserError: nothing of a class stays.
    """
    _, firsts, groups = np.unique(hashes, return_index=True, return_inverse=True)
    repeated = np.ones(len(hashes), dtype=bool)
    repeated[firsts] = False
    mixed = np.zeros(len(firsts), dtype=bool)
    mixed[groups[classes != classes[firsts][groups]]] = True
    empty = hashes == 0
    conflicting = mixed[groups] & ~empty
    duplicate = repeated & ~empty & ~conflicting
    keep = np.ones(len(hashes), dtype=bool)
    reasons = {"empty": empty, "conflicting_labels": conflicting, "duplicates": duplicate}
    return keep, {reason: drop(which, reason, keep, classes) for reason, which in reasons.items()}


def drop(which: np.ndarray, reason: str, keep: np.ndarray, classes: np.ndarray) -> int:
    """Drop rows that stood so far, warn where a class loses half of them, and count the dropped.

    Args:
        which: `(n,)` rows to drop.
        reason: a key of `LOSSES`.
        keep: `(n,)` rows that stand; changed in place.
        classes: `(n,)` class numbers.

    Raises:
        UserError: a class loses all.
    """
    before = np.bincount(classes[keep])
    lost = np.bincount(classes[which], minlength=len(before))
    keep &= ~which
    what, advice = LOSSES[reason]
    for number in np.flatnonzero(lost):
        everything = lost[number] == before[number]
        share = f"{'all' if everything else lost[number]} of its {before[number]} reviews"
        told = f"class {number} loses {share} as {what}; {advice}"
        if everything:
            raise UserError(told)
        if 2 * lost[number] >= before[number]:
            announcements.warning(told)
    return int(which.sum())


def with_classes(rows: Iterable[pa.RecordBatch], classes: np.ndarray) -> Iterator[pa.RecordBatch]:
    """The assembled rows with their `(n,)` class numbers, in the schema of reviews.parquet."""
    start = 0
    for batch in rows:
        stop = start + batch.num_rows
        yield batch.set_column(2, "label", pa.array(classes[start:stop])).cast(SCHEMA)
        start = stop


def texts(rows: Iterable[pa.RecordBatch]) -> Iterator[str | None]:
    """The texts of a stream, of which few are Python strings at a time."""
    for batch in rows:
        for start in range(0, batch.num_rows, ROWS):
            yield from batch["text"].slice(start, ROWS).to_pylist()


def class_counts(labels: np.ndarray, classes: int = 0) -> list[int]:
    """Number of reviews per class, for `(n,)` class numbers of at least `classes` classes.

    Raises:
        UserError: there is one class alone, or a class without reviews.
    """
    counts = np.bincount(labels, minlength=classes).tolist()
    if len(counts) < 2 or 0 in counts:
        raise UserError(
            f"the reviews per class 0, 1, ... are {counts}; there have to be two classes or more, "
            "and reviews of each: look at `label_column`, `labels` and `where`"
        )
    return counts
