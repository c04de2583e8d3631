"""Divisions that keep whole groups of reviews on one side, near the sizes that are wanted."""

from collections.abc import Sequence

import numpy as np

from lib.command.console import UserError

PASSES = 2  # in which each group may move
COVER = 1e9  # outweighs every miss of a size


def divide_groups(
    labels: np.ndarray, groups: np.ndarray, sizes: Sequence[int], seed: int
) -> list[np.ndarray]:
    """Disjoint samples of whole groups, near these sizes and the shares of classes in all rows.

    Each group goes to the sample that it brings nearest to its size and class counts, by the sum of
    squared misses, each divided by what is wanted: large groups and uneven ones first, among equals
    in an order that the seed decides. Then each may move, the small ones first, to where it fits
    better or where a class is missing.

    Args:
        labels: `(n,)` class numbers.
        groups: `(n,)` numbers of groups.
        sizes: rows of each sample that are wanted; the rest is left out.
        seed: decides which groups, and nothing else does.

    Returns:
        Sorted row numbers of each sample.

    Raises:
        UserError: there are fewer rows or groups than samples need.
    """
    names, members = np.unique(groups, return_inverse=True)
    if sum(sizes) > len(labels):
        raise UserError(
            f"{len(labels)} reviews are too few for samples of {list(sizes)}; change split.sizes"
        )
    require_groups(len(names), len(sizes))
    counts = np.zeros((len(names), labels.max() + 1), np.int64)
    np.add.at(counts, (members, labels), 1)
    rest = len(labels) - sum(sizes)
    places = assign(counts, [*sizes, rest] if rest else sizes, seed)
    return [np.flatnonzero(places[members] == place) for place in range(len(sizes))]


def require_groups(count: int, splits: int) -> None:
    """Check that there are enough groups.

    Raises:
        UserError: there are fewer than splits.
    """
    if count < splits:
        raise UserError(
            f"there are too few groups for {splits} splits: {count}; leave out split.group, or "
            "name a column of smaller groups"
        )


def assign(counts: np.ndarray, sizes: Sequence[int], seed: int) -> np.ndarray:
    """The part of each group.

    Args:
        counts: `(g, k)` rows of each class in each group.
        sizes: rows of each part that are wanted, which make up all.
        seed: decides the order of groups that are alike.

    Returns:
        `(g,)` numbers of parts.
    """
    counts = np.column_stack([counts, counts.sum(axis=1)])
    wanted = np.outer(sizes, counts.sum(axis=0)) / sum(sizes)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-(counts[order] ** 2).sum(axis=1), kind="stable")]
    filled = np.zeros_like(wanted)
    places = np.zeros(len(counts), np.int64)
    for group in order:
        places[group] = misses(counts[group], filled, wanted).argmin()
        filled[places[group]] += counts[group]
    for _ in range(PASSES):
        if (np.abs(filled - wanted) < 1).all():
            break
        for group in order[::-1]:
            row = counts[group]
            filled[places[group]] -= row
            lacking = ((filled == 0) & (row > 0)).sum(axis=1)
            places[group] = (misses(row, filled, wanted) - COVER * lacking).argmin()
            filled[places[group]] += row
    return places


def misses(row: np.ndarray, filled: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """What a group of these counts adds to the misses of each part, but for what all share."""
    return ((2 * filled + row) / wanted) @ row
