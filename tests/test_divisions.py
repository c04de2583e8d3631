"""Divisions that a dataset brings, and divisions by whole groups."""

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import call
from refusals import is_one_line, refusal
from sklearn.model_selection import StratifiedGroupKFold

import download
import split
from lib.command.console import UserError
from lib.data.groups import divide_groups
from lib.data.reviews import leaders, repeats
from lib.page.summary import division_fact

NAMES = ("train", "valid", "test")
WORDS = [f"word{number}" for number in range(300)]


def made_up(rows: int, seed: int, **columns: Any) -> pd.DataFrame:
    """Texts that have nothing in common, under two labels."""
    noise = np.random.default_rng(seed)
    texts = [" ".join(noise.choice(WORDS, 30)) for _ in range(rows)]
    return pd.DataFrame({"text": texts, "label": np.arange(rows) % 2} | columns)


def planted() -> dict[str, pd.DataFrame]:
    """Splits of 200, 40 and 80 texts with repeats in and across them."""
    train, valid, test = made_up(200, 1), made_up(40, 2), made_up(80, 3)
    near = " indeed"
    train.loc[0] = test.loc[0]
    train.loc[1] = [test.text[1].replace(" ", "\u00a0 "), 1 - test.label[1]]
    train.loc[2, "text"] = test.text[2] + near
    train.loc[3] = valid.loc[3]
    train.loc[4, "text"] = valid.text[4] + near
    train.loc[11] = train.loc[10]
    train.loc[13] = [train.text[12], 1 - train.label[12]]
    train.loc[15, "text"] = train.text[14] + near
    train.loc[16, "text"] = ""
    valid.loc[0] = test.loc[10]
    valid.loc[1, "text"] = test.text[11] + near
    valid.loc[9] = valid.loc[8]
    test.loc[21] = test.loc[20]
    test.loc[23] = [test.text[22], 1 - test.label[22]]
    test.loc[25, "text"] = test.text[24] + near
    test.loc[26, "text"] = " <br />"
    return {"train": train, "valid": valid, "test": test}


GONE = {"train": [0, 1, 2, 3, 4, 11, 12, 13, 15, 16], "valid": [0, 1, 9], "test": [26]}
COUNTS = {
    **{"empty": 2, "conflicting_labels": 2, "in_another_split": 4, "duplicates": 2},
    **{"near_duplicates_of_another_split": 3, "near_duplicates": 1, "beyond_limit": 0},
}
CLEANED = {**GONE, "test": [21, 22, 23, 25, 26]}  # text 1, of another label in training, stays
COUNTS_CLEANED = {
    **COUNTS,
    **{"conflicting_labels": 4, "in_another_split": 4, "duplicates": 3, "near_duplicates": 2},
}


def as_paths(folder: Path, frames: dict[str, pd.DataFrame]) -> str:
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}=1.csv", index=False)
    return " ".join(f"--paths-{name} {folder}/{name}=1.csv" for name in frames)


def as_column(folder: Path, frames: dict[str, pd.DataFrame]) -> str:
    """One file, in which the test comes first, and which calls the splits by other names."""
    words = {"train": "Training", "valid": "dev", "test": " TEST"}
    order = [frames[name].assign(part=words[name]) for name in reversed(NAMES) if name in frames]
    pd.concat(order).to_json(folder / "all.jsonl", orient="records", lines=True)
    return f"--paths {folder}/all.jsonl --column part"


def fetch(folder: Path, flags: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    call(download, f"files {flags} --out {folder}/out")
    reviews = pq.read_table(folder / "out" / "reviews.parquet").to_pandas()
    return reviews, json.loads((folder / "out" / "reviews.json").read_text())


def divide(folder: Path, flags: str = "") -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    call(
        split,
        f"--reviews {folder}/out/reviews.parquet --out {folder}/splits {flags} "
        f"--counts {folder}/splits.json",
    )
    tables = {name: pq.read_table(folder / "splits" / f"{name}.parquet") for name in NAMES}
    told = json.loads((folder / "splits.json").read_text())
    return {name: table.to_pandas() for name, table in tables.items()}, told


@pytest.mark.parametrize("form", [as_paths, as_column])
@pytest.mark.parametrize(
    ("flags", "gone", "counts"),
    [("", GONE, COUNTS), ("--clean-test true", CLEANED, COUNTS_CLEANED)],
)
def test_repeats_leave_training_and_never_the_test(tmp_path, form, flags, gone, counts):
    frames = planted()
    reviews, about = fetch(tmp_path, f"{form(tmp_path, frames)} {flags}")
    parts, told = divide(tmp_path)
    for name, frame in frames.items():
        kept = frame.drop(index=gone[name])
        assert reviews.query("split == @name")["text"].tolist() == kept["text"].tolist(), name
        assert parts[name]["text"].tolist() == kept["text"].tolist()
        assert parts[name]["label"].tolist() == kept["label"].tolist()
        assert about["splits"][name]["rows"] == len(frame)
        assert about["splits"][name]["classes"] == told[name]["classes"]
    assert about["dropped"] == counts
    assert about["rows"] == about["reviews"] + sum(counts.values())
    assert told["given"] == list(NAMES)
    assert list(parts["test"].columns) == ["id", "text", "label"]


def test_files_are_read_in_the_order_of_the_splits_whatever_that_of_the_flags(tmp_path):
    frames = {name: made_up(20, seed) for seed, name in enumerate(NAMES)}
    flags = as_paths(tmp_path, frames)
    reviews, about = fetch(tmp_path, " ".join(reversed(re.findall(r"--\S+ \S+", flags))))
    assert reviews["text"].tolist() == pd.concat(frames.values())["text"].tolist()
    assert about["settings"]["paths"] == {n: [f"{tmp_path}/{n}=1.csv"] for n in NAMES}
    assert reviews["id"].tolist() == list(range(60))


def halves() -> dict[str, pd.DataFrame]:
    """400 training texts, of which three quarters are of class 0, and 100 of a test."""
    train = made_up(400, 1).assign(label=[0, 0, 0, 1] * 100)
    return {"train": train, "test": made_up(100, 2)}


@pytest.mark.parametrize(
    ("flags", "train", "valid"),
    [("", [270, 90], [30, 10]), ("--valid 0.25", [225, 75], [75, 25])],
)
def test_validation_is_drawn_from_training_where_none_is_given(tmp_path, flags, train, valid):
    frames = halves()
    fetch(tmp_path, as_paths(tmp_path, frames))
    parts, told = divide(tmp_path, f"{flags} --seed 3")
    assert parts["test"]["text"].tolist() == frames["test"]["text"].tolist()
    assert (told["train"]["classes"], told["valid"]["classes"]) == (train, valid)
    drawn = [*parts["train"]["id"], *parts["valid"]["id"]]
    assert sorted(drawn) == list(range(400)) and told["given"] == ["train", "test"]
    again, _ = divide(tmp_path, f"{flags} --seed 3")
    assert again["valid"].equals(parts["valid"])
    other, _ = divide(tmp_path, f"{flags} --seed 4")
    assert not other["valid"].equals(parts["valid"]) and other["test"].equals(parts["test"])


@pytest.mark.parametrize("names", [NAMES, ("train", "test")])
def test_sizes_draw_a_sample_of_each_given_split(tmp_path, names):
    frames = halves() | {"valid": made_up(60, 5)}
    fetch(tmp_path, as_paths(tmp_path, {name: frames[name] for name in names}))
    parts, told = divide(tmp_path, "--sizes 200 40 20")
    assert [told[name]["classes"] for name in NAMES] == [
        [150, 50],
        [20, 20] if "valid" in names else [30, 10],
        [10, 10],
    ]
    for name in NAMES:
        of = name if name in names else "train"
        assert set(parts[name]["text"]) < set(frames[of]["text"])
    assert not set(parts["train"]["text"]) & set(parts["valid"]["text"])


def test_without_a_division_and_groups_nothing_is_added(tmp_path):
    frame = made_up(100, 1, part="train", film="a")
    frame.to_csv(tmp_path / "a.csv", index=False)
    reviews, about = fetch(tmp_path, f"--paths {tmp_path}/a.csv")
    parts, told = divide(tmp_path)
    assert list(reviews.columns) == ["id", "text", "label", "origin"]
    assert list(about["dropped"]) == [
        *("empty", "conflicting_labels", "duplicates", "near_duplicates", "beyond_limit")
    ]
    assert "splits" not in about and not about["settings"].keys() & {"column", "group"}
    assert list(told) == ["seed", *NAMES] and list(told["test"]) == ["reviews", "classes"]
    assert list(parts["test"].columns) == ["id", "text", "label"]


def test_of_a_group_of_repeats_the_lowest_rank_stays_and_of_rank_0_all():
    groups = np.array([7, 7, 7, 5, 5, 9, 9, 9, 1, 3, 3])
    ranks = np.array([3, 2, 2, 3, 3, 0, 3, 0, 3, 1, 1])
    firsts = leaders(groups, ranks)
    assert firsts.tolist() == [1, 1, 1, 3, 3, 5, 5, 5, 8, 9, 9]
    elsewhere, again = repeats(firsts, ranks)
    assert np.flatnonzero(elsewhere).tolist() == [0, 6]
    assert np.flatnonzero(again).tolist() == [2, 4, 10]


# groups


def films(rows: int, seed: int, largest: int = 12) -> pd.DataFrame:
    """Texts of films with up to so many texts, liked more or less."""
    noise = np.random.default_rng(seed)
    sizes = noise.integers(1, largest + 1, rows)
    film = np.repeat(np.arange(rows), sizes)[:rows]
    liked = noise.beta(0.5, 0.5, rows)[film]
    frame = made_up(rows, seed, film=[f"film {number}" for number in film])
    order = noise.permutation(rows)
    return frame.assign(label=(noise.random(rows) < liked).astype(int)).loc[order]


@pytest.mark.parametrize(
    ("flags", "sizes"),
    [("", (1600, 200, 200)), ("--ratios 2 1 1", (1000, 500, 500)), ("--sizes 900 90 80", None)],
)
def test_no_group_stands_on_two_sides(tmp_path, flags, sizes):
    frame = films(2000, 1)
    frame.to_csv(tmp_path / "films.csv", index=False)
    fetch(tmp_path, f"--paths {tmp_path}/films.csv --group film")
    parts, told = divide(tmp_path, flags)
    of = {name: set(part["group"]) for name, part in parts.items()}
    assert not (of["train"] & of["valid"] or of["train"] & of["test"] or of["valid"] & of["test"])
    texts = dict(zip(frame["text"], frame["film"], strict=True))
    for (name, part), size in zip(parts.items(), sizes or (900, 90, 80), strict=True):
        assert part["group"].tolist() == [texts[text] for text in part["text"]]
        about = told[name]
        assert (about["reviews"], about["groups"]) == (len(part), len(of[name]))
        assert about["wanted"]["reviews"] == size
        assert about["missed"]["reviews"] == len(part) - size and abs(len(part) - size) <= 2
        shares = part["label"].value_counts(normalize=True).sort_index()
        missed = np.abs(shares - about["wanted"]["class_shares"]).max()
        assert about["missed"]["class_share"] == pytest.approx(missed, abs=1e-5) and missed < 0.02
    if sizes:
        assert sum(map(len, parts.values())) == 2000
        assert about["wanted"]["class_shares"] == pytest.approx(
            frame["label"].value_counts(normalize=True).sort_index(), abs=1e-5
        )
    type_of_group = pq.read_schema(tmp_path / "splits" / "test.parquet").field("group").type
    assert type_of_group == "string"


def test_a_group_is_one_however_it_is_written(tmp_path):
    films = [" 19", "19", "19.0", "Caf\u00e9", "Cafe\u0301 "] * 4
    texts = [f"text number {row} of all" for row in range(len(films))]
    frame = pd.DataFrame({"text": texts, "label": [0, 1] * 10, "film": films})
    frame.to_csv(tmp_path / "films.csv", index=False)
    reviews, _ = fetch(tmp_path, f"--paths {tmp_path}/films.csv --group film --near-duplicates 1")
    assert set(reviews["group"]) == {"19", "Caf\u00e9"}
    numbers = pa.array([1.0, float("nan")] * 10, pa.float64())
    table = pa.table({"text": texts, "label": [0, 1] * 10, "film": numbers})
    pq.write_table(table, tmp_path / "films.parquet")
    with pytest.raises(UserError, match=r"holds no group \(row 1, counted from 0\)"):
        fetch(tmp_path, f"--paths {tmp_path}/films.parquet --group film")


def test_groups_go_where_the_seed_says(tmp_path):
    frame = films(400, 1)
    groups = pd.factorize(frame["film"])[0]
    labels = frame["label"].to_numpy()
    first, again, other = (divide_groups(labels, groups, [300, 60], s) for s in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])


def missing(labels: np.ndarray, rows: np.ndarray, wanted: int) -> tuple[float, float]:
    """By how much a part misses its size, as a share of it, and the shares of the classes."""
    classes = labels.max() + 1
    of_all, own = (np.bincount(x, minlength=classes) / len(x) for x in (labels, labels[rows]))
    return abs(len(rows) - wanted) / wanted, np.abs(own - of_all).max()


CASES = {
    "films": lambda noise: (noise.integers(1, 31, 400), noise.beta(1, 1, 400)),
    "a few authors": lambda noise: (noise.integers(20, 80, 30), noise.beta(2, 2, 30)),
    "one class each": lambda noise: (noise.integers(1, 20, 300), noise.integers(0, 2, 300)),
    "a rare class": lambda noise: (noise.integers(1, 20, 400), noise.beta(0.2, 4, 400)),
    "a few large": lambda noise: (
        np.minimum(1 + 3 * noise.pareto(1.2, 500), 400).astype(int),
        noise.beta(0.5, 0.5, 500),
    ),
}


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize("case", CASES)
def test_sizes_and_classes_are_missed_by_no_more_than_by_scikit_learn(case):
    ours, theirs = [], []
    for seed in range(3):
        noise = np.random.default_rng(seed)
        sizes, liked = CASES[case](noise)
        groups = np.repeat(np.arange(len(sizes)), sizes)
        labels = (noise.random(len(groups)) < np.repeat(liked, sizes)).astype(int)
        tenth = round(len(labels) / 10)
        wanted = [len(labels) - 2 * tenth, tenth, tenth]
        folds = StratifiedGroupKFold(10, shuffle=True, random_state=seed)
        valid, test, *train = (part for _, part in folds.split(labels, labels, groups))
        for found, parts in (
            (ours, divide_groups(labels, groups, wanted, seed)),
            (theirs, [np.concatenate(train), valid, test]),
        ):
            assert not set(groups[parts[0]]) & set(groups[parts[1]])
            found.append([missing(labels, *each) for each in zip(parts, wanted, strict=True)])
    missed, at_most = np.mean(ours, axis=(0, 1)), np.mean(theirs, axis=(0, 1))
    assert (missed <= np.maximum(at_most, 1 / tenth)).all()  # which is a review


def test_large_groups_are_no_matter_of_training_alone():
    noise = np.random.default_rng(0)
    sizes = noise.integers(1, 31, 2000)
    groups = np.repeat(np.arange(2000), sizes)
    parts = divide_groups(groups % 2, groups, [len(groups) * 8 // 10, len(groups) // 10], 0)
    for rows in parts:
        assert np.bincount(groups[rows])[np.unique(groups[rows])].mean() == pytest.approx(15.5, 0.1)


def test_a_hundred_thousand_groups_take_seconds():
    noise = np.random.default_rng(0)
    groups = np.repeat(np.arange(100_000), noise.integers(1, 6, 100_000))
    begun = time.process_time()
    divide_groups(noise.integers(0, 3, len(groups)), groups, [200_000, 20_000], 1)
    assert time.process_time() - begun < 20  # 2 where nothing else runs


def test_few_groups_leave_no_split_empty_and_no_class_out():
    labels = np.tile([0, 1], 30)
    parts = divide_groups(labels, np.repeat([0, 1, 2], 20), [48, 6, 6], 1)
    assert [len(rows) for rows in parts] == [20, 20, 20]
    groups = np.repeat(np.arange(12), 5)
    rare = np.zeros(60, int)
    rare[[0, 5, 10]] = 1  # in three groups
    for seed in range(5):
        parts = divide_groups(rare, groups, [48, 6, 6], seed)
        assert [rare[rows].sum() for rows in parts] == [1, 1, 1]


@pytest.mark.parametrize("form", [as_paths, as_column])
def test_of_a_given_division_a_group_stays_with_its_test(tmp_path, form):
    frames = {name: made_up(60, seed) for seed, name in enumerate(NAMES)}
    frames["train"]["film"] = [f"{number // 6}" for number in range(60)]  # 0 to 9
    frames["valid"]["film"] = [f"{8 + number // 6}" for number in range(60)]  # 8 to 17
    frames["test"]["film"] = [f"{17 + number // 6}" for number in range(60)]  # 17 to 26
    frames["test"].loc[59, "film"] = "0"
    reviews, about = fetch(tmp_path, f"{form(tmp_path, frames)} --group film")
    parts, told = divide(tmp_path)
    assert about["dropped"]["group_in_another_split"] == 6 + 12 + 6  # 0; 8 and 9; 17
    assert parts["test"]["text"].tolist() == frames["test"]["text"].tolist()
    assert set(parts["train"]["group"]) == {str(number) for number in range(1, 8)}
    assert set(parts["valid"]["group"]) == {str(number) for number in range(8, 17)}
    assert told["train"]["groups"] == 7 and "missed" not in told["train"]
    assert set(reviews["split"]) == set(NAMES)


def test_a_validation_split_that_is_drawn_keeps_groups_whole(tmp_path):
    frames = {"train": films(600, 1), "test": made_up(50, 9, film="of the test")}
    fetch(tmp_path, f"{as_paths(tmp_path, frames)} --group film")
    parts, told = divide(tmp_path, "--valid 0.2")
    assert not set(parts["train"]["group"]) & set(parts["valid"]["group"])
    assert len(parts["train"]) + len(parts["valid"]) == 600
    assert abs(len(parts["valid"]) - 120) <= 2 and told["valid"]["wanted"]["reviews"] == 120
    assert "wanted" not in told["test"] and told["test"]["groups"] == 1


def test_groups_of_numbers_are_the_same_in_all_files(tmp_path):
    frames = {"a.csv": made_up(40, 1, film=np.arange(40) % 5)}
    frames["b.csv"] = made_up(40, 2, film=(np.arange(40) % 5).astype(float))
    for name, frame in frames.items():
        frame.to_csv(tmp_path / name, index=False)
    reviews, _ = fetch(tmp_path, f"--paths {tmp_path}/a.csv {tmp_path}/b.csv --group film")
    assert set(reviews["group"]) == set("01234")


# refusals


def with_cell(name: str, row: int, column: str, value: Any) -> dict[str, pd.DataFrame]:
    frames = {key: made_up(30, seed, film="f" + key) for seed, key in enumerate(NAMES)}
    frames[name] = frames[name].astype({column: object})
    frames[name].loc[row, column] = value
    return frames


REFUSED: dict[str, tuple[Any, str, str]] = {
    "a group that is missing": (
        lambda: with_cell("valid", 4, "film", None),
        "--group film",
        r"column 'film' of .*valid=1.csv holds no group \(row 34, counted from 0\); give each",
    ),
    "a group of blanks": (
        lambda: with_cell("test", 0, "film", " "),
        "--group film",
        r"holds no group \(row 60,",
    ),
    "a column of groups that is not there": (
        halves,
        "--group film",
        "has no column 'film'; it has",
    ),
    "training that is all in the test": (
        lambda: {"train": halves()["test"], "test": halves()["test"]},
        "",
        "no review left after cleaning in the split 'train'; look at",
    ),
    "a limit": (
        halves,
        "--limit 20",
        "'dataset.limit' does not go with .*paths.*; use split.sizes",
    ),
    "two divisions": (halves, "--column part", "both give a division; give one"),
    "two forms": (halves, "--paths a.csv", "--paths and --paths-train are two forms; give one"),
    "no test": (lambda: {"train": made_up(9, 1)}, "", "config key 'paths.test' is missing"),
}
REFUSED_SPLITS: dict[str, tuple[Any, str, str]] = {
    "a class that a split lacks": (
        lambda: halves() | {"valid": made_up(30, 8).assign(label=1)},
        "",
        "the split 'valid' has no review of class 0, which each split needs",
    ),
    "ratios": (halves, "--ratios 8 1 1", "brings its division: use split.sizes in place of"),
    "a share of validation": (planted, "--valid 0.2", "brings a validation split: leave out"),
    "sizes": (halves, "--sizes 300 50 101", "100 reviews are too few .* given split 'test'"),
    "both": (halves, "--sizes 300 50 90 --valid 0.1", "holds both of valid, sizes; give one"),
    "too small a share": (halves, "--valid 0.001", "too few to take 0.001 .*change split.valid"),
}


@pytest.mark.parametrize("case", [*REFUSED, *REFUSED_SPLITS])
def test_what_contradicts_a_given_division_is_refused(tmp_path, capfd, case):
    frames, flags, message = (REFUSED | REFUSED_SPLITS)[case]
    line = f"download.py files {as_paths(tmp_path, frames())} --out {tmp_path}/out"
    of_splits = f"split.py --reviews {tmp_path}/out/reviews.parquet --out {tmp_path}/splits"
    of_splits += f" --counts {tmp_path}/splits.json"
    if case in REFUSED:
        said = refusal(f"{line} {flags}", capfd)
        assert not (tmp_path / "out" / "reviews.parquet").exists()
    else:
        call(download, line.removeprefix("download.py "))
        said = refusal(f"{of_splits} {flags}", capfd)
        assert not (tmp_path / "splits.json").exists()
    assert is_one_line(said) and re.search(message, said), said


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            ["train", "test", "unlabelled"],
            r"'part' of .* the split 'unlabelled' \(row 2, .*; allo",
        ),
        (["train", "test", None], r"holds the split ('nan'|''|None) \(row 2, counted from 0\)"),
        (["train", "valid", "dev"], "has no review in the split 'test'; look at"),
        (["valid", "test", "test"], "has no review in the split 'train'"),
    ],
)
def test_cells_that_name_no_split_are_refused(tmp_path, capfd, parts, message):
    made_up(30, 1, part=parts * 10).to_csv(tmp_path / "a.csv", index=False)
    flags = f"--paths {tmp_path}/a.csv --column part --out {tmp_path}/out"
    said = refusal(f"download.py files {flags}", capfd)
    assert is_one_line(said) and re.search(message, said), said


@pytest.mark.parametrize(
    ("film", "message"),
    [
        (
            ["a", "b"] * 20,
            "too few groups for 3 splits: 2; leave out split.group, or name",
        ),
        ([*"ab"] + [*"cdefghij"] * 4 + [*"ccdddd"], r"split '\w+' has no review of class 1, which"),
    ],
)
def test_groups_that_do_not_make_three_splits_are_refused(tmp_path, capfd, film, message):
    frame = made_up(40, 1, film=film).assign(label=lambda x: x["film"].isin(["a", "b"]).astype(int))
    if "few groups" in message:
        frame["label"] = np.arange(40) // 2 % 2
    frame.to_csv(tmp_path / "a.csv", index=False)
    fetch(tmp_path, f"--paths {tmp_path}/a.csv --group film")
    said = refusal(
        f"split.py --reviews {tmp_path}/out/reviews.parquet --out {tmp_path}/splits "
        f"--counts {tmp_path}/splits.json",
        capfd,
    )
    assert is_one_line(said) and re.search(message, said), said


# the page


def part(reviews: int, **others: Any) -> dict[str, Any]:
    return {"reviews": reviews, "classes": [reviews - 1, 1]} | others


WHOLE = {"train": part(80), "valid": part(10), "test": part(10), "seed": 7}
MISSED = {"missed": {"reviews": -3, "class_share": 0.0123}}
FACTS = {
    "train 80, valid 10, test 10; stratified, seed 7": WHOLE,
    "train 80, valid 10, test 10; train, valid and test given by the dataset": WHOLE
    | {"given": list(NAMES)},
    "train 80, valid 10, test 10; train and test given by the dataset; valid drawn from train, "
    "stratified, seed 7": WHOLE | {"given": ["train", "test"]},
    "train 80, valid 10, test 5; train, valid and test given by the dataset, sampled to these "
    "sizes; stratified, seed 7": WHOLE | {"given": list(NAMES), "test": part(5)},
    "train 80, valid 10, test 10; by whole groups, seed 7, missing sizes by 3 reviews at most and "
    "class shares by 1.2 points at most; groups of film\\*: train 9, valid 2, test 1": {
        "train": part(80, groups=9, **MISSED),
        "valid": part(10, groups=2, missed={"reviews": 2, "class_share": 0.0}),
        "test": part(10, groups=1, missed={"reviews": 1, "class_share": 0.001}),
        "seed": 7,
    },
}


@pytest.mark.parametrize("fact", FACTS)
def test_the_page_tells_how_reviews_were_divided(fact):
    reviews = {"reviews": 100, "settings": {"group": "film*"}}
    assert division_fact(reviews, FACTS[fact], "reviews") == fact
