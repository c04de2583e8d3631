"""Classifiers on disk: made of an encoder's folder, written as a checkpoint, and read again."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file

from lib.command.console import UserError
from lib.data.cutting import HEAD_TAIL, TAIL, Cut
from lib.data.encoder_files import CONFIG_FILE, TOKENIZER_CONFIG, tokenizer_files
from lib.data.encoders import class_names, using
from lib.files.manifests import verify
from lib.files.whole import read_json
from lib.training.batches import AUTO
from lib.training.model import Classifier, load_encoder, read_encoder, read_own_head
from lib.training.modules import HEAD_WEIGHTS, MODULES, read_modules, write_modules
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
    """Write a checkpoint, which `load_checkpoint` reads as a whole, and sentence-transformers too.

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
        "temperature": model.temperature,
        **cut._asdict(),
    }
    write_modules(folder, model.pooling, model.head, cut.max_length)
    (folder / HEAD_CONFIG).write_text(json.dumps(head, indent=2) + "\n", "utf-8")
    for path in folder.rglob("*.safetensors"):  # written for the user alone, whatever the umask
        shutil.copymode(folder / HEAD_CONFIG, path)


def _tell_cut(path: Path, cut: Cut) -> None:
    """Let the tokenizer of a checkpoint cut, pad and mask as the training did, where it can."""
    told = read_json(path) if path.is_file() else {}
    if (names := told.get("model_input_names")) and "attention_mask" not in names:
        told["model_input_names"] = [*names, "attention_mask"]
    told |= {"model_max_length": cut.max_length, "padding_side": "right"}
    if cut.truncation != HEAD_TAIL:
        told["truncation_side"] = "left" if cut.truncation == TAIL else "right"
    path.write_text(json.dumps(told, indent=2) + "\n", "utf-8")


class Head(NamedTuple):
    """What a checkpoint tells besides its encoder.

    Attributes:
        pooling: a name from the table of poolings.
        cut: which part of each text it was trained on.
        dropout: probability before the head, or in it.
        temperature: what logits are divided by to give probabilities.
        weights: the file of the head; none where that is a part of the model of transformers.
    """

    pooling: str
    cut: Cut
    dropout: float
    temperature: float
    weights: str | None


def read_head(folder: Path) -> Head:
    """What a checkpoint of a run, or a model of sentence-transformers, tells of itself.

    Raises:
        UserError: it is neither, or damaged.
    """
    if not (folder / HEAD_CONFIG).is_file():
        if not (folder / MODULES).is_file():
            raise UserError(f"'{folder}' holds no checkpoint; name the folder of a finished run")
        modules = read_modules(folder)
        return Head(modules.pooling, Cut(modules.max_length, AUTO), 0.0, 1.0, modules.head)
    verify(folder, HEAD_CONFIG)
    told = read_json(folder / HEAD_CONFIG, "pooling", "dropout", "temperature", *Cut._fields)
    pooling, cut = told["pooling"], Cut(told["max_length"], told["truncation"])
    weights = None if pooling == OWN_HEAD else HEAD_WEIGHTS
    return Head(pooling, cut, told["dropout"], told["temperature"], weights)


def load_checkpoint(folder: Path) -> Classifier:
    """The classifier of a checkpoint, on the CPU, in evaluation mode.

    Raises:
        UserError: a file of it is missing or damaged.
    """
    head = read_head(folder)
    if head.weights is None:
        own = read_own_head(folder, trained=True)
        with using(folder, CONFIG_FILE):
            model: Classifier = OwnHead(own, head.dropout, class_names(own.config))
    else:
        encoder = read_encoder(folder)
        with using(folder, HEAD_CONFIG, MODULES, head.weights):
            weights = load_file(folder / head.weights)
            labels = class_names(encoder.config)
            if len(labels) != (classes := len(weights["linear.weight"])):
                labels = [f"LABEL_{number}" for number in range(classes)]  # as transformers does
            model = Classifier(encoder, head.pooling, len(labels), head.dropout, labels)
            model.head.load_state_dict(
                {name.removeprefix("linear."): tensor for name, tensor in weights.items()}
            )
    model.temperature = head.temperature
    return model.eval()
