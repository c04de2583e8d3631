"""The configuration: shipped files are valid, mistakes are refused in one line."""

import argparse
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT
from safetensors.numpy import save_file

import download
import encoder
from lib.baselines import run_of
from lib.cli import Parser, add_shared_flags
from lib.config import check, has_pooler, read_floats, runs, training
from lib.console import UserError
from lib.data.encoder_sources import SOURCES as ENCODER_SOURCES
from lib.data.sources import SOURCES
from lib.flags import add_flags, pop_settings
from lib.runs import folders_of
from lib.schema import options_of, poolings, schema, sources
from lib.training import model

SHIPPED = [*sorted((ROOT / "config").glob("*.yaml")), ROOT / "tests" / "config.yaml"]
BASE = yaml.safe_load((ROOT / "tests" / "config.yaml").read_text())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_shipped_configs_are_valid(path):
    config = yaml.safe_load(path.read_text())
    check(config)
    assert len(runs(config)) == len(set(runs(config))) > 0


def properties(section: dict, prefix: str = ""):
    """Every key of a section of the schema, with what stands at it."""
    for key, value in section.get("properties", {}).items():
        yield f"{prefix}{key}", value
        yield from properties(value, f"{prefix}{key}.")
    for part in ("items", "additionalProperties"):
        if isinstance(section.get(part), dict):
            yield from properties(section[part], prefix)


def test_every_key_is_described():
    definitions = schema()["$defs"]
    undescribed = []
    for section in (schema(), *definitions.values()):
        for key, value in properties(section):
            target = definitions.get(value.get("$ref", "").rpartition("/")[2], {})
            if not {"description", "const"} & (value.keys() | target.keys()):
                undescribed.append(key)
    assert not undescribed


def test_every_training_setting_says_what_depends_on_it():
    settings = schema()["properties"]["training"]["properties"]
    assert [key for key, option in settings.items() if "default" not in option] == []
    for mark in ("learned", "tested"):
        assert [key for key, option in settings.items() if type(option.get(mark)) is not bool] == []


def test_every_key_stands_in_the_readme():
    readme = (ROOT / "config" / "README.md").read_text()
    keys = {
        key for section in (schema(), *schema()["$defs"].values()) for key, _ in properties(section)
    }
    assert [key for key in sorted(keys) if f"`{key.rpartition('.')[2]}`" not in readme] == []


def test_readme_states_the_defaults_of_training():
    readme = (ROOT / "config" / "README.md").read_text().partition("\n## Training\n")[2]
    for key, option in options_of("training").items():
        line = next(line for line in readme.splitlines() if line.startswith(f"| `{key}`"))
        stated = yaml.safe_load(line.split("|")[2].strip(" `"))
        assert read_floats(stated) == option["default"]


def test_blocks_are_products_and_the_grid_their_union():
    config = deepcopy(BASE)
    config["grid"] = [
        {"model": ["bert"], "pooling": ["cls", "max"], "batch": [8, 16], "seed": [1]},
        {"model": ["bert", "modernbert"], "pooling": ["max"], "batch": [16], "seed": [1, 2]},
    ]
    check(config)
    assert [tuple(run)[1:] for run in runs(config)] == [
        ("bert", "cls", 8, "base", 1),
        ("bert", "cls", 16, "base", 1),
        ("bert", "max", 8, "base", 1),
        ("bert", "max", 16, "base", 1),
        ("bert", "max", 16, "base", 2),
        ("modernbert", "max", 16, "base", 1),
        ("modernbert", "max", 16, "base", 2),
    ]


def test_poolings_are_the_same_everywhere():
    assert poolings() == [*model.POOLINGS, model.POOLER]
    readme = (ROOT / "config" / "README.md").read_text().partition("| pooling |")[2]
    assert [name for name in poolings() if f"\n| `{name}` |" not in readme] == []


def test_variants_override_training():
    config = deepcopy(BASE)
    check(config)
    assert training(config, "base")["scheduler"] == "constant"
    assert training(config, "decayed")["scheduler"] == "linear"
    assert training(config, "decayed")["learning_rate"] == training(config, "base")["learning_rate"]


def test_flags_say_what_the_config_says():
    parser = argparse.ArgumentParser()
    add_flags(parser, "training")
    line = "--compile true --deterministic false --micro-batch auto --learning-rate 5e-5"
    options = parser.parse_args(line.split())
    settings = pop_settings(options, "training")
    assert settings["compile"] is True and settings["deterministic"] is False
    assert (settings["micro_batch"], settings["learning_rate"]) == ("auto", 5e-5)
    assert vars(options) == {}
    defaults = pop_settings(parser.parse_args([]), "training")
    assert defaults == {key: option["default"] for key, option in options_of("training").items()}


@pytest.mark.parametrize(
    ("section", "command"),
    [
        ("dataset_package", download),
        ("dataset_files", download),
        ("dataset_hub", download),
        ("model_hub", encoder),
        ("model_folder", encoder),
        ("model_scratch", encoder),
    ],
)
def test_every_source_of_the_schema_has_its_flags(section, command):
    source = section.partition("_")[2]
    parser = command.arguments()._subparsers._group_actions[0].choices[source]
    flags = {action.dest for action in parser._actions}
    assert options_of(section).keys() - {"name"} <= flags
    named = schema()["properties"]["models" if command is encoder else "dataset"]
    kinds = named.get("additionalProperties", named)["properties"]["source"]["enum"]
    modules = {download: SOURCES, encoder: ENCODER_SOURCES}
    assert set(kinds) == set(modules[command]) == set(sources(section.partition("_")[0]))


def test_the_full_study_asks_what_published_studies_asked():
    config = yaml.safe_load((ROOT / "config" / "imdb.yaml").read_text())
    check(config)
    asked = {run[1:] for run in runs(config)}
    for name in ("bert", "modernbert"):
        answers = [(pooling, 64, "base") for pooling in ("cls", "mean", "masked-mean")]
        answers += [("masked-mean", n, v) for n in (256, 1024) for v in ("base", "sqrt-lr")]
        answers += [("masked-mean", 64, "accelerate")]
        assert {(name, *keys, seed) for keys in answers for seed in range(1, 6)} <= asked
        published = [("mean", 8), ("mean", 256), ("mean", 1024), ("masked-mean", 8), ("cls", 32)]
        assert {(name, pooling, n, "base", 1) for pooling, n in published} <= asked
    assert training(config, "base")["learning_rate"] == 5e-5
    assert {model["source"] for model in config["models"].values()} == {"hub"}


def test_numbers_that_yaml_reads_as_text_are_numbers():
    config = deepcopy(BASE)
    config["training"]["learning_rate"] = yaml.safe_load("5e-5")
    config["variants"]["slow"] = {"learning_rate": "1e-6"}
    check(config)
    assert training(config, "base")["learning_rate"] == 5e-5
    assert training(config, "slow")["learning_rate"] == 1e-6


REFUSALS = {
    "an unknown key": ("training.learning_rat", 1, "'training' has unknown keys: learning_rat; "),
    "an unknown key at the top": ("optimizer", "adam", "config has unknown keys: optimizer; "),
    "an unknown key in a block": ("grid.0.epochs", [1], r"'grid\[0\]' has unknown keys: epochs; "),
    "an unknown model": (
        "grid.0.model",
        ["bert", "bret"],
        r"'grid\[0\].model' names 'bret', which is not in models; allowed: bert, modernbert",
    ),
    "an unknown variant": (
        "grid.0.variant",
        ["bas"],
        r"'grid\[0\].variant' names 'bas', .*; allowed: base, decayed",
    ),
    "an unknown pooling": (
        "grid.0.pooling",
        ["avg"],
        r"'grid\[0\].pooling\[0\]' is 'avg'; allowed: cls, mean, masked-mean, max, pooler",
    ),
    "a pooler where there is none": (
        "grid.1.pooling",
        ["pooler"],
        r"'grid\[1\].pooling' holds 'pooler', but model 'modernbert' has no pooler; allowed: cls",
    ),
    "a batch under 1": ("grid.0.batch", [0], r"'grid\[0\].batch\[0\]' is 0; allowed: at least 1"),
    "a batch that is no whole number": ("grid.0.batch", [64.0], "is 64.0; allowed: a value of typ"),
    "a seed that is no seed": ("grid.0.seed", [2**32], "is 4294967296; allowed: at most 42949672"),
    "a rate that is no number": ("training.learning_rate", float("inf"), "is inf; allowed: a val"),
    "epochs that are no whole number": ("training.epochs", "1e1", "'training.epochs' is 10.0; all"),
    "a name of two lines": ("study", "two\n", "'study' is .*; allowed: letters, digits, '.'"),
    "a label like a flag": ("dataset.labels", ["-a", "b"], "'-a'; allowed: text .* not begin with"),
    "a column like a flag": (
        "dataset.where",
        {"--out": "x"},
        "'dataset.where' is '--out'; allowed",
    ),
    "a file like a flag": ("dataset.sha256", {"--out=x": "0" * 64}, "is '--out=x'; allowed: text"),
    "a path with braces": (
        "dataset",
        {"name": "mine", "source": "files", "paths": ["{dataset}.csv"]},
        r"'dataset.paths\[0\]' is '{dataset}.csv'; allowed: path on one line .* no braces",
    ),
    "an odd width per head": (
        "models.modernbert.num_attention_heads",
        32,
        "'models.modernbert.hidden_size' is 32 for 32 heads; allowed: an even width per head",
    ),
    "a batch that is no number": ("grid.0.batch", ["big"], "is 'big'; allowed: a value of type"),
    "too long inputs": ("max_length", 513, "'max_length' is 513; allowed: at most 512"),
    "a dropout of 1": ("training.dropout", 1, "'training.dropout' is 1; allowed: less than 1"),
    "decay with Adam": ("training.weight_decay", 0.1, "weight_decay is 0.1 with optimizer adam"),
    "heads that don't divide the width": (
        "models.bert.num_attention_heads",
        5,
        "'models.bert.num_attention_heads' is 5; allowed: a divisor of hidden_size 32",
    ),
    "a name that is no file name": ("dataset.name", "../x", "'dataset.name' is '../x'; allowed"),
    "a missing key": ("dataset.file", None, "config key 'dataset.file' is missing"),
    "ratios and sizes": ("split.ratios", [8, 1, 1], "'split' holds both of ratios, sizes"),
    "a folder that is not there": (
        "models.bert",
        {"source": "folder", "path": "nowhere"},
        "'models.bert.path' is 'nowhere', where config.json can't be read",
    ),
    "files that are not there": (
        "dataset",
        {"name": "mine", "source": "files", "paths": ["nowhere.csv"]},
        r"'dataset.paths\[0\]' is 'nowhere.csv', which is not a file",
    ),
    "a source that is none": ("dataset.source", "web", "is 'web'; allowed: package, files, hub"),
    "labels that YAML reads as no and yes": (
        "dataset.labels",
        yaml.safe_load("[no, yes]"),
        r"'dataset.labels\[.\]' is (True|False); allowed: a value of type string or integer",
    ),
    "processes of plain torch": (
        "training.processes",
        2,
        "processes is 2 with backend torch; allowed: 1, or backend accelerate",
    ),
    "processes of a variant": ("variants.base", {"processes": 3}, "'variants.base': processes is"),
    "a micro-batch of a word": (
        "training.micro_batch",
        "largest",
        "'training.micro_batch' is 'largest'; allowed: `auto`, or a whole number from 1 on",
    ),
    "a micro-batch under 1": ("training.micro_batch", 0, "is 0; allowed: at least 1"),
    "an unknown way to compile": (
        "training.compile",
        "fast",
        "'training.compile' is 'fast'; allowed: auto, true, false",
    ),
    "a truth value that is a number": ("training.deterministic", 1, "is 1; allowed: a value of"),
    "an unknown key of a variant": (
        "variants.base",
        {"epoch": 3},
        "'variants.base' has unknown keys: epoch; allowed: backend, compile",
    ),
    "a value of a variant": ("variants.base.epochs", 0, "'variants.base.epochs' is 0; allowed: at"),
    "a variant that is no section": ("variants.base", 3, "'variants.base' is 3; allowed: a value"),
    "a text where a section belongs": ("training", "fast", "'training' is 'fast'"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_name_the_key_and_what_is_allowed(case):
    path, value, message = REFUSALS[case]
    config = deepcopy(BASE)
    target = config
    *parents, last = path.split(".")
    for part in parents:
        target = target[int(part) if part.isdigit() else part]
    if value is None:
        del target[last]
    else:
        target[last] = value
    with pytest.raises(UserError, match=message) as caught:
        check(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "has"),
    [
        (["embeddings.weight", "pooler.dense.weight"], True),
        (["bert.embeddings.weight", "bert.pooler.dense.weight", "cls.bias"], True),
        (["deberta.embeddings.weight", "pooler.dense.weight"], False),  # that of the head
        (["embeddings.weight"], False),
    ],
)
def test_a_folder_has_the_pooler_that_its_weights_tell_of(tmp_path, names, has):
    save_file({name: np.zeros(1) for name in names}, tmp_path / "model.safetensors")
    assert has_pooler({"source": "folder", "path": str(tmp_path)}) is has


def test_damaged_weights_are_left_to_the_rule_that_reads_them(tmp_path):
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert has_pooler({"source": "folder", "path": str(tmp_path)})


@pytest.mark.parametrize(
    ("encoder", "refused"),
    [
        ({"source": "hub", "id": "answerdotai/ModernBERT-base", "revision": "x"}, True),
        ({"source": "hub", "id": "google-bert/bert-base-uncased", "revision": "x"}, False),
        ({"source": "hub", "id": "FacebookAI/roberta-base", "revision": "x"}, False),
        ({"source": "hub", "id": "microsoft/deberta-v3-base", "revision": "x"}, True),
    ],
)
def test_poolers_of_hub_encoders_are_known_by_name(encoder, refused):
    config = deepcopy(BASE)
    config["models"]["hub"] = encoder
    config["grid"].append({"model": ["hub"], "pooling": ["pooler"], "batch": [8], "seed": [1]})
    if refused:
        with pytest.raises(UserError, match="model 'hub' has no pooler"):
            check(config)
    else:
        check(config)


def test_a_command_names_all_runs_of_a_large_grid_in_their_order():
    block = {"model": ["b", "m"], "pooling": ["cls"], "batch": [256, 64], "variant": ["base"]}
    grid = [block | {"seed": list(range(2000))}, block | {"seed": [3, 2001]}]
    words = [f"results/runs/{folders_of('d', each)}" for each in grid]
    flags = Parser()
    add_shared_flags(flags, "--runs")
    folders = flags.parse_args(["--runs", *words]).runs
    study = {"dataset": {"name": "d"}, "grid": grid}
    assert [run_of(folder) for folder in folders] == runs(study)
    assert folders[0] == Path(
        "results/runs/dataset=d/model=b/pooling=cls/batch=256/variant=base/seed=0"
    )
    assert sum(map(len, words)) < 128 * 1024  # bytes that Linux lets one word of a command have
