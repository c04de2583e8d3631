"""The configuration of a study: its checks, and the runs that its grid names.

Light to import, because the Snakefile uses it.
"""

import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lib.console import UserError
from lib.runs import Run
from lib.schema import poolings, schema, section, validate

ROOT = Path(__file__).parents[2]

# Words in the names of hub repositories that tell of an encoder without a pooler.
WITHOUT_POOLER = ("modernbert", "ettin", "distilbert", "electra", "deberta", "xlnet", "convbert")


def check(config: dict[str, Any]) -> None:
    """Check a configuration, fill in its defaults and find its files, in place.

    Raises:
        UserError: a key is unknown, missing or holds what it may not; the message names it.
    """
    for name in ("training", "variants"):
        if isinstance(config.get(name), dict):
            config[name] = read_floats(config[name])
    validate(config, schema())
    for key, kind, chosen in _sources(config):
        validate(chosen, section(f"{kind}_{chosen['source']}"), key)
    for variant, changes in config["variants"].items():
        check_training(training(config, variant), f"variants.{variant}" if changes else "training")
    _check_models(config)
    _check_dataset(config)
    _check_grid(config)
    _check_analysis(config)


def _sources(config: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What is chosen from one of several sources: its key, its kind, and its part."""
    yield "dataset", "dataset", config["dataset"]
    for name, model in config["models"].items():
        yield f"models.{name}", "model", model


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


def read_floats(value: Any) -> Any:
    """Numbers such as `5e-5`, which YAML 1.1 reads as strings, as floats."""
    if isinstance(value, dict):
        return {key: read_floats(item) for key, item in value.items()}
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


def has_pooler(model: Mapping[str, Any]) -> bool:
    """Whether an encoder can offer the pooling `pooler`, as far as can be told without a network.

    A folder is known by the weights that it holds, a hub encoder by the words of its name alone
    until it has been downloaded.
    """
    if model["source"] == "hub":
        name = model["id"].rpartition("/")[2].lower()
        return set(re.split(r"[-_.]", name)).isdisjoint(WITHOUT_POOLER)
    if model["source"] == "folder":
        names = set().union(*map(_names_of_weights, Path(model["path"]).glob("*.safetensors")))
        poolers = [name.partition("pooler.")[0] for name in names if "pooler." in name]
        beside = (name.startswith(f"{each}embeddings.") for each in poolers for name in names)
        return not names or any(beside)  # that of a task's head does not count
    return model["architecture"] == "bert"


def _names_of_weights(path: Path) -> set[str]:
    """The names in the header of a safetensors file; none if it is damaged.

    See https://huggingface.co/docs/safetensors for the format: a length in 8 bytes, then JSON.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(size) if size < path.stat().st_size else b""
    try:
        return set(json.loads(header))
    except ValueError:  # the rule `encoder` says what is wrong with it
        return set()


def locate(path: str) -> str:
    """A path of the configuration: relative to the working directory, else to the workflow."""
    return path if os.path.exists(path) else os.path.relpath(ROOT / path)


def check_training(settings: dict[str, Any], where: str) -> None:
    """Check training settings, alone and against one another, and fill in their defaults.

    Raises:
        UserError: a setting holds what it may not; the message names it after `where`.
    """
    validate(settings, section("training"), where)
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
        for key, known in (("model", "models"), ("variant", "variants")):
            for name in block[key]:
                if name not in config[known]:
                    raise UserError(
                        f"{where}.{key}' names '{name}', which is not in {known}; "
                        f"allowed: {', '.join(config[known])}"
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
