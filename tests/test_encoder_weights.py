"""Weights of encoders: each is used and there, or the encoder is refused."""

import pytest
import torch
from families import bring, change, refusal, reweigh
from transformers import (
    AlbertForPreTraining,
    BertForMaskedLM,
    BertForPreTraining,
    DebertaV2ForMaskedLM,
    DebertaV2ForSequenceClassification,
    DistilBertForSequenceClassification,
    ElectraForPreTraining,
    ModernBertForMaskedLM,
    MPNetForMaskedLM,
    RobertaForMaskedLM,
    XLNetLMHeadModel,
)

from lib.command.console import UserError
from lib.training.model import load_encoder

HEADS = {
    "bert": BertForMaskedLM,
    "distilbert": DistilBertForSequenceClassification,
    "roberta": RobertaForMaskedLM,
    "modernbert": ModernBertForMaskedLM,
    "electra": ElectraForPreTraining,
    "albert": AlbertForPreTraining,
    "xlnet": XLNetLMHeadModel,
    "deberta-v2": DebertaV2ForMaskedLM,
    "mpnet": MPNetForMaskedLM,
}


@pytest.mark.parametrize("family", HEADS)
def test_the_head_of_another_task_is_left_out_and_told_of(made, caplog, family):
    caplog.set_level("INFO")
    folder = made(family, HEADS[family])
    facts = bring(folder)
    assert "weights of a head are left out, such as" in caplog.text
    without = family not in ("albert",)  # whose model for pretraining has a pooler
    assert ("pooler" in facts["lacks"]) is without
    if without:
        folder.with_name("out").rename(folder.with_name("before"))
        with pytest.raises(UserError, match="has no pooler, so pooling 'pooler' does not fit it"):
            bring(folder, "--poolings cls pooler")


def test_a_pooler_of_a_head_is_none_of_the_encoder(made):
    assert "pooler" in bring(made("deberta-v2", DebertaV2ForSequenceClassification))["lacks"]


def test_a_pooler_beside_an_encoder_without_one_is_left_out(made):
    folder = made("distilbert")
    reweigh(folder, lambda found: found | {"pooler.dense.weight": torch.zeros(32, 32)})
    assert "pooler" in bring(folder)["lacks"]


def rename_as_once(found: dict) -> dict:
    found = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): x for name, x in found.items()}
    found = {name.replace("LayerNorm.bias", "LayerNorm.beta"): x for name, x in found.items()}
    return found | {"bert.embeddings.position_ids": torch.arange(80)[None]}


def test_old_names_and_buffers_of_weights_are_known(made):
    folder = made("bert", BertForPreTraining)
    expected = load_encoder(folder, "pooler").state_dict()
    reweigh(folder, rename_as_once)
    assert bring(folder, "--poolings pooler")["lacks"] == {}
    loaded = load_encoder(folder.with_name("out"), "pooler").state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in loaded.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_single(made, dtype):
    folder = made("bert")
    reweigh(folder, lambda found: {name: tensor.to(dtype) for name, tensor in found.items()})
    bring(folder)
    parameters = load_encoder(folder.with_name("out"), "cls").parameters()
    assert {parameter.dtype for parameter in parameters} == {torch.float32}


LAYER = "encoder.layer.{}.attention.self."
UNUSED = (
    LAYER.format(0) + "distance_embedding.weight",  # relative positions
    LAYER.format(1) + "query.lora_A.default.weight",
    "encoder.layer.2.output.dense.bias",  # a layer beyond the config
    "encoder.layer.0.gate.weight",  # of code that is not run
)
PREFIXES = ("", "bert.", "base_model.model.bert.")


@pytest.mark.parametrize("name", [a + b for a in PREFIXES for b in UNUSED] + ["extra.weight"])
def test_weights_that_nothing_uses_are_refused(made, name):
    folder = made("bert", BertForPreTraining if "bert." in name else None)
    reweigh(folder, lambda found: found | {name: torch.zeros(3)})
    assert f"bert of transformers has no place for 1 of the weights, such as {name};" in refusal(
        folder
    )
    with pytest.raises(UserError, match="merge adapters with merge_and_unload"):
        load_encoder(folder, "cls")  # as a training of this folder begins


def test_a_part_beside_the_prefix_is_no_head(made):
    folder = made("bert", BertForPreTraining)
    name = "encoder.layer.7.output.dense.bias"
    reweigh(folder, lambda found: found | {name: torch.zeros(32)})
    assert f"such as {name}" in refusal(folder)


def test_weights_that_are_missing_are_refused(made):
    folder = made("bert")
    change(folder / "config.json", num_hidden_layers=3)
    assert "model.safetensors lacks 16 weights of the encoder, such as encoder.l" in refusal(folder)


@pytest.mark.parametrize("alone", [False, True])
def test_an_adapter_is_refused_with_how_to_merge_it(made, alone):
    folder = made("bert")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    if alone:
        (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
        (folder / "config.json").unlink()
    assert "holds an adapter (adapter_config.json)" in refusal(folder)
    if not alone:
        with pytest.raises(UserError, match="merge it with merge_and_unload"):
            load_encoder(folder, "cls")
