"""Texts that nearly repeat an earlier one: found by MinHash, decided by their exact similarity."""

import re
import zlib
from collections.abc import Iterable

import numpy as np
import pandas as pd
from datasketch import MinHash, MinHashLSH
from scipy.cluster.hierarchy import DisjointSet

from lib.console import progress
from lib.data.folding import fold

WORD = re.compile(r"\w+")
SHINGLE = 5  # successive words
BANDS, ROWS = 24, 3
SEED = 1
FACTORS = np.random.default_rng(SEED).integers(1, 2**64, SHINGLE, np.uint64)


def repetitions(texts: Iterable[str | None], count: int, threshold: float) -> np.ndarray:
    """Which texts are near-duplicates of an earlier one, as `(n,)` booleans.

    Two texts are near-duplicates where the Jaccard similarity s of their shingles is above the
    threshold, or where a chain of such pairs joins them. A pair is looked at with a probability of
    1 - (1 - s^3)^24, which is 0.96 at 0.5, 0.997 at 0.6 and 0.99999997 at 0.8, and then decided by
    s itself. A text without words repeats none.

    Args:
        texts: of which the shingles alone are held.
        count: number of texts.
        threshold: from 0.5 to 1; at 1 no text repeats another.
    """
    if threshold == 1:
        return np.zeros(count, dtype=bool)
    groups = DisjointSet(range(count))
    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    empty = MinHash(num_perm=BANDS * ROWS, seed=SEED, hashfunc=int, scheme="affine64")
    known: list[np.ndarray] = []
    for number, text in enumerate(progress(texts, count, "look for near-duplicates", "review")):
        known.append(shingles(text or ""))
        if not len(known[number]):
            continue
        minhash = empty.copy()
        minhash.update_batch(known[number])
        for other in index.query(minhash):
            joined = groups.connected(number, other)
            if not joined and jaccard(known[number], known[other]) > threshold:
                groups.merge(number, other)
        index.insert(number, minhash, check_duplication=False)
    return pd.Series([groups[number] for number in range(count)]).duplicated().to_numpy()


def shingles(text: str) -> np.ndarray:
    """The distinct runs of five words in a folded text, or its fewer words, as sorted hashes."""
    words = WORD.findall(fold(text).casefold())
    encoded = (word.encode("utf-8", "surrogatepass") for word in words)
    hashes = np.fromiter(map(zlib.crc32, encoded), np.uint64)
    if not words:
        return hashes
    padded = np.pad(hashes, (0, max(0, SHINGLE - len(words))))
    return np.unique(np.lib.stride_tricks.sliding_window_view(padded, SHINGLE) @ FACTORS)


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """The share of the members of two sorted sets that stand in both."""
    common = np.intersect1d(one, other, assume_unique=True).size
    return common / (len(one) + len(other) - common)
