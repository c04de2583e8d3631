"""Calls that are timed in turns, so that what else the machine does falls on all of them alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lib.command.console import progress

Works = Mapping[int, Callable[[int], object]]  # what is called with the number of the call
Clock = Callable[[], float]


class Group(NamedTuple):
    """Works that are compared, as they do the same.

    Attributes:
        works: by number.
        calls: of each in a round.
        every: how many rounds there are to one in which they take part.
    """

    works: Works
    calls: int
    every: int = 1


class Spread(NamedTuple):
    """What the calls of a work took, in seconds.

    Another measurement should agree within `low` and `high`: from the smallest to the largest of
    the medians of the rounds, wider at both ends by the factor between the first half of the rounds
    and the second. Of a load that lasts longer than a round, rounds alone would not tell.

    Attributes:
        calls: that were counted.
        median: over all calls.
        p95: their 95th percentile.
        low: lower end.
        high: upper end.
    """

    calls: int
    median: float
    p95: float
    low: float
    high: float


class Ratio(NamedTuple):
    """How many times as long as another a work takes, each round compared with itself alone.

    Attributes:
        ratio: the median over the rounds.
        ratio_low: the smallest of them.
        ratio_high: the largest of them.
    """

    ratio: float
    ratio_low: float
    ratio_high: float


def affordable(works: Works, seconds: float, bounds: tuple[int, int], clock: Clock) -> int:
    """How many calls of each work a round has: as many as the slowest does in some seconds.

    Each is called twice here, and the second time tells.

    Args:
        works: of a group.
        seconds: that a round may take of the slowest, but for the bounds.
        bounds: the fewest calls and the most.
        clock: tells seconds.
    """
    slowest = 0.0
    for work in works.values():
        work(0)
        started = clock()
        work(0)
        slowest = max(slowest, clock() - started)
    least, most = bounds
    return max(least, min(most, int(seconds / slowest))) if slowest else most


def take_turns(
    groups: Sequence[Group],
    rounds: int,
    settle: Callable[[], object] = lambda: None,
    clock: Clock = time.perf_counter,
) -> list[dict[int, np.ndarray]]:
    """The seconds `(rounds, calls)` of each work, for each group.

    A round calls the works of all groups, those of a group one after the other, the next time in
    reverse. One round more, the first, warms up and is not counted.

    Args:
        groups: of works.
        rounds: that count.
        settle: waits until a device has done all that it was told.
        clock: tells seconds.
    """
    found: list[dict[int, list[list[float]]]] = [{key: [] for key in each.works} for each in groups]
    for number in progress(range(rounds + 1), rounds + 1, "timing predictions", "round"):
        for (works, calls, every), seconds in zip(groups, found, strict=True):
            turn, others = divmod(number, every)
            for key in [*works][:: -1 if turn % 2 else 1] if not others else ():
                own = range(turn * calls, (turn + 1) * calls)
                seconds[key].append([seconds_of(works[key], each, settle, clock) for each in own])
    return [{key: np.array(each[1:]) for key, each in seconds.items()} for seconds in found]


def seconds_of(
    work: Callable[[int], object], call: int, settle: Callable[[], object], clock: Clock
) -> float:
    """The seconds of one call."""
    settle()
    started = clock()
    work(call)
    settle()
    return clock() - started


def spread(seconds: np.ndarray) -> Spread:
    """What calls took.

    Args:
        seconds: `(rounds, calls)`.
    """
    medians, middle = np.median(seconds, axis=1), -(-len(seconds) // 2)
    halves = np.median(medians[:middle]), np.median(medians[-middle:])
    ends = medians.min() * min(halves) / max(halves), medians.max() * max(halves) / min(halves)
    return Spread(seconds.size, *map(float, (*np.quantile(seconds, [0.5, 0.95]), *ends)))


def ratio(seconds: np.ndarray, others: np.ndarray) -> Ratio:
    """How many times as long calls take as others of the same rounds.

    Args:
        seconds: `(rounds, calls)`.
        others: likewise.
    """
    ratios = np.median(seconds, axis=1) / np.median(others, axis=1)
    return Ratio(*map(float, (np.median(ratios), ratios.min(), ratios.max())))


def evenly(count: int, rounds: int, calls: int, seed: int) -> np.ndarray:
    """Places in a sorted list, one of each of so many equal parts of it for every call of a round.

    So rounds are alike, and all together they are spread evenly over the list.

    Args:
        count: length of the list.
        rounds: of calls.
        calls: in a round.
        seed: of which place of a part comes in which round.

    Returns:
        `(rounds * calls,)` places, in the order of the calls.
    """
    rng = np.random.default_rng(seed)
    within = rng.permuted(np.tile(np.arange(rounds), (calls, 1)), axis=1).T  # (rounds, calls)
    shares = (np.arange(calls) * rounds + within + 0.5) / (rounds * calls)
    return (shares * count).astype(int).ravel()
