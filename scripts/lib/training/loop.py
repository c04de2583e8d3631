"""The training loop, to be read from top to bottom.

An update takes `batch` examples, in forward and backward passes that are bounded in examples and
in padded tokens, in one process or shared among several (backends.py).
Every pass adds its summed loss, divided by the examples of its update, so that the gradient of an
update is the mean over its examples however they are divided into passes, the smaller last batch
included. So the examples of an update, and of no more than one update, are sorted by length first.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import cross_entropy
from torch.optim import Adam, AdamW, Optimizer
from transformers import get_scheduler

from lib.command.console import announcements, log
from lib.command.console import progress as shown
from lib.command.timing import record
from lib.files.predictions import Predictions
from lib.training.backends import Torch
from lib.training.batches import AUTO, Bounds, Tokens, epoch_order
from lib.training.device import free_memory, is_out_of_memory
from lib.training.metrics import chance_p, fit_temperature, measure
from lib.training.model import Classifier
from lib.training.prediction import predict
from lib.training.progress import Epoch, Progress
from lib.training.saving import Unsaved
from lib.training.sizing import first_bounds

SKIPPED = 0.05  # of the updates; the first few in fp16 may be, until the scale fits


class Result(NamedTuple):
    """What training returns; the model holds the weights of the best epoch.

    Attributes:
        history: all epochs, up to the one that diverged.
        best: the one whose weights are kept.
        diverged: whether the last epoch had a loss that is not finite.
        bounds: of a pass, at the end and in the process that has the smallest.
        skipped: updates that were not made, since gradients in fp16 were not finite.
    """

    history: list[Epoch]
    best: Epoch
    diverged: bool
    bounds: Bounds
    skipped: int


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

    def updates(self, examples: int) -> int:
        """The updates of the whole training on so many examples."""
        updates = self.settings["updates"]
        if updates == AUTO:
            return self.settings["epochs"] * self.per_epoch(examples)
        return int(updates)

    def epochs(self, examples: int) -> int:
        """The epochs that these updates begin; `updates` may end within the last one."""
        return math.ceil(self.updates(examples) / self.per_epoch(examples))

    def per_epoch(self, examples: int) -> int:
        """The updates of a whole epoch."""
        return math.ceil(examples / self.batch)

    def seen(self, updates: int, examples: int) -> int:
        """How many examples so many updates take, each counted as often as it is taken."""
        epochs, begun = divmod(updates, self.per_epoch(examples))
        return epochs * examples + begun * self.batch


class Updates(NamedTuple):
    """The updates of one epoch: mean losses in nats, norms before clipping, learning rates."""

    losses: list[float]
    norms: list[float]
    rates: list[float]


def train(
    model: Classifier,
    data: tuple[Tokens, Tokens],
    recipe: Recipe,
    backend: Torch,
    on_epoch: Callable[[Epoch, Updates], None] = lambda epoch, updates: None,
    saving: Unsaved | None = None,
) -> Result:
    """Train until it `is_over`; leave the weights of the best epoch in the model.

    Args:
        model: on its device, in float32.
        data: examples to learn from, and those that choose the best epoch.
        recipe: how to train.
        backend: how to compute.
        on_epoch: called after each epoch, while the model holds the epoch's weights.
        saving: keeps the state on disk, and goes on from one that it finds there.
    """
    saving = saving or Unsaved()
    batch, seed, settings = recipe
    train_tokens, valid_tokens = data
    examples = len(train_tokens)
    epochs, per_epoch = recipe.epochs(examples), recipe.per_epoch(examples)
    total = recipe.updates(examples)
    trained = list(model.trained())
    optimizer = build_optimizer(trained, settings, scaled_learning_rate(settings, batch))
    scheduler = build_scheduler(optimizer, settings, total)
    optimizer = backend.prepare(optimizer)
    eval_bounds = Bounds.of(settings["eval_batch"], settings["micro_tokens"], backend.device)
    model.train()
    bounds = first_bounds(settings, batch, model, train_tokens, backend)
    labels = valid_tokens.labels.cpu().numpy()
    weights = class_weights(settings, train_tokens.labels, trained[0])
    progress = Progress(model, scheduler, bounds, settings["choose_by"], backend.scaler)

    with saving.watching(progress):
        while not is_over(progress, epochs, settings["patience"]):
            number = len(progress.history) + 1
            before = (number - 1) * per_epoch
            updates = epoch_order(examples, seed, number).split(batch)[: total - before]
            left = updates[len(progress.rates) :]
            resumed = time.perf_counter()
            started = resumed - progress.seconds
            for rows in shown(left, len(left), f"epoch {number} of {epochs}", "update"):
                stream = (seed, before + len(progress.rates))
                measured = accumulate_in_memory(
                    progress, train_tokens, rows, stream, backend, weights
                )
                measured = backend.sum_gradients(trained, measured)
                norm = backend.clip(optimizer, trained, settings["max_grad_norm"])
                with saving.lock:
                    progress.rates.append(float(scheduler.get_last_lr()[0]))
                    progress.measured.append(torch.cat([measured, norm[None]]))
                    if backend.step(optimizer):
                        scheduler.step()
                    else:
                        progress.skipped += 1
                    optimizer.zero_grad()
                    progress.seconds = time.perf_counter() - started
                saving.save_when_due(progress)
            # Nothing else waits for the device, but updates in fp16.
            losses, hits, norms = torch.stack(progress.measured).T.tolist()
            progress.seconds = time.perf_counter() - started
            record("training", time.perf_counter() - resumed)
            logits = predict(model, valid_tokens, eval_bounds, backend)
            valid = Predictions.of(logits, labels)
            sizes = [len(rows) for rows in updates]
            validation = measure(valid)
            epoch = Epoch(
                epoch=number,
                train_loss=float(np.average(losses, weights=sizes)),
                train_accuracy=sum(hits) / sum(sizes),
                valid_loss=validation["loss"],
                valid_accuracy=validation["accuracy"],
                valid_balanced_accuracy=validation["balanced_accuracy"],
                valid_macro_f1=validation["macro_f1"],
                temperature=fit_temperature(logits, labels),
                chance_p=chance_p(valid.label, valid.prediction),
                grad_norm=mean_of_finite(norms),
                learning_rate=progress.rates[-1],
                updates=before + len(updates),
                seconds=progress.seconds,
            )
            on_epoch(epoch, Updates(losses, norms, progress.rates))
            with saving.lock:
                progress.finish_epoch(epoch)
            saving.save_after_epoch(progress)

    if not backend.rank:
        warn_of_skipped(progress.skipped, progress.history[-1].updates)
    model.load_trained(progress.best_weights)
    least = Bounds(*map(backend.least, progress.bounds))
    return Result(progress.history, progress.best, progress.diverged, least, progress.skipped)


def is_over(progress: Progress, epochs: int, patience: int | str) -> bool:
    """Whether a training ends: after all epochs, one that diverged, or too many without a better.

    Args:
        progress: of the training.
        epochs: all of them.
        patience: how many without a better validation are too many; `none` are.
    """
    waited = patience != "none" and progress.waited >= int(patience)
    return len(progress.history) >= epochs or progress.diverged or waited


def mean_of_finite(norms: Sequence[float]) -> float:
    """The mean of those norms of gradients that are finite, as those that fp16 skips are not."""
    finite = [norm for norm in norms if math.isfinite(norm)]
    return float(np.mean(finite)) if finite else math.nan


def accumulate(
    model: Classifier,
    tokens: Tokens,
    rows: Tensor,
    bounds: Bounds,
    backend: Torch,
    weights: Tensor | None = None,
) -> Tensor:
    """Add the gradient of this process's part of the mean loss over the examples of one update.

    Args:
        model: its gradients are zero or None before.
        tokens: the training split.
        rows: `(batch,)` int64 tensor on the CPU: the examples of the update.
        bounds: of a pass.
        backend: how to compute.
        weights: `(classes,)` of the losses.

    Returns:
        A tensor `(2,)` on the device, which sums up over processes to the mean loss and the number
        of examples predicted right.
    """
    device = tokens.labels.device
    loss = torch.zeros((), device=device)
    hits = torch.zeros((), device=device)
    share = backend.share(tokens.by_length(rows))
    with backend.autocast():  # around all passes, so that weights are cast once
        for part in tokens.passes(share, bounds):
            with told_how_large(part, tokens):
                labels = tokens.labels[part.to(device, non_blocking=True)]
                logits = model(tokens.batch(part))
                part_loss = cross_entropy(logits, labels, weights, reduction="sum") / len(rows)
                with torch.autocast(device.type, enabled=False):
                    backend.backward(part_loss)
                loss += part_loss.detach()
                hits += (logits.detach().argmax(dim=-1) == labels).sum()
    return torch.stack([loss, hits])


class PassTooLarge(Exception):
    """A pass of several examples did not fit into memory.

    Attributes:
        tokens: of the pass, padding included.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__(f"out of memory in a pass of {tokens} tokens")
        self.tokens = tokens


@contextmanager
def told_how_large(part: Tensor, tokens: Tokens) -> Iterator[None]:
    """Tell of a pass that does not fit into memory how large it was.

    Raises:
        PassTooLarge: it has several examples; one alone can't be divided.
    """
    try:
        yield
    except RuntimeError as error:
        if len(part) == 1 or not is_out_of_memory(error):
            raise
        raise PassTooLarge(tokens.padded(part)) from None


def accumulate_in_memory(
    progress: Progress,
    tokens: Tokens,
    rows: Tensor,
    stream: Sequence[int],
    backend: Torch,
    weights: Tensor | None,
) -> Tensor:
    """`accumulate`, with passes of at most half the tokens of one that did not fit into memory.

    Args:
        progress: whose model learns, within its bounds.
        tokens: the training split.
        rows: the examples of the update.
        stream: names the random numbers of the update, which depend on nothing else: an update that
            is begun anew is that of a training with the smaller bounds from the start.
        backend: how to compute.
        weights: `(classes,)` of the losses.

    Returns:
        What `accumulate` returns.
    """
    while True:
        backend.reseed(stream)
        try:
            return accumulate(progress.model, tokens, rows, progress.bounds, backend, weights)
        except PassTooLarge as error:
            progress.bounds = progress.bounds.below(error.tokens // 2)
        progress.model.zero_grad()
        free_memory(backend.device)
        log.warning("out of memory: passes are halved to %d tokens", progress.bounds.tokens)


def warn_of_skipped(skipped: int, updates: int) -> None:
    """Say so if more updates of a training were skipped than until the scale of fp16 fits."""
    if skipped > SKIPPED * updates:
        announcements.warning(
            "%d of %d updates changed no weight, since their gradients in fp16 were not finite; "
            "set precision to bf16 or fp32",
            skipped,
            updates,
        )


def class_weights(settings: Mapping[str, Any], labels: Tensor, like: Tensor) -> Tensor | None:
    """The weights of the losses by class, whose mean over the examples is 1; None if all are 1.

    A loss is weighted and still divided by the examples of its update, and not by their weights: so
    the gradient of an update is the mean over its examples whatever classes they are of.

    Args:
        settings: the section `training` of the configuration.
        labels: `(n,)` of all examples to learn from.
        like: has the device and the type that they get.

    Returns:
        `(classes,)`.
    """
    if settings["class_weights"] == "none":
        return None
    found = labels.cpu().numpy()
    classes, weights = np.unique(found), np.ones(found.max() + 1)
    weights[classes] = compute_class_weight(settings["class_weights"], classes=classes, y=found)
    return torch.from_numpy(weights).to(like)


def scaled_learning_rate(settings: Mapping[str, Any], batch: int) -> float:
    """The learning rate after scaling with the effective batch size.

    Linear scaling is that of Goyal et al. 2017 (arXiv:1706.02677); the root is Krizhevsky's
    (arXiv:1404.5997), which Malladi et al. 2022 (arXiv:2205.10287) derive for Adam.
    """
    exponent = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[settings["lr_scaling"]]
    return settings["learning_rate"] * (batch / settings["lr_scaling_base"]) ** exponent


def build_optimizer(
    trained: Sequence[Parameter], settings: Mapping[str, Any], rate: float
) -> Optimizer:
    """Adam, or AdamW with weight decay on matrices only; fused where torch has that."""
    fused = trained[0].device.type in ("cpu", "cuda")
    match settings["optimizer"]:
        case "adam":
            return Adam(trained, lr=rate, fused=fused)
        case "adamw":
            matrices = [parameter for parameter in trained if parameter.ndim >= 2]
            vectors = [parameter for parameter in trained if parameter.ndim < 2]
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
