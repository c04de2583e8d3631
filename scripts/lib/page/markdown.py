"""Pieces of a page in Markdown: excerpts, tables, lists of facts, what a click opens."""

import re
from collections.abc import Collection, Mapping

import pandas as pd
from tabulate import tabulate

from lib.command.formats import beginning
from lib.command.markup import escape
from lib.data.folding import fold

EXCERPT = 160  # characters
FOLD = re.compile(r"<details><summary>[\w ,:-]+</summary>|</details>")  # the only HTML of a page


def excerpt(text: str) -> str:
    """The beginning of a text, escaped, with `<br />` as a space."""
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


def folded(title: str, *paragraphs: str) -> str:
    """Paragraphs that a click on their title opens; `html.render` knows the two lines around."""
    return "\n\n".join([f"<details><summary>{title}</summary>", *paragraphs, "</details>"])
