"""Whether a classifier gives without padding what it gives with it, tried before it is trained."""

import numpy as np
import torch
from torch import Tensor

from lib.command.console import UserError, one_line
from lib.data.cutting import HEAD, Cut, Frame
from lib.data.tokens import TokenFile
from lib.study.config import PADDED_POOLINGS
from lib.training.batches import Tokens
from lib.training.model import Classifier
from lib.training.unpadded import UNPADDED, Unpadded

BEYOND = 5  # tokens by which a text on which an encoder is tried is longer than its window
SHORT = 3  # tokens of the other one
# How far a state may move, relative to its norm, where nothing but rounding differs. In float64 it
# moved by 1e-14 at most, and by 1e-4 or more where a window was one token too long (ModernBERT of
# three sizes, with random weights).
TOLERANCE = 1e-6


def unpad(model: Classifier, device: torch.device, precision: str) -> None:
    """Have the encoder of a classifier attend unpadded, where that gives what padding gives.

    Args:
        model: on the CPU; moved to the device.
        device: where it will compute.
        precision: likewise; the kernel for GPUs has none but bf16.

    Raises:
        UserError: one of them does not go with it.
    """
    why = ""
    if model.pooling in PADDED_POOLINGS:
        why = f"pooling '{model.pooling}' needs padded passes"
    elif device.type != "cpu" and (device.type, precision) != ("cuda", "bf16"):
        why = f"{device.type} in {precision} has no attention for it; a GPU has in bf16"
    elif failed := _failure(model, device, precision):
        why = f"{model.encoder.config.model_type} can't be trained so: {failed}"
    if why:
        raise UserError(f"unpadded is true, but {why}; set it to false")


def _failure(model: Classifier, device: torch.device, precision: str) -> str:
    """Why a classifier does not train unpadded; if it does, empty, and it is left so."""
    padded, rows = _trial(model, torch.device("cpu")), torch.arange(2)
    inputs, unpadded = padded.batch(rows), Unpadded(**vars(padded)).batch(rows)
    there = Unpadded(**vars(_trial(model, device))).batch(rows)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model.eval().double()
            expected = _states_and_vectors(model, inputs)
            model.encoder.set_attn_implementation(UNPADDED)
            found = _states_and_vectors(model, unpadded)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                model.float().to(device).train()(there)
    except Exception as error:  # which may be any, as encoders differ in what they take
        return one_line(error) or type(error).__name__
    for what, own, others in zip(("states", "vectors"), expected, found, strict=True):
        near = (own - others).norm(dim=-1) <= TOLERANCE * own.norm(dim=-1)
        if not near.all():
            return f"without padding, its {what} are others"
    return ""


def _states_and_vectors(model: Classifier, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The states of all tokens, and the vectors of the texts."""
    states = model.encode(inputs).last_hidden_state[inputs["attention_mask"]]
    return states, model.represent(inputs)


def _trial(model: Classifier, device: torch.device) -> Tokens:
    """Two texts, of which the first is longer than the window of an encoder, if it has one."""
    encoder = model.encoder
    config, tokens = encoder.config, torch.arange(encoder.get_input_embeddings().num_embeddings)
    positions = getattr(config, "max_position_embeddings", None) or np.inf
    window = getattr(config, "sliding_window", None) or 0
    lengths = np.array([min(window + BEYOND, positions), SHORT], int)
    known = tokens[tokens != config.pad_token_id].numpy().astype(np.int32)
    file = TokenFile(
        ids=np.arange(2),
        labels=np.zeros(2, np.int8),
        columns={"input_ids": np.resize(known, lengths.sum())},
        bounds=np.cumsum([0, *lengths]),
        uncut=lengths,
        pad_id=config.pad_token_id or 0,
        cut=Cut(int(lengths.max()), HEAD),
        frame=Frame(0, 0, HEAD),
    )
    return Tokens.of(file, device, "masked-mean")
