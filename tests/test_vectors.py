"""Encoders that are not trained: their vectors are computed once, and learned from many times.

The fast way is compared with the slow one, in which every pass runs the encoder: 100 reviews in
updates of 16, of which the last has 4, in passes of unequal numbers.
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from conftest import call
from safetensors.torch import load_file
from test_backends import histories, run_train
from test_resume import Cut as Interruption
from test_resume import same_run
from transformers import AutoConfig, AutoModel
from workspace import RUN, SUMMARY, Workspace

import evaluate
import train
import vectors
from lib.command.console import UserError
from lib.data.encoders import load_tokenizer
from lib.files.predictions import read_predictions
from lib.files.tables import read_table
from lib.files.whole import link
from lib.study import config as configuration
from lib.study.runs import Run
from lib.training.saving import Saving

FLAGS = (
    "--dataset d --model m --batch 16 --seed 3 --epochs 3 --learning-rate 1e-2 --scheduler linear "
    "--dropout 0.3 --max-grad-norm 0.05 --micro-batch 10 --micro-tokens 300 --freeze encoder"
)
SHARED = "--max-length 48 --device cpu --eval-batch 24 --micro-tokens 300"
POOLINGS = [
    *(("bert", pooling) for pooling in ("cls", "padded-mean", "masked-mean", "max", "pooler")),
    *(("modernbert", pooling) for pooling in ("cls", "padded-mean")),
]


@pytest.fixture(autouse=True)
def untracked(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")


@pytest.fixture(scope="module")
def weighted(encoders, tmp_path_factory) -> dict[str, Path]:
    """Folders of encoders with weights, and with dropout."""
    folders = {}
    for name, source in encoders.items():
        folders[name] = tmp_path_factory.mktemp(name) / "encoder"
        config = AutoConfig.from_pretrained(source)
        for key in ("hidden_dropout_prob", "attention_probs_dropout_prob", "mlp_dropout"):
            if hasattr(config, key):
                setattr(config, key, 0.2)
        torch.manual_seed(1)
        AutoModel.from_config(config).save_pretrained(folders[name])
        load_tokenizer(source).save_pretrained(folders[name])
    return folders


def given(tokens, weighted, architecture: str, pooling: str) -> str:
    """The flags of what is learned from."""
    folders = f"--tokens {tokens[architecture]} --encoder {weighted[architecture]}"
    return f"{folders} --pooling {pooling} {SHARED}"


def run_both(tokens, weighted, folder: Path, architecture: str, pooling: str) -> None:
    """Train and test in the folders `slow` and `fast`, the latter with vectors beside it."""
    line, out = given(tokens, weighted, architecture, pooling), folder / "vectors"
    call(vectors, f"{line} --out {out}")
    call(train, f"{line} {FLAGS} --run {folder / 'slow'}")
    call(train, f"{line} {FLAGS} --run {folder / 'fast'} --vectors {out}")
    test = f"--tokens {tokens[architecture]}/test.parquet --device cpu"
    call(evaluate, f"{test} --run {folder / 'slow'}")
    call(evaluate, f"{test} --run {folder / 'fast'} --vectors {out}/test.parquet")


@pytest.fixture(scope="module")
def both(tokens, weighted, tmp_path_factory) -> Path:
    """A folder with a run in the slow way, and one in the fast way."""
    folder = tmp_path_factory.mktemp("both")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        run_both(tokens, weighted, folder, "bert", "masked-mean")
    return folder


def told(run: Path) -> dict:
    return json.loads((run / "train.json").read_text())


@pytest.mark.parametrize(("architecture", "pooling"), POOLINGS)
def test_the_fast_way_learns_what_the_slow_one_does(
    tokens, weighted, tmp_path, architecture, pooling
):
    run_both(tokens, weighted, tmp_path, architecture, pooling)
    slow, fast = (pd.read_csv(tmp_path / name / "history.csv") for name in ("slow", "fast"))
    exact = ["epoch", "updates", "learning_rate", "train_accuracy", "valid_accuracy"]
    assert slow[exact].equals(fast[exact]) and [*slow] == [*fast]
    assert slow["updates"].tolist() == [7, 14, 21]
    near = ["train_loss", "valid_loss", "grad_norm"]
    np.testing.assert_allclose(slow[near], fast[near], rtol=1e-4)
    assert (slow["grad_norm"] > 0.05).all()  # all are clipped
    heads = [
        load_file(tmp_path / name / "checkpoint/2_Dense/model.safetensors")
        for name in ("slow", "fast")
    ]
    for key, weight in heads[0].items():
        torch.testing.assert_close(heads[1][key], weight, rtol=1e-4, atol=1e-5)
    predicted = [read_predictions(tmp_path / name) for name in ("slow", "fast")]
    assert (predicted[0].index == predicted[1].index).all() and len(predicted[0]) == 40
    np.testing.assert_allclose(predicted[0]["loss"], predicted[1]["loss"], rtol=1e-4)


def test_dropout_and_clipping_change_what_is_compared(both, tokens, weighted, tmp_path):
    line = given(tokens, weighted, "bert", "masked-mean")
    losses = [pd.read_csv(both / "fast" / "history.csv")["train_loss"]]
    for old, new in (("--dropout 0.3", "--dropout 0"), ("--max-grad-norm 0.05", "")):
        call(train, f"{line} {FLAGS.replace(old, new)} --run {tmp_path} --vectors {both}/vectors")
        losses.append(pd.read_csv(tmp_path / "history.csv")["train_loss"])
    assert not any(np.allclose(losses[0], other, rtol=1e-4) for other in losses[1:])


def test_a_checkpoint_is_whole_and_holds_no_copy_of_the_encoder(both, tokens, weighted):
    source, checkpoint = weighted["bert"], both / "fast" / "checkpoint"
    assert os.path.samefile(checkpoint / "model.safetensors", source / "model.safetensors")
    loaded, expected = (AutoModel.from_pretrained(each) for each in (checkpoint, source))
    found = loaded.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.state_dict().items())
    assert loaded.config.num_labels == 2
    before = read_predictions(both / "fast")
    test = f"--tokens {tokens['bert']}/test.parquet --device cpu"
    call(evaluate, f"{test} --run {both / 'fast'}")  # in passes of the encoder
    np.testing.assert_allclose(read_predictions(both / "fast")["loss"], before["loss"], rtol=1e-4)
    assert (read_predictions(both / "fast")["prediction"] == before["prediction"]).all()


def test_weights_that_are_a_link_are_found_from_a_checkpoint(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "weights").write_text("weights")
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("blobs/weights")
    link(tmp_path / "link", tmp_path / "there" / "weights")
    assert (tmp_path / "there" / "weights").read_text() == "weights"


def test_a_run_tells_what_the_slow_way_tells_and_how_little_it_computed(both):
    slow, fast = told(both / "slow"), told(both / "fast")
    same = ("examples", "updates", "learned", "parameters", "parameters_trained", "texts_cut")
    same += ("tokens_lost", "tokens_sha256", "encoder", "settings", "micro_batch", "micro_tokens")
    assert {key: slow[key] for key in same} == {key: fast[key] for key in same}
    assert fast["texts_cut"] > 0 and fast["parameters_trained"] == 2 * 32 + 2
    operations = fast["flops_per_second"] / fast["examples_per_second"]
    assert operations == pytest.approx(4 * 2 * 32)  # forward, and the gradient of the weights
    assert 0 < fast["flop_utilisation"] < slow["flop_utilisation"]
    assert "vectors_sha256" not in slow and fast["vectors_sha256"]


@pytest.fixture
def interrupted(both, tokens, weighted, tmp_path) -> str:
    """The command line of a training that keeps all checkpoints and ended in its second epoch."""

    def cut(saving, progress) -> None:
        if (len(progress.history), len(progress.rates)) == (1, 2):
            saving.save(progress)
            raise Interruption

    line = f"{given(tokens, weighted, 'bert', 'masked-mean')} {FLAGS} --keep-checkpoints all"
    line += f" --run {tmp_path / 'run'} --vectors {tmp_path / 'vectors'}"
    (tmp_path / "vectors").mkdir()
    for name in ("train.parquet", "valid.parquet"):
        (tmp_path / "vectors" / name).write_bytes((both / "vectors" / name).read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Saving, "save_when_due", cut)
        with pytest.raises(Interruption):
            call(train, line)
    return line


def test_an_interrupted_training_ends_with_the_same_bytes(
    both, weighted, interrupted, tmp_path, caplog
):
    caplog.set_level("INFO")
    call(train, interrupted)
    assert "resuming in epoch 2, after update 2 of it" in caplog.text
    assert same_run(tmp_path / "run", both / "fast")
    kept = [*(tmp_path / "run" / "checkpoints").glob("*/model.safetensors")]
    assert len(kept) == 3
    assert all(os.path.samefile(path, weighted["bert"] / path.name) for path in kept)


def test_a_state_belongs_to_the_vectors(interrupted, tmp_path, caplog):
    path = tmp_path / "vectors" / "valid.parquet"
    pq.write_table(pq.read_table(path, partitioning=None), path, compression="none")
    call(train, interrupted)
    assert "begins anew" in caplog.text and "other vectors.valid.parquet" in caplog.text


@pytest.mark.slow
def test_two_processes_and_a_part_of_the_reviews(python, both, tokens, weighted, tmp_path):
    line = f"{given(tokens, weighted, 'bert', 'masked-mean')} {FLAGS} --dropout 0 --examples 33"
    two = "--backend accelerate --processes 2"
    call(train, f"{line} --run {tmp_path / 'slow'}")
    fast = f"{line} {two} --run {tmp_path / 'fast'} --vectors {both / 'vectors'}"
    done = run_train(python, fast)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(*histories(tmp_path, "slow", "fast"), rtol=1e-4)
    assert told(tmp_path / "fast")["processes"] == 2 and told(tmp_path / "fast")["examples"] == 33


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("--freeze encoder", "--freeze 1", "freeze is 1, but vectors are of an encoder that is"),
        ("masked-mean", "cls", "holds vectors of other pooling;"),
        ("--max-length 48", "--max-length 40", "holds vectors of other max_length;"),
        ("{own}", "{other}", "holds vectors of other encoder"),
        ("{tokens}", "{others}", "holds vectors of other tokens;"),
        ("{vectors}", "{tokens}", "can't be read: it holds no vectors of vectors.py"),
        ("{vectors}", "none", "'none/train.parquet' is missing"),
    ],
)
def test_other_vectors_are_refused(both, tokens, weighted, tmp_path, old, new, message):
    line = "--tokens {tokens} --encoder {own} --vectors {vectors} --pooling masked-mean"
    places = {"tokens": tokens["bert"], "own": weighted["bert"], "vectors": both / "vectors"}
    places |= {"others": tokens["modernbert"], "other": weighted["modernbert"]}
    line = f"{line} {SHARED} {FLAGS}".replace(old, new).format(**places)
    with pytest.raises(UserError, match=re.escape(message)):
        call(train, f"{line} --run {tmp_path / 'run'}")


def test_a_test_refuses_vectors_of_another_split(both, tokens):
    line = f"--tokens {tokens['bert']}/test.parquet --run {both / 'fast'} --device cpu"
    with pytest.raises(UserError, match="holds vectors of other tokens"):
        call(evaluate, f"{line} --vectors {both / 'vectors'}/valid.parquet")
    with pytest.raises(UserError, match="holds 180 vectors, but the split has 40 texts"):
        call(evaluate, f"{line} --vectors {both / 'vectors'}")


def test_a_test_refuses_vectors_of_an_encoder_that_was_trained(both, tokens, weighted, tmp_path):
    flags = FLAGS.replace("--freeze encoder", "--freeze 1")
    line = given(tokens, weighted, "bert", "masked-mean")
    call(train, f"{line} {flags} --run {tmp_path / 'run'}")
    line = f"--tokens {tokens['bert']}/test.parquet --run {tmp_path / 'run'} --device cpu"
    with pytest.raises(UserError, match="freeze is 1, but vectors are of an encoder that is not"):
        call(evaluate, f"{line} --vectors {both / 'vectors'}/test.parquet")


def test_random_weights_have_no_vectors_for_all_seeds(tokens, encoders, tmp_path):
    with pytest.raises(UserError, match="its weights are random, others for each seed"):
        call(vectors, f"{given(tokens, encoders, 'bert', 'cls')} --out {tmp_path}")


def config_of_study(weighted) -> dict:
    """Two poolings of an encoder that is not trained, two rates, a longer cut; a new encoder."""
    config = yaml.safe_load((Path(__file__).parent / "config.yaml").read_text())
    config["models"]["own"] = {"source": "folder", "path": str(weighted["bert"])}
    config["training"] |= {"freeze": "encoder", "max_length": 32}
    del config["max_length"], config["models"]["modernbert"]
    config["variants"] = {"base": {}, "rate": {"learning_rate": 2e-3}, "long": {"max_length": 48}}
    config["analysis"] = dict.fromkeys(("baseline", "errors", "attention"), False)
    run = {"batch": [64], "seed": [1]}
    config["grid"] = [
        {"model": ["own"], "pooling": ["cls", "max"], "variant": ["base", "rate"], **run},
        {"model": ["own"], "pooling": ["cls"], "variant": ["long"], **run},
        {"model": ["bert"], "pooling": ["cls"], **run},
    ]
    return config


def test_variants_share_vectors_where_these_are_alike(weighted):
    config = config_of_study(weighted)
    config["variants"] |= {"fp16": {"precision": "fp16"}, "fp32": {"threads": 1, "epochs": 3}}
    config["variants"]["tuned"] = {"freeze": "none"}
    configuration.check(config)
    ends = {name: configuration.vectors_of(config, name) for name in config["variants"]}
    assert ends["base"] == ends["rate"] == ends["fp32"] == "max_length=32/truncation=auto"
    assert ends["long"] == "max_length=48/truncation=auto"
    assert ends["fp16"] == "max_length=32/truncation=auto/precision=fp16"
    for model, variant, expected in (
        ("own", "base", True),
        ("own", "tuned", False),
        ("bert", "base", False),  # of random weights, which the seed decides
    ):
        run = Run("imdb-25k", model, "cls", 64, variant, 1)
        assert configuration.has_vectors(config, run) == expected


@pytest.mark.slow
def test_a_study_computes_vectors_once_and_again_where_they_change(python, weighted, tmp_path):
    workspace, config = Workspace(tmp_path), config_of_study(weighted)

    def jobs(*words: str, **changes) -> dict[str, int]:
        given = config | {"training": config["training"] | changes}
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(given))
        return workspace.jobs(python, *words, "--configfile=study.yaml")

    done = jobs("--cores", "2", "-p", SUMMARY)
    assert done["vectors"] == 3 and done["train"] == done["evaluate"] == 6
    trained = [line for line in workspace.commands if "scripts/train.py" in line]
    assert len(trained) == 6 and sum(" --vectors " in line for line in trained) == 5
    costs = read_table(tmp_path / "results/tables/costs.parquet").set_index("part")
    assert costs["jobs"]["vectors of encoders that are not trained"] == 3
    run = json.loads(workspace.read(f"{RUN.format('own', 'max', 64, 'rate', 1)}/train.json"))
    assert run["parameters_trained"] == 2 * 33 and run["vectors_sha256"]
    assert jobs("-n", epochs=3) == jobs("-n", learning_rate=1e-3, dropout=0.2) | {"train": 6}
    assert "vectors" not in jobs("-n", learning_rate=1e-3)
    assert jobs("-n", max_length=40)["vectors"] == 2  # all but those of the variant
    assert jobs("-n", eval_batch=64)["vectors"] == 3
    assert "vectors" not in jobs("-n", freeze="none")
