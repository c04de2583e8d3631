"""The configuration of a study: its schema, its checks and the runs that its grid names.

Light to import, because the Snakefile and every --help use it.
"""

import argparse
import itertools
import json
import math
import re
from collections.abc import Collection, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import best_match

from lib.cli import UserError
from lib.runs import Run

SCHEMA = Path(__file__).parents[2] / "workflow" / "schemas" / "config.schema.yaml"

# Families of transformers (config.model_type) whose base model ends in a pooler.
WITH_POOLER = (
    *("albert", "bert", "big_bird", "camembert", "canine", "data2vec-text", "ernie", "fnet"),
    *("ibert", "layoutlm", "longformer", "luke", "megatron-bert", "mobilebert", "mpnet", "mra"),
    *("rembert", "roberta", "roberta-prelayernorm", "squeezebert", "xlm-roberta"),
    *("xlm-roberta-xl", "xmod"),
)
# Words in the names of hub repositories that tell of an encoder without one.
WITHOUT_POOLER = ("modernbert", "ettin", "distilbert", "electra", "deberta", "xlnet", "convbert")

# Keys of `training` on which a test depends as well.
TEST_KEYS = ("eval_batch", "device", "precision", "deterministic", "threads")

# Keys of `training` that decide what is learned, but for rounding.
LEARNING_KEYS = {
    *("optimizer", "learning_rate", "weight_decay", "scheduler", "warmup", "lr_scaling"),
    *("lr_scaling_base", "epochs", "dropout"),
}


def load_schema() -> dict[str, Any]:
    """The schema of the configuration, as a dictionary."""
    return yaml.safe_load(SCHEMA.read_text("utf-8"))


def check(config: dict[str, Any]) -> None:
    """Check a configuration and fill in its defaults, in place.

    Raises:
        UserError: a key is unknown, missing or holds what it may not; the message names it.
    """
    for section in ("training", "variants"):
        if isinstance(config.get(section), dict):
            config[section] = read_floats(config[section])
    _validate(config, load_schema())
    _check_training(config)
    _check_models(config)
    _check_dataset(config)
    _check_grid(config)
    _check_analysis(config)


def runs(config: dict[str, Any]) -> list[Run]:
    """The runs of the grid: the union of its blocks, in order and without repeats."""
    study = {}
    for block in config["grid"]:
        keys = (block[key] for key in ("model", "pooling", "batch", "variant", "seed"))
        for combination in itertools.product(*keys):
            study[Run(config["dataset"]["name"], *combination)] = None
    return list(study)


def training(config: dict[str, Any], variant: str) -> dict[str, Any]:
    """The training settings of a variant: `training` with the variant's overrides."""
    return config["training"] | config["variants"][variant]


def add_training_flags(
    parser: argparse.ArgumentParser, keys: Collection[str] | None = None
) -> None:
    """Add one flag per key of `training`, with the schema's type, default and description."""
    schema = load_schema()
    types = {"integer": int, "number": float}
    for key, reference in schema["properties"]["training"]["properties"].items():
        if keys is not None and key not in keys:
            continue
        option = schema["$defs"]["training"][key]
        choices = [True, False] if option.get("type") == "boolean" else option.get("enum")
        name = (
            ",".join(map(word, choices)).join("{}") if choices else key.rpartition("_")[2].upper()
        )
        parser.add_argument(
            f"--{key.replace('_', '-')}",
            default=word(reference["default"]),
            type=types.get(option.get("type"), _scalar),
            choices=choices,
            metavar=name,
            help=option["description"].replace("%", "%%"),
        )


def _scalar(text: str) -> bool | int | str:
    """A flag that may be a truth value, a number or a word."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return int(text) if text.isdecimal() else text


def word(value: Any) -> str:
    """A value as YAML and the command line write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def training_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The training settings among parsed flags, checked, and the defaults of all others."""
    schema = load_schema()
    section = schema["properties"]["training"]
    settings = {key: value for key, value in vars(options).items() if key in section["properties"]}
    _validate(settings, section | {"$defs": schema["$defs"]})
    _check_settings(settings, "training")
    return settings


def has_pooler(model: dict[str, Any]) -> bool:
    """Whether an encoder can offer the pooling `pooler`, as far as its configuration tells.

    A hub encoder is known by the words of its name alone until it has been downloaded.
    """
    if model["source"] == "hub":
        name = model["id"].rpartition("/")[2].lower()
        return set(re.split(r"[-_.]", name)).isdisjoint(WITHOUT_POOLER)
    if model["source"] == "folder":
        return _folder_config(model).get("model_type") in WITH_POOLER
    return model["architecture"] in WITH_POOLER


def read_floats(value: Any) -> Any:
    """Numbers such as `5e-5`, which YAML 1.1 reads as strings, as floats."""
    if isinstance(value, dict):
        return {key: read_floats(item) for key, item in value.items()}
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


def _validate(instance: dict[str, Any], schema: dict[str, Any]) -> None:
    error = best_match(_DefaultsValidator(schema).iter_errors(instance))
    if error is not None:
        raise UserError(_describe(error))


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


def _describe(error: ValidationError) -> str:
    """One line for a schema error: the key, what it holds, what is allowed."""
    key = _key(error.absolute_path)
    where = f"config key '{key}'" if key else "config"
    if error.validator == "additionalProperties":
        allowed = sorted(error.schema["properties"])
        unknown = sorted(str(name) for name in error.instance if name not in allowed)
        return f"{where} has unknown keys: {', '.join(unknown)}; allowed: {', '.join(allowed)}"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"config key '{_key([*error.absolute_path, missing])}' is missing"
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


def _check_training(config: dict[str, Any]) -> None:
    for variant in config["variants"]:
        _check_settings(training(config, variant), f"variants.{variant}")


def _check_settings(settings: dict[str, Any], where: str) -> None:
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


def _folder_config(model: dict[str, Any], where: str = "config key 'models") -> dict[str, Any]:
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
    for path in config["dataset"].get("paths", []):
        if not Path(path).is_file():
            raise UserError(
                f"config key 'dataset.paths' names '{path}', which is not a file; "
                f"paths are relative to {Path.cwd()}"
            )


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
                    "allowed: cls, mean, masked-mean, max"
                )


def _check_analysis(config: dict[str, Any]) -> None:
    path = config["analysis"].get("published")
    if path and not Path(path).is_file():
        raise UserError(
            f"config key 'analysis.published' is '{path}', which is not a file; paths are relative "
            f"to {Path.cwd()}"
        )
