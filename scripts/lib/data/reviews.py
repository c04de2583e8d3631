"""Labelled texts as one stream of rows, assembled from their sources and cleaned.

What decides which rows stay is a few bytes of each; the texts are read anew when they are needed,
and Python sees a few thousand at a time.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.command.console import UserError, announcements
from lib.data.division import SPLITS, WORDS
from lib.data.folding import digests
from lib.data.streaming import ROWS, Batches

SCHEMA = pa.schema(
    [("id", pa.int64()), ("text", pa.string()), ("label", pa.int8()), ("origin", pa.string())]
)
SPLIT, GROUP = (pa.field(name, pa.string()) for name in ("split", "group"))  # where there are any
MAX_CLASSES = 128  # labels are int8
TEXTS = (pa.string(), pa.large_string(), pa.string_view())
WHOLE = (r"^(-?[0-9]+)\.0+$", r"\1")  # pattern and replacement
RANKS = {"train": 3, "valid": 2, "test": 1}  # of repeats, the lowest stays; of a test, 0 if all do

# What reviews are dropped as, in words, and what to do where a class loses many by it.
LOSSES = {
    "empty": ("empty", "look at `dataset.text_column`"),
    "conflicting_labels": ("texts under two labels", "look at `dataset.label_column`"),
    "in_another_split": ("texts of another split", "look at what each split is read from"),
    "duplicates": ("duplicates", "look at `dataset.text_column`"),
    "near_duplicates_of_another_split": (
        "near-duplicates of texts of another split",
        "raise `dataset.near_duplicates`; at 1 all stay",
    ),
    "near_duplicates": ("near-duplicates", "raise `dataset.near_duplicates`; at 1 all stay"),
    "group_in_another_split": ("texts whose group stands in another split", "see `split.group`"),
}


class Layout(NamedTuple):
    """Where in a source stands what.

    Attributes:
        text: column of the texts.
        label: column of class numbers or names.
        where: rows to keep, as column and value.
        group: column of groups, if they are asked for.
        split: column that tells the split of each row, if one does.
        origins: the split of each origin, where these make up a division.
    """

    text: str
    label: str
    where: Mapping[str, str] = {}
    group: str | None = None
    split: str | None = None
    origins: Mapping[str, str] = {}

    def columns(self) -> list[str]:
        """The columns to read, that of the texts and that of the labels first."""
        named = [self.text, self.label, *self.where, self.split, self.group]
        return list(dict.fromkeys(column for column in named if column is not None))

    def is_divided(self) -> bool:
        """Whether the source tells the split of each row."""
        return bool(self.split or self.origins)

    def schema(self) -> pa.Schema:
        """That of reviews.parquet."""
        return pa.schema([*SCHEMA, *[SPLIT] * self.is_divided(), *[GROUP] * bool(self.group)])


class Survey(NamedTuple):
    """What decides which of the assembled rows stay, a value for each.

    Attributes:
        hashes: `(n,)` digests of the texts, uint64.
        classes: `(n,)` class numbers, int8.
        splits: `(n,)` places in `SPLITS`, int8; none where no division is given.
        groups: `(n,)` numbers of groups; none where none are asked for.
    """

    hashes: np.ndarray
    classes: np.ndarray
    splits: np.ndarray | None = None
    groups: np.ndarray | None = None

    def ranks(self, clean_test: bool = False) -> np.ndarray:
        """Which of several rows that repeat one another stay: the lowest; those of rank 0 all do.

        Args:
            clean_test: whether repeats within the test split are dropped.

        Returns:
            `(n,)` int8.
        """
        if self.splits is None:
            return np.ones(len(self.hashes), np.int8)
        ranks = RANKS if clean_test else RANKS | {"test": 0}
        return np.array([ranks[split] for split in SPLITS], np.int8)[self.splits]


def counted(parts: Mapping[str, Batches], read: dict[str, int]) -> dict[str, Batches]:
    """Parts that note of each, in `read`, how many rows it has, whenever they are read."""

    def batches(origin: str) -> Iterator[pa.RecordBatch]:
        read[origin] = 0
        for batch in parts[origin]():
            read[origin] += batch.num_rows
            yield batch

    return {origin: partial(batches, origin) for origin in parts}


def assemble(parts: Mapping[str, Batches], layout: Layout) -> Iterator[pa.RecordBatch]:
    """One stream of `id, text, label, origin` from a table per origin, each label as a string.

    `split` and `group` follow as strings where the layout has them. `id` is the position in the
    concatenated source, before `where` leaves out any row.

    Args:
        parts: tables that hold the columns of the layout, by the name of their origin.
        layout: of the source.

    Raises:
        UserError: a text is not text, or a cell of another column is no number or text.
    """
    offset = 0
    for origin, batches in parts.items():
        for part in batches():
            keep = np.ones(part.num_rows, dtype=bool)
            for column, value in layout.where.items():
                same = pc.equal(_whole(part, column, origin), re.sub(*WHOLE, str(value)))
                keep &= pc.fill_null(same, False).to_numpy(zero_copy_only=False)
            columns = {
                "id": pa.array(np.arange(offset, offset + part.num_rows)),
                "text": _text(part[layout.text], f"column '{layout.text}' of {origin}"),
                "label": _cells(part, layout.label, origin),
                "origin": pa.repeat(origin, part.num_rows),
            }
            if layout.split:
                columns["split"] = _cells(part, layout.split, origin)
            elif layout.origins:
                columns["split"] = pa.repeat(layout.origins[origin], part.num_rows)
            if layout.group:
                columns["group"] = _group(part, layout.group, origin)
            yield pa.RecordBatch.from_pydict(columns).filter(pa.array(keep))
            offset += part.num_rows


def _whole(part: pa.RecordBatch, column: str, origin: str) -> pa.Array:
    """The cells of a column as strings, in which `1.0` is `1`."""
    return pc.replace_substring_regex(_cells(part, column, origin), *WHOLE)


def _group(part: pa.RecordBatch, column: str, origin: str) -> pa.Array:
    """The cells of a column of groups as strings in one form; null where a number is none."""
    cells = pc.utf8_trim_whitespace(_whole(part, column, origin))
    cells = pc.utf8_normalize(cells, "NFC")
    if pa.types.is_floating(part[column].type):
        cells = pc.if_else(pc.is_nan(part[column]), None, cells)
    return cells


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
    rows: Iterable[pa.RecordBatch], layout: Layout, labels: Sequence[str] | None = None
) -> Survey:
    """What decides which of the assembled rows stay.

    Args:
        rows: the assembled rows.
        layout: of the source.
        labels: names of the classes in the order of their numbers, where labels are names.

    Raises:
        UserError: there is no row, a label is not a class, a cell names no split, a split has no
            row, or a row no group.
    """
    hashes, others = [], []
    for batch in rows:
        hashes.append(digests(texts([batch])))
        others.append(batch.drop_columns(["text"]))
    if not sum(map(len, hashes)):
        raise UserError("there are no reviews: the source, or what `where` keeps of it, is empty")
    return Survey(np.concatenate(hashes), *numbers(pa.Table.from_batches(others), layout, labels))


def numbers(
    table: pa.Table, layout: Layout, labels: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """The classes, splits and groups of assembled rows; arguments and errors as of `survey`."""
    classes = class_numbers(table, layout.label, labels).to_numpy()
    splits = split_numbers(table, layout) if layout.is_divided() else None
    groups = group_numbers(table, layout.group) if layout.group else None
    return classes, splits, groups


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
    allowed = labels or ["whole numbers from 0 on, or names that `labels` lists"]
    return _numbered(table, raw, numbers, f"column '{column}'", "label", allowed)


def split_numbers(table: pa.Table, layout: Layout) -> np.ndarray:
    """The place in `SPLITS` of the split of each row, `(n,)` int8.

    Raises:
        UserError: a cell names no split, or a split has no row.
    """
    raw = table["split"].combine_chunks()
    cells = [cell for cell in pc.unique(raw).to_pylist() if cell is not None]
    words = {cell: WORDS.get(cell.strip().casefold()) for cell in cells}
    places = {cell: SPLITS.index(split) for cell, split in words.items() if split}
    found = _numbered(table, raw, places, f"column '{layout.split}'", "split", list(WORDS))
    splits = found.to_numpy()
    require_splits(splits, dict.fromkeys(["train", "test", *layout.origins.values()]))
    return splits


def require_splits(splits: np.ndarray, names: Iterable[str], of: str = "") -> None:
    """Check that each of some splits has a row.

    Raises:
        UserError: one has none.
    """
    for name in names:
        if SPLITS.index(name) not in splits:
            raise UserError(
                f"the given division has no review{of} in the split '{name}'; look at what that "
                "split is read from, and at `where`"
            )


def group_numbers(table: pa.Table, column: str) -> np.ndarray:
    """A number for the group of each row, `(n,)`; equal for equal groups.

    Raises:
        UserError: a row has no group.
    """
    cells = pc.fill_null(table["group"].combine_chunks(), "")
    empty = pc.equal(pc.utf8_trim_whitespace(cells), "")
    if pc.any(empty).as_py():
        row = table.slice(pc.index(empty, True).as_py(), 1)
        raise UserError(
            f"column '{column}' of {row['origin'][0]} holds no group (row {row['id'][0]}, counted "
            "from 0); give each row one, or leave out `split.group`"
        )
    return cells.dictionary_encode().indices.to_numpy()


def _numbered(
    table: pa.Table,
    cells: pa.Array,
    numbers: Mapping[str, int],
    column: str,
    what: str,
    allowed: Sequence[Any],
) -> pa.Array:
    """The number of each of the `cells` of a table.

    Raises:
        UserError: one has no number.
    """
    present = pc.unique(cells)
    for cell in present.to_pylist():
        if cell not in numbers:
            first = int(np.argmax(cells.is_null() if cell is None else pc.equal(cells, cell)))
            row = table.slice(first, 1)
            raise UserError(
                f"{column} of {row['origin'][0]} holds the {what} {cell!r} "
                f"(row {row['id'][0]}, counted from 0); allowed: {', '.join(map(str, allowed))}"
            )
    encoded = pa.array([numbers[cell] for cell in present.to_pylist()], pa.int8())
    return encoded.take(pc.index_in(cells, value_set=present))


def clean(found: Survey, ranks: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Drop empty texts, texts that stand under two labels in a split, all but one of duplicates.

    Texts are compared in their folded form.

    Args:
        found: of the rows.
        ranks: `(n,)` as of `Survey.ranks`.

    Returns:
        Which rows stay, as `(n,)` booleans, and how many were dropped for each reason.

    Raises:
        UserError: nothing of a class stays.
    """
    hashes, classes = found.hashes, found.classes
    firsts = leaders(hashes, ranks)
    mixed = np.zeros(len(hashes), dtype=bool)
    mixed[firsts[(classes != classes[firsts]) & (ranks == ranks[firsts])]] = True
    empty = hashes == 0
    conflicting = mixed[firsts] & ~empty & (ranks[firsts] > 0)
    elsewhere, again = repeats(firsts, ranks)
    others = ~empty & ~conflicting
    reasons = {"empty": empty, "conflicting_labels": conflicting}
    if found.splits is not None:
        reasons["in_another_split"] = elsewhere & others
    reasons["duplicates"] = again & others
    keep = np.ones(len(hashes), dtype=bool)
    return keep, {reason: drop(which, reason, keep, classes) for reason, which in reasons.items()}


def leaders(groups: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The row of each row's group that stays: the first of those of the lowest rank.

    Args:
        groups: `(n,)` numbers, equal for rows that repeat one another.
        ranks: `(n,)` as of `Survey.ranks`.

    Returns:
        `(n,)` row numbers.
    """
    order = np.argsort(ranks, kind="stable")
    _, firsts, places = np.unique(groups[order], return_index=True, return_inverse=True)
    found = np.empty_like(order)
    found[order] = order[firsts][places]
    return found


def repeats(firsts: np.ndarray, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which rows repeat one of another split, and which one of their own; rank 0 repeats none.

    Args:
        firsts: `(n,)` as of `leaders`.
        ranks: `(n,)` likewise.

    Returns:
        Two times `(n,)` booleans.
    """
    elsewhere = ranks > ranks[firsts]
    again = (firsts != np.arange(len(firsts))) & ~elsewhere & (ranks > 0)
    return elsewhere, again


def drop_some(
    which: Mapping[str, np.ndarray], keep: np.ndarray, classes: np.ndarray
) -> dict[str, int]:
    """Drop rows by reasons, each told among the rows that stood before all; arguments of `drop`."""
    stood = np.flatnonzero(keep)
    dropped = {}
    for reason, rows in which.items():
        marked = np.zeros_like(keep)
        marked[stood[rows]] = True
        dropped[reason] = drop(marked, reason, keep, classes)
    return dropped


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


def finished(
    rows: Iterable[pa.RecordBatch], found: Survey, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The assembled rows in the schema of reviews.parquet, with what was found of them."""
    start = 0
    for batch in rows:
        stop = start + batch.num_rows
        batch = batch.set_column(2, "label", pa.array(found.classes[start:stop]))
        if found.splits is not None:
            names = pa.array(SPLITS).take(pa.array(found.splits[start:stop]))
            batch = batch.set_column(4, "split", names)
        yield batch.cast(schema)
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
