"""SHA-256 digests of files: computing them, and comparing them with what was expected."""

import argparse
import hashlib
from collections.abc import Mapping
from pathlib import Path

from lib.cli import UserError


def sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def add_digest_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag `--sha256 FILE=DIGEST ...`."""
    parser.add_argument(
        "--sha256",
        nargs="+",
        type=_expected,
        default=[],
        metavar="FILE=DIGEST",
        help="expected SHA-256 of files",
    )


def _expected(text: str) -> tuple[str, str]:
    file, _, digest = text.rpartition("=")  # a path may hold `=` itself
    return file, digest


def verify(actual: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Compare digests, by file.

    Raises:
        UserError: a digest differs, or is expected of a file that is not there.
    """
    for name, digest in expected.items():
        if name not in actual:
            raise UserError(f"sha256 names '{name}', which is not among: {', '.join(actual)}")
        if actual[name] != digest:
            raise UserError(
                f"'{name}' has SHA-256 {actual[name]}, not {digest}; "
                "it is damaged or another version"
            )
