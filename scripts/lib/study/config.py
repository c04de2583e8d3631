"""The configuration of a study: its checks, and the runs that its grid names.

Light to import, because the Snakefile uses it.
"""

import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lib.command.console import UserError
from lib.study.runs import Run
from lib.study.schema import (
    did_you_mean,
    keys_that,
    poolings,
    schema,
    section,
    typed,
    validate,
    word,
)

ROOT = Path(__file__).parents[3]
PADDED_POOLINGS = ("padded-mean", "pooler")  # those that need padded passes
VECTORLESS_POOLINGS = ("head",)  # those whose layers are trained where the encoder is not
OF_READING = ("column", "group", "clean_test")  # keys of `split` that decide what is read and kept

CUT = ("max_length", "truncation")
OF_VECTORS = (*CUT, *keys_that("tested"))  # what vectors of texts depend on, to the last bit


def check(config: dict[str, Any]) -> None:
    """Check a configuration, fill in its defaults and find its files, in place.

    Raises:
        UserError: a key is unknown, missing or holds what it may not; the message names it.
    """
    config.update(typed(config, schema()))
    _share_length(config)
    validate(config, schema())
    for key, kind, chosen in _sources(config):
        part = f"{kind}_{chosen['source']}"
        chosen.update(typed(chosen, section(part)))
        check_section(part, chosen, key)
    for variant, changes in config["variants"].items():
        changes.update(typed(changes, section("training")))
        where = f"variants.{variant}" if changes else "training"
        settings = training(config, variant)
        check_section("training", settings, where)
        _check_examples(settings["examples"], config["split"], where)
    _check_models(config)
    check_division(config["dataset"], config["split"])
    _check_dataset(config)
    _check_grid(config)
    _check_lengths(config)
    _check_padding(config)
    _check_analysis(config)


def _share_length(config: dict[str, Any]) -> None:
    """Make the length of the study, where one is given, that of its trainings.

    Raises:
        UserError: these are given another.
    """
    length, settings = config.get("max_length"), config.get("training", {})
    if length is None or not isinstance(settings, dict):
        return
    own = settings.get("max_length", length)
    if own != length:
        raise UserError(
            f"config keys 'max_length' and 'training.max_length' are {length} and {own}; give one"
        )
    config["training"] = settings | {"max_length": length}


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


def vectors_of(config: Mapping[str, Any], variant: str) -> str:
    """The end of the folders of vectors that a variant learns from: how their texts are cut.

    Settings follow that it has of its own, so that variants share vectors where these are alike.
    """
    settings, common = training(config, variant), config["training"]
    own = (key for key in keys_that("tested") if settings[key] != common[key])
    return "/".join(f"{key}={word(settings[key])}" for key in (*CUT, *own))


def has_vectors(config: Mapping[str, Any], run: Run) -> bool:
    """Whether a run learns from vectors that are computed once, as its encoder is not trained."""
    has_weights = config["models"][run.model]["source"] != "scratch"
    frozen = training(config, run.variant)["freeze"] == "encoder"
    return frozen and not lack_of_vectors(run.pooling, has_weights)


def lack_of_vectors(pooling: str, has_weights: bool) -> str:
    """Why the vectors of an encoder that is not trained are not the same in all runs; or empty.

    Args:
        pooling: of its states.
        has_weights: whether it has any, or else random ones, which the seed of a run decides.
    """
    if pooling in VECTORLESS_POOLINGS:
        return f"pooling '{pooling}' is trained"
    return "" if has_weights else "its weights are random, others for each seed"


def lack_of(study: Mapping[str, Any], name: str, pooling: str) -> str:
    """Why a model of a study does not offer a pooling, as far as is known; or empty."""
    architecture = study["models"][name].get("architecture")  # of random weights alone
    if pooling == "pooler" and architecture == "modernbert":
        return "has no pooler"
    return _facts_of(study, name).get("lacks", {}).get(pooling, "")


def _facts_of(study: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What was found as a model was tried; nothing where that is to come, or was another model."""
    model, dataset = study["models"][name], study["dataset"]["name"]
    folder = Path(f"results/encoders/dataset={dataset}/model={name}")
    if not is_of(_read_object(folder / "source.json"), model):
        return {}
    if model["source"] == "folder":
        tried = (folder / "probe.json").stat().st_mtime if (folder / "probe.json").is_file() else 0
        if any(path.stat().st_mtime > tried for path in Path(model["path"]).iterdir()):
            return {}
    return _read_object(folder / "probe.json")


def is_of(told: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether results were made by the settings of a dataset or a model.

    Args:
        told: what reviews.json or source.json tells of the results.
        settings: a part of the configuration; digests and the noun decide nothing, and a name is
            in the path.
    """
    found = {**told, **told.get("settings", {})}
    asked = settings.keys() - {"name", "noun", "sha256"}
    return all(key in found and _words(found[key]) == _words(settings[key]) for key in asked)


def _words(value: Any) -> Any:
    """A value with its numbers as texts, since flags and YAML tell them in several forms."""
    if isinstance(value, Mapping):
        return {key: _words(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_words(item) for item in value]
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if is_whole else value)


def locate(path: str) -> str:
    """A path of the configuration: relative to the working directory, else to the workflow."""
    return path if os.path.exists(path) else os.path.relpath(ROOT / path)


def tracking_mode() -> str:
    """How to track runs, as WANDB_MODE says, which comes before the configuration.

    Raises:
        UserError: it says something else.
    """
    option = schema()["properties"]["tracking"]["properties"]["mode"]
    mode = os.environ.get("WANDB_MODE", option["default"])
    if mode not in option["enum"]:
        raise UserError(
            f"WANDB_MODE is '{mode}'; allowed: {', '.join(option['enum'])}, or unset it"
        )
    return mode


def check_section(name: str, part: dict[str, Any], where: str = "") -> None:
    """Check a part of a configuration, alone and against itself, and fill in its defaults.

    Args:
        name: section of the schema, such as `training` or `dataset_files`.
        part: what is given of it.
        where: key of the part, for errors.

    Raises:
        UserError: it holds what it may not; the message names the key.
    """
    validate(part, section(name), where)
    inside = f"config key '{where}." if where else "config key '"
    if name == "training":
        _check_training(part, f"config key '{where or name}'")
    elif name == "model_scratch":
        _check_sizes(part, inside)
    elif name.startswith("dataset_"):
        _check_columns(part, inside)
        _make_lists(part, section(name)["properties"])


def _check_training(settings: Mapping[str, Any], where: str) -> None:
    """Check training settings against one another."""
    if settings["optimizer"] == "adam" and settings["weight_decay"]:
        raise UserError(
            f"{where}: weight_decay is {settings['weight_decay']} with optimizer adam; allowed: 0, "
            "or optimizer adamw"
        )
    if settings["processes"] > 1 and settings["backend"] == "torch":
        raise UserError(
            f"{where}: processes is {settings['processes']} with backend torch; allowed: 1, or "
            "backend accelerate"
        )
    if settings["processes"] > 1 and settings["device"] == "mps":
        raise UserError(f"{where}: processes is {settings['processes']} on device mps; allowed: 1")


def _check_examples(examples: int | str, split: Mapping[str, Any], where: str) -> None:
    """Check that there are as many training reviews as are to be learned from."""
    largest = split.get("sizes", [math.inf])[0]
    if examples != "all" and int(examples) > largest:
        raise UserError(
            f"config key '{where}.examples' is {examples}; allowed: at most {largest}, the first "
            "of split.sizes, or all"
        )


def _check_sizes(model: Mapping[str, Any], where: str) -> None:
    """Check the sizes of a new encoder against one another."""
    width, remainder = divmod(model["hidden_size"], model["num_attention_heads"])
    if remainder:
        raise UserError(
            f"{where}num_attention_heads' is {model['num_attention_heads']}; allowed: "
            f"a divisor of hidden_size {model['hidden_size']}"
        )
    if model["architecture"] == "modernbert" and width % 2:
        raise UserError(
            f"{where}hidden_size' is {model['hidden_size']} for {model['num_attention_heads']} "
            "heads; allowed: an even width per head, which rotary positions need"
        )


def _check_columns(dataset: Mapping[str, Any], where: str) -> None:
    """Check the columns and the labels of a dataset."""
    if dataset["text_column"] == dataset["label_column"]:
        raise UserError(
            f"{where}label_column' is {dataset['label_column']!r}, as text_column is; name the "
            "column that holds the labels"
        )
    labels = list(map(str, dataset.get("labels", [])))
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise UserError(f"{where}labels' names '{twice[0]}' twice; name each class once")


def _make_lists(part: dict[str, Any], options: Mapping[str, Any]) -> None:
    """Make lists of what stands for each split of a given division, in their order."""
    for key in _by_split(part):
        given = part[key]
        order = (name for name in options[key]["properties"] if name in given)
        part[key] = {
            name: given[name] if isinstance(given[name], list) else [given[name]] for name in order
        }


def _by_split(dataset: Mapping[str, Any]) -> list[str]:
    """The keys of a dataset that give a division."""
    return [key for key in ("paths", "splits") if isinstance(dataset.get(key), Mapping)]


def check_division(dataset: Mapping[str, Any], split: Mapping[str, Any]) -> None:
    """Check a division that a dataset brings, and what else is asked for beside it.

    Args:
        dataset: that part of the configuration.
        split: likewise.

    Raises:
        UserError: it is given twice, or contradicts other settings.
    """
    keys = _by_split(dataset)
    for key in keys:
        every = [name for names in dataset[key].values() for name in names]
        twice = [name for name in every if every.count(name) > 1]
        if twice:
            raise UserError(
                f"config key 'dataset.{key}' names '{twice[0]}' for two splits; name it for one"
            )
    given = [f"dataset.{key}" for key in keys] + ["split.column"] * ("column" in split)
    if len(given) > 1:
        raise UserError(f"config keys '{given[0]}' and '{given[1]}' both give a division; give one")
    for key in ("valid", "clean_test"):
        if not given and split.get(key):
            raise UserError(
                f"config key 'split.{key}' is for a division that the dataset brings, and there is "
                "none; leave it out"
            )
    refused = {"split.ratios": "ratios" in split, "dataset.limit": "limit" in dataset}
    for key, is_there in refused.items():
        if given and is_there:
            raise UserError(
                f"config key '{key}' does not go with the division that '{given[0]}' gives; use "
                "split.sizes for a sample of each split"
            )
    if any("valid" in dataset[key] for key in keys) and "valid" in split:
        raise UserError(
            f"config key 'split.valid' does not go with '{given[0]}.valid', which gives the "
            "validation split; give one"
        )


def _check_models(config: dict[str, Any]) -> None:
    for name, model in config["models"].items():
        if model["source"] == "folder":
            _check_folder(model, f"config key 'models.{name}")


def _check_folder(model: dict[str, Any], where: str) -> None:
    """Find the folder of an encoder."""
    given = model["path"]
    model["path"] = locate(given)
    if not (Path(model["path"]) / "config.json").is_file():
        raise UserError(
            f"{where}.path' is '{given}', where there is no config.json; allowed: a folder written "
            "by save_pretrained, adapters merged"
        )


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _check_dataset(config: dict[str, Any]) -> None:
    """Find the files of a dataset."""
    given = config["dataset"].get("paths", [])
    is_divided = isinstance(given, Mapping)
    lists = {f".{name}": each for name, each in given.items()} if is_divided else {"": given}
    digests = config["dataset"].get("sha256", {})
    for name, paths in lists.items():
        for index, path in enumerate(paths):
            paths[index] = _located(path, f"dataset.paths{name}[{index}]")
            if path in digests:
                digests[paths[index]] = digests.pop(path)


def _check_grid(config: dict[str, Any]) -> None:
    for index, block in enumerate(config["grid"]):
        where = f"config key 'grid[{index}]"
        for key, known in (("model", "models"), ("variant", "variants")):
            for name in block[key]:
                if name not in config[known]:
                    raise UserError(
                        f"{where}.{key}' names '{name}', which is not in {known}; "
                        f"allowed: {', '.join(config[known])}{did_you_mean(name, config[known])}"
                    )
        for name, pooling in itertools.product(block["model"], block["pooling"]):
            if lack := lack_of(config, name, pooling):
                offered = (each for each in poolings() if not lack_of(config, name, each))
                raise UserError(
                    f"{where}.pooling' holds '{pooling}', but model '{name}' {lack}; "
                    f"allowed: {', '.join(offered)}"
                )


def _check_lengths(config: Mapping[str, Any]) -> None:
    """Refuse lengths beyond the positions of the models that are trained with them."""
    for name, variant in {(run.model, run.variant): None for run in runs(config)}:
        length, positions = training(config, variant)["max_length"], _positions(config, name)
        if positions is not None and length > positions:
            key = "max_length" if "max_length" in config else "training.max_length"
            if "max_length" in config["variants"][variant]:
                key = f"variants.{variant}.max_length"
            raise UserError(
                f"config key '{key}' is {length}; allowed: at most {positions}, the positions of "
                f"model '{name}'"
            )


def _check_padding(config: Mapping[str, Any]) -> None:
    """Refuse poolings that need the padding that their trainings leave out."""
    for pooling, variant in {(run.pooling, run.variant): None for run in runs(config)}:
        if training(config, variant)["unpadded"] and pooling in PADDED_POOLINGS:
            key = f"variants.{variant}" if "unpadded" in config["variants"][variant] else "training"
            others = (name for name in poolings() if name not in PADDED_POOLINGS)
            raise UserError(
                f"config key '{key}.unpadded' is true, but pooling '{pooling}' needs padded "
                f"passes; allowed: false, or the poolings {', '.join(others)}"
            )


def _positions(config: Mapping[str, Any], name: str) -> int | None:
    """The longest input of a model, as far as is known; None where there is no longest."""
    sizes = config["models"][name]
    return sizes.get("max_position_embeddings") or _facts_of(config, name).get("positions")


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
