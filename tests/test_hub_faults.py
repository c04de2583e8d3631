"""What goes wrong with the hub, and a whole study from it."""

import os
import re
import shutil

import pytest
from hub import BERT, COMMIT, DATASET, ENCODER, IMDB, MODERNBERT, command
from transformers import BertConfig, BertModel
from workspace import SUMMARY, Workspace

NOWHERE, OFFLINE = {"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}
PASSWORD = {"HF_ENDPOINT": "http://me:secret@127.0.0.1"}
# Of a commit, the client would ask for 20 seconds.
ENCODER_AT_MAIN, DATASET_AT_MAIN = (line.replace(COMMIT, "main") for line in (ENCODER, DATASET))
OTHER = f"download.py hub --revision {COMMIT} --splits train --id other/"
ZEROS = "0" * 64
TRAIN = "plain_text/train-00000-of-00001.parquet"
DOWN = "answers 500; try again later"
CACHE = "HF_HUB_OFFLINE is set, and the hub's cache does not hold it; unset it"
NO_REPOSITORY = r"http\S+ has no such repository, or it is private; check its id"
PICKLED = f"model 'old/pickled' at {COMMIT} has no weights in safetensors; choose a revision that"
GATED = "it is gated; ask for access on its page at .*, then set HF_TOKEN or run `hf auth login`"

# A command, what the hub answers instead, variables of the environment, and what is said.
FAULTS: list[tuple[str, dict, dict, str]] = [
    # a hub that is away
    (ENCODER_AT_MAIN, {}, NOWHERE, "http://127.0.0.1:9 can't be reached; check network"),
    (DATASET_AT_MAIN, {}, NOWHERE, "imdb': http://127.0.0.1:9 can't be reached"),
    (ENCODER_AT_MAIN, {}, PASSWORD, "http://127.0.0.1 can't be reached"),
    (ENCODER, {}, {"HF_ENDPOINT": "hub.local"}, "HF_ENDPOINT is"),
    (ENCODER, {}, OFFLINE, CACHE),
    (DATASET, {}, OFFLINE, f"dataset '{IMDB}': {CACHE}"),
    (ENCODER, {"/api/": (500, "")}, {}, DOWN),
    # what it does not have
    (ENCODER.replace(BERT, "google-bert/none"), {}, {}, f"'google-bert/none': {NO_REPOSITORY}"),
    (DATASET.replace(IMDB, "stanfordnlp/none"), {}, {}, f"'stanfordnlp/none': {NO_REPOSITORY}"),
    (ENCODER.replace(COMMIT, "f" * 40), {}, {}, f"no revision '{'f' * 40}'; take one from its"),
    (DATASET.replace(COMMIT, "v9"), {}, {}, f"dataset '{IMDB}': it has no revision 'v9'"),
    (DATASET.replace("test", "dev"), {}, {}, "no split 'dev'; it has: train, test, unsupervised"),
    (f"{DATASET} --subset fancy", {}, {}, "'fancy' not found. .*'plain_text'"),
    (ENCODER.replace(BERT, "old/pickled"), {}, {}, PICKLED),
    # what it does not give
    (ENCODER, {"/api/": (401, "")}, {"HF_TOKEN": "hf_x"}, "; check HF_TOKEN"),
    (ENCODER, {"model.safetensors": (403, "GatedRepo")}, {}, GATED),
    (ENCODER, {BERT: (401, "RepoNotFound")}, {}, "set HF_TOKEN if it is private"),
    # what is not read
    (f"{OTHER}broken", {}, {}, "dataset 'other/broken': .*[Pp]arquet"),
    (f"{OTHER}script", {}, {}, "'other/script': Dataset scripts are no longer supported"),
    (f"{OTHER}outside", {}, {}, r"'other/outside' names '/\S+/private.csv', which is no file of"),
    # digests
    (f"{ENCODER} --sha256 model.safetensors={ZEROS}", {}, {}, "'model.saf.* has SHA-256 .*, not 0"),
    (f"{DATASET} --sha256 {TRAIN}={ZEROS}", {}, {}, f"'{TRAIN}' has SHA-256 .*, not 0000"),
    (f"{ENCODER} --sha256 flax.msgpack={ZEROS}", {}, {}, "sha256 names 'flax.msgpack', which is"),
]


def slow(fault: tuple) -> list:
    """The marks of a fault: where the hub is down, the client tries again for 20 seconds."""
    return [pytest.mark.slow] * (fault[-1] == DOWN)


@pytest.mark.parametrize(
    ("line", "answers", "environment", "message"),
    [pytest.param(*fault, id=fault[-1], marks=slow(fault)) for fault in FAULTS],
)
def test_faults_end_in_one_line_and_leave_nothing(
    python, hub, tmp_path, line, answers, environment, message
):
    hub.faults = answers
    done = command(python, hub, tmp_path, line, **environment)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and last.startswith(f"{line.split()[0]}: error: ")
    assert re.search(message, last), done.stderr
    assert "Traceback" not in done.stderr and "secret" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
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


@pytest.mark.slow
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
    commit = {"source": "hub", "revision": COMMIT}
    labels = ["negative", "positive"]

    def change(config):
        config["dataset"] = commit | {"name": "imdb", "id": IMDB, "labels": labels}
        config["dataset"]["splits"] = ["train", "test"]
        repositories = {"bert": BERT, "modernbert": MODERNBERT}
        config["models"] = {name: commit | {"id": id} for name, id in repositories.items()}
        config["split"] = {"ratios": [4, 1, 1]}
        config["grid"] = [config["grid"][0] | {"pooling": ["pooler"]}]
        config["analysis"] = dict.fromkeys(
            ("baseline", "statistics", "errors", "tsne", "latency"), False
        )

    flags = ["--cores", "2", f"--configfile={workspace.write_config('study.yaml', change)}"]
    workspace.environment = hub.environment(tmp_path / "home")
    fetched = [f"results/encoders/dataset=imdb/model={name}" for name in ("bert", "modernbert")]
    jobs = workspace.jobs(python, "results/datasets/imdb/reviews.parquet", *fetched, *flags)
    assert jobs.pop("split", 1) == 1 and jobs == {"download": 1, "encoder": 2}
    hub.requests.clear()
    jobs = workspace.jobs(python, SUMMARY, *flags)
    assert jobs["train"] == jobs["evaluate"] == 1 and "download" not in jobs
    assert not hub.requests  # all later rules are offline
    page = workspace.read(SUMMARY)
    assert f"hub {IMDB} {COMMIT}" in page and "random weights" not in page
