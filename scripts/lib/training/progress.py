"""How far a training has come, and all that it needs to go on from there."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.optim.lr_scheduler import LRScheduler

from lib.training.batches import Bounds
from lib.training.model import Classifier


@dataclass(frozen=True)
class Epoch:
    """One line of history.csv.

    Attributes:
        epoch: counted from 1.
        train_loss: mean over the epoch, each example at the weights that it met, in nats.
        train_accuracy: likewise.
        valid_loss: at the end of the epoch, in nats.
        valid_accuracy: at the end of the epoch, like all that follows of validation.
        valid_balanced_accuracy: the mean of the shares that are right of each class.
        valid_macro_f1: the mean of the F1 of each class.
        temperature: that fits the logits, see `metrics.fit_temperature`.
        chance_p: of the predictions, see `metrics.chance_p`.
        grad_norm: of the gradient of an update before it is clipped, in the mean over those whose
            norm is finite.
        learning_rate: of the epoch's last update.
        updates: optimizer steps since the start.
        seconds: of training in this epoch, validation left out.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float
    valid_balanced_accuracy: float
    valid_macro_f1: float
    temperature: float
    chance_p: float
    grad_norm: float
    learning_rate: float
    updates: int
    seconds: float

    @property
    def finite(self) -> bool:
        """Whether its losses are finite; if not, training has diverged."""
        return math.isfinite(self.train_loss) and math.isfinite(self.valid_loss)

    def rank(self, choose_by: str) -> tuple[bool, float, float, int]:
        """Sort key of the better epoch: a finite one, by a measure, then lower loss, then earlier.

        Args:
            choose_by: the measure, of validation as the loss is.
        """
        measured = -self.valid_loss if choose_by == "loss" else getattr(self, f"valid_{choose_by}")
        return self.finite, measured, -self.valid_loss, -self.epoch


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        model: that learns.
        scheduler: of the learning rate, which knows the optimizer.
        bounds: of a pass.
        choose_by: the measure of validation by which an epoch is the best.
        scaler: of the losses in fp16.
        skipped: updates that were not made, since gradients in fp16 were not finite.
        history: the epochs that are done.
        measured: of each update since, `(3,)` on the device: its mean loss in nats, the number of
            examples predicted right, and the norm of its gradient.
        rates: the learning rate of each update since.
        seconds: of training since.
        best_weights: those of the best epoch that are trained, on the CPU.
    """

    model: Classifier
    scheduler: LRScheduler
    bounds: Bounds
    choose_by: str
    scaler: GradScaler = field(default_factory=lambda: GradScaler(enabled=False))
    skipped: int = 0
    history: list[Epoch] = field(default_factory=list)
    measured: list[Tensor] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    seconds: float = 0.0
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best(self) -> Epoch:
        """The best epoch of those that are done."""
        return max(self.history, key=lambda epoch: epoch.rank(self.choose_by))

    @property
    def waited(self) -> int:
        """How many epochs have passed since the best one."""
        return len(self.history) - self.best.epoch if self.history else 0

    @property
    def diverged(self) -> bool:
        """Whether a loss of the last epoch is not finite; so in all processes alike."""
        return bool(self.history) and not self.history[-1].finite

    def finish_epoch(self, epoch: Epoch) -> None:
        """Begin the next epoch; keep the weights if this one is the best so far."""
        self.history.append(epoch)
        if epoch is self.best:
            state = self.model.trained_state().items()
            self.best_weights = {key: value.to("cpu", copy=True) for key, value in state}
        self.measured, self.rates, self.seconds = [], [], 0.0

    def tensors(self) -> dict[str, Tensor]:
        """The trained weights, the optimizer's state, and what this epoch measured, by name."""
        optimizer = self.scheduler.optimizer.state_dict()["state"]
        measured = torch.stack(self.measured) if self.measured else torch.zeros(0, 3)
        return {
            "measured": measured,
            **{f"model.{name}": tensor for name, tensor in self.model.trained_state().items()},
            **{
                f"optimizer.{number}.{name}": tensor
                for number, state in optimizer.items()
                for name, tensor in state.items()
            },
        }

    def facts(self) -> dict[str, Any]:
        """All else, as JSON can hold it."""
        scheduler = self.scheduler.state_dict()
        del scheduler["lr_lambdas"]  # which the settings give
        return {
            "bounds": self.bounds,
            "scaler": self.scaler.state_dict(),
            "skipped": self.skipped,
            "history": [asdict(epoch) for epoch in self.history],
            "rates": self.rates,
            "seconds": self.seconds,
            "groups": self.scheduler.optimizer.state_dict()["param_groups"],
            "scheduler": scheduler,
        }

    def restore(
        self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], best: Mapping[str, Tensor]
    ) -> None:
        """Go back to where `tensors` and `facts` were taken.

        Args:
            tensors: those.
            facts: those.
            best: the weights of the best epoch; none in the first.
        """
        device = next(self.model.parameters()).device
        states: dict[int, dict[str, Tensor]] = {}
        weights = {}
        for key, tensor in tensors.items():
            kind, _, name = key.partition(".")
            if kind == "model":
                weights[name] = tensor
            elif kind == "optimizer":
                number, _, name = name.partition(".")
                states.setdefault(int(number), {})[name] = tensor
        self.model.load_trained(weights)
        groups = facts["groups"]
        self.scheduler.optimizer.load_state_dict({"state": states, "param_groups": groups})
        self.scheduler.load_state_dict({"lr_lambdas": [None] * len(groups), **facts["scheduler"]})
        self.bounds = Bounds(*facts["bounds"])
        self.scaler.load_state_dict(facts["scaler"])
        self.skipped = facts["skipped"]
        self.history = [Epoch(**epoch) for epoch in facts["history"]]
        self.measured = list(tensors["measured"].to(device))
        self.rates = list(facts["rates"])
        self.seconds = facts["seconds"]
        self.best_weights = dict(best)
