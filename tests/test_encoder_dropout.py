"""The setting `encoder_dropout`: what is dropped out in an encoder, of states and attention."""

import pytest
import torch
from families import FAMILIES
from torch.nn import functional
from transformers import MambaConfig

from lib.command.console import UserError
from lib.training.model import load_encoder, set_dropout


def states(encoder, seed: int = 1) -> torch.Tensor:
    torch.manual_seed(seed)
    ids = torch.arange(12)[None] % 5 + 5
    return encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_all_of_a_family_drops_out_as_asked_for_in_training_alone(made, family):
    folder = made(family)
    plain = states(load_encoder(folder, "padded-mean").eval())
    never = load_encoder(folder, "padded-mean", 0.0).train()
    assert torch.equal(states(never, 1), states(never, 2))
    torch.testing.assert_close(states(never), plain)
    often = load_encoder(folder, "padded-mean", 0.9)
    torch.testing.assert_close(states(often.eval()), plain)
    assert not torch.equal(states(often.train(), 1), states(often, 2))


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_attention_weights_are_dropped_out_as_well(encoders, monkeypatch, architecture):
    seen, attention = [], functional.scaled_dot_product_attention

    def noted(*given, dropout_p=0.0, **named):
        seen.append(dropout_p)
        return attention(*given, dropout_p=dropout_p, **named)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", noted)
    for dropout, expected in (("auto", 0.0), (0.25, 0.25)):
        encoder = load_encoder(encoders[architecture], "padded-mean", dropout)
        seen.clear()
        states(encoder.train())
        assert len(seen) == 2 and set(seen) == {expected}
        states(encoder.eval())
        assert set(seen[2:]) == {0.0}
        dropped = {part.p for part in encoder.modules() if isinstance(part, torch.nn.Dropout)}
        assert dropped == {expected}


def test_an_encoder_without_dropout_is_refused_where_some_is_asked_for():
    config = MambaConfig()
    set_dropout(config, 0.0)
    with pytest.raises(UserError, match=r"mamba has no dropout, and encoder_dropout is 0\.1"):
        set_dropout(config, 0.1)
