"""The test of a run: its best checkpoint on the test split, once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.command.console import log
from lib.data.encoders import class_names
from lib.files.predictions import write_predictions
from lib.files.whole import amend, read_json, write_json
from lib.study.runs import KEYS
from lib.training.backends import connect
from lib.training.batches import Bounds, load_tokens
from lib.training.card import FILE, TOLD, model_card
from lib.training.checkpoints import load_checkpoint, read_head
from lib.training.device import explain_lack_of_memory
from lib.training.metrics import measure
from lib.training.prediction import predict
from lib.training.vectors import load_vectors, refuse_vectors_of_trained


def evaluate(
    tokens: Path,
    run: Path,
    settings: Mapping[str, Any],
    vectors: Path | None = None,
    reviews: Path | None = None,
) -> None:
    """Predict every test review once; write what was predicted, test.json and the model card.

    Args:
        tokens: the tokenized test split.
        run: folder that train.py wrote.
        settings: those of the section `training` on which a test depends.
        vectors: those of the test split by an encoder that was not trained, if they were computed
            before.
        reviews: reviews.json of the dataset, of which the card tells the licence.

    Raises:
        UserError: reviews.json or the checkpoint can't be used, or the device is out of memory.
    """
    kept = (*KEYS, "best_epoch", "valid_accuracy")
    training = read_json(run / "train.json", *kept, *TOLD)
    data = read_json(reviews, "source") if reviews else {}
    backend = connect({**settings, "backend": "torch"}, training["seed"])
    with explain_lack_of_memory("lower eval_batch or micro_tokens"):
        cut, pooling = read_head(run / "checkpoint").cut, training["pooling"]
        split = load_tokens(tokens, cut, backend.device, pooling)
        if vectors:
            refuse_vectors_of_trained(training["settings"]["freeze"])
            digests = training["encoder"]["sha256"]
            split = load_vectors(vectors, tokens, split, pooling, digests)
        model = load_checkpoint(run / "checkpoint").to(backend.device)
        bounds = Bounds.of(settings["eval_batch"], settings["micro_tokens"], backend.device)
        logits = predict(model, split, bounds, backend)
    label = split.labels.cpu().numpy()
    predictions = write_predictions(run, split.ids, logits, label, model.temperature)
    measured = {key: training[key] for key in kept} | measure(predictions)
    write_json(run / "test.json", measured)
    labels = class_names(model.encoder.config)
    amend(run / "checkpoint", FILE, model_card(training, measured, labels, data))
    log.info("test accuracy %.4f, loss %.4f", measured["accuracy"], measured["loss"])
