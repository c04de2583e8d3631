"""The configuration of a study: its schema, its checks and the runs that its grid names.

Light to import, because the Snakefile and every --help use it.
"""

import argparse
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import best_match

from lib.cli import mapping
from lib.console import UserError
from lib.runs import Run

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"

# Words in the names of hub repositories that tell of an encoder without a pooler.
WITHOUT_POOLER = ("modernbert", "ettin", "distilbert", "electra", "deberta", "xlnet", "convbert")


@cache
def schema() -> dict[str, Any]:
    """The schema of the configuration; not to be changed."""
    return yaml.safe_load(SCHEMA.read_text("utf-8"))


def section(name: str) -> dict[str, Any]:
    """A section of the schema, such as `training` or `dataset_hub`, with what it refers to."""
    found = schema()["properties"].get(name) or schema()["$defs"][name]
    return found | {"$defs": schema()["$defs"]}


def options_of(name: str) -> dict[str, dict[str, Any]]:
    """The keys of a section that are free to choose, each with its part of the schema."""
    defs = schema()["$defs"]
    resolved = {
        key: defs.get(option.get("$ref", "").rpartition("/")[2], {}) | option
        for key, option in section(name)["properties"].items()
    }
    return {key: option for key, option in resolved.items() if "const" not in option}


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


def check(config: dict[str, Any]) -> None:
    """Check a configuration, fill in its defaults and find its files, in place.

    Raises:
        UserError: a key is unknown, missing or holds what it may not; the message names it.
    """
    for name in ("training", "variants"):
        if isinstance(config.get(name), dict):
            config[name] = read_floats(config[name])
    _validate(config, schema())
    for variant in config["variants"]:
        _check_training(training(config, variant), f"variants.{variant}")
    _check_models(config)
    _check_dataset(config)
    _check_grid(config)
    _check_analysis(config)


def runs(config: Mapping[str, Any]) -> list[Run]:
    """The runs of the grid: the union of its blocks, in order and without repeats."""
    study: dict[Run, None] = {}
    for block in config["grid"]:
        keys = (block[key] for key in ("model", "pooling", "batch", "variant", "seed"))
        for combination in itertools.product(*keys):
            study[Run(config["dataset"]["name"], *combination)] = None
    return list(study)


def training(config: Mapping[str, Any], variant: str) -> dict[str, Any]:
    """The training settings of a variant: `training` with the variant's overrides."""
    return config["training"] | config["variants"][variant]


def add_flags(
    parser: argparse._ActionsContainer,
    name: str,
    keys: Collection[str] | None = None,
    without: Collection[str] = (),
) -> None:
    """Add one flag per key of a section, with the schema's type, default and description.

    Args:
        parser: of a command line, or a group of it.
        name: of the section.
        keys: of the section, where not all are meant.
        without: these.
    """
    required = section(name).get("required", ())
    for key, option in options_of(name).items():
        if (keys is None or key in keys) and key not in without:
            parser.add_argument(
                f"--{key.replace('_', '-')}",
                default=word(option["default"]) if "default" in option else None,
                required=key in required,
                help=option["description"].replace("%", "%%"),
                **_parsing(key, option),
            )


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
    if kind == "array":
        return parsing | {"nargs": "+"}
    types: dict[Any, Callable[[str], Any]] = {"integer": int, "number": float, "string": str}
    return parsing | {"type": types.get(kind, _scalar) if isinstance(kind, str) else _scalar}


def _scalar(text: str) -> bool | int | str:
    """A flag that may be a truth value, a number or a word."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return int(text) if text.isdecimal() else text


def _digest(text: str) -> tuple[str, str]:
    """A flag that names a file, which may hold `=` itself, and its digest."""
    file, _, digest = text.rpartition("=")
    return file, digest


def word(value: Any) -> str:
    """A value as YAML and the command line write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def pop_settings(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Take the settings of a section out of parsed flags; checked, and with all defaults.

    Raises:
        UserError: a setting holds what it may not, or settings contradict one another.
    """
    flags = vars(options)
    found = {key: flags.pop(key) for key in options_of(name) if key in flags}
    settings = {key: value for key, value in found.items() if value is not None}
    for key, option in options_of(name).items():
        if option.get("type") == "object" and key in settings:
            settings[key] = dict(settings[key])
    _validate(settings, section(name))
    if name == "training":
        _check_training(settings, name)
    return settings


def has_pooler(model: Mapping[str, Any]) -> bool:
    """Whether an encoder can offer the pooling `pooler`, as far as can be told without a network.

    A folder is known by the weights that it holds, a hub encoder by the words of its name alone
    until it has been downloaded.
    """
    if model["source"] == "hub":
        name = model["id"].rpartition("/")[2].lower()
        return set(re.split(r"[-_.]", name)).isdisjoint(WITHOUT_POOLER)
    if model["source"] == "folder":
        return any("pooler." in name for name in _names_of_weights(Path(model["path"])))
    return model["architecture"] == "bert"


def _names_of_weights(folder: Path) -> Iterator[str]:
    from safetensors import SafetensorError, safe_open

    for path in folder.glob("*.safetensors"):
        try:
            with safe_open(path, framework="numpy") as weights:
                yield from weights.keys()
        except (OSError, SafetensorError):
            continue  # the rule `encoder` says what is wrong with it


def locate(path: str) -> str:
    """A path of the configuration: relative to the working directory, else to the workflow."""
    return path if os.path.exists(path) else os.path.relpath(ROOT / path)


def read_floats(value: Any) -> Any:
    """Numbers such as `5e-5`, which YAML 1.1 reads as strings, as floats."""
    if isinstance(value, dict):
        return {key: read_floats(item) for key, item in value.items()}
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


def _validate(instance: dict[str, Any], schema: Mapping[str, Any], where: str = "") -> None:
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


_TYPES = Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: type(value) is int,  # neither 2.0 nor true
        "number": lambda _, value: type(value) in (int, float) and math.isfinite(value),
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
    if error.validator == "additionalProperties":
        known = sorted(error.schema["properties"])
        unknown = sorted(str(name) for name in error.instance if name not in known)
        return f"{where} has unknown keys: {', '.join(unknown)}; allowed: {', '.join(known)}"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"config key '{_key([*path, missing])}' is missing"
    if error.validator == "enum":
        allowed = ", ".join(map(word, error.validator_value))
        return f"{where} is {error.instance!r}; allowed: {allowed}"
    if error.validator == "pattern":
        allowed = error.schema.get("description", error.validator_value)
        return f"{where} is {error.instance!r}; allowed: {allowed}"
    if error.validator in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        comparison = {
            "minimum": "at least",
            "exclusiveMinimum": "more than",
            "maximum": "at most",
            "exclusiveMaximum": "less than",
        }[error.validator]
        return f"{where} is {error.instance}; allowed: {comparison} {error.validator_value}"
    if error.validator == "type":
        types = error.validator_value
        allowed = types if isinstance(types, str) else " or ".join(types)
        return f"{where} is {error.instance!r}; allowed: a value of type {allowed}"
    if error.validator == "not":
        return f"{where} holds both of {', '.join(error.validator_value['required'])}; give one"
    return f"{where}: {' '.join(error.message.split())}"


def _key(path: Any) -> str:
    """A path into the configuration as `grid[0].model[1]`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).lstrip(".")


def _check_training(settings: dict[str, Any], where: str) -> None:
    _validate(settings, section("training"), where)
    if settings["optimizer"] == "adam" and settings["weight_decay"]:
        raise UserError(
            f"config key '{where}': weight_decay is {settings['weight_decay']} with optimizer "
            "adam; allowed: 0, or optimizer adamw"
        )
    if settings["processes"] > 1 and settings["backend"] == "torch":
        raise UserError(
            f"config key '{where}': processes is {settings['processes']} with backend torch; "
            "allowed: 1, or backend accelerate"
        )
    if settings["processes"] > 1 and settings["device"] == "mps":
        raise UserError(
            f"config key '{where}': processes is {settings['processes']} on device mps; allowed: 1"
        )


def _check_models(config: dict[str, Any]) -> None:
    for name, model in config["models"].items():
        where = f"config key 'models.{name}"
        if model["source"] == "scratch":
            if model["hidden_size"] % model["num_attention_heads"]:
                raise UserError(
                    f"{where}.num_attention_heads' is {model['num_attention_heads']}; allowed: "
                    f"a divisor of hidden_size {model['hidden_size']}"
                )
            if model["architecture"] == "modernbert" and _head_width(model) % 2:
                raise UserError(
                    f"{where}.hidden_size' is {model['hidden_size']} for "
                    f"{model['num_attention_heads']} heads; allowed: an even width per head, "
                    "which rotary positions need"
                )
            positions = model["max_position_embeddings"]
        elif model["source"] == "folder":
            positions = _folder_config(model, where).get("max_position_embeddings")
        else:
            positions = None
        if positions is not None and config["max_length"] > positions:
            raise UserError(
                f"config key 'max_length' is {config['max_length']}; allowed: at most {positions}, "
                f"the positions of model '{name}'"
            )


def _head_width(model: dict[str, Any]) -> int:
    return model["hidden_size"] // model["num_attention_heads"]


def _folder_config(model: dict[str, Any], where: str) -> dict[str, Any]:
    model["path"] = locate(model["path"])
    path = Path(model["path"]) / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        config = None
    kinds = {"model_type": str, "max_position_embeddings": int}
    if not isinstance(config, dict) or not all(
        isinstance(config.get(key, kind()), kind) for key, kind in kinds.items()
    ):
        raise UserError(
            f"{where}.path' is '{model['path']}', where config.json can't be read; "
            "allowed: a folder written by save_pretrained"
        )
    return config


def _check_dataset(config: dict[str, Any]) -> None:
    dataset = config["dataset"]
    digests = dataset.get("sha256", {})
    for index, path in enumerate(dataset.get("paths", [])):
        found = _located(path, f"dataset.paths[{index}]")
        dataset["paths"][index] = found
        if path in digests:
            digests[found] = digests.pop(path)


def _check_grid(config: dict[str, Any]) -> None:
    for index, block in enumerate(config["grid"]):
        where = f"config key 'grid[{index}]"
        for key, section in (("model", "models"), ("variant", "variants")):
            for name in block[key]:
                if name not in config[section]:
                    raise UserError(
                        f"{where}.{key}' names '{name}', which is not in {section}; "
                        f"allowed: {', '.join(config[section])}"
                    )
        for name in block["model"] if "pooler" in block["pooling"] else []:
            if not has_pooler(config["models"][name]):
                raise UserError(
                    f"{where}.pooling' holds 'pooler', but model '{name}' has no pooler; "
                    f"allowed: {', '.join(name for name in poolings() if name != 'pooler')}"
                )


def _check_analysis(config: dict[str, Any]) -> None:
    path = config["analysis"].get("published")
    if path:
        config["analysis"]["published"] = _located(path, "analysis.published")


def _located(path: str, key: str) -> str:
    found = locate(path)
    if not os.path.isfile(found):
        raise UserError(
            f"config key '{key}' is '{path}', which is not a file; paths are relative to "
            f"{Path.cwd()}, or to {ROOT}"
        )
    return found
