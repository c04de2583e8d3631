"""The model card of a run: read as the hub reads it, and its Python run as it stands."""

import json
import math
import os
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import call
from huggingface_hub import InferenceClient, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from markdown_it import MarkdownIt
from sklearn.metrics import f1_score
from statsmodels.stats.proportion import proportion_confint

import evaluate
import train
from lib.command.console import UserError
from lib.files.manifests import verify
from lib.study.schema import poolings
from lib.training.card import POOLINGS, model_card

LABELS = ['a "b" | `c` <b>\'s</b>', "--- # {x}: \\ [d](http://evil.example) ```$y$"]


@pytest.fixture(scope="module")
def run(encoders, tokens, tmp_path_factory):
    """A finished run."""
    run = tmp_path_factory.mktemp("run")
    flags = (
        f"--tokens {tokens['bert']} --encoder {encoders['bert']} --run {run} --dataset d --model "
        "bert --pooling cls --batch 20 --seed 1 --max-length 48 --epochs 1 --device cpu "
        "--learning-rate 1e-3"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        train.main(train.arguments().parse_args([*flags.split(), "--labels", *LABELS]))
    call(evaluate, f"--tokens {tokens['bert']}/test.parquet --run {run} --device cpu")
    return run


@pytest.fixture
def data(run):
    """The metadata of its card, as the hub reads them."""
    return ModelCard.load(run / "checkpoint" / "README.md").data


@pytest.fixture
def facts(run):
    """What train.json and test.json tell of a run that learned."""
    trained, tested = (json.loads((run / f"{name}.json").read_text()) for name in ("train", "test"))
    return trained | {"learned": True}, tested


@pytest.fixture
def card(facts):
    """Makes the card of such a run, of which some facts are changed."""
    trained, tested = facts

    def make(tested_too=(), labels=LABELS, data=(), **changes):
        told = trained | changes, tested | dict(tested_too)
        return ModelCard(model_card(*told, labels, dict(data)))

    return make


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


def test_the_results_are_those_of_the_test(run, data, facts):
    trained, tested = facts
    same = ("model", "pooling", "seed", "best_epoch", "valid_accuracy")
    assert {key: tested[key] for key in same} == {key: trained[key] for key in same}
    table = pd.read_parquet(run / "predictions.parquet", partitioning=None)
    macro_f1 = f1_score(table["label"], table["prediction"], average="macro")
    assert tested["macro_f1"] == pytest.approx(macro_f1)
    assert tested["accuracy"] == (table["label"] == table["prediction"]).mean()
    assert tested["loss"] == pytest.approx(table["loss"].mean(), rel=1e-5)
    results = data.eval_results
    found = [(x.metric_type, x.metric_name, x.metric_value, x.metric_args) for x in results]
    assert found == [
        ("accuracy", "Accuracy", tested["accuracy"], None),
        ("f1", "Macro F1", tested["macro_f1"], {"average": "macro"}),
        ("loss", "Loss", tested["loss"], None),
    ]
    assert {(each.dataset_split, each.dataset_name) for each in results} == {("test", "d")}


def test_each_number_stands_beside_its_name(facts, card):
    trained, _ = facts
    changes = {"best_epoch": 3, "updates": 1250, "parameters": 38530, "valid_accuracy": 0.71}
    changes |= {"train_accuracy": 0.72, "valid_loss": 0.73, "learning_rate": 0.0125, "seed": 5}
    changes |= {"truncation": "tail", "backend": "accelerate", "precision": "bf16", "batch": 24}
    changes["settings"] = trained["settings"] | {"learning_rate": 0.05, "max_length": 49}
    made = card({"accuracy": 0.675, "macro_f1": 0.61, "loss": 0.62, "n": 40}, **changes)
    shown = cells(made.text)
    low, high = proportion_confint(27, 40, method="wilson")
    for row in (
        ["Class", "Label", "0", LABELS[0], "1", LABELS[1]],
        ["Validation", "Accuracy after epoch 3, the best", "0.7100"],
        ["Test", "Accuracy", f"0.6750, 95% Wilson interval {low:.4f} to {high:.4f}, n = 40"],
        ["Test", "Macro F1", "0.6100", "Test", "Loss, in nats", "0.6200"],
        ["Encoder", "bert, from the local folder encoder"],
        ["Parameters", "38,530"],
        [
            "Input",
            "49 tokens of a text at most, special tokens included: the last; the rest is cut off",
        ],
        ["batch", "24", "variant", "base", "seed", "5"],
        ["learning_rate", "0.05"],
        *([key, str(trained["settings"][key])] for key in ("optimizer", "epochs", "dropout")),
        ["learning_rate after scaling", "0.0125"],
        ["updates of all epochs", "1,250"],
        ["SHA-256 of the training tokens", trained["tokens_sha256"]],
        ["Workflow", trained["workflow"]],
        ["torch", trained["versions"]["torch"]],
        ["Back-end", "accelerate", "Precision", "bf16", "Hardware", trained["hardware"]],
    ):
        assert row in [shown[place : place + len(row)] for place in range(len(shown))]
    values = {each.metric_type: each.metric_value for each in made.data.eval_results}
    assert values == {"accuracy": 0.675, "f1": 0.61, "loss": 0.62}
    assert "This is one run of one seed." in made.text
    assert "chosen by validation accuracy, which is therefore too high on average;" in made.text
    for measure, said in (("loss", "loss, which is therefore too low"), ("macro_f1", "macro F1, ")):
        changes["settings"] |= {"choose_by": measure}
        made = card({"accuracy": 0.675, "macro_f1": 0.61, "loss": 0.62, "n": 40}, **changes)
        assert f"The best epoch was chosen by validation {said}" in made.text


def test_the_metadata_are_those_of_the_hub_and_tell_no_path_of_the_machine(run, data):
    assert (data.library_name, data.pipeline_tag) == (
        "sentence-transformers",
        "feature-extraction",
    )
    assert "cls" in data.tags and not data.base_model and not data.datasets
    for path in filter(Path.is_file, (run / "checkpoint").rglob("*")):
        assert str(run.parent.parent).encode() not in path.read_bytes(), path


def test_the_checkpoint_holds_no_hidden_file_and_its_manifest_knows_the_card(run):
    folder = run / "checkpoint"
    files = filter(Path.is_file, folder.rglob("*"))
    names = sorted(str(path.relative_to(folder)) for path in files)
    assert "README.md" in names and not list(folder.rglob(".*"))
    assert not list(run.glob(".*.tmp"))
    verify(run / "checkpoint")
    assert os.system(f"cd {run} && sha256sum --check --strict --quiet .checkpoint.sha256") == 0
    listed = (run / ".checkpoint.sha256").read_text().splitlines()
    assert sorted(line.partition("/")[2] for line in listed) == names


def test_a_model_that_did_not_learn_says_so_first(card):
    sentence = "**This model did not learn.**"
    assert sentence not in card().text
    text = card(learned=False, chance_p=0.021, chance_level=0.013).text
    assert text.split("\n\n")[1].startswith(sentence) and "diverged" not in text
    assert "(p = 0.021, where below 0.013 was asked for)" in text


def test_one_that_diverged_has_no_loss(card):
    made = card({"loss": math.nan}, learned=False, chance_p=1.0, diverged=True)
    assert "The training diverged." in made.text and "nan" in cells(made.text)
    assert [each.metric_type for each in made.data.eval_results] == ["accuracy", "f1"]


@pytest.mark.parametrize(
    ("freeze", "said"),
    [
        ("none", "Encoder and head were trained together on the dataset"),
        ("encoder", "The encoder is as it was, and the head alone was trained on the dataset"),
        (2, "trained together, without the embeddings and the lowest 2 of its layers, on"),
    ],
)
def test_what_was_trained_is_told(card, facts, freeze, said):
    settings = facts[0]["settings"] | {"freeze": freeze}
    assert said in card(settings=settings).text


def test_an_encoder_is_told_by_where_it_comes_from(card):
    digests = {"config.json": "0" * 64, "model.safetensors": "1" * 64}
    hub = {"source": "hub", "id": "some/bert", "revision": "abc", "sha256": digests}
    made = card(encoder=hub)
    assert made.data.base_model == "some/bert"
    shown = cells(made.text)
    assert "bert, from the Hugging Face hub: some/bert at revision abc" in shown
    assert "model.safetensors " + "1" * 64 in shown
    scratch = {"source": "scratch", "architecture": "bert", "vocab_size": 600, "sha256": {}}
    shown = cells(card(encoder=scratch).text)
    found = "from random weights, with a tokenizer of the training texts: architecture bert, "
    assert f"bert, {found}vocab_size 600" in shown and "none: they were random" in shown


@pytest.mark.parametrize(
    ("encoder", "data", "said"),
    [
        ({}, {}, "No licence is told of the encoder; no licence is told of the data."),
        (
            {"license": "mit"},
            {},
            "The encoder is under mit, as its source says; no licence is told of the data.",
        ),
        (
            {"source": "scratch", "architecture": "bert"},
            {"license": "cc-by-4.0"},
            "The encoder began with random weights of this study; "
            "the data are under cc-by-4.0, as their source says.",
        ),
    ],
)
def test_licences_are_those_that_sources_tell_and_the_model_has_none(card, encoder, data, said):
    folder = {"source": "folder", "path": "/home/me/own", "sha256": {}}
    made = card(encoder=folder | encoder, data={"source": "files"} | data)
    (line,) = (line for line in made.text.splitlines() if "licence" in line)
    assert line == (
        f"- **No licence of this model is stated here.** {said} Nothing of that was checked: check "
        "the licences of the encoder and of the data before you use or publish this model."
    )
    assert made.data.license is None and "license" not in made.data.to_dict()


def test_a_test_reads_the_licence_of_the_data_from_its_reviews(run, tokens, tmp_path):
    reviews = tmp_path / "reviews.json"
    card = run / "checkpoint" / "README.md"
    before = card.read_text()
    for told, said in (({"license": "mit"}, "the data are under mit"), ({}, "told of the data")):
        reviews.write_text(json.dumps({"source": "files"} | told))
        line = f"--tokens {tokens['bert']}/test.parquet --run {run} --device cpu"
        call(evaluate, f"{line} --reviews {reviews}")
        assert said in card.read_text()
    assert card.read_text() == before
    reviews.write_text("{}")
    with pytest.raises(UserError, match=r"reviews.json' can't be read: it does not tell 'source'"):
        call(evaluate, f"{line} --reviews {reviews}")


@pytest.mark.parametrize("pooling", poolings())
@pytest.mark.parametrize("truncation", ["head", "head-tail"])
def test_the_metadata_are_what_the_hub_documents(card, pooling, truncation):
    encoder = {"source": "hub", "id": "some/bert", "revision": "abc", "sha256": {}}
    encoder |= {"license": "apache-2.0"}
    made = card(pooling=pooling, truncation=truncation, encoder=encoder, data={"license": "mit"})
    told = yaml.safe_load(made.content.split("---\n")[1])
    assert told == made.data.to_dict()
    loaded = {"library_name", "pipeline_tag"} & told.keys()
    assert told.keys() - loaded == {"tags", "base_model", "model-index"}
    if truncation == "head" and pooling != "padded-mean":
        assert told["library_name"] in ("sentence-transformers", "transformers")
        assert hasattr(InferenceClient, told["pipeline_tag"].replace("-", "_"))  # a task by name
    else:
        assert not loaded
    assert all(type(tag) is str for tag in told["tags"])
    name, found = model_index_to_eval_results(told["model-index"])
    assert name == made.data.model_name and found == made.data.eval_results
    assert all(type(each.metric_value) is float for each in found)


def test_texts_from_outside_stay_texts(card):
    for hostile in [*LABELS, "---", "null", "[x]: y", "*a* _b_ & <!-- c", "```", "é\u2028: 1"]:
        folder = {"source": "folder", "path": f"/home/me/{hostile.replace('/', '')}", "sha256": {}}
        folder["license"] = hostile
        told = {"dataset": hostile, "model": hostile, "encoder": folder}
        made = card(labels=[hostile] * 3, data={"license": hostile}, **told)
        assert {each.dataset_name for each in made.data.eval_results} == {hostile}
        assert cells(made.text).count(" ".join(hostile.split())) == 3
        kinds = {child.type for each in parsed(made.text) for child in each.children or ()}
        assert kinds <= {"text", "text_special", "strong_open", "strong_close", "code_inline"}
        assert len([each for each in parsed(made.text) if each.type == "fence"]) == 1
        assert "/home/me" not in made.content
        assert (
            yaml.safe_load(made.content.split("\n---\n")[0])["library_name"]
            == "sentence-transformers"
        )
