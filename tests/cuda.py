"""A stand-in for CUDA: torch takes itself for a build with CUDA, whose every call is noted."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import _C

LIBRARIES = ("libcuda", "libnvidia")  # of the driver


class Note(NamedTuple):
    """A call of CUDA or of its driver.

    Attributes:
        call: the function or the library.
        command: the name of the process that calls.
        process: its number.
        parent: that of the process that has started it.
        visible: CUDA_VISIBLE_DEVICES of it, if it is set.
    """

    call: str
    command: str
    process: int
    parent: int
    visible: str | None


def note_calls(path: Path) -> None:
    """Note calls of CUDA by this process and its forks in a file; the calls find no GPU."""

    def note(call: str) -> None:
        command = Path("/proc/self/comm").read_text().strip()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        with path.open("a") as file:
            print(json.dumps([call, command, os.getpid(), os.getppid(), visible]), file=file)

    def noted(name: str) -> Callable[..., int]:
        return lambda *_, **__: note(name) or 0

    def without_cuda(name: str) -> Any:  # what this build lacks and one with CUDA has
        if name.startswith("_cuda_"):
            return noted(name)
        raise AttributeError(name)

    for name in dir(_C):
        if name.startswith(("_cuda_", "_accelerator_")):
            setattr(_C, name, noted(name))
    _C.__getattr__ = without_cuda
    _C._accelerator_getAccelerator = lambda: torch.device("cuda")  # as the build decides
    torch.cuda._lazy_init = noted("_lazy_init")  # which C++ calls as well
    torch.version.cuda = "13.0"
    sys.addaudithook(
        lambda event, words: (
            note(words[0])
            if event == "ctypes.dlopen" and str(words[0]).startswith(LIBRARIES)
            else None
        )
    )


def notes_in(path: Path) -> list[Note]:
    """The calls that were noted."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Note(*json.loads(line)) for line in lines]
