"""Encoders of which a part is not trained: which weights stay, and what is computed of them."""

import copy

import pytest
import torch
from conftest import SIZES
from families import FAMILIES
from safetensors import safe_open
from test_training import BACKEND, SETTINGS, build, fit, load
from torch.utils.flop_counter import FlopCounterMode

from lib.command.console import UserError
from lib.training import loop
from lib.training.batches import Bounds
from lib.training.flops import training_flops
from lib.training.freezing import freeze, layers_of
from lib.training.loop import Recipe, accumulate
from lib.training.model import Classifier, load_encoder
from lib.training.saving import STATE, Saving
from lib.training.unpadding import unpad

LAYERS = SIZES["num_hidden_layers"]
WITHOUT = {"albert", "flaubert", "squeezebert", "xlm"}  # whose layers can't be told apart


def frozen(model: Classifier) -> set[str]:
    return {name for name, weight in model.named_parameters() if not weight.requires_grad}


@pytest.mark.parametrize(
    ("architecture", "how", "trained"),
    [
        ("bert", 1, {"encoder.encoder.layer.1", "head"}),
        ("bert", 2, {"head"}),
        ("bert", "encoder", {"head"}),
        ("modernbert", 1, {"encoder.layers.1", "encoder.final_norm", "head"}),
        ("modernbert", "encoder", {"head"}),
        ("modernbert", "none", {"encoder", "head"}),
    ],
)
def test_what_is_frozen_stays_bit_for_bit_and_nothing_else_does(
    encoders, tokens, architecture, how, trained
):
    model = build(encoders, architecture)
    freeze(model.encoder, how)
    before = copy.deepcopy(model.state_dict())
    fit(model, load(tokens, architecture), load(tokens, architecture, "valid"), epochs=2)
    for name, weight in model.state_dict().items():
        learns = any(name.startswith(f"{part}.") for part in trained)
        unused = name == "encoder.embeddings.word_embeddings.weight" and how == "none"
        assert torch.equal(weight, before[name]) is not learns or unused, name


def test_optimizer_and_state_hold_trained_weights_alone(encoders, tokens, tmp_path):
    model = build(encoders, "bert")
    freeze(model.encoder, 1)
    seen = []

    class Watched(Saving):
        def save_after_epoch(self, progress):
            self.save(progress)
            optimizer = progress.scheduler.optimizer
            seen.append({id(x) for group in optimizer.param_groups for x in group["params"]})

    saving = Watched(tmp_path / "run", {}, 1)
    data = load(tokens, "bert"), load(tokens, "bert", "valid")
    loop.train(model, data, Recipe(64, 5, SETTINGS), BACKEND, saving=saving)
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert seen == [{id(weight) for weight in trained.values()}]
    with safe_open(tmp_path / "run" / ".state" / STATE, "pt") as file:
        names = [*file.keys()]
    kept = {name.removeprefix("model.") for name in names if name.startswith("model.")}
    with safe_open(tmp_path / "run" / ".state" / "best-1.safetensors", "pt") as file:
        assert kept == set(file.keys()) == trained.keys() and len(frozen(model)) > len(kept)


@pytest.mark.parametrize("how", [1, "encoder"])
@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_trained_weights_get_the_gradient_that_they_have_without(
    encoders, tokens, architecture, how
):
    data, gradients = load(tokens, architecture), []
    for each in ("none", how):
        model = build(encoders, architecture)
        freeze(model.encoder, each)
        accumulate(model, data, torch.arange(50), Bounds(16, 10**6), BACKEND)
        gradients.append({name: x.grad for name, x in model.named_parameters()})
    learned = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name for name, x in gradients[1].items() if x is not None} == learned
    for name in learned:
        torch.testing.assert_close(gradients[1][name], gradients[0][name], rtol=1e-5, atol=1e-7)


def test_what_is_frozen_drops_nothing_out(encoders, tokens):
    inputs = load(tokens, "bert").batch(torch.arange(8))
    for how, same in (("none", False), (1, False), ("encoder", True)):
        model = Classifier(load_encoder(encoders["bert"], "cls", 0.3), "cls", 2, 0.0)
        freeze(model.encoder, how)
        model.train()
        inside = []
        layer = layers_of(model.encoder)[1]
        layer.register_forward_pre_hook(lambda _, given, seen=inside: seen.append(given[0]))
        first, second = (model(inputs) for _ in range(2))
        assert torch.equal(first, second) is same
        assert torch.equal(*inside) is (how != "none")
        assert not any(part.training for part in model.eval().modules())


def test_operations_are_those_that_are_left(encoders, tokens):
    data, counted, told = load(tokens, "bert"), [], []
    for each in ("none", 1, "encoder"):
        model = build(encoders, "bert")
        freeze(model.encoder, each)
        with FlopCounterMode(display=False) as counter:
            accumulate(model, data, torch.arange(100), Bounds(1, 10**6), BACKEND)
        counted.append(counter.get_total_flops())
        told.append(training_flops(model, data.lengths[:4]))
    # The lowest layer that is trained passes no gradient on, which is not taken into account.
    for i in (1, 2):
        assert told[i] / told[0] == pytest.approx(counted[i] / counted[0], rel=0.15)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (3, "freeze is 3, but bert has 2 layers that can be told apart; allowed: none, encoder or"),
        (9, "or 1 to 2"),
    ],
)
def test_more_layers_than_there_are_are_refused(encoders, how, message):
    with pytest.raises(UserError, match=message):
        freeze(load_encoder(encoders["bert"], "cls"), how)


def test_layers_that_take_one_length_alone_are_frozen(encoders, tokens, monkeypatch):
    model = build(encoders, "bert")
    layer = type(layers_of(model.encoder)[0])
    plain = layer.forward

    def of_one_length(self, states, *given, **named):
        assert states.shape[1] == 48, "another length"
        return plain(self, states, *given, **named)

    monkeypatch.setattr(layer, "forward", of_one_length)
    freeze(model.encoder, 1)
    assert "encoder.encoder.layer.0.output.dense.weight" in frozen(model)
    assert "encoder.embeddings.word_embeddings.weight" in frozen(model)


def test_an_encoder_that_attends_unpadded_is_frozen_as_one_that_pads(encoders):
    padded, unpadded = (build(encoders, "modernbert") for _ in range(2))
    unpad(unpadded, torch.device("cpu"), "fp32")
    for model in (padded, unpadded):
        model.freeze(1)
    assert frozen(padded) == frozen(unpadded) != set()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_lowest_layer_of_a_family_gets_no_gradient_and_all_above_do(made, family):
    encoder = load_encoder(made(family), "masked-mean").train()
    if family in WITHOUT:
        with pytest.raises(UserError, match="has 0 layers that can be told apart; allowed: none, "):
            freeze(encoder, 1)
        freeze(encoder, "encoder")
        assert not any(weight.requires_grad for weight in encoder.parameters())
        return
    freeze(encoder, 1)
    first, second = layers_of(encoder)[:2]
    needed = []
    for layer in (first, second):
        layer.register_forward_pre_hook(
            lambda _, given, named: needed.append((given or [named["hidden_states"]])[0]),
            with_kwargs=True,
        )
    ids = torch.arange(12)[None] % 5 + 5
    states = encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    assert not needed[0].requires_grad
    assert not needed[1].requires_grad
    assert states.requires_grad and all(x.requires_grad for x in second.parameters())
