"""Encoders on disk: folders of config.json, the tokenizer's files and, if pretrained, weights."""

import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertConfig,
    ModernBertConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

from lib.cli import UserError, one_line
from lib.tokenizer_training import Texts, train_byte_bpe, train_wordpiece

# What an encoder needs besides its weights; nothing that holds code is ever copied or loaded.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
# Families that number positions from the padding token's number on, as RoBERTa does.
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet", "data2vec-text", "longformer")
WEIGHT_FILES = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
ENCODER_FILES = ("config.json", *TOKENIZER_FILES, *WEIGHT_FILES)


def build_from_scratch(
    texts: Texts,
    folder: Path,
    architecture: str,
    sizes: dict[str, int],
    vocab_size: int,
    dropout: float,
) -> None:
    """Write the config of a new encoder and a tokenizer trained on `texts`; weights come later.

    Args:
        texts: gives a fresh iterator over the training texts at each call.
        folder: where to write.
        architecture: `bert` or `modernbert`.
        sizes: hidden_size, num_hidden_layers, num_attention_heads, intermediate_size and
            max_position_embeddings, as in the configs of transformers.
        vocab_size: entries of the vocabulary at most.
        dropout: probability, for every dropout inside the encoder.
    """
    if architecture == "bert":
        tokenizer = train_wordpiece(texts, vocab_size)
        config = BertConfig(
            hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, **sizes
        )
    else:
        tokenizer = train_byte_bpe(texts, vocab_size)
        config = ModernBertConfig(
            embedding_dropout=dropout,
            mlp_dropout=dropout,
            attention_dropout=dropout,
            cls_token_id=tokenizer.cls_token_id,
            sep_token_id=tokenizer.sep_token_id,
            bos_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id,
            **sizes,
        )
    config.vocab_size = len(tokenizer)
    config.pad_token_id = tokenizer.pad_token_id
    tokenizer.model_max_length = sizes["max_position_embeddings"]
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def copy_encoder(source: Path, folder: Path, name: str) -> None:
    """Copy config, tokenizer and safetensors weights of an encoder, and nothing else.

    Args:
        source: the encoder.
        folder: where to copy it.
        name: the source in words, for errors.

    Raises:
        UserError: one of the three is missing, or a file of weights is damaged.
    """
    files = [path for pattern in ENCODER_FILES for path in sorted(source.glob(pattern))]
    names = {path.name for path in files}
    if "config.json" not in names:
        raise UserError(f"{name} has no config.json; give an encoder written by save_pretrained")
    if not any(file.endswith(".safetensors") for file in names):
        raise UserError(
            f"{name} has no weights in safetensors; choose a revision that has them, or write "
            "them with model.save_pretrained(folder)"
        )
    if names.isdisjoint(TOKENIZER_FILES):
        raise UserError(f"{name} has no tokenizer; add it with tokenizer.save_pretrained(folder)")
    for path in files:
        if path.suffix == ".safetensors":
            _check_safetensors(path)
    folder.mkdir(parents=True)
    for path in files:
        shutil.copyfile(path, folder / path.name)


def _check_safetensors(path: Path) -> None:
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"'{path}' is damaged, or a Git LFS pointer instead of the file: {one_line(error)}"
        ) from error


def load_config(folder: Path) -> PreTrainedConfig:
    """The encoder's config.

    Raises:
        UserError: it can't be read, or names an architecture that transformers does not have.
    """
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"'{folder}': config.json can't be used: {one_line(error)}") from error


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The encoder's fast tokenizer.

    Raises:
        UserError: there is none, or it has no padding token.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"'{folder}': tokenizer can't be used: {one_line(error)}") from error
    if not tokenizer.is_fast:
        raise UserError(f"'{folder}': {type(tokenizer).__name__} is slow; add a tokenizer.json")
    if tokenizer.pad_token_id is None:
        raise UserError(f"'{folder}': the tokenizer has no padding token")
    return tokenizer


def check_length(max_length: int, config: PreTrainedConfig, tokenizer: Any, folder: Path) -> None:
    """Refuse inputs that are longer than the encoder has positions for.

    Raises:
        UserError: `max_length`, in tokens, is over what config or tokenizer allow.
    """
    positions = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
    if config.model_type in OFFSET_POSITIONS:
        positions -= config.pad_token_id + 1
    longest = min(positions, tokenizer.model_max_length)
    if max_length > longest:
        raise UserError(
            f"max_length is {max_length}, but the encoder '{folder}' has positions for {longest} "
            "tokens; lower max_length in the config"
        )
