"""Reviews that nearly repeat an earlier one."""

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import call
from datasketch import MinHash, MinHashLSH

import download
from lib.data import near_duplicates
from lib.data.near_duplicates import BANDS, ROWS, SEED, jaccard, join, runs

WORDS = [f"word{number}" for number in range(300)]


def shingles(text: str) -> np.ndarray:
    """The distinct runs of a text, sorted."""
    return np.unique(runs(text))


def window(start: int, count: int = 100) -> str:
    """A text of so many runs of five words; two that start d apart share all but d of each."""
    return " ".join(WORDS[start : start + count + 4])


def repeats(*texts: str, threshold: float = 0.8) -> list[bool]:
    firsts = near_duplicates.repetitions(iter(texts), len(texts), threshold)
    return (firsts != np.arange(len(texts))).tolist()


def test_similarity_is_that_of_runs_of_five_words():
    one, other = shingles("a b c d e f"), shingles("x b c d e f")
    assert (len(one), len(other), jaccard(one, other)) == (2, 2, 1 / 3)
    assert jaccard(shingles(window(0)), shingles(window(10))) == 90 / 110
    assert len(shingles("one two three four five " * 9)) == 5
    assert jaccard(shingles("a b c d e"), shingles("a b c e d")) == 0


@pytest.mark.parametrize(
    ("common", "own", "threshold", "dropped"),
    [(8, 1, 0.8, False), (79, 10, 0.8, False), (81, 10, 0.8, True), (81, 10, 0.81, False)],
)
def test_what_is_above_the_threshold_is_dropped(common, own, threshold, dropped):
    texts = window(0, common + own), window(own, common + own)
    assert jaccard(*map(shingles, texts)) == common / (common + 2 * own)
    assert repeats(*texts, threshold=threshold) == [False, dropped]


def test_a_chain_is_one_group_whose_first_text_stays():
    first, middle, last = window(0), window(10), window(20)
    assert repeats(first, last) == [False, False]
    assert repeats(first, middle, last) == [False, True, True]
    assert repeats(last, first, "other", middle) == [False, True, False, True]


def test_case_punctuation_and_line_breaks_are_no_difference():
    assert repeats("A film<br />I will not forget.", "a film I will not forget") == [False, True]


def test_short_texts_repeat_by_all_their_words_and_texts_without_words_never():
    found = repeats("Great film!", "great film", "film great", "great")
    assert found == [False, True, False, False]
    assert not any(repeats("?", "??", "!", "", "<br />"))
    assert not any(repeats("one two three four", "one two three four five"))


@pytest.mark.parametrize("seed", range(3))
def test_in_any_order_one_of_each_group_stays(sample, seed):
    texts = sample["text"].to_pylist()[:100]
    texts += [f"{text} Really." for text in texts[:30] if len(text.split()) > 60]
    assert len(texts) > 120
    order = np.random.default_rng(seed).permutation(len(texts))
    found = np.array(repeats(*(texts[row] for row in order)))
    kept = [shingles(texts[row]) for row in order[~found]]
    assert len(kept) == 100
    assert not any(jaccard(*pair) > 0.8 for pair in combinations(kept, 2))


def minhash(text: str) -> MinHash:
    found = MinHash(BANDS * ROWS, SEED, hashfunc=int, scheme="affine64")
    found.update_batch(shingles(text))
    return found


def test_pairs_are_looked_at_as_an_index_of_datasketch_finds_them(monkeypatch):
    rng = np.random.default_rng(0)
    bounds = np.unique(np.sort(rng.integers(0, len(WORDS), (300, 2))), axis=0)
    texts = [" ".join(WORDS[start : stop + 1]) for start, stop in bounds] + ["?"]
    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    expected = set()
    for number, text in enumerate(texts[:-1]):
        expected |= {(other, number) for other in index.query(minhash(text))}
        index.insert(number, minhash(text))
    looked_at = []

    def look(one: np.ndarray, other: np.ndarray) -> float:
        looked_at.append(tuple(sorted((known[one.tobytes()], known[other.tobytes()]))))
        return 0.0

    known = {shingles(text).tobytes(): number for number, text in enumerate(texts)}
    assert len(known) == len(texts)
    monkeypatch.setattr(near_duplicates, "jaccard", look)
    assert not any(repeats(*texts))
    assert sorted(looked_at) == sorted(expected)  # each once
    assert len(expected) > 1000


def test_hardly_a_pair_above_the_threshold_is_overlooked():
    named = [[f"{word}of{pair}" for word in WORDS] for pair in range(200)]
    texts = [" ".join(own[start : start + 108]) for own in named for start in (0, 24)]
    assert jaccard(shingles(texts[0]), shingles(texts[1])) == 80 / 128  # found in 99.8% of cases
    found = repeats(*texts, threshold=0.6)
    assert not any(found[::2]) and sum(found[1::2]) >= 197


def test_rows_that_are_all_alike_are_compared_once_each():
    compared, parents = [], list(range(1000))
    for _ in range(2):  # the second time, none is left to compare
        join(range(1000), parents, lambda *pair: not compared.append(pair))
        assert parents == [0] * 1000 and len(compared) == 999


def test_a_row_joins_all_groups_that_it_is_alike_with():
    parents = list(range(5))
    join([1, 2, 3, 4], parents, lambda one, other: {one, other} in ({1, 4}, {2, 4}))
    assert parents == [0, 1, 1, 3, 1]
    join([0, 2], parents, lambda *_: True)
    assert near_duplicates.first_of_group(4, parents) == 0


@pytest.fixture
def source(tmp_path):
    """200 reviews, of which 1, 3, ... 99 repeat the one before, a third under the same label."""
    noise = np.random.default_rng(0)
    texts = [" ".join(noise.choice(WORDS, 60)) for _ in range(200)]
    texts[1:100:2] = [f"{text} indeed" for text in texts[0:100:2]]
    labels = np.arange(200) % 3 % 2
    pd.DataFrame({"text": texts, "label": labels}).to_csv(tmp_path / "source.csv", index=False)
    return tmp_path / "source.csv"


@pytest.mark.parametrize(
    ("flags", "dropped", "beyond"),
    [("", 50, 0), ("--limit 120", 50, 30), ("--near-duplicates 1", 0, 0), ("--limit 150", 50, 0)],
)
def test_near_duplicates_are_dropped_before_the_limit_and_counted(
    tmp_path, source, flags, dropped, beyond
):
    call(download, f"files --paths {source} {flags} --out {tmp_path}")
    kept = pq.read_table(tmp_path / "reviews.parquet")
    about = json.loads((tmp_path / "reviews.json").read_text())
    others = dict.fromkeys(("empty", "conflicting_labels", "duplicates"), 0)
    assert about["dropped"] == others | {"near_duplicates": dropped, "beyond_limit": beyond}
    assert about["reviews"] == kept.num_rows == 200 - dropped - beyond
    repeated = set(range(1, 100, 2)) & set(kept["id"].to_pylist())
    assert len(repeated) == 50 - dropped
