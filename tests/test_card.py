"""The model card of a run: read as the hub reads it, and its Python run as it stands."""

import json
import math
import os
import re
import subprocess

import pandas as pd
import pytest
import yaml
from conftest import call
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from sklearn.metrics import f1_score
from statsmodels.stats.proportion import proportion_confint

import evaluate
import predict
import train
from lib.files.manifests import verify
from lib.study.schema import poolings
from lib.training.card import POOLINGS, model_card

LABELS = ['a "b" | `c` <b>\'s</b>', "--- # {x}: \\ [d](http://evil.example) ```$y$"]
ENCODER_OF = dict.fromkeys(POOLINGS, "bert") | {"padded-mean": "modernbert", "max": "modernbert"}
SHORT = ["A film I will not forget.", "", "Schön, aber lang — 映画"]
LONG = ["Dull and too long. " * 40, *SHORT]
CALL = """
import json, os, sys
for line in sys.stdin:
    folder, code = json.loads(line)
    os.chdir(folder)
    names = {}
    exec(code, names)
    print("found", json.dumps(names["probabilities"].tolist()))
"""


@pytest.fixture(scope="module")
def runs(encoders, tokens, tmp_path_factory):
    """A finished run of each pooling."""
    folders = {}
    for pooling, model in ENCODER_OF.items():
        folders[pooling] = folder = tmp_path_factory.mktemp(pooling)
        flags = (
            f"--tokens {tokens[model]} --encoder {encoders[model]} --run {folder} --dataset d "
            f"--model {model} --pooling {pooling} --batch 20 --seed 1 --epochs 1 --device cpu "
            "--learning-rate 1e-3 --labels"
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WANDB_MODE", "disabled")
            train.main(train.arguments().parse_args([*flags.split(), *LABELS]))
        call(evaluate, f"--tokens {tokens[model]}/test.parquet --run {folder} --device cpu")
    return folders


def read(run):
    """The card of a run."""
    return ModelCard.load(run / "checkpoint" / "README.md")


def told(run):
    """What the files of a run tell of its training and its test."""
    return [json.loads((run / name).read_text()) for name in ("train.json", "test.json")]


def parsed(text):
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)


def cells(text):
    """The cells of all tables, as a reader sees them; markup in one is a failure."""
    found = []
    for before, token in zip(parsed(text), parsed(text)[1:], strict=False):
        if before.type in ("td_open", "th_open"):
            kinds = {child.type for child in token.children}
            assert kinds <= {"text", "text_special"}, token.content
            found.append("".join(child.content for child in token.children))
    return found


def test_every_pooling_has_its_lines():
    assert list(POOLINGS) == poolings()


@pytest.fixture(scope="module")
def found(runs, python):
    """The probabilities that the snippet of each card gives, in one process without the project."""
    lines = []
    for run in runs.values():
        (code,) = re.findall(r"^```python\n(.+?)^```$", read(run).text, re.MULTILINE | re.DOTALL)
        assert "lib" not in re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE)
        for texts in (SHORT, LONG):
            ours, count = re.subn(r"^texts = .*$", f"texts = {texts!r}", code, flags=re.MULTILINE)
            assert count == 1
            lines.append(json.dumps([str(run / "checkpoint"), ours]))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", CALL],
        input="\n".join(lines),
        env=environment | {"HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    given = list(map(json.loads, re.findall(r"^found (.+)$", done.stdout, re.MULTILINE)))
    pairs = zip(given[::2], given[1::2], strict=True)
    return {pooling: short + long for pooling, (short, long) in zip(runs, pairs, strict=True)}


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_snippet_gives_the_probabilities_of_the_project(runs, found, pooling, capsys):
    flags = [str(runs[pooling]), "--device", "cpu", "--text", *SHORT, *LONG]
    predict.main(predict.arguments().parse_args(flags))
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    labels = [LABELS[max((0, 1), key=row.__getitem__)] for row in found[pooling]]
    assert labels == [each["label"] for each in expected]
    confidences = [max(row) for row in found[pooling]]
    assert confidences == pytest.approx([each["confidence"] for each in expected], abs=1e-5)


def test_the_metadata_are_those_of_the_hub_and_the_results_those_of_the_test(runs):
    for pooling, run in runs.items():
        trained, tested = told(run)
        same = ("model", "pooling", "seed", "best_epoch", "valid_accuracy")
        assert {key: tested[key] for key in same} == {key: trained[key] for key in same}
        table = pd.read_parquet(run / "predictions.parquet", partitioning=None)
        macro_f1 = f1_score(table["label"], table["prediction"], average="macro")
        assert tested["macro_f1"] == pytest.approx(macro_f1)
        assert tested["accuracy"] == (table["label"] == table["prediction"]).mean()
        assert tested["loss"] == pytest.approx(table["loss"].mean(), rel=1e-5)
        data = read(run).data
        assert data.library_name == "transformers" and data.pipeline_tag == "text-classification"
        assert pooling in data.tags and not data.base_model and not data.datasets
        assert [
            (each.metric_type, each.metric_name, each.metric_value, each.metric_args)
            for each in data.eval_results
        ] == [
            ("accuracy", "Accuracy", tested["accuracy"], None),
            ("f1", "Macro F1", tested["macro_f1"], {"average": "macro"}),
            ("loss", "Loss", tested["loss"], None),
        ]
        assert {each.dataset_split for each in data.eval_results} == {"test"}
        assert {each.dataset_name for each in data.eval_results} == {"d"}


def test_the_text_has_the_interval_the_settings_and_the_labels(runs):
    trained, tested = told(runs["cls"])
    text = read(runs["cls"]).text
    shown = cells(text)
    right = round(tested["accuracy"] * tested["n"])
    low, high = proportion_confint(right, tested["n"], method="wilson")
    interval = f"{tested['accuracy']:.4f}, 95% Wilson interval {low:.4f} to {high:.4f}, n = 40"
    assert interval in shown
    assert set(LABELS) <= set(shown)
    assert "bert, from the local folder encoder" in shown
    for key in ("optimizer", "epochs", "dropout", "scheduler"):
        assert shown[shown.index(key) + 1] == str(trained["settings"][key])
    assert trained["workflow"] in shown and trained["versions"]["torch"] in shown
    assert "This is one run of one seed." in text and "No licence is stated here." in text


def test_each_number_stands_beside_its_name(facts):
    trained, tested = facts
    trained |= {"best_epoch": 3, "updates": 1250, "parameters": 38530, "valid_accuracy": 0.71}
    trained |= {
        "train_accuracy": 0.72,
        "valid_loss": 0.73,
        "learning_rate": 0.0125,
        "max_length": 49,
    }
    trained |= {"backend": "accelerate", "precision": "bf16", "batch": 24, "seed": 5}
    trained["settings"] = trained["settings"] | {"learning_rate": 0.05}
    shown = cells(model_card(trained, tested | {"macro_f1": 0.61, "loss": 0.62}, LABELS))
    for row in (
        ["Validation", "Accuracy after epoch 3, the best", "0.7100"],
        ["Test", "Macro F1", "0.6100"],
        ["Test", "Loss, in nats", "0.6200"],
        ["Parameters", "38,530"],
        ["Input", "49 tokens of a text at most, special tokens included; the rest is cut off"],
        ["batch", "24", "variant", "base", "seed", "5"],
        ["learning_rate", "0.05"],
        ["learning_rate after scaling", "0.0125"],
        ["updates of all epochs", "1,250"],
        ["SHA-256 of the training tokens", trained["tokens_sha256"]],
        ["Back-end", "accelerate", "Precision", "bf16", "Hardware", trained["hardware"]],
    ):
        assert row in [shown[place : place + len(row)] for place in range(len(shown))]


def test_no_path_of_the_machine_is_in_what_is_published(runs):
    for run in runs.values():
        place = str(run.parent.parent).encode()
        for path in (run / "checkpoint").iterdir():
            assert place not in path.read_bytes(), path


def test_the_checkpoint_holds_no_hidden_file_and_its_manifest_knows_the_card(runs):
    checkpoint = runs["cls"] / "checkpoint"
    names = {path.name for path in checkpoint.iterdir()}
    assert "README.md" in names and not any(name[0] == "." for name in names)
    assert not list(runs["cls"].glob(".*.tmp"))
    verify(checkpoint)
    command = f"cd {runs['cls']} && sha256sum --check --strict --quiet .checkpoint.sha256"
    assert os.system(command) == 0
    listed = (runs["cls"] / ".checkpoint.sha256").read_text().splitlines()
    assert {line.partition("/")[2] for line in listed} == names
    assert len(listed) == len(names)


@pytest.fixture
def facts(runs):
    """What train.json and test.json tell of a run that learned."""
    trained, tested = told(runs["cls"])
    return trained | {"learned": True}, tested


def test_a_model_that_did_not_learn_says_so_first(facts):
    trained, tested = facts
    sentence = "**This model did not learn.**"
    assert sentence not in model_card(trained, tested, LABELS)
    changed = trained | {"learned": False, "chance_p": 0.021, "chance_level": 0.013}
    text = ModelCard(model_card(changed, tested, LABELS)).text
    assert text.split("\n\n")[1].startswith(sentence)
    assert "(p = 0.021, where below 0.013 was asked for)" in text


def test_each_number_stands_in_its_own_row(facts):
    trained, tested = facts
    changed = trained | {"best_epoch": 3, "valid_accuracy": 0.61, "updates": 1700}
    changed |= {"learning_rate": 2e-4, "batch": 128, "seed": 11}
    measured = tested | {"accuracy": 0.675, "macro_f1": 0.55, "loss": 0.83, "n": 40}
    card = ModelCard(model_card(changed, measured, ["bad", "good"]))
    shown = cells(card.text)
    begin = shown.index("Class")
    assert shown[begin : begin + 6] == ["Class", "Label", "0", "bad", "1", "good"]
    begin = shown.index("Validation")
    low, high = proportion_confint(27, 40, method="wilson")
    accuracy = f"0.6750, 95% Wilson interval {low:.4f} to {high:.4f}, n = 40"
    assert shown[begin : begin + 12] == [
        *("Validation", "Accuracy after epoch 3, the best", "0.6100"),
        *("Test", "Accuracy", accuracy, "Test", "Macro F1", "0.5500"),
        *("Test", "Loss, in nats", "0.8300"),
    ]
    for name, value in (("batch", "128"), ("seed", "11"), ("learning_rate", "0.001")):
        assert shown[shown.index(name) + 1] == value
    assert shown[shown.index("learning_rate after scaling") + 1] == "0.0002"
    assert shown[shown.index("updates of all epochs") + 1] == "1,700"
    values = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert values == {"accuracy": 0.675, "f1": 0.55, "loss": 0.83}


def test_one_that_diverged_has_no_loss(facts):
    trained, tested = facts
    changed = trained | {"learned": False, "chance_p": 1.0, "diverged": True}
    card = ModelCard(model_card(changed, tested | {"loss": math.nan}, LABELS))
    assert "The training diverged." in card.text and "nan" in cells(card.text)
    assert [each.metric_type for each in card.data.eval_results] == ["accuracy", "f1"]


def test_an_encoder_of_the_hub_is_the_base_model(facts):
    trained, tested = facts
    encoder = {
        "source": "hub",
        "id": "some/bert",
        "revision": "abc",
        "sha256": {"config.json": "0" * 64, "model.safetensors": "1" * 64},
    }
    card = ModelCard(model_card(trained | {"encoder": encoder}, tested, LABELS))
    assert card.data.base_model == "some/bert"
    shown = cells(card.text)
    assert "bert, from the Hugging Face hub: some/bert at revision abc" in shown
    assert "model.safetensors " + "1" * 64 in shown


def test_one_of_random_weights_is_told_by_its_sizes(facts):
    trained, tested = facts
    encoder = {"source": "scratch", "architecture": "bert", "vocab_size": 600, "sha256": {}}
    text = model_card(trained | {"encoder": encoder}, tested, LABELS)
    found = "from random weights, with a tokenizer of the training texts: architecture bert, "
    assert f"bert, {found}vocab_size 600" in cells(text) and "none: they were random" in text


def test_texts_from_outside_stay_texts(facts):
    trained, tested = facts
    for hostile in [*LABELS, "---", "null", "[x]: y", "*a* _b_ & <!-- c", "```", "é\u2028: 1"]:
        folder = {"source": "folder", "path": f"/home/me/{hostile.replace('/', '')}", "sha256": {}}
        changed = trained | {"dataset": hostile, "model": hostile, "encoder": folder}
        card = ModelCard(model_card(changed, tested, [hostile] * 3))
        assert {each.dataset_name for each in card.data.eval_results} == {hostile}
        assert cells(card.text).count(" ".join(hostile.split())) == 3
        kinds = {child.type for each in parsed(card.text) for child in each.children or ()}
        assert kinds <= {"text", "text_special", "strong_open", "strong_close", "code_inline"}
        assert len([each for each in parsed(card.text) if each.type == "fence"]) == 1
        assert "/home/me" not in card.content
        assert yaml.safe_load(card.content.split("\n---\n")[0])["library_name"] == "transformers"
