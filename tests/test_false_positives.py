"""Made-up studies without true differences: how often the page claims one."""

import pytest

import false_positives

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", false_positives.STUDIES)
@pytest.mark.parametrize(("points", "unequal", "most"), [(0.5, False, 0.075), (2.0, True, 0.1)])
def test_few_pages_claim_what_is_not_so(name, points, unequal, most):
    row = false_positives.Row(false_positives.read_study(name), points, unequal, 400)
    found = false_positives.judge_many(row, "")
    assert found["false"].mean() < most and found["missed"].mean() < most
    assert found["false"].mean() > 0.005  # else nothing would ever be found


def test_a_true_difference_is_found():
    row = false_positives.Row(false_positives.read_study("imdb.yaml"), 0.5, False, 40)
    found = false_positives.judge_many(row, "modernbert")
    assert found["found"].mean() > 0.9
