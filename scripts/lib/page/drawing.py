"""Figures as files: a picture, and an interactive page that needs no other file."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import vl_convert

from lib.command.console import progress
from lib.files.tables import read_table
from lib.files.whole import write_text
from lib.page import figures
from lib.study.catalog import FIGURES

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>body {{ margin: 0; background: white; }}
p {{ font: 14px/1.4 Arial, sans-serif; max-width: 680px; margin: 1em; }}</style>
<div id="figure"></div>
<p>{caption}</p>
<script>{library}</script>
<script>
const actions = {{source: false, compiled: false, editor: false}};
vegaEmbed("#figure", {chart}, {{renderer: "svg", actions}});
</script>
</html>
"""


def draw(tables: Sequence[Path], metric: str, noun: str, out: Path) -> None:
    """Draw the figures that show some tables, each by the function of its name.

    Args:
        tables: their Parquet files.
        metric: of the study.
        noun: what the dataset calls its texts.
        out: folder of the figures.
    """
    rows = {path.stem: read_table(path) for path in tables}
    there = (figure for figure in FIGURES if rows.keys() >= set(figure.tables))
    shown = [figure.told(metric, noun) for figure in there]
    library = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # a snippet is optional
    for figure in progress(shown, len(shown), "draw", "figure"):
        given = [rows[name] for name in figure.tables]
        chart = figures.styled(getattr(figures, figure.name)(*given, metric, noun))
        text = chart.to_json(indent=None)
        write_text(out / f"{figure.name}.svg", vl_convert.vegalite_to_svg(text))
        page = PAGE.format(
            title=escape(figure.title),
            caption=escape(figure.caption),
            library=library,
            chart=text.replace("<", "\\u003c"),  # a text in it can't end the script
        )
        write_text(out / f"{figure.name}.html", page)
