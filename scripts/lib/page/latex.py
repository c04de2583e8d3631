"""Tables for papers: LaTeX with the cells of the summary, of which each text stays a text."""

import re
from collections.abc import Mapping

import pandas as pd

from lib.analysis.results import at_chosen_rates
from lib.page.tables import LEFT, result_cells, verdict_cells

HEADING = "% \\usepackage{booktabs} in the preamble; \\input this file inside a table\n"
NUMBER = r"^(?:\\textbf\{)?(?:\+|\$-\$)?\d"
MINUS = re.compile(r"(?<!\S)-(?=\d)")
LINE = 40  # letters, beyond which the texts of a column are broken into lines
LETTERS = str.maketrans(
    {
        **{letter: f"\\{letter}" for letter in "{}$&#%_"},
        **{letter: f"{{{letter}}}" for letter in "[*"},  # which a row may not begin with
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "±": r"$\pm$",
        "−": "$-$",
        "†": r"\dag{}",
        "‡": r"\ddag{}",
        "…": r"\dots{}",
    }
)


def papers(
    tables: Mapping[str, pd.DataFrame], baselines: pd.DataFrame, metric: str, noun: str
) -> dict[str, str]:
    """The main table as `results`, and the findings as `findings` where there are any.

    Args:
        tables: of the study, by name.
        baselines: what was measured of the baselines.
        metric: of the study.
        noun: what the dataset calls its texts.
    """
    cells, best = result_cells(at_chosen_rates(tables["runs"]), baselines, metric)
    cells = cells.map(escape)
    found = {"results": cells.where(~best, r"\textbf{" + cells + "}")}
    if "findings" in tables:
        found["findings"] = verdict_cells(tables["findings"], noun).map(escape)
    return {name: tabular(rows) for name, rows in found.items()}


def escape(text: object) -> str:
    """Text on one line that is shown as it is."""
    return MINUS.sub("−", " ".join(str(text).split())).translate(LETTERS)


def tabular(cells: pd.DataFrame) -> str:
    """A table of cells that are LaTeX already, long ones in lines of their own."""
    kinds = "".join(kind(name, cells[name].astype(str)) for name in cells)
    titled = cells.rename(columns=escape)
    return HEADING + titled.to_latex(index=False, escape=False, column_format=kinds)


def kind(name: str, cells: pd.Series) -> str:
    """How LaTeX sets a column: numbers to the right, texts to the left or in several lines."""
    cells = cells.astype(str)
    if cells.str.len().max() > LINE:
        return r"p{0.18\linewidth}"
    return "l" if name in LEFT or not cells.str.contains(NUMBER).any() else "r"
