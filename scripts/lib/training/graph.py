"""A classifier as a graph of ONNX, from tokens to probabilities, and one with rounded weights."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from lib.command.console import UserError, one_line
from lib.data.encoders import SHOWN
from lib.training.exported import MASK, MODEL, OUTPUT
from lib.training.model import Classifier, without_looking
from lib.training.poolings import PADDED_MEAN

TRACED = (2, 7)  # texts and tokens of the pass that is traced: neither 1, which would stay so
SIZES = {0: "texts", 1: "tokens"}  # names of dimensions that may be of any size
SEEING = "sdpa-of-those-that-see"


def attend_if_seeing(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """The attention of torch, with its nothing for tokens that see no other, as padding may be.

    Beyond the window of local attention, padding sees padding alone. Torch gives zeros for it, and
    ONNX the mean over all tokens, which only a mean over padding tells apart.

    Args:
        module: the layer.
        query: `(n, heads, length, width)`.
        key: of the same shape.
        value: of the same shape.
        attention_mask: which keys a query sees, boolean, of a shape that fits
            `(n, heads, length, length)`.
        options: of the attention.
    """
    states, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    if attention_mask is None:
        return states, None
    return states * attention_mask.any(-1, keepdim=True).transpose(1, 2), None


AttentionInterface.register(SEEING, attend_if_seeing)
AttentionMaskInterface.register(SEEING, without_looking(sdpa_mask))


class Graph(nn.Module):
    """A classifier that takes plain tensors and gives probabilities `(n, classes)`.

    Args:
        model: in evaluation mode.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model.eval()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Probabilities of a padded batch, whose inputs are all int64."""
        inputs = {"input_ids": input_ids, MASK: attention_mask.bool()}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        return self.model.chances(inputs)


def write_graph(model: Classifier, types: bool, max_length: int, path: Path) -> None:
    """Write a classifier as a graph of ONNX, whose texts and tokens may be of any number.

    Args:
        model: the classifier, which is not to be used after.
        types: whether the types of tokens are an input.
        max_length: tokens of a text at most.
        path: of the file; weights of more than 2 GB go into another one beside it.

    Raises:
        UserError: torch can't make a graph of its architecture.
    """
    texts, length = TRACED
    tokens = torch.zeros(texts, min(length, max_length), dtype=torch.int64)
    inputs = {"input_ids": tokens, MASK: torch.ones_like(tokens)}
    if types:
        inputs["token_type_ids"] = torch.zeros_like(tokens)
    config = model.encoder.config
    if model.pooling == PADDED_MEAN and config._attn_implementation == "sdpa":
        model.encoder.set_attn_implementation(SEEING)
    with quiet():
        try:
            program: Any = torch.onnx.export(
                Graph(model),
                kwargs=inputs,
                input_names=list(inputs),
                output_names=[OUTPUT],
                dynamic_shapes=dict.fromkeys(inputs, SIZES),
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # of any kind: each architecture has code of its own
            why = shorten(one_line(error.__cause__ or error), SHOWN)
            raise UserError(
                f"{config.model_type} can't become a graph of ONNX ({why}); use the checkpoint as "
                "it is"
            ) from error
        forget_places(program)
        program.save(path)


def forget_places(program: Any) -> None:
    """Remove from the nodes of a graph where in the code, and in which folders, they come from."""
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None


def round_weights(graph: Path, path: Path) -> None:
    """Write a graph with the weights of its products as 8-bit integers, scaled by each column.

    Seven of the bits are used, since sums of products would overflow on processors without
    instructions for them, and a check on one that has these would not hold there. What the weights
    are multiplied with is rounded while it is computed. Embeddings stay as they are.

    Args:
        graph: the file of the graph.
        path: of the file to write.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(
            graph,
            path,
            op_types_to_quantize=["MatMul"],  # of which Gemm is made one
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=(graph.parent / f"{MODEL}.data").is_file(),
            extra_options={"MatMulConstBOnly": True},
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what libraries tell of their own parts."""
    logging.disable()
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
