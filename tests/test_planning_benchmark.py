"""The benchmark of plans and tables, at its smallest."""

import sys

import pytest

import planning


@pytest.mark.slow
def test_every_plan_and_table_is_measured(tmp_path):
    table = planning.benchmark(tmp_path, 40, 40, 40, reviews=50, repeats=1)
    assert len(table) == 9 and table["CPU seconds"].between(0.1, 60).all()


@pytest.mark.slow
def test_made_up_runs_of_a_large_study_are_collected_and_compared(tmp_path):
    study = planning.new_study(tmp_path / "study", planning.large(80))
    planning.make_up(study, 50)
    for command in (study.collecting(), study.analysing()):
        planning.seconds(command)
    tables = tmp_path / "study/results/tables"
    assert len((tables / "runs.csv").read_text().splitlines()) == 1 + 80
    pairs = 80 * (1 + 1 + 1 + 4) // 2 + 80 * 2  # those that differ in one key, and with baselines
    assert len((tables / "comparisons.csv").read_text().splitlines()) == 1 + pairs


def test_a_failed_command_is_told():
    with pytest.raises(RuntimeError, match="nowhere"):
        planning.seconds([sys.executable, "nowhere.py"])
