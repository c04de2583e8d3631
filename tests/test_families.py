"""Encoders of many families, each through all commands: the same as transformers, or refused."""

import json

import pandas as pd
import pyarrow as pa
import pytest
import torch
from conftest import call
from families import FAMILIES, REFUSED
from test_training import Synchronisations
from transformers import AutoModel, AutoTokenizer

import encoder
import evaluate
import predict
import pretokenize
import train
from lib.command.console import UserError
from lib.files.whole import write_parquet
from lib.training.checkpoints import load_checkpoint
from lib.training.model import Classifier, load_encoder

pytestmark = pytest.mark.slow

LENGTH = 48
TEXTS = {"train": 48, "valid": 16, "test": 40}
WAITING = {"deberta", "flaubert", "longformer", "xlm"}
KEYS = "--dataset d --model m --pooling masked-mean --batch 16 --seed 1"


@pytest.fixture(scope="module")
def texts(sample) -> list[str]:
    """Reviews, cut at many lengths."""
    found = (" ".join(text.split()) for text in sample["text"].to_pylist())
    return [text[: 10 + 37 * number % 250] for number, text in enumerate(found)]


@pytest.fixture(scope="module")
def splits(texts, tmp_path_factory):
    folder, start = tmp_path_factory.mktemp("splits"), 0
    for name, count in TEXTS.items():
        rows = range(start, start + count)
        start += count
        table = {
            "id": pa.array(rows),
            "text": [texts[row * 3] for row in rows],
            "label": pa.array([row % 2 for row in rows], pa.int8()),
        }
        write_parquet(folder / f"{name}.parquet", pa.table(table))
    return folder


def states_of(model, tokenizer, texts: list[str]) -> list[torch.Tensor]:
    """The states that transformers by itself gives for each text alone."""
    found = []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=LENGTH, return_tensors="pt")
        if not model.takes_types:
            inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            found.append(model.encoder(**inputs).last_hidden_state[0])
    return found


def labels_of(run, path, batch: int, capsys) -> list[str]:
    """The labels that predict.py gives."""
    capsys.readouterr()
    call(predict, f"{run} --file {path} --batch {batch} --device cpu --precision fp32 --threads 1")
    lines = capsys.readouterr().out.splitlines()
    return [json.loads(line)["label"] for line in lines]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_gives_what_transformers_gives(
    family, made, splits, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    own, kind = made(family), FAMILIES[family][0]
    copied, tokens, run = (tmp_path / name for name in ("encoder", "tokens", "run"))
    call(
        encoder, f"folder --path {own} --max-length {LENGTH} --poolings masked-mean --out {copied}"
    )
    call(
        pretokenize,
        f"--splits {splits} --encoder {copied} --threads 1 --out {tokens}",
    )
    call(
        train,
        f"--tokens {tokens} --encoder {copied} --run {run} {KEYS} --max-length {LENGTH} --epochs 1 "
        "--threads 1 --device cpu --precision fp32 --learning-rate 0.003",
    )
    call(evaluate, f"--tokens {tokens}/test.parquet --run {run} --device cpu --precision fp32")

    reviews = pd.read_parquet(splits / "test.parquet")["text"].tolist()
    start = Classifier(load_encoder(copied, "masked-mean"), "masked-mean", 2, 0.0).eval()
    for model, folder in ((start, own), (load_checkpoint(run / "checkpoint"), run / "checkpoint")):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        plain = Classifier(AutoModel.from_pretrained(folder), "masked-mean", 2, 0.0).eval()
        batch = dict(
            tokenizer(
                reviews, truncation=True, max_length=LENGTH, padding=True, return_tensors="pt"
            )
        )
        with torch.inference_mode():
            states = model.encode(batch).last_hidden_state
        for found, mask, wanted in zip(
            states,
            batch["attention_mask"].bool(),
            states_of(plain, tokenizer, reviews),
            strict=True,
        ):
            torch.testing.assert_close(found[mask], wanted, rtol=1e-4, atol=1e-5)

    wanted = pd.read_parquet(run / "predictions.parquet")["prediction"].astype(str).tolist()
    (tmp_path / "texts.txt").write_text("\n".join(reviews) + "\n")
    for batch_size in (1, 32):
        assert labels_of(run, tmp_path / "texts.txt", batch_size, capsys) == wanted
    with capsys.disabled():
        facts = json.loads((copied / "probe.json").read_text())
        lacks = ", ".join(facts["lacks"]) or "nothing"
        print(f"\n{family:22} {kind:10} positions {facts['positions']!s:5} lacks {lacks}", end="")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pass_waits_for_the_device_only_in_code_of_the_family(family, made):
    model = Classifier(load_encoder(made(family), "masked-mean"), "masked-mean", 2, 0.0).eval()
    inputs = {"input_ids": torch.randint(8, 300, (3, 24))}
    whole = torch.ones(3, 24, dtype=torch.bool)
    padded = whole.clone()
    padded[1, 20:] = False
    found = []
    for given in ({}, {"attention_mask": whole}, {"attention_mask": padded}):
        with Synchronisations() as synchronisations, torch.no_grad():
            found.append(model(inputs | given))
        assert bool(synchronisations.count) == (family in WAITING)
    assert torch.equal(found[0], found[1]) and not torch.equal(found[1], found[2])


@pytest.mark.parametrize("family", REFUSED)
def test_a_family_is_refused_with_its_reason(family, made, tmp_path, capsys):
    kind, _, reason = REFUSED[family]
    own = made(family)
    with pytest.raises(UserError) as refused:
        call(
            encoder,
            f"folder --path {own} --max-length {LENGTH} --poolings masked-mean "
            f"--out {tmp_path}/encoder",
        )
    assert reason in str(refused.value) and f"'{own}'" in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
    with capsys.disabled():
        print(f"\n{family:22} {kind:10} refused: {reason}", end="")


def test_there_are_at_least_thirty_families():
    assert len(FAMILIES) >= 30
