"""The labels of all libraries beside those of the test, for every pooling."""

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from conftest import ROOT, make_run

from lib.files.whole import write_parquet

POOLINGS = ("cls", "head", "masked-mean", "max", "padded-mean", "pooler")


@pytest.fixture(scope="module")
def study(encoders, tokens, splits, tmp_path_factory) -> Path:
    """A folder with the results of a run of each pooling, and the test split."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(splits, folder / "results/datasets/d/splits")
    for pooling in POOLINGS:
        keys = f"dataset=d/model=bert/pooling={pooling}/batch=10/variant=base/seed=1"
        run = folder / "results/runs" / keys
        flags = f"--model bert --pooling {pooling} --batch 10 --max-length 24 --epochs 2 "
        flags += "--learning-rate 3e-3 --labels negative positive"
        make_run(run, tokens["bert"], encoders["bert"], flags)
    return folder


def check(python: str, study: Path, *runs: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [python, ROOT / "benchmarks/loading_check.py", *runs],
        cwd=study,
        env={"PYTHONPATH": str(ROOT / "scripts"), "PATH": str(Path(python).parent)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_every_library_labels_as_the_test_did(python, study):
    done = check(python, study)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("|").split("|") for line in done.stdout.splitlines()[2:]]
    found = {pooling.strip(): [cell.strip() for cell in cells] for _, pooling, *cells in rows}
    assert sorted(found) == sorted(POOLINGS)
    for pooling, (_, predict, library, pipeline, onnx) in found.items():
        assert (library == "") == (pooling == "padded-mean"), pooling
        assert (pipeline == "") == (pooling != "head"), pooling
        for cell in filter(None, (predict, library, pipeline, onnx)):
            differ, _, largest = cell.partition(" ")
            assert differ == "0" and float(largest.strip("()")) < 1e-4


@pytest.mark.slow
def test_a_label_that_differs_is_a_failure(python, study, tmp_path):
    shutil.copytree(study / "results", tmp_path / "results")
    run = next((tmp_path / "results/runs").rglob("pooling=padded-mean/**/seed=1"))
    table = pd.read_parquet(run / "probabilities.parquet", partitioning=None)
    names = ["probability_0", "probability_1"]
    table.loc[0, names] = table.loc[0, names[::-1]].to_numpy()
    write_parquet(run / "probabilities.parquet", pa.Table.from_pandas(table, preserve_index=False))
    done = check(python, tmp_path, str(run.relative_to(tmp_path)))
    assert done.returncode == 1 and "| 1 (" in done.stdout
    assert "error: a library labels otherwise than the test did" in done.stderr
    assert "Traceback" not in done.stderr
