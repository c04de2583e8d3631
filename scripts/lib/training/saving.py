"""The state of a training on disk: saved as it goes, used after an interruption, gone at the end.

It lies in `.state/` in the folder of the run, where Snakemake, which removes the outputs of a job
that failed, leaves it alone. A state belongs to one identity: settings, tokens, encoder, code and
hardware. Any other training begins anew.
"""

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lib.command.console import UserError, announcements, log, one_line, refusals_explained
from lib.files.manifests import manifest_of, verify
from lib.files.whole import replacing
from lib.training.progress import Epoch, Progress

FOLDER = ".state"
STATE = "state.safetensors"
FACTS = "facts"  # in the header of STATE, as JSON
LOCK = ".lock"
PATIENCE = 5  # seconds that a training which is about to end may take for it
AFTER_EPOCH = 60  # seconds after which a state is saved again as an epoch ends; saving takes some
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class State(NamedTuple):
    """A state as it is on disk.

    Attributes:
        facts: of the progress, with the identity and the name of the training.
        tensors: of the progress.
        best: the weights of the best epoch so far.
    """

    facts: dict[str, Any]
    tensors: dict[str, Tensor]
    best: dict[str, Tensor]


class Unsaved:
    """What the loop asks of saving, for a training of which nothing is saved."""

    lock: AbstractContextManager = nullcontext()

    def watching(self, progress: Progress) -> AbstractContextManager:
        """Surrounds a training from its start."""
        return nullcontext()

    def save_when_due(self, progress: Progress) -> None:
        """Called after each update."""

    def save_after_epoch(self, progress: Progress) -> None:
        """Called after each epoch."""


class Saving(Unsaved):
    """The state of one training on disk.

    Args:
        run: folder of the run.
        identity: what the state belongs to, as JSON can hold it.
        minutes: between two states within an epoch, and from one to the end of an epoch if less
            than `AFTER_EPOCH`.
        rank: number of this process; the one with 0 saves.

    Attributes:
        lock: held while weights, optimizer and progress change together.
        folder: of the state.
        kept: folder of checkpoints that wait for the end of the training.
        name: of the training, the same after an interruption.
    """

    def __init__(
        self, run: Path, identity: Mapping[str, Any], minutes: float, rank: int = 0
    ) -> None:
        self.folder = run / FOLDER
        self.kept = self.folder / "checkpoints"
        self.identity = json.loads(json.dumps(identity))
        self.seconds = 60 * minutes
        self.rank = rank
        self.saved = time.monotonic()
        self.lock = threading.RLock()
        self.ending, self.left = threading.Event(), threading.Event()
        self.found = self._read()
        self.name = self.found.facts["name"] if self.found else uuid4().hex[:8]

    def _read(self) -> State | None:
        """The saved state; None, and all that lies beside it is removed, where none can be used."""
        path = self.folder / STATE
        if not path.is_file():
            self._remove()
            return None
        reason = "it is damaged"
        with suppress(UserError, SafetensorError, OSError, ValueError, LookupError, TypeError):
            verify(path)
            with safe_open(path, "pt") as file:
                facts = json.loads(file.metadata()[FACTS])
            others = differences(facts["identity"], self.identity)
            if not others:
                best = self._best(facts["best"])
                verify(best)
                return State(facts, load_file(path), load_file(best) if facts["best"] else {})
            reason = f"other {', '.join(others)}"
        if not self.rank:
            announcements.warning("training begins anew: '%s' is not used: %s", path, reason)
            self._remove()
        return None

    def _best(self, epoch: int) -> Path:
        """The file of the best weights so far, those of an epoch."""
        return self.folder / f"best-{epoch}.safetensors"

    def checkpoint(self, epoch: Epoch) -> Path:
        """The folder of an epoch's checkpoint among those that are kept."""
        return self.kept / f"epoch={epoch.epoch}-acc={epoch.valid_accuracy:.4f}"

    @contextmanager
    def watching(self, progress: Progress) -> Iterator[None]:
        """Go on from a saved state, if there is one; save when a signal ends this process.

        Args:
            progress: of the training, at its start.
        """
        if self.found:
            progress.restore(self.found.tensors, self.found.facts, self.found.best)
            self._remove_best_but(self.found.facts["best"])
            self._remove_checkpoints_but(progress.history)
            self.found = None
            epoch, update = len(progress.history) + 1, len(progress.rates)
            log.info("resuming in epoch %d, after update %d of it", epoch, update)
        with on_signal(lambda number: self._end(progress, number)):
            try:
                yield
            finally:
                self.left.set()
                if self.ending.is_set():
                    threading.Event().wait()  # until the other thread ends this process

    def save(self, progress: Progress) -> None:
        """Replace the state on disk by that of the training."""
        if self.rank:
            return
        with self.lock:
            best = progress.best.epoch if progress.history else 0
            if best and not self._best(best).is_file():
                _write(self._best(best), progress.best_weights, {})
            facts = {"best": best, "name": self.name, "identity": self.identity}
            _write(self.folder / STATE, progress.tensors(), {**progress.facts(), **facts})
            self._remove_best_but(best)
            self.saved = time.monotonic()

    def _remove_best_but(self, epoch: int) -> None:
        """Remove weights that are the best no longer, or of an epoch that is trained again."""
        for path in self.folder.glob("best-*.safetensors"):
            if path != self._best(epoch) and not self.rank:
                path.unlink()
                manifest_of(path).unlink(missing_ok=True)

    def _remove_checkpoints_but(self, epochs: Iterable[Epoch]) -> None:
        """Remove checkpoints of epochs that are trained again, perhaps to another accuracy."""
        kept = set(map(self.checkpoint, epochs))
        for path in self.kept.glob("*"):
            if path not in kept and not self.rank:
                shutil.rmtree(path)

    def save_when_due(self, progress: Progress) -> None:
        """Save if that was last done long enough ago."""
        if time.monotonic() - self.saved > self.seconds:
            self.save(progress)
            log.info("state saved, after update %d of the epoch", len(progress.rates))

    def save_after_epoch(self, progress: Progress) -> None:
        """Save if that was last done a minute ago, or `minutes` ago, whichever is less."""
        if time.monotonic() - self.saved > min(self.seconds, AFTER_EPOCH):
            self.save(progress)

    def finish(self) -> None:
        """Remove the state of a training that is done."""
        (self.folder / STATE).unlink(missing_ok=True)  # first: it is none without the rest
        self._remove()

    def _remove(self) -> None:
        if not self.rank:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, progress: Progress, number: int) -> None:
        """Save and end this process; the first of several alone does, the others wait for it."""
        self.ending.set()
        if self.rank:
            self.left.wait(PATIENCE)
            os._exit(128 + number)
        with self.lock:
            try:
                self.save(progress)
                epoch, update = len(progress.history) + 1, len(progress.rates)
                outcome = f"its state is saved, in epoch {epoch} after update {update}"
            except Exception as error:
                outcome = f"its state can't be saved: {one_line(error)}"
            name = signal.Signals(number).name
            announcements.warning("training ended by %s; %s; run it again to go on", name, outcome)
            os._exit(128 + number)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The keys under which mappings differ, with those of mappings in them: `settings.epochs`."""
    found = []
    for key in sorted({*one, *other}):
        own, others = one.get(key), other.get(key)
        if isinstance(own, dict) and isinstance(others, dict):
            found += [f"{key}.{inner}" for inner in differences(own, others)]
        elif own != others:
            found.append(key)
    return found


def _write(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors, each with memory of its own as the format demands, and facts in the header."""
    seen: set[int] = set()
    own = {}
    for name, tensor in tensors.items():
        shared = tensor.data_ptr() in seen
        seen.add(tensor.data_ptr())
        own[name] = tensor.clone() if shared else tensor.contiguous()
    with replacing(path) as temporary:
        save_file(own, temporary, {FACTS: json.dumps(facts)})


@contextmanager
def locked(folder: Path, deed: str = "trained") -> Iterator[None]:
    """Keep a folder for this process, until the block or this process ends.

    Args:
        folder: of a run, or of what else one process is to write alone.
        deed: what is done to it, for errors.

    Raises:
        UserError: another process has it.
    """
    path = folder / LOCK
    try:
        with refusals_explained(path):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path).acquire(timeout=PATIENCE)
    except Timeout as error:
        raise UserError(
            f"'{folder}' is being {deed} by {path.read_text('utf-8') or 'another process'}; "
            "wait until it has ended, or end it"
        ) from error
    with lock:
        try:
            with refusals_explained(path):
                path.write_text(f"process {os.getpid()} on {socket.gethostname()}", "utf-8")
            yield
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()  # where nothing was written


@contextmanager
def on_signal(act: Callable[[int], None]) -> Iterator[None]:
    """Let a thread act when a signal asks this process to end, instead of Python's own handlers.

    Those wait until a call of a library returns, and a pass of a large encoder takes many seconds.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def wait() -> None:
        while number := reader.recv(1):
            if number[0] in SIGNALS:
                act(number[0])

    handlers = {each: signal.signal(each, lambda *_: None) for each in SIGNALS}
    descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        writer.close()
        thread.join()
        reader.close()
