"""The keys that tell runs apart, what they may be, and the folders that hold the runs."""

from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """The keys of one run, in the order of its path."""

    dataset: str
    model: str
    pooling: str
    batch: int | str
    variant: str
    seed: int | str


KEYS = Run._fields
POOLINGS = ("cls", "mean", "masked-mean", "max", "pooler")
BASELINE = "TF-IDF, "  # begins the names of baselines, and of no encoder: it holds a comma
FULL_TEXT = "full"
SEEN_TEXT = "seen-by-"  # and the name of a model


def run_of(folder: Path) -> Run:
    """The keys of the run in a folder such as `.../dataset=imdb/model=bert/.../seed=42`.

    A baseline, in a folder such as `.../dataset=imdb/text=full`, has a model's name alone, one
    that no configuration can give to an encoder.
    """
    keys = dict(part.split("=", 1) for part in folder.parts if "=" in part)
    if "text" in keys:
        return Run(keys["dataset"], baseline_name(keys["text"]), *[""] * (len(KEYS) - 2))
    return Run(**{key: int(keys[key]) if key in ("batch", "seed") else keys[key] for key in KEYS})


def baseline_name(text: str) -> str:
    """How tables name the baseline on a text: `full`, or `seen-by-` and a model."""
    if text == FULL_TEXT:
        return f"{BASELINE}full text"
    return f"{BASELINE}text of {text.removeprefix(SEEN_TEXT)}"


def baselines_of(model: str) -> list[str]:
    """The names of the baselines that a model is compared with."""
    return [baseline_name(FULL_TEXT), baseline_name(SEEN_TEXT + model)]


def is_baseline(run: Run) -> bool:
    """Whether the keys are those of a baseline."""
    return run.variant == ""
