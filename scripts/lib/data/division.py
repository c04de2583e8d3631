"""Training, validation and test: the names of the splits, and how a dataset tells which is which.

Light to import, because the Snakefile uses it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

SPLITS = ("train", "valid", "test")
# What a column may call them, whatever the case.
WORDS = {
    **{"train": "train", "training": "train"},
    **{"valid": "valid", "validation": "valid", "val": "valid", "dev": "valid"},
    "test": "test",
}

Parts = Sequence[str] | Mapping[str, Sequence[str]]


def listed(parts: Parts) -> dict[str, str | None]:
    """Files, or splits of the hub, in their order, and the split that each is a part of.

    Args:
        parts: a list of them, which are to be divided, or lists by split.
    """
    if not isinstance(parts, Mapping):
        return dict.fromkeys(parts)
    return {part: split for split in SPLITS for part in parts.get(split, ())}


def divided_origins(dataset: Mapping[str, Any]) -> dict[str, str]:
    """The split of each origin of a dataset that brings its division by them; else nothing.

    Args:
        dataset: its settings, of which `paths` and `splits` count.
    """
    parts = [listed(dataset.get(key, ())) for key in ("paths", "splits")]
    return {origin: split for part in parts for origin, split in part.items() if split}
