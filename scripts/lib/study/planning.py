"""What the Snakefile asks before any job runs: flags, targets, and the code that decides results.

Plain Python, so that it is linted and tested; the rules and their input functions are in
workflow/rules/.
"""

import getpass
import os
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.command.cli import MAX_COUNT, MAX_SEED
from lib.command.console import UserError, refusals_explained
from lib.files import manifests
from lib.study import config, schema
from lib.study.runs import COUNT, KEYS, SEED

SCRIPTS = Path(__file__).parents[2]
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
    for key, value in sorted(settings.items()):
        values = value if isinstance(value, list) else [value]
        if isinstance(value, dict):
            values = [f"{name}={item}" for name, item in sorted(value.items())]
        if values:
            words += [f"--{key.replace('_', '-')}", *map(schema.word, values)]
    return shlex.join(words)


def check_target(target: str, study: Mapping[str, Any]) -> None:
    """Refuse a result that the configuration does not know, and say what it knows.

    Raises:
        UserError: a key in the path of the target is none of the configuration's.
    """
    parts = Path(target).parts
    if parts[:1] != ("results",):
        return
    named = [part.partition("=")[0] for part in parts[2:]]
    if parts[1:2] == ("runs",) and (tuple(named[:-1]) != KEYS or "=" in parts[-1]):
        raise UserError(
            f"'{target}' is no file of a run; name one, such as "
            f"results/runs/{'/'.join(f'{key}=...' for key in KEYS)}/test.json"
        )
    keys = dict(part.split("=", 1) for part in parts if "=" in part)
    allowed = {
        "dataset": [study["dataset"]["name"]],
        "model": list(study["models"]),
        "pooling": schema.poolings(),
        "variant": list(study["variants"]),
    }
    for key, names in allowed.items():
        if keys.get(key, names[0]) not in names:
            hint = schema.did_you_mean(keys[key], names)
            raise UserError(
                f"'{target}': unknown {key} '{keys[key]}'; allowed: {', '.join(names)}{hint}"
            )
    counts = (("batch", COUNT, 1, MAX_COUNT), ("examples", COUNT, 1, MAX_COUNT))
    for key, pattern, least, most in (*counts, ("seed", SEED, 0, MAX_SEED)):
        number = keys.get(key, "1")
        if not re.fullmatch(pattern, number) or len(number) > 10 or int(number) > most:
            raise UserError(
                f"'{target}': {key} is '{number}'; allowed: a whole number from {least} to {most}, "
                "without zeros before it"
            )
    if "model" in keys and (lack := config.lack_of(study, keys["model"], keys.get("pooling", ""))):
        raise UserError(f"'{target}': model '{keys['model']}' {lack}; take another pooling")


def check_made(target: str, rules: Collection[Any], figures: Iterable[str]) -> None:
    """Refuse a target that no rule makes, once all rules are known.

    Args:
        target: the name of a rule, or a path.
        rules: those of Snakemake's workflow.
        figures: their files, which can be meant as well as the files that rules name.

    Raises:
        UserError: the message names what may have been meant.
    """
    path = os.path.normpath(target)
    if any(rule.name == target or rule.is_producer(path) for rule in rules):
        return
    files = (str(file) for rule in rules for file in rule.output)
    known = [*(rule.name for rule in rules), *(file for file in files if "{" not in file), *figures]
    hint = schema.did_you_mean(target, known) or "; docs/results.md lists the files of a study"
    raise UserError(f"no rule makes '{target}'{hint}")


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
