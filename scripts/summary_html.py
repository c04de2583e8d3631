"""Turn the summary into one HTML file that needs no other: figures inside, links to files gone."""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--page", required=True, type=Path, help="Markdown file")
    flags.add_argument("--out", required=True, type=Path, help="HTML file to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the page."""
    from lib.page.html import write_page

    write_page(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
