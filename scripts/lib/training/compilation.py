"""What of a model is compiled: nothing, the rotary embedding of its encoder alone, or all of it."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from transformers import PreTrainedModel

from lib.command.console import UserError, log, one_line
from lib.training.model import Classifier

NOTHING, ROTARY, MODEL = "nothing", "rotary", "model"
# By this name the modules of transformers call the function that rotates queries and keys. Eager,
# each of its operations reads and writes whole tensors; compiled, all are one kernel.
FUNCTION = "apply_rotary_pos_emb"


@cache
def compiled_part(setting: bool | str, device: torch.device) -> str:
    """What is compiled of a model that rotates queries and keys: `nothing`, `rotary` or `model`.

    Args:
        setting: `compile` of the section `training`; `auto` compiles on an NVIDIA GPU alone, and
            there only where it can be done.
        device: where the model computes.

    Raises:
        UserError: compiling is asked for, and can't be done.
    """
    if setting is False or (setting == "auto" and device.type != "cuda"):
        return NOTHING
    lacks = lacks_of(device)
    why = f"needs {' and '.join(lacks)}" if lacks else failure(device)
    if not why:
        return ROTARY if setting == "auto" else MODEL
    if setting is True:
        raise UserError(f"compile {why}; {'install that, or ' if lacks else ''}set it to false")
    log.warning("nothing is compiled: compile %s", why)
    return NOTHING


def lacks_of(device: torch.device) -> list[str]:
    """What a device needs to compile for it, and is not there.

    Triton builds a launcher in C for each kernel (`triton/runtime/build.py`), and the inductor all
    of its code for a CPU in C++ (`torch/_inductor/cpp_builder.py`): both as extensions of Python.
    """
    lacks = []
    if device.type == "cuda":
        if find_spec("triton") is None:
            lacks.append("Triton")
        compilers = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
        language = "C"
    else:
        compilers = [os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")]
        language = "C++"
    if not any(map(shutil.which, compilers)):
        lacks.append(f"a {language} compiler ({' or '.join(compilers)})")
    folders = {sysconfig.get_path("include"), sysconfig.get_path("include", "posix_prefix")}
    if not any(Path(folder, "Python.h").is_file() for folder in folders):
        lacks.append("Python.h (of the package python3-dev)")
    return lacks


def failure(device: torch.device) -> str:
    """Why a small function does not compile for a device; empty where it does."""
    try:
        torch.compile(_small)(torch.ones(2, device=device))
    except Exception as error:  # which may be any, of a compiler or a driver as well
        return f"does not work here ({one_line(error)})"
    return ""


def _small(values: torch.Tensor) -> torch.Tensor:
    return values.cos() * values


def compile_part(model: Classifier, setting: bool | str, device: torch.device) -> None:
    """Compile a part of a model, for passes of any shape, as they come; the model tells which.

    Args:
        model: the classifier; `auto` has nothing to compile in an encoder that does not rotate.
        setting: as in `compiled_part`.
        device: likewise.

    Raises:
        UserError: compiling is asked for, and can't be done.
    """
    if setting == "auto" and not rotary_modules(model.encoder):
        return
    model.compiled = part = compiled_part(setting, device)
    if part == MODEL:
        model.compile(dynamic=True)
    elif part == ROTARY:
        compile_rotary(model.encoder)


def compile_rotary(encoder: PreTrainedModel) -> None:
    """Have an encoder rotate queries and keys by a compiled function, where it does rotate them.

    It takes the place of the function of the encoder's module during each pass, and in no pass of
    another encoder.
    """
    for module in rotary_modules(encoder):
        eager = getattr(module, FUNCTION)
        compiled = torch.compile(eager, dynamic=True)
        encoder.register_forward_pre_hook(partial(_put, module, compiled))
        encoder.register_forward_hook(partial(_put, module, eager), always_call=True)


def rotary_modules(encoder: PreTrainedModel) -> list[ModuleType]:
    """The modules of Python that define parts of an encoder, and rotate queries and keys."""
    names = dict.fromkeys(type(part).__module__ for part in encoder.modules())
    return [sys.modules[name] for name in names if hasattr(sys.modules[name], FUNCTION)]


def _put(module: ModuleType, function: Callable[..., Any], *_: object) -> None:
    setattr(module, FUNCTION, function)
