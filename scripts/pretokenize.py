"""Turn the texts of all splits into token ids, as Parquet files that training maps into memory."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from lib.cli import Parser, UserError, log, positive, progress, replacing, run

if TYPE_CHECKING:
    import pyarrow as pa
    from tokenizers import Encoding, Tokenizer
    from transformers import PreTrainedTokenizerFast

BATCH = 1024  # texts encoded at a time


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument(
        "--splits", required=True, type=Path, help="folder of train, valid and test.parquet"
    )
    flags.add_argument("--encoder", required=True, type=Path, help="folder of the encoder")
    flags.add_argument("--max-length", type=positive, default=128, help="tokens kept of each text")
    flags.add_argument("--threads", type=positive, default=os.cpu_count(), help="CPU threads")
    flags.add_argument("--out", required=True, type=Path, help="folder of the three token files")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write `train.parquet`, `valid.parquet` and `test.parquet` into `options.out`."""
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    from lib import encoders

    tokenizer = encoders.load_tokenizer(options.encoder)
    config = encoders.load_config(options.encoder)
    encoders.check_length(options.max_length, config, tokenizer, options.encoder)
    schema = token_schema(tokenizer, options.max_length)
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(options.max_length)
    for split in ("train", "valid", "test"):
        out = options.out / f"{split}.parquet"
        count = tokenize(
            options.splits / f"{split}.parquet", backend, schema, config.vocab_size, out
        )
        log.info("%s: %d texts tokenized", split, count)


def tokenize(
    source: Path, tokenizer: "Tokenizer", schema: "pa.Schema", vocab_size: int, out: Path
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
    import pyarrow as pa
    import pyarrow.parquet as pq

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


def length(encoding: "Encoding") -> int:
    """Tokens of a text before truncation, special tokens included."""
    cut = encoding.overflowing
    return len(encoding) + sum(len(part) - sum(part.special_tokens_mask) for part in cut)


def token_schema(tokenizer: "PreTrainedTokenizerFast", max_length: int) -> "pa.Schema":
    """Columns of a token file, with padding token and length in its metadata.

    `token_type_ids` are there where the model's tokenizer makes them; `n_tokens` is the length
    before truncation, special tokens included.
    """
    import pyarrow as pa

    columns = {
        "id": pa.int64(),
        "label": pa.int8(),
        "input_ids": pa.list_(pa.int32()),
        "token_type_ids": pa.list_(pa.int8()),
        "n_tokens": pa.int32(),
    }
    if "token_type_ids" not in tokenizer.model_input_names:
        del columns["token_type_ids"]
    metadata = {"pad_id": str(tokenizer.pad_token_id), "max_length": str(max_length)}
    return pa.schema(columns, metadata)


if __name__ == "__main__":
    run(main, arguments())
