"""Pooling, the classifier and its checkpoint."""

import json

import pytest
import torch
from conftest import CUT
from safetensors.torch import load_file, save_file
from test_training import fit, load
from torch.nn.functional import dropout, pad
from transformers import AutoModel, BertConfig, ModernBertConfig

from lib.command.console import UserError
from lib.data.encoders import load_tokenizer
from lib.training.checkpoints import load_checkpoint, save_checkpoint
from lib.training.model import Classifier, load_encoder
from lib.training.poolings import POOLINGS

STATES = torch.tensor(
    [
        [[1.0, -2.0], [3.0, 4.0], [50.0, 60.0]],
        [[-1.0, -5.0], [-3.0, -7.0], [-5.0, -3.0]],
    ]
)
MASK = torch.tensor([[True, True, False], [True, True, True]])  # the third token is padding

BY_HAND = {
    "cls": [[1.0, -2.0], [-1.0, -5.0]],
    "padded-mean": [[18.0, 62 / 3], [-3.0, -5.0]],
    "masked-mean": [[2.0, 1.0], [-3.0, -5.0]],
    "max": [[3.0, 4.0], [-1.0, -3.0]],
}


@pytest.mark.parametrize("name", BY_HAND)
def test_pooling_by_hand(name):
    torch.testing.assert_close(POOLINGS[name](STATES, MASK), torch.tensor(BY_HAND[name]))


@pytest.mark.parametrize("name", ["cls", "masked-mean", "max"])
def test_padding_changes_only_the_unmasked_mean(name):
    changed = STATES.clone()
    changed[0, 2] = 1e6
    assert torch.equal(POOLINGS[name](STATES, MASK), POOLINGS[name](changed, MASK))
    assert not torch.equal(
        POOLINGS["padded-mean"](STATES, MASK), POOLINGS["padded-mean"](changed, MASK)
    )


def inputs(model: Classifier) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, model.encoder.config.vocab_size, (3, 12))
    mask = torch.arange(12) < torch.tensor([[12], [7], [2]])
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids % 2}


def test_pooler_is_the_encoders_own(encoders):
    model = Classifier(load_encoder(encoders["bert"], "pooler"), "pooler", 2, 0.0).eval()
    batch = inputs(model)
    first = model.encoder(**batch).last_hidden_state[:, 0]
    expected = torch.tanh(model.encoder.pooler.dense(first))
    torch.testing.assert_close(model.represent(batch), expected)


def test_dropout_is_between_pooling_and_head_in_training_alone(encoders):
    model = Classifier(load_encoder(encoders["bert"], "cls"), "cls", 2, 0.5).eval()
    batch = inputs(model)
    vectors = model.represent(batch)
    torch.testing.assert_close(model(batch), model.head(vectors))
    torch.manual_seed(1)
    found = model.train()(batch)
    torch.manual_seed(1)
    torch.testing.assert_close(found, model.head(dropout(vectors, 0.5)))


def test_pooler_is_refused_where_there_is_none(encoders):
    with pytest.raises(UserError, match="modernbert has not; allowed: cls, padded-mean"):
        Classifier(load_encoder(encoders["modernbert"], "pooler"), "pooler", 2, 0.0)


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_masked_mean_ignores_how_far_a_batch_is_padded(encoders, architecture):
    model = Classifier(
        load_encoder(encoders[architecture], "masked-mean"), "masked-mean", 2, 0.0
    ).eval()
    batch = inputs(model)
    wider = {key: pad(value, (0, 9)) for key, value in batch.items()}
    torch.testing.assert_close(model(batch), model(wider), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "pooling"),
    [("bert", "cls"), ("bert", "pooler"), ("modernbert", "masked-mean"), ("modernbert", "max")],
)
def test_checkpoint_gives_the_same_logits(encoders, tmp_path, architecture, pooling):
    model = Classifier(load_encoder(encoders[architecture], pooling), pooling, 3, 0.25).eval()
    save_checkpoint(model, encoders[architecture], tmp_path / "checkpoint", CUT)
    loaded = load_checkpoint(tmp_path / "checkpoint")
    assert loaded.pooling == pooling and loaded.dropout.p == 0.25 and not loaded.training
    head = json.loads((tmp_path / "checkpoint" / "head.json").read_text())
    told = {"pooling": pooling, "classes": 3, "dropout": 0.25, "temperature": 1.0}
    assert head == told | CUT._asdict()
    batch = inputs(model)
    assert torch.equal(model(batch), loaded(batch))
    folder = tmp_path / "checkpoint"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "modules.json"} <= names
    assert "2_Dense/model.safetensors" in names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    encoder = AutoModel.from_pretrained(tmp_path / "checkpoint").eval()
    states = encoder(**{k: v for k, v in batch.items() if k != "token_type_ids"}).last_hidden_state
    assert states.shape == (3, 12, 32)


@pytest.mark.parametrize("pooling", ["cls", "pooler"])
def test_weights_of_another_layout_are_refused(encoders, tmp_path, pooling):
    save_checkpoint(
        Classifier(load_encoder(encoders["bert"], "cls"), "cls", 2, 0.0),
        encoders["bert"],
        tmp_path / "encoder",
        CUT,
    )
    weights = tmp_path / "encoder" / "model.safetensors"
    if pooling == "cls":
        renamed = {f"other.{key}": tensor for key, tensor in load_file(weights).items()}
        save_file(renamed, weights, {"format": "pt"})
    lack = r"safetensors lacks .* weights of the encoder, such as"
    lack = "needs a pooler, which bert has not" if pooling == "pooler" else lack
    with pytest.raises(UserError, match=lack):
        Classifier(load_encoder(tmp_path / "encoder", pooling), pooling, 2, 0.0)


def test_random_weights_depend_on_the_seed_alone(encoders):
    heads = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        heads.append(Classifier(load_encoder(encoders["bert"], "cls"), "cls", 2, 0.0).state_dict())
    assert all(torch.equal(heads[0][key], heads[1][key]) for key in heads[0])
    assert not torch.equal(heads[0]["head.weight"], heads[2]["head.weight"])


REAL_DEPTHS = {
    "bert": BertConfig(
        hidden_size=48, num_hidden_layers=12, num_attention_heads=12, intermediate_size=96
    ),
    "modernbert": ModernBertConfig(
        hidden_size=48,
        num_hidden_layers=22,
        num_attention_heads=12,
        intermediate_size=72,
        pad_token_id=0,
        local_attention=16,  # a window of 8 tokens to each side, in inputs of up to 48
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", REAL_DEPTHS)
def test_real_depths_and_heads_load_and_train(encoders, tokens, tmp_path, architecture):
    config = REAL_DEPTHS[architecture]
    config.vocab_size = len(load_tokenizer(encoders[architecture]))
    torch.manual_seed(1)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path, "masked-mean")
    model = Classifier(encoder, "masked-mean", 2, 0.0)
    data, valid = load(tokens, architecture), load(tokens, architecture, "valid")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    _, losses = fit(model, data, valid, batch=50, micro_batch=25, epochs=4)
    assert losses[-1] < losses[0]
    unmoved = [key for key, value in model.named_parameters() if torch.equal(value, before[key])]
    assert not [key for key in unmoved if "token_type" not in key]


@pytest.mark.parametrize(("layers", "reaches"), [("sliding", False), ("full", True)])
def test_modernbert_attends_within_windows_and_over_all(layers, reaches):
    config = REAL_DEPTHS["modernbert"]
    assert config.layer_types.count("full_attention") == 8  # every third of 22
    kinds = [f"{layers}_attention", "sliding_attention"]
    small = type(config)(
        **config.to_dict() | {"num_hidden_layers": 2, "layer_types": kinds, "vocab_size": 600}
    )
    torch.manual_seed(1)
    model = Classifier(AutoModel.from_config(small), "cls", 2, 0.0).eval()
    ids = torch.randint(5, 600, (1, 40))
    changed = ids.clone()
    changed[0, -1] += 1  # further from the first token than two windows reach
    mask = torch.ones(1, 40, dtype=torch.bool)
    first, second = (model({"input_ids": x, "attention_mask": mask}) for x in (ids, changed))
    assert torch.equal(first, second) != reaches
