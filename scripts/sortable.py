"""Turn tables into one HTML file in which they can be sorted and searched without a network.

Browsers show no page of over 2 MB inside a report, so of long tables the first rows are shown and
of long texts the beginning.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lib.cli import Parser, replacing, run

if TYPE_CHECKING:
    import pandas as pd

ROWS = 250
LETTERS = 120
HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Tables</title>
<style>body { font: 14px/1.4 Arial, sans-serif; margin: 1em; background: white; }
td { vertical-align: top; }</style>
"""


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--tables", required=True, nargs="+", type=Path, help="CSV files")
    flags.add_argument("--out", required=True, type=Path, help="HTML file to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the page."""
    from itables import options as itables
    from itables.javascript import generate_init_offline_itables_html

    from lib.study import read_table

    tables = {path.stem: read_table(path) for path in options.tables}
    contents = " · ".join(f'<a href="#{name}">{name}</a>' for name in tables)
    parts = [HEAD, generate_init_offline_itables_html(itables.dt_bundle), f"<p>{contents}</p>"]
    for name, table in tables.items():
        parts.append(f'<h2 id="{name}">{name}</h2>')
        if len(table) > ROWS:
            parts.append(f"<p>The first {ROWS} of {len(table):,} rows of tables/{name}.csv.</p>")
        parts.append(sortable(table.head(ROWS)))
    with replacing(options.out) as path:
        path.write_text("\n".join([*parts, "</html>", ""]), "utf-8")


def sortable(table: "pd.DataFrame") -> str:
    """A table that can be sorted; its texts are shown as they are, never as HTML."""
    from itables import to_html_datatable

    if "text" in table:
        table = table.assign(text=table["text"].str.slice(0, LETTERS))
    return to_html_datatable(
        table,
        connected=False,
        allow_html=False,
        maxBytes=0,
        maxColumns=0,
        display_logo_when_loading=False,
        style="margin: 0",
        classes="display compact",
    )


if __name__ == "__main__":
    run(main, arguments())
