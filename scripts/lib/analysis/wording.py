"""The names of the verdicts, and how a page says what would decide one."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from lib.command.formats import counted, plural
from lib.study.metrics import ACCURACY

SHOWN = "difference shown"
ALIKE = "alike within the margin"
UNDECIDED = "undecided"
ALONE = "on these runs alone"
IDENTICAL = "identical"
NOTHING = "nothing to compare"
NOT_ASKED = "not asked"
OBSERVED = "observed"
BEFORE, AFTER = "before", "after"  # the temperature
RESTS = "This rests on the variance of other settings"  # whose own would give another verdict


def margin_is(margin: float) -> str:
    """A margin of practical equality, as `1 point` or `0.5 points`."""
    return f"{100 * margin:g} point{'' if math.isclose(margin, 0.01) else 's'}"


def what_would_decide(row: Mapping[str, Any], noun: str) -> str:
    """What an undecided contrast would have found, and what would make that half as much."""
    more = to_halve(row["seeds_to_halve"], row["reviews_to_halve"], noun)
    return f"{100 * row['detectable']:.1f} points would be found; half of that with {more}"


def to_halve(seeds: float, reviews: float, noun: str) -> str:
    """The seeds or the texts with which half as much would be found, each NaN where it can't do.

    Args:
        seeds: how many.
        reviews: how many.
        noun: what the dataset calls its texts.
    """
    ways = [
        "" if math.isnan(seeds) else plural(math.ceil(seeds), "seed"),
        "" if math.isnan(reviews) else counted(math.ceil(reviews), noun),
    ]
    return " or ".join(filter(None, ways)) or f"four times the seeds and the {noun}"


def paired_test(groups: Any, metric: str) -> str:
    """The test of pairs of runs in a metric.

    Args:
        groups: how many groups the reviews are in; NA where none are known.
        metric: its key.
    """
    if pd.isna(groups):
        return "exact McNemar test" if metric == ACCURACY else "t test"
    return f"t test, its error clustered by {plural(int(groups), 'group')}"
