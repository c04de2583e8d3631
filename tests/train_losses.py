"""The loss of every update of a training, in this process or in those that torchrun starts.

Usage: train_losses.py BACKEND ENCODER TOKENS BATCH EPOCHS MICRO_TOKENS OUT
"""

import json
import sys
from pathlib import Path

from test_training import SETTINGS

from lib.training.backends import connect
from lib.training.batches import Bounds, load_tokens
from lib.training.loop import Recipe, train
from lib.training.model import Classifier, load_encoder
from lib.training.prediction import predict


def train_losses(
    backend: str, encoder: str, tokens: str, batch: str, epochs: str, micro_tokens: str, out: str
) -> None:
    """Train a classifier, and write what was measured as JSON."""
    settings = SETTINGS | {
        "backend": backend,
        "epochs": int(epochs),
        "micro_batch": 10,
        "micro_tokens": int(micro_tokens),
        "eval_batch": 7,
        "learning_rate": 5e-5,
    }
    with connect(settings, seed=3) as connected:
        train_tokens, valid_tokens, test_tokens = (
            load_tokens(Path(tokens, f"{split}.parquet"), connected.device, "masked-mean")
            for split in ("train", "valid", "test")
        )
        model = Classifier(load_encoder(Path(encoder), "masked-mean"), "masked-mean", 2, 0.0)
        losses = []
        result = train(
            model,
            (train_tokens, valid_tokens),
            Recipe(int(batch), 3, settings),
            connected,
            lambda epoch, updates: losses.extend(updates.losses),
        )
        predictions = predict(model, test_tokens, Bounds(7, int(micro_tokens)), connected)
        if not connected.rank:
            found = {
                "processes": connected.processes,
                "losses": losses,
                "valid_losses": [epoch.valid_loss for epoch in result.history],
                "predictions": predictions.prediction.tolist(),
                "confidence": predictions.confidence.tolist(),
            }
            Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    train_losses(*sys.argv[1:])
