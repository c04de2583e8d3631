"""Real reviews, encoders and tokens for `speed.py`, by the commands of the workflow."""

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import download
import encoder
import pretokenize
import split
from lib.files.whole import write_parquet
from lib.study.planning import digests, dividing, flags, reading, source

SPLITS = ("train", "valid", "test")


def prepare_reviews(study: Mapping[str, Any], folder: Path) -> None:
    """Write the splits of a study into `splits/`.

    Args:
        study: a checked configuration.
        folder: to write to.
    """
    dataset, division = study["dataset"], study["split"]
    how = f"{source(dataset)} {digests(dataset)} {flags(reading(division))}"
    call(download, how, out=folder)
    call(
        split,
        flags(dividing(division)),
        reviews=folder / "reviews.parquet",
        out=folder / "splits",
        counts=folder / "splits.json",
    )


def prepare_model(
    folder: Path, name: str, model: Mapping[str, Any], numbers: Collection[int]
) -> None:
    """Write an encoder, and the tokens of all splits and of random samples of the training split.

    Args:
        folder: that `prepare_reviews` wrote to.
        name: of the model.
        model: its part of the configuration.
        numbers: of examples in the samples.
    """
    learned = {}
    if model["source"] == "scratch":
        learned["reviews"] = folder / "splits" / "train.parquet"
    call(encoder, f"{source(model)} {digests(model)}", out=encoder_folder(folder, name), **learned)
    tokens = tokens_folder(folder, name)
    call(
        pretokenize,
        "--threads 1",
        splits=folder / "splits",
        encoder=encoder_folder(folder, name),
        out=tokens,
    )
    for number in numbers:
        write_sample(tokens / "train.parquet", number, tokens / f"{number}.parquet")


def call(command: ModuleType, line: str, **paths: Path) -> None:
    """Run a command of `scripts/` in this process."""
    words = shlex.split(f"{line} {flags(paths)}")
    command.main(command.arguments().parse_args(words))


def encoder_folder(folder: Path, model: str) -> Path:
    """Where an encoder is."""
    return folder / "encoders" / model


def tokens_folder(folder: Path, model: str) -> Path:
    """Where the tokens of a model are."""
    return folder / "tokens" / model


def write_sample(whole: Path, number: int, target: Path) -> None:
    """Write a random sample of a token file, always the same one."""
    table = pq.read_table(whole, partitioning=None)
    rows = np.random.default_rng(0).permutation(table.num_rows)[:number]
    write_parquet(target, table.take(np.sort(rows)))


def write_job(tokens: Path, sizes: Collection[int], target: Path) -> None:
    """Write samples of all splits, of so many examples each, for a small job."""
    for name, number in zip(SPLITS, sizes, strict=True):
        write_sample(tokens / f"{name}.parquet", number, target / f"{name}.parquet")
