"""What a device is and can do, found out in a process of its own, which ends and frees it.

Written is a JSON object: `facts` for people; `attention`, the kernels that torch takes; `lacks`,
why the device can't compute in a precision, by its name; and `broken`, what failed of a product and
of attention, or nothing.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from lib.command.console import UserError, one_line
from lib.files.whole import write_json
from lib.study.config import check_section
from lib.study.schema import options_of
from lib.training import gpus
from lib.training.backends import connect
from lib.training.device import DTYPES, choose_precision, hardware
from lib.training.job import versions

SHAPE = (8, 12, 120, 64)  # of queries: examples, heads, tokens, width
DROPOUT = 0.1
SEED = 1
TOLERANCE = 1e-2  # of entries of a product, of size 16


def facts(device: torch.device) -> dict[str, str]:
    """The hardware and the software that uses it."""
    told = {"Device": hardware(device), "Python": sys.version.split()[0]} | versions()
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        told |= {
            "Memory": f"{properties.total_memory / 2**30:.0f} GiB",
            "Compute capability": "{}.{}".format(*torch.cuda.get_device_capability(device)),
            "Kernels in torch": ", ".join(torch.cuda.get_arch_list()),
            "CUDA of torch": str(torch.version.cuda),
            "cuDNN": str(torch.backends.cudnn.version()),
        }
    return told


def lacks(device: torch.device) -> dict[str, str]:
    """Why the device can't compute in a precision of the schema, by its name."""
    found = {}
    for precision in options_of("training")["precision"]["enum"]:
        try:
            choose_precision(precision, device)
        except UserError as error:
            found[precision] = one_line(error)
    return found


def attention(device: torch.device, dtype: torch.dtype) -> str:
    """Which kernels torch takes, in words."""
    query, mask = inputs(device, dtype)
    names = [kernel(query, each, p) for p in (0.0, DROPOUT) for each in (mask, None)]
    return "{} with a mask, {} without, {} and {} with dropout".format(*names)


def kernel(query: torch.Tensor, mask: torch.Tensor | None, dropout: float) -> str:
    """The name of a kernel of attention."""
    choice = torch._fused_sdp_choice(query, query, query, mask, dropout)
    return torch.nn.attention.SDPBackend(choice).name.lower().removesuffix("_attention")


def inputs(device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries, and a mask that hides the last tokens."""
    examples, _, tokens, _ = SHAPE
    query = torch.randn(SHAPE, device=device, dtype=dtype, requires_grad=True)
    mask = torch.arange(tokens, device=device) < tokens - 20
    return query, mask.expand(examples, 1, tokens, tokens).contiguous()


def try_out(device: torch.device, dtype: torch.dtype) -> None:
    """Compute a product and attention, forward and backward, as a training does.

    Raises:
        UserError: a result is wrong.
        RuntimeError: the device can't do it.
    """
    matrix = torch.randn(256, 256)
    found = (matrix.to(device) @ matrix.to(device)).cpu()
    if not torch.allclose(found, matrix @ matrix, atol=TOLERANCE):
        raise UserError("a product of two matrices differs from that of the CPU")
    query, mask = inputs(device, dtype)
    for each in (mask, None):
        states = scaled_dot_product_attention(query, query, query, each, DROPOUT)
        (gradient,) = torch.autograd.grad(states.float().square().sum(), query)
        if not (states.isfinite().all() and gradient.isfinite().all()):
            raise UserError("attention gives numbers that are not finite")


def look(name: str) -> dict[str, Any]:
    """All that is found out of a device.

    Raises:
        UserError: it can't be used.
    """
    gpus.claim(name)
    settings = {"device": name}
    check_section("training", settings)  # which adds the defaults
    backend = connect(settings, SEED)
    device, dtype = backend.device, DTYPES.get(backend.precision, torch.float32)
    found: dict[str, Any] = {"facts": facts(device), "lacks": lacks(device), "broken": ""}
    try:
        try_out(device, dtype)
        found["attention"] = attention(device, dtype)
    except (UserError, RuntimeError) as error:
        found["broken"] = one_line(error)
    return found


if __name__ == "__main__":
    try:
        write_json(Path(sys.argv[2]), look(sys.argv[1]))
    except UserError as error:
        sys.exit(f"error: {error}")
