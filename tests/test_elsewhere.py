"""One's own data and encoder; the workflow as a module, from other folders, in several studies."""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from transformers import BertConfig, BertModel

from lib.command.markup import escape
from lib.data.encoders import load_tokenizer
from lib.files.manifests import sha256

OFF = ("baseline", "statistics", "errors", "tsne", "attention")
ODD = """it's "odd" $(touch ran) `touch ran`; touch ran & *[a] %s"""  # to a shell
RUN = "results/runs/dataset=mine/model=own/pooling=max/batch=16/variant=base/seed=1"
MODULE = """
configfile: "outer.yaml"

module encoders:
    snakefile: "{root}/Snakefile"
    config: config["encoders"]
    {prefix}

use rule * from encoders as enc_*

rule mine:
    default_target: True
    input: rules.enc_summary.output.page
    output: "copy.md"
    shell: "cp {{input:q}} {{output}}"
"""


@pytest.fixture
def study(encoders) -> dict:
    """A study of one's own data, with three classes and an encoder from a folder."""
    return {
        "study": "mine",
        "dataset": {
            "name": "mine",
            "source": "files",
            "paths": [f"data/{ODD}.csv"],
            "text_column": f"review {ODD}",
            "label_column": f"stars {ODD}",
            "labels": ["bad", f"so so {ODD}", "good"],
            "where": {f"site {ODD}": ODD},
        },
        "max_length": 16,
        "models": {"own": {"source": "folder", "path": f"encoder {ODD}"}},
        "training": {"learning_rate": "5e-3", "epochs": 6, "micro_batch": 16},
        "grid": [{"model": ["own"], "pooling": ["max"], "batch": [16], "seed": [1]}],
        "analysis": {**dict.fromkeys(OFF, False), "latency_lengths": [8]},
    }


@pytest.fixture
def elsewhere(tmp_path, encoders) -> Iterator[Path]:
    """A folder that holds nothing but data and an encoder."""
    folder, encoder = tmp_path / ODD, tmp_path / ODD / f"encoder {ODD}"
    words = {
        "good": "fine film great",
        "bad": "awful dull mess",
        f"so so {ODD}": "average plain okay",
    }
    rows = [(f"{text} number {i}", name, ODD) for name, text in words.items() for i in range(40)]
    (folder / "data").mkdir(parents=True)
    table = pd.DataFrame(rows, columns=[f"{name} {ODD}" for name in ("review", "stars", "site")])
    table.to_csv(folder / "data" / f"{ODD}.csv", index=False)
    BertModel(BertConfig.from_pretrained(encoders["bert"])).save_pretrained(encoder)
    load_tokenizer(encoders["bert"]).save_pretrained(encoder)
    (encoder / f"{ODD} {{name}}\n.txt").touch()
    yield folder
    assert not list(tmp_path.rglob("ran"))  # no name of any test was run


def snakemake(python, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [python, "-m", "snakemake", *arguments],
        cwd=folder,
        env=os.environ | {"WANDB_MODE": "disabled"},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_workflow_uses_it_as_a_module_with_a_prefix(python, elsewhere, study):
    tuned = study | {"analysis": study["analysis"] | {"tuned": True}}
    (elsewhere / "outer.yaml").write_text(yaml.safe_dump({"encoders": tuned}))
    (elsewhere / "Snakefile").write_text(MODULE.format(root=ROOT, prefix=f"prefix: {ODD!r}"))
    done = snakemake(python, elsewhere, "--cores", "2")
    assert done.returncode == 0, done.stderr
    page = (elsewhere / "copy.md").read_text()
    assert page.startswith("# Study: mine")
    assert f"bad 40, {escape(f'so so {ODD}')} 40, good 40" in page and "random weights" not in page
    predictions = pd.read_parquet(elsewhere / ODD / RUN / "predictions.parquet", partitioning=None)
    assert set(predictions["label"]) == {0, 1, 2} and len(predictions) == 12
    assert json.loads((elsewhere / ODD / RUN / "test.json").read_text())["accuracy"] > 0.9
    trained = json.loads((elsewhere / ODD / RUN / "train.json").read_text())
    weights = elsewhere / f"encoder {ODD}" / "model.safetensors"
    assert trained["encoder"]["sha256"]["model.safetensors"] == sha256(weights)
    assert (trained["encoder"]["source"], trained["encoder"]["path"]) == (
        "folder",
        f"encoder {ODD}",
    )
    assert pd.read_csv(elsewhere / ODD / "results/tables/runs.csv")["seed"].tolist() == [1]
    assert not (elsewhere / "results").exists()
    again = snakemake(python, elsewhere, "-n")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_workflow_uses_it_as_a_module_without_a_prefix(python, elsewhere, study):
    (elsewhere / "outer.yaml").write_text(yaml.safe_dump({"encoders": study}))
    (elsewhere / "Snakefile").write_text(MODULE.format(root=ROOT, prefix=""))
    done = snakemake(python, elsewhere, "-n", "-p")
    assert done.returncode == 0, done.stderr
    assert f"--run {RUN}" in done.stdout + done.stderr
    assert f"--paths {shlex.quote(f'data/{ODD}.csv')} " in done.stdout + done.stderr


def test_a_workflow_that_includes_it_has_rules_of_its_own(python, elsewhere):
    own = 'rule mine:\n    output: "mine.txt"\n    shell: "touch {output}"\n'
    (elsewhere / "Snakefile").write_text(f'include: "{ROOT}/Snakefile"\n{own}')
    done = snakemake(python, elsewhere, "-n", "mine")
    assert done.returncode == 0 and "mine.txt" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments", [["-n"], ["--unlock"], ["-n", "--configfile=config/imdb.yaml"]]
)
def test_it_runs_from_another_folder(python, elsewhere, arguments):
    flags = ("--snakefile", str(ROOT / "Snakefile"), "--directory", str(elsewhere / "there"))
    where = ROOT if "config" in arguments[-1] else elsewhere
    done = snakemake(python, where, *flags, *arguments)
    assert done.returncode == 0, done.stderr
    if "-n" in arguments:
        assert "train" in done.stdout + done.stderr
    assert not (elsewhere / "there" / "results").exists()


@pytest.mark.slow
def test_a_study_of_another_name_is_refused_and_kept_beside(python, elsewhere, study):
    (elsewhere / "one.yaml").write_text(yaml.safe_dump(study))
    (elsewhere / "two.yaml").write_text(yaml.safe_dump(study | {"study": "two"}))
    flags = ("--snakefile", str(ROOT / "Snakefile"), "--cores", "1")
    target = "results/datasets/mine/reviews.parquet"
    planned = snakemake(python, elsewhere, *flags, "-n", "--configfile=one.yaml")
    assert planned.returncode == 0 and not (elsewhere / "results").exists()
    done = snakemake(python, elsewhere, *flags, "--configfile=one.yaml", target)
    assert done.returncode == 0, done.stderr
    refused = snakemake(python, elsewhere, *flags, "--configfile=two.yaml", "-n")
    assert refused.returncode == 1
    (line,) = [line for line in refused.stderr.splitlines() if "error" in line]
    assert line == (
        "error: 'results' holds the study 'mine', which 'two' would replace; keep both with "
        "--directory studies/two, where all results of 'two' then go"
    )
    (elsewhere / "studies/two").mkdir(parents=True)
    for name in ("data", f"encoder {ODD}"):
        (elsewhere / "studies/two" / name).symlink_to(elsewhere / name)
    beside = ("--directory", "studies/two", "--configfile=two.yaml", target)
    done = snakemake(python, elsewhere, *flags, *beside)
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "studies/two" / target).is_file()
    assert snakemake(python, elsewhere, *flags, "--configfile=one.yaml", "-n").returncode == 0


def test_a_folder_without_results_takes_any_study(python, elsewhere, study):
    (elsewhere / "results").mkdir()
    (elsewhere / "results/.study").write_text("gone\n")
    (elsewhere / "one.yaml").write_text(yaml.safe_dump(study))
    flags = ("--snakefile", str(ROOT / "Snakefile"), "--configfile=one.yaml", "-n")
    assert snakemake(python, elsewhere, *flags).returncode == 0
