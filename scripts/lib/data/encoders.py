"""Encoders on disk, loaded by transformers: their configs and tokenizers."""

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerFast

from lib.console import UserError, one_line
from lib.data.encoder_files import CONFIG_FILE, TOKENIZER_FILES
from lib.manifests import verify

# Families that number positions from the padding token's number on, as RoBERTa does.
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet", "data2vec-text", "longformer")


def load_config(folder: Path) -> PreTrainedConfig:
    """The encoder's config.

    Raises:
        UserError: it can't be read, or names an architecture that transformers does not have, or
            attention from the hub.
    """
    verify(folder, CONFIG_FILE)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"'{folder}': config.json can't be used: {_reason(error)}") from error
    attention = config._attn_implementation or ""
    if "/" in attention:  # which transformers would fetch and run
        raise UserError(
            f"'{folder}': config.json names the attention '{attention}' of the hub, which is code "
            "that is never run; remove it from config.json"
        )
    return config


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The encoder's fast tokenizer.

    Raises:
        UserError: there is none, or it has no padding token.
    """
    verify(folder, *TOKENIZER_FILES)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"'{folder}': tokenizer can't be used: {_reason(error)}") from error
    if not tokenizer.is_fast:
        raise UserError(f"'{folder}': {type(tokenizer).__name__} is slow; add a tokenizer.json")
    if tokenizer.pad_token_id is None:
        raise UserError(f"'{folder}': the tokenizer has no padding token")
    return tokenizer


def _reason(error: Exception) -> str:
    """Why transformers does not load something, on one line."""
    if "trust_remote_code" in str(error):
        return "it needs code that comes with it, which is never run; choose another encoder"
    return one_line(error)


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
