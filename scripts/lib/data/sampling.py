"""Stratified, disjoint, seeded samples of reviews."""

from collections.abc import Sequence

import numpy as np

from lib.command.console import UserError

ALL = "all"  # of the training reviews
RATIOS = (8, 1, 1)  # of the training, validation and test split


def stratified(
    labels: np.ndarray, sizes: Sequence[int], seed: int, setting: str
) -> list[np.ndarray]:
    """Disjoint samples of rows with the classes in the same proportions, as sorted row numbers.

    Args:
        labels: `(n,)` class numbers.
        sizes: rows of each sample.
        seed: decides which rows, and nothing else does.
        setting: from which the sizes are, for errors.

    Raises:
        UserError: there are too few rows, or too few of a class to have it in every sample.
    """
    counts = np.bincount(labels)
    if sum(sizes) > len(labels):
        raise UserError(
            f"{len(labels)} reviews are too few for samples of {list(sizes)}; change {setting}"
        )
    generator = np.random.default_rng(seed)
    rows = [generator.permutation(np.flatnonzero(labels == c)) for c in range(len(counts))]
    samples = []
    for size in sizes:
        shares = _apportion(np.array([len(left) for left in rows]), size)
        if not shares.all():
            smallest = int(np.argmin(counts))
            raise UserError(
                f"class {smallest} has too few reviews: {counts[smallest]} of {len(labels)}, for "
                f"samples of {list(sizes)} that all need one; change {setting}"
            )
        chosen = [left[:share] for left, share in zip(rows, shares, strict=True)]
        rows = [left[share:] for left, share in zip(rows, shares, strict=True)]
        samples.append(np.sort(np.concatenate(chosen)))
    return samples


def divide(
    labels: np.ndarray,
    seed: int,
    ratios: Sequence[float] = RATIOS,
    sizes: Sequence[int] | None = None,
) -> list[np.ndarray]:
    """The rows of the training, validation and test split, stratified.

    Args:
        labels: `(n,)` class numbers.
        seed: decides which row goes where, and nothing else does.
        ratios: shares of the three splits.
        sizes: numbers of rows, instead of ratios.

    Raises:
        UserError: there are too few reviews, or too few of a class.
    """
    setting = "split.sizes" if sizes else "split.ratios"
    return stratified(labels, sizes or sizes_from_ratios(len(labels), ratios), seed, setting)


def sizes_from_ratios(total: int, ratios: Sequence[float]) -> list[int]:
    """Sizes of the training, validation and test split; the training split takes the rounding.

    Raises:
        UserError: a split would be empty.
    """
    valid, test = (round(total * ratio / sum(ratios)) for ratio in ratios[1:])
    sizes = [total - valid - test, valid, test]
    if min(sizes) < 1:
        shares = ":".join(map(str, ratios))
        raise UserError(f"{total} reviews are too few to split {shares}; change split.ratios")
    return sizes


def nested(labels: np.ndarray, seed: int) -> np.ndarray:
    """An order of rows whose every beginning has the classes in the proportions of the whole.

    So the first 250 are a part of the first 500, and both are stratified to within one of a class.

    Args:
        labels: `(n,)` class numbers.
        seed: decides the order, and nothing else does.

    Returns:
        `(n,)` row numbers.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    shuffled = labels[order]
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled == label
        place[members] = (np.arange(members.sum()) + 0.5) / members.sum()
    return order[np.argsort(place, kind="stable")]


def first_of(labels: np.ndarray, count: int | str, seed: int) -> np.ndarray:
    """The first rows of the nested order, as sorted row numbers; those of `all` are all.

    Raises:
        UserError: there are fewer rows, or a class is in none of them.
    """
    size = len(labels) if count == ALL else int(count)
    if size > len(labels):
        raise UserError(
            f"training.examples is {size}, but the training split has {len(labels)} reviews; "
            "lower it, or enlarge the split"
        )
    rows = np.sort(nested(labels, seed)[:size])
    missing = np.setdiff1d(labels, labels[rows])
    if len(missing):
        raise UserError(
            f"training.examples is {size}, which leaves no training review of class {missing[0]}; "
            "raise it"
        )
    return rows


def _apportion(counts: np.ndarray, size: int) -> np.ndarray:
    """Divide `size` in proportion to `counts` by the method of the largest remainders."""
    shares, remainders = np.divmod(counts * size, counts.sum())
    largest = np.argsort(-remainders, kind="stable")
    shares[largest[: size - shares.sum()]] += 1
    return shares
