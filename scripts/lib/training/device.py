"""Where and how to compute: device, precision, threads, seeds, and what hardware it is."""

import os
import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from transformers import set_seed

from lib.command.console import UserError, log, one_line
from lib.training.launch import is_worker

OVERRIDES = (
    *("ACCELERATE_", "PARALLELISM_CONFIG_", "FSDP_"),
    *("DNNL_DEFAULT_FPMATH_MODE", "ONEDNN_DEFAULT_FPMATH_MODE"),
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
)


def choose(device: str) -> torch.device:
    """The device to compute on; one of several processes takes the GPU of its number.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`.

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
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) if is_worker() else 0)
    return torch.device(device)


def forget_overrides() -> None:
    """Remove variables of the environment by which libraries compute otherwise than is asked for.

    Accelerate divides losses by its own steps of accumulation, shards or rounds; oneDNN and CUDA
    round the operands of products in fp32.
    """
    for name in [name for name in os.environ if name.startswith(OVERRIDES)]:
        log.warning("%s is not used: the configuration alone decides results", name)
        del os.environ[name]


def prepare(threads: int, seed: int, deterministic: bool) -> None:
    """Fix the number of CPU threads, the seeds and, if asked for, deterministic algorithms.

    Args:
        threads: CPU threads of this process.
        seed: of Python, NumPy and torch.
        deterministic: whether the same seed gives the same bytes on the same device.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    # Nothing here reads what it fills; mypy does not see that this module has properties.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    set_seed(seed)


def choose_precision(precision: str, device: torch.device) -> str:
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


@contextmanager
def explain_lack_of_memory(advice: str) -> Iterator[None]:
    """Turn an error of the allocator into one for the user.

    Raises:
        UserError: the device is out of memory.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"out of memory; {advice} ({one_line(error)})") from error


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error tells that a device, one of its libraries or the CPU is out of memory."""
    signs = ("out of memory", "can't allocate memory", "_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def free_memory(device: torch.device) -> None:
    """Give back what the allocator of a GPU keeps in reserve."""
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak: allocated on a GPU, else the resident set of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident if sys.platform == "darwin" else resident * 1024


def hardware(device: torch.device) -> str:
    """The device's name, with cores and memory for a CPU."""
    if device.type == "cuda":
        return device_name(device)
    memory = psutil.virtual_memory().total / 2**30
    return f"{device_name(device)}, {os.cpu_count()} cores, {memory:.0f} GiB"


def device_name(device: torch.device) -> str:
    """The name of the GPU, or else of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
