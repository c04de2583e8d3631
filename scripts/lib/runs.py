"""The keys that tell runs apart, and the folders that hold the runs."""

from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """The keys of one run, in the order of its path; a baseline has dataset and model alone."""

    dataset: str
    model: str
    pooling: str = ""
    batch: int | None = None
    variant: str = ""
    seed: int | None = None


KEYS = Run._fields
CONDITION = ["model", "pooling", "batch", "variant"]  # what runs with other seeds repeat


def keys_in(path: Path) -> dict[str, str]:
    """The keys that the folders of a path name, as in `dataset=imdb/model=bert`."""
    return dict(part.split("=", 1) for part in path.parts if "=" in part)
