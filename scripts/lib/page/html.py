"""Pages of HTML for the report, each in one file that needs no other and no network."""

import base64
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from itables import options as itables
from itables import to_html_datatable
from itables.javascript import generate_init_offline_itables_html
from markdown_it import MarkdownIt

from lib.command.formats import beginning, class_names, classes_named
from lib.files.manifests import reading
from lib.files.tables import read_table
from lib.files.whole import read_json, read_text, write_text

ROWS = 250
LETTERS = 120
LINK = re.compile(r"\[[^\]]*\]\([^)]*\)")  # a paragraph that is one link
TEMPLATE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 Arial, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em;
  color: #1f2328; background: white; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; font-size: 13px; }}
th, td {{ border: 1px solid #d1d9e0; padding: 4px 8px; }}
img {{ max-width: 100%; }}
</style>
{body}
</html>
"""
TABLES = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Tables</title>
<style>body { font: 14px/1.4 Arial, sans-serif; margin: 1em; background: white; }
td { vertical-align: top; }</style>
"""


def write_page(page: Path, out: Path) -> None:
    """Write a page of Markdown as HTML.

    Args:
        page: Markdown file.
        out: HTML file to write.
    """
    text = read_text(page)
    title = text.partition("\n")[0].lstrip("# ")
    write_text(out, TEMPLATE.format(title=title, body=render(text, page.parent)))


def render(text: str, folder: Path) -> str:
    """The HTML of a Markdown text, with the pictures of a folder inside it and without links."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    for rule in ("link_open", "link_close"):
        parser.add_render_rule(rule, lambda *_: "")
    paragraphs = [part for part in text.split("\n\n") if not LINK.fullmatch(part)]
    tokens = parser.parse("\n\n".join(paragraphs))
    for image in (child for token in tokens for child in token.children or []):
        if image.type == "image":
            image.attrSet("src", embedded(folder / str(image.attrGet("src"))))
    return parser.renderer.render(tokens, parser.options, {})


def embedded(picture: Path) -> str:
    """An SVG as an address that holds it."""
    with reading(picture):
        return "data:image/svg+xml;base64," + base64.b64encode(picture.read_bytes()).decode()


def write_tables(tables: Sequence[Path], reviews: Path, out: Path) -> None:
    """Write tables that can be sorted and searched.

    Args:
        tables: their Parquet files.
        reviews: reviews.json of the dataset, which names the classes.
        out: HTML file to write.
    """
    classes = class_names(read_json(reviews, "labels", "classes"))
    found = {path.stem: read_table(path) for path in tables}
    contents = " · ".join(f'<a href="#{name}">{name}</a>' for name in found)
    parts = [TABLES, generate_init_offline_itables_html(itables.dt_bundle), f"<p>{contents}</p>"]
    for name, table in found.items():
        parts.append(f'<h2 id="{name}">{name}</h2>')
        if len(table) > ROWS:
            parts.append(f"<p>The first {ROWS} of {len(table):,} rows of tables/{name}.csv.</p>")
        parts.append(sortable(readable(table.head(ROWS), classes)))
    write_text(out, "\n".join([*parts, "</html>", ""]))


def readable(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """A table with the names of its classes, and the beginnings of its texts."""
    table = table.copy()
    for name in table.columns.intersection(["label", "prediction", "predictions"]):
        table[name] = table[name].map(lambda numbers: classes_named(numbers, classes))
    if "text" in table:
        table["text"] = table["text"].map(lambda text: beginning(text, LETTERS))
    return table


def sortable(table: pd.DataFrame) -> str:
    """A table that can be sorted; its texts are shown as they are, never as HTML."""
    numbers = table.columns.get_indexer(table.select_dtypes("number").columns).tolist()
    gaps = table.select_dtypes(exclude="float").loc[:, table.isna().any()].astype(object)
    return to_html_datatable(
        table.assign(**gaps.where(gaps.notna(), "")),  # where itables would write <NA>
        columnDefs=[{"type": "num", "targets": numbers}],
        connected=False,
        allow_html=False,
        maxBytes=0,
        maxColumns=0,
        display_logo_when_loading=False,
        style="margin: 0",
        classes="display compact",
    )
