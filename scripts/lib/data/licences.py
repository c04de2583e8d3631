"""Licences of encoders and data, as their sources tell them. Nothing of it is checked.

What tells none, or can't be read, gives an empty mapping: a licence is never what fails.
"""

from email import message_from_string
from pathlib import Path
from typing import Any

CARD = "README.md"
LONGEST = 200  # characters of a licence
UNTOLD = ("", "unknown", "none")  # what some tools write where there is none


def of_card(folder: Path) -> dict[str, str]:
    """The `license` that the metadata of a README.md tell, in the form of the hub.

    Of a licence that the hub does not know, which is `other` there, name and link are told.

    Args:
        folder: that may hold a README.md.
    """
    from huggingface_hub import metadata_load

    try:
        told = metadata_load(folder / CARD) or {}
    except Exception:  # of any kind: YAML makes what its tags ask for
        return {}
    names = _texts(told.get("license_name")) or _texts(told.get("license"))
    links = [f"({link})" for link in _texts(told.get("license_link"))]
    return _told(" ".join([", ".join(names), *links]))


def of_package(metadata: str) -> dict[str, str]:
    """The `license` that the metadata of a Python package tell.

    Args:
        metadata: the content of METADATA; its `License` may be a whole licence, of which the first
            line is told.
    """
    told = message_from_string(metadata)
    kinds = [str(kind) for kind in told.get_all("Classifier", [])]
    classifiers = [kind.rpartition(" :: ")[2] for kind in kinds if kind.startswith("License ::")]
    first = str(told.get("License", "")).strip().partition("\n")[0]
    found = (str(told.get("License-Expression", "")), first, ", ".join(classifiers))
    return next(filter(None, map(_told, found)), {})


def _texts(value: Any) -> list[str]:
    """The texts among what metadata tell: one, or a list of them."""
    return [each for each in (value if isinstance(value, list) else [value]) if type(each) is str]


def _told(text: str) -> dict[str, str]:
    line = "".join(char if char.isprintable() else " " for char in text)
    line = " ".join(line.split())[:LONGEST]
    return {} if line.lower() in UNTOLD else {"license": line}
