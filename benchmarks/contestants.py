"""The training loops that `speed.py` compares, and one measurement of one of them.

All take a classifier with the same initial weights, the same token file, and passes of at most
`PASS` examples. The others are given what their users give them: pre-tokenized examples in memory,
stock attention, no worker processes, and no evaluation, saving or progress inside the loop.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import set_seed

import loop_published
import loop_trainer
from lib.data.tokens import read_tokens
from lib.training.backends import connect
from lib.training.batches import load_tokens
from lib.training.device import choose, peak_memory
from lib.training.flops import peak_flops, training_flops
from lib.training.loop import Recipe, train
from lib.training.model import Classifier
from lib.training.unpadded import Unpadded
from loops import POOLING, SEED, Loop, Setup, build
from speed_data import encoder_folder, tokens_folder


def train_ours(model: Classifier, tokens: Path, setup: Setup) -> Loop:
    """The loop of this project, as its own history tells."""
    with connect(setup.settings, SEED) as backend:
        data, valid = (
            load_tokens(path, setup.cut, backend.device, POOLING) for path in (tokens, setup.valid)
        )
        if setup.settings["unpadded"]:
            data, valid = (Unpadded(**vars(split)) for split in (data, valid))
        recipe = Recipe(setup.batch, SEED, {**setup.settings, "epochs": 1})
        (epoch,) = train(model, (data, valid), recipe, backend).history
    return Loop(len(data), epoch.updates, epoch.seconds, epoch.train_loss)


def train_ours_compiled(model: Classifier, tokens: Path, setup: Setup) -> Loop:
    """The same with the model compiled."""
    model.compile(dynamic=True)
    return train_ours(model, tokens, setup)


OURS = "this workflow"
OURS_UNPADDED = "this workflow, unpadded"
OURS_COMPILED = "this workflow, compiled"
TRAINER = "Trainer"
PUBLISHED = "published loop"
CONTESTANTS: dict[str, Callable[[Classifier, Path, Setup], Loop]] = {
    OURS: train_ours,
    OURS_UNPADDED: train_ours,
    TRAINER: loop_trainer.train,
    "Trainer, grouped by length": partial(loop_trainer.train, grouped=True),
    PUBLISHED: loop_published.train,
}
COMPILED: dict[str, Callable[[Classifier, Path, Setup], Loop]] = {
    OURS_COMPILED: train_ours_compiled,
    "Trainer, compiled": partial(loop_trainer.train, compiled=True),
}


def contestants(device: str) -> dict[str, Callable[[Classifier, Path, Setup], Loop]]:
    """The loops to compare on a device, by name: on a GPU compiled ones besides."""
    return CONTESTANTS | COMPILED if device == "cuda" else CONTESTANTS


class Case(NamedTuple):
    """What is measured.

    Attributes:
        model: name of the encoder.
        length: tokens that texts are cut to.
        batch: effective batch size.
        reviews: trained, each once.
        precision: in which passes are computed.
        dropout: the setting `encoder_dropout`.
    """

    model: str
    length: int
    batch: int
    reviews: int
    precision: str
    dropout: float


def takes(name: str, case: Case, device: str, first_precision: str) -> bool:
    """Whether a contestant can do what is asked: unpadded attention has no dropout."""
    if name == OURS_UNPADDED:
        return not case.dropout and (device == "cpu" or case.precision == "bf16")
    return name != PUBLISHED or case.precision == first_precision  # it computes in one alone


class Task(NamedTuple):
    """One measurement of one loop.

    Attributes:
        case: what is measured.
        contestant: name of the loop.
        repeat: counted from 1.
        warmup: reviews of the untimed updates before.
        settings: the section `training` of the configuration.
        folder: that `speed_data.py` wrote to.
    """

    case: Case
    contestant: str
    repeat: int
    warmup: int
    settings: Mapping[str, Any]
    folder: Path


def measure(task: Task) -> dict[str, Any]:
    """A line of `loops.csv`; to be called in a process of its own, for the memory at the peak."""
    case = task.case
    settings = {
        **task.settings,
        "max_length": case.length,
        "precision": case.precision,
        "encoder_dropout": case.dropout,
        "unpadded": task.contestant == OURS_UNPADDED,
    }
    tokens = tokens_folder(task.folder, case.model)
    warmup, timed = (tokens / f"{number}.parquet" for number in (task.warmup, case.reviews))
    with TemporaryDirectory() as out:
        encoder = encoder_folder(task.folder, case.model)
        setup = Setup(encoder, warmup, case.batch, settings, Path(out))
        torch.set_num_threads(settings["threads"])
        before = peak_memory(setup.device)
        loops = contestants(setup.device.type)
        ours = task.contestant in (OURS, OURS_UNPADDED, OURS_COMPILED)
        model = build(setup, stock=not ours)
        initial = deepcopy(model.state_dict())
        loops[task.contestant](model, warmup, setup._replace(batch=min(case.batch, task.warmup)))
        model.load_state_dict(initial)
        set_seed(SEED)
        loop = loops[task.contestant](model, timed, setup)
    lengths = torch.from_numpy(np.diff(read_tokens(timed, setup.cut).bounds))
    return {
        **case._asdict(),
        "contestant": task.contestant,
        "repeat": task.repeat,
        "device": setup.device.type,
        **loop._asdict(),
        "examples_per_second": loop.examples / loop.seconds,
        "flops_per_second": training_flops(model, lengths) / loop.seconds,
        "peak_memory_bytes": peak_memory(setup.device),
        "memory_before_bytes": before,
    }


def measure_peak_flops(settings: Mapping[str, Any], precision: str) -> float:
    """Operations per second of a large matrix product in a precision."""
    torch.set_num_threads(settings["threads"])
    return peak_flops(choose(settings["device"]), precision)
