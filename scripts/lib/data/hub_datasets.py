"""Datasets of the hub: the files of their splits, each checked, and no others."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile

import datasets
import pyarrow as pa
import yaml
from huggingface_hub import get_cached_repo_tree
from huggingface_hub.errors import CachedRepoTreeNotFoundError

from lib.command.console import UserError
from lib.data import hub, licences
from lib.data.digests import verify
from lib.data.division import Parts, listed
from lib.data.streaming import ROWS, Batches, Source, require_columns

# Files that tell which files belong to which split.
CARDS = ("README.md", ".huggingface.yaml", "dataset_infos.json")


def read_splits(
    columns: Sequence[str],
    expected: Mapping[str, str],
    id: str,
    revision: str,
    splits: Parts,
    subset: str | None = None,
) -> Source:
    """Read splits of a hub dataset; only the files of these splits are downloaded.

    Everything is read from the hub's cache, so that what is there needs no hub.

    Args:
        columns: to read.
        expected: digests of files, by their path in the repository.
        id: repository, such as stanfordnlp/imdb.
        revision: commit of the repository, or a tag or branch.
        splits: to merge, or those of training, validation and test.
        subset: configuration, where the repository has several.

    Raises:
        UserError: the dataset is not there, or lacks a split or a column.
    """
    folder, _ = hub.snapshot("dataset", id, revision, CARDS)
    commit = folder.name  # by which the cache names it
    files = split_files(id, folder, subset)
    names = list(listed(splits))
    for split in names:
        if split not in files:
            raise UserError(f"dataset '{id}' has no split '{split}'; it has: {', '.join(files)}")
    wanted = [escape(file) for split in names for file in files[split]]
    _, digests = hub.snapshot("dataset", id, commit, wanted)
    verify(digests, expected)
    parts: dict[str, Batches] = {}
    for split in names:
        with explained(id, commit, folder):
            dataset = datasets.load_dataset(
                str(folder),
                subset,
                split=split,
                data_files={split: [escape(str(folder / file)) for file in files[split]]},
                verification_mode="no_checks",  # of the sizes of all splits; digests are checked
            )
        require_columns(columns, dataset.column_names, f"split '{split}' of {id}")
        parts[split] = partial(batches, dataset.select_columns(list(columns)))
    return Source(f"hub {id}", commit, digests, parts, licences.of_card(folder))


def batches(dataset: datasets.Dataset) -> Iterator[pa.RecordBatch]:
    """The rows of a split, some at a time."""
    for table in dataset.with_format("arrow").iter(ROWS):
        yield from table.to_batches()


@contextmanager
def explained(id: str, commit: str, folder: Path) -> Iterator[None]:
    """Turn what `datasets` raises on a folder of a repository into one line for the user."""
    libraries = (datasets.exceptions.DatasetsError, pa.ArrowException, yaml.YAMLError, BadZipFile)
    try:
        yield
    except (*libraries, *hub.HubError, CachedRepoTreeNotFoundError) as error:
        message = hub.explain(error, commit).replace(str(folder), id)
        message = message.partition(" with any supported extension")[0]  # a hundred of them
        raise UserError(f"dataset '{id}': {message}") from error


def split_files(id: str, snapshot: Path, subset: str | None) -> dict[str, list[str]]:
    """The files of each split of a hub dataset, by their path in the repository.

    `datasets` finds them in a folder that has the names of all files of the repository; those that
    are not in the cache are empty there.

    Args:
        id: repository.
        snapshot: folder of its commit in the hub's cache.
        subset: configuration, where the repository has several.

    Raises:
        UserError: no files are found, or one that is not in the repository.
    """
    with TemporaryDirectory() as parent:
        folder = Path(parent).resolve() / id.rpartition("/")[2]
        with explained(id, snapshot.name, folder):
            _lay_out(folder, id, snapshot)
            try:
                builder = datasets.load_dataset_builder(str(folder), subset)
            except BadZipFile:  # what is in an archive tells its format
                hub.snapshot("dataset", id, snapshot.name, ["*.zip"])
                _lay_out(folder, id, snapshot)
                builder = datasets.load_dataset_builder(str(folder), subset)
        return {
            split: [_inside(folder, file, id) for file in files]
            for split, files in builder.config.data_files.items()
        }


def _lay_out(folder: Path, id: str, snapshot: Path) -> None:
    """Give a folder the files of a repository: links to those in the cache, the others empty."""
    for file in get_cached_repo_tree(id, repo_type="dataset", revision=snapshot.name):
        name = _inside(folder, file.path, id)
        path, cached = folder / name, snapshot / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(cached) if cached.is_file() else path.touch()


def _inside(folder: Path, file: str, id: str) -> str:
    """The path of a file in a folder; what lies elsewhere, as on the web, is refused."""
    path = Path(os.path.normpath(folder / file))
    if "://" in file or not path.is_relative_to(folder):
        raise UserError(f"dataset '{id}' names '{file}', which is no file of its repository")
    return str(path.relative_to(folder))
