"""Write vega.js, the library that every interactive figure holds; making it takes seconds."""

import argparse
from pathlib import Path

from lib.command.cli import Parser, run


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--out", required=True, type=Path, help="file to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the file."""
    from lib.page.vega import write_library

    write_library(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
