"""What the plan can tell of a dataset before its first job: wrong columns, labels and sizes.

It imports libraries where they are needed, since every start of Snakemake imports it.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.config import is_of
from lib.console import UserError

if TYPE_CHECKING:
    import numpy as np

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
    import numpy as np

    from lib.data.sampling import divide

    told: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        told = json.loads(described.read_text("utf-8"))
    if is_of(told, dataset):
        divide(np.repeat(np.arange(len(told["classes"])), told["classes"]), **split)
    elif dataset["source"] != "hub":
        try:
            labels = read_labels(dataset)
        except UserError as error:
            raise UserError(f"config key 'dataset': {error}") from error
        if labels is not None:
            divide(labels, **split)


def read_labels(dataset: Mapping[str, Any]) -> "np.ndarray | None":
    """The class numbers of the reviews that a dataset keeps, before it is cleaned, `(n,)`.

    None of files that are too large.

    Raises:
        UserError: a column is missing, a label is no class, or a class has no review.
    """
    import pyarrow as pa

    from lib.data import readers, reviews, sources
    from lib.data.sampling import stratified

    text, label = dataset["text_column"], dataset["label_column"]
    where, names, limit = (dataset.get(key) for key in ("where", "labels", "limit"))
    columns = list(dict.fromkeys([text, label, *(where or ())]))
    locate, keys = sources.AT_HAND[dataset["source"]]
    paths = locate(**{key: dataset[key] for key in keys})
    if sum(path.stat().st_size for path in paths.values()) > LARGEST:
        return None
    form = {key: dataset[key] for key in ("quote", "escape") if key in dataset}
    parts = {name: readers.open_file(path, columns, **form) for name, path in paths.items()}
    rows = [batch.drop_columns(["text"]) for batch in reviews.assemble(parts, text, label, where)]
    if not sum(batch.num_rows for batch in rows):
        raise UserError("there are no reviews: the source, or what `where` keeps of it, is empty")
    numbers = reviews.class_numbers(pa.Table.from_batches(rows), label, names).to_numpy()
    reviews.class_counts(numbers, len(names or ()))
    if limit and limit < len(numbers):
        numbers = numbers[stratified(numbers, [limit], 0, "limit")[0]]
    return numbers
