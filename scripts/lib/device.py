"""Where and how to compute: device, precision, threads, seeds, and what the hardware is called."""

import os
import platform
import resource
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import psutil
import torch
from transformers import set_seed

from lib.cli import UserError


def prepare(device: str, threads: int, seed: int) -> torch.device:
    """Choose the device, fix the number of CPU threads, the seeds and deterministic algorithms.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`.
        threads: CPU threads of this process.
        seed: of Python, NumPy and torch.

    Raises:
        UserError: the device is not there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    if not available[device]:
        there = ", ".join(name for name in available if available[name])
        raise UserError(f"device '{device}' is not available here; available: {there}")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    set_seed(seed)
    return torch.device(device)


def resolve_precision(precision: str, device: torch.device) -> str:
    """`fp32` or `bf16`; `auto` is bf16 where a GPU computes in it.

    Raises:
        UserError: bf16 is asked of a GPU without it.
    """
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = False
    if precision == "auto":
        return "bf16" if has_bf16 else "fp32"
    if precision == "bf16" and device.type == "cuda" and not has_bf16:
        raise UserError("this GPU has no bf16; set precision to fp32 or auto")
    return precision


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """The context of a forward pass."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak: allocated on a GPU, else the resident set of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident if sys.platform == "darwin" else resident * 1024


def hardware(device: torch.device) -> str:
    """The device's name, with cores and memory for a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    memory = psutil.virtual_memory().total / 2**30
    return f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
