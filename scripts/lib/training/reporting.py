"""What a training tells while it runs: lines in the log and on the terminal, and a tracked run."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lib.command.console import announcements, log
from lib.command.formats import duration
from lib.training.loop import Recipe, Updates
from lib.training.progress import Epoch
from lib.training.tracking import Tracker


class Reporter:
    """Reports the epochs of one run.

    Args:
        keys: of the run, which name it.
        recipe: how it trains.
        examples: in a whole epoch.
        tracker: records every update.
    """

    def __init__(
        self, keys: Mapping[str, Any], recipe: Recipe, examples: int, tracker: Tracker
    ) -> None:
        self.name = " ".join(
            str(value) for key, value in keys.items() if key not in ("dataset", "seed")
        )
        self.name += f" seed {keys['seed']}"
        self.epochs = recipe.epochs(examples)
        self.advice = "lower learning_rate or raise warmup"
        if recipe.settings["precision"] == "fp16":  # in which a pass itself may overflow
            self.advice += ", or set precision to bf16 or fp32"
        self.recipe = recipe
        self.examples = examples
        self.tracker = tracker
        self.reported = time.monotonic()

    def epoch(self, epoch: Epoch, updates: Updates) -> None:
        """Report an epoch and its updates, and whether they diverged."""
        first = epoch.updates - len(updates.losses) + 1
        for number, (loss, rate) in enumerate(zip(*updates, strict=True), first):
            self.tracker.log(number, {"loss": loss, "learning_rate": rate})
        self.tracker.log(epoch.updates, asdict(epoch))
        seen = self.recipe.seen(len(updates.losses), self.examples)
        speed = seen / epoch.seconds if epoch.seconds else math.inf
        log.info(
            "epoch %d: train loss %.4f, accuracy %.4f; valid loss %.4f, accuracy %.4f; "
            "%d updates so far; %.0f updates/minute, %.0f examples/s",
            epoch.epoch,
            epoch.train_loss,
            epoch.train_accuracy,
            epoch.valid_loss,
            epoch.valid_accuracy,
            epoch.updates,
            speed * 60 * len(updates.losses) / seen,
            speed,
        )
        before, self.reported = self.reported, time.monotonic()
        left = (self.reported - before) * (self.epochs - epoch.epoch)
        announcements.info(
            "%s: epoch %d of %d, validation accuracy %.4f, %.0f reviews/s, %s",
            self.name,
            epoch.epoch,
            self.epochs,
            epoch.valid_accuracy,
            speed,
            f"{duration(left)} left" if left else "done",
        )
        if not epoch.finite:
            announcements.info(
                "%s: training diverged, and ends: the %s is not finite; %s",
                self.name,
                divergence(epoch, updates),
                self.advice,
            )


def divergence(epoch: Epoch, updates: Updates) -> str:
    """The first loss of an epoch that is not finite, in words."""
    before = epoch.updates - len(updates.losses)
    for number, loss in enumerate(updates.losses, before + 1):
        if not math.isfinite(loss):
            return f"loss of update {number}, in epoch {epoch.epoch},"
    return f"validation loss of epoch {epoch.epoch}"
