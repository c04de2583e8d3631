"""From texts to token files, by the tokenizer of an encoder."""

import os
from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Encoding

from lib.command.console import UserError, announcements, log, progress
from lib.data import encoders, tokens
from lib.data.encoding import TextEncoding
from lib.data.streaming import read_reviews
from lib.files.manifests import reading
from lib.files.whole import replacing, write_json

BATCH = 1024  # texts encoded at a time
AHEAD = 1  # batches encoded while one is written
WARNED = 0.05  # share of unknown tokens above which a study says so
REFUSED = 0.5  # and above which there is none
CODES = {"input_ids": "i", "token_type_ids": "b"}  # of arrays, by token column


class Counts(NamedTuple):
    """What became of texts.

    Attributes:
        reviews: how many there are.
        tokens: of them, without special ones and those that are a space alone.
        unknown: of these, those that stand for what the tokenizer does not know.
    """

    reviews: int
    tokens: int
    unknown: int


def pretokenize(splits: Path, encoder: Path, threads: int, out: Path) -> None:
    """Write a token file per split, and `tokens.json`, which tells what became of the texts.

    Texts are written whole; who reads them cuts them.

    Args:
        splits: folder of train, valid and test.parquet.
        encoder: folder of the encoder.
        threads: CPU threads.
        out: folder of the files.

    Raises:
        UserError: the tokens are beyond what the encoder knows, or the texts beyond what its
            tokenizer knows.
    """
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    encoding = TextEncoding(encoder)
    config = encoders.load_config(encoder)
    counts = {}
    with ExitStack() as files:  # all of them appear, or none
        for split in ("train", "valid", "test"):
            name = f"{split}.parquet"
            file = files.enter_context(replacing(out / name))
            counts[split] = tokenize(splits / name, encoding, config.vocab_size, file)
            log.info("%s: %s", split, counts[split]._asdict())
        told = describe(counts)
        if told["unknown_share"] > REFUSED:
            raise UserError(
                f"'{encoder}': {told['warning']}, which does not know the language of the texts; "
                "take another encoder"
            )
    if told["warning"]:
        announcements.warning("'%s': %s", encoder, told["warning"])
    write_json(out / "tokens.json", told)


def describe(counts: Mapping[str, Counts]) -> dict[str, Any]:
    """What `tokens.json` tells: the counts of each split, and of all the shares and a warning."""
    total = Counts(*map(sum, zip(*counts.values(), strict=True)))
    unknown = total.unknown / max(1, total.tokens)
    warning = f"{unknown:.1%} of the tokens are unknown to the tokenizer"
    return {
        **{split: found._asdict() for split, found in counts.items()},
        "unknown_share": unknown,
        "warning": warning if unknown > WARNED else None,
    }


def tokenize(source: Path, encoding: TextEncoding, vocab_size: int, out: Path) -> Counts:
    """Tokenize one split in batches, in bounded memory.

    Args:
        source: Parquet file with `id`, `text`, `label`.
        encoding: from texts to tokens.
        vocab_size: number of tokens that the encoder has states for.
        out: Parquet file to write.

    Raises:
        UserError: a text has no tokens, or one that the encoder does not have.
    """
    with reading(source):
        rows = pq.read_metadata(source).num_rows
    schema = tokens.schema(encoding.has_types, encoding.pad_id, encoding.frame)
    batches = read_reviews(source, ["id", "text", "label"], BATCH)
    total = np.zeros(len(Counts._fields), int)
    with pq.ParquetWriter(out, schema) as writer:
        steps, description = -(-rows // BATCH), f"tokenize {source.stem}"
        watched = progress(encode_ahead(encoding, batches), steps, description, "batch")
        for batch, encodings in watched:
            table = tabulate(batch, encodings, encoding, schema)
            total += count(table, encoding, vocab_size)
            writer.write_table(table)
    return Counts(*total.tolist())


def count(table: pa.Table, encoding: TextEncoding, vocab_size: int) -> Counts:
    """What became of the texts of a batch.

    Args:
        table: rows of a token file.
        encoding: from texts to tokens.
        vocab_size: number of tokens that the encoder has states for.

    Raises:
        UserError: a text has no tokens, or one that the encoder does not have.
    """
    texts = table["input_ids"].combine_chunks()
    ids, lengths = np.asarray(texts.flatten()), np.asarray(texts.value_lengths())
    nothing = np.flatnonzero(lengths <= len(encoding.nothing))
    if len(nothing):
        raise UserError(
            f"'{encoding.folder}' has no tokens for the text of review {table['id'][nothing[0]]}; "
            "take the review out of the data, or take another encoder"
        )
    if ids.max() >= vocab_size:
        raise UserError(
            f"the tokenizer gives token {ids.max()}, but the encoder knows {vocab_size} "
            "tokens; they do not belong together"
        )

    def occurrences(token: int | None) -> int:
        return int((ids == token).sum()) - len(lengths) * encoding.nothing.count(token)

    return Counts(
        reviews=len(lengths),
        tokens=len(ids) - len(lengths) * len(encoding.nothing) - occurrences(encoding.space_id),
        unknown=occurrences(encoding.unknown_id),
    )


def encode_ahead(
    encoding: TextEncoding, batches: Iterator[pa.RecordBatch]
) -> Iterator[tuple[pa.RecordBatch, list[Encoding]]]:
    """Batches with the encodings of their texts, the next one under way while one is used."""
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[tuple[pa.RecordBatch, Future[list[Encoding]]]] = deque()
        for batch in batches:
            texts, ids = batch["text"].to_pylist(), batch["id"].to_pylist()
            waiting.append((batch, thread.submit(encoding, texts, ids)))
            if len(waiting) > AHEAD:
                first, encodings = waiting.popleft()
                yield first, encodings.result()
        for last, encodings in waiting:
            yield last, encodings.result()


def tabulate(
    batch: pa.RecordBatch, encodings: list[Encoding], encoding: TextEncoding, schema: pa.Schema
) -> pa.Table:
    """The rows of a token file."""
    columns = {
        "id": batch["id"],
        "label": batch["label"],
        "n_tokens": [len(each) for each in encodings],
    }
    for name, rows in encoding.columns(encodings).items():
        columns[name] = lists(CODES[name], rows)
    return pa.table({name: columns[name] for name in schema.names}, schema)


def lists(kind: str, rows: list[list[int]]) -> pa.ListArray:
    """Lists of numbers as Arrow, by the `array` code of their type.

    An `array` takes lists several times faster than Arrow or NumPy do.
    """
    values = array(kind)
    for row in rows:
        values.fromlist(row)
    bounds = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(bounds), pa.array(np.asarray(values)))
