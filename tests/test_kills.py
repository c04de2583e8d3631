"""A study whose processes are killed at random ends as an undisturbed one."""

import pytest
from kills import Attempt, kill_until_complete, study_in
from same import differing, left_over

KILLS, SEED = 6, 7

pytestmark = pytest.mark.slow


def test_a_study_survives_the_death_of_its_processes(tmp_path):
    undisturbed = study_in(tmp_path / "undisturbed")
    assert Attempt(undisturbed).process.wait() == 0, undisturbed.read("output.txt")
    killed = kill_until_complete(tmp_path / "killed", KILLS, SEED)
    assert killed.total() >= KILLS
    assert not differing(undisturbed.folder / "results", tmp_path / "killed" / "results")
    assert not left_over(tmp_path / "killed" / "results")


def test_a_difference_would_be_seen(tmp_path):
    for name, text in (
        ("one", "epoch,loss,seconds\n1,0.5,2\n"),
        ("other", "epoch,loss,seconds\n1,0.5,3\n"),
    ):
        path = tmp_path / name / "runs" / "history.csv"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert not differing(tmp_path / "one", tmp_path / "other")
    (tmp_path / "one/runs/history.csv").write_text("epoch,loss,seconds\n1,0.6,2\n")
    (tmp_path / "other/runs/new.bin").write_bytes(b"")
    assert differing(tmp_path / "one", tmp_path / "other") == ["runs/history.csv", "runs/new.bin"]
