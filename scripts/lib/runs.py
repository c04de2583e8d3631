"""The keys that tell runs apart, and the folders that hold the runs."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Condition(NamedTuple):
    """What runs with other seeds repeat; a baseline has a model's name alone."""

    model: str
    pooling: str = ""
    batch: int | None = None
    variant: str = ""


class Run(NamedTuple):
    """The keys of one run, in the order of its path; a baseline has dataset and model alone."""

    dataset: str
    model: str
    pooling: str = ""
    batch: int | None = None
    variant: str = ""
    seed: int | None = None

    @property
    def condition(self) -> Condition:
        """The condition of which this is one run."""
        return Condition(self.model, self.pooling, self.batch, self.variant)


KEYS = Run._fields
CONDITION = list(Condition._fields)


def folders_of(dataset: str, block: Mapping[str, Sequence[Any]]) -> str:
    """The folders of all runs of a block of the grid, as one path: `.../batch=64,256/...`."""
    values = {"dataset": [dataset], **block}
    return "/".join(f"{key}={','.join(map(str, values[key]))}" for key in KEYS)


def named_in(path: str) -> list[Path]:
    """The folders that a path names, in which a key may have several values: `batch=64,256`."""
    parts = (part.partition("=") for part in Path(path).parts)
    choices = [
        [f"{key}={value}" for value in values.split(",")]
        if key in KEYS
        else [key + equals + values]
        for key, equals, values in parts
    ]
    return [Path(*chosen) for chosen in itertools.product(*choices)]


def keys_in(path: Path) -> dict[str, str]:
    """The keys that the folders of a path name, as in `dataset=imdb/model=bert`."""
    return dict(part.split("=", 1) for part in path.parts if "=" in part)
