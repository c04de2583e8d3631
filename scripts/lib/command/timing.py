"""How long a command took: the last line of its log, which tells where a study's seconds went."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STARTED = "TEXT_ENCODERS_STARTED"  # variable that tells a fork when its command started
LINE = re.compile(r"took ([\d.]+) s(?: \((.*)\))?$")

_imported = time.time()
_parts: dict[str, float] = {}


def started() -> float:
    """When this command started, or imported this module, in seconds since the epoch."""
    return float(os.environ.get(STARTED, _imported))


def record(part: str, seconds: float) -> None:
    """Count seconds of this process to a part of its work."""
    _parts[part] = _parts.get(part, 0.0) + seconds


@contextmanager
def timed(part: str) -> Iterator[None]:
    """Count the seconds of a block, or of each call of a function, to a part of the work."""
    begun = time.perf_counter()
    yield
    record(part, time.perf_counter() - begun)


def took() -> str:
    """How long this command has taken, and its parts, as in `took 7.10 s (training 4.02 s)`."""
    parts = ", ".join(f"{part} {seconds:.2f} s" for part, seconds in _parts.items())
    return f"took {time.time() - started():.2f} s" + (f" ({parts})" if parts else "")


def read_took(log: Path) -> tuple[float, dict[str, float]] | None:
    """The seconds of a command and of parts of its work, from its log; None if it has not ended."""
    lines = log.read_text("utf-8", "replace").splitlines() if log.is_file() else []
    found = LINE.search(lines[-1]) if lines else None
    if not found:
        return None
    words = (part.split() for part in (found[2] or "").split(", ") if part)
    return float(found[1]), {part: float(seconds) for part, seconds, _ in words}
