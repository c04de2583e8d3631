"""What the plan tells of a dataset before any job: wrong columns, labels and sizes."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from workspace import Workspace

from lib.command.console import UserError
from lib.data import preview
from lib.study.config import check_section

ROWS = pd.DataFrame(
    {
        "text": [f"film {number}" for number in range(40)],
        "label": ["bad", "good"] * 20,
        "stars": [1, 5] * 20,
        "site": ["a"] * 30 + ["b"] * 10,
        "part": ["Train"] * 20 + ["dev"] * 10 + ["test"] * 10,
        "film": [f"f{number // 20}" for number in range(40)],
    }
)
SPLIT = {"sizes": [20, 10, 10], "seed": 1}


@pytest.fixture(params=["csv", "jsonl", "parquet"])
def file(request, tmp_path) -> Path:
    path = tmp_path / f"mine.{request.param}"
    if request.param == "csv":
        ROWS.to_csv(path, index=False)
    elif request.param == "jsonl":
        ROWS.to_json(path, orient="records", lines=True)
    else:
        ROWS.to_parquet(path)
    return path


def dataset(path: Path, **changes: Any) -> dict[str, Any]:
    found = {"source": "files", "paths": [str(path)], "labels": ["bad", "good"], **changes}
    check_section("dataset_files", found)
    return found


REFUSED = {
    "text column": ({"text_column": "body"}, {}, "has no column 'body'; it has: text, label"),
    "label column": ({"label_column": "rating"}, {}, "has no column 'rating'"),
    "column of where": ({"where": {"shop": "a"}}, {}, "has no column 'shop'"),
    "label": ({"labels": ["bad", "fine"]}, {}, "holds the label 'good'.*allowed: bad, fine"),
    "names for numbers": ({"label_column": "stars"}, {}, r"holds the label '\d'"),
    "class": ({"labels": ["bad", "good", "fine"]}, {}, r"the reviews per class .* \[20, 20, 0\]"),
    "where": ({"where": {"site": "c"}}, {}, "there are no reviews"),
    "size": ({}, {"sizes": [30, 10, 10]}, "40 reviews are too few.*change split.sizes"),
    "size after where": ({"where": {"site": "a"}}, {}, "30 reviews are too few"),
    "size after limit": ({"limit": 20}, {}, "20 reviews are too few"),
    "limit": ({"limit": 2}, {}, "2 reviews are too few"),
    "column of groups": ({}, {"group": "author"}, "has no column 'author'"),
    "groups": ({}, {"group": "film"}, "too few groups for 3 splits: 2"),
    "column of splits": ({}, {"column": "half"}, "has no column 'half'"),
    "cell of a split": ({}, {"column": "site"}, r"the split 'a' \(row 0,.*allowed: train, train"),
    "empty split": ({"where": {"site": "a"}}, {"column": "part"}, "no review in the split 'test'"),
    "size of a split": ({}, {"column": "part", "sizes": [20, 10, 11]}, "10 .* 'test' are too few"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_jobs_would_refuse_is_refused(file, case):
    changes, split, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        preview.check(dataset(file, **changes), SPLIT | split, file.with_name("none.json"))


def test_what_jobs_would_take_is_taken(file):
    none = file.with_name("none.json")
    preview.check(dataset(file), SPLIT, none)
    preview.check(dataset(file), {"ratios": [8, 1, 1], "seed": 0}, none)
    preview.check(dataset(file, where={"site": "a"}, limit=20), {"seed": 1}, none)
    preview.check(dataset(file), SPLIT | {"column": "part", "group": "film"}, none)
    hub = {"source": "hub", "id": "a/b", "text_column": "none"}
    preview.check(hub, SPLIT, none)  # no network at a plan


def test_a_share_for_a_validation_split_that_is_there_is_refused(file):
    with pytest.raises(UserError, match="brings a validation split: leave out"):
        preview.check(dataset(file), {"column": "part", "valid": 0.1}, file.with_name("none.json"))


def test_files_of_splits_are_looked_at(file, tmp_path):
    paths = {"train": [str(file)], "test": [str(tmp_path / "other.csv")]}
    ROWS[:6].to_csv(tmp_path / "other.csv", index=False)
    settings = {"source": "files", "paths": paths, "labels": ["bad", "good"]}
    check_section("dataset_files", settings)
    none = file.with_name("none.json")
    preview.check(settings, {"seed": 1, "sizes": [30, 10, 6]}, none)
    for sizes, message in (
        ([30, 11, 6], "40 reviews of the split 'train' are too few for 41; change split.sizes"),
        ([30, 10, 7], "6 reviews of the split 'test' are too few for 7"),
    ):
        with pytest.raises(UserError, match=message):
            preview.check(settings, {"seed": 1, "sizes": sizes}, none)
    ROWS[:6].drop(columns="label").to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(UserError, match=r"other.csv' has no column 'label'"):
        preview.check(settings, {"seed": 1}, none)


def test_sizes_are_compared_with_what_is_left_of_each_split(file):
    described = file.with_name("reviews.json")
    settings = dataset(file)
    split = {"column": "part", "seed": 1}
    parts = {"train": {"classes": [9, 9]}, "test": {"classes": [4, 3]}}
    told = {"settings": settings | {"column": "part"}, "classes": [13, 12], "splits": parts}
    described.write_text(json.dumps(told))
    preview.check(settings, split | {"sizes": [14, 4, 7]}, described)
    preview.check(settings, split, described)
    with pytest.raises(UserError, match=r"7 reviews are too few .* given split 'test'"):
        preview.check(settings, split | {"sizes": [14, 4, 8]}, described)
    # Of other columns, the file tells.
    with pytest.raises(UserError, match="40 reviews are too few"):
        preview.check(settings, {"sizes": [20, 10, 11]}, described)
    with pytest.raises(UserError, match="20 reviews of the split 'train' are too few for 21"):
        preview.check(settings, split | {"group": "film", "sizes": [21, 10, 10]}, described)


def test_what_cleaning_leaves_is_not_told_before(file):
    """Of repeats of one text, which cleaning drops, a division has most, and no class too few."""
    rows = pd.DataFrame({"text": ["film"] * 5000 + [*"ab"] * 60, "label": [0] * 5000 + [0, 1] * 60})
    path = file.with_name("repeats.csv")
    rows.to_csv(path, index=False)
    settings = dataset(path)
    del settings["labels"]
    preview.check(settings, {"sizes": [60, 20, 20], "seed": 1}, file.with_name("none.json"))


def test_libraries_that_jobs_alone_have_are_left_to_them(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    preview.check(dataset(file, text_column="body"), SPLIT, file.with_name("none.json"))


def test_a_package_that_jobs_alone_may_have_is_left_to_them(file):
    package = {"source": "package", "package": "none", "version": "1", "file": "none.csv"}
    check_section("dataset_package", package)
    preview.check(package, SPLIT, file.with_name("none.json"))


def test_large_files_are_left_to_the_job(file, monkeypatch):
    monkeypatch.setattr(preview, "LARGEST", 10)
    preview.check(dataset(file, text_column="body"), SPLIT, file.with_name("none.json"))


def test_sizes_are_compared_with_the_reviews_that_are_there(file):
    described = file.with_name("reviews.json")
    settings = dataset(file)
    described.write_text(json.dumps({"settings": settings, "classes": [12, 12]}))
    with pytest.raises(UserError, match="24 reviews are too few for samples of"):
        preview.check(settings, SPLIT, described)
    preview.check(settings, {"sizes": [16, 4, 4], "seed": 1}, described)
    preview.check(settings | {"limit": 39}, {"sizes": [16, 4, 4], "seed": 1}, described)
    with pytest.raises(UserError, match="holds the label"):  # of other settings, the file tells
        preview.check(settings | {"labels": ["bad", "fine"]}, SPLIT, described)


def test_a_plan_is_refused_in_one_line(python, tmp_path):
    workspace = Workspace(tmp_path)
    ROWS.assign(text="a").to_csv(tmp_path / "mine.csv", index=False)
    mine = {"name": "mine", "source": "files", "paths": ["mine.csv"], "text_column": "body"}
    workspace.write_config("study.yaml", lambda config: config.update(dataset=mine))
    done = workspace.snakemake(python, "-n", "--configfile=study.yaml")
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode == 1 and line.startswith(
        "error: config key 'dataset': 'mine.csv' has no"
    )
