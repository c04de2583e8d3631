"""The configuration: shipped files are valid, mistakes are refused in one line."""

import argparse
import re
import shlex
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

import download
import encoder
from lib.command.cli import Parser
from lib.command.console import UserError
from lib.data.division import listed
from lib.data.encoder_sources import SOURCES as ENCODER_SOURCES
from lib.data.sources import SOURCES
from lib.study import planning
from lib.study.config import check, runs, training
from lib.study.flags import add_flags, add_shared_flags, pop_settings
from lib.study.runs import folders_of, run_of
from lib.study.schema import options_of, poolings, schema, sources, typed
from lib.training.poolings import NAMES

SHIPPED = [*sorted((ROOT / "config").glob("*.yaml")), ROOT / "tests" / "config.yaml"]
BASE = yaml.safe_load((ROOT / "tests" / "config.yaml").read_text())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_shipped_configs_are_valid(path):
    config = yaml.safe_load(path.read_text())
    check(config)
    assert len(runs(config)) == len(set(runs(config))) > 0


TOO_LONG = "allowed: at most 512, the positions of model 'bert'"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": 513}, f"config key 'max_length' is 513; {TOO_LONG}"),
        (
            {"max_length": None, "training": {"max_length": 600}},
            f"config key 'training.max_length' is 600; {TOO_LONG}",
        ),
        (
            {"variants": {"base": {}, "long": {"max_length": 600}}},
            "'variants.long.max_length' is 6",
        ),
        ({"max_length": None, "training": {"max_length": 512}}, None),
        ({"max_length": 512, "training": {"max_length": 512}}, None),
        (
            {"max_length": 64, "training": {"max_length": 32}},
            "config keys 'max_length' and 'training.max_length' are 64 and 32; give one",
        ),
        (
            {"max_length": 513, "variants": {"base": {"max_length": 9}, "long": {}}},
            "'max_length' i",
        ),
        ({"variants": {"base": {}, "long": {}, "unused": {"max_length": 600}}}, None),
    ],
)
def test_a_length_beyond_the_positions_of_a_model_is_refused_where_it_is_given(changes, message):
    config = deepcopy(BASE) | {"variants": {"base": {}, "long": {}}} | changes
    config = {key: value for key, value in config.items() if value is not None}
    config["grid"] = [{"model": ["bert"], "pooling": ["max"], "batch": [8], "seed": [1]}]
    config["grid"][0]["variant"] = ["base", "long"]
    with pytest.raises(UserError, match=re.escape(message)) if message else nullcontext():
        check(config)


@pytest.mark.parametrize(
    ("changes", "pooling", "where"),
    [
        ({"training": {"unpadded": True}}, "padded-mean", "training"),
        ({"variants": {"base": {}, "packed": {"unpadded": True}}}, "pooler", "variants.packed"),
        ({"variants": {"base": {}, "packed": {"unpadded": True}}}, "max", None),
        ({"variants": {"base": {}, "packed": {}, "un": {"unpadded": True}}}, "padded-mean", None),
    ],
)
def test_poolings_that_need_padding_are_refused_without_it(changes, pooling, where):
    config = deepcopy(BASE) | {"variants": {"base": {}, "packed": {}}} | changes
    config["grid"] = [{"model": ["bert"], "pooling": [pooling], "batch": [8], "seed": [1]}]
    config["grid"][0]["variant"] = ["base", "packed"]
    message = (
        f"config key '{where}.unpadded' is true, but pooling '{pooling}' needs padded passes; "
        "allowed: false, or the poolings cls, masked-mean, max, head"
    )
    with pytest.raises(UserError, match=re.escape(message)) if where else nullcontext():
        check(config)


def test_the_length_of_the_study_is_that_of_trainings_that_give_none():
    config = deepcopy(BASE) | {"max_length": 40}
    config["variants"] |= {"long": {"max_length": 80}, "ends": {"truncation": "head-tail"}}
    check(config)
    found = {name: training(config, name) for name in ("base", "long", "ends")}
    cuts = {name: (each["max_length"], each["truncation"]) for name, each in found.items()}
    assert cuts == {"base": (40, "auto"), "long": (80, "auto"), "ends": (40, "head-tail")}


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
        assert typed(stated, option) == option["default"]


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
    assert poolings() == [*NAMES]
    readme = (ROOT / "config" / "README.md").read_text().partition("| pooling |")[2]
    assert [name for name in poolings() if f"\n| `{name}` |" not in readme] == []


@pytest.mark.parametrize("noun", ["tickets", "customer e-mails", "Café-Kritiken", "отзывы"])
def test_texts_have_a_noun(noun):
    config = deepcopy(BASE)
    check(config)
    assert config["dataset"]["noun"] == "texts"
    config["dataset"]["noun"] = noun
    check(config)


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


def test_a_division_is_lists_in_the_order_of_the_splits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ("one=1.csv", "two.csv", "three.csv")
    for name in names:
        Path(name).touch()
    config = deepcopy(BASE)
    config["dataset"] = {"name": "mine", "source": "files", "sha256": {"two.csv": "0" * 64}}
    config["dataset"]["paths"] = {"test": "three.csv", "train": list(names[:2])}
    config["split"] = {"valid": "0.2"}
    check(config)
    paths = config["dataset"]["paths"]
    assert list(paths.items()) == [("train", ["one=1.csv", "two.csv"]), ("test", ["three.csv"])]
    assert config["split"] == {"valid": 0.2, "seed": 42, "clean_test": False}
    assert listed(paths) == {"one=1.csv": "train", "two.csv": "train", "three.csv": "test"}
    words = shlex.split(planning.source(config["dataset"]))
    read = download.arguments().parse_args([*words, "--out", "out"])
    settings = pop_settings(read, "dataset_files")
    assert settings["paths"] == paths


def test_files_of_the_workflow_are_found_in_a_division_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = deepcopy(BASE)
    config["dataset"] = {"name": "mine", "source": "files", "sha256": {"LICENSE": "0" * 64}}
    config["dataset"]["paths"] = {"train": ["README.md"], "test": ["LICENSE"]}
    config["split"] = {}
    check(config)
    found = [*listed(config["dataset"]["paths"])]
    assert [Path(path).resolve() for path in found] == [ROOT / "README.md", ROOT / "LICENSE"]
    assert list(config["dataset"]["sha256"]) == [found[1]]


@pytest.mark.parametrize(
    ("section", "command"),
    [
        ("dataset_package", download),
        ("dataset_files", download),
        ("dataset_hub", download),
        ("model_hub", encoder),
        ("model_package", encoder),
        ("model_folder", encoder),
        ("model_scratch", encoder),
    ],
)
def test_every_source_of_the_schema_has_its_flags(section, command):
    source = section.partition("_")[2]
    parser = command.arguments()._subparsers._group_actions[0].choices[source]
    flags = {action.dest for action in parser._actions}
    assert options_of(section).keys() - {"name", "noun"} <= flags
    named = schema()["properties"]["models" if command is encoder else "dataset"]
    kinds = named.get("additionalProperties", named)["properties"]["source"]["enum"]
    modules = {download: SOURCES, encoder: ENCODER_SOURCES}
    assert set(kinds) == set(modules[command]) == set(sources(section.partition("_")[0]))


def test_the_full_study_asks_what_published_studies_asked():
    config = yaml.safe_load((ROOT / "config" / "imdb.yaml").read_text())
    check(config)
    asked = {run[1:] for run in runs(config)}
    for name in ("bert", "modernbert"):
        settings = [(pooling, 64) for pooling in ("cls", "padded-mean", "masked-mean")]
        settings += [("masked-mean", 256), ("masked-mean", 1024)]
        rates = ("base", "base-2e-5", "base-1e-4", "base-2e-4")
        answers = [(*setting, rate) for setting in settings for rate in rates]
        answers += [("masked-mean", n, "sqrt-lr") for n in (256, 1024)]
        answers += [("masked-mean", 64, "accelerate")]
        assert {(name, *keys, seed) for keys in answers for seed in (1, 2, 3)} <= asked
        published = [
            ("padded-mean", 8),
            ("padded-mean", 256),
            ("padded-mean", 1024),
            ("masked-mean", 8),
            ("cls", 32),
        ]
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
