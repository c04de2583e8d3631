"""Train in as many processes as torchrun starts, and write the loss of every update as JSON.

Usage: train_losses.py BACKEND ENCODER TOKENS BATCH EPOCHS MICRO_BATCH OUT
"""

import json
import sys
from pathlib import Path

from test_training import SETTINGS

from lib.backends import connect
from lib.batches import load_tokens
from lib.metrics import predict
from lib.model import Classifier, load_encoder
from lib.training import train

name, encoder, tokens, batch, epochs, micro_batch, out = sys.argv[1:]
settings = SETTINGS | {
    "backend": name,
    "epochs": int(epochs),
    "micro_batch": int(micro_batch),
    "eval_batch": 7,
    "learning_rate": 5e-5,
}
with connect(settings, seed=3) as backend:
    train_tokens, valid_tokens, test_tokens = (
        load_tokens(Path(tokens, f"{split}.parquet"), backend.device, "masked-mean")
        for split in ("train", "valid", "test")
    )
    model = Classifier(load_encoder(Path(encoder), "masked-mean"), "masked-mean", 2, 0.0)
    losses = []
    result = train(
        model,
        train_tokens,
        valid_tokens,
        int(batch),
        3,
        settings,
        backend,
        lambda update, values: losses.append(values["loss"]) if "loss" in values else None,
    )
    predictions = predict(model, test_tokens, 7, backend)
    if not backend.rank:
        found = {
            "processes": backend.processes,
            "losses": losses,
            "valid_losses": [epoch.valid_loss for epoch in result.history],
            "predictions": predictions.prediction.tolist(),
            "confidence": predictions.confidence.tolist(),
        }
        Path(out).write_text(json.dumps(found))
