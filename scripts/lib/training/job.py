"""One training, from token files and an encoder to the folder of its run."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from lib.console import UserError, log, silence
from lib.data.encoders import describe_encoder
from lib.files import replacing, sha256, write_json
from lib.training.backends import Torch, connect
from lib.training.batches import Tokens, load_tokens
from lib.training.device import explain_lack_of_memory, hardware, peak_memory, should_compile
from lib.training.flops import peak_flops, training_flops
from lib.training.loop import Epoch, Recipe, Result, Updates, scaled_learning_rate, train
from lib.training.model import Classifier, load_encoder, save_checkpoint
from lib.training.reporting import Reporter
from lib.training.tracking import Tracker
from lib.version import workflow_version

LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "numpy")


def train_run(
    tokens: Path,
    encoder: Path,
    run: Path,
    labels: Sequence[str],
    keys: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Train in this process; the first of several tracks the run and writes the results.

    Args:
        tokens: folder of train.parquet and valid.parquet.
        encoder: folder of the encoder.
        run: folder to write to.
        labels: names of the classes 0, 1, ...; their numbers if empty.
        keys: of the run.
        settings: the section `training` of the configuration.

    Raises:
        UserError: something can't be used, or the device is out of memory.
    """
    recipe = Recipe(keys["batch"], keys["seed"], settings)
    with connect(settings, recipe.seed) as backend:
        if backend.rank:
            silence()
        log.info("%s in %s, %d threads", backend.device, backend.precision, settings["threads"])
        with explain_lack_of_memory("lower eval_batch or max_length"):
            train_tokens, valid_tokens = (
                load_tokens(tokens / f"{split}.parquet", backend.device, keys["pooling"])
                for split in ("train", "valid")
            )
            model = build_model(encoder, keys["pooling"], labels, settings, train_tokens)
            backend.reseed(recipe.seed)
            with (
                Tracker(keys, settings, enabled=not backend.rank) as tracker,
                kept_checkpoints(run, settings, backend) as folder,
            ):
                reporter = Reporter(keys, settings["epochs"], len(train_tokens), tracker)

                def on_epoch(epoch: Epoch, updates: Updates) -> None:
                    reporter.epoch(epoch, updates)
                    if folder:
                        name = f"epoch={epoch.epoch}-acc={epoch.valid_accuracy:.4f}"
                        save_checkpoint(model, encoder, folder / name, train_tokens.max_length)

                result = train(model, (train_tokens, valid_tokens), recipe, backend, on_epoch)
        if backend.rank:
            return
        with replacing(run / "checkpoint") as path:
            save_checkpoint(model, encoder, path, train_tokens.max_length)
        with replacing(run / "history.csv") as path:
            pd.DataFrame(map(asdict, result.history)).to_csv(path, index=False)
        described = {
            "settings": dict(settings),
            "encoder": describe_encoder(encoder),
            "tokens_sha256": sha256(tokens / "train.parquet"),
            "workflow": workflow_version(),
        }
        measured = measure(recipe, model, train_tokens, backend, result)
        write_json(run / "train.json", {**keys, **measured, **described})


def build_model(
    encoder: Path,
    pooling: str,
    labels: Sequence[str],
    settings: Mapping[str, Any],
    tokens: Tokens,
) -> Classifier:
    """The classifier before training, on the device of the tokens.

    Raises:
        UserError: the names of classes do not fit the labels.
    """
    device = tokens.labels.device
    classes = int(tokens.labels.max()) + 1
    if len(labels) not in (0, classes):
        raise UserError(f"--labels names {len(labels)} classes, but there are {classes}")
    loaded = load_encoder(encoder, pooling)
    model = Classifier(loaded, pooling, classes, settings["dropout"], labels).to(device)
    if should_compile(settings["compile"], device):
        model.compile(dynamic=True)
    return model


@contextmanager
def kept_checkpoints(
    run: Path, settings: Mapping[str, Any], backend: Torch
) -> Iterator[Path | None]:
    """A folder for the checkpoints of all epochs, if they are to be kept; it appears whole."""
    if backend.rank:
        yield None
    elif settings["keep_checkpoints"] == "all":
        with replacing(run / "checkpoints") as folder:
            yield folder
    else:
        yield None
        shutil.rmtree(run / "checkpoints", ignore_errors=True)


def measure(
    recipe: Recipe, model: Classifier, tokens: Tokens, backend: Torch, result: Result
) -> dict[str, Any]:
    """What train.json tells of how the training went, and where."""
    memory = peak_memory(backend.device)
    best, epochs = result.best, len(result.history)
    seconds = sum(epoch.seconds for epoch in result.history)
    flops = epochs * training_flops(model, tokens.host_lengths) / seconds
    peak = backend.processes * peak_flops(backend.device, backend.precision)
    measured = {
        "best_epoch": best.epoch,
        "train_accuracy": best.train_accuracy,
        "valid_accuracy": best.valid_accuracy,
        "valid_loss": best.valid_loss,
        "updates": result.history[-1].updates,
        "train_seconds": seconds,
        "examples_per_second": epochs * len(tokens) / seconds,
        "flops_per_second": flops,
        "flop_utilisation": flops / peak,
        "peak_memory_bytes": memory,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "device": backend.device.type,
        "hardware": hardware(backend.device),
        "precision": backend.precision,
        "backend": recipe.settings["backend"],
        "processes": backend.processes,
        "threads": recipe.settings["threads"],
        "micro_batch": result.micro_batch,
        "learning_rate": scaled_learning_rate(recipe.settings, recipe.batch),
        "max_length": tokens.max_length,
        "versions": {library: version(library) for library in LIBRARIES},
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
