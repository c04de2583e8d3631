"""Markdown as GitHub shows it, in which texts from outside stay texts."""

import re
from collections.abc import Collection, Mapping

import pandas as pd
from tabulate import tabulate

from lib.data.folding import fold
from lib.formats import beginning

EXCERPT = 160  # characters
MARKUP = re.compile(
    r"""
      [`|$]                                # code, a cell, a formula
    | \\(?=[!-/:-@\[-`{-~]|$)              # an escape
    | (?<!\w)_+ | _++(?!\w)                # emphasis, which begins and ends at words alone
    | (?<!\s)[*~] | [*~](?!\s)             # emphasis, a strike-through
    | \](?=[(\[:])                         # a link
    | <(?=[a-z/!?]|\S*@|$)                 # a tag or an address
    | &(?=\#?\w+;)                         # an entity
    | (?<=www)\. | :(?=//)                 # a web address
    """,
    re.IGNORECASE | re.VERBOSE,
)


def escape(text: object) -> str:
    """Text on one line that is shown as it is, in a paragraph or a cell."""
    line = "".join(char if char.isprintable() else " " for char in str(text))
    return MARKUP.sub(lambda found: re.sub("(.)", r"\\\1", found[0]), " ".join(line.split()))


def excerpt(text: str) -> str:
    """The beginning of a review, escaped, with `<br />` as a space."""
    return escape(beginning(fold(text), EXCERPT))


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
