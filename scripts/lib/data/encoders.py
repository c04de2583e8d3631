"""Encoders on disk: folders of config.json, the tokenizer's files and, if pretrained, weights.

Beside them stands `source.json`, which tells where the encoder comes from.
"""

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerFast

from lib.console import UserError, one_line
from lib.files import read_json, sha256

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
SOURCE = "source.json"


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


def encoder_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file that makes an encoder: its weights, config and tokenizer."""
    paths = sorted(path for pattern in ENCODER_FILES for path in folder.glob(pattern))
    return {path.name: sha256(path) for path in paths}


def describe_encoder(folder: Path) -> dict[str, Any]:
    """Where an encoder comes from, and the SHA-256 of its files.

    `source.json` tells; of a folder without one, its path does.
    """
    if (folder / SOURCE).is_file():
        return read_json(folder / SOURCE)
    return {"source": "folder", "path": str(folder), "sha256": encoder_digests(folder)}
