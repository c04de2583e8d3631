"""Labels of many texts, as predict.py prints them."""

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from lib.files.whole import to_json
from lib.training.device import explain_lack_of_memory
from lib.training.inference import TextClassifier

AT_A_TIME = 32  # batches of which texts are sorted by length


def print_labels(
    run: Path,
    text: Sequence[str] | None,
    file: Path | None,
    batch: int,
    settings: Mapping[str, Any],
) -> None:
    """Print a line of JSON for each text, as soon as its batch is done.

    Texts that are all there are taken by many batches at a time, to be computed in passes of like
    length; those of standard input or a pipe, which may wait for an answer, by one.

    Args:
        run: folder of a run, or a checkpoint in it.
        text: the texts; without them those of `file`, without both those of standard input.
        file: one text on each line, in UTF-8.
        batch: texts per forward pass.
        settings: the section `training` of the configuration.

    Raises:
        UserError: there is no checkpoint, a text has no tokens, or the device is out of memory.
    """
    torch.set_num_threads(settings["threads"])
    inner = run / "checkpoint"
    checkpoint = inner if inner.is_dir() else run
    classify = TextClassifier(checkpoint, settings["device"], settings["precision"])
    at_a_time = AT_A_TIME * batch if text or (file and file.is_file()) else batch
    for number, part in enumerate(batches(read_texts(text, file), at_a_time)):
        with explain_lack_of_memory("lower --batch"):
            labels = classify(part, batch, number * at_a_time)
        for label in labels:
            print(to_json(label._asdict()))
        sys.stdout.flush()


def read_texts(given: Sequence[str] | None, file: Path | None) -> Iterator[str]:
    """The texts, one at a time."""
    if given:
        source: Any = nullcontext(map(os.fsencode, given))
    else:
        source = file.open("rb") if file else nullcontext(sys.stdin.buffer)
    with source as lines:
        for line in lines:
            yield line.decode("utf-8", "replace").rstrip("\r\n")


def batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of `size` items, of which the last may be shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
