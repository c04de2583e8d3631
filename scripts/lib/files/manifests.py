"""The digests with which results were written, by which damage is noticed when they are read.

Beside a file or folder `name` lies its manifest, `.name.sha256`, in the form of `sha256sum`. What
has none, such as a file of one's own, is read as it is.
"""

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from hashlib import file_digest
from pathlib import Path

from lib.command.console import UserError, one_line

FOLDER = re.compile("results/encoders/[^/]+/[^/]+|results/runs/.+/checkpoint(?=/)")  # made whole
EXPORTS = {"onnx": "onnx", "int8": "onnx-int8"}  # forms -> folders in a run, made by no rule
COMMAND = "TEXT_ENCODERS_COMMAND"  # variable that holds the command that runs the study


def manifest_of(path: Path) -> Path:
    """The manifest of a file or a folder."""
    return path.parent / f".{path.name}.sha256"


def manifest(path: Path, name: str) -> str:
    """The manifest of a file, or of all files in a folder, that is to be called `name`."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return "".join(f"{sha256(each)}  {Path(name, each.relative_to(path))}\n" for each in files)


def sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def verify(path: Path, *patterns: str) -> None:
    """Check a file, or the files of a folder, against the manifest.

    Args:
        path: the file or the folder.
        patterns: of the names of the files in the folder that are meant; all if none is given.

    Raises:
        UserError: a file is missing, or is not as it was written.
    """
    listing = manifest_of(path)
    lines = listing.read_text("utf-8", "replace").splitlines() if listing.is_file() else []
    for digest, _, name in (line.partition("  ") for line in lines):
        file = path.parent / name
        inner = str(file.relative_to(path))
        if patterns and not any(fnmatch(inner, pattern) for pattern in patterns):
            continue
        if not file.is_file():
            raise UserError(f"'{file}' is missing; {advice(path)}")
        if sha256(file) != digest:
            raise UserError(
                f"'{file}' is damaged, or was changed after it was written; {advice(path)}"
            )


@contextmanager
def reading(path: Path, *patterns: str) -> Iterator[None]:
    """Verify a result, and say in one line if the block can't read it.

    Args:
        path: a file or a folder.
        patterns: as of `verify`.

    Raises:
        UserError: it is missing, damaged, or none of what the block reads.
    """
    verify(path, *patterns)
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, NotImplementedError) as error:
        if not path.exists():
            raise UserError(f"'{path}' is missing; {advice(path)}") from error
        raise UserError(f"'{path}' can't be read: {one_line(error)}; {advice(path)}") from error


def advice(path: Path) -> str:
    """What to do about a result that can't be used."""
    if "results" not in path.parts or {*EXPORTS.values()}.intersection(path.parts):
        return "check its path, or write it again"
    target = Path(*path.parts[path.parts.index("results") :])
    if folder := FOLDER.match(str(target)):
        target = Path(folder[0])
    command = os.environ.get(COMMAND, "snakemake --cores 1")
    return f"make it again: {command} --force {shlex.quote(str(target))}"
