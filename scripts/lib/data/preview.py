"""What the plan can tell of a dataset before its first job: wrong columns, labels and sizes.

It imports libraries where they are needed, since every start of Snakemake imports it.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib.command.console import UserError
from lib.study.config import is_of

LARGEST = 100_000_000  # bytes of files that are read for a plan; larger ones take too long


def check(dataset: Mapping[str, Any], split: Mapping[str, Any], described: Path) -> None:
    """Refuse what the first jobs would refuse, as far as columns and labels tell.

    Args:
        dataset: that part of the configuration.
        split: likewise.
        described: reviews.json, which tells the classes where it is of these settings.

    Raises:
        UserError: a column is missing, a label is no class, or there are too few reviews.
    """
    told: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        told = json.loads(described.read_text("utf-8"))
    with suppress(ImportError):  # where the rules have environments of their own, the jobs tell
        if is_of(told, dataset):
            check_classes(told["classes"], split)
        elif dataset["source"] != "hub":
            try:
                check_files(dataset, split.get("sizes", []))
            except UserError as error:
                raise UserError(f"config key 'dataset': {error}") from error


def check_classes(counts: Sequence[int], split: Mapping[str, Any]) -> None:
    """Refuse a division for which there are too few reviews of a class.

    Args:
        counts: reviews of each class, after cleaning.
        split: that part of the configuration.

    Raises:
        UserError: there are too few.
    """
    import numpy as np

    from lib.data.sampling import divide

    divide(np.repeat(np.arange(len(counts)), counts), **split)


def check_files(dataset: Mapping[str, Any], sizes: Sequence[int]) -> None:
    """Refuse files of reviews that lack a column, a class, or enough rows.

    What cleaning leaves of each class is for the jobs to tell, and so are large files.

    Args:
        dataset: that part of the configuration.
        sizes: of the splits, if they are given.

    Raises:
        UserError: a column is missing, a label is no class, a class has no review, or there are
            fewer rows than the splits need.
    """
    import pyarrow as pa

    from lib.data import readers, reviews, sources

    text, label = dataset["text_column"], dataset["label_column"]
    where, names, limit = (dataset.get(key) for key in ("where", "labels", "limit"))
    columns = list(dict.fromkeys([text, label, *(where or ())]))
    locate, keys = sources.AT_HAND[dataset["source"]]
    try:
        paths = locate(**{key: dataset[key] for key in keys})
    except UserError:  # jobs may have an environment of their own, with the package
        return
    if sum(path.stat().st_size for path in paths.values()) > LARGEST:
        return
    form = {key: dataset[key] for key in ("quote", "escape") if key in dataset}
    parts = {name: readers.open_file(path, columns, **form) for name, path in paths.items()}
    rows = [batch.drop_columns(["text"]) for batch in reviews.assemble(parts, text, label, where)]
    count = sum(batch.num_rows for batch in rows)
    if not count:
        raise UserError("there are no reviews: the source, or what `where` keeps of it, is empty")
    numbers = reviews.class_numbers(pa.Table.from_batches(rows), label, names).to_numpy()
    reviews.class_counts(numbers, len(names or ()))
    if sum(sizes) > min(count, limit or count):
        raise UserError(
            f"{min(count, limit or count)} reviews are too few for samples of {list(sizes)}; "
            "change split.sizes"
        )
