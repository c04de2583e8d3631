"""The files of an encoder: which there are, their digests, and where they come from."""

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from lib.command.console import UserError
from lib.files.manifests import advice, sha256, verify
from lib.files.whole import read_json

# Formats in which tokenizers keep vocabularies and settings, `tokenizer.json` above all. None holds
# code, and nothing that does is ever copied or loaded.
TOKENIZER_FILES = ("tokenizer.json", "*.json", "*.txt", "*.model", "*.tiktoken")
WEIGHT_INDEX = "model.safetensors.index.json"
WEIGHT_FILES = ("model.safetensors", "model-*.safetensors", WEIGHT_INDEX)
CONFIG_FILE = "config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
ENCODER_FILES = (CONFIG_FILE, *TOKENIZER_FILES, *WEIGHT_FILES)
SOURCE = "source.json"
PROBE = "probe.json"
ADAPTER = "adapter_config.json"
PLAIN = re.compile(r"\w[\w.+-]*")  # a name that leads nowhere else, and means nothing to rules
# What fits the patterns of a tokenizer's files, and is none of them.
OTHERS = (CONFIG_FILE, "*.index.json", SOURCE, PROBE)


def files_of_encoder(folder: Path) -> list[Path]:
    """The files that make an encoder: its weights, config and tokenizer."""
    return [folder / name for name in names_in(folder, *ENCODER_FILES)]


def tokenizer_files(folder: Path) -> list[Path]:
    """The files that its tokenizer may be made of."""
    return [folder / name for name in names_in(folder, *TOKENIZER_FILES)]


def encoder_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file that makes an encoder."""
    return {path.name: sha256(path) for path in files_of_encoder(folder)}


def names_in(folder: Path, *patterns: str) -> list[str]:
    """The names of the files of a folder that fit one of an encoder's patterns."""
    found = {path.name for pattern in patterns for path in folder.glob(pattern)}
    names = set(filter(PLAIN.fullmatch, found))
    others = {name for name in names if any(fnmatch(name, each) for each in OTHERS)}
    return sorted(names - others.difference(patterns))


def refuse_adapter(folder: Path, name: str) -> None:
    """Refuse a folder with an adapter, whose weights transformers would leave out.

    Args:
        folder: of the encoder.
        name: the encoder in words.

    Raises:
        UserError: there is one.
    """
    if (folder / ADAPTER).is_file():
        raise UserError(
            f"{name} holds an adapter ({ADAPTER}), which has to be part of the weights; merge it "
            "with merge_and_unload() of peft, and give the folder that save_pretrained then writes"
        )


def check_complete(folder: Path) -> None:
    """Refuse an encoder without a file that its `source.json` names, or with one too many.

    Raises:
        UserError: a file is missing, such as the weights; `source.json` is damaged; or there is an
            adapter.
    """
    refuse_adapter(folder, f"'{folder}'")
    verify(folder, SOURCE)
    for name in describe_encoder(folder)["sha256"] if (folder / SOURCE).is_file() else ():
        if not (folder / name).is_file():
            raise UserError(f"'{folder / name}' is missing; {advice(folder)}")


def describe_encoder(folder: Path) -> dict[str, Any]:
    """Where an encoder comes from, and the SHA-256 of its files.

    `source.json` tells; of a folder without one, its path does.
    """
    verify(folder, SOURCE)
    if (folder / SOURCE).is_file():
        return read_json(folder / SOURCE, "source", "sha256")
    return {"source": "folder", "path": str(folder), "sha256": encoder_digests(folder)}


def facts_of(folder: Path) -> dict[str, Any]:
    """What was found as an encoder was tried; nothing of a folder in which it was not."""
    verify(folder, PROBE)
    return read_json(folder / PROBE, "lacks", "positions") if (folder / PROBE).is_file() else {}


def check_length(folder: Path, max_length: int) -> None:
    """Refuse texts of more tokens than an encoder takes, where it was tried.

    Args:
        folder: of the encoder.
        max_length: of the texts, in tokens.

    Raises:
        UserError: they are too long.
    """
    longest = facts_of(folder).get("positions") or max_length
    if max_length > longest:
        raise UserError(
            f"max_length is {max_length}, but the encoder '{folder}' takes {longest} tokens at "
            "most; lower max_length in the config"
        )
