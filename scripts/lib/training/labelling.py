"""Labels of many texts: printed as they are found, or written as a whole table."""

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import csv
from tokenizers import Encoding

from lib.command.console import UserError, log, progress
from lib.data import readers
from lib.data.streaming import writing
from lib.files import manifests
from lib.files.whole import replacing, to_json
from lib.study.code import digest
from lib.training.device import device_name, explain_lack_of_memory
from lib.training.inference import TextClassifier
from lib.training.parts import Parts
from lib.training.saving import locked

AT_A_TIME = 32  # batches of which texts are sorted by length
PART = 2048  # texts that are kept together until the output is whole
LINES = ("", ".txt", ".text", ".lines")  # endings of files of a text on each line
FORMATS = (".csv", ".jsonl", ".ndjson", ".parquet")
COLUMN = "text"  # of texts, where none is named

Text = str | None  # nothing where a row of a table has none
Label = Callable[[Sequence[Text], int], np.ndarray]
Texts = Callable[[], Iterator[Text]]  # from the first one at each call


def label_texts(
    run: Path,
    text: Sequence[str] | None,
    file: Path | None,
    out: Path | None,
    probabilities: bool,
    batch: int,
    form: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Label texts; print a line of JSON for each, or write a table with a row for each.

    Args:
        run: folder of a run, or a checkpoint in it.
        text: the texts; without them those of `file`, without both those of standard input.
        file: a table, told by its name as `open_file` does, or one text on each line, in UTF-8.
        out: CSV, JSON Lines or Parquet file to write.
        probabilities: whether lines tell those of all classes.
        batch: texts per forward pass.
        form: `text_column` of a table, and `quote` and `escape` where they are given.
        settings: the section `training` of the configuration.

    Raises:
        UserError: a file can't be read or written, there is no checkpoint, a text that is no row
            of a table has no tokens, or the device is out of memory.
    """
    is_table = file is not None and readers.kind_of(file) in readers.KINDS
    if file:
        check_input(file)
    inner = run / "checkpoint"
    checkpoint = inner if inner.is_dir() else run
    if out:
        check_output(out, file, checkpoint)
    texts = open_table(file, form) if file and is_table else open_lines(text, file, form)
    torch.set_num_threads(settings["threads"])
    classify = TextClassifier(checkpoint, settings["device"], settings["precision"])
    if out or probabilities:
        check_names(classify.names, checkpoint)
    label = partial(chances, classify, batch=batch, may_lack=is_table)
    if file and out:
        kind = "".join(file.suffixes) if is_table else "lines"
        made_of = identity(classify, checkpoint, file) | {"kind": kind, "form": dict(form)}
        write_labels(texts, label, classify.names, out, made_of)
    else:
        at_a_time = AT_A_TIME * batch if text or (file and file.is_file()) else batch
        print_labels(texts, label, classify.names, at_a_time, probabilities)


def check_input(file: Path) -> None:
    """Refuse a file that holds neither a table nor lines of text.

    Raises:
        UserError: it is a folder, or its name ends as that of another kind of file.
    """
    if file.is_dir():
        raise UserError(f"'{file}' is a folder; name a file")
    kind = readers.kind_of(file)
    if kind not in (*readers.KINDS, *LINES):
        raise UserError(
            f"'{file}' is of an unknown kind; known are {', '.join(readers.KINDS)}, and "
            f"{', '.join(filter(None, LINES))} or no ending, with a text on each line"
        )


def check_output(out: Path, file: Path | None, checkpoint: Path) -> None:
    """Refuse what can't be written, or not from its start to its end.

    Raises:
        UserError: it is of no known kind, a folder, the input or a part of the checkpoint, or the
            input is no file.
    """
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"'{out}' is of an unknown kind; known are {', '.join(FORMATS)}")
    if not file:
        raise UserError("--out asks for --file, from which it can go on after an interruption")
    if not file.is_file():
        raise UserError(f"'{file}' is not a file; check its path")
    if out.is_dir():
        raise UserError(f"'{out}' is a folder; name a file")
    if checkpoint.resolve() in out.resolve().parents:
        raise UserError(f"'{out}' would be a part of '{checkpoint}'; write it elsewhere")
    if out.exists() and out.samefile(file):
        raise UserError(f"'{out}' holds the texts themselves; write to another file")


def check_names(names: Sequence[str], checkpoint: Path) -> None:
    """Refuse classes that no column could be named after.

    Raises:
        UserError: two have the same name.
    """
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"'{checkpoint}' has two classes '{name}', which would be columns of one name; "
                "rename one in its config.json"
            )


def open_lines(given: Sequence[str] | None, file: Path | None, form: Mapping[str, Any]) -> Texts:
    """Texts that were given, or that stand one on each line.

    Raises:
        UserError: a column is named that is not there.
    """
    if (column := form["text_column"]) != COLUMN:
        raise UserError(
            f"--text-column is '{column}', but '{file or 'standard input'}' has no columns; give "
            f"a file whose name ends in {', '.join(readers.KINDS)}"
        )

    def texts() -> Iterator[Text]:
        if file and file.is_file():
            with readers.explained(file), pa.input_stream(str(file)) as stream:
                for text in TextIOWrapper(stream, "utf-8-sig", newline="\n"):
                    yield text.rstrip("\r\n")
            return
        with file.open("rb") if file else nullcontext(sys.stdin.buffer) as lines:
            for line in map(os.fsencode, given) if given else lines:
                yield line.decode("utf-8", "replace").rstrip("\r\n")

    return texts


def open_table(file: Path, form: Mapping[str, Any]) -> Texts:
    """The texts of a column of a table.

    Raises:
        UserError: the file can't be read, lacks the column, or has other values than texts in it.
    """
    column = form["text_column"]
    rows = readers.open_file(file, [column], form.get("quote"), form.get("escape"))

    def texts() -> Iterator[Text]:
        cells = itertools.chain.from_iterable(batch.column(0).to_pylist() for batch in rows())
        for number, cell in enumerate(cells):
            if not isinstance(cell, Text):
                raise UserError(
                    f"column '{column}' of {file} holds {cell!r} (row {number}); allowed: text"
                )
            yield cell

    return texts


def chances(
    classify: TextClassifier, texts: Sequence[Text], first: int, batch: int, may_lack: bool
) -> np.ndarray:
    """The probabilities of the classes of texts, `(n, classes)` float32.

    Args:
        classify: the classifier.
        texts: some of all.
        first: number of the first one, for errors.
        batch: texts per forward pass.
        may_lack: whether a text may be missing, empty or without tokens; its row is NaN.

    Raises:
        UserError: a text has no tokens and may not, or the device is out of memory.
    """
    encoded = classify.encoding([text or "" for text in texts], itertools.count(first))
    rows = np.arange(len(texts))
    if may_lack:
        rows = np.flatnonzero(written(texts, encoded, len(classify.encoding.nothing)))
    found = np.full((len(texts), len(classify.names)), np.nan, np.float32)
    with explain_lack_of_memory("lower --batch"):
        found[rows] = classify.chances_of([encoded[row] for row in rows], first + rows, batch)
    return found


def written(texts: Sequence[Text], encoded: Sequence[Encoding], least: int) -> list[bool]:
    """Which of some texts are neither missing nor empty, and have more tokens than an empty one."""
    return [
        bool(text and text.strip()) and len(tokens) > least
        for text, tokens in zip(texts, encoded, strict=True)
    ]


def print_labels(
    texts: Texts, label: Label, names: Sequence[str], at_a_time: int, probabilities: bool
) -> None:
    """Print a line of JSON for each text, as soon as its batch is done.

    Args:
        texts: to label.
        label: gives the probabilities of some texts, and the number of the first of them.
        names: of the classes.
        at_a_time: texts that are read before they are labelled. Those that are all there are taken
            by many batches, to be computed in passes of like length; those of standard input or a
            pipe, which may wait for an answer, by one.
        probabilities: whether lines tell those of all classes.
    """
    without = 0
    for number, part in enumerate(batches(texts(), at_a_time)):
        for row in label(part, number * at_a_time):
            known = bool(np.isfinite(row).all())
            line = {"label": names[row.argmax()], "confidence": float(row.max())}
            if probabilities:
                line["probabilities"] = dict(zip(names, row.tolist(), strict=True))
            print(to_json(line if known else dict.fromkeys(line)))
            without += not known
        sys.stdout.flush()
    warn_of(without)


def write_labels(
    texts: Texts, label: Label, names: Sequence[str], out: Path, made_of: Mapping[str, Any]
) -> None:
    """Write a table with a row for each text, which appears whole; go on after an interruption.

    Args:
        texts: to label.
        label: gives the probabilities of some texts, and the number of the first of them.
        names: of the classes.
        out: file of the table.
        made_of: what decides its content.

    Raises:
        UserError: the disk is full, or another process writes the same file.
    """
    folder = out.with_name(f".{out.name}.parts")
    with locked(folder, "written"):
        parts = Parts(folder, made_of)
        begun, labelled = time.monotonic(), 0
        count = sum(1 for _ in texts())
        shown = progress(texts(), count, "labelling", "text")
        for number, part in enumerate(batches(shown, PART)):
            if number not in parts:
                first = number * PART
                parts.write(number, table(part, label(part, first), names, first))
                labelled += len(part)
        seconds = time.monotonic() - begun
        schema = table([], np.empty((0, len(names)), np.float32), names, 0).schema
        without = 0
        with opened(out, schema) as append:
            for rows in parts.read(schema):
                append(rows)
                without += rows["label"].null_count
        manifests.manifest_of(out).unlink(missing_ok=True)  # for the file is the user's to change
        parts.remove()
    log.info(
        "%s: %d texts; %d of them labelled now, in %.1f s, %.1f texts per second",
        *(out, count, labelled, seconds, labelled / max(seconds, 1e-9)),
    )
    warn_of(without)


def table(texts: Sequence[Text], rows: np.ndarray, names: Sequence[str], first: int) -> pa.Table:
    """A row for each text: its number, itself, its label, and the probabilities of the classes.

    Args:
        texts: some of all.
        rows: their probabilities, `(n, classes)` float32; of what has no label, not finite.
        names: of the classes.
        first: number of the first text.
    """
    unknown = ~np.isfinite(rows).all(axis=1)
    best = np.array(names, object)[rows.argmax(axis=1)]
    columns = {
        "row": pa.array(np.arange(first, first + len(texts))),
        "text": pa.array(texts, pa.string()),
        "label": pa.array(best, pa.string(), mask=unknown),
        "confidence": pa.array(rows.max(axis=1), mask=unknown),
    }
    for name, column in zip(names, rows.T, strict=True):
        columns[f"probability_{name}"] = pa.array(column, mask=unknown)
    return pa.table(columns)


@contextmanager
def opened(out: Path, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Yield a function that appends rows to a file, which appears as the block ends."""
    kind = out.suffix.lower()
    if kind == ".parquet":
        with writing(out, schema) as append:
            yield append
        return
    with replacing(out) as temporary:
        if kind == ".csv":
            with csv.CSVWriter(temporary, schema) as writer:
                yield writer.write_batch
        else:
            with temporary.open("w", encoding="utf-8") as file:
                yield lambda rows: file.writelines(f"{to_json(row)}\n" for row in rows.to_pylist())


def identity(classify: TextClassifier, checkpoint: Path, file: Path) -> dict[str, Any]:
    """What decides the labels of a file, but for last bits, which batch and threads decide too."""
    files = manifests.manifest(checkpoint, checkpoint.name)
    return {
        "texts": manifests.sha256(file),
        "checkpoint": sha256(files.encode()).hexdigest(),
        "classes": classify.names,
        "code": digest("predict"),
        "device": [classify.backend.device.type, device_name(classify.backend.device)],
        "precision": classify.backend.precision,
        "libraries": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
    }


def warn_of(without: int) -> None:
    """Tell how many texts have no label, where some have none."""
    if without:
        log.warning(
            "%s no label: missing, empty, without tokens, or of probabilities that are not finite",
            "1 text has" if without == 1 else f"{without} texts have",
        )


def batches(items: Iterable[Text], size: int) -> Iterator[list[Text]]:
    """Lists of `size` items, of which the last may be shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
