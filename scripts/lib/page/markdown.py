"""Markdown as GitHub shows it, in which texts from outside stay texts."""

import html
import re
from collections.abc import Collection, Mapping

import pandas as pd
from tabulate import tabulate

from lib.data.folding import fold

EXCERPT = 160  # characters
# What would begin code, emphasis, a link, a cell, a strike-through, a formula or a web address.
MARKUP = re.compile(r"[\\`*_\[\]|~$]|(?<=www)\.|:(?=//)", re.IGNORECASE)


def escape(text: object) -> str:
    """Text on one line that is shown as it is, in a paragraph or a cell."""
    line = "".join(char if char.isprintable() else " " for char in str(text))
    return MARKUP.sub(r"\\\g<0>", html.escape(" ".join(line.split()), quote=False))


def excerpt(text: str) -> str:
    """The beginning of a review, escaped, with `<br />` as a space."""
    line = fold(text)
    return escape(line if len(line) <= EXCERPT else f"{line[:EXCERPT].rstrip()} …")


def table(cells: pd.DataFrame, left: Collection[str] = ()) -> str:
    """A table of cells that are Markdown already, to the right but for the columns `left`."""
    return tabulate(
        cells.to_numpy().tolist(),
        headers=list(cells.columns),
        tablefmt="pipe",
        colalign=["left" if name in left else "right" for name in cells.columns],
        disable_numparse=True,
    )


def facts(entries: Mapping[str, str]) -> str:
    """A list of named facts, without those that are empty."""
    return "\n".join(f"- **{name}:** {escape(text)}" for name, text in entries.items() if text)
