"""What a training tells while it runs: lines in the log and on the terminal, and a tracked run."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lib.command.console import announcements, log
from lib.command.formats import duration, plural
from lib.training.device import DTYPES
from lib.training.loop import Recipe, Updates
from lib.training.progress import Epoch
from lib.training.tracking import Tracker


class Reporter:
    """Reports the epochs of one run.

    Args:
        keys: of the run, which name it.
        recipe: how it trains.
        examples: in a whole epoch.
        precision: in which it computes.
        tracker: records every update.
    """

    def __init__(
        self,
        keys: Mapping[str, Any],
        recipe: Recipe,
        examples: int,
        precision: str,
        tracker: Tracker,
    ) -> None:
        self.name = " ".join(
            str(value) for key, value in keys.items() if key not in ("dataset", "seed")
        )
        self.name += f" seed {keys['seed']}"
        self.epochs = recipe.epochs(examples)
        self.recipe = recipe
        self.examples = examples
        self.precision = precision
        self.tracker = tracker
        self.reported = time.monotonic()

    def epoch(self, epoch: Epoch, updates: Updates) -> None:
        """Report an epoch and its updates, and whether they diverged."""
        first = epoch.updates - len(updates.losses) + 1
        for number, (loss, norm, rate) in enumerate(zip(*updates, strict=True), first):
            self.tracker.log(number, {"loss": loss, "grad_norm": norm, "learning_rate": rate})
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
            number = first_diverged(epoch, updates)
            what = f"loss of update {number}, in epoch {epoch.epoch},"
            announcements.info(
                "%s: training diverged, and ends: the %s is not finite; %s",
                self.name,
                what if number else f"validation loss of epoch {epoch.epoch}",
                likely_reason(number, self.recipe.settings, self.precision),
            )

    def end(self, epochs: int, saved: float) -> None:
        """Report a training that ended before all epochs were trained.

        Args:
            epochs: that were trained.
            saved: seconds that the others would have taken.
        """
        announcements.info(
            "%s: no better validation in %s, so that training ends after epoch %d of %d, which "
            "saves about %s",
            self.name,
            plural(self.recipe.settings["patience"], "epoch"),
            epochs,
            self.epochs,
            duration(saved),
        )


def first_diverged(epoch: Epoch, updates: Updates) -> int:
    """The number of the first update of an epoch whose loss is not finite; 0 where all are."""
    before = epoch.updates - len(updates.losses)
    losses = enumerate(updates.losses, before + 1)
    return next((number for number, loss in losses if not math.isfinite(loss)), 0)


def likely_reason(number: int, settings: Mapping[str, Any], precision: str) -> str:
    """What may have made a loss infinite, and what to do.

    Args:
        number: of the update; the weights of the first are those of the encoder, which are finite.
        settings: the section `training` of the configuration.
        precision: in which passes are computed.
    """
    lowered = f"passes may overflow in {precision}: set precision to fp32"
    if number == 1 and precision in DTYPES:
        return lowered
    if number == 1:
        return (
            "no weight has changed before, so that the attention of this encoder may not be made "
            "for padding: set micro_batch and eval_batch to 1, so that there is none, or take "
            "another encoder"
        )
    steps = ["lower learning_rate", "raise warmup"]
    if settings["max_grad_norm"] == "none":
        steps.append("set max_grad_norm")
    advice = "steps may be too large: " + ", ".join(steps)
    return f"{advice}; or {lowered}" if precision == "fp16" else advice
