"""Test reviews in groups, such as those of one film: how sure a mean over them is.

Reviews of one group tend to be alike, so that n of them tell less than n. Groups are what is
independent, and errors are clustered by them (Miller 2024, arXiv:2411.00640): the variance of a
mean is made of the sums of deviations over each group. Where groups are of unequal size, the mean
follows the large ones, so that their sums deviate too little: they count for more, and degrees of
freedom are fewer, as in Bell and McCaffrey 2002 (Survey Methodology 28). With groups of one review,
all is as without groups.
"""

import numpy as np

Groups = np.ndarray | None  # `(n,)` the number of each review's group; None where none are known


def units(deviations: np.ndarray, groups: Groups) -> np.ndarray:
    """What deviates independently: reviews, or groups of them.

    Args:
        deviations: `(..., n)` of reviews from their mean.
        groups: of the reviews, two or more.

    Returns:
        The sum of squares of the last axis, over n - 1, is the variance from one review to the
        next, and over n besides that of their mean. Of groups of n_g reviews each term is
        (sum of deviations)² (n - 1) / (n - n_g): with G groups of one size that comes to the factor
        G / (G - 1), and reviews that are independent after all have their variance on average.
    """
    if groups is None:
        return deviations
    n, sizes = len(groups), np.bincount(groups)
    sums = np.apply_along_axis(lambda each: np.bincount(groups, each), -1, deviations)
    return sums * np.sqrt((n - 1) / (n - sizes))


def freedom(groups: Groups) -> float:
    """Degrees of freedom of a variance over groups; infinite, for known, where there are none.

    n² / Σ n_g² - 1 and no less than 1, which is G - 1 for G groups of one size; for independent
    reviews they are Satterthwaite's of the sum of squares, or a little fewer.
    """
    if groups is None:
        return np.inf
    sizes = np.bincount(groups)
    return max(len(groups) ** 2 / float((sizes.astype(float) ** 2).sum()) - 1, 1.0)


def part(groups: Groups, rows: np.ndarray) -> Groups:
    """The groups of some of the reviews."""
    return None if groups is None else groups[rows]


def count(groups: Groups) -> int | None:
    """The number of groups."""
    return None if groups is None else int(np.count_nonzero(np.bincount(groups)))
