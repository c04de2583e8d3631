"""Labelled texts: reading them, cleaning them, sampling and dividing them.

Texts stay in Arrow columns; Python sees them a few thousand at a time.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from lib.cli import UserError, one_line, replacing

SCHEMA = pa.schema(
    [("id", pa.int64()), ("text", pa.string()), ("label", pa.int8()), ("origin", pa.string())]
)
MAX_CLASSES = 128  # labels are int8
BLOCK = 64 << 20  # bytes parsed at a time, and the longest row
CHUNK = 4096  # texts turned into Python strings at a time
BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def fold(text: str) -> str:
    """The form in which texts are compared: NFC, with `<br />` and white space as one space."""
    return " ".join(BREAK.sub(" ", unicodedata.normalize("NFC", text)).split())


def digests(texts: Iterable[str | None]) -> np.ndarray:
    """A 64-bit digest of each folded text, as `(n,)` uint64; 0 for an empty text.

    Among ten million different texts, two share a digest with a probability of 3e-6.
    """
    return np.fromiter(map(_digest, texts), dtype=np.uint64)


def _digest(text: str | None) -> int:
    folded = fold(text or "").encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(folded, digest_size=8).digest()) if folded else 0


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


_READERS = {
    ".csv": _open_csv,
    ".tsv": partial(_open_csv, delimiter="\t"),
    ".jsonl": _open_json,
    ".ndjson": _open_json,
    ".parquet": _open_parquet,
}


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


def stratified(labels: np.ndarray, sizes: Sequence[int], seed: int) -> list[np.ndarray]:
    """Disjoint samples of rows with the classes in the same proportions, as sorted row numbers.

    Args:
        labels: `(n,)` class numbers.
        sizes: rows of each sample.
        seed: decides which rows, and nothing else does.

    Raises:
        UserError: there are too few rows, or too few of a class to have it in every sample.
    """
    counts = np.bincount(labels)
    if sum(sizes) > len(labels):
        raise UserError(f"{len(labels)} reviews are too few for splits of {list(sizes)}")
    generator = np.random.default_rng(seed)
    rows = [generator.permutation(np.flatnonzero(labels == c)) for c in range(len(counts))]
    samples = []
    for size in sizes:
        shares = _apportion(np.array([len(left) for left in rows]), size)
        if not shares.all():
            smallest = int(np.argmin(counts))
            raise UserError(
                f"class {smallest} has too few reviews to split: {counts[smallest]} of "
                f"{len(labels)}, for splits of {list(sizes)} that all need one"
            )
        chosen = [left[:share] for left, share in zip(rows, shares, strict=True)]
        rows = [left[share:] for left, share in zip(rows, shares, strict=True)]
        samples.append(np.sort(np.concatenate(chosen)))
    return samples


def _apportion(counts: np.ndarray, size: int) -> np.ndarray:
    """Divide `size` in proportion to `counts` by the method of the largest remainders."""
    shares, remainders = np.divmod(counts * size, counts.sum())
    largest = np.argsort(-remainders, kind="stable")
    shares[largest[: size - shares.sum()]] += 1
    return shares


def sizes_from_ratios(total: int, ratios: Sequence[float]) -> list[int]:
    """Sizes of the training, validation and test split; the training split takes the rounding.

    Raises:
        UserError: a split would be empty.
    """
    valid, test = (round(total * ratio / sum(ratios)) for ratio in ratios[1:])
    sizes = [total - valid - test, valid, test]
    if min(sizes) < 1:
        raise UserError(f"{total} reviews are too few to split {':'.join(map(str, ratios))}")
    return sizes


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet, whole or not at all."""
    with replacing(path) as temporary:
        pq.write_table(table, temporary)
