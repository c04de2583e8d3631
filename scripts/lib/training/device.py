"""Where and how to compute: device, precision, threads, seeds, and what hardware it is."""

import os
import platform
import re
import resource
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from transformers import set_seed

from lib.command.console import UserError, announcements, log, one_line
from lib.training.launch import is_worker

OVERRIDES = (
    *("ACCELERATE_", "PARALLELISM_CONFIG_", "FSDP_"),
    *("DNNL_DEFAULT_FPMATH_MODE", "ONEDNN_DEFAULT_FPMATH_MODE"),
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
)
ON_CPU = "set device: cpu in training, so that as many run at once as the cores allow"
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}  # of precisions that use autocast


def choose(device: str) -> torch.device:
    """The device to compute on; one of several processes takes the GPU of its number.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UserError: the device is not there, or is a GPU that this torch is not built for.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    number = _number()
    if available["cuda"] and device in ("auto", "cuda") and (lack := lack_of_kernels()):
        if device == "cuda":
            raise UserError(f"{lack}; set device to cpu, or install a torch that is built for it")
        if not number:
            announcements.warning("the CPU computes, since %s; %s", lack, ON_CPU)
        available["cuda"] = False
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    if not available[device]:
        there = ", ".join(name for name in available if available[name])
        raise UserError(f"device '{device}' is not available here; available: {there}")
    if device == "cuda":
        torch.cuda.set_device(number)
        # cuDNN's attention makes a plan for every new shape, and has given gradients of NaN where
        # there is a mask (pytorch/pytorch#196678).
        torch.backends.cuda.enable_cudnn_sdp(False)
    return torch.device(device)


def _number() -> int:
    """The number of this process among those of its training on this machine."""
    return int(os.environ["LOCAL_RANK"]) if is_worker() else 0


def lack_of_kernels() -> str | None:
    """What is wrong with the first GPU of this training's processes that torch can't compute on."""
    built = torch.cuda.get_arch_list()
    for number in range(int(os.environ["LOCAL_WORLD_SIZE"]) if is_worker() else 1):
        with warnings.catch_warnings(action="ignore"):  # torch tells it at length
            capability = torch.cuda.get_device_capability(number)
        if not has_kernels(capability, built):
            name, version = torch.cuda.get_device_name(number), "{}.{}".format(*capability)
            return (
                f"the GPU '{name}' has compute capability {version}, and torch {torch.__version__} "
                f"is built for {', '.join(built)} alone"
            )
    return None


def has_kernels(capability: tuple[int, int], built: Sequence[str]) -> bool:
    """Whether a GPU of a compute capability runs what torch is built for.

    A binary (`sm_86`) runs on its own major version, from its minor one on; PTX (`compute_86`) on
    all later ones; either with an `a` behind it on that one alone (CUDA C++ Programming Guide, on
    the compatibility of binaries and of PTX). Names of other kinds, as of AMD's, are not compared.
    """
    if not any(name.startswith("sm_") for name in built):
        return True
    for name in built:
        if found := re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name):
            kind, major, minor, only = found.groups()
            least = int(major), int(minor)
            last = least if only == "a" else (least[0], 9) if kind == "sm" or only else (99, 9)
            if least <= capability <= last:
                return True
    return False


def forget_overrides() -> None:
    """Remove variables of the environment by which libraries compute otherwise than is asked for.

    Accelerate divides losses by its own steps of accumulation, shards or rounds; oneDNN and CUDA
    round the operands of products in fp32.
    """
    for name in [name for name in os.environ if name.startswith(OVERRIDES)]:
        log.warning("%s is not used: the configuration alone decides results", name)
        del os.environ[name]


def set_determinism(deterministic: bool) -> None:
    """Allow deterministic algorithms alone, or all.

    Args:
        deterministic: whether the same seed gives the same bytes on the same device.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product
    torch.use_deterministic_algorithms(deterministic)
    # Nothing here reads what it fills; mypy does not see that this module has properties.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def prepare(threads: int, seed: int) -> None:
    """Fix the number of CPU threads of this process, and the seeds of Python, NumPy and torch."""
    torch.set_num_threads(threads)
    set_seed(seed)


def choose_precision(precision: str, device: torch.device) -> str:
    """`fp32`, `tf32`, `bf16` or `fp16`; `auto` is bf16 where a GPU computes in it, else fp32.

    Raises:
        UserError: the device lacks what is asked for.
    """
    gpu = device.type == "cuda"
    has_bf16 = gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "auto":
        return "bf16" if has_bf16 else "fp32"
    if precision == "bf16" and gpu and not has_bf16:
        raise UserError("this GPU has no bf16; set precision to auto, fp32 or fp16")
    if precision == "tf32" and not (gpu and torch.cuda.is_tf32_supported()):
        raise UserError(
            "tf32 needs an NVIDIA GPU of compute capability 8.0 or more; set precision to auto"
        )
    return precision


def emulates(precision: str) -> bool:
    """Whether the processor has no instructions for a precision, as AVX512_BF16 are for bf16."""
    found = torch.cpu.get_capabilities().items()
    return not any(has and precision in name for name, has in found)


def warn_if_emulated(precision: str, device: torch.device) -> None:
    """Say so if the processor emulates a precision."""
    if device.type != "cpu" or precision not in DTYPES or _number():
        return
    if emulates(precision):
        announcements.warning(
            "this processor has no instructions for %s and emulates it, which is slower than fp32; "
            "set precision to fp32",
            precision,
        )


def allow_tf32(allowed: bool) -> None:
    """Let CUDA round the operands of products in float32 to TF32, or forbid it, in this process.

    cuDNN has a switch of its own, which torch leaves on. What is set by these names is what the
    newer `fp32_precision` tells as well; after the newer alone, reading these raises an error, and
    parts of torch still do.
    """
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


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
