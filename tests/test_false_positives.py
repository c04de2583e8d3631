"""Made-up studies without true differences: how often the page claims one."""

import numpy as np
import pytest

import false_positives
from false_positives import BY_MODEL, TOGETHER, Scenario

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", false_positives.STUDIES)
@pytest.mark.parametrize(
    ("scenario", "most"),
    [
        (Scenario(0.5), 0.075),
        (Scenario(2, unequal=True), 0.1),
        (Scenario(2, TOGETHER), 0.1),
        (Scenario(2, BY_MODEL), 0.09),
    ],
    ids=str,
)
def test_few_pages_claim_what_is_not_so(name, scenario, most):
    row = false_positives.Row(false_positives.read_study(name), scenario, 400)
    found = false_positives.judge_many(row, "")
    assert found["false"].mean() < most and found["missed"].mean() < most
    assert found["false"].mean() > 0.005  # else nothing would ever be found


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
@pytest.mark.parametrize("share", [0.8, 0.95])
def test_unequal_classes_leave_the_level_as_it_is(metric, share):
    scenario = Scenario(0.5, metric=metric, share=share)
    row = false_positives.Row(false_positives.read_study("imdb.yaml"), scenario, 400)
    found = false_positives.judge_many(row, "")
    assert found["false"].mean() < 0.085 and found["missed"].mean() < 0.085
    assert found["false"].mean() > 0.005


def test_made_up_metrics_are_those_of_their_made_up_answers():
    study = false_positives.two_settings(3)
    big = false_positives.STUDIES["imdb.yaml"]._replace(test=500_000)
    for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
        scenario = Scenario(0, metric=metric, share=0.8)
        row = false_positives.Row(study._replace(name="big"), scenario, 1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(false_positives.STUDIES, "big", big)
            answers = false_positives.make_up(row, "", np.random.default_rng(1))
        truth = scenario.truth((big.accuracy, big.accuracy), big.accuracy)
        for values in answers.values():
            assert values.mean() == pytest.approx(truth, abs=0.003)


def test_a_true_difference_is_found():
    row = false_positives.Row(false_positives.read_study("imdb.yaml"), Scenario(0.5), 40)
    found = false_positives.judge_many(row, "modernbert")
    assert found["found"].mean() > 0.9


def test_choosing_rates_gains_over_an_untuned_baseline():
    study = false_positives.read_study("imdb.yaml")
    row = false_positives.Row(study, Scenario(2, chosen=True), 60)
    gains = false_positives.judge_many(row, "")["gained"]
    fixed = false_positives.judge_many(row._replace(scenario=Scenario(2)), "")["gained"]
    assert 0.004 < gains.mean() < 0.013 and abs(fixed.mean()) < 0.003


@pytest.mark.parametrize("alike", false_positives.GROUPS[:3], ids=lambda alike: alike.name)
def test_errors_clustered_by_groups_hold_their_level(alike):
    two = false_positives.two_settings(10)._replace(baselines=["TF-IDF, a", "TF-IDF, b"])
    found = false_positives.cluster((alike, two, 400))
    clustered, unclustered = (
        found[name].str.rstrip("%").astype(float) for name in ("clustered", "unclustered")
    )
    assert clustered.between(1, 9).all() and (unclustered > clustered + 1).all()


def test_of_three_seeds_the_multi_bootstrap_errs_more_often():
    found = false_positives.compare((3, 2.0, 400))
    bootstrap, own = (float(found[name].rstrip("%")) for name in ("multi-bootstrap", "this test"))
    assert bootstrap > 10 > own
