"""Figures as files: a picture, and an interactive page that needs no other file."""

from pathlib import Path

import vl_convert

from lib.files.tables import read_table
from lib.files.whole import read_text, write_text
from lib.page import figures

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>body {{ margin: 0; background: white; }}</style>
<div id="figure"></div>
<script>{library}</script>
<script>
const actions = {{source: false, compiled: false, editor: false}};
vegaEmbed("#figure", {chart}, {{renderer: "svg", actions}});
</script>
</html>
"""


def draw(figure: str, table: Path, library: Path, svg: Path, html: Path) -> None:
    """Draw a figure.

    Args:
        figure: its name, which is that of the function that draws it.
        table: that it shows.
        library: the JavaScript that draws it in a browser.
        svg: picture to write.
        html: interactive page to write.
    """
    javascript = read_text(library)
    chart = figures.styled(getattr(figures, figure)(read_table(table))).to_json(indent=None)
    write_text(svg, vl_convert.vegalite_to_svg(chart))
    page = PAGE.format(
        title=figure,
        library=javascript,
        chart=chart.replace("<", "\\u003c"),  # a text in it can't end the script
    )
    write_text(html, page)
