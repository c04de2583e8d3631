"""Flags from the schema, one per key of a section; settings from flags; flags of the analysis."""

import argparse
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from lib.command.cli import Parser, mapping, threads
from lib.command.console import UserError
from lib.study.config import check_section
from lib.study.runs import named_in
from lib.study.schema import options_of, resolved, section, word

TYPES: dict[str, Callable[[str], Any]] = {"integer": int, "number": float, "string": str}


class Runs(argparse.Action):
    """Folders of runs, each once, from paths in which keys may have several values."""

    def __call__(self, parser: Any, options: Any, paths: Any, flag: str | None = None) -> None:
        """Set the folders."""
        folders = (folder for path in paths for folder in named_in(path))
        setattr(options, self.dest, list(dict.fromkeys(folders)))


def add_flags(
    parser: argparse._ActionsContainer,
    name: str,
    keys: Collection[str] | None = None,
    without: Collection[str] = (),
) -> None:
    """Add one flag per key of a section, with the schema's type, default and description.

    A key that is a list, or lists by name, has a flag for the list and one for each name.

    Args:
        parser: of a command line, or a group of it.
        name: of the section.
        keys: of the section, where not all are meant.
        without: these.
    """
    required = section(name).get("required", ())
    for key, option in options_of(name).items():
        if (keys is None or key in keys) and key not in without:
            named = _named_lists(key, option)
            for flag, meant in {key: option, **named}.items():
                parser.add_argument(
                    f"--{flag.replace('_', '-')}",
                    default=_default(meant),
                    required=flag in required and not named,
                    help=meant["description"].replace("%", "%%"),
                    **_parsing(flag, meant),
                )


def _default(option: Mapping[str, Any]) -> Any:
    """The default of a flag, as argparse reads it: a list as it is, else a word."""
    default = option.get("default")
    return default if default is None or isinstance(default, list) else word(default)


def _named_lists(key: str, option: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The flags of the lists by name that a key may be, each with its part of the schema."""
    if option.get("type") != ["array", "object"]:
        return {}
    names = {name: resolved(part) for name, part in option["properties"].items()}
    return {f"{key}_{name}": part | {"type": "array"} for name, part in names.items()}


def _parsing(key: str, option: Mapping[str, Any]) -> dict[str, Any]:
    """How argparse reads the flag of a key."""
    kind = option.get("type")
    choices = [True, False] if kind == "boolean" else option.get("enum")
    if choices:
        names = ",".join(map(word, choices))
        return {"type": _scalar, "choices": choices, "metavar": f"{{{names}}}"}
    if kind == "object":
        digests = "pattern" in option["additionalProperties"]
        return {"type": _digest if digests else mapping, "nargs": "+", "metavar": "KEY=VALUE"}
    parsing: dict[str, Any] = {"metavar": key.rpartition("_")[2].upper()}
    if kind in ("array", ["array", "object"]):
        kind = option["items"].get("type", "string")
        count = option.get("maxItems")
        parsing["nargs"] = count if count and count == option.get("minItems") else "+"
        return parsing | {"type": TYPES.get(kind, str) if isinstance(kind, str) else str}
    return parsing | {"type": TYPES.get(kind, _scalar) if isinstance(kind, str) else _scalar}


def _scalar(text: str) -> bool | float | str:
    """A flag that may be a truth value, a number or a word."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.isdecimal():
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


def _digest(text: str) -> tuple[str, str]:
    """A flag that names a file, which may hold `=` itself, and its digest."""
    file, _, digest = text.rpartition("=")
    return file, digest


def pop_settings(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Take the settings of a section out of parsed flags, those that have flags, checked.

    Raises:
        UserError: a setting holds what it may not, or settings contradict one another.
    """
    flags = vars(options)
    settings = {}
    for key, option in options_of(name).items():
        value = flags.pop(key, None)
        named = {flag: flags.pop(flag, None) for flag in _named_lists(key, option)}
        lists = {flag.removeprefix(f"{key}_"): each for flag, each in named.items() if each}
        if value is not None and lists:
            raise UserError(f"--{key} and --{key}-{next(iter(lists))} are two forms; give one")
        if lists:
            value = lists
        elif option.get("type") == "object" and value is not None:
            value = dict(value)
        if value is not None:
            settings[key] = value
    complete = {**settings}
    check_section(name, complete)
    return settings


# Flags that several commands of the analysis share.
SHARED: dict[str, dict[str, Any]] = {
    "--table": {"required": True, "type": Path, "help": "table runs of collect.py"},
    "--runs": {
        "required": True,
        "nargs": "+",
        "action": Runs,
        "help": "folders of the runs; seed=1,2 in a path names two",
    },
    "--baselines": {"nargs": "*", "default": [], "type": Path, "help": "folders of baselines"},
    "--samples": {
        "nargs": "*",
        "default": [],
        "type": Path,
        "help": "folders of baselines on samples of the training reviews",
    },
    "--reviews": {"required": True, "type": Path, "help": "the test split"},
    "--tokens": {
        "required": True,
        "nargs": "+",
        "type": Path,
        "help": "the tokenized test splits, in folders such as model=bert",
    },
    "--noun": {"default": "texts", "help": "what the dataset calls its texts, in the plural"},
    "--threads": {"type": threads, "default": 1, "help": "CPU threads of the encoders"},
    "--out": {"required": True, "type": Path, "help": "folder of the tables"},
}


def add_shared_flags(parser: Parser, *names: str) -> None:
    """Add some of the flags that commands of the analysis share."""
    for name in names:
        parser.add_argument(name, **SHARED[name])
