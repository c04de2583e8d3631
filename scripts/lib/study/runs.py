"""The keys that tell runs and classical baselines apart, and the folders that hold them."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lib.command.console import UserError


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
COUNT = r"[1-9][0-9]*"  # of a batch, as it stands in a path
SEED = r"0|[1-9][0-9]*"
CONDITION = list(Condition._fields)
PREFIX = "TF-IDF, "  # begins the names of baselines, and of no encoder: it holds a comma
FULL_TEXT = "full"
SEEN_TEXT = "seen-by-"  # and the name of a model
PARTS_OF_TEXTS = {  # by truncation, with the number of tokens
    "auto": "{} tokens",
    "head": "first {} tokens",
    "tail": "last {} tokens",
    "head-tail": "{} tokens of both ends",
}


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


def run_of(folder: Path) -> Run:
    """The keys of the run in a folder such as `.../dataset=imdb/model=bert/.../seed=42`.

    A baseline, in a folder such as `.../dataset=imdb/text=full`, or
    `.../text=seen-by-bert/max_length=128/truncation=head`, has a model's name alone, one that no
    configuration can give to an encoder. One on a sample of the training reviews, in
    `.../text=full/examples=125/seed=1`, has the size as its variant, and a seed.

    Raises:
        UserError: the folder is named in another way.
    """
    keys = keys_in(folder)
    try:
        if "text" in keys:
            text = FULL_TEXT
            if keys["text"] != FULL_TEXT:
                _, text = texts_of(keys["text"].removeprefix(SEEN_TEXT), keys)
            baseline = Run(keys["dataset"], baseline_name(text))
            if "examples" not in keys:
                return baseline
            return baseline._replace(variant=str(int(keys["examples"])), seed=int(keys["seed"]))
        values: dict[str, Any] = {
            key: int(keys[key]) if key in ("batch", "seed") else keys[key] for key in KEYS
        }
        return Run(**values)
    except (LookupError, ValueError) as error:
        raise UserError(
            f"'{folder}' is no folder of a run or a baseline; name one such as "
            f"results/runs/{'/'.join(f'{key}=...' for key in KEYS)}"
        ) from error


def texts_of(model: str, settings: Mapping[str, Any]) -> list[str]:
    """The texts that baselines read beside a model: the ends of their folders, after `text=`.

    Args:
        model: the name of an encoder.
        settings: of its training.
    """
    cut = (f"{key}={settings[key]}" for key in ("max_length", "truncation"))
    return [FULL_TEXT, "/".join([SEEN_TEXT + model, *cut])]


def baseline_name(text: str) -> str:
    """How tables name the baseline on a text, such as `texts_of` gives."""
    if text == FULL_TEXT:
        return f"{PREFIX}full text"
    seen, length, truncation = text.split("/")[:3]
    which = PARTS_OF_TEXTS[truncation.partition("=")[2]]
    count = length.partition("=")[2]
    return f"{PREFIX}{which.format(count)} of {seen.removeprefix(SEEN_TEXT)}"


def baselines_of(model: str, settings: Mapping[str, Any]) -> list[str]:
    """The names of the baselines that a training of a model is compared with."""
    return list(map(baseline_name, texts_of(model, settings)))


def is_baseline(keys: Run | Condition) -> bool:
    """Whether the keys are those of a baseline."""
    return keys.model.startswith(PREFIX)
