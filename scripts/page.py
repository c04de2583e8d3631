"""Turn the summary into one HTML file that needs no other: figures inside, links to files gone."""

import argparse
import base64
import re
from pathlib import Path

from lib.cli import Parser, replacing, run

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


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--page", required=True, type=Path, help="Markdown file")
    flags.add_argument("--out", required=True, type=Path, help="HTML file to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the page."""
    text = options.page.read_text("utf-8")
    title = text.partition("\n")[0].lstrip("# ")
    html = TEMPLATE.format(title=title, body=render(text, options.page.parent))
    with replacing(options.out) as path:
        path.write_text(html, "utf-8")


def render(text: str, folder: Path) -> str:
    """The HTML of a Markdown text, with the pictures of a folder inside it and without links."""
    from markdown_it import MarkdownIt

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
    return "data:image/svg+xml;base64," + base64.b64encode(picture.read_bytes()).decode()


if __name__ == "__main__":
    run(main, arguments())
