"""The files by which sentence-transformers reads a checkpoint, and what they tell.

A checkpoint is a model of that library: the module Transformer is its encoder, Pooling its pooling,
and Dense its head, so that `encode` gives logits and, without the last module, sentence vectors.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save_file
from torch import nn

from lib.command.console import UserError
from lib.data.encoders import load_config, load_tokenizer
from lib.files.manifests import reading
from lib.files.whole import read_json
from lib.training.poolings import OWN_HEAD, POOLER

MODULES = "modules.json"
TRANSFORMER_CONFIG = "sentence_bert_config.json"
POOLING, DENSE = "1_Pooling", "2_Dense"
HEAD_WEIGHTS = f"{DENSE}/model.safetensors"
IDENTITY = "torch.nn.modules.linear.Identity"
KINDS = (["Transformer"], ["Transformer", "Dense"], ["Transformer", "Pooling", "Dense"])
LONGEST = 1 << 20  # tokens, of a length that nobody means
# pooling -> its name in the library, and the key that all of its versions know. `padded-mean` has
# none: told by its own name, it is refused there rather than taken for the mean over real tokens.
MODES = {
    "cls": ("cls", "pooling_mode_cls_token"),
    "masked-mean": ("mean", "pooling_mode_mean_tokens"),
    "max": ("max", "pooling_mode_max_tokens"),
}
# pooling -> how the library gets vectors, or logits, from the model of transformers itself
METHODS = {
    POOLER: ("feature-extraction", "pooler_output"),
    OWN_HEAD: ("sequence-classification", "logits"),
}


def write_modules(folder: Path, pooling: str, head: nn.Linear, max_length: int) -> None:
    """Write what sentence-transformers reads besides the files of the encoder, and the head.

    Args:
        folder: of the checkpoint.
        pooling: a name from the table of poolings.
        head: gives the logits; it is in the files of the encoder where the pooling is `head`.
        max_length: tokens that are seen of a text at most.
    """
    transformer: dict[str, Any] = {"max_seq_length": max_length, "do_lower_case": False}
    paths = {"Transformer": ""}
    if pooling in METHODS:
        task, output = METHODS[pooling]
        transformer |= {
            "transformer_task": task,
            "modality_config": {"text": {"method": "forward", "method_output_name": output}},
            "module_output_name": "sentence_embedding",
        }
    else:
        paths["Pooling"] = POOLING
        _write(folder / POOLING / "config.json", _pooling_config(pooling, head.in_features))
    if pooling != OWN_HEAD:
        paths["Dense"] = DENSE
        sizes = {"in_features": head.in_features, "out_features": head.out_features}
        dense = {**sizes, "bias": True, "activation_function": IDENTITY}
        _write(folder / DENSE / "config.json", dense)
        weights = {f"linear.{name}": x.contiguous() for name, x in head.state_dict().items()}
        save_file(weights, folder / HEAD_WEIGHTS)
    _write(folder / TRANSFORMER_CONFIG, transformer)
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(paths.items())
    ]
    _write(folder / MODULES, modules)


def _pooling_config(pooling: str, width: int) -> dict[str, Any]:
    if pooling not in MODES:
        return {"embedding_dimension": width, "pooling_mode": pooling}
    keys = {key: name == pooling for name, (_, key) in MODES.items()}
    return {"word_embedding_dimension": width, **keys}


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


class Told(NamedTuple):
    """What a model of sentence-transformers tells of itself.

    Attributes:
        pooling: a name from the table of poolings.
        max_length: tokens that it sees of a text at most.
        head: the file of its head; none where that is a part of the model of transformers.
    """

    pooling: str
    max_length: int
    head: str | None


def read_modules(folder: Path) -> Told:
    """What a classifier that sentence-transformers has written tells of itself.

    Raises:
        UserError: it is none, or does more than an encoder, a pooling and a linear head do.
    """
    path = folder / MODULES
    with reading(path):
        modules = [
            (str(each["type"]).rpartition(".")[2], str(each["path"]))
            for each in json.loads(path.read_text("utf-8"))
        ]
        kinds, paths = [kind for kind, _ in modules], dict(modules)
        if kinds not in KINDS or paths["Transformer"]:
            raise UserError(unread(folder, f"its modules are {', '.join(kinds)}"))
        transformer = read_json(folder / TRANSFORMER_CONFIG)
        pooling = _config(folder / paths["Pooling"]) if "Pooling" in paths else {}
        name = _told_pooling(transformer, pooling)
        if name is None or ("Dense" in paths) == (name == OWN_HEAD):
            raise UserError(unread(folder, "it has another pooling, or no layer of classes"))
        _refuse_more(folder, transformer, pooling)
        if name == OWN_HEAD:
            if load_config(folder).num_labels < 2:
                raise UserError(unread(folder, "its last layer is of one class alone"))
            return Told(name, _longest(folder, transformer), None)
        dense = _config(folder / paths["Dense"])
        linear = dense["activation_function"] == IDENTITY and dense["bias"]
        if not linear or dense.get("use_residual") or dense["out_features"] < 2:
            raise UserError(unread(folder, "its last layer is not linear, or of one class alone"))
    return Told(name, _longest(folder, transformer), f"{paths['Dense']}/model.safetensors")


def unread(folder: Path, why: str) -> str:
    """That a model of the library is not read here."""
    return (
        f"'{folder}' is no classifier that is read here: {why}; take a checkpoint of a run, or an "
        "encoder with its cls, mean or max pooling and a linear layer of two classes or more"
    )


def _refuse_more(folder: Path, transformer: Mapping[str, Any], pooling: Mapping[str, Any]) -> None:
    path = folder / "config_sentence_transformers.json"
    told = read_json(path) if path.is_file() else {}
    prompt = (told.get("prompts") or {}).get(told.get("default_prompt_name") or "")
    if told.get("model_type") == "CrossEncoder":
        raise UserError(unread(folder, "it is a CrossEncoder, which compares two texts"))
    if prompt or transformer.get("do_lower_case") or not pooling.get("include_prompt", True):
        raise UserError(unread(folder, "it changes a text before it is encoded, or uses a prompt"))


def _longest(folder: Path, transformer: Mapping[str, Any]) -> int:
    """The tokens that are seen of a text at most: as told, or else as tokenizer and encoder go."""
    if told := transformer.get("max_seq_length"):
        return int(told)
    positions = getattr(load_config(folder), "max_position_embeddings", None) or LONGEST
    longest = min(load_tokenizer(folder).model_max_length, positions)
    if longest >= LONGEST:
        raise UserError(unread(folder, "it does not tell max_seq_length"))
    return int(longest)


def _told_pooling(transformer: Mapping[str, Any], pooling: Mapping[str, Any]) -> str | None:
    """The pooling by its name in the table of poolings, or None where it is not there."""
    if not pooling:
        output = transformer["modality_config"]["text"]["method_output_name"]
        return next((name for name, (_, each) in METHODS.items() if each == output), None)
    old = {name for name, (_, key) in MODES.items() if pooling.get(key)}
    new = {name for name, (mode, _) in MODES.items() if pooling.get("pooling_mode") == mode}
    others = sum(pooling[key] is True for key in pooling if key.startswith("pooling_mode_"))
    found = new or old
    return found.pop() if len(found) == 1 and others <= 1 else None


def _config(folder: Path) -> dict[str, Any]:
    return read_json(folder / "config.json")
