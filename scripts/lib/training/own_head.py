"""The classifier of an architecture itself, as transformers has it, around its encoder.

It is taken apart: the encoder, which is computed as for any pooling; the last layer, which gives
the logits; and what lies between, which pools. Put together again, it is saved as any model of
transformers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lib.command.console import log
from lib.training.model import Classifier, float32_at_least, takes_types
from lib.training.poolings import OWN_HEAD, has_pooler

STATES = ("last_hidden_state", "pooler_output")


class Relay(nn.Module):
    """Stands where the encoder was, and gives in float32 at least what that computes elsewhere.

    Args:
        encode: gives the outputs of the encoder.
        names: of the inputs of the encoder, by which some classifiers do not call them.

    Attributes:
        autocast: whether the encoder is computed under autocast, as all the rest is not.
    """

    autocast = False

    def __init__(self, encode: Callable[[Mapping[str, Any]], Any], names: Sequence[str]) -> None:
        super().__init__()
        self.encode = encode
        self.names = names

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The outputs of the encoder."""
        given = dict(zip(self.names, inputs, strict=False)) | named
        given = {name: value for name, value in given.items() if value is not None}
        with torch.autocast(given["input_ids"].device.type, enabled=self.autocast):
            outputs = self.encode(given)
        for name in STATES:
            if isinstance(outputs.get(name), Tensor):
                outputs[name] = float32_at_least(outputs[name])
        return outputs


class OwnHead(Classifier):
    """The classifier of an architecture itself.

    Its sentence vectors are what its last layer is given.

    Args:
        own: a model of transformers for the classification of sequences.
        dropout: probability in all of its head that drops out; before its last layer, if none does.
        labels: names of the classes; their numbers if empty.

    Raises:
        ValueError: there is no last layer that has a row for each class.
    """

    def __init__(self, own: PreTrainedModel, dropout: float, labels: Sequence[str] = ()) -> None:
        encoder = own.base_model
        super().__init__(encoder, OWN_HEAD, own.config.num_labels, dropout, labels)
        self.last = last_layer(own)
        self.head = own.get_submodule(self.last)
        self.takes_types = takes_types(own)
        own.config.id2label, own.config.label2id = encoder.config.id2label, encoder.config.label2id
        own.config.problem_type = "single_label_classification"
        self.own = own
        self.relay = Relay(self.encode, list(signature(encoder.forward).parameters))
        self._put(self.relay, nn.Identity())
        if inner := [part for part in own.modules() if isinstance(part, nn.Dropout)]:
            self.dropout.p = 0.0
        for part in inner:
            part.p = dropout
        for name in vars(own.config):
            if name.startswith("classifier_dropout"):  # by one name or another
                setattr(own.config, name, dropout)

    def _put(self, encoder: nn.Module, last: nn.Module) -> None:
        setattr(self.own, self.own.base_model_prefix, encoder)
        self.own.set_submodule(self.last, last)

    def represent(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Sentence vectors `(n, width)`: what the last layer is given, in float32 at least.

        Args:
            inputs: as for every classifier.
        """
        device = inputs["input_ids"].device.type
        self.relay.autocast = torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=False):
            return self.own(**self.taken(inputs)).logits

    def freeze(self, how: str | int) -> None:
        """Leave weights of the encoder as they are; its pooler is a part of the head."""
        super().freeze(how)
        if has_pooler(self.encoder):
            self.encoder.pooler.requires_grad_(True)

    def save(self, folder: Path, source: Path) -> None:
        """Write the weights as `AutoModelForSequenceClassification` reads them, in one file."""
        with self.assembled() as own:
            own.save_pretrained(folder)

    @contextmanager
    def assembled(self) -> Iterator[PreTrainedModel]:
        """The model of transformers as it was, with the weights of this one."""
        self._put(self.encoder, self.head)
        try:
            yield self.own
        finally:
            self._put(self.relay, nn.Identity())


def last_layer(own: PreTrainedModel) -> str:
    """The name of the layer whose weights have a row for each class.

    Raises:
        ValueError: it is not one layer, or not linear.
    """
    others = _with_classes(own, own.config.num_labels + 1).state_dict()
    layers = {
        name.rpartition(".")[0]
        for name, weights in own.state_dict().items()
        if weights.shape != others[name].shape
    }
    if len(layers) != 1 or not isinstance(own.get_submodule(*layers), nn.Linear):
        raise ValueError(f"{type(own).__name__} has no linear layer that alone has a row per class")
    return layers.pop()


def renew_last_layer(own: PreTrainedModel, classes: int) -> None:
    """Have a model end in a new layer for so many classes, as its architecture draws the weights.

    One that was trained to tell other classes is not used, even where there are as many of them.
    """
    name = last_layer(own)
    new = _with_classes(own, classes)
    setattr(new, new.base_model_prefix, nn.Identity())
    new.to_empty(device="cpu").initialize_weights()
    own.set_submodule(name, new.get_submodule(name))
    own.num_labels = own.config.num_labels = classes
    log.info("the last layer of its own classifier, %s, is new", name)


def _with_classes(own: PreTrainedModel, classes: int) -> PreTrainedModel:
    """A model of the same kind for so many classes, without weights."""
    config = deepcopy(own.config)
    config.num_labels = classes
    with torch.device("meta"):
        return type(own)(config)
