"""The schema of the configuration: its sections, and values checked against them.

Light to import, because the Snakefile and every --help use it.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import best_match

from lib.command.console import UserError

COMPARISONS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
SHOWN = 100  # characters of a value in an error
SCHEMA = Path(__file__).parents[3] / "workflow" / "schemas" / "config.schema.yaml"


@cache
def schema() -> dict[str, Any]:
    """The schema of the configuration; not to be changed."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the fast one, where PyYAML has it
    return yaml.load(SCHEMA.read_text("utf-8"), loader)


def section(name: str) -> dict[str, Any]:
    """A section of the schema, such as `training` or `dataset_hub`, with what it refers to."""
    found = schema()["properties"].get(name) or schema()["$defs"][name]
    return found | {"$defs": schema()["$defs"]}


def resolved(option: Mapping[str, Any]) -> dict[str, Any]:
    """A part of the schema with what it refers to."""
    return schema()["$defs"].get(option.get("$ref", "").rpartition("/")[2], {}) | option


def options_of(name: str) -> dict[str, dict[str, Any]]:
    """The keys of a section that are free to choose, each with its part of the schema."""
    options = {key: resolved(option) for key, option in section(name)["properties"].items()}
    return {key: option for key, option in options.items() if "const" not in option}


def sources(kind: str) -> dict[str, str]:
    """The sources of datasets or models, and what each is.

    Args:
        kind: `dataset` or `model`.
    """
    prefix = f"{kind}_"
    definitions = schema()["$defs"].items()
    return {
        name.removeprefix(prefix): definition["description"]
        for name, definition in definitions
        if name.startswith(prefix)
    }


def poolings() -> list[str]:
    """The names of the poolings."""
    return schema()["properties"]["grid"]["items"]["properties"]["pooling"]["items"]["enum"]


def keys_that(mark: str) -> list[str]:
    """The keys of `training` that the schema marks, as `learned` or `tested`."""
    return [key for key, option in options_of("training").items() if option[mark]]


def word(value: Any) -> str:
    """A value as YAML and the command line write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def typed(value: Any, option: Mapping[str, Any]) -> Any:
    """A value as the schema means it, where it came as a text that it does not allow.

    So come nested values of `--config`, which Snakemake leaves as texts, and numbers such as
    `5e-5`, which are texts in YAML 1.1.

    Args:
        value: a value of the configuration, or a part of it.
        option: its part of the schema.
    """
    option = resolved(option)
    if isinstance(value, dict):
        known, others = option.get("properties", {}), option.get("additionalProperties")
        others = others if isinstance(others, dict) else {}
        return {key: typed(item, known.get(key, others)) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item, option.get("items", {})) for item in value]
    rule = option | {"$defs": schema()["$defs"]}
    if not isinstance(value, str) or _DefaultsValidator(rule).is_valid(value):
        return value
    kind = {key: option[key] for key in ("type", "enum") if key in option}
    meant = _scalar(value)
    return meant if _DefaultsValidator(kind).is_valid(meant) else value


def _scalar(text: str) -> Any:
    """A text as the number or truth value that it writes, else as it is."""
    if re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", text):
        return float(text)
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text
    return value if isinstance(value, bool | int | float) else text


def validate(instance: dict[str, Any], schema: Mapping[str, Any], where: str = "") -> None:
    """Check a part of a configuration and fill in its defaults, in place.

    Args:
        instance: the part.
        schema: what it is checked against.
        where: key of the part, for errors.

    Raises:
        UserError: a key is unknown, missing or holds what it may not; the message names it.
    """
    error = best_match(_DefaultsValidator(schema).iter_errors(instance))
    if error is not None:
        raise UserError(_describe(error, where))


def _set_defaults(
    validator: Any, properties: dict[str, Any], instance: Any, schema: dict[str, Any]
) -> Iterator[ValidationError]:
    """The keyword `properties` of JSON Schema, which fills in defaults before it checks."""
    if isinstance(instance, dict):
        for key, subschema in properties.items():
            if "default" in subschema:
                instance.setdefault(key, deepcopy(subschema["default"]))
    yield from Draft202012Validator.VALIDATORS["properties"](
        validator, properties, instance, schema
    )


def _is_finite(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


_TYPES = Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: type(value) is int,  # neither 2.0 nor true
        "number": lambda _, value: type(value) is int or _is_finite(value),
    }
)
_DefaultsValidator = validators.extend(
    Draft202012Validator, {"properties": _set_defaults}, type_checker=_TYPES
)


def _describe(error: ValidationError, section: str) -> str:
    """One line for a schema error: the key, what it holds, what is allowed."""
    path = [*filter(None, [section]), *error.absolute_path]
    key = _key(path)
    where = f"config key '{key}'" if key else "config"
    if "propertyNames" in error.absolute_schema_path:
        where = f"a name in {where}"
    value, rule = error.instance, error.validator_value
    held = f"{where} is {shown(value)}; allowed: "
    match error.validator:
        case "additionalProperties":
            return f"{where} has {_unknown(value, sorted(error.schema['properties']))}"
        case "required":
            missing = next(name for name in rule if name not in value)
            return f"config key '{_key([*path, missing])}' is missing"
        case "enum":
            return held + ", ".join(map(word, rule)) + did_you_mean(value, map(word, rule))
        case "pattern":
            return held + error.schema.get("description", rule)
        case "maxLength":
            return f"{where} has {len(value)} characters; allowed: at most {rule}"
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            return f"{held}{COMPARISONS[error.validator]} {rule}"
        case "minItems" | "minProperties":
            return f"{where} has {len(value)} entries; allowed: at least {rule}"
        case "maxItems":
            return f"{where} has {len(value)} entries; allowed: at most {rule}"
        case "uniqueItems":
            twice = next(item for item in value if value.count(item) > 1)
            return f"{where} names {shown(twice)} twice; name it once"
        case "type":
            types = rule if isinstance(rule, str) else " or ".join(rule)
            return f"{held}a value of type {types}"
        case "not":
            return f"{where} holds both of {', '.join(rule['required'])}; give one"
    return f"{where}: {' '.join(error.message.split())}"


def _unknown(given: Mapping[str, Any], known: list[str]) -> str:
    """Which keys are none, what was meant perhaps, and which there are."""
    unknown = sorted(str(name) for name in given if name not in known)
    hint = "".join(dict.fromkeys(did_you_mean(name, known) for name in unknown))
    return f"unknown keys: {', '.join(unknown)}; allowed: {', '.join(known)}{hint}"


def did_you_mean(word: Any, known: Iterable[str]) -> str:
    """A guess at what was meant, to end an error with; empty where nothing comes close."""
    names = {name.lower(): name for name in known}
    close = get_close_matches(str(word).lower(), names, n=1)
    close = close or [name for name in names if str(word).lower() in name.split("-")]
    return f"; did you mean {' or '.join(repr(names[name]) for name in close)}?" if close else ""


def shown(value: Any) -> str:
    """A value as an error shows it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of too many digits
        text = hex(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _key(path: Any) -> str:
    """A path into the configuration as `grid[0].model[1]`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).lstrip(".")
