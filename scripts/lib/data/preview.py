"""What the plan can tell of a dataset before its first job: wrong columns, labels and sizes.

It imports libraries where they are needed, since every start of Snakemake imports it.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib.command.console import UserError
from lib.data.division import SPLITS, divided_origins
from lib.study import planning
from lib.study.config import OF_READING, is_of

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
        if is_of(told, dataset) and _reading(told.get("settings", {})) == _reading(split):
            check_classes(told, split)
        elif dataset["source"] != "hub":
            try:
                check_files(dataset, split)
            except UserError as error:
                raise UserError(f"config key 'dataset': {error}") from error


def _reading(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What decides how reviews are read and cleaned, of the section `split` or of reviews.json."""
    return {key: settings[key] for key in OF_READING if settings.get(key)}


def check_classes(told: Mapping[str, Any], split: Mapping[str, Any]) -> None:
    """Refuse a division for which there are too few reviews of a class.

    How groups fit is for the job to tell.

    Args:
        told: reviews.json.
        split: that part of the configuration.

    Raises:
        UserError: there are too few.
    """
    import numpy as np

    from lib.data import splitting

    parts = told.get("splits", {"": told})
    given = [name for name in parts if name]
    splitting.check_settings(given, split.get("ratios"), split.get("valid"))
    if "group" in split:
        return
    counts = [part["classes"] for part in parts.values()]
    labels = [np.repeat(np.arange(len(each)), each) for each in counts]
    places = list(map(SPLITS.index, given))
    splits = np.repeat(places, list(map(sum, counts))) if places else None
    facts = splitting.Facts(np.concatenate(labels), splits)
    splitting.divide_reviews(facts, **planning.dividing(split))


def check_files(dataset: Mapping[str, Any], split: Mapping[str, Any]) -> None:
    """Refuse files of reviews that lack a column, a class, a split, or enough rows.

    What cleaning leaves of each class is for the jobs to tell, and so are large files.

    Args:
        dataset: that part of the configuration.
        split: likewise.

    Raises:
        UserError: a column is missing, a label is no class, a cell no split, a class or a split has
            no review, a row no group, or there are fewer rows or groups than the splits need.
    """
    import numpy as np
    import pyarrow as pa

    from lib.data import readers, reviews, sources, splitting
    from lib.data.groups import require_groups

    names = dataset.get("labels")
    layout = reviews.Layout(
        dataset["text_column"],
        dataset["label_column"],
        dataset.get("where", {}),
        split.get("group"),
        split.get("column"),
        divided_origins(dataset),
    )
    locate, keys = sources.AT_HAND[dataset["source"]]
    try:
        paths = locate(**{key: dataset[key] for key in keys})
    except UserError:  # jobs may have an environment of their own, with the package
        return
    if sum(path.stat().st_size for path in paths.values()) > LARGEST:
        return
    form = {key: dataset[key] for key in ("quote", "escape") if key in dataset}
    columns = layout.columns()
    parts = {name: readers.open_file(path, columns, **form) for name, path in paths.items()}
    rows = [batch.drop_columns(["text"]) for batch in reviews.assemble(parts, layout)]
    count = sum(batch.num_rows for batch in rows)
    if not count:
        raise UserError("there are no reviews: the source, or what `where` keeps of it, is empty")
    classes, splits, groups = reviews.numbers(pa.Table.from_batches(rows), layout, names)
    reviews.class_counts(classes, len(names or ()))
    if groups is not None and splits is None:
        require_groups(len(np.unique(groups)), len(SPLITS))
    if splits is not None:
        given = [SPLITS[place] for place in np.unique(splits)]
        splitting.check_settings(given, split.get("ratios"), split.get("valid"))
    check_sizes(splits, min(count, dataset.get("limit", count)), split.get("sizes"))


def check_sizes(splits: Any, count: int, sizes: Sequence[int] | None) -> None:
    """Refuse sizes beyond the rows that there are.

    Args:
        splits: `(n,)` places of the splits of all rows, where they are given.
        count: rows at most.
        sizes: of the splits, if they are given.

    Raises:
        UserError: there are too few.
    """
    if sizes and splits is None and sum(sizes) > count:
        raise UserError(
            f"{count} reviews are too few for samples of {list(sizes)}; change split.sizes"
        )
    if sizes and splits is not None:
        train, valid, test = sizes
        has_valid = (splits == SPLITS.index("valid")).any()
        needed = {"valid": valid, "train": train} if has_valid else {"train": train + valid}
        for name, size in {**needed, "test": test}.items():
            there = int((splits == SPLITS.index(name)).sum())
            if there < size:
                raise UserError(
                    f"{there} reviews of the split '{name}' are too few for {size}; change "
                    "split.sizes"
                )
