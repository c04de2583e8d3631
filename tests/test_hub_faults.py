"""What goes wrong with the hub, and a whole study from it."""

import os
import re
import shutil

import pytest
from hub import BERT, COMMIT, DATASET, ENCODER, IMDB, MODERNBERT, command
from transformers import BertConfig, BertModel
from workspace import SUMMARY, Workspace

NOWHERE = {"HF_ENDPOINT": "http://127.0.0.1:9"}
FAULTS = {
    "no network": (
        ENCODER.replace(COMMIT, "main"),  # of a commit, the client asks for 20 seconds
        {},
        NOWHERE,
        r"http://127.0.0.1:9 can't be reached; check network",
    ),
    "no network for data": (
        DATASET.replace(COMMIT, "main"),
        {},
        NOWHERE,
        r"imdb': http://127.0.0.1:9 can't be reached",
    ),
    "offline": (ENCODER, {}, {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set, and the .*; unset"),
    "offline without data": (
        DATASET,
        {},
        {"HF_HUB_OFFLINE": "1"},
        f"dataset '{IMDB}': HF_HUB_OFFLINE is set, and the hub's cache does not hold it; unset it",
    ),
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
        "dataset 'other/script': Dataset scripts are no longer supported",
    ),
    "a dataset of files outside its repository": (
        f"download.py hub --id other/outside --revision {COMMIT} --splits train",
        {},
        {},
        r"'other/outside' names '/\S+/private.csv', which is no file of its repository",
    ),
    "a wrong token": (
        ENCODER,
        {"/api/": (401, "")},
        {"HF_TOKEN": "hf_x"},
        "; check HF_TOKEN",
    ),
    "a password in the address": (
        ENCODER.replace(COMMIT, "main"),
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


SLOW = ("a hub that is down",)  # the client tries again for 20 seconds


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
    wide = {"hidden_size": 512, "num_attention_heads": 8, "intermediate_size": 2048}
    BertModel(BertConfig.from_pretrained(large, **wide)).save_pretrained(large)
    hub.cuts["model.safetensors"] = 5 * chunk // 2, 1
    done = command(python, hub, tmp_path, ENCODER.replace(BERT, "large/bert"))
    assert done.returncode == 0, done.stderr
    size = (large / "model.safetensors").stat().st_size
    assert size > 5 * chunk // 2 and hub.sent["model.safetensors"] == size - 2 * chunk
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


@pytest.mark.slow
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
        config["split"] = {"ratios": [4, 1, 1]}
        config["grid"] = [config["grid"][0] | {"pooling": ["pooler"]}]
        config["analysis"] = dict.fromkeys(("baseline", "statistics", "errors", "tsne"), False)

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
    assert jobs["train"] == jobs["evaluate"] == 1 and "download" not in jobs
    assert not hub.requests  # all later rules are offline
    page = workspace.read(SUMMARY)
    assert f"hub {IMDB} {COMMIT}" in page and "random weights" not in page
