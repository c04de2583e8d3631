"""How fast a kind of training is on this machine, from a few timed passes."""

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.command.console import UserError
from lib.study.code import SCRIPTS
from lib.training import gpus
from lib.training.backends import Torch, connect
from lib.training.batches import Bounds, Tokens, epoch_order, load_tokens
from lib.training.device import explain_lack_of_memory
from lib.training.job import SPLITS, Job, build_model
from lib.training.launch import forget_other_launchers
from lib.training.loop import (
    accumulate,
    accumulate_in_memory,
    build_optimizer,
    build_scheduler,
    first_bounds,
    scaled_learning_rate,
)
from lib.training.model import Classifier, save_checkpoint
from lib.training.prediction import predict
from lib.training.progress import Progress

SECONDS = 4.0  # of timed passes of a kind in training, and as many in validation
UPDATES = 1000  # of which the passes are drawn, at most


class Speed(NamedTuple):
    """What was measured of a kind.

    Attributes:
        training: reviews per second of a training, by all of its processes.
        prediction: reviews per second of one process.
        start: seconds of a job besides its loop, its first pass included.
        checkpoint: seconds to write one.
    """

    training: float
    prediction: float
    start: float
    checkpoint: float


def time_at_once(job: Job, count: int) -> Speed:
    """The mean of what so many processes measure at the same time.

    They start as the jobs of a study do: where it has a fork server, with libraries imported.

    Raises:
        UserError: one can't measure, or has ended before it was done.
    """
    forked = sys.platform == "linux" and not gpus.count()
    context: Any = get_context("fork" if forked else "spawn")
    receivers = []
    for _ in range(count):
        receiver, sender = context.Pipe(duplex=False)
        arguments = (sender, job, forked, time.time())
        context.Process(target=send_speed, args=arguments, daemon=True).start()
        sender.close()
        receivers.append(receiver)
    return Speed(*map(fmean, zip(*map(received, receivers), strict=True)))


def received(receiver: Connection) -> Speed:
    """What a process has measured.

    Raises:
        UserError: it can't measure, or has ended.
    """
    try:
        found = receiver.recv()
    except EOFError as error:
        raise UserError(
            "a process that measured has ended, perhaps for lack of memory; its output tells more"
        ) from error
    if isinstance(found, UserError):
        raise found
    return found


def send_speed(sender: Connection, job: Job, forked: bool, began: float) -> None:
    """Measure, in a process of its own, and send what was found, or the user's mistake."""
    try:
        if forked:  # what a job does before it hands itself to a fork
            command = [sys.executable, str(SCRIPTS / "train.py"), "--help"]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        sender.send(speed_of(job, began))
    except UserError as error:
        sender.send(error)


def speed_of(job: Job, began: float) -> Speed:
    """Time some passes of training and validation in this process.

    Of several processes that share an update, this is one, with its share.

    Args:
        job: a training.
        began: when its process was started, in seconds since the epoch.

    Raises:
        UserError: something can't be used, or the device is out of memory.
    """
    forget_other_launchers()
    advice = explain_lack_of_memory("lower eval_batch, micro_tokens or max_length")
    with connect(job.settings, job.keys["seed"]) as backend, advice:
        splits = [job.tokens / name for name in SPLITS]
        device, pooling = backend.device, job.keys["pooling"]
        train, valid = (load_tokens(path, device, pooling) for path in splits)
        model = build_model(job, train).train()
        loaded = time.time() - began
        training, first = time_training(job, model, train, backend)
        prediction = time_prediction(job, model, valid, backend)
        with tempfile.TemporaryDirectory() as folder:
            write = partial(save_checkpoint, model, job.encoder, Path(folder), train.max_length)
            return Speed(training, prediction, loaded + first, seconds_of(write, device))


def time_training(
    job: Job, model: Classifier, tokens: Tokens, backend: Torch
) -> tuple[float, float]:
    """Reviews per second in training, and the seconds of the first pass.

    Passes are drawn from those of the first updates, and each is followed by a step of the
    optimizer: an epoch takes as many passes as it has, and a step for each update.
    """
    settings, recipe = job.settings, job.recipe
    optimizer = build_optimizer(model, settings, scaled_learning_rate(settings, recipe.batch))
    scheduler = build_scheduler(optimizer, settings, recipe.updates(len(tokens)))
    optimizer = backend.prepare(optimizer)
    share = math.ceil(recipe.batch / settings["processes"])
    state = Progress(model, scheduler, first_bounds(settings, share, backend))

    def step() -> None:
        optimizer.step()
        optimizer.zero_grad()

    longest = passes(tokens, torch.arange(len(tokens)), state.bounds)[0]
    begin = partial(accumulate_in_memory, state, tokens, longest, (0,), backend)
    first = seconds_of(begin, backend.device)
    step()
    updates = epoch_order(len(tokens), recipe.seed, 1).split(recipe.batch)[:UPDATES]
    shares = [tokens.by_length(rows)[:: settings["processes"]] for rows in updates]
    parts = [part for rows in shares for part in passes(tokens, rows, state.bounds)]
    in_passes: list[float] = []
    in_steps: list[float] = []
    for part in drawn(parts):
        learn = partial(accumulate, model, tokens, part, state.bounds, backend)
        in_passes.append(seconds_of(learn, backend.device))
        in_steps.append(seconds_of(step, backend.device))
    seconds = len(parts) * fmean(in_passes) + len(updates) * fmean(in_steps)
    return sum(map(len, updates)) / seconds, first


def time_prediction(job: Job, model: Classifier, tokens: Tokens, backend: Torch) -> float:
    """Reviews per second in validation, from some of its passes."""
    settings, device = job.settings, backend.device
    bounds = Bounds.of(settings["eval_batch"], settings["micro_tokens"], device)
    parts = passes(tokens, torch.arange(len(tokens)), bounds)
    predict(model, tokens.select(parts[0]), bounds, backend)
    seconds = [
        seconds_of(partial(predict, model, tokens.select(part), bounds, backend), device)
        for part in drawn(parts)
    ]
    return len(tokens) / (len(parts) * fmean(seconds))


def passes(tokens: Tokens, rows: Tensor, bounds: Bounds) -> list[Tensor]:
    """Rows divided into passes of like length, the longest first."""
    return list(tokens.passes(tokens.by_length(rows), bounds))


def drawn(parts: Sequence[Tensor]) -> Iterator[Tensor]:
    """Passes in a random order, until `SECONDS` have gone by."""
    until = time.perf_counter() + SECONDS
    for number in np.random.default_rng(0).permutation(len(parts)):
        yield parts[number]
        if time.perf_counter() > until:
            return


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """The seconds that some work takes on a device."""
    began = time.perf_counter()
    work()
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()
    return time.perf_counter() - began
