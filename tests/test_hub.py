"""Encoders and datasets of the hub: the real client libraries against a small hub on loopback."""

import json
import os
import re
import shutil
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import ROOT
from hub import COMMIT, Hub
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertModel,
    ModernBertConfig,
    ModernBertForMaskedLM,
)
from workspace import SUMMARY, Workspace

from lib.encoders import load_tokenizer
from lib.model import load_encoder

BERT, MODERNBERT, IMDB = "google-bert/tiny", "answerdotai/tiny", "stanfordnlp/imdb"
ENCODER = f"encoder.py hub --id {BERT} --revision {COMMIT}"
DATASET = f"download.py hub --id {IMDB} --revision {COMMIT} --splits train test"
CARD = """---
configs:
- config_name: plain_text
  data_files:
  - {split: train, path: plain_text/train-*}
  - {split: test, path: plain_text/test-*}
  - {split: unsupervised, path: plain_text/unsupervised-*}
  default: true
dataset_info:
  config_name: plain_text
  features:
  - {name: text, dtype: string}
  - {name: label, dtype: {class_label: {names: {'0': neg, '1': pos}}}}
---
"""


@pytest.fixture(scope="module")
def repositories(encoders, sample, tmp_path_factory):
    """Repositories as the real ones are laid out, with files that nobody should ask for."""
    folder = tmp_path_factory.mktemp("repositories")
    bert, modernbert = folder / "models" / BERT, folder / "models" / MODERNBERT
    torch.manual_seed(1)
    BertForPreTraining(BertConfig.from_pretrained(encoders["bert"])).save_pretrained(bert)
    ModernBertForMaskedLM(ModernBertConfig.from_pretrained(encoders["modernbert"])).save_pretrained(
        modernbert
    )
    old_names = {  # bert-base-uncased was converted from TensorFlow
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for key, tensor in load_file(bert / "model.safetensors").items()
    }
    save_file(old_names, bert / "model.safetensors", {"format": "pt"})
    for name, repository in (("bert", bert), ("modernbert", modernbert)):
        load_tokenizer(encoders[name]).save_pretrained(repository)
        (repository / "pytorch_model.bin").write_bytes(b"a pickle")
        (repository / "onnx").mkdir()
        (repository / "onnx" / "model.onnx").write_bytes(b"a graph")
    pickled = folder / "models" / "old" / "pickled"
    pickled.mkdir(parents=True)
    (pickled / "config.json").write_bytes((bert / "config.json").read_bytes())
    (pickled / "pytorch_model.bin").write_bytes(b"a pickle")
    sharded = folder / "models" / "large" / "sharded"
    BertModel(BertConfig.from_pretrained(encoders["bert"])).save_pretrained(
        sharded, max_shard_size="50KB"
    )
    load_tokenizer(encoders["bert"]).save_pretrained(sharded)
    frame = sample.to_pandas()[["text", "label"]]
    for name, write in {
        "csv": lambda path: frame.to_csv(path / "train [1].csv", sep=";", index=False),
        "lines": lambda path: frame.to_json(path / "train.jsonl", orient="records", lines=True),
        "broken": lambda path: (path / "train.parquet").write_bytes(b"PAR1 no Parquet PAR1"),
        "script": lambda path: (path / "script.py").write_text("raise SystemExit"),
    }.items():
        (folder / "datasets" / "other" / name).mkdir(parents=True)
        write(folder / "datasets" / "other" / name)
    (folder / "datasets" / "other" / "csv" / "README.md").write_text(
        "---\nconfigs:\n- {config_name: semicolons, data_files: '*.csv', sep: ';'}\n---\n"
    )
    data = folder / "datasets" / IMDB
    (data / "plain_text").mkdir(parents=True)
    (data / "README.md").write_text(CARD)
    for split, part in {
        "train": pa.concat_tables([sample.slice(0, 120), sample.slice(200, 120)]),
        "test": pa.concat_tables([sample.slice(110, 90), sample.slice(310, 90)]),
        "unsupervised": sample.slice(0, 50),
    }.items():
        columns = part.select(["text", "label"])
        pq.write_table(columns, data / "plain_text" / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.fixture
def hub(repositories):
    with Hub(repositories) as hub:
        yield hub


@pytest.fixture
def weights(repositories):
    return (repositories / "models" / BERT / "model.safetensors").read_bytes()


def command(python, hub, tmp_path, line: str, **environment: str) -> subprocess.CompletedProcess:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    script, *flags = line.split()
    return subprocess.run(
        [python, f"scripts/{script}", *flags, "--out", str(tmp_path / "out")],
        cwd=ROOT,
        env=kept | hub.environment(tmp_path / "home") | environment,
        capture_output=True,
        text=True,
    )


def test_an_encoder_comes_without_pickles_and_onnx(python, hub, tmp_path):
    for repository, family in ((BERT, "bert"), (MODERNBERT, "modernbert")):
        done = command(python, hub, tmp_path, ENCODER.replace(BERT, repository))
        assert done.returncode == 0, done.stderr
        names = {path.name for path in (tmp_path / "out").iterdir()}
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
        assert not names & {"pytorch_model.bin", "model.onnx", "onnx"}
        encoder = load_encoder(tmp_path / "out", "masked-mean")
        assert encoder.config.model_type == family
    asked = [request for request in hub.requests if "/resolve/" in request]
    assert asked and not [request for request in asked if "onnx" in request or ".bin" in request]


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
    assert not [request for request in hub.requests if "resolve" in request and "unsup" in request]
    for split in ("train", "test"):
        file = f"plain_text/{split}-00000-of-00001.parquet"
        assert hub.sent[file] == (repositories / "datasets" / IMDB / file).stat().st_size  # once


@pytest.mark.parametrize(("name", "flags"), [("csv", "--subset semicolons"), ("lines", "")])
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


def test_a_second_download_asks_for_no_file(python, hub, tmp_path):
    assert command(python, hub, tmp_path, ENCODER).returncode == 0
    hub.requests.clear()
    assert command(python, hub, tmp_path, ENCODER).returncode == 0
    assert not [
        request for request in hub.requests if request.startswith("GET") and ".saf" in request
    ]


def test_a_download_needs_no_network_once_it_is_in_the_cache(python, hub, tmp_path):
    assert command(python, hub, tmp_path, ENCODER).returncode == 0
    done = command(python, hub, tmp_path, ENCODER, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr


def test_the_token_is_sent_and_never_shown(python, hub, tmp_path):
    hub.faults["model.safetensors"] = (403, "GatedRepo")
    done = command(python, hub, tmp_path, ENCODER, HF_TOKEN="hf_secret")
    assert "Bearer hf_secret" in hub.tokens
    assert done.returncode == 1 and "hf_secret" not in done.stdout + done.stderr


NOWHERE = {"HF_ENDPOINT": "http://127.0.0.1:9"}
FAULTS = {
    "no network": (ENCODER, {}, NOWHERE, r"http://127.0.0.1:9 can't be reached; check network"),
    "no network for data": (DATASET, {}, NOWHERE, r"imdb': http://127.0.0.1:9 can't be reached"),
    "offline": (ENCODER, {}, {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set, and the .*; unset"),
    "unknown repository": (
        ENCODER.replace(BERT, "google-bert/none"),
        {},
        {},
        r"model 'google-bert/none': http\S+ has no such repository, or it is private; check its id",
    ),
    "unknown dataset": (
        DATASET.replace(IMDB, "stanfordnlp/none"),
        {},
        {},
        "dataset 'stanfordnlp/none': .* has no such repository",
    ),
    "unknown revision": (
        ENCODER.replace(COMMIT, "f" * 40),
        {},
        {},
        f"it has no revision '{'f' * 40}'; take one from its list of commits",
    ),
    "unknown branch of a dataset": (
        DATASET.replace(COMMIT, "v9"),
        {},
        {},
        f"dataset '{IMDB}': it has no revision 'v9'",
    ),
    "unknown split": (
        DATASET.replace("train test", "train dev"),
        {},
        {},
        "has no split 'dev'; it has: train, test, unsupervised",
    ),
    "unknown subset": (DATASET + " --subset fancy", {}, {}, "'fancy' not found. .*'plain_text'"),
    "a damaged dataset": (
        f"download.py hub --id other/broken --revision {COMMIT} --splits train",
        {},
        {},
        "dataset 'other/broken': .*[Pp]arquet",
    ),
    "a dataset of a script": (
        f"download.py hub --id other/script --revision {COMMIT} --splits train",
        {},
        {},
        "dataset 'other/script': ",
    ),
    "a wrong token": (
        ENCODER,
        {"/api/": (401, "")},
        {"HF_TOKEN": "hf_x"},
        "; check HF_TOKEN",
    ),
    "a password in the address": (
        ENCODER,
        {},
        {"HF_ENDPOINT": "http://me:secret@127.0.0.1"},
        "http://127.0.0.1 can't be reached",
    ),
    "an address without https": (ENCODER, {}, {"HF_ENDPOINT": "hub.local"}, "HF_ENDPOINT is"),
    "gated": (
        ENCODER,
        {"model.safetensors": (403, "GatedRepo")},
        {},
        "it is gated; ask for access on its page at .*, then set HF_TOKEN or run `hf auth login`",
    ),
    "unauthorized": (ENCODER, {BERT: (401, "RepoNotFound")}, {}, "set HF_TOKEN if it is private"),
    "a hub that is down": (ENCODER, {"/api/": (500, "")}, {}, "answers 500; try again later"),
    "no safetensors": (
        ENCODER.replace(BERT, "old/pickled"),
        {},
        {},
        f"model 'old/pickled' at {COMMIT} has no weights in safetensors; choose a revision that",
    ),
    "another checksum": (
        f"{ENCODER} --sha256 model.safetensors={'0' * 64}",
        {},
        {},
        "'model.safetensors' has SHA-256 .*, not 0000",
    ),
    "another checksum of data": (
        f"{DATASET} --sha256 plain_text/train-00000-of-00001.parquet={'0' * 64}",
        {},
        {},
        "'plain_text/train-00000-of-00001.parquet' has SHA-256 .*, not 0000",
    ),
    "a checksum of no file": (
        f"{ENCODER} --sha256 flax.msgpack={'0' * 64}",
        {},
        {},
        "sha256 names 'flax.msgpack', which is not",
    ),
}


SLOW = ("a hub that is down", "a password in the address")  # the client tries again for 20 seconds


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in FAULTS]
)
def test_faults_end_in_one_line_and_leave_nothing(python, hub, tmp_path, case):
    line, hub.faults, environment, message = FAULTS[case]
    done = command(python, hub, tmp_path, line, **environment)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"{line.split()[0]}: error: ")
    assert re.search(message, last), done.stderr
    assert "Traceback" not in done.stderr and "secret" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(
    python, hub, repositories, encoders, tmp_path
):
    large = repositories / "models" / "large" / "bert"
    shutil.copytree(encoders["bert"], large)
    chunk = 10 * 2**20  # bytes that the client writes at a time
    save_file({"weight": torch.zeros(3 * chunk // 4)}, large / "model.safetensors")
    hub.cuts["model.safetensors"] = 5 * chunk // 2, 1
    done = command(python, hub, tmp_path, ENCODER.replace(BERT, "large/bert"))
    assert done.returncode == 0, done.stderr
    size = (large / "model.safetensors").stat().st_size
    assert hub.sent["model.safetensors"] == size - 2 * chunk
    assert (tmp_path / "out" / "model.safetensors").stat().st_size == size


def test_a_download_that_was_cut_off_is_completed_by_the_next_call(python, hub, weights, tmp_path):
    hub.cuts["model.safetensors"] = len(weights) // 2, 100
    done = command(python, hub, tmp_path, ENCODER)
    assert done.returncode == 1 and not (tmp_path / "out").exists()
    assert "the transfer was cut off; run again, the files" in done.stderr.splitlines()[-1]
    hub.cuts.clear()
    hub.sent.clear()
    assert command(python, hub, tmp_path, ENCODER).returncode == 0
    assert hub.sent.keys() == {"model.safetensors"}
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == weights


def test_a_damaged_file_is_named_and_comes_anew_once_deleted(python, hub, tmp_path):
    hub.damaged.add("model.safetensors")
    done = command(python, hub, tmp_path, ENCODER)
    assert done.returncode == 1 and not (tmp_path / "out").exists()
    message = done.stderr.splitlines()[-1]
    assert "'model.safetensors' does not have the SHA-256 that the hub lists" in message
    hub.damaged.clear()
    os.remove(message.partition("; delete ")[2].removesuffix(" and run again"))
    assert command(python, hub, tmp_path, ENCODER).returncode == 0


def test_a_whole_study_from_the_hub_with_no_other_network(python, hub, tmp_path):
    workspace = Workspace(tmp_path / "study")

    def change(config):
        config["dataset"] = {
            "name": "imdb",
            "source": "hub",
            "id": IMDB,
            "revision": COMMIT,
            "splits": ["train", "test"],
            "labels": ["negative", "positive"],
        }
        config["models"] = {
            "bert": {"source": "hub", "id": BERT, "revision": COMMIT},
            "modernbert": {"source": "hub", "id": MODERNBERT, "revision": COMMIT},
        }
        config["grid"][0]["pooling"] = ["pooler"]
        config["analysis"] = {"statistics": False, "errors": False, "tsne": False}

    config = workspace.write_config("study.yaml", change)
    workspace.environment = hub.environment(tmp_path / "home")
    fetched = [f"results/encoders/dataset=imdb/model={name}" for name in ("bert", "modernbert")]
    jobs = workspace.jobs(
        python,
        "results/datasets/imdb/reviews.parquet",
        *fetched,
        "--cores",
        "2",
        f"--configfile={config}",
    )
    assert jobs == {"download": 1, "split": 1, "encoder": 2} or jobs == {
        "download": 1,
        "encoder": 2,
    }
    hub.requests.clear()
    jobs = workspace.jobs(python, SUMMARY, "--cores", "2", f"--configfile={config}")
    assert jobs["train"] == jobs["test"] == 2 and "download" not in jobs
    assert not hub.requests  # all later rules are offline
    page = workspace.read(SUMMARY)
    assert f"hub {IMDB} {COMMIT}" in page and "random weights" not in page
