"""What logs tell of seconds, and the table that adds them up."""

import pandas as pd
import pytest

from lib.analysis.costs import costs
from lib.command import timing

RUN = {"dataset": "d", "model": "m", "pooling": "cls", "batch": 64, "variant": "base", "seed": 1}
RUN |= {"settings.examples": "50", "settings.max_length": 64, "settings.truncation": "tail"}
RUN |= {"tested": True}


def test_a_log_tells_what_its_command_took(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "_parts", {})
    monkeypatch.setenv(timing.STARTED, str(timing.time.time() - 100))
    timing.record("training", 30.0)
    timing.record("training", 31.0)
    with timing.timed("prediction"):
        pass
    (tmp_path / "log").write_text(f"12:00:00 took 3 pills\n12:00:00 {timing.took()}\n")
    total, parts = timing.read_took(tmp_path / "log")
    assert total == pytest.approx(100, abs=1)
    assert parts == {"training": 61.0, "prediction": pytest.approx(0, abs=0.1)}


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("12:00:00 took 2.50 s\n", (2.5, {})),
        ("it went on\n12:00:00 took 5.00 s (training 4.00 s)\n", (5, {"training": 4})),
        ("12:00:00 it went on\n", None),
        ("", None),
    ],
)
def test_the_last_line_of_a_log_counts(tmp_path, log, expected):
    (tmp_path / "log").write_text(log)
    assert timing.read_took(tmp_path / "log") == expected


def test_no_log_tells_nothing(tmp_path):
    assert timing.read_took(tmp_path / "log") is None


def test_seconds_are_added_up_by_part(tmp_path):
    logs = tmp_path / "logs"
    seen = "dataset=d/text=seen-by"
    run = "dataset=d/model=m/pooling=cls/batch=64/variant=base/seed=1"
    for path, line in {
        "dataset=d/download.log": "took 1.00 s",
        "dataset=d/model=m/pretokenize.log": "took 2.00 s",
        "dataset=d/model=m/pooling=cls/max_length=64/truncation=tail/vectors.log": "took 6.00 s",
        "dataset=d/model=m/pooling=cls/max_length=32/truncation=tail/vectors.log": "took 1000.00 s",
        "dataset=d/model=m/pooling=max/max_length=64/truncation=tail/vectors.log": "took 1000.00 s",
        "dataset=d/model=another/pretokenize.log": "took 1000.00 s",
        "dataset=d/text=full/baseline.log": "took 3.00 s",
        f"{seen}-another/max_length=64/truncation=tail/baseline.log": "took 1000.00 s",
        f"{seen}-m/max_length=64/truncation=tail/baseline.log": "took 0.25 s",
        f"{seen}-m/max_length=64/truncation=tail/examples=50/seed=1/baseline.log": "took 0.25 s",
        f"{seen}-m/max_length=32/truncation=tail/baseline.log": "took 1000.00 s",
        f"{seen}-m/max_length=64/truncation=head/baseline.log": "took 1000.00 s",
        "dataset=d/text=full/examples=50/seed=1/baseline.log": "took 0.50 s",
        "dataset=d/text=full/examples=50/seed=2/baseline.log": "took 1000.00 s",
        "dataset=d/text=full/examples=60/seed=1/baseline.log": "took 1000.00 s",
        "dataset=d/split.log": "it failed",
        "estimate.log": "took 1000.00 s",
        "draw.log": "took 1000.00 s",
        "dataset=another/download.log": "took 1000.00 s",
        f"{run}/train.log": "took 10.00 s (training 7.00 s, prediction 1.00 s)",
        f"{run}/evaluate.log": "took 5.00 s (prediction 2.00 s)",
        f"{run.replace('seed=1', 'seed=2')}/train.log": "took 1000.00 s",
        f"{run.replace('seed=1', 'seed=3')}/train.log": "took 20.00 s (training 20.00 s)",
        f"{run.replace('seed=1', 'seed=3')}/evaluate.log": "took 1000.00 s (prediction 1000.00 s)",
    }.items():
        (logs / path).parent.mkdir(parents=True, exist_ok=True)
        (logs / path).write_text(f"12:00:00 {line}\n")
    runs = pd.DataFrame([RUN, RUN | {"seed": 3, "tested": False}])
    found = costs(runs, logs).set_index("part")
    assert found["jobs"].to_dict() == {
        "data and encoders": 1,
        "tokenizing": 1,
        "vectors of encoders that are not trained": 1,
        "start-up of training and test": 3,
        "training and validation": 2,
        "testing": 1,
        "baselines": 4,
    }
    assert found["seconds"].tolist() == [1, 2, 6, 5, 28, 2, 4]
    assert found["share"].tolist() == pytest.approx([x / 48 for x in (1, 2, 6, 5, 28, 2, 4)])
