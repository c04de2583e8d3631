"""What the Snakefile asks before any job runs: flags, the parts of the analysis, whose results/ is.

Plain Python, so that it is linted and tested; the rules and their input functions are in
workflow/rules/.
"""

import csv
import getpass
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.command.console import UserError, refusals_explained
from lib.files import manifests
from lib.study import config, schema
from lib.study.catalog import PARTS
from lib.study.runs import CONDITION, Run, texts_of

MARKER = Path("results/.study")


class Unrecorded:
    """A parameter that Snakemake passes on and does not record, so that its change runs nothing.

    It records parameters of built-in types alone, and no others.

    Args:
        value: what a command is told.
    """

    def __init__(self, value: object) -> None:
        self.value = value

    def __str__(self) -> str:
        return str(self.value)


def flags(settings: Mapping[str, Any]) -> str:
    """Settings as command-line flags, in an order that does not depend on the config's."""
    words = []
    for key, value in sorted(_apart(settings)):
        values = value if isinstance(value, list) else [value]
        if isinstance(value, dict):
            values = [f"{name}={item}" for name, item in sorted(value.items())]
        if values:
            words += [f"--{key.replace('_', '-')}", *map(schema.word, values)]
    return shlex.join(words)


def _apart(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings, of which lists by name are settings of their own, as the flags of a command are."""
    for key, value in settings.items():
        if isinstance(value, dict) and any(isinstance(item, list) for item in value.values()):
            yield from ((f"{key}_{name}", items) for name, items in value.items())
        else:
            yield key, value


def files(**named: Iterable[str]) -> str:
    """Flags that name files; none of those of which there are none."""
    return flags({name: list(paths) for name, paths in named.items()})


def source(part: Mapping[str, Any]) -> str:
    """How to fetch a dataset or an encoder; what it has to be like is `digests`."""
    elsewhere = ("source", "name", "noun", "sha256")
    others = {key: part[key] for key in part if key not in elsewhere}
    return f"{part['source']} {flags(others)}"


def reading(split: Mapping[str, Any]) -> dict[str, Any]:
    """What the section `split` says of how reviews are read and cleaned."""
    return {key: split[key] for key in config.OF_READING if key in split}


def dividing(split: Mapping[str, Any]) -> dict[str, Any]:
    """What the section `split` says of how reviews are divided."""
    return {key: split[key] for key in split if key not in config.OF_READING}


def digests(part: Mapping[str, Any]) -> Unrecorded:
    """The digests that are expected of files; they decide no result, and the plan looks at them."""
    return Unrecorded(flags({"sha256": part.get("sha256", {})}))


def baselines(study: Mapping[str, Any], runs: Iterable[Run]) -> tuple[list[str], list[str]]:
    """The ends of the paths of baselines, after `text=`: on all training reviews, and on samples.

    Their texts are the full ones and what the encoders see of them; the samples are those of the
    runs that learn from some.
    """
    whole: dict[str, None] = {}
    samples: dict[str, None] = {}
    for run in runs:
        settings = config.training(study, run.variant)
        for text in texts_of(run.model, settings):
            whole[text] = None
            if settings["examples"] != "all":
                samples[f"{text}/examples={settings['examples']}/seed={run.seed}"] = None
    return list(whole), list(samples)


def tested(runs: Iterable[Run], rates: Path) -> list[Run]:
    """The runs that are to be tested: all but those at learning rates that are out of question.

    Args:
        runs: of the study.
        rates: the table tuning, as CSV.

    Raises:
        UserError: it is missing or damaged.
    """
    with manifests.reading(rates), rates.open(encoding="utf-8", newline="") as file:
        others = {
            tuple(row[key] for key in CONDITION)
            for row in csv.DictReader(file)
            if row["tested"] == "False"
        }
    return [run for run in runs if tuple(map(str, run.condition)) not in others]


def parts(study: Mapping[str, Any], runs: Iterable[Run]) -> list[str]:
    """The parts of the analysis that are to be made."""
    used = [config.training(study, name) for name in {run.variant for run in runs}]
    cuts = {(settings["max_length"], settings["truncation"]) for settings in used}
    analysis = study["analysis"]
    is_on = {
        **analysis,
        "results": True,
        "published": "published" in analysis and analysis["statistics"],
        "data_curve": any(each["examples"] != "all" for each in used) and analysis["statistics"],
        "cuts": len(cuts) > 1 and analysis["statistics"],
    }
    return [part for part in PARTS if is_on[part]]


def check_study(name: str) -> None:
    """Refuse to mix the results of two studies in one folder.

    Raises:
        UserError: results/ holds those of a study of another name.
    """
    held = MARKER.read_text("utf-8", "replace").strip() if MARKER.is_file() else name
    results = (MARKER.with_name(each) for each in ("runs", "tables", "datasets", "summary.md"))
    if held != name and any(path.exists() for path in results):
        raise UserError(
            f"'{MARKER.parent}' holds the study '{held}', which '{name}' would replace; keep both "
            f"with --directory studies/{name}, where all results of '{name}' then go"
        )


def mark_study(name: str) -> None:
    """Note whose results results/ holds.

    Raises:
        UserError: nothing can be written there.
    """
    temporary = MARKER.with_name(f"{MARKER.name}.tmp")
    with refusals_explained(MARKER):
        MARKER.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(f"{name}\n", "utf-8")
            temporary.replace(MARKER)
        finally:
            temporary.unlink(missing_ok=True)


def use_environment_of(python: str) -> None:
    """Let jobs run in the environment that runs Snakemake, whether it is activated or not."""
    paths = [os.path.dirname(python), os.getenv("PATH", os.defpath)]
    os.environ["PATH"] = os.pathsep.join(paths)


def name_user() -> None:
    """Give a user whose number has no name, as in containers, one that libraries ask for."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # the latter since Python 3.13
        os.environ["LOGNAME"] = str(os.getuid())


def name_study(configfiles: Sequence[str]) -> None:
    """Tell jobs by which command the study runs, for advice on results that are damaged."""
    files = [f"--configfile={os.path.relpath(path)}" for path in configfiles]
    os.environ[manifests.COMMAND] = shlex.join(["snakemake", "--cores", "1", *files])


def configure_tracking(study: Mapping[str, Any], folder: str) -> None:
    """Tell jobs how to track by the environment, where it makes no rule run again.

    Args:
        study: the configuration.
        folder: of the records, which wandb puts into a folder of its own there.

    Raises:
        UserError: WANDB_MODE is set to none of its values.
    """
    settings = {
        "WANDB_MODE": study["tracking"]["mode"],
        "WANDB_PROJECT": study["tracking"]["project"],
        "WANDB_RUN_GROUP": study["study"],
        "WANDB_DIR": folder,
    }
    os.environ.update({**settings, **os.environ})
    config.tracking_mode()
