"""Without padding, all is as with it: states, vectors, losses, gradients, whole trainings."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import call
from families import change
from safetensors.torch import load_file
from test_backends import histories, train_command
from test_training import BACKEND, BOUNDS, CPU, Synchronisations, gradient, load
from torch import Tensor
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from transformers import (
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    EuroBertConfig,
    EuroBertModel,
    GPT2Config,
    GPT2Model,
    RobertaConfig,
    RobertaModel,
)

import evaluate
import train
from lib.command.console import UserError
from lib.study.config import PADDED_POOLINGS
from lib.study.schema import poolings
from lib.training import unpadded
from lib.training.batches import Tokens
from lib.training.checkpoints import new_classifier
from lib.training.loop import accumulate
from lib.training.model import Classifier, load_encoder, mask_of
from lib.training.prediction import predict
from lib.training.unpadded import Unpadded
from lib.training.unpadding import unpad

GPU = torch.device("cuda")
ROWS = (torch.tensor([1]), torch.tensor([0, 5, 3, 6, 9]), torch.arange(30, 37))
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 48, "vocab_size": 100, "pad_token_id": 0}
NO_DROPOUT = {"attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def narrow(encoders, tmp_path_factory) -> Path:
    """A ModernBERT that sees 8 tokens to each side in its middle layer, with large weights."""
    folder = tmp_path_factory.mktemp("narrow") / "encoder"
    shutil.copytree(encoders["modernbert"], folder)
    kinds = ["full_attention", "sliding_attention", "full_attention"]
    sizes = {"num_hidden_layers": 3, "layer_types": kinds, "global_attn_every_n_layers": 2}
    change(folder / "config.json", **sizes, local_attention=16, initializer_range=0.2)
    return folder


def both(narrow: Path, tokens, pooling: str) -> list[tuple[Classifier, Tokens]]:
    """A classifier and its tokens, with padding and without."""
    torch.manual_seed(0)
    padded = new_classifier(narrow, pooling, 2, 0.0)
    without = copy.deepcopy(padded)
    unpad(without, CPU, "fp32")
    data = load(tokens, "modernbert")
    return [(padded, data), (without, Unpadded(**vars(data)))]


def test_texts_stand_in_one_row_that_tells_where_each_is(tokens):
    data = load(tokens, "bert")
    rows = torch.tensor([3, 4, 0])
    padded, found = data.batch(rows), Unpadded(**vars(data)).batch(rows)
    mask, lengths = padded["attention_mask"], data.lengths[rows].tolist()
    assert len({*lengths}) > 1
    for name in ("input_ids", "token_type_ids"):
        assert found[name].tolist() == [padded[name][mask].tolist()]
        assert found[name].dtype == torch.int64
    assert found["position_ids"].tolist() == [[n for length in lengths for n in range(length)]]
    ends = torch.tensor(lengths).cumsum(0).tolist()
    assert found["cu_seq_lens_q"].tolist() == [0, *ends]
    assert found["cu_seq_lens_q"].dtype == torch.int32  # which the kernel asks for
    assert torch.equal(found["attention_mask"], mask)
    assert torch.equal(found[unpadded.PLACES], mask.flatten().nonzero().flatten())


@pytest.mark.parametrize("pooling", sorted({*poolings()} - {*PADDED_POOLINGS}))
def test_states_vectors_logits_and_gradients_are_those_of_padded_passes(narrow, tokens, pooling):
    models = both(narrow, tokens, pooling)
    data = models[0][1]
    assert {*data.lengths[ROWS[1]].gt(9 + 9).tolist()} == {True, False}  # beyond the window
    for rows in ROWS:
        states, vectors, logits, gradients = [], [], [], []
        mask = mask_of(data.batch(rows))
        for model, own in models:
            model.train()
            inputs = own.batch(rows)
            states.append(model.encode(inputs).last_hidden_state[mask])
            vectors.append(model.represent(inputs))
            logits.append(model(inputs))
            model.zero_grad()
            cross_entropy(logits[-1], own.labels[rows]).backward()
            gradients.append(gradient(model))
        for found in (states, vectors, logits, gradients):
            torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_updates_and_predictions_are_those_of_padded_passes(narrow, tokens):
    models = both(narrow, tokens, "masked-mean")
    for bounds in BOUNDS:
        measured, gradients, logits = [], [], []
        for model, data in models:
            model.zero_grad()
            measured.append(accumulate(model, data, torch.arange(60), bounds, BACKEND))
            gradients.append(gradient(model))
            logits.append(predict(model, data, bounds, BACKEND))
        torch.testing.assert_close(*measured)
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-5)


def test_no_padding_is_computed(narrow, tokens):
    (_, _), (model, data) = both(narrow, tokens, "max")
    seen = []
    for layer in model.encoder.layers:
        layer.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape))
    model(data.batch(ROWS[1]))
    assert {*seen} == {(1, int(data.lengths[ROWS[1]].sum()), 32)} and len(seen) == 3


def on_meta(narrow: Path, tokens) -> tuple[Classifier, Tokens]:
    """A classifier and tokens that have shapes alone, and so can tell nothing else."""
    (_, _), (model, data) = both(narrow, tokens, "masked-mean")
    there = {name: getattr(data, name).to("meta") for name in ("labels", "starts", "ends")}
    columns = {name: column.to("meta") for name, column in data.columns.items()}
    return model.to("meta"), replace(data, **there, columns=columns)


@pytest.mark.parametrize("examples", [1, 8])
def test_no_pass_waits_for_the_device(narrow, tokens, examples):
    model, data = on_meta(narrow, tokens)
    rows = torch.arange(examples)
    inputs = data.batch(rows)  # which fails where it asks the device
    with Synchronisations() as synchronisations:
        labels = data.labels[rows.to("meta")]
        logits = model.head(model.represent(inputs))  # autocast knows no such device
        BACKEND.backward(cross_entropy(logits, labels, reduction="sum"))
    assert synchronisations.count == 0
    assert all(weight.grad is not None for weight in model.parameters())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler itself
def test_a_compiled_pass_is_one_graph_for_all_lengths(narrow, tokens):
    model, data = on_meta(narrow, tokens)
    counters = torch._dynamo.utils.counters
    counters.clear()
    compiled = torch.compile(model.represent, dynamic=True, backend="aot_eager", fullgraph=True)
    for rows in ROWS[1:]:
        compiled(data.batch(rows)).sum().backward()
    assert counters["stats"]["unique_graphs"] == 1


def all_texts(q, k, v, bounds, others, longest, longest_other, *, scale, window_size, enable_gqa):
    """Attention of texts in a row as torch documents it, by a mask over all of them."""
    assert torch.equal(bounds, others) and longest == longest_other == int(bounds.diff().max())
    text = torch.bucketize(torch.arange(len(q)), bounds[1:], right=True)
    place = torch.arange(len(q))
    distance = place - place[:, None]
    left, right = (len(q) if side == -1 else side for side in window_size)
    seen = (text == text[:, None]) & (distance >= -left) & (distance <= right)
    heads_first = (x.transpose(0, 1) for x in (q, k, v))
    options = {"attn_mask": seen, "scale": scale, "enable_gqa": enable_gqa}
    return scaled_dot_product_attention(*heads_first, **options).transpose(0, 1)


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("keys", [4, 2])
def test_the_kernel_is_asked_for_what_a_cpu_computes_in_turn(monkeypatch, window, keys):
    torch.manual_seed(0)
    bounds = torch.tensor([0, 7, 8, 20], dtype=torch.int32)
    query = torch.randn(1, 4, 20, 8)
    key, value = torch.randn(2, 1, keys, 20, 8)
    arguments = (query, key, value, bounds)
    options = {"cu_seq_lens_q": bounds, "max_length_q": 12, "scaling": 0.3}
    expected, _ = unpadded.attend(
        None, query, key, value, None, sliding_window=window, **options, is_causal=False
    )
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", all_texts)
    far = -1 if window is None else 4
    found = unpadded._at_once(*arguments, 12, 0.3, far)
    assert found.shape == expected.shape == (1, 20, 4, 8)
    torch.testing.assert_close(found, expected)
    other = unpadded._at_once(*arguments, 12, 0.3, 5)
    assert not torch.allclose(other, expected, atol=1e-3)


def test_a_kernel_gets_one_kind_of_numbers(monkeypatch):
    given: list[Tensor] = []
    monkeypatch.setattr(
        "torch.nn.attention.varlen.varlen_attn", lambda *x, **_: given.extend(x[:3]) or x[0]
    )
    rotated = torch.ones(1, 2, 3, 8)  # as autocast may leave it
    bounds = torch.tensor([0, 3], dtype=torch.int32)
    unpadded._at_once(rotated, rotated, rotated.bfloat16(), bounds, 3, None, -1)
    assert [x.dtype for x in given] == [torch.bfloat16] * 3


@pytest.mark.parametrize(
    ("kind", "changes"), [(BertModel, NO_DROPOUT), (EuroBertModel, {"num_key_value_heads": 1})]
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_encoders_are_set_to_it_and_draw_no_random_numbers(kind, changes, precision):
    encoder = kind({BertModel: BertConfig, EuroBertModel: EuroBertConfig}[kind](**SIZES | changes))
    encoder.set_attn_implementation("sdpa")
    before = copy.deepcopy(encoder.state_dict())
    model = Classifier(encoder, "cls", 2, 0.0)
    state = torch.get_rng_state()
    unpad(model, CPU, precision)
    assert torch.equal(state, torch.get_rng_state())
    assert encoder.config._attn_implementation == unpadded.UNPADDED
    for name, tensor in encoder.state_dict().items():
        assert tensor.dtype == before[name].dtype and torch.equal(tensor, before[name])


@pytest.mark.parametrize(
    ("kind", "config", "reason"),
    [
        (BertModel, BertConfig(**SIZES), "it drops out attention weights"),
        (RobertaModel, RobertaConfig(**SIZES | NO_DROPOUT), "its states are others"),  # positions
        (DebertaV2Model, DebertaV2Config(**SIZES | NO_DROPOUT), "its states are others"),
        (
            GPT2Model,
            GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=100, attn_pdrop=0.0),
            "its states are others",  # as it looks back alone
        ),
    ],
)
def test_encoders_that_can_not_are_refused(kind, config, reason):
    with pytest.raises(UserError, match=f"{config.model_type} can't be trained so: .*{reason}"):
        unpad(Classifier(kind(config), "cls", 2, 0.0), CPU, "fp32")


def test_a_pooler_within_a_head_is_refused_as_it_needs_padded_passes(made):
    model = new_classifier(made("bert", attention_probs_dropout_prob=0.0), "head", 2, 0.0)
    message = "bert can't be trained so: without padding, its vectors are others; set it to false"
    with pytest.raises(UserError, match=message):
        unpad(model, CPU, "fp32")


@pytest.mark.parametrize("shift", [-1, 1])
def test_an_encoder_that_means_another_window_is_refused(encoders, narrow, tmp_path, shift):
    shutil.copytree(narrow, tmp_path / "encoder")
    change(tmp_path / "encoder" / "config.json", initializer_range=0.005)  # small weights
    encoder = load_encoder(tmp_path / "encoder", "cls")
    encoder.layers[1].attn.sliding_window += shift
    with pytest.raises(UserError, match="without padding, its states are others"):
        unpad(Classifier(encoder, "cls", 2, 0.0), CPU, "fp32")


@pytest.mark.parametrize(
    ("pooling", "device", "precision", "reason"),
    [
        *((name, CPU, "fp32", f"pooling '{name}' needs padded passes") for name in PADDED_POOLINGS),
        ("cls", GPU, "fp32", "cuda in fp32 has no attention for it; a GPU has in bf16"),
        ("cls", torch.device("mps"), "bf16", "mps in bf16 has no attention for it"),
    ],
)
def test_what_does_not_go_with_it_is_refused(pooling, device, precision, reason):
    with pytest.raises(UserError, match=f"unpadded is true, but {reason}.*; set it to false"):
        unpad(Classifier(BertModel(BertConfig(**SIZES)), pooling, 2, 0.0), device, precision)


def test_a_training_is_that_with_padding_and_its_checkpoint_is_as_any(
    narrow, tokens, tmp_path, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    flags = "--batch 20 --micro-batch 8 --epochs 2 --dropout 0.1 --learning-rate 1e-4"
    for name in ("true", "false"):
        line = train_command(
            {"own": narrow}, {"own": tokens["modernbert"]}, tmp_path / name, flags, "own"
        )
        call(train, f"{line} --unpadded {name}")
        test = tokens["modernbert"] / "test.parquet"
        call(evaluate, f"--tokens {test} --run {tmp_path / name} --device cpu")
    pd.testing.assert_frame_equal(*histories(tmp_path, "false", "true"), rtol=1e-3)
    one, other = (
        load_file(tmp_path / name / "checkpoint" / "model.safetensors")
        for name in ("true", "false")
    )
    assert any(not torch.equal(tensor, other[name]) for name, tensor in one.items())  # last bits
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=1e-4)
    paths = [tmp_path / name / "predictions.parquet" for name in ("true", "false")]
    losses = [pd.read_parquet(path)["loss"] for path in paths]
    assert losses[0].to_numpy() == pytest.approx(losses[1].to_numpy(), rel=1e-2)
    told = json.loads((tmp_path / "true" / "train.json").read_text())
    assert told["settings"]["unpadded"] is True
    config = json.loads((tmp_path / "true" / "checkpoint" / "config.json").read_text())
    assert unpadded.UNPADDED not in json.dumps(config)
