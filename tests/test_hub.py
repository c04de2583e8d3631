"""Encoders and datasets of the hub: the real client libraries against a small hub on loopback."""

import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from conftest import call
from hub import BERT, COMMIT, DATASET, ENCODER, HALVES, IMDB, LICENCE, MODERNBERT, command
from safetensors.torch import load_file

import split
from lib.training.model import load_encoder


def test_an_encoder_comes_without_pickles_code_and_onnx(python, hub, tmp_path):
    for repository, family in ((BERT, "bert"), (MODERNBERT, "modernbert")):
        done = command(python, hub, tmp_path, ENCODER.replace(BERT, repository))
        assert done.returncode == 0, done.stderr
        names = {path.name for path in (tmp_path / "out").iterdir()}
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
        assert not names & {"pytorch_model.bin", "modeling_tiny.py", "model.onnx", "onnx"}
        source = json.loads((tmp_path / "out" / "source.json").read_text())
        assert source.get("license") == (LICENCE if repository == MODERNBERT else None)
        assert source["sha256"].keys() == names - {"source.json", "probe.json"}
        encoder = load_encoder(tmp_path / "out", "masked-mean")
        assert encoder.config.model_type == family
    asked = [request for request in hub.requests if "/resolve/" in request]
    assert asked and not re.search(r"onnx|\.bin|\.py", " ".join(asked))


def test_weights_are_those_of_the_hub(python, hub, repositories, tmp_path):
    assert command(python, hub, tmp_path, ENCODER).returncode == 0
    stored = load_file(repositories / "models" / BERT / "model.safetensors")
    loaded = load_encoder(tmp_path / "out", "pooler").state_dict()
    for key, tensor in loaded.items():
        old = key.replace("LayerNorm.weight", "LayerNorm.gamma")
        old = old.replace("LayerNorm.bias", "LayerNorm.beta")
        assert torch.equal(tensor, stored[f"bert.{old}"]), key


def test_a_dataset_comes_with_the_splits_asked_for(python, hub, repositories, tmp_path):
    done = command(python, hub, tmp_path, DATASET)
    assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "out" / "reviews.parquet").to_pandas()
    assert set(table["origin"]) == {"train", "test"} and set(table["label"]) == {0, 1}
    about = json.loads((tmp_path / "out" / "reviews.json").read_text())
    assert about["rows"] == 420 and about["dropped"]["duplicates"] >= 20  # in both splits
    assert about["revision"] == COMMIT and len(about["sha256"]) == 2
    assert about["license"] == "cc-by-4.0, mit"
    assert not [request for request in hub.requests if "resolve" in request and "unsup" in request]
    for name in ("train", "test"):
        file = f"plain_text/{name}-00000-of-00001.parquet"
        assert hub.sent[file] == (repositories / "datasets" / IMDB / file).stat().st_size  # once


def test_the_test_half_keeps_its_size_and_its_repeats_leave_the_training_half(
    python, hub, repositories, tmp_path
):
    line = f"download.py hub --id {HALVES} --revision {COMMIT} --splits-train train"
    done = command(python, hub, tmp_path, f"{line} --splits-test test")
    assert done.returncode == 0, done.stderr
    call(
        split,
        f"--reviews {tmp_path}/out/reviews.parquet --out {tmp_path}/splits --valid 0.1 "
        f"--counts {tmp_path}/splits.json",
    )
    about = json.loads((tmp_path / "out" / "reviews.json").read_text())
    assert about["dropped"] == {
        **{"empty": 0, "conflicting_labels": 0, "in_another_split": 100, "duplicates": 30},
        **{"near_duplicates_of_another_split": 50, "near_duplicates": 0, "beyond_limit": 0},
    }
    assert about["rows_by_file"] == {"train": 25_000, "test": 25_000}
    tables = {
        name: pq.read_table(tmp_path / "splits" / f"{name}.parquet").to_pandas()
        for name in ("train", "valid", "test")
    }
    sizes = {name: len(table) for name, table in tables.items()}
    assert sizes == {"train": 22_338, "valid": 2_482, "test": 25_000}
    half = repositories / "datasets" / HALVES / "plain_text" / "test-00000-of-00001.parquet"
    assert tables["test"]["text"].tolist() == pq.read_table(half)["text"].to_pylist()
    sides = [set(table["text"]) for table in tables.values()]
    assert len(set.union(*sides)) == sum(map(len, sides)) == 22_338 + 2_482 + 24_980
    assert not [request for request in hub.requests if "resolve" in request and "unsup" in request]


@pytest.mark.parametrize(
    ("name", "flags"),
    [("csv", "--subset semicolons"), ("lines", ""), ("packed", ""), ("zipped", "")],
)
def test_other_formats_are_read_as_their_repository_says(python, hub, tmp_path, name, flags):
    line = f"download.py hub --id other/{name} --revision {COMMIT} --splits train {flags}"
    done = command(python, hub, tmp_path, line)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "reviews.json").read_text())["rows"] == 400


def test_sharded_weights_are_read(python, hub, tmp_path):
    done = command(python, hub, tmp_path, ENCODER.replace(BERT, "large/sharded"))
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "out").glob("*.safetensors*")}
    assert len(names) > 2 and "model.safetensors.index.json" in names
    load_encoder(tmp_path / "out", "pooler")


def test_a_branch_is_recorded_as_its_commit(python, hub, tmp_path):
    assert command(python, hub, tmp_path, DATASET.replace(COMMIT, "main")).returncode == 0
    assert json.loads((tmp_path / "out" / "reviews.json").read_text())["revision"] == COMMIT


def test_an_encoder_comes_where_its_licence_can_not_be_had(python, hub, tmp_path):
    line = ENCODER.replace(BERT, MODERNBERT)
    hub.faults["README.md"] = (403, "")
    for environment in ({}, {"HF_HUB_OFFLINE": "1"}):  # where the cache lacks it as well
        done = command(python, hub, tmp_path, line, **environment)
        assert done.returncode == 0, done.stderr
        assert f"no licence is read: model '{MODERNBERT}': " in done.stderr
        assert "license" not in json.loads((tmp_path / "out" / "source.json").read_text())


@pytest.mark.slow
def test_a_second_download_asks_for_no_file(python, hub, tmp_path):
    assert command(python, hub, tmp_path, ENCODER).returncode == 0
    hub.requests.clear()
    assert command(python, hub, tmp_path, ENCODER).returncode == 0
    assert not [
        request for request in hub.requests if request.startswith("GET") and ".saf" in request
    ]


@pytest.mark.parametrize(
    "line", [pytest.param(ENCODER, marks=pytest.mark.slow), DATASET], ids=["encoder", "dataset"]
)
@pytest.mark.parametrize("revision", [COMMIT, pytest.param("main", marks=pytest.mark.slow)])
def test_a_download_needs_no_hub_once_it_is_in_the_cache(python, hub, tmp_path, line, revision):
    line = line.replace(COMMIT, revision)
    assert command(python, hub, tmp_path, line).returncode == 0
    first = contents(tmp_path / "out")
    hub.requests.clear()
    for away in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        shutil.rmtree(tmp_path / "out")
        done = command(python, hub, tmp_path, line, **away)
        assert done.returncode == 0, done.stderr
        assert contents(tmp_path / "out") == first
    assert not hub.requests


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_of_the_cache_are_checked_as_those_of_the_hub(python, hub, tmp_path):
    assert command(python, hub, tmp_path, DATASET).returncode == 0
    (tmp_path / "out" / "reviews.parquet").unlink()
    (cached,) = (tmp_path / "home").rglob("plain_text/test-*")
    cached.resolve().write_bytes(b"another")
    done = command(python, hub, tmp_path, DATASET, HF_HUB_OFFLINE="1")
    assert done.returncode == 1 and "does not have the SHA-256 that the hub lists" in done.stderr
    assert not (tmp_path / "out" / "reviews.parquet").exists()


def test_the_token_is_sent_and_never_shown(python, hub, tmp_path):
    hub.faults["model.safetensors"] = (403, "GatedRepo")
    done = command(python, hub, tmp_path, ENCODER, HF_TOKEN="hf_secret")
    assert "Bearer hf_secret" in hub.tokens
    assert done.returncode == 1 and "hf_secret" not in done.stdout + done.stderr
