"""The quick study reaches the accuracy that the README shows."""

import json

import pytest
from workspace import RUN, Workspace


@pytest.mark.slow
def test_masked_mean_at_batch_64_learns(python, tmp_path):
    workspace = Workspace(tmp_path)
    targets = [
        RUN.format(model, "masked-mean", 64, "base", 42) + "/test.json"
        for model in ("bert", "modernbert")
    ]
    done = workspace.snakemake(python, "--cores", "2", *targets)
    assert done.returncode == 0, done.stderr
    for target in targets:
        assert json.loads(workspace.read(target))["accuracy"] >= 0.72
