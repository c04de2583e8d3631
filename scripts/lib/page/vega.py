"""The JavaScript that draws interactive figures in a browser, one file for all of them."""

from pathlib import Path

import vl_convert

from lib.files.whole import write_text


def write_library(out: Path) -> None:
    """Write Vega, Vega-Lite and Vega-Embed, of the versions that vl-convert has."""
    write_text(out, vl_convert.javascript_bundle())  # type: ignore[call-arg]  # a snippet is optional
