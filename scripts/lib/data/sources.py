"""Where labelled texts come from: an installed package, files of one's own, the hub."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from lib.command.console import UserError
from lib.data import licences, readers
from lib.data.digests import verify
from lib.data.division import Parts, listed
from lib.data.streaming import Batches, Source
from lib.files.manifests import sha256


def files_of_package(package: str, version: str, file: str) -> dict[str, Path]:
    """The place of a file that an installed package ships; the package is not imported.

    Raises:
        UserError: the package is not installed, is of another version, or has no such file.
    """
    advice = f"run: pip install {package}=={version}"
    try:
        found = distribution(package)
    except PackageNotFoundError as error:
        raise UserError(f"package '{package}' is not installed; {advice}") from error
    if found.version != version:
        raise UserError(f"package '{package}' is version {found.version}; {advice}")
    if file not in map(str, found.files or ()):
        raise UserError(f"package '{package}' {version} has no '{file}'")
    return {file: Path(str(found.locate_file(file)))}


def own_files(paths: Parts) -> dict[str, Path]:
    """The places of the user's own files."""
    return {path: Path(path) for path in listed(paths)}


def from_package(
    columns: Sequence[str],
    expected: Mapping[str, str],
    package: str,
    version: str,
    file: str,
    **form: str,
) -> Source:
    """Read a file that an installed package ships."""
    paths = files_of_package(package, version, file)
    digests, parts = open_verified(paths, columns, expected, **form)
    licence = licences.of_package(distribution(package).read_text("METADATA") or "")
    return Source(f"package {package}", version, digests, parts, licence)


def from_files(
    columns: Sequence[str], expected: Mapping[str, str], paths: Parts, **form: str
) -> Source:
    """Read the user's own files."""
    digests, parts = open_verified(own_files(paths), columns, expected, **form)
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


# Sources whose files are on this machine: where, and by which settings.
AT_HAND: dict[str, tuple[Callable[..., dict[str, Path]], tuple[str, ...]]] = {
    "package": (files_of_package, ("package", "version", "file")),
    "files": (own_files, ("paths",)),
}
SOURCES: dict[str, Callable[..., Source]] = {
    "package": from_package,
    "files": from_files,
    "hub": from_hub,
}
