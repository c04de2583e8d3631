"""From texts to token files, by the tokenizer of an encoder."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Encoding, Tokenizer

from lib.console import UserError, log, progress
from lib.data import encoders, tokens
from lib.files import replacing

BATCH = 1024  # texts encoded at a time


def pretokenize(splits: Path, encoder: Path, max_length: int, threads: int, out: Path) -> None:
    """Write a token file per split.

    Args:
        splits: folder of train, valid and test.parquet.
        encoder: folder of the encoder.
        max_length: tokens kept of each text, special tokens included.
        threads: CPU threads.
        out: folder of the three token files.

    Raises:
        UserError: `max_length` or the tokens are beyond what the encoder knows.
    """
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    tokenizer = encoders.load_tokenizer(encoder)
    config = encoders.load_config(encoder)
    encoders.check_length(max_length, config, tokenizer, encoder)
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
    with (
        pq.ParquetFile(source, memory_map=True) as file,
        replacing(out) as temporary,
        pq.ParquetWriter(temporary, schema) as writer,
    ):
        rows = file.metadata.num_rows
        batches = file.iter_batches(BATCH)
        for batch in progress(batches, -(-rows // BATCH), f"tokenize {source.stem}", "batch"):
            encodings = tokenizer.encode_batch(batch["text"].to_pylist())
            highest = max(max(encoding.ids) for encoding in encodings)
            if highest >= vocab_size:
                raise UserError(
                    f"the tokenizer gives token {highest}, but the encoder knows {vocab_size} "
                    "tokens; they do not belong together"
                )
            columns = {
                "id": batch["id"],
                "label": batch["label"],
                "input_ids": [encoding.ids for encoding in encodings],
                "token_type_ids": [encoding.type_ids for encoding in encodings],
                "n_tokens": [length(encoding) for encoding in encodings],
            }
            used = {name: columns[name] for name in schema.names}
            writer.write_table(pa.table(used, schema=schema))
        return rows


def length(encoding: Encoding) -> int:
    """Tokens of a text before truncation, special tokens included."""
    cut = encoding.overflowing
    return len(encoding) + sum(len(part) - sum(part.special_tokens_mask) for part in cut)
