"""The NVIDIA GPUs of this machine, and claims on them: one training or test at a time on each.

Light to import, because the Snakefile counts GPUs as well.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.command.console import UserError, log

if TYPE_CHECKING:
    from filelock import FileLock

DRIVER = Path("/proc/driver/nvidia")
WAIT = 1  # seconds between two looks at GPUs that others hold

_claims: "list[FileLock]" = []  # the kernel lets go of them when this process ends


def visible() -> list[str]:
    """Identifiers of the GPUs that this process may use, in the order of CUDA_VISIBLE_DEVICES.

    As CUDA does, it takes numbers, identifiers or their beginnings, up to the first that is none.
    """
    gpus = listed()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not gpus:
        return gpus
    found: dict[str, None] = {}
    for name in (part.strip() for part in chosen.split(",")):
        fitting = [gpu for n, gpu in enumerate(gpus) if name == str(n) or gpu.startswith(name)]
        if not name or not (fitting or name.startswith("MIG-")):
            break
        found[(fitting or [name])[0]] = None
    return list(found)


def listed() -> list[str]:
    """Identifiers of all GPUs, from nvidia-smi or, where that is missing, from the driver."""
    if shutil.which("nvidia-smi"):
        text = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True).stdout
    else:
        text = "".join(map(Path.read_text, sorted(DRIVER.glob("gpus/*/information"))))
    return re.findall(r"^GPU .*?(GPU-[\w-]+)", text, re.MULTILINE)


def count() -> int:
    """GPUs of this machine, that of a Mac with Apple's chips included."""
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return len(visible()) or int(apple)


def claim(device: str, processes: int = 1) -> None:
    """Wait for free GPUs, and let CUDA see these alone until this process ends.

    The claim is a lock on a file per GPU and user, so that it holds between all processes of a
    user on a machine, and is gone with the process that made it, however that ends. Where nothing
    is computed on NVIDIA GPUs, nothing is claimed.

    Args:
        device: as in the configuration.
        processes: that share the work, each on a GPU of its own.

    Raises:
        UserError: this machine has too few.
    """
    gpus = visible()
    if not gpus or device not in ("auto", "cuda"):
        return
    if processes > len(gpus):
        raise UserError(f"{processes} processes need a GPU each, but there are {len(gpus)}")
    claimed = _try(gpus, processes)
    if not claimed:
        log.info("waiting until %d of %d GPUs are free", processes, len(gpus))
    while not claimed:
        time.sleep(WAIT)
        claimed = _try(gpus, processes)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(claimed)


def _try(gpus: list[str], wanted: int) -> list[str]:
    """Lock as many GPUs as are wanted, or none."""
    from filelock import FileLock, Timeout  # jobs have it, but perhaps not who plans them

    locks: dict[str, FileLock] = {}
    for gpu in gpus:
        name = re.sub(r"[^\w-]", "_", gpu)
        path = Path(tempfile.gettempdir(), f"text-encoders-{os.getuid()}-{name}.lock")
        lock = FileLock(path, mode=0o600, blocking=False)
        with suppress(Timeout):
            lock.acquire()
            locks[gpu] = lock
        if len(locks) == wanted:
            _claims.extend(locks.values())
            return list(locks)
    for lock in locks.values():
        lock.release()
    return []


def uses_gpus(settings: Mapping[str, Any], available: int) -> bool:
    """Whether a run computes on a GPU; with the device `auto`, if this machine has any."""
    return settings["device"] in ("cuda", "mps") or (settings["device"] == "auto" and available > 0)
