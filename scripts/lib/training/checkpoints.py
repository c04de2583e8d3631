"""Classifiers on disk: made of an encoder's folder, written as a checkpoint, and read again."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from lib.data.cutting import HEAD_TAIL, TAIL, Cut
from lib.data.encoder_files import CONFIG_FILE, TOKENIZER_CONFIG, tokenizer_files
from lib.data.encoders import using
from lib.files.manifests import verify
from lib.files.whole import read_json
from lib.training.batches import AUTO
from lib.training.model import (
    HEAD_WEIGHTS,
    Classifier,
    load_encoder,
    read_encoder,
    read_own_head,
)
from lib.training.own_head import OwnHead, renew_last_layer
from lib.training.poolings import OWN_HEAD

HEAD_CONFIG = "head.json"


def new_classifier(
    folder: Path,
    pooling: str,
    classes: int,
    dropout: float,
    labels: Sequence[str] = (),
    encoder_dropout: float | str = AUTO,
) -> Classifier:
    """A classifier to be trained, of the encoder of a folder.

    Args:
        folder: of the encoder.
        pooling: a name from the table of poolings.
        classes: number of classes.
        dropout: probability before the head, or in it.
        labels: names of the classes; their numbers if empty.
        encoder_dropout: probabilities in the encoder; `auto` for those of its config.

    Raises:
        UserError: the encoder can't be used, or not with this pooling.
    """
    encoder = load_encoder(folder, pooling, encoder_dropout)
    if pooling != OWN_HEAD:
        return Classifier(encoder, pooling, classes, dropout, labels)
    with using(folder, CONFIG_FILE):
        renew_last_layer(encoder, classes)
        return OwnHead(encoder, dropout, labels)


def save_checkpoint(model: Classifier, source: Path, folder: Path, cut: Cut) -> None:
    """Write a checkpoint, which `load_checkpoint` reads as a whole.

    `AutoModel` reads it as an encoder, and `AutoModelForSequenceClassification` what has a head of
    its architecture.

    Args:
        model: the classifier.
        source: folder of the encoder, whose tokenizer files are copied.
        folder: an empty or new folder.
        cut: which part of each text it was trained on.
    """
    model.save(folder, source)
    for path in tokenizer_files(source):
        shutil.copyfile(path, folder / path.name)
    _tell_cut(folder / TOKENIZER_CONFIG, cut)
    head: dict[str, Any] = {
        "pooling": model.pooling,
        "classes": model.head.out_features,
        "dropout": model.rate,
        **cut._asdict(),
    }
    (folder / HEAD_CONFIG).write_text(json.dumps(head, indent=2) + "\n", "utf-8")
    for path in folder.glob("*.safetensors"):  # written for the user alone, whatever the umask
        shutil.copymode(folder / HEAD_CONFIG, path)


def _tell_cut(path: Path, cut: Cut) -> None:
    """Let the tokenizer of a checkpoint cut and pad as the training did, where it can."""
    told = read_json(path) if path.is_file() else {}
    told |= {"model_max_length": cut.max_length, "padding_side": "right"}
    if cut.truncation != HEAD_TAIL:
        told["truncation_side"] = "left" if cut.truncation == TAIL else "right"
    path.write_text(json.dumps(told, indent=2) + "\n", "utf-8")


def cut_of(checkpoint: Path) -> Cut:
    """Which part of each text a checkpoint was trained on.

    Raises:
        UserError: the checkpoint is damaged, or does not tell.
    """
    head = read_json(checkpoint / HEAD_CONFIG, *Cut._fields)
    return Cut(*(head[key] for key in Cut._fields))


def load_checkpoint(folder: Path) -> Classifier:
    """The classifier of a checkpoint, on the CPU, in evaluation mode.

    Raises:
        UserError: a file of it is missing or damaged.
    """
    verify(folder, HEAD_CONFIG)
    head = read_json(folder / HEAD_CONFIG, "pooling", "classes", "dropout")
    pooling, classes, dropout = head["pooling"], head["classes"], head["dropout"]
    if pooling == OWN_HEAD:
        own = read_own_head(folder, trained=True)
        return OwnHead(own, dropout, list(own.config.id2label.values())).eval()
    encoder = read_encoder(folder)
    with using(folder, HEAD_CONFIG, HEAD_WEIGHTS):
        labels = list(encoder.config.id2label.values())
        model = Classifier(encoder, pooling, classes, dropout, labels)
        model.head.load_state_dict(load_file(folder / HEAD_WEIGHTS))
    return model.eval()
