"""The workflow from other folders, as a module of another workflow, and several studies."""

import json
import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT

RUN = "results/runs/dataset=mine/model=bert/pooling=masked-mean/batch=64/variant=base/seed=1"
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
def study(sample) -> dict:
    """A study of one run on a file of one's own, without any analysis."""
    config = yaml.safe_load((ROOT / "tests" / "config.yaml").read_text())
    del config["variants"]
    config["grid"] = config["grid"][:1]
    config["analysis"] = dict.fromkeys(
        ("baseline", "statistics", "errors", "tsne", "attention"), False
    )
    config["dataset"] = {"name": "mine", "source": "files", "paths": ["data/mine.csv"]}
    return config


@pytest.fixture
def elsewhere(tmp_path, sample) -> Path:
    """A folder that holds nothing but data."""
    (tmp_path / "data").mkdir()
    sample.to_pandas()[["text", "label"]].to_csv(tmp_path / "data" / "mine.csv", index=False)
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
    assert (elsewhere / "copy.md").read_text().startswith("# Study: smallest")
    tested = json.loads((elsewhere / "deep" / RUN / "test.json").read_text())
    assert tested["n"] > 30
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
        "error: 'results' holds the study 'smallest', which 'two' would replace; keep both with "
        "--directory studies/two, where all results of 'two' then go"
    )
    (elsewhere / "studies/two/data").mkdir(parents=True)
    os.link(elsewhere / "data/mine.csv", elsewhere / "studies/two/data/mine.csv")
    beside = ("--directory", "studies/two", "--configfile=two.yaml", target)
    done = snakemake(python, elsewhere, *flags, *beside)
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "studies/two" / target).is_file()
    assert snakemake(python, elsewhere, *flags, "--configfile=one.yaml", "-n").returncode == 0
