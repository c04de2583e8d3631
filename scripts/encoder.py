"""Bring an encoder into one folder: from the hub, from a local folder, or made from scratch."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from lib.cli import Parser, log, replacing, run
from lib.digests import add_digest_flag, verify


def arguments() -> Parser:
    """The command line."""
    main_parser = Parser(description=__doc__)
    sources = main_parser.add_subparsers(dest="source", required=True, metavar="SOURCE")
    hub = sources.add_parser("hub", help="a model of the Hugging Face hub")
    hub.add_argument("--id", required=True, help="repository, as in google-bert/bert-base-uncased")
    hub.add_argument("--revision", required=True, help="commit of the repository")
    add_digest_flag(hub)
    folder = sources.add_parser("folder", help="a folder written by save_pretrained")
    folder.add_argument("--path", required=True, type=Path, help="the folder")
    scratch = sources.add_parser("scratch", help="random weights, and a tokenizer of one's own")
    scratch.add_argument(
        "--architecture", required=True, choices=["bert", "modernbert"], help="family"
    )
    scratch.add_argument("--reviews", required=True, type=Path, help="train.parquet to learn from")
    scratch.add_argument("--hidden-size", type=int, default=128, help="width of the states")
    scratch.add_argument("--num-hidden-layers", type=int, default=2, help="layers")
    scratch.add_argument("--num-attention-heads", type=int, default=2, help="heads per layer")
    scratch.add_argument(
        "--intermediate-size", type=int, default=512, help="width inside feed-forward blocks"
    )
    scratch.add_argument(
        "--max-position-embeddings", type=int, default=512, help="longest input, in tokens"
    )
    scratch.add_argument(
        "--vocab-size", type=int, default=8192, help="entries of the vocabulary at most"
    )
    scratch.add_argument("--dropout", type=float, default=0.0, help="probability, in all layers")
    for source in (hub, folder, scratch):
        source.add_argument("--out", required=True, type=Path, help="folder to write to")
    return main_parser


def main(options: argparse.Namespace) -> None:
    """Write the folder `options.out`, whole or not at all."""
    with replacing(options.out) as folder:
        SOURCES[options.source](options, folder)
    log.info("encoder written to %s", options.out)


def from_hub(options: argparse.Namespace, folder: Path) -> None:
    """Copy the files that an encoder needs from a hub repository at one revision."""
    from lib import encoders, hub

    snapshot, digests = hub.snapshot("model", options.id, options.revision, encoders.ENCODER_FILES)
    verify(digests, dict(options.sha256))
    encoders.copy_encoder(snapshot, folder, f"model '{options.id}' at {options.revision}")


def from_folder(options: argparse.Namespace, folder: Path) -> None:
    """Copy a local encoder."""
    from lib import encoders

    encoders.copy_encoder(options.path, folder, f"'{options.path}'")


def from_scratch(options: argparse.Namespace, folder: Path) -> None:
    """Train a tokenizer and write the config of an encoder with random weights."""
    import pyarrow.parquet as pq

    from lib import encoders, reviews

    table = pq.read_table(options.reviews, columns=["text"], memory_map=True)

    def texts() -> Iterator[str]:
        return reviews.texts(table)

    sizes = {
        key: getattr(options, key)
        for key in (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
        )
    }
    encoders.build_from_scratch(
        texts, folder, options.architecture, sizes, options.vocab_size, options.dropout
    )


SOURCES = {"hub": from_hub, "folder": from_folder, "scratch": from_scratch}


if __name__ == "__main__":
    run(main, arguments(), hub=True)
