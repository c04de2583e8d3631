"""Encoders on disk, loaded by transformers: their configs and tokenizers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten

from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerFast

from lib.command.console import UserError, one_line
from lib.data.encoder_files import CONFIG_FILE, TOKENIZER_FILES, names_in
from lib.files.manifests import advice, verify

SHOWN = 300  # characters of a library's reason
# What a config may say of how a model is run, which is decided here, beside what the model is.
# Left in a config.json, some of it can't be saved again, and some names code of the hub.
HOW_IT_IS_RUN = {
    "attn_implementation": None,
    "_attn_implementation": None,
    "experts_implementation": None,
    "output_attentions": False,
    "output_hidden_states": False,
    "return_dict": True,
    "torchscript": False,
    "use_cache": False,
    "dtype": None,
    "torch_dtype": None,
    "chunk_size_feed_forward": 0,
    "gradient_checkpointing": False,
}


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
        if "backend tokenizer" in why:
            why = "its vocabulary is missing: no tokenizer.json, nor another file that holds it"
        raise UserError(
            f"'{folder}': {' or '.join(found)} can't be used: {shorten(why, SHOWN)}; "
            f"{advice(folder)}"
        ) from error


def load_config(folder: Path) -> PreTrainedConfig:
    """The encoder's config, without what it says of how the encoder is run.

    Raises:
        UserError: it can't be read, or names no architecture, one that transformers does not have,
            or one with a decoder.
    """
    with using(folder, CONFIG_FILE):
        settings, _ = PreTrainedConfig.get_config_dict(folder)
        if not settings.get("model_type"):
            raise ValueError("it names no model_type, such as bert")
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **HOW_IT_IS_RUN)
    if config.is_encoder_decoder:
        raise UserError(
            f"'{folder}': {config.model_type} has a decoder beside its encoder; take an encoder "
            "alone, such as BERT"
        )
    return config


def class_names(config: PreTrainedConfig) -> list[str]:
    """The names of the classes of a classifier, by their numbers.

    Raises:
        ValueError: a number has none.
    """
    names = {int(number): str(name) for number, name in config.id2label.items()}
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"id2label names the classes {sorted(names)}, and not 0, 1 and so on")
    return [names[number] for number in range(len(names))]


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The encoder's fast tokenizer.

    Raises:
        UserError: there is none, or it has no padding token, or the config can't be used.
    """
    with using(folder, *TOKENIZER_FILES):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, config=load_config(folder), trust_remote_code=False
        )
        tokenizer.model_max_length = int(tokenizer.model_max_length)
    if not tokenizer.is_fast:
        raise UserError(f"'{folder}': {type(tokenizer).__name__} is slow; add a tokenizer.json")
    if tokenizer.pad_token_id is None:
        raise UserError(
            f"'{folder}': the tokenizer has no padding token; set tokenizer.pad_token, and save it "
            "again with save_pretrained"
        )
    return tokenizer
