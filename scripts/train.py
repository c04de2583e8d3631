"""Train one classifier, and keep the best epoch by validation accuracy.

Writes into the run's folder: checkpoint/ (encoder, tokenizer and head), history.csv (a line per
epoch) and train.json (what was measured); with --keep-checkpoints all, checkpoints/ as well.
Weights & Biases records the run as WANDB_MODE says: offline, online or disabled.
"""

import argparse
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import gpus
from lib.cli import Parser, UserError, log, positive, replacing, run, seed, silence, write_json
from lib.config import add_training_flags, training_settings
from lib.launch import forget_other_launchers, is_worker, launch
from lib.runs import KEYS, POOLINGS

if TYPE_CHECKING:
    from lib.backends import Torch
    from lib.batches import Tokens
    from lib.model import Classifier
    from lib.training import Epoch, Result

LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "numpy")


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument(
        "--tokens", required=True, type=Path, help="folder of train.parquet and valid.parquet"
    )
    flags.add_argument("--encoder", required=True, type=Path, help="folder of the encoder")
    flags.add_argument("--run", required=True, type=Path, help="folder to write to")
    keys = flags.add_argument_group("keys of the run")
    keys.add_argument("--dataset", required=True, help="name of the dataset, for the results")
    keys.add_argument("--model", required=True, help="name of the encoder, for the results")
    keys.add_argument(
        "--pooling",
        required=True,
        choices=POOLINGS,
        help="how token states become one vector",
    )
    keys.add_argument(
        "--batch", required=True, type=positive, help="effective batch size, in reviews per update"
    )
    keys.add_argument("--variant", default="base", help="name of the settings, for the results")
    keys.add_argument(
        "--seed", required=True, type=seed, help="seed of weights, order of reviews and dropout"
    )
    flags.add_argument("--labels", nargs="+", default=[], help="names of the classes 0, 1, ...")
    add_training_flags(flags.add_argument_group("training"))
    return flags


def main(options: argparse.Namespace) -> None:
    """Train, in this process or in several that torchrun starts."""
    settings = training_settings(options)
    if not is_worker():
        forget_other_launchers()
        gpus.claim(settings["device"], settings["processes"])
        if settings["processes"] > 1:
            return launch(settings["processes"])

    from lib.backends import connect

    with connect(settings, options.seed) as backend:
        train_here(options, settings, backend)


def train_here(options: argparse.Namespace, settings: dict[str, Any], backend: "Torch") -> None:
    """Train in this process; the first of several tracks the run and writes the results."""
    from lib.batches import load_tokens
    from lib.device import explain_lack_of_memory
    from lib.tracking import Tracker
    from lib.training import train

    if backend.rank:
        silence()
    log.info("%s in %s, %d threads", backend.device, backend.precision, settings["threads"])
    with explain_lack_of_memory("lower eval_batch or max_length"):
        train_tokens, valid_tokens = (
            load_tokens(options.tokens / f"{split}.parquet", backend.device, options.pooling)
            for split in ("train", "valid")
        )
        model = build_model(options, settings, train_tokens)
        backend.reseed(options.seed)
        keys = {key: getattr(options, key) for key in KEYS}
        with (
            Tracker(keys, settings, enabled=not backend.rank) as tracker,
            keeper(options, settings, model, train_tokens, backend) as keep,
        ):
            result = train(
                model,
                train_tokens,
                valid_tokens,
                options.batch,
                options.seed,
                settings,
                backend,
                tracker.log,
                keep,
            )
    if not backend.rank:
        write_training(options, model, train_tokens, result.history)
        measured = measure(options, settings, model, train_tokens, backend, result)
        write_json(options.run / "train.json", keys | measured)


def build_model(
    options: argparse.Namespace, settings: dict[str, Any], tokens: "Tokens"
) -> "Classifier":
    """The classifier before training, on the device of the tokens.

    Raises:
        UserError: the names of classes do not fit the labels.
    """
    from lib.device import should_compile
    from lib.model import Classifier, load_encoder

    device = tokens.labels.device
    classes = int(tokens.labels.max()) + 1
    if len(options.labels) not in (0, classes):
        raise UserError(f"--labels names {len(options.labels)} classes, but there are {classes}")
    encoder = load_encoder(options.encoder, options.pooling)
    model = Classifier(encoder, options.pooling, classes, settings["dropout"], options.labels)
    model = model.to(device)
    if should_compile(settings["compile"], device):
        model.compile(dynamic=True)
    return model


@contextmanager
def keeper(
    options: argparse.Namespace,
    settings: dict[str, Any],
    model: "Classifier",
    tokens: "Tokens",
    backend: "Torch",
) -> "Iterator[Callable[[Epoch], None]]":
    """What keeps the checkpoint of an epoch, if all are to be kept; checkpoints/ appears whole."""
    from lib.model import save_checkpoint

    if backend.rank:
        yield lambda epoch: None
    elif settings["keep_checkpoints"] == "best":
        yield lambda epoch: None
        shutil.rmtree(options.run / "checkpoints", ignore_errors=True)
    else:
        with replacing(options.run / "checkpoints") as folder:

            def keep(epoch: "Epoch") -> None:
                name = f"epoch={epoch.epoch}-acc={epoch.valid_accuracy:.4f}"
                save_checkpoint(model, options.encoder, folder / name, tokens.max_length)

            yield keep


def measure(
    options: argparse.Namespace,
    settings: dict[str, Any],
    model: "Classifier",
    tokens: "Tokens",
    backend: "Torch",
    result: "Result",
) -> dict[str, Any]:
    """What train.json tells besides the keys of the run."""
    from lib.device import hardware, peak_memory
    from lib.flops import peak_flops, training_flops
    from lib.training import scaled_learning_rate

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
        "backend": settings["backend"],
        "processes": backend.processes,
        "threads": settings["threads"],
        "micro_batch": result.micro_batch,
        "learning_rate": scaled_learning_rate(settings, options.batch),
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


def write_training(
    options: argparse.Namespace, model: "Classifier", tokens: "Tokens", history: "list[Epoch]"
) -> None:
    """Write checkpoint/ and history.csv."""
    import pandas as pd

    from lib.model import save_checkpoint

    with replacing(options.run / "checkpoint") as folder:
        save_checkpoint(model, options.encoder, folder, tokens.max_length)
    with replacing(options.run / "history.csv") as path:
        pd.DataFrame(map(asdict, history)).to_csv(path, index=False)


if __name__ == "__main__":
    run(main, arguments())
