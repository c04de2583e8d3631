"""The commands that `gpu_check.py` runs, each a process of its own, and what their results tell."""

import csv
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from safetensors.numpy import load_file

from gpu_report import Speed
from lib.command.console import UserError
from lib.files.whole import read_json
from lib.study import config
from lib.study.planning import flags
from lib.study.schema import keys_that
from speed_data import encoder_folder, prepare_model, prepare_reviews, tokens_folder

ROOT = Path(__file__).parents[1]
BENCHMARKS, SCRIPTS = ROOT / "benchmarks", ROOT / "scripts"
TRAIN = (SCRIPTS / "train.py",)
LONGEST = 900  # seconds of a command, which hangs if it takes more
PATIENCE = 60  # seconds that a command which is asked to end may take for it
DROPOUT = 0.1
WEIGHTS = ("checkpoint/model.safetensors", "checkpoint/2_Dense/model.safetensors")
HISTORY = "history.csv"
SEED = 1
CPU_THREADS = min(16, os.cpu_count() or 1)  # of what is compared with the device


class Failed(Exception):
    """Why a check fails."""


class LeftOut(Exception):
    """Why a check can't be done here."""


class Sizes(NamedTuple):
    """How much is trained.

    Attributes:
        config: file that names reviews, encoders and settings.
        train: reviews to learn from that are there.
        examples: those that a training learns from; the last of their updates is smaller.
        valid: reviews to validate with.
        batch: effective batch size.
        micro_batch: reviews of a pass, several of which make an update.
        large: reviews of the update that does not fit into memory.
        spare: bytes that are left to it.
    """

    config: str
    train: int
    examples: int
    valid: int
    batch: int
    micro_batch: int
    large: int
    spare: int


SIZES = {
    "cpu": Sizes("config.yaml", 512, 480, 128, 64, 16, 512, 100_000_000),
    "cuda": Sizes("throughput.yaml", 8192, 640, 128, 256, 64, 512, 6_000_000_000),
}


class Lab:
    """Where trainings and tests are run, each once.

    Args:
        device: `cpu` or `cuda`.
        study: the file of a study, in place of the device's own.
        folder: for data and runs.
        logs: folder for what commands say.
    """

    def __init__(self, device: str, study: Path | None, folder: Path, logs: Path) -> None:
        self.device, self.sizes = device, SIZES[device]
        self.folder, self.logs = folder, logs
        self.study = read_study(study or ROOT / "config" / self.sizes.config, self.sizes)
        self.models = list(self.study["models"])
        self.done: dict[str, Path] = {}
        self.speeds: list[Speed] = []
        logs.mkdir(parents=True, exist_ok=True)

    @cached_property
    def card(self) -> dict[str, Any]:
        """What `gpu_card.py` finds out; that all is broken, where it fails."""
        path = self.folder / "card.json"
        try:
            self.run("card", [BENCHMARKS / "gpu_card.py", self.device, path])
        except Failed as reason:
            return {"facts": {"Device": self.device}, "broken": str(reason)}
        return read_json(path)

    def prepare(self) -> None:
        """Write reviews, encoders and tokens; torch computes in processes that end with it."""
        with ProcessPoolExecutor(2, get_context("forkserver")) as pool:
            pool.submit(prepare_reviews, self.study, self.folder).result()
            written = [
                pool.submit(prepare_model, self.folder, name, model, ())
                for name, model in self.study["models"].items()
            ]
            for each in written:
                each.result()
        for model in self.models:
            without_dropout(encoder_folder(self.folder, model), self.encoder(model, dropout=False))

    def encoder(self, model: str, dropout: bool = True) -> Path:
        """The folder of an encoder, or of the same without any dropout."""
        return encoder_folder(self.folder, model if dropout else f"{model}-without-dropout")

    def words(self, name: str, model: str, changes: Mapping[str, Any]) -> list[str]:
        """The flags of a training.

        Args:
            name: of its run.
            model: name of the encoder.
            changes: of settings and keys.
        """
        sizes = self.sizes
        keys = {
            "tokens": tokens_folder(self.folder, model),
            "encoder": self.encoder(model),
            "run": self.folder / "runs" / name,
            "dataset": "gpu-check",
            "model": model,
            "pooling": "masked-mean",
            "batch": sizes.batch,
            "seed": SEED,
        }
        own = {
            "device": self.device,
            "dropout": DROPOUT,
            "examples": sizes.examples,
            "micro_batch": sizes.micro_batch,
            "scheduler": "linear",  # a state that forgets its place would show
        }
        settings = self.study["training"] | own | keys | changes
        return shlex.split(flags(settings))

    def train(
        self, name: str, model: str, by: Sequence[str | Path] = TRAIN, **changes: Any
    ) -> Path:
        """The run of a training of that name, which is done once.

        Args:
            name: of its run.
            model: name of the encoder.
            by: the command that takes the flags of train.py.
            changes: of settings and keys.

        Raises:
            Failed: it does not end well, or its losses are not finite.
        """
        if name not in self.done:
            self.run(name, [*by, *self.words(name, model, changes)])
            run = self.folder / "runs" / name
            if read_json(run / "train.json", "diverged")["diverged"]:
                raise Failed(f"{name}: the loss is not finite")
            self.done[name] = run
        return self.done[name]

    def forget(self, beginning: str) -> None:
        """Remove the runs whose names begin so, which take much space."""
        for name in [name for name in self.done if name.startswith(beginning)]:
            shutil.rmtree(self.done.pop(name))

    def test(self, name: str, run: Path, **changes: Any) -> dict[str, Any]:
        """What test.json tells of a run on its validation reviews, as if they were for the test.

        Raises:
            Failed: the test does not end well.
        """
        model = read_json(run / "train.json", "model")["model"]
        tokens = self.folder / "tested" / f"{model}.parquet"
        tokens.parent.mkdir(exist_ok=True)
        shutil.copyfile(tokens_folder(self.folder, model) / "valid.parquet", tokens)
        settings = self.study["training"] | {"device": self.device} | changes
        tested = {key: settings[key] for key in keys_that("tested")}
        words = shlex.split(flags(tested | {"run": run, "tokens": tokens}))
        self.run(name, [SCRIPTS / "evaluate.py", *words])
        return read_json(run / "test.json", "accuracy", "loss", "n")

    def interrupt(self, name: str, model: str, when: str, **changes: Any) -> None:
        """Ask a training to end as soon as it has said something.

        Args:
            name: of its run.
            model: name of the encoder.
            when: expression for what it says.
            changes: of settings and keys.

        Raises:
            Failed: it ends otherwise than with its state saved.
        """
        words, name = self.words(name, model, changes), f"{name}-interrupted"
        with self.started(name, [*TRAIN, *words]) as process:
            started = time.monotonic()
            while process.poll() is None and not re.search(when, self.said(name)):
                if time.monotonic() - started > LONGEST:
                    raise Failed(f"it does not come so far: {self.last_line(name)}")
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            code = process.wait(LONGEST)
        if code != 128 + signal.SIGTERM or "its state is saved" not in self.said(name):
            raise Failed(f"asked to end, it ends with code {code}: {self.last_line(name)}")

    def run(self, name: str, words: Sequence[str | Path]) -> None:
        """Run a Python command to its end.

        Raises:
            Failed: it fails, or takes too long.
        """
        with self.started(name, words) as process:
            try:
                code = process.wait(LONGEST)
            except subprocess.TimeoutExpired as error:
                raise Failed(f"more than {LONGEST} s: {self.last_line(name)}") from error
        if code:
            raise Failed(f"{self.last_line(name)} (exit code {code}, {self.log(name)})")

    @contextmanager
    def started(self, name: str, words: Sequence[str | Path]) -> Iterator[subprocess.Popen]:
        """A Python command that runs, and is ended where the block ends before it."""
        with self.log(name).open("w") as log:
            process = subprocess.Popen(
                [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            try:
                yield process
            finally:
                process.terminate()  # which its fork hears of, and is waited for
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def log(self, name: str) -> Path:
        """The file of what a command says."""
        return self.logs / f"{name}.log"

    def said(self, name: str) -> str:
        """What a command has said."""
        return self.log(name).read_text("utf-8", "replace")

    def last_line(self, name: str) -> str:
        """The last line of what a command has said."""
        return (self.said(name).strip().splitlines() or ["nothing is said"])[-1]


def read_study(path: Path, sizes: Sizes) -> dict[str, Any]:
    """A study of as many reviews as are needed.

    Raises:
        UserError: it can't be used.
    """
    try:
        study = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"--config {path} can't be read: {error.strerror}") from error
    config.check(study)
    counts = [sizes.train, sizes.valid, 2]
    study["dataset"] |= {"limit": sum(counts), "near_duplicates": 1}
    study["split"] = {"sizes": counts, "seed": SEED}
    config.check(study)
    return study


def without_dropout(encoder: Path, target: Path) -> None:
    """Write an encoder of random weights again, with all dropout in its config set to 0."""
    shutil.copytree(encoder, target)
    path = target / "config.json"
    told = json.loads(path.read_text("utf-8"))
    off = {key: 0.0 for key, value in told.items() if "dropout" in key and value}
    path.write_text(json.dumps(told | off), "utf-8")


def differing(one: Path, other: Path) -> list[str]:
    """The files in which two runs of a training differ that are to be alike to the last bit."""
    names = [name for name in WEIGHTS if (one / name).read_bytes() != (other / name).read_bytes()]
    return names + ([HISTORY] if untimed(one) != untimed(other) else [])


def untimed(run: Path) -> list[dict[str, str]]:
    """The epochs of a run, without their seconds."""
    rows = epochs(run)
    for row in rows:
        del row["seconds"]
    return rows


def epochs(run: Path) -> list[dict[str, str]]:
    """The lines of history.csv."""
    with (run / HISTORY).open(newline="") as file:
        return list(csv.DictReader(file))


class Distance(NamedTuple):
    """How far two trainings are apart.

    Attributes:
        loss: greatest difference of a mean loss of an epoch, in nats.
        accuracy: greatest difference of an accuracy.
        weights: root of the mean square of the differences of weights, in learning rates; what an
            update of Adam changes in a weight is about one of them.
    """

    loss: float
    accuracy: float
    weights: float

    def __str__(self) -> str:
        """The three numbers in a sentence."""
        return (
            f"losses differ by {self.loss:.2g}, accuracies by {self.accuracy:.2g}, "
            f"weights by {self.weights:.2g} of a learning rate"
        )

    def within(self, most: "Distance") -> bool:
        """Whether nothing differs by more; what is not a number does."""
        return all(own <= bound for own, bound in zip(self, most, strict=True))


def distance(one: Path, other: Path) -> Distance:
    """How far two runs of the same updates are apart."""
    pairs = list(zip(epochs(one), epochs(other), strict=True))

    def greatest(measure: str) -> float:
        names = [f"{split}_{measure}" for split in ("train", "valid")]
        found = [abs(float(a[name]) - float(b[name])) for a, b in pairs for name in names]
        return math.nan if any(map(math.isnan, found)) else max(found)

    rate = read_json(one / "train.json", "learning_rate")["learning_rate"]
    return Distance(greatest("loss"), greatest("accuracy"), weights_apart(one, other) / rate)


def weights_apart(one: Path, other: Path) -> float:
    """Root of the mean square of the differences of all weights of two runs."""
    squares, count = 0.0, 0
    for file in WEIGHTS:
        others = load_file(other / file)
        for name, weight in load_file(one / file).items():
            difference = weight.astype(np.float64) - others[name]
            squares += float(np.square(difference).sum())
            count += weight.size
    return math.sqrt(squares / count)
