"""The keys that tell runs apart, and the folders that hold the runs."""

from pathlib import Path
from typing import NamedTuple


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


def keys_in(path: Path) -> dict[str, str]:
    """The keys that the folders of a path name, as in `dataset=imdb/model=bert`."""
    return dict(part.split("=", 1) for part in path.parts if "=" in part)
