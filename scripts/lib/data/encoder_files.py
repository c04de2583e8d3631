"""The files of an encoder: which there are, their digests, and where they come from."""

from pathlib import Path
from typing import Any

from lib.console import UserError
from lib.files import read_json
from lib.manifests import advice, sha256, verify

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
WEIGHT_INDEX = "model.safetensors.index.json"
WEIGHT_FILES = ("model.safetensors", "model-*.safetensors", WEIGHT_INDEX)
CONFIG_FILE = "config.json"
ENCODER_FILES = (CONFIG_FILE, *TOKENIZER_FILES, *WEIGHT_FILES)
SOURCE = "source.json"


def files_of_encoder(folder: Path) -> list[Path]:
    """The files that make an encoder: its weights, config and tokenizer."""
    return [folder / name for name in names_in(folder, *ENCODER_FILES)]


def encoder_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file that makes an encoder."""
    return {path.name: sha256(path) for path in files_of_encoder(folder)}


def names_in(folder: Path, *patterns: str) -> list[str]:
    """The names of the files of a folder that fit one of some patterns."""
    return sorted({path.name for pattern in patterns for path in folder.glob(pattern)})


def check_complete(folder: Path) -> None:
    """Refuse an encoder without a file that its `source.json` names, such as its weights.

    Raises:
        UserError: a file is missing, or `source.json` is damaged.
    """
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
