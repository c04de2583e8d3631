"""Draw one figure from its table: an SVG for pages, and an interactive HTML page in one file."""

import argparse
from pathlib import Path

from lib.cli import Parser, UserError, replacing, run

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


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("figure", help="name of the figure, such as accuracy")
    flags.add_argument("--table", required=True, type=Path, help="CSV file that it shows")
    flags.add_argument("--svg", required=True, type=Path, help="picture to write")
    flags.add_argument("--html", required=True, type=Path, help="interactive page to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write both files."""
    import vl_convert

    from lib.figures import FIGURES, styled
    from lib.study import read_table

    if options.figure not in FIGURES:
        raise UserError(f"unknown figure '{options.figure}'; known are {', '.join(FIGURES)}")
    chart = styled(FIGURES[options.figure](read_table(options.table))).to_json(indent=None)
    svg = vl_convert.vegalite_to_svg(chart)
    html = PAGE.format(
        title=options.figure,
        library=vl_convert.javascript_bundle(),
        chart=chart.replace("<", "\\u003c"),  # a text in it can't end the script
    )
    for path, text in ((options.svg, svg), (options.html, html)):
        with replacing(path) as temporary:
            temporary.write_text(text, "utf-8")


if __name__ == "__main__":
    run(main, arguments())
