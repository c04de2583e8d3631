"""Checkpoints as models of sentence-transformers, and models of that library as checkpoints."""

import json
import shutil

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling

from lib.command.console import UserError
from lib.data.cutting import Cut
from lib.data.encoding import TextEncoding
from lib.training.checkpoints import load_checkpoint, new_classifier, read_head, save_checkpoint
from lib.training.inference import TextClassifier

TEXTS = ["A fine film.", "Dull, and long " * 30, "So-so", "not bad at all, was it?"]
LABELS = ["bad", "so so", "good"]
CUT = Cut(24, "auto")
OF_POOLING = [
    *(("bert", pooling) for pooling in ("cls", "masked-mean", "max", "pooler", "head")),
    *(("modernbert", pooling) for pooling in ("cls", "masked-mean", "max", "head")),
]


@pytest.fixture
def checkpoint(encoders, tmp_path):
    """Makes a checkpoint of random weights, whose temperature is not 1."""

    def make(architecture, pooling):
        torch.manual_seed(2)
        model = new_classifier(encoders[architecture], pooling, 3, 0.1, LABELS)
        torch.nn.init.normal_(model.head.weight)
        model.temperature = 1.6
        save_checkpoint(model, encoders[architecture], tmp_path / "checkpoint", CUT)
        return tmp_path / "checkpoint"

    return make


@torch.no_grad()
def own(folder, texts=TEXTS):
    """Logits and vectors of texts, one by one and so without padding."""
    model, encoding, found = load_checkpoint(folder), TextEncoding(folder), []
    for text in texts:
        (tokens,) = encoding([text])
        kept = CUT.kept(np.array([0, len(tokens)]), encoding.frame)
        inputs = {
            name: torch.tensor(rows)[:, kept] for name, rows in encoding.columns([tokens]).items()
        }
        found.append((model(inputs)[0].numpy(), model.represent(inputs)[0].numpy()))
    return tuple(np.stack(rows) for rows in zip(*found, strict=True))


@pytest.mark.parametrize(("architecture", "pooling"), OF_POOLING)
def test_the_library_gives_logits_and_without_its_last_module_vectors(
    checkpoint, architecture, pooling
):
    folder = checkpoint(architecture, pooling)
    logits, vectors = own(folder)
    model = SentenceTransformer(str(folder), device="cpu")
    assert model.max_seq_length == CUT.max_length
    np.testing.assert_allclose(model.encode(TEXTS), logits, rtol=1e-4, atol=1e-5)
    assert np.ptp(logits, axis=0).min() > 1e-3
    if pooling != "head":
        del model[-1]
        np.testing.assert_allclose(model.encode(TEXTS), vectors, rtol=1e-4, atol=1e-5)


def test_a_tokenizer_that_asks_for_no_mask_is_given_one(encoders, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(encoders["bert"], bare)
    told = json.loads((bare / "tokenizer_config.json").read_text())
    told["model_input_names"] = ["input_ids"]
    (bare / "tokenizer_config.json").write_text(json.dumps(told))
    torch.manual_seed(2)
    folder = tmp_path / "masked"
    model = new_classifier(bare, "masked-mean", 3, 0.1, LABELS)
    save_checkpoint(model, bare, folder, CUT)
    found = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)  # which differ in length
    np.testing.assert_allclose(found, own(folder)[0], rtol=1e-4, atol=1e-5)


def test_a_mean_over_padding_is_told_by_its_name_and_refused_there(checkpoint):
    folder = checkpoint("bert", "padded-mean")
    with pytest.raises(ValueError, match="Invalid pooling mode: 'padded-mean'"):
        SentenceTransformer(str(folder), device="cpu")
    assert load_checkpoint(folder).pooling == "padded-mean"


@pytest.mark.parametrize(("architecture", "pooling"), OF_POOLING)
def test_what_the_library_saves_again_is_a_checkpoint(checkpoint, architecture, pooling, tmp_path):
    folder, again = checkpoint(architecture, pooling), tmp_path / "again"
    SentenceTransformer(str(folder), device="cpu").save(str(again))
    assert not (again / "head.json").exists()
    head = read_head(again)
    assert (head.pooling, head.cut, head.temperature) == (pooling, CUT, 1.0)
    assert [*load_checkpoint(again).encoder.config.id2label.values()] == LABELS
    for ours, theirs in zip(own(folder), own(again), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("change", ["tanh", "no Dense", "Normalize", "two poolings", "lower case"])
def test_what_does_more_or_less_is_refused_in_a_line(checkpoint, change, tmp_path):
    folder, again = checkpoint("bert", "cls"), tmp_path / "again"
    model = SentenceTransformer(str(folder), device="cpu")
    match change:
        case "tanh":
            model[2] = Dense(32, 3)
        case "no Dense":
            del model[2]
        case "Normalize":
            model.append(Normalize())
        case "two poolings":
            model[1] = Pooling(32, ("cls", "mean"))
            model[2] = Dense(64, 3, activation_function=None)
    model.save(str(again))
    if change == "lower case":
        told = again / "sentence_bert_config.json"
        told.write_text(json.dumps(json.loads(told.read_text()) | {"do_lower_case": True}))
    with pytest.raises(UserError, match=r"is no classifier that is read here: .* take a check"):
        load_checkpoint(again)


def test_a_folder_of_neither_kind_and_damaged_ones_are_refused(checkpoint, tmp_path):
    with pytest.raises(UserError, match="holds no checkpoint; name the folder of a finished run"):
        read_head(tmp_path)
    folder = checkpoint("bert", "cls")
    (folder / "head.json").unlink()
    for damage in ("[]", "{", '[{"type": 3}]', json.dumps([{"type": "x.Transformer"}])):
        (folder / "modules.json").write_text(damage)
        with pytest.raises(UserError, match=r"^[^\n]+(can't be read|its modules are)[^\n]+$"):
            read_head(folder)


@pytest.mark.parametrize("change", ["two layers", "one class", "prompt", "another order"])
def test_no_more_is_read_than_is_understood(checkpoint, change, tmp_path):
    folder, again = checkpoint("bert", "cls"), tmp_path / "again"
    model = SentenceTransformer(str(folder), device="cpu")
    match change:
        case "two layers":
            model.insert(2, Dense(32, 32))
        case "one class":
            model[2] = Dense(32, 1, activation_function=None)
        case "prompt":
            model.prompts, model.default_prompt_name = {"q": "query: "}, "q"
    model.save(str(again))
    if change == "another order":
        modules = json.loads((again / "modules.json").read_text())
        (again / "modules.json").write_text(json.dumps([modules[0], modules[2], modules[1]]))
    with pytest.raises(UserError, match="is no classifier that is read here"):
        load_checkpoint(again)


def test_a_length_that_nobody_tells_is_that_of_the_encoder(checkpoint, tmp_path):
    again = tmp_path / "again"
    SentenceTransformer(str(checkpoint("bert", "cls")), device="cpu").save(str(again))
    for name in ("tokenizer_config.json", "sentence_bert_config.json"):
        told = json.loads((again / name).read_text())
        for key in ("max_seq_length", "model_max_length"):
            told.pop(key, None)
        (again / name).write_text(json.dumps(told))
    positions = json.loads((again / "config.json").read_text())["max_position_embeddings"]
    assert read_head(again).cut.max_length == positions


def test_classes_have_the_names_of_their_numbers_however_these_are_sorted(checkpoint):
    folder = checkpoint("bert", "cls")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"2": "good", "0": "bad", "1": 7}
    (folder / "config.json").write_text(json.dumps(config))
    assert TextClassifier(folder, "cpu").names == ["bad", "7", "good"]
    config["id2label"] = {"2": "good", "0": "bad", "3": "other"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"id2label names the classes \[0, 2, 3\]"):
        TextClassifier(folder, "cpu")
