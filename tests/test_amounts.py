"""How much a training sees: its updates, and its sample of the reviews."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import torch
from conftest import call
from test_training import SETTINGS, build, fit, load

from lib.data.sampling import first_of
from lib.training.loop import Recipe
from lib.training.progress import Epoch


@pytest.mark.parametrize(("updates", "epochs"), [(4, 1), (10, 2), (14, 2), (15, 3)])
def test_updates_in_place_of_epochs_end_within_an_epoch(encoders, tokens, updates, epochs):
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    assert len(data) == 100  # 7 updates of 16 in an epoch, the last of 4
    result, losses = fit(
        build(encoders, "bert"),
        data,
        valid,
        batch=16,
        epochs=9,
        updates=updates,
        scheduler="linear",
    )
    assert len(losses) == updates == result.history[-1].updates
    assert [epoch.epoch for epoch in result.history] == [*range(1, epochs + 1)]
    assert all(0 <= epoch.train_accuracy <= 1 for epoch in result.history)
    assert result.history[-1].learning_rate == pytest.approx(1e-3 / updates)  # the last before 0
    seen = {4: 64, 10: 148, 14: 200, 15: 216}[updates]
    assert Recipe(16, 5, SETTINGS).seen(updates, 100) == seen


def test_as_many_updates_as_the_epochs_have_are_the_same_training(encoders, tokens):
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    one, other = build(encoders, "bert"), build(encoders, "bert")
    by_epochs, _ = fit(one, data, valid, batch=16, epochs=2)
    by_updates, _ = fit(other, data, valid, batch=16, updates=14)
    assert [*map(Epoch.rank, by_epochs.history)] == [*map(Epoch.rank, by_updates.history)]
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name


def test_a_sample_is_learned_as_if_there_were_no_other_reviews(encoders, tokens, tmp_path):
    import train as command

    everything = pq.read_table(tokens["bert"] / "train.parquet")
    rows = first_of(everything["label"].to_numpy(), 40, 3)
    alone = tmp_path / "alone"
    alone.mkdir()
    pq.write_table(everything.take(rows), alone / "train.parquet")
    shutil.copyfile(tokens["bert"] / "valid.parquet", alone / "valid.parquet")
    flags = f"--encoder {encoders['bert']} --dataset d --model m --pooling cls --batch 16 --seed 3"
    for folder, source, examples in (("some", tokens["bert"], 40), ("all", alone, "all")):
        run = f"--tokens {source} --run {tmp_path / folder} --examples {examples}"
        call(command, f"{run} {flags} --epochs 2 --device cpu")
    some, others = (json.loads((tmp_path / x / "train.json").read_text()) for x in ("some", "all"))
    assert some["examples"] == others["examples"] == 40 and some["updates"] == 6
    assert some["train_accuracy"] == others["train_accuracy"]
    weights = [
        (tmp_path / x / "checkpoint/model.safetensors").read_bytes() for x in ("some", "all")
    ]
    assert weights[0] == weights[1]
