"""The training loop, to be read from top to bottom.

An update takes `batch` examples, in forward and backward passes that are bounded in examples and
in padded tokens, in one process or shared among several (backends.py).
Every pass adds its summed loss, divided by the examples of its update, so that the gradient of an
update is the mean over its examples however they are divided into passes, the smaller last batch
included. So the examples of an update, and of no more than one update, are sorted by length first.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import Adam, AdamW, Optimizer
from transformers import get_scheduler

from lib.console import log, progress
from lib.training.backends import Torch
from lib.training.batches import AUTO, Bounds, Tokens, epoch_order
from lib.training.device import free_memory, get_random_state, is_out_of_memory, set_random_state
from lib.training.model import Classifier
from lib.training.prediction import predict

CPU_EXAMPLES = 64  # of a pass


@dataclass(frozen=True)
class Epoch:
    """One line of history.csv.

    Attributes:
        epoch: counted from 1.
        train_loss: mean over the epoch, each example at the weights that it met, in nats.
        train_accuracy: likewise.
        valid_loss: at the end of the epoch, in nats.
        valid_accuracy: at the end of the epoch.
        learning_rate: of the epoch's last update.
        updates: optimizer steps since the start.
        seconds: of training in this epoch, validation left out.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float
    learning_rate: float
    updates: int
    seconds: float

    @property
    def finite(self) -> bool:
        """Whether its losses are finite; if not, training has diverged."""
        return math.isfinite(self.train_loss) and math.isfinite(self.valid_loss)

    def rank(self) -> tuple[bool, float, float, int]:
        """Sort key of the better epoch: a finite one, by accuracy, then lower loss, then earlier.

        Accuracy and loss are those of validation.
        """
        return self.finite, self.valid_accuracy, -self.valid_loss, -self.epoch


class Result(NamedTuple):
    """What training returns; the model holds the weights of the best epoch.

    Attributes:
        history: all epochs, up to the one that diverged.
        best: the one whose weights are kept.
        diverged: whether the last epoch had a loss that is not finite.
        bounds: of a pass, at the end and in the process that has the smallest.
    """

    history: list[Epoch]
    best: Epoch
    diverged: bool
    bounds: Bounds


class Recipe(NamedTuple):
    """How to train.

    Attributes:
        batch: effective batch size, in examples per update.
        seed: of the order of examples.
        settings: the section `training` of the configuration.
    """

    batch: int
    seed: int
    settings: Mapping[str, Any]


class Updates(NamedTuple):
    """The updates of one epoch: their mean losses in nats, and their learning rates."""

    losses: list[float]
    rates: list[float]


def train(
    model: Classifier,
    data: tuple[Tokens, Tokens],
    recipe: Recipe,
    backend: Torch,
    on_epoch: Callable[[Epoch, Updates], None] = lambda epoch, updates: None,
) -> Result:
    """Train for all epochs, or until one diverges; leave the best one's weights in the model.

    Args:
        model: on its device, in float32.
        data: examples to learn from, and those that choose the best epoch.
        recipe: how to train.
        backend: how to compute.
        on_epoch: called after each epoch, while the model holds the epoch's weights.
    """
    batch, seed, settings = recipe
    train_tokens, valid_tokens = data
    epochs = settings["epochs"]
    total = epochs * math.ceil(len(train_tokens) / batch)
    optimizer = build_optimizer(model, settings, scaled_learning_rate(settings, batch))
    scheduler = build_scheduler(optimizer, settings, total)
    optimizer = backend.prepare(optimizer)
    bounds = first_bounds(settings, batch, backend)
    eval_bounds = Bounds.of(settings["eval_batch"], settings["micro_tokens"], backend.device)
    history: list[Epoch] = []
    best_weights: dict[str, Tensor] = {}

    for number in range(1, epochs + 1):
        model.train()
        measured, rates = [], []
        updates = epoch_order(len(train_tokens), seed, number).split(batch)
        started = time.perf_counter()
        for rows in progress(updates, len(updates), f"epoch {number} of {epochs}", "update"):
            loss_and_hits, bounds = accumulate_in_memory(model, train_tokens, rows, bounds, backend)
            backend.sum_gradients(model.parameters())
            rates.append(float(scheduler.get_last_lr()[0]))
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            measured.append(loss_and_hits)
        losses, hits = backend.sum(torch.stack(measured)).T.tolist()  # the only synchronisation
        seconds = time.perf_counter() - started

        valid = predict(model, valid_tokens, eval_bounds, backend)
        epoch = Epoch(
            epoch=number,
            train_loss=float(np.average(losses, weights=[len(rows) for rows in updates])),
            train_accuracy=sum(hits) / len(train_tokens),
            valid_loss=valid.mean_loss(),
            valid_accuracy=valid.accuracy(),
            learning_rate=rates[-1],
            updates=number * len(updates),
            seconds=seconds,
        )
        history.append(epoch)
        on_epoch(epoch, Updates(losses, rates))
        if epoch is max(history, key=Epoch.rank):
            best_weights = {key: value.cpu().clone() for key, value in model.state_dict().items()}
        if not epoch.finite:  # in all processes alike, as they have the same losses
            break

    model.load_state_dict(best_weights)
    best = max(history, key=Epoch.rank)
    least = Bounds(*map(backend.least, bounds))
    return Result(history, best, not history[-1].finite, least)


def accumulate(
    model: Classifier, tokens: Tokens, rows: Tensor, bounds: Bounds, backend: Torch
) -> Tensor:
    """Add the gradient of this process's part of the mean loss over the examples of one update.

    Args:
        model: its gradients are zero or None before.
        tokens: the training split.
        rows: `(batch,)` int64 tensor on the CPU: the examples of the update.
        bounds: of a pass.
        backend: how to compute.

    Returns:
        A tensor `(2,)` on the device, which sums up over processes to the mean loss and the number
        of examples predicted right.
    """
    device = tokens.labels.device
    loss = torch.zeros((), device=device)
    hits = torch.zeros((), device=device)
    share = backend.share(tokens.by_length(rows))
    for part in tokens.passes(share, bounds):
        labels = tokens.labels[part.to(device, non_blocking=True)]
        with backend.autocast():
            logits = model(tokens.batch(part))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        part_loss = cross_entropy(logits, labels, reduction="sum") / len(rows)
        backend.backward(part_loss)
        loss += part_loss.detach()
        hits += (logits.detach().argmax(dim=-1) == labels).sum()
    return torch.stack([loss, hits])


def accumulate_in_memory(
    model: Classifier, tokens: Tokens, rows: Tensor, bounds: Bounds, backend: Torch
) -> tuple[Tensor, Bounds]:
    """`accumulate`, with bounds that are halved until the passes fit into memory.

    The update is begun anew with the random state that it had, so that it is the update of
    a training that had the smaller bounds from the start.

    Returns:
        What `accumulate` returns, and the bounds for the next update.
    """
    while True:
        random_state = get_random_state(backend.device)
        try:
            return accumulate(model, tokens, rows, bounds, backend), bounds
        except RuntimeError as error:
            if bounds.examples == 1 or not is_out_of_memory(error):
                raise
        model.zero_grad()
        free_memory(backend.device)
        set_random_state(backend.device, random_state)
        bounds = bounds.halved()
        log.warning("out of memory: passes are halved to %d reviews and %d tokens", *bounds)


def first_bounds(settings: Mapping[str, Any], batch: int, backend: Torch) -> Bounds:
    """The bounds of a pass to begin with: never more than this process's share of an update.

    `auto` begins with the whole share on a GPU. A CPU gains nothing from more than `CPU_EXAMPLES`,
    and memory that it lacks ends the process instead of raising an error.
    """
    share = math.ceil(batch / backend.processes)
    automatic = CPU_EXAMPLES if backend.device.type == "cpu" else share
    examples = automatic if settings["micro_batch"] == AUTO else int(settings["micro_batch"])
    return Bounds.of(min(examples, share), settings["micro_tokens"], backend.device)


def scaled_learning_rate(settings: Mapping[str, Any], batch: int) -> float:
    """The learning rate after scaling with the effective batch size.

    Linear scaling is that of Goyal et al. 2017 (arXiv:1706.02677); the root is Krizhevsky's
    (arXiv:1404.5997), which Malladi et al. 2022 (arXiv:2205.10287) derive for Adam.
    """
    exponent = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[settings["lr_scaling"]]
    return settings["learning_rate"] * (batch / settings["lr_scaling_base"]) ** exponent


def build_optimizer(model: Classifier, settings: Mapping[str, Any], rate: float) -> Optimizer:
    """Adam, or AdamW with weight decay on matrices only; fused where torch has that."""
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    match settings["optimizer"]:
        case "adam":
            return Adam(model.parameters(), lr=rate, fused=fused)
        case "adamw":
            matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
            vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
            groups = [
                {"params": matrices, "weight_decay": settings["weight_decay"]},
                {"params": vectors, "weight_decay": 0.0},
            ]
            return AdamW(groups, lr=rate, fused=fused)
        case unknown:
            raise ValueError(f"unknown optimizer '{unknown}'")


def build_scheduler(
    optimizer: Optimizer, settings: Mapping[str, Any], updates: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The course of the learning rate over all updates."""
    names = {"constant": "constant_with_warmup", "linear": "linear"}
    return get_scheduler(
        names[settings["scheduler"]],
        optimizer,
        num_warmup_steps=round(settings["warmup"] * updates),
        num_training_steps=updates,
    )
