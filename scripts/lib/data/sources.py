"""Where labelled texts come from: an installed package, files of one's own, the hub."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple

from lib.console import UserError
from lib.data import readers
from lib.data.digests import verify
from lib.data.streaming import Batches
from lib.manifests import sha256


class Source(NamedTuple):
    """What a source gave.

    Attributes:
        name: the source in words.
        revision: its version or commit; empty for the user's own files.
        digests: SHA-256 by file.
        parts: the columns asked for, by origin: a file or a split.
    """

    name: str
    revision: str
    digests: dict[str, str]
    parts: dict[str, Batches]


def from_package(
    columns: Sequence[str],
    expected: Mapping[str, str],
    package: str,
    version: str,
    file: str,
    **form: str,
) -> Source:
    """Read a file that an installed package ships; the package is not imported."""
    advice = f"run: pip install {package}=={version}"
    try:
        found = distribution(package)
    except PackageNotFoundError as error:
        raise UserError(f"package '{package}' is not installed; {advice}") from error
    if found.version != version:
        raise UserError(f"package '{package}' is version {found.version}; {advice}")
    if file not in map(str, found.files or ()):
        raise UserError(f"package '{package}' {version} has no '{file}'")
    paths = {file: Path(str(found.locate_file(file)))}
    digests, parts = open_verified(paths, columns, expected, **form)
    return Source(f"package {package}", version, digests, parts)


def from_files(
    columns: Sequence[str], expected: Mapping[str, str], paths: Sequence[str], **form: str
) -> Source:
    """Read the user's own files."""
    digests, parts = open_verified({path: Path(path) for path in paths}, columns, expected, **form)
    return Source("files", "", digests, parts)


def open_verified(
    paths: Mapping[str, Path], columns: Sequence[str], expected: Mapping[str, str], **form: str
) -> tuple[dict[str, str], dict[str, Batches]]:
    """Digests of files, and the files opened after a check of the digests.

    Args:
        paths: by name.
        columns: to read.
        expected: digests by name.
        form: `quote` and `escape` of CSV and TSV files, where they are given.
    """
    missing = [name for name, path in paths.items() if not path.is_file()]
    if missing:
        raise UserError(f"'{missing[0]}' is not a file; check its path")
    digests = {name: sha256(path) for name, path in paths.items()}
    verify(digests, expected)
    return digests, {name: readers.open_file(path, columns, **form) for name, path in paths.items()}


def from_hub(columns: Sequence[str], expected: Mapping[str, str], **location: Any) -> Source:
    """Read splits of a hub dataset; only the files of these splits are downloaded."""
    from lib.data.hub_datasets import read_splits  # libraries that the other sources do without

    return read_splits(columns, expected, **location)


SOURCES: dict[str, Callable[..., Source]] = {
    "package": from_package,
    "files": from_files,
    "hub": from_hub,
}
