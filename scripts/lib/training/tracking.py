"""Tracking by Weights & Biases, which may fail but never stops or changes a run.

It is set by the variables of wandb itself: WANDB_MODE (offline unless set), WANDB_PROJECT,
WANDB_RUN_GROUP, WANDB_DIR.
"""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from lib.command.console import log, one_line
from lib.study.config import tracking_mode

TIMEOUT = 60  # seconds that an unreachable server may cost at the start and at the end


class Tracker:
    """One tracked run, as a context manager.

    Args:
        keys: keys of the run, which name it.
        settings: of its training.
        id: of the training, by which one that goes on after an interruption is the same.
        enabled: false in all but the first of several processes.

    Raises:
        UserError: WANDB_MODE is none that there is.
    """

    def __init__(
        self, keys: Mapping[str, Any], settings: Mapping[str, Any], id: str, enabled: bool = True
    ) -> None:
        self.id = id
        self.name = " ".join(f"{key}={value}" for key, value in keys.items())
        self.config = {**keys, **settings}
        self.run: Any = None
        self.mode = tracking_mode() if enabled else "disabled"

    def __enter__(self) -> "Tracker":
        if self.mode != "disabled":
            self._attempt(lambda: self._start(self.mode))
        if self.run is None and self.mode == "online":
            self._attempt(lambda: self._start("offline"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.run is not None:
            self._attempt(lambda: self.run.finish(exit_code=int(kind is not None)))

    def log(self, update: int, values: dict[str, float]) -> None:
        """Record what was measured after an update."""
        if self.run is not None:
            self._attempt(lambda: self.run.log(values, step=update))

    def _start(self, mode: str) -> None:
        import wandb

        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            init_timeout=TIMEOUT,
            finish_timeout=TIMEOUT,
        )
        if mode == "online" and not wandb.login(prompt=False):
            raise RuntimeError("no API key; run `wandb login`, or set tracking.mode to offline")
        self.run = wandb.init(
            mode=mode,  # type: ignore[arg-type]  # wandb itself refuses what it does not know
            name=self.name,
            id=self.id,
            resume="allow",
            config=self.config,
            settings=settings,
        )

    def _attempt(self, action: Callable[[], Any]) -> None:
        """Do it, or warn and track no further."""
        try:
            action()
        except Exception as error:
            self.run = None
            log.warning("tracking failed, the run goes on: %s", one_line(error))
