"""What `gpu_check.py` tells: a line per check, how many passed, and the page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lib.command.formats import duration, plural
from lib.command.markup import escape
from lib.files.whole import write_text
from lib.page import markdown

OK, FAILED, LEFT_OUT = "ok", "FAILED", "left out"


class Check(NamedTuple):
    """One thing that was checked.

    Attributes:
        part: of the command.
        name: what is to hold.
        outcome: `ok`, `FAILED` or `left out`.
        detail: what was measured, or why.
        seconds: that it took.
    """

    part: str
    name: str
    outcome: str
    detail: str
    seconds: float

    def line(self) -> str:
        """The check on one line."""
        told = f"{self.outcome:8} {self.part}: {self.name}"
        return f"{told}: {self.detail}" if self.detail else told


class Speed(NamedTuple):
    """How fast a training was in its last epoch.

    Attributes:
        model: name of the encoder.
        settings: that differ from the others.
        reviews_per_second: of the epoch, validation left out.
        memory: bytes at the peak.
        micro_batch: reviews of a pass at most.
        micro_tokens: tokens of a pass at most.
        precision: of its products.
    """

    model: str
    settings: str
    reviews_per_second: float
    memory: int
    micro_batch: int
    micro_tokens: int
    precision: str

    def __str__(self) -> str:
        """The speed in a sentence."""
        return (
            f"{self.reviews_per_second:,.0f} reviews/s, {self.memory / 1e9:.1f} GB at the peak, "
            f"passes of up to {self.micro_batch:,} reviews and {self.micro_tokens:,} tokens"
        )


def conclusion(checks: Sequence[Check]) -> str:
    """How many checks passed, failed, and were left out."""
    counts = Counter(check.outcome for check in checks)
    left = f", {counts[LEFT_OUT]} left out" if counts[LEFT_OUT] else ""
    return f"{plural(counts[OK], 'check')} passed, {counts[FAILED]} failed{left}"


def exit_code(checks: Sequence[Check]) -> int:
    """1 if any check failed, or none passed."""
    outcomes = {check.outcome for check in checks}
    return int(FAILED in outcomes or OK not in outcomes)


def write_page(
    path: Path, facts: Mapping[str, str], checks: Sequence[Check], speeds: Sequence[Speed]
) -> None:
    """Write the page: the machine, all checks, and all speeds."""
    parts = ["# Check of a graphics card", f"**{conclusion(checks)}.**", as_table(facts)]
    parts += ["## Checks", checks_table(checks)]
    if speeds:
        parts += ["## Speed", speeds_table(speeds)]
    write_text(path, "\n\n".join(parts) + "\n")


def as_table(facts: Mapping[str, str]) -> str:
    """Two columns: what, and what it is."""
    rows = [{"": name, " ": escape(text)} for name, text in facts.items() if text]
    return markdown.table(pd.DataFrame(rows), left=["", " "])


def checks_table(checks: Sequence[Check]) -> str:
    """A row per check."""
    rows = [
        {
            "part": check.part,
            "check": escape(check.name),
            "outcome": f"**{FAILED}**" if check.outcome == FAILED else check.outcome,
            "detail": escape(check.detail),
            "took": duration(check.seconds),
        }
        for check in checks
    ]
    return markdown.table(pd.DataFrame(rows), left=["part", "check", "outcome", "detail"])


def speeds_table(speeds: Sequence[Speed]) -> str:
    """A row per training."""
    rows = [
        {
            "model": escape(speed.model),
            "settings": escape(speed.settings),
            "precision": speed.precision,
            "reviews/s": f"{speed.reviews_per_second:,.0f}",
            "peak memory (GB)": f"{speed.memory / 1e9:.1f}",
            "micro_batch": f"{speed.micro_batch:,}",
            "micro_tokens": f"{speed.micro_tokens:,}",
        }
        for speed in speeds
    ]
    return markdown.table(pd.DataFrame(rows), left=["model", "settings", "precision"])
