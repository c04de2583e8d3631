"""Encoders on disk, loaded by transformers: their configs and tokenizers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerFast

from lib.console import UserError, one_line
from lib.data.encoder_files import CONFIG_FILE, TOKENIZER_FILES, names_in
from lib.manifests import advice, verify

# Families that number positions from the padding token's number on, as RoBERTa does.
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet", "data2vec-text", "longformer")


@contextmanager
def using(folder: Path, *patterns: str) -> Iterator[None]:
    """Verify files of an encoder, and say in one line if the block can't use them.

    Args:
        folder: of the encoder.
        patterns: of the names of the files.

    Raises:
        UserError: they are missing, damaged, or none of what the block uses.
    """
    verify(folder, *patterns)
    found = names_in(folder, *patterns)
    if not found:
        raise UserError(f"'{folder}' has no {patterns[0]}; {advice(folder)}")
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # which may be any: each architecture reads its files by itself
        why = one_line(error)
        if "trust_remote_code" in why:
            why = "code of its own is asked for, which is never run"
        raise UserError(
            f"'{folder}': {' or '.join(found)} can't be used: {why}; {advice(folder)}"
        ) from error


def load_config(folder: Path) -> PreTrainedConfig:
    """The encoder's config.

    Raises:
        UserError: it can't be read, or names an architecture that transformers does not have, or
            attention from the hub.
    """
    with using(folder, CONFIG_FILE):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
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
    with using(folder, *TOKENIZER_FILES):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        tokenizer.model_max_length = int(tokenizer.model_max_length)
    if not tokenizer.is_fast:
        raise UserError(f"'{folder}': {type(tokenizer).__name__} is slow; add a tokenizer.json")
    if tokenizer.pad_token_id is None:
        raise UserError(
            f"'{folder}': the tokenizer has no padding token; set tokenizer.pad_token, and save it "
            "again with save_pretrained"
        )
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
