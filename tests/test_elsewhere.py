"""One's own data and encoder; the workflow as a module, from other folders, in several studies."""

import json
import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from transformers import BertConfig, BertModel

from lib.data.encoders import load_tokenizer
from lib.manifests import sha256

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
    input: rules.enc_summary.output
    output: "copy.md"
    shell: "cp {{input}} {{output}}"
"""


@pytest.fixture
def study(encoders) -> dict:
    """A study of one's own data, with three classes and an encoder from a folder."""
    return {
        "study": "mine",
        "dataset": {
            "name": "mine",
            "source": "files",
            "paths": ["data/mine.csv"],
            "text_column": "review",
            "label_column": "stars",
            "labels": ["bad", "soso", "good"],
        },
        "max_length": 16,
        "models": {"own": {"source": "folder", "path": "encoder"}},
        "training": {"learning_rate": "5e-3", "epochs": 6, "micro_batch": 16},
        "grid": [{"model": ["own"], "pooling": ["max"], "batch": [16], "seed": [1]}],
        "analysis": dict.fromkeys(("baseline", "statistics", "errors", "tsne", "attention"), False),
    }


@pytest.fixture
def elsewhere(tmp_path, encoders) -> Path:
    """A folder that holds nothing but data and an encoder."""
    words = {"good": "fine film great", "bad": "awful dull mess", "soso": "average plain okay"}
    rows = [(f"{text} number {i}", name) for name, text in words.items() for i in range(40)]
    (tmp_path / "data").mkdir()
    table = pd.DataFrame(rows, columns=["review", "stars"])
    table.to_csv(tmp_path / "data" / "mine.csv", index=False)
    BertModel(BertConfig.from_pretrained(encoders["bert"])).save_pretrained(tmp_path / "encoder")
    load_tokenizer(encoders["bert"]).save_pretrained(tmp_path / "encoder")
    return tmp_path


def snakemake(python, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [python, "-m", "snakemake", *arguments],
        cwd=folder,
        env=os.environ | {"WANDB_MODE": "disabled"},
        capture_output=True,
        text=True,
    )


def test_a_workflow_uses_it_as_a_module_with_a_prefix(python, elsewhere, study):
    (elsewhere / "outer.yaml").write_text(yaml.safe_dump({"encoders": study}))
    (elsewhere / "Snakefile").write_text(MODULE.format(root=ROOT, prefix='prefix: "deep"'))
    done = snakemake(python, elsewhere, "--cores", "2")
    assert done.returncode == 0, done.stderr
    page = (elsewhere / "copy.md").read_text()
    assert page.startswith("# Study: mine")
    assert "bad 40, soso 40, good 40" in page and "random weights" not in page
    predictions = pd.read_parquet(
        elsewhere / "deep" / RUN / "predictions.parquet", partitioning=None
    )
    assert set(predictions["label"]) == {0, 1, 2} and len(predictions) == 12
    assert json.loads((elsewhere / "deep" / RUN / "test.json").read_text())["accuracy"] > 0.9
    trained = json.loads((elsewhere / "deep" / RUN / "train.json").read_text())
    weights = elsewhere / "encoder" / "model.safetensors"
    assert trained["encoder"]["sha256"]["model.safetensors"] == sha256(weights)
    assert (trained["encoder"]["source"], trained["encoder"]["path"]) == ("folder", "encoder")
    assert pd.read_csv(elsewhere / "deep/results/tables/runs.csv")["seed"].tolist() == [1]
    assert not (elsewhere / "results").exists()
    again = snakemake(python, elsewhere, "-n")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_workflow_uses_it_as_a_module_without_a_prefix(python, elsewhere, study):
    (elsewhere / "outer.yaml").write_text(yaml.safe_dump({"encoders": study}))
    (elsewhere / "Snakefile").write_text(MODULE.format(root=ROOT, prefix=""))
    done = snakemake(python, elsewhere, "-n", "-p")
    assert done.returncode == 0, done.stderr
    assert f"--run {RUN}" in done.stdout + done.stderr
    assert "--paths data/mine.csv" in done.stdout + done.stderr


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
    for name in ("data", "encoder"):
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
