"""Train one classifier, and keep the best epoch by validation accuracy.

Writes into the run's folder: checkpoint/ (encoder, tokenizer and head), history.csv (a line per
epoch) and train.json (what was measured). Weights & Biases records the run as WANDB_MODE says:
offline, online or disabled.
"""

import argparse
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from lib.cli import Parser, log, positive, replacing, run, seed, write_json
from lib.config import add_training_flags, training_settings
from lib.runs import KEYS, POOLINGS

LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")


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
    add_training_flags(flags.add_argument_group("training"))
    return flags


def main(options: argparse.Namespace) -> None:
    """Train, then write checkpoint, history.csv and train.json."""
    settings = training_settings(options)
    keys = {key: getattr(options, key) for key in KEYS}

    import pandas as pd

    from lib.batches import load_tokens
    from lib.device import hardware, peak_memory, prepare, resolve_precision
    from lib.model import Classifier, load_encoder, save_checkpoint
    from lib.tracking import Tracker
    from lib.training import scaled_learning_rate, train

    device = prepare(settings["device"], settings["threads"], options.seed)
    precision = resolve_precision(settings["precision"], device)
    pad_to_max = options.pooling == "mean"
    train_tokens = load_tokens(options.tokens / "train.parquet", device, pad_to_max)
    valid_tokens = load_tokens(options.tokens / "valid.parquet", device, pad_to_max)
    classes = int(train_tokens.labels.max()) + 1
    encoder = load_encoder(options.encoder, options.pooling)
    model = Classifier(encoder, options.pooling, classes, settings["dropout"]).to(device)
    log.info("%s in %s, %d threads", device, precision, settings["threads"])

    name = " ".join(f"{key}={value}" for key, value in keys.items())
    with Tracker(name, keys | settings) as tracker:
        history, best = train(
            model,
            train_tokens,
            valid_tokens,
            options.batch,
            options.seed,
            settings,
            precision,
            tracker.log,
        )

    seconds = sum(epoch.seconds for epoch in history)
    measured = keys | {
        "best_epoch": best.epoch,
        "train_accuracy": best.train_accuracy,
        "valid_accuracy": best.valid_accuracy,
        "valid_loss": best.valid_loss,
        "updates": history[-1].updates,
        "train_seconds": seconds,
        "examples_per_second": len(train_tokens) * len(history) / seconds,
        "peak_memory_bytes": peak_memory(device),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "device": device.type,
        "hardware": hardware(device),
        "precision": precision,
        "threads": settings["threads"],
        "micro_batch": min(settings["micro_batch"], options.batch),
        "learning_rate": scaled_learning_rate(settings, options.batch),
        "versions": {library: version(library) for library in LIBRARIES},
    }
    with replacing(options.run / "checkpoint") as folder:
        save_checkpoint(model, options.encoder, folder, train_tokens.max_length)
    with replacing(options.run / "history.csv") as path:
        pd.DataFrame(map(asdict, history)).to_csv(path, index=False)
    write_json(options.run / "train.json", measured)


if __name__ == "__main__":
    run(main, arguments())
