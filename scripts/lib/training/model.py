"""The classifier: an encoder, a pooling, dropout and a linear head; and its checkpoint on disk."""

import inspect
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import NoneType
from typing import Any

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AttentionMaskInterface, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.masking_utils import eager_mask, sdpa_mask

from lib.command.console import UserError, log
from lib.data.cutting import HEAD_TAIL, TAIL, Cut
from lib.data.encoder_files import (
    CONFIG_FILE,
    TOKENIZER_CONFIG,
    WEIGHT_FILES,
    check_complete,
    facts_of,
    names_in,
    tokenizer_files,
)
from lib.data.encoders import load_config, using
from lib.files.manifests import advice, verify
from lib.files.whole import read_json
from lib.training import unpadded
from lib.training.batches import AUTO

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

HEAD_WEIGHTS = "head.safetensors"
HEAD_CONFIG = "head.json"
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


def pool_cls(states: Tensor, mask: Tensor) -> Tensor:
    """The state of the first token."""
    return states[:, 0]


def pool_padded_mean(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over all positions, padding included, as several published studies have it."""
    return states.mean(dim=1)


def pool_masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over real tokens."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def pool_max(states: Tensor, mask: Tensor) -> Tensor:
    """The maximum over real tokens, per dimension."""
    return states.masked_fill(~mask.unsqueeze(-1), torch.finfo(states.dtype).min).amax(dim=1)


# (n, length, width) states and an (n, length) boolean mask of real tokens -> (n, width)
POOLINGS = {
    "cls": pool_cls,
    "padded-mean": pool_padded_mean,
    "masked-mean": pool_masked_mean,
    "max": pool_max,
}
POOLER = "pooler"  # the encoder's own, tanh(W · first state)


class Classifier(nn.Module):
    """Encoder, pooling, dropout, linear head.

    Args:
        encoder: a base model of transformers.
        pooling: a name from the table of poolings.
        classes: number of classes.
        dropout: probability between pooling and head.
        labels: names of the classes, which go into the encoder's config; their numbers if empty.

    Attributes:
        compiled: what of it is compiled: `nothing`, the `rotary` embedding or the `model`.

    Raises:
        UserError: the pooling is `pooler`, and the encoder has none.
    """

    compiled = "nothing"

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
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, classes)
        self.takes_types = "token_type_ids" in inspect.signature(encoder.forward).parameters
        if pooling == POOLER and not has_pooler(encoder):
            raise UserError(
                f"pooling 'pooler' needs a pooler, which {encoder.config.model_type} has not; "
                f"allowed: {', '.join(POOLINGS)}"
            )
        if pooling != POOLER and has_pooler(encoder):
            encoder.pooler = nn.Identity()  # its weights would never see a gradient
        names = labels or list(map(str, range(classes)))
        encoder.config.id2label = dict(enumerate(names))
        encoder.config.label2id = {name: number for number, name in enumerate(names)}

    def represent(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Sentence vectors `(n, width)` of a padded batch, in float32 at least.

        Args:
            inputs: `input_ids` `(n, length)`, a boolean `attention_mask` of the same shape where
                any of them is padding, and `token_type_ids` where the tokenizer makes them.
        """
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
        used = {key: x for key, x in inputs.items() if key != "token_type_ids" or self.takes_types}
        if unpadded.PLACES in inputs:
            return unpadded.encode(self.encoder, used, **options)
        mask = mask_of(inputs).long()
        whole = WHOLE.set(torch.Size() if "attention_mask" in inputs else mask.shape)
        try:
            return self.encoder(**used | {"attention_mask": mask}, **options)
        finally:
            WHOLE.reset(whole)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits `(n, classes)` of a padded batch, in float32 at least, whatever autocast asks for.

        In bf16, which has eight bits, differences of validation losses would be lost.
        """
        vectors = self.dropout(self.represent(inputs))
        with torch.autocast(vectors.device.type, enabled=False):
            return self.head(vectors)

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


def mask_of(inputs: Mapping[str, Tensor]) -> Tensor:
    """Which tokens `(n, length)` of a batch are real: all of them where no mask tells."""
    mask = inputs.get("attention_mask")
    return torch.ones_like(inputs["input_ids"], dtype=torch.bool) if mask is None else mask


def float32_at_least(states: Tensor) -> Tensor:
    """States in float32, or as they are where they are finer."""
    return states.to(torch.promote_types(states.dtype, torch.float32))


def load_encoder(folder: Path, pooling: str, dropout: float | str = AUTO) -> PreTrainedModel:
    """The encoder of a folder in float32, to train it: its weights, or random ones without any.

    Args:
        folder: of the encoder.
        pooling: of its states.
        dropout: its probabilities in the encoder; `auto` for those of its config.

    Raises:
        UserError: config or weights can't be used, or do not give what pooling or dropout needs.
    """
    check_complete(folder)
    encoder = _read_encoder(folder, dropout)
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
    if pooling != "padded-mean":
        with using(folder, CONFIG_FILE):
            ahead = looks_ahead(encoder)
        if pooling == "cls" and not ahead:
            raise UserError(
                "pooling 'cls' takes the state of the first token, which in "
                f"{encoder.config.model_type} has seen no other; take padded-mean, masked-mean "
                "or max"
            )
    return encoder


def has_pooler(encoder: PreTrainedModel) -> bool:
    """Whether an encoder has a pooler with weights of its own."""
    return not isinstance(getattr(encoder, "pooler", None), NoneType | nn.Identity)


def _read_encoder(folder: Path, dropout: float | str = AUTO) -> PreTrainedModel:
    config = load_config(folder)
    if dropout != AUTO:
        set_dropout(config, float(dropout))
    if any(folder.glob("*.safetensors")):
        encoder = _load_weights(folder, config)
    else:
        verify(folder, *WEIGHT_FILES)
        with using(folder, CONFIG_FILE):
            encoder = AutoModel.from_config(config, trust_remote_code=False)
    return encoder


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


def _load_weights(folder: Path, config: PreTrainedConfig) -> PreTrainedModel:
    with using(folder, *WEIGHT_FILES):
        encoder, info = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are told below
            output_loading_info=True,
            trust_remote_code=False,
        )
    for name, found, wanted in sorted(info["mismatched_keys"]):
        raise UserError(
            f"'{folder}': the weight {name} is of shape {tuple(found)}, but config.json asks for "
            f"{tuple(wanted)}; they do not belong together, {advice(folder)}"
        )
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise UserError(
            f"'{folder}': {' or '.join(names_in(folder, *WEIGHT_FILES))} lacks {len(missing)} "
            f"weights of the encoder, such as {missing[0]}; {advice(folder)}"
        )
    if missing != sorted(info["missing_keys"]):
        log.info("there are no weights of a pooler")
        encoder.pooler = nn.Identity()  # rather than one of random weights
    _refuse_unused(folder, encoder, info["unexpected_keys"])
    return encoder


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


def save_checkpoint(model: Classifier, tokenizer: Path, folder: Path, cut: Cut) -> None:
    """Write a checkpoint that `AutoModel` reads as an encoder and `load_checkpoint` as a whole.

    Args:
        model: the classifier.
        tokenizer: folder whose tokenizer files are copied.
        folder: an empty or new folder.
        cut: which part of each text it was trained on.
    """
    model.encoder.save_pretrained(folder)
    for path in tokenizer_files(tokenizer):
        shutil.copyfile(path, folder / path.name)
    _tell_side(folder / TOKENIZER_CONFIG, cut)
    save_file(
        {name: tensor.contiguous() for name, tensor in model.head.state_dict().items()},
        folder / HEAD_WEIGHTS,
    )
    head: dict[str, Any] = {
        "pooling": model.pooling,
        "classes": model.head.out_features,
        "dropout": model.dropout.p,
        **cut._asdict(),
    }
    (folder / HEAD_CONFIG).write_text(json.dumps(head, indent=2) + "\n", "utf-8")
    for path in folder.glob("*.safetensors"):  # written for the user alone, whatever the umask
        shutil.copymode(folder / HEAD_CONFIG, path)


def _tell_side(path: Path, cut: Cut) -> None:
    """Let the tokenizer of a checkpoint cut as the training did, where it can."""
    told = read_json(path) if path.is_file() else {}
    side = "left" if cut.truncation == TAIL else "right"
    if cut.truncation != HEAD_TAIL and told.get("truncation_side", "right") != side:
        path.write_text(json.dumps(told | {"truncation_side": side}, indent=2) + "\n", "utf-8")


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
    encoder = _read_encoder(folder)
    labels = list(encoder.config.id2label.values())
    with using(folder, HEAD_CONFIG, HEAD_WEIGHTS):
        model = Classifier(encoder, head["pooling"], head["classes"], head["dropout"], labels)
        model.head.load_state_dict(load_file(folder / HEAD_WEIGHTS))
    return model.eval()
