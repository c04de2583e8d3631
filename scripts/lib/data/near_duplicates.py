"""Texts that nearly repeat an earlier one: found by MinHash, decided by their exact similarity.

Per text 200 bytes are held in memory; the shingles wait in a temporary file.
"""

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from datasketch import MinHash

from lib.command.console import progress
from lib.data.folding import fold
from lib.data.words import words

SHINGLE = 5  # successive words
BANDS, ROWS = 24, 3
SEED = 1
FACTORS = np.random.default_rng(SEED).integers(1, 2**64, SHINGLE, np.uint64)
MULTIPLIERS, ADDENDS = MinHash(BANDS * ROWS, SEED, scheme="affine64").permutations
MIX = np.array([0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53], np.uint64)  # of MurmurHash3
NOTHING = np.zeros(1, np.uint64)  # after the last set, so that an empty one begins somewhere
TOGETHER = 256  # texts whose signatures are computed at a time
KNOWN_WORDS, KNOWN_TEXTS = 1 << 17, 1 << 12  # of which hashes and shingles are held


def repetitions(
    texts: Iterable[str | None], count: int, threshold: float, folder: Path | None = None
) -> np.ndarray:
    """The first text of the group of near-duplicates that each text is of, as `(n,)` row numbers.

    Two texts are near-duplicates where the Jaccard similarity s of their shingles is above the
    threshold, or where a chain of such pairs joins them. A pair is looked at with a probability of
    1 - (1 - s^3)^24, which is 0.96 at 0.5, 0.997 at 0.6 and 0.99999997 at 0.8, and then decided by
    s itself. A text without words repeats none, and is a group of its own.

    Args:
        texts: read once.
        count: number of texts.
        threshold: from 0.5 to 1; at 1 no text repeats another.
        folder: for the temporary file, of 8 bytes per word.
    """
    if threshold == 1:
        return np.arange(count)
    with TemporaryFile(dir=folder) as file:
        watched = progress(texts, count, "look for near-duplicates", "review")
        keys, bounds = survey(watched, count, file)

        @lru_cache(KNOWN_TEXTS)
        def members(row: int) -> np.ndarray:
            start, stop = bounds[row : row + 2].tolist()
            return np.unique(np.frombuffer(os.pread(file.fileno(), stop - start, start), np.uint64))

        def alike(band: int, one: int, other: int) -> bool:
            decided = (keys[one, :band] == keys[other, :band]).any()  # when they met before
            return not decided and jaccard(members(one), members(other)) > threshold

        parents = list(range(count))
        worded = np.flatnonzero(np.diff(bounds))
        for band in range(BANDS):
            for bucket in buckets(keys[worded, band]):
                join(worded[bucket].tolist(), parents, partial(alike, band))
    firsts = np.array(parents, np.int64)
    while (firsts[firsts] != firsts).any():
        firsts = firsts[firsts]
    return firsts


def survey(
    texts: Iterable[str | None], count: int, file: IO[bytes]
) -> tuple[np.ndarray, np.ndarray]:
    """Write the shingles of all texts to a file, one text after the other.

    Returns:
        The band keys of each text, `(n, BANDS)` uint64, and where its shingles begin in the file
        and the last end, in bytes, `(n + 1,)` int64. Keys of texts without words mean nothing.
    """
    keys = np.zeros((count, BANDS), np.uint64)
    bounds = np.zeros(count + 1, np.int64)
    queue = iter(texts)
    row = 0
    while batch := [runs(text or "") for text in islice(queue, TOGETHER)]:
        hashes = np.concatenate([*batch, NOTHING])
        ends = np.cumsum([len(each) for each in batch])
        found = signatures(hashes, np.append(0, ends))[:-1]
        keys[row : row + len(batch)] = found.reshape(-1, BANDS, ROWS) @ FACTORS[:ROWS]
        bounds[row + 1 : row + 1 + len(batch)] = bounds[row] + ends * hashes.itemsize
        file.write(hashes[:-1].tobytes())
        row += len(batch)
    file.flush()
    return keys, bounds


def signatures(hashes: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The MinHash signatures of sets of shingles, as datasketch computes them.

    Args:
        hashes: `(m,)` the shingles of all sets in a row.
        starts: `(n,)` where each set begins.

    Returns:
        `(n, BANDS * ROWS)` uint64; that of an empty set means nothing.
    """
    mixed = hashes ^ (hashes >> np.uint64(33))  # as MurmurHash3 ends
    for factor in MIX:
        mixed *= factor
        mixed ^= mixed >> np.uint64(33)
    found = np.empty((len(starts), BANDS * ROWS), np.uint64)
    for number, (multiplier, addend) in enumerate(zip(MULTIPLIERS, ADDENDS, strict=True)):
        found[:, number] = np.minimum.reduceat(mixed * multiplier + addend, starts)
    return found


def buckets(keys: np.ndarray) -> Iterator[np.ndarray]:
    """The rows that share a key, in order, for each key of `(n,)` that several have."""
    order = np.argsort(keys, stable=True)
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    starts, stops = np.append(0, edges), np.append(edges, len(order))
    for which in np.flatnonzero(stops - starts > 1):
        yield order[starts[which] : stops[which]]


def join(rows: Sequence[int], parents: list[int], alike: Callable[[int, int], bool]) -> None:
    """Join the groups of rows that are alike; rows of one group are not compared.

    Args:
        rows: of one bucket, compared in pairs.
        parents: of all rows an earlier one of their group, or themselves; changed in place.
        alike: whether two rows are.
    """
    met: dict[int, list[int]] = {}  # rows of the bucket, by the first of their group
    for row in rows:
        own = first_of_group(row, parents)
        for other in [first for first in met if first != own]:
            if any(alike(row, member) for member in met[other]):
                together = met.pop(other)
                together += met.pop(own, [])
                parents[max(own, other)] = own = min(own, other)
                met[own] = together
        met.setdefault(own, []).append(row)


def first_of_group(row: int, parents: list[int]) -> int:
    """The earliest row that is joined with a row."""
    while parents[row] != row:
        parents[row] = row = parents[parents[row]]
    return row


def runs(text: str) -> np.ndarray:
    """The runs of five words in a folded text, or its fewer words, as hashes in their order."""
    found = words(fold(text).casefold())
    missing = SHINGLE - len(found) if found else 0
    hashes = np.fromiter([*map(hash_word, found), *[0] * missing], np.uint64)
    return np.correlate(hashes, FACTORS, "valid") if found else hashes


@lru_cache(KNOWN_WORDS)
def hash_word(word: str) -> int:
    """A hash of 32 bits."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """The share of the members of two sorted sets that stand in both."""
    common = np.intersect1d(one, other, assume_unique=True).size
    return common / (len(one) + len(other) - common)
