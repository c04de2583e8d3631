"""How the classical baselines are named in folders and tables."""

from pathlib import Path
from typing import Any

from lib.console import UserError
from lib.runs import KEYS, Condition, Run, keys_in

PREFIX = "TF-IDF, "  # begins the names of baselines, and of no encoder: it holds a comma
FULL_TEXT = "full"
SEEN_TEXT = "seen-by-"  # and the name of a model


def run_of(folder: Path) -> Run:
    """The keys of the run in a folder such as `.../dataset=imdb/model=bert/.../seed=42`.

    A baseline, in a folder such as `.../dataset=imdb/text=full`, has a model's name alone, one
    that no configuration can give to an encoder. One on a sample of the training reviews, in
    `.../text=full/examples=125/seed=1`, has the size as its variant, and a seed.

    Raises:
        UserError: the folder is named in another way.
    """
    keys = keys_in(folder)
    try:
        if "text" in keys:
            baseline = Run(keys["dataset"], baseline_name(keys["text"]))
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


def baseline_name(text: str) -> str:
    """How tables name the baseline on a text: `full`, or `seen-by-` and a model."""
    if text == FULL_TEXT:
        return f"{PREFIX}full text"
    return f"{PREFIX}text of {text.removeprefix(SEEN_TEXT)}"


def baselines_of(model: str) -> list[str]:
    """The names of the baselines that a model is compared with."""
    return [baseline_name(FULL_TEXT), baseline_name(SEEN_TEXT + model)]


def is_baseline(keys: Run | Condition) -> bool:
    """Whether the keys are those of a baseline."""
    return keys.model.startswith(PREFIX)
