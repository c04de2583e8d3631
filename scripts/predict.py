"""Label texts with a trained run: one JSON object with label and confidence per text.

Texts come from --text, from --file or, without either, from standard input, one on each line.
"""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

from lib.cli import Parser, positive, run
from lib.config import add_training_flags, training_settings


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("run", type=Path, help="folder of a run, or a checkpoint in it")
    source = flags.add_mutually_exclusive_group()
    source.add_argument("--text", nargs="+", help="the texts themselves")
    source.add_argument("--file", type=Path, help="file of texts, one on each line, in UTF-8")
    flags.add_argument("--batch", type=positive, default=32, help="texts per forward pass")
    add_training_flags(flags, ["device", "precision", "threads"])
    flags.set_defaults(threads=os.cpu_count())
    return flags


def main(options: argparse.Namespace) -> None:
    """Print a line of JSON for each text, as soon as its batch is done."""
    settings = training_settings(options)

    import torch

    from lib.device import explain_lack_of_memory
    from lib.inference import TextClassifier

    torch.set_num_threads(settings["threads"])
    inner = options.run / "checkpoint"
    checkpoint = inner if inner.is_dir() else options.run
    classify = TextClassifier(checkpoint, settings["device"], settings["precision"])
    for batch in batches(texts(options), options.batch):
        with explain_lack_of_memory("lower --batch"):
            labels = classify(batch)
        for label in labels:
            print(json.dumps(label._asdict(), ensure_ascii=False))
        sys.stdout.flush()


def texts(options: argparse.Namespace) -> Iterator[str]:
    """The texts, one at a time."""
    if options.text:
        source = nullcontext(map(os.fsencode, options.text))
    else:
        source = options.file.open("rb") if options.file else nullcontext(sys.stdin.buffer)
    with source as lines:
        for line in lines:
            yield line.decode("utf-8", "replace").rstrip("\r\n")


def batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of `size` items, of which the last may be shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


if __name__ == "__main__":
    run(main, arguments())
