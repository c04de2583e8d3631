"""The classifier: an encoder, a pooling, dropout and a linear head."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AttentionMaskInterface,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.masking_utils import eager_mask, sdpa_mask

from lib.command.console import UserError, log
from lib.data.encoder_files import (
    CONFIG_FILE,
    WEIGHT_FILES,
    check_complete,
    facts_of,
    names_in,
)
from lib.data.encoders import load_config, using
from lib.files.manifests import advice, verify
from lib.files.whole import link
from lib.training import unpadded
from lib.training.batches import AUTO
from lib.training.freezing import freeze
from lib.training.poolings import (
    NAMES,
    OWN_HEAD,
    PADDED_MEAN,
    POOLER,
    POOLINGS,
    has_own_head,
    has_pooler,
)

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

VECTORS = "vectors"  # key of inputs that are sentence vectors, computed before
OTHER_TOKENS = (1, 2, 3)
# The shape of the pass that is computed if nothing of it is padding, that of a number if something
# is; None outside of the passes of a classifier.
WHOLE: ContextVar[torch.Size | None] = ContextVar("whole", default=None)


def without_looking(make: Callable[..., Tensor | None]) -> Callable[..., Tensor | None]:
    """A maker of attention masks that is told whether a padding mask masks anything.

    To see that, those of transformers wait for the GPU in every forward pass. Where nothing is
    masked, they make no mask, and torch may take a faster kernel. A mask of another shape is one
    that an encoder has changed, as Longformer does, which pads its inputs itself.

    Args:
        make: makes the masks of one kind of attention.
    """

    def made(*, attention_mask: Tensor | None = None, **options: Any) -> Tensor | None:
        whole = WHOLE.get()
        if attention_mask is None or whole is None:
            return make(attention_mask=attention_mask, **options)
        if attention_mask.shape == whole:
            return make(attention_mask=None, **options)
        looks = {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
        return make(attention_mask=attention_mask, **options | looks)

    return made


AttentionMaskInterface.register("sdpa", without_looking(sdpa_mask))
AttentionMaskInterface.register("eager", without_looking(eager_mask))


class Classifier(nn.Module):
    """Encoder, pooling, dropout, linear head.

    Args:
        encoder: a base model of transformers.
        pooling: a name from the table of poolings.
        classes: number of classes.
        dropout: probability between pooling and head.
        labels: names of the classes, which go into the encoder's config; their numbers if empty.

    Attributes:
        rate: that probability.
        temperature: what logits are divided by to give probabilities that fit validation.
        compiled: what of it is compiled: `nothing`, the `rotary` embedding or the `model`.

    Raises:
        UserError: the pooling is `pooler`, and the encoder has none.
    """

    compiled = "nothing"
    temperature = 1.0

    def __init__(
        self,
        encoder: PreTrainedModel,
        pooling: str,
        classes: int,
        dropout: float,
        labels: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.rate = dropout
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, classes)
        self.takes_types = takes_types(encoder)
        if pooling == POOLER and not has_pooler(encoder):
            raise UserError(
                f"pooling 'pooler' needs a pooler, which {encoder.config.model_type} has not; "
                f"allowed: {', '.join(POOLINGS)}"
            )
        if pooling not in (POOLER, OWN_HEAD) and has_pooler(encoder):
            encoder.pooler = nn.Identity()  # its weights would never see a gradient
        names = labels or list(map(str, range(classes)))
        encoder.config.id2label = dict(enumerate(names))
        encoder.config.label2id = {name: number for number, name in enumerate(names)}

    def represent(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Sentence vectors `(n, width)` of a padded batch, in float32 at least.

        Args:
            inputs: `input_ids` `(n, length)`, a boolean `attention_mask` of the same shape where
                any of them is padding, and `token_type_ids` where the tokenizer makes them; or
                else the `vectors` themselves.
        """
        if VECTORS in inputs:
            return inputs[VECTORS]
        outputs = self.encode(inputs)
        if self.pooling == POOLER:
            return float32_at_least(outputs.pooler_output)
        states, mask = float32_at_least(outputs.last_hidden_state), mask_of(inputs)
        return POOLINGS[self.pooling](states, mask)

    def attend(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Attention weights `(n, heads, length, length)` of the last layer, from eager attention.

        Args:
            inputs: as for `represent`.

        Raises:
            UserError: the encoder does not tell of any attention.
        """
        self.encoder.set_attn_implementation("eager")
        weights = getattr(self.encode(inputs, output_attentions=True), "attentions", None)
        if not weights or weights[-1] is None:
            raise UserError(
                f"{self.encoder.config.model_type} shows no attention; set analysis.attention "
                "to false"
            )
        return weights[-1]

    def encode(self, inputs: Mapping[str, Tensor], **options: Any) -> Any:
        """The outputs of the encoder, fed what it takes. Inputs are as for `represent`."""
        used = self.taken(inputs)
        if unpadded.PLACES in inputs:
            return unpadded.encode(self.encoder, used, **options)
        mask = mask_of(inputs).long()
        whole = WHOLE.set(torch.Size() if "attention_mask" in inputs else mask.shape)
        try:
            return self.encoder(**used | {"attention_mask": mask}, **options)
        finally:
            WHOLE.reset(whole)

    def taken(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Those inputs that the encoder takes."""
        return {key: x for key, x in inputs.items() if key != "token_type_ids" or self.takes_types}

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits `(n, classes)` of a padded batch, in float32 at least, whatever autocast asks for.

        In bf16, which has eight bits, differences of validation losses would be lost.
        """
        vectors = self.dropout(self.represent(inputs))
        with torch.autocast(vectors.device.type, enabled=False):
            return self.head(vectors)

    def chances(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Probabilities `(n, classes)` of a padded batch, at the temperature."""
        return (self(inputs) / self.temperature).softmax(dim=-1)

    def freeze(self, how: str | int) -> None:
        """Leave weights of the encoder as they are, as the setting `freeze` says."""
        freeze(self.encoder, how)

    def train(self, mode: bool = True) -> "Classifier":
        """Set it to training or evaluation; what is not trained computes as in evaluation."""
        super().train(mode)
        for part in self.modules():
            weights = list(part.parameters())
            if weights and not any(weight.requires_grad for weight in weights):
                part.train(False)
        return self

    def trained(self) -> Iterator[nn.Parameter]:
        """The weights that are trained."""
        return (weight for weight in self.parameters() if weight.requires_grad)

    def trained_state(self) -> dict[str, Tensor]:
        """Weights and buffers by name, without the weights that are not trained."""
        weights = self.named_parameters(remove_duplicate=False)
        fixed = {name for name, weight in weights if not weight.requires_grad}
        return {name: x for name, x in self.state_dict().items() if name not in fixed}

    def load_trained(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `trained_state` gave."""
        self.load_state_dict({**self.state_dict(), **state})

    def save(self, folder: Path, source: Path) -> None:
        """Write the weights of the encoder as `AutoModel` reads them.

        Args:
            folder: an empty or new folder.
            source: folder of the encoder, whose files get another name where it was not trained.
        """
        weights = names_in(source, *WEIGHT_FILES)
        if not weights or any(weight.requires_grad for weight in self.encoder.parameters()):
            self.encoder.save_pretrained(folder)
        else:
            self.encoder.config.save_pretrained(folder)
            for name in weights:
                link(source / name, folder / name)


def takes_types(model: PreTrainedModel) -> bool:
    """Whether a model takes the types of tokens."""
    return "token_type_ids" in signature(model.forward).parameters


def mask_of(inputs: Mapping[str, Tensor]) -> Tensor:
    """Which tokens `(n, length)` of a batch are real: all of them where no mask tells."""
    mask = inputs.get("attention_mask")
    return torch.ones_like(inputs["input_ids"], dtype=torch.bool) if mask is None else mask


def float32_at_least(states: Tensor) -> Tensor:
    """States in float32, or as they are where they are finer."""
    return states.to(torch.promote_types(states.dtype, torch.float32))


def load_encoder(folder: Path, pooling: str, dropout: float | str = AUTO) -> PreTrainedModel:
    """The encoder of a folder in float32, to train it: its weights, or random ones without any.

    For the pooling `head`, it is within the classifier of its architecture.

    Args:
        folder: of the encoder.
        pooling: of its states.
        dropout: its probabilities in the encoder; `auto` for those of its config.

    Raises:
        UserError: config or weights can't be used, or do not give what pooling or dropout needs.
    """
    check_complete(folder)
    read = read_own_head if pooling == OWN_HEAD else read_encoder
    encoder = read(folder, dropout)
    if encoder.main_input_name != "input_ids":
        raise UserError(
            f"'{folder}': {encoder.config.model_type} takes {encoder.main_input_name}, and no "
            "tokens of texts; take an encoder of texts"
        )
    for name, weight in encoder.named_parameters():
        if not weight.isfinite().all():
            raise UserError(
                f"'{folder}': the weight {name} holds numbers that are not finite; {advice(folder)}"
            )
    if lack := facts_of(folder).get("lacks", {}).get(pooling):
        raise UserError(f"pooling '{pooling}' does not fit '{folder}', which {lack}; take another")
    # The passes of padded-mean are all of one length, which may be the only one to work.
    if pooling != PADDED_MEAN:
        with using(folder, CONFIG_FILE):
            ahead = looks_ahead(encoder.base_model)
        if pooling == "cls" and not ahead:
            raise UserError(
                "pooling 'cls' takes the state of the first token, which in "
                f"{encoder.config.model_type} has seen no other; take padded-mean, masked-mean "
                "or max"
            )
    return encoder


def read_encoder(folder: Path, dropout: float | str = AUTO) -> PreTrainedModel:
    """The encoder of a folder, without a pooler where it lacks the weights of one.

    Args:
        folder: of the encoder, or of a checkpoint.
        dropout: as for `load_encoder`.

    Raises:
        UserError: it can't be used.
    """

    def is_of_pooler(name: str) -> bool:
        return name.startswith("pooler.")

    encoder, new = _read(folder, _config_of(folder, dropout), AutoModel, is_of_pooler)
    if new:
        log.info("there are no weights of a pooler")
        encoder.pooler = nn.Identity()  # rather than one of random weights
    return encoder


def read_own_head(
    folder: Path, dropout: float | str = AUTO, *, trained: bool = False
) -> PreTrainedModel:
    """The classifier of its architecture around the encoder of a folder.

    Args:
        folder: of the encoder, or of a checkpoint.
        dropout: as for `load_encoder`.
        trained: whether all of its weights have to be there, and not those of the encoder alone.

    Raises:
        UserError: it can't be used, or the architecture has no classifier.
    """
    config = _config_of(folder, dropout)
    if not has_own_head(config):
        others = ", ".join(name for name in NAMES if name != OWN_HEAD)
        raise UserError(
            f"pooling 'head': {config.model_type} has no classifier of its own in transformers; "
            f"take one of {others}"
        )
    encoder = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)].base_model_prefix + "."

    def may_be_new(name: str) -> bool:
        is_of_head = not name.startswith(encoder) or name.startswith(f"{encoder}pooler.")
        return is_of_head and not trained

    own, new = _read(folder, config, AutoModelForSequenceClassification, may_be_new)
    if new:
        log.info("%d weights of its own classifier are new, such as %s", len(new), new[0])
    return own


def _config_of(folder: Path, dropout: float | str) -> PreTrainedConfig:
    config = load_config(folder)
    if dropout != AUTO:
        set_dropout(config, float(dropout))
    return config


def set_dropout(config: PreTrainedConfig, probability: float) -> None:
    """Set all dropout probabilities of a config, that of attention weights included.

    Raises:
        UserError: it has none.
    """
    numbers = (key for key, value in config.to_dict().items() if type(value) in (int, float))
    names = [name for name in numbers if "dropout" in name or "pdrop" in name]
    if probability and not names:
        raise UserError(
            f"{config.model_type} has no dropout, and encoder_dropout is {probability}; set it to "
            "auto"
        )
    for name in names:
        setattr(config, name, probability)


def _read(
    folder: Path, config: PreTrainedConfig, kind: Any, may_be_new: Callable[[str], bool]
) -> tuple[PreTrainedModel, list[str]]:
    """A model, random where its folder has no weights.

    Args:
        folder: where it is.
        config: of the model.
        kind: the class of transformers that makes it.
        may_be_new: whether a weight may be missing, by its name.

    Returns:
        The model, and the names of its weights that are missing among others.
    """
    if any(folder.glob("*.safetensors")):
        return _load_weights(folder, config, kind, may_be_new)
    verify(folder, *WEIGHT_FILES)
    with using(folder, CONFIG_FILE):
        return kind.from_config(config, trust_remote_code=False), []


def _load_weights(
    folder: Path, config: PreTrainedConfig, kind: Any, may_be_new: Callable[[str], bool]
) -> tuple[PreTrainedModel, list[str]]:
    with using(folder, *WEIGHT_FILES):
        model, info = kind.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are told below
            output_loading_info=True,
            trust_remote_code=False,
        )
    unlike = {name: shapes for name, *shapes in info["mismatched_keys"]}
    part = "" if model.base_model is model else f"{model.base_model_prefix}."
    for name in sorted(unlike):
        if name.startswith(part) or not may_be_new(name):
            found, wanted = map(tuple, unlike[name])
            raise UserError(
                f"'{folder}': the weight {name} is of shape {found}, but config.json asks for "
                f"{wanted}; they do not belong together, {advice(folder)}"
            )
    new = sorted(filter(may_be_new, {*info["missing_keys"], *unlike}))
    if missing := sorted(info["missing_keys"].difference(new)):
        raise UserError(
            f"'{folder}': {' or '.join(names_in(folder, *WEIGHT_FILES))} lacks {len(missing)} "
            f"weights of the encoder, such as {missing[0]}; {advice(folder)}"
        )
    _refuse_unused(folder, model.base_model, info["unexpected_keys"])
    return model, new


def _refuse_unused(folder: Path, encoder: PreTrainedModel, unused: Collection[str]) -> None:
    """Refuse weights that the encoder has no place for, but those of a head or a pooler.

    Where names begin with that of the base model, as in `bert.encoder`, all others are of a head,
    unless they name the base model or a part of it further on.

    Raises:
        UserError: the config, or the code of transformers, is not that of the weights.
    """
    base = encoder.base_model_prefix
    parts = {name for name, _ in encoder.named_children()}
    files = [safe_open(path, "pt") for path in folder.glob("model*.safetensors")]
    prefixed = any(name.startswith(f"{base}.") for file in files for name in file.keys())  # noqa: SIM118

    def is_of_head(name: str) -> bool:
        first, *others = name.split(".")
        return prefixed and first not in {base, *parts} and base not in others

    heads = sorted(filter(is_of_head, unused))
    own = sorted(set(unused).difference(heads))
    lost = [name for name in own if not name.removeprefix(f"{base}.").startswith("pooler.")]
    if lost:
        raise UserError(
            f"'{folder}': {encoder.config.model_type} of transformers has no place for "
            f"{len(lost)} of the weights, such as {lost[0]}; give the config.json that belongs to "
            "them, merge adapters with merge_and_unload() of peft, or take another encoder"
        )
    if heads:
        log.info("%d weights of a head are left out, such as %s", len(heads), heads[0])


@torch.no_grad()
def looks_ahead(encoder: PreTrainedModel) -> bool:
    """Whether the state of the first token depends on the last one, as in no causal encoder."""
    encoder.eval()
    positions = getattr(encoder.config, "max_position_embeddings", None) or 16
    ids = torch.zeros(1, max(2, min(8, positions // 2)), dtype=torch.long)
    inputs = {"attention_mask": torch.ones_like(ids)}
    before = encoder(input_ids=ids, **inputs).last_hidden_state[0, 0]
    for token in OTHER_TOKENS:  # of which one may have the vector of token 0
        ids[0, -1] = token
        if not torch.equal(before, encoder(input_ids=ids, **inputs).last_hidden_state[0, 0]):
            return True
    return False
