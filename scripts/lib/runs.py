"""The keys that tell runs apart, what they may be, and the folders that hold the runs."""

from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """The keys of one run, in the order of its path."""

    dataset: str
    model: str
    pooling: str
    batch: int
    variant: str
    seed: int


KEYS = Run._fields
POOLINGS = ("cls", "mean", "masked-mean", "max", "pooler")


def run_of(folder: Path) -> Run:
    """The keys of the run in a folder such as `.../dataset=imdb/model=bert/.../seed=42`."""
    keys = dict(part.split("=", 1) for part in folder.parts if "=" in part)
    return Run(**{key: int(keys[key]) if key in ("batch", "seed") else keys[key] for key in KEYS})
