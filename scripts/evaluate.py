"""Test the best checkpoint of a run: write predictions.parquet and test.json into its folder."""

import argparse
from pathlib import Path

from lib import gpus
from lib.cli import Parser, log, read_json, run, write_json
from lib.config import TEST_KEYS, add_training_flags, training_settings
from lib.runs import KEYS


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--tokens", required=True, type=Path, help="the tokenized test split")
    flags.add_argument("--run", required=True, type=Path, help="folder that train.py wrote")
    add_training_flags(flags, TEST_KEYS)
    return flags


def main(options: argparse.Namespace) -> None:
    """Predict every test review once, and measure."""
    settings = training_settings(options)
    gpus.claim(settings["device"])

    from lib.backends import connect
    from lib.batches import load_tokens
    from lib.device import explain_lack_of_memory
    from lib.metrics import predict
    from lib.model import load_checkpoint
    from lib.predictions import write_predictions

    trained = read_json(options.run / "train.json")
    backend = connect(settings, trained["seed"])
    with explain_lack_of_memory("lower eval_batch"):
        tokens = load_tokens(options.tokens, backend.device, trained["pooling"])
        model = load_checkpoint(options.run / "checkpoint").to(backend.device)
        predictions = predict(model, tokens, settings["eval_batch"], backend)

    kept = {key: trained[key] for key in (*KEYS, "best_epoch", "valid_accuracy")}
    measured = kept | predictions.measures()
    write_predictions(options.run / "predictions.parquet", tokens.ids, predictions)
    write_json(options.run / "test.json", measured)
    log.info("test accuracy %.4f, loss %.4f", measured["accuracy"], measured["loss"])


if __name__ == "__main__":
    run(main, arguments())
