"""Pages of HTML for the report, each in one file that needs no other and no network."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from itables import options as itables
from itables import to_html_datatable
from itables.javascript import generate_init_offline_itables_html
from markdown_it import MarkdownIt

from lib.command.formats import beginning, classes_named
from lib.files.manifests import reading
from lib.page.markdown import FOLD

ROWS = 250
LETTERS = 120
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
details {{ margin: 1em 0; }}
summary {{ cursor: pointer; color: #59636e; }}
</style>
{body}
<script>
if (!["file:", "http:", "https:"].includes(location.protocol))  // inside a report
  document.querySelectorAll("a").forEach((link) => link.replaceWith(...link.childNodes));
</script>
</html>
"""
TABLES = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Tables</title>
<style>body { font: 14px/1.4 Arial, sans-serif; margin: 1em; background: white; }
td { vertical-align: top; }</style>
"""


def page(text: str, folder: Path, up: str) -> str:
    """A page of HTML from one of Markdown.

    Args:
        text: in Markdown.
        folder: in which its pictures and files are.
        up: path from where the page is to be to that folder, for its links.
    """
    title = text.partition("\n")[0].lstrip("# ")
    return TEMPLATE.format(title=title, body=render(text, folder, up))


def render(text: str, folder: Path, up: str = ".") -> str:
    """The HTML of a Markdown text, with the pictures of a folder inside it.

    HTML in it is shown as text, but for the marks of folds that are paragraphs of their own.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for start, mark, end in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if start.type == "paragraph_open" and not start.level and FOLD.fullmatch(mark.content):
            start.type = end.type = "html_block"  # of no content
            mark.type = "html_block"
    for child in (child for token in tokens for child in token.children or []):
        if child.type == "image":
            child.attrSet("src", embedded(folder / str(child.attrGet("src"))))
        elif child.type == "link_open":
            child.attrSet("href", f"{up}/{child.attrGet('href')}")
    return parser.renderer.render(tokens, parser.options, {})


def embedded(picture: Path) -> str:
    """An SVG as an address that holds it."""
    with reading(picture):
        return "data:image/svg+xml;base64," + base64.b64encode(picture.read_bytes()).decode()


def sortable_tables(tables: Mapping[str, pd.DataFrame], classes: Sequence[str]) -> str:
    """A page of tables that can be sorted and searched without a network.

    Browsers show no page of over 2 MB inside a report, so of long tables the first rows are shown
    and of long texts the beginning.

    Args:
        tables: by name.
        classes: names of the classes.
    """
    contents = " · ".join(f'<a href="#{name}">{name}</a>' for name in tables)
    parts = [TABLES, generate_init_offline_itables_html(itables.dt_bundle), f"<p>{contents}</p>"]
    for name, table in tables.items():
        parts.append(f'<h2 id="{name}">{name}</h2>')
        if len(table) > ROWS:
            parts.append(f"<p>The first {ROWS} of {len(table):,} rows of tables/{name}.csv.</p>")
        parts.append(sortable(readable(table.head(ROWS), classes)))
    return "\n".join([*parts, "</html>", ""])


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
