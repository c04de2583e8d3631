"""Datasets of the hub: the files of their splits, each checked, and no others."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from glob import escape
from pathlib import Path

import datasets
import pyarrow as pa
import yaml

from lib.console import UserError
from lib.data import hub, readers
from lib.data.digests import verify
from lib.data.sources import Source
from lib.data.streaming import ROWS, Batches


def read_splits(
    columns: Sequence[str],
    expected: Mapping[str, str],
    id: str,
    revision: str,
    splits: Sequence[str],
    subset: str | None = None,
) -> Source:
    """Read splits of a hub dataset; only the files of these splits are downloaded.

    Args:
        columns: to read.
        expected: digests of files, by their path in the repository.
        id: repository, such as stanfordnlp/imdb.
        revision: commit of the repository, or a tag or branch.
        splits: to merge.
        subset: configuration, where the repository has several.

    Raises:
        UserError: the dataset is not there, or lacks a split or a column.
    """
    with explained(id, revision):
        commit, files = split_files(id, revision, splits, subset)
    wanted = [file for split in splits for file in files[split]]
    _, digests = hub.snapshot("dataset", id, commit, list(map(escape, wanted)))
    verify(digests, expected)
    parts: dict[str, Batches] = {}
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
        parts[split] = partial(batches, dataset.select_columns(list(columns)))
    return Source(f"hub {id}", commit, digests, parts)


def batches(dataset: datasets.Dataset) -> Iterator[pa.RecordBatch]:
    """The rows of a split, some at a time."""
    for table in dataset.with_format("arrow").iter(ROWS):
        yield from table.to_batches()


@contextmanager
def explained(id: str, revision: str) -> Iterator[None]:
    """Turn what `datasets` raises into one line for the user."""
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
