"""From texts to token files, by the tokenizer of an encoder."""

import os
from array import array
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tokenizers import Encoding, Tokenizer

from lib.console import UserError, log, progress
from lib.data import encoders, tokens
from lib.data.streaming import read_reviews
from lib.files import replacing
from lib.manifests import reading

BATCH = 1024  # texts encoded at a time
AHEAD = 1  # batches encoded while one is written


def pretokenize(splits: Path, encoder: Path, max_length: int, threads: int, out: Path) -> None:
    """Write a token file per split.

    Args:
        splits: folder of train, valid and test.parquet.
        encoder: folder of the encoder.
        max_length: tokens kept of each text, special tokens included.
        threads: CPU threads.
        out: folder of the three token files.

    Raises:
        UserError: the tokens are beyond what the encoder knows.
    """
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    tokenizer = encoders.load_tokenizer(encoder)
    config = encoders.load_config(encoder)
    types = "token_type_ids" in tokenizer.model_input_names
    schema = tokens.schema(types, tokenizer.pad_token_id, max_length)
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(max_length)
    for split in ("train", "valid", "test"):
        name = f"{split}.parquet"
        count = tokenize(splits / name, backend, schema, config.vocab_size, out / name)
        log.info("%s: %d texts tokenized", split, count)


def tokenize(
    source: Path, tokenizer: Tokenizer, schema: pa.Schema, vocab_size: int, out: Path
) -> int:
    """Tokenize one split in batches, in bounded memory.

    Args:
        source: Parquet file with `id`, `text`, `label`.
        tokenizer: truncates to the length that is kept.
        schema: columns to write.
        vocab_size: number of tokens that the encoder has states for.
        out: Parquet file to write.

    Returns:
        The number of texts.

    Raises:
        UserError: the tokenizer gives tokens that the encoder does not have.
    """
    with reading(source):
        rows = pq.read_metadata(source).num_rows
    batches = read_reviews(source, ["id", "text", "label"], BATCH)
    with replacing(out) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        steps, description = -(-rows // BATCH), f"tokenize {source.stem}"
        watched = progress(encode_ahead(tokenizer, batches), steps, description, "batch")
        for batch, encodings in watched:
            table = tabulate(batch, encodings, schema)
            highest = pc.max(pc.list_flatten(table["input_ids"])).as_py()
            if highest >= vocab_size:
                raise UserError(
                    f"the tokenizer gives token {highest}, but the encoder knows {vocab_size} "
                    "tokens; they do not belong together"
                )
            writer.write_table(table)
    return rows


def encode_ahead(
    tokenizer: Tokenizer, batches: Iterator[pa.RecordBatch]
) -> Iterator[tuple[pa.RecordBatch, list[Encoding]]]:
    """Batches with the encodings of their texts, the next one under way while one is used."""
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[tuple[pa.RecordBatch, Future[list[Encoding]]]] = deque()
        for batch in batches:
            texts = batch["text"].to_pylist()
            waiting.append((batch, thread.submit(tokenizer.encode_batch_fast, texts)))
            if len(waiting) > AHEAD:
                first, encodings = waiting.popleft()
                yield first, encodings.result()
        for last, encodings in waiting:
            yield last, encodings.result()


def tabulate(batch: pa.RecordBatch, encodings: list[Encoding], schema: pa.Schema) -> pa.Table:
    """The rows of a token file."""
    columns = {
        "id": batch["id"],
        "label": batch["label"],
        "input_ids": lists("i", [encoding.ids for encoding in encodings]),
        "n_tokens": [length(encoding) for encoding in encodings],
    }
    if "token_type_ids" in schema.names:
        columns["token_type_ids"] = lists("b", [encoding.type_ids for encoding in encodings])
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


def length(encoding: Encoding) -> int:
    """Tokens of a text before truncation, special tokens included."""
    cut = encoding.overflowing  # each part has the special tokens once more
    return len(encoding) + sum(map(len, cut)) - len(cut) * sum(encoding.special_tokens_mask)
