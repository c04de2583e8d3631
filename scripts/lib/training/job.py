"""One training, from token files and an encoder to the folder of its run."""

import csv
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lib.command.console import UserError, log, silence
from lib.data.cutting import Cut
from lib.data.encoder_files import check_length, describe_encoder
from lib.data.sampling import first_of
from lib.files.manifests import sha256
from lib.files.whole import link, replacing, write_json
from lib.study.code import digest
from lib.study.version import workflow_version
from lib.training.backends import Torch, connect
from lib.training.batches import Tokens, load_tokens
from lib.training.checkpoints import new_classifier, save_checkpoint
from lib.training.compilation import compile_part
from lib.training.device import (
    choose_precision,
    device_name,
    explain_lack_of_memory,
    hardware,
    peak_memory,
)
from lib.training.flops import head_flops, peak_flops, training_flops
from lib.training.launch import is_worker
from lib.training.loop import Recipe, Result, Updates, scaled_learning_rate, train
from lib.training.metrics import chance_level
from lib.training.model import Classifier
from lib.training.progress import Epoch
from lib.training.reporting import Reporter
from lib.training.saving import Saving, locked, on_signal
from lib.training.tracking import Tracker
from lib.training.unpadded import Unpadded
from lib.training.unpadding import unpad
from lib.training.vectors import Pooled, digests_of, load_vectors, refuse_vectors_of_trained

SPLITS = ("train.parquet", "valid.parquet")
LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "numpy")


class Job(NamedTuple):
    """What is to be trained.

    Attributes:
        tokens: folder of train.parquet and valid.parquet.
        encoder: folder of the encoder.
        run: folder to write to.
        labels: names of the classes 0, 1, ...; their numbers if empty.
        keys: of the run.
        settings: the section `training` of the configuration.
        vectors: folder of train.parquet and valid.parquet by the vectors of an encoder that is not
            trained, if they were computed before.
    """

    tokens: Path
    encoder: Path
    run: Path
    labels: Sequence[str]
    keys: Mapping[str, Any]
    settings: Mapping[str, Any]
    vectors: Path | None = None

    @property
    def cut(self) -> Cut:
        """Which part of each text is seen."""
        return Cut(self.settings["max_length"], self.settings["truncation"])

    @property
    def recipe(self) -> Recipe:
        """How the loop trains."""
        return Recipe(self.keys["batch"], self.keys["seed"], self.settings)

    def load(self, split: str, device: torch.device) -> Tokens:
        """A split: of vectors, or of texts that share passes with padding or without.

        Raises:
            UserError: it can't be read, or there are vectors of an encoder that is trained.
        """
        path, pooling = self.tokens / split, self.keys["pooling"]
        data = load_tokens(path, self.cut, device, pooling)
        if self.vectors:
            refuse_vectors_of_trained(self.settings["freeze"])
            return load_vectors(self.vectors / split, path, data, pooling, digests_of(self.encoder))
        return Unpadded(**vars(data)) if self.settings["unpadded"] else data

    def sample(self, data: Tokens) -> Tokens:
        """The examples to learn from, of those in the training split."""
        labels, count = data.labels.cpu().numpy(), self.settings["examples"]
        return data.select(torch.from_numpy(first_of(labels, count, self.keys["seed"])))


def train_run(job: Job) -> None:
    """Train in this process; the first of several tracks the run and writes the results.

    Raises:
        UserError: something can't be used, or the device is out of memory.
    """
    advice = explain_lack_of_memory("lower eval_batch, micro_tokens or max_length")
    with on_signal(lambda number: os._exit(128 + number)) if is_worker() else nullcontext():
        backend = connect(job.settings, job.keys["seed"])  # may wait for others, deaf to signals
    with backend, advice:
        if backend.rank:
            silence()
        with nullcontext() if backend.rank else locked(job.run):
            threads = job.settings["threads"]
            log.info("%s in %s, %d threads", backend.device, backend.precision, threads)
            data, valid = (job.load(name, backend.device) for name in SPLITS)
            data = job.sample(data)
            model = build_model(job, data)
            minutes = job.settings["save_minutes"]
            saving = Saving(job.run, identity(job, model, backend), minutes, backend.rank)
            result = train_reported(job, model, (data, valid), backend, saving)
            if not backend.rank:
                write_run(job, model, (data, valid), backend, result)
                keep_checkpoints(job, saving)
                saving.finish()


def identity(job: Job, model: Classifier, backend: Torch) -> dict[str, Any]:
    """All that decides what a training learns to the last bit: a saved state belongs to it."""
    settings = {key: value for key, value in job.settings.items() if key != "save_minutes"}
    return {
        "keys": dict(job.keys),
        "settings": settings,
        "labels": list(job.labels),
        "tokens": {name: sha256(job.tokens / name) for name in SPLITS},
        "vectors": {name: sha256(job.vectors / name) for name in SPLITS if job.vectors},
        "encoder": digests_of(job.encoder),
        "code": digest("train"),
        "device": device_name(backend.device),
        "precision": backend.precision,
        "compiled": model.compiled,
        "libraries": versions(),
    }


def build_model(job: Job, data: Tokens) -> Classifier:
    """The classifier before training, on the device of the tokens.

    Raises:
        UserError: the names of classes do not fit the labels, or tokens or settings the encoder.
    """
    device = data.labels.device
    classes = int(data.labels.max()) + 1
    if len(job.labels) not in (0, classes):
        raise UserError(f"--labels names {len(job.labels)} classes, but there are {classes}")
    pooling, dropout = job.keys["pooling"], job.settings["dropout"]
    check_length(job.encoder, job.cut.max_length)
    model = new_classifier(
        job.encoder, pooling, classes, dropout, job.labels, job.settings["encoder_dropout"]
    )
    if job.settings["unpadded"] and not job.vectors:
        unpad(model, device, choose_precision(job.settings["precision"], device))
    model.to(device).freeze(job.settings["freeze"])
    if not job.vectors:
        compile_part(model, job.settings["compile"], device)
    return model


def train_reported(
    job: Job, model: Classifier, data: tuple[Tokens, Tokens], backend: Torch, saving: Saving
) -> Result:
    """Train, report every epoch, and keep its checkpoint if all are to be kept."""
    keep = job.settings["keep_checkpoints"] == "all" and not backend.rank
    with Tracker(job.keys, job.settings, saving.name, enabled=not backend.rank) as tracker:
        examples = len(data[0])
        reporter = Reporter(job.keys, job.recipe, examples, backend.precision, tracker)

        def on_epoch(epoch: Epoch, updates: Updates) -> None:
            reporter.epoch(epoch, updates)
            if keep:
                model.temperature = epoch.temperature
                save_checkpoint(model, job.encoder, saving.checkpoint(epoch), data[0].cut)

        result = train(model, data, job.recipe, backend, on_epoch, saving)
        if saved := seconds_saved(job.recipe, result, examples):
            reporter.end(len(result.history), saved)
        return result


def keep_checkpoints(job: Job, saving: Saving) -> None:
    """Put the checkpoints of all epochs where they stay, or remove those of other settings.

    They leave the state with it alone: a training that ends here goes on from both.
    """
    if saving.kept.is_dir():
        with replacing(job.run / "checkpoints") as folder:
            shutil.copytree(saving.kept, folder, copy_function=link)
    elif job.settings["keep_checkpoints"] != "all":
        shutil.rmtree(job.run / "checkpoints", ignore_errors=True)


def write_run(
    job: Job, model: Classifier, data: tuple[Tokens, Tokens], backend: Torch, result: Result
) -> None:
    """Write the best checkpoint, the history, and what the run tells of itself."""
    model.temperature = result.best.temperature
    with replacing(job.run / "checkpoint") as path:
        save_checkpoint(model, job.encoder, path, data[0].cut)
    write_history(job.run / "history.csv", result.history)
    described = {
        "settings": dict(job.settings),
        "encoder": describe_encoder(job.encoder),
        "tokens_sha256": sha256(job.tokens / "train.parquet"),
        "workflow": workflow_version(),
    }
    if job.vectors:
        described["vectors_sha256"] = sha256(job.vectors / "train.parquet")
    measured = measure(job.recipe, model, data, backend, result)
    write_json(job.run / "train.json", {**job.keys, **measured, **described})


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    """Write a line per epoch; what is not a number is left out."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        lines = csv.DictWriter(file, [field.name for field in fields(Epoch)], lineterminator="\n")
        lines.writeheader()
        for epoch in history:
            lines.writerow({key: "" if x != x else x for key, x in asdict(epoch).items()})


def measure(
    recipe: Recipe,
    model: Classifier,
    data: tuple[Tokens, Tokens],
    backend: Torch,
    result: Result,
) -> dict[str, Any]:
    """What train.json tells of how the training went, and where."""
    tokens, valid = data
    first, last = tokens.cut.ends(tokens.frame)
    memory, labels = peak_memory(backend.device), valid.labels.cpu().numpy()
    best, updates = result.best, result.history[-1].updates
    p, level = 1.0 if result.diverged else best.chance_p, chance_level(labels)
    speed, startup = speed_of(recipe, result.history, len(tokens))
    is_head = isinstance(tokens, Pooled)
    needed = head_flops(model) if is_head else training_flops(model, tokens.lengths) / len(tokens)
    flops = needed * speed
    peak = backend.processes * peak_flops(backend.device, backend.precision)
    measured = {
        "best_epoch": best.epoch,
        "train_accuracy": best.train_accuracy,
        "valid_accuracy": best.valid_accuracy,
        "valid_balanced_accuracy": best.valid_balanced_accuracy,
        "valid_macro_f1": best.valid_macro_f1,
        "valid_loss": best.valid_loss,
        "temperature": best.temperature,
        "diverged": result.diverged,
        "learned": p < level,
        "chance_p": p,
        "chance_level": level,
        "updates": updates,
        "updates_skipped": result.skipped,
        "examples": len(tokens),
        "train_seconds": sum(epoch.seconds for epoch in result.history),
        "seconds_saved": seconds_saved(recipe, result, len(tokens)),
        "startup_seconds": startup,
        "examples_per_second": speed,
        "flops_per_second": flops,
        "flop_utilisation": flops / peak,
        "peak_memory_bytes": memory,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "parameters_trained": sum(parameter.numel() for parameter in model.trained()),
        "device": backend.device.type,
        "hardware": hardware(backend.device),
        "precision": backend.precision,
        "compiled": model.compiled,
        "backend": recipe.settings["backend"],
        "processes": backend.processes,
        "threads": recipe.settings["threads"],
        "micro_batch": result.bounds.examples,
        "micro_tokens": result.bounds.tokens,
        "learning_rate": scaled_learning_rate(recipe.settings, recipe.batch),
        "truncation": tokens.cut.truncation,
        "first_tokens": first,
        "last_tokens": last,
        "texts_cut": float((tokens.uncut > tokens.cut.max_length).mean()),
        "tokens_lost": 1 - float(tokens.lengths.sum()) / float(tokens.uncut.sum()),
        "versions": versions(),
    }
    log.info(
        "%.1f examples/s; model FLOP utilisation %.1f%% (%.3g of %.3g FLOP/s); %.0f MB at the peak",
        measured["examples_per_second"],
        100 * measured["flop_utilisation"],
        flops,
        peak,
        memory / 1e6,
    )
    return measured


def speed_of(recipe: Recipe, history: Sequence[Epoch], examples: int) -> tuple[float, float]:
    """The examples per second of a training, and the seconds by which its start took longer.

    The first epoch compiles, loads kernels and fills caches. So the speed is the median of the
    whole epochs after it, or of one that the updates end within, or else that of the first alone.

    Args:
        recipe: how it was trained.
        history: its epochs, the first as long as it takes.
        examples: of an epoch.
    """
    seen = np.diff([recipe.seen(epoch.updates, examples) for epoch in history], prepend=0)
    speeds = seen / [epoch.seconds for epoch in history]
    if len(history) == 1:
        return float(speeds[0]), 0.0
    later = speeds[1:][seen[1:] == examples] if len(history) > 2 else speeds[1:]
    speed = float(np.median(later))
    return speed, max(0.0, history[0].seconds - float(seen[0]) / speed)


def seconds_saved(recipe: Recipe, result: Result, examples: int) -> float:
    """The seconds of training that `patience` has saved, as long as the mean of the others."""
    left = 0 if result.diverged else recipe.epochs(examples) - len(result.history)
    return left * float(np.mean([epoch.seconds for epoch in result.history]))


def versions() -> dict[str, str]:
    """The versions of the libraries that compute."""
    return {library: version(library) for library in LIBRARIES}
