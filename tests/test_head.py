"""The classifier of an architecture itself, as a pooling: what transformers gives, everywhere."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import CUT, call, make_run
from families import FAMILIES, bring, build, refusal, reweigh, save
from scipy.special import expit, logit
from test_backends import histories, run_train, train_command
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BertForMaskedLM,
    BertForSequenceClassification,
    ModernBertForMaskedLM,
    pipeline,
)

import predict
import pretokenize
from lib.command.console import UserError
from lib.training.checkpoints import load_checkpoint, new_classifier, save_checkpoint
from lib.training.insight import attention, sentence_vectors
from lib.training.model import load_encoder

# family -> a dropout that its config.json can tell as well
TOLD = {"bert": 0.4, "modernbert": 0.4, "roberta": 0.4, "electra": 0.4, "albert": 0.4}
TOLD |= {"longformer": 0.1, "mpnet": 0.1, "gpt2": 0.0, "eurobert": 0.0}
STANDARD = ("bert", "modernbert", "roberta")
PARTS = {"bert": "head", "modernbert": "tail", "roberta": "auto", "electra": "head-tail"}
LABELS = ["negative", "positive"]
LONG = " ".join(["A film I will not forget, and a plot that I would rather forget."] * 9)
MIXED = f"Two hours of nothing at all. {LONG} Never again!"
TEXTS = ["A film I will not forget.", LONG, MIXED, "!"]


def batch(model) -> dict[str, torch.Tensor]:
    """Three texts of different lengths."""
    config = model.encoder.config
    mask = torch.arange(12) < torch.tensor([[12], [7], [2]])
    ids = torch.randint(8, config.vocab_size, (3, 12)).masked_fill(~mask, config.pad_token_id)
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("family", TOLD)
def test_logits_are_those_of_transformers_in_evaluation_and_in_training(made, tmp_path, family):
    folder = made(family)
    model = new_classifier(folder, "head", 3, TOLD[family], ["a", "b", "c"])
    save_checkpoint(model, folder, tmp_path / "checkpoint", CUT)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "checkpoint")
    inputs = batch(model)
    found = []
    for training in (False, True):
        for one, given in ((model, (inputs,)), (plain, ())):
            one.train(training)
            torch.manual_seed(1)
            outputs = one(*given) if given else one(**inputs).logits
            found.append(outputs)
    evaluated, expected, trained, expected_too = found
    torch.testing.assert_close(evaluated, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(trained, expected_too, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(evaluated[0], evaluated[1], atol=1e-6)
    loaded = load_checkpoint(tmp_path / "checkpoint")
    assert torch.equal(loaded(inputs), evaluated) and loaded.rate == TOLD[family]


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"splinter"}))  # which has none
def test_logits_of_a_family_are_those_of_transformers(made, tmp_path, family):
    folder = made(family)
    model = new_classifier(folder, "head", 3, 0.0).eval()
    save_checkpoint(model, folder, tmp_path / "checkpoint", CUT)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "checkpoint").eval()
    inputs = batch(model)
    expected = plain(inputs["input_ids"], attention_mask=inputs["attention_mask"].long()).logits
    torch.testing.assert_close(model(inputs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("family", "trained"),
    [
        ("bert", {"encoder.pooler", "head"}),
        ("modernbert", {"own.head", "head"}),
        ("roberta", {"own.classifier", "head"}),
    ],
)
def test_a_frozen_encoder_leaves_the_whole_head_to_train(made, family, trained):
    model = new_classifier(made(family), "head", 2, 0.5, encoder_dropout=0.5)
    model.freeze("encoder")
    model.train()
    inputs = batch(model)
    states = [model.encode(inputs).last_hidden_state for _ in range(2)]
    assert torch.equal(*states) and not torch.equal(model(inputs), model(inputs))
    model(inputs).sum().backward()
    learns = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert {part for part in trained for name in learns if name.startswith(f"{part}.")} == trained
    assert all(name.startswith(tuple(trained)) for name in learns)


@pytest.mark.parametrize("family", ["bert", "distilbert", "eurobert"])
def test_the_dropout_that_is_set_holds_whatever_the_architecture_has(made, family):
    inputs = None
    for dropout, same in ((0.5, False), (0.0, True)):
        model = new_classifier(made(family, dropout=0.0), "head", 2, dropout)
        inputs = inputs or batch(model)
        model.encoder.eval()
        model.own.train(), model.dropout.train()
        assert torch.equal(model(inputs), model(inputs)) is same


def test_vectors_are_what_the_last_layer_is_given(made):
    model = new_classifier(made("roberta"), "head", 2, 0.1).eval()
    inputs, given = batch(model), []
    with model.assembled() as own:
        hook = own.classifier.out_proj.register_forward_pre_hook(lambda _, x: given.append(x[0]))
        own(**inputs)
        hook.remove()
    assert torch.equal(model.represent(inputs), *given)


def test_the_head_is_computed_in_single_precision_and_the_encoder_as_asked(made):
    model, kinds = new_classifier(made("modernbert"), "head", 2, 0.0).eval(), {}
    for name, part in (("head", model.own.head.dense), ("encoder", model.encoder.layers[1].mlp.Wo)):
        part.register_forward_hook(lambda _, __, x, name=name: kinds.update({name: x.dtype}))
    inputs = batch(model)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(inputs)
        assert torch.is_autocast_enabled("cpu")
    assert kinds == {"head": torch.float32, "encoder": torch.bfloat16}
    assert logits.dtype == torch.float32
    model(inputs)
    assert kinds == {"head": torch.float32, "encoder": torch.float32}


def test_the_head_of_pretraining_is_taken_and_the_log_tells_what_is_new(made, caplog):
    caplog.set_level("INFO")
    folder = made("modernbert", ModernBertForMaskedLM)
    expected = ModernBertForMaskedLM.from_pretrained(folder).head.state_dict()
    own = new_classifier(folder, "head", 2, 0.0).own
    assert all(torch.equal(expected[name], x) for name, x in own.head.state_dict().items())
    assert "the last layer of its own classifier, classifier, is new" in caplog.text
    assert "2 weights of its own classifier are new, such as classifier.bias" in caplog.text


def test_a_pooler_that_is_missing_is_new(made, caplog):
    caplog.set_level("INFO")
    assert load_encoder(made("bert", BertForMaskedLM), "head").bert.pooler.dense.weight.std() > 0
    assert "4 weights of its own classifier are new, such as bert.pooler.dense.b" in caplog.text


@pytest.mark.parametrize("classes", [2, 3])
def test_a_classifier_of_another_task_is_never_taken(made, classes):
    folder = made("bert", BertForSequenceClassification, num_labels=2)
    left = BertForSequenceClassification.from_pretrained(folder)
    heads = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model = new_classifier(folder, "head", classes, 0.0)
        assert model.head.weight.shape == (classes, 32)
        assert torch.equal(model.encoder.pooler.dense.weight, left.bert.pooler.dense.weight)
        heads.append(model.head.weight)
    assert torch.equal(*heads[:2]) and not torch.equal(*heads[1:])
    assert all(not torch.isclose(head[:2], left.classifier.weight).any() for head in heads)
    assert model.own.config.num_labels == len(model.own.config.id2label) == classes


@pytest.mark.parametrize("lost", ["bert.encoder.layer.1.output.dense.bias", "classifier.bias"])
def test_a_checkpoint_that_lacks_a_weight_is_refused(made, tmp_path, lost):
    folder = made("bert")
    save_checkpoint(new_classifier(folder, "head", 2, 0.0), folder, tmp_path / "checkpoint", CUT)
    reweigh(tmp_path / "checkpoint", lambda found: found.pop(lost) is not None and found)
    with pytest.raises(UserError, match=f"lacks 1 weights of the encoder, such as {lost};"):
        load_checkpoint(tmp_path / "checkpoint")
    if lost != "classifier.bias":
        with pytest.raises(UserError, match=f"lacks 1 weights of the encoder, such as {lost};"):
            load_encoder(tmp_path / "checkpoint", "head")


def test_weights_that_nothing_uses_are_refused(made):
    folder = made("bert", BertForMaskedLM)
    extra = "bert.encoder.layer.0.gate.weight"
    reweigh(folder, lambda found: found | {extra: torch.zeros(3)})
    with pytest.raises(UserError, match=f"no place for 1 of the weights, such as {extra};"):
        load_encoder(folder, "head")


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("splinter", "has no classifier of its own in transformers"),
        ("xlnet", "has a classifier of its own that lets the padding beside a text change its"),
    ],
)
def test_what_has_no_such_classifier_is_refused_as_it_is_tried(made, family, reason):
    folder = made(family)
    said = refusal(folder, "--poolings cls head")
    assert f"{reason}" in said
    assert "so pooling 'head' does not fit it; take cls or padded-mean or" in said
    assert bring(folder)["lacks"]["head"].startswith(reason)
    with pytest.raises(UserError, match="pooling 'head'"):
        load_encoder(folder.with_name("out"), "head")


def test_one_that_does_not_know_its_padding_is_refused(made):
    folder = made("gpt2")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))
    message = r"has a classifier of its own that fails on texts of \d+ tokens \(Cannot handle batch"
    assert re.search(message, refusal(folder, "--poolings head"))


def test_one_that_can_is_tried_with_its_checkpoint(made):
    for family in STANDARD:
        folder = made(family)
        assert "head" not in bring(folder, "--poolings head cls")["lacks"]
        for path in (folder, folder.with_name("out")):
            path.rename(path.with_name(f"{family}-{path.name}"))


@pytest.fixture(scope="module")
def runs(tokenizers, splits, tmp_path_factory) -> dict[str, Path]:
    """Finished runs of some architectures, of which each cuts in a way of its own."""
    found = {}
    for family, part in PARTS.items():
        folder = tmp_path_factory.mktemp(family)
        kind, settings = FAMILIES[family]
        model = build(family, tokenizers[kind], settings | {"initializer_range": 0.2})
        own, run = save(model, tokenizers[kind], folder / "own"), folder / "run"
        call(pretokenize, f"--splits {splits} --encoder {own} --threads 1 --out {folder}/tokens")
        flags = f"--pooling head --batch 10 --max-length 24 --epochs 1 --truncation {part} "
        flags += f"--learning-rate 3e-3 --labels {' '.join(LABELS)}"
        make_run(run, folder / "tokens", own, flags)
        found[family] = run
    return found


def predicted(run: Path, texts: list[str], capsys) -> list[dict]:
    """What predict.py prints, and the score before the temperature."""
    capsys.readouterr()
    flags = ["--device", "cpu", "--precision", "fp32", "--threads", "1", "--text", *texts]
    predict.main(predict.arguments().parse_args([str(run), *flags]))
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    temperature = json.loads((run / "checkpoint" / "head.json").read_text())["temperature"]
    return [each | {"score": expit(temperature * logit(each["confidence"]))} for each in found]


@pytest.mark.parametrize("family", STANDARD)
def test_a_pipeline_labels_as_predict_does_longer_texts_as_well(runs, splits, family, capsys):
    texts = [*TEXTS, *pd.read_parquet(splits / "test.parquet")["text"].head(12)]
    classify = pipeline("text-classification", model=str(runs[family] / "checkpoint"), device="cpu")
    wanted = predicted(runs[family], texts, capsys)
    assert len({round(line["confidence"], 4) for line in wanted}) > 4
    for size in (1, 8):
        all_scores = classify(texts, top_k=None, truncation=True, batch_size=size)
        for scores, line in zip(all_scores, wanted, strict=True):
            assert {each["label"] for each in scores} == {*LABELS}
            assert sum(each["score"] for each in scores) == pytest.approx(1)
            assert scores[0]["label"] == line["label"]
            assert scores[0]["score"] == pytest.approx(line["score"], abs=1e-5)
    (other,) = classify([f"{LONG} {TEXTS[0]}"], truncation=True, max_length=12)
    (own,) = classify([f"{LONG} {TEXTS[0]}"], truncation=True)
    assert other["score"] != pytest.approx(own["score"], abs=1e-5)  # else the length tells nothing


def test_a_pipeline_labels_short_texts_where_both_ends_are_kept(runs, capsys):
    classify = pipeline("text-classification", model=str(runs["electra"] / "checkpoint"))
    (line,) = predicted(runs["electra"], TEXTS[:1], capsys)
    (found,) = classify(TEXTS[:1])
    assert found["label"] == line["label"]
    assert found["score"] == pytest.approx(line["score"], abs=1e-5)


@pytest.mark.parametrize("family", PARTS)
def test_the_lines_of_the_card_label_as_predict_does(runs, family, capsys):
    card = (runs[family] / "checkpoint" / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(.+?)^```$", card, re.MULTILINE | re.DOTALL)
    wanted = predicted(runs[family], TEXTS, capsys)
    names = {"texts": TEXTS, "folder": str(runs[family] / "checkpoint")}
    exec(code, names)
    if family in STANDARD:
        found = [(best["label"], best["score"]) for best, *_ in names["found"]]
        expected = [(line["label"], line["score"]) for line in wanted]
    else:
        table = names["probabilities"]
        found = [*zip(table.idxmax(axis=1), table.max(axis=1), strict=True)]
        expected = [(line["label"], line["confidence"]) for line in wanted]
    for (label, score), (known, near) in zip(found, expected, strict=True):
        assert label == known and score == pytest.approx(near, abs=1e-4)


@pytest.mark.parametrize("family", PARTS)
def test_its_checkpoint_is_a_standard_one(runs, family):
    folder = runs[family] / "checkpoint"
    model, info = AutoModelForSequenceClassification.from_pretrained(
        folder, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == [type(model).__name__]
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    assert config["label2id"] == {"negative": 0, "positive": 1}
    assert config["problem_type"] == "single_label_classification"
    assert not (folder / "2_Dense").exists()
    told = json.loads((folder / "head.json").read_text())
    assert (told["pooling"], told["classes"], told["max_length"]) == ("head", 2, 24)
    assert told["dropout"] == 0.1


def test_vectors_and_attention_are_drawn_of_it(runs):
    run = runs["roberta"]
    ids = pd.read_parquet(run / "predictions.parquet", partitioning=None)["id"].sort_values()
    found = sentence_vectors(
        run / "checkpoint", run.parent / "tokens" / "test.parquet", ids.to_numpy()
    )
    assert found.vectors.shape == (40, 32) and [*found.names.values()] == LABELS
    labels = load_checkpoint(run / "checkpoint").head(torch.from_numpy(found.vectors)).argmax(1)
    predictions = pd.read_parquet(run / "predictions.parquet", partitioning=None)
    wanted = predictions.sort_values("id")["prediction"].tolist()
    assert labels.tolist() == wanted
    weights = attention(run / "checkpoint", TEXTS[0]).weights
    assert weights.sum(axis=1) == pytest.approx(1)


def test_a_layer_is_the_last_if_it_alone_has_a_row_for_each_class(made):
    model = new_classifier(made("xlm"), "head", 5, 0.0)
    assert model.last == "sequence_summary.summary" and isinstance(model.head, nn.Linear)
    assert model.head.out_features == 5


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_two_processes_or_a_compiled_model_train_alike(
    python, shallow, tokens, tmp_path, architecture
):
    flags = "--batch 33 --epochs 2 --dropout 0 --micro-batch 10"
    ways = {"plain": "", "two": "--backend accelerate --processes 2", "compiled": "--compile true"}
    for name, way in ways.items():
        line = train_command(shallow, tokens, tmp_path / name, f"{flags} {way}", architecture)
        done = run_train(python, line.replace("masked-mean", "head"))
        assert done.returncode == 0, done.stderr
    plain, two, compiled = histories(tmp_path, *ways)
    pd.testing.assert_frame_equal(plain, two, rtol=1e-4)
    pd.testing.assert_frame_equal(plain, compiled, rtol=1e-4)
