"""A great many reviews: made up, cleaned, and held in bounded memory."""

import json
import subprocess

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, call

import download
import large_data

REVIEWS, CHARACTERS = 40_000, 2000  # whose memory is measured
HELD = """
import sys, pyarrow, download, split
from lib.data import streaming
streaming.ROWS, streaming.ROW_GROUP, streaming.BLOCK = 256, 1 << 21, 1 << 18
for command, line in zip((download, split), sys.argv[1:]):
    command.main(command.arguments().parse_args(line.split()))
print(pyarrow.default_memory_pool().max_memory())
"""


def test_what_is_planted_is_found_and_nothing_else(tmp_path):
    bounds = {"first": range(700), "second": range(700, 1500)}
    for name, rows in bounds.items():
        large_data.write_reviews(tmp_path / f"{name}.parquet", rows)
    paths = f"{tmp_path}/first.parquet {tmp_path}/second.parquet"
    call(download, f"files --paths {paths} --out {tmp_path}")
    about = json.loads((tmp_path / "reviews.json").read_text())
    planted = {"duplicates": 30, "near_duplicates": 30, "conflicting_labels": 6, "empty": 3}
    assert large_data.planted(1500) == planted
    assert about["dropped"] == planted | {"beyond_limit": 0}
    texts = pq.read_table(tmp_path / "reviews.parquet", columns=["text"])["text"].to_pylist()
    assert 150 < np.mean([len(text.split()) for text in texts]) < 300


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_reviews_are_cleaned_and_split_in_less_memory_than_their_texts_take(python, tmp_path, kind):
    long = " and so on" * (CHARACTERS // 10)
    source, labels = tmp_path / f"mine.{kind}", [0, 1] * (REVIEWS // 2)
    table = pa.table({"text": [f"{n}{long}" for n in range(REVIEWS)], "label": labels})
    if kind == "parquet":
        pq.write_table(table, source)
    else:
        pa.csv.write_csv(table, source)
    lines = (
        f"files --paths {source} --near-duplicates 1 --out {tmp_path}",
        f"--reviews {tmp_path}/reviews.parquet --out {tmp_path} --counts {tmp_path}/splits.json",
    )
    done = subprocess.run(
        [python, "-c", HELD, *lines],
        env={"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 0.5 * table.nbytes
    assert pq.read_metadata(tmp_path / "train.parquet").num_rows == REVIEWS * 8 // 10


@pytest.mark.slow
def test_the_benchmark_writes_its_tables(tmp_path):
    large_data.run(2000, 64, 1, 500, 1, tmp_path)
    assert (tmp_path / "commands.csv").read_text().count("\n") == 6
    assert "| pretokenize " in (tmp_path / "large_data.md").read_text()
