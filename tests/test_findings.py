"""Findings of made-up studies: what is truly there is found, and nothing else is claimed."""

import numpy as np
import pytest
from made_up import MadeUp, right_or_wrong
from scipy.stats import binomtest

from lib.command.formats import points

N = 2000


def answers(findings, question: str) -> list[tuple[str, str]]:
    found = findings[findings["question"].str.startswith(question)]
    return list(zip(found["verdict"], found["answer"], strict=True))


def add_seeds(study: MadeUp, accuracy: float, *keys, seeds=(1, 2, 3), draw=0, **quirks) -> None:
    """Runs of one condition whose right answers are drawn anew with each seed."""
    for seed in seeds:
        study.add(right_or_wrong(N, accuracy, 100 * draw + seed), *keys, seed, **quirks)


def test_a_better_model_is_found_with_its_evidence(tmp_path):
    study = MadeUp(tmp_path, N)
    add_seeds(study, 0.85, "a", "cls", 64, "base", draw=1)
    add_seeds(study, 0.90, "b", "cls", 64, "base", draw=2)
    findings = study.analyse()
    ((verdict, answer),) = answers(findings, "Which encoder")
    row = findings.iloc[0]
    runs = study.read("runs").groupby("model")["accuracy"].mean()
    gain = runs["b"] - runs["a"]
    assert row["difference"] == pytest.approx(gain) and row["low"] < gain < row["high"]
    assert (row["n"], row["seeds"], row["settings"]) == (N, 3, 1)
    assert verdict == "difference shown"
    assert answer.startswith(f"b over a: {points(gain)} points (+")
    assert answer.endswith("mean of 1 setting, 3 seeds, 2,000 reviews).")


def test_a_better_first_model_is_named_first(tmp_path):
    study = MadeUp(tmp_path, N)
    add_seeds(study, 0.95, "a", "cls", 64, "base", draw=1)
    add_seeds(study, 0.85, "b", "cls", 64, "base", draw=2)
    ((verdict, answer),) = answers(study.analyse(), "Which encoder")
    assert verdict == "difference shown"
    assert answer.startswith("a over b: +") and "-" not in answer


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_fewer_than_three_seeds_have_no_verdict(tmp_path, seeds):
    study = MadeUp(tmp_path, N)
    for seed in seeds:
        weak = right_or_wrong(N, 0.7, seed)
        study.add(weak, "a", "cls", 64, "base", seed)
        study.add(weak | right_or_wrong(N, 0.5, 9 + seed), "b", "cls", 64, "base", seed)
    findings = study.analyse()
    ((verdict, answer),) = answers(findings, "Which encoder")
    assert verdict == "on these runs alone" and "Nothing is said of other seeds" in answer
    assert findings[["p_holm", "p_alike_holm", "detectable"]].isna().all(axis=None)
    single = [binomtest(0, int(n)).pvalue for n in study.read("comparisons")["only_second"]]
    assert findings["p"][0] == pytest.approx(len(seeds) * min(single), abs=0)


def test_seeds_that_disagree_decide_nothing(tmp_path):
    study = MadeUp(tmp_path, N)
    for seed, better in ((1, "a"), (2, "b"), (3, "b")):
        for model in "ab":
            accuracy = 0.9 if model == better else 0.85
            study.add(right_or_wrong(N, accuracy, seed), model, "cls", 64, "base", seed)
    findings = study.analyse()
    ((verdict, answer),) = answers(findings, "Which encoder")
    assert verdict == "undecided"
    sign = "a over b: +" if findings["difference"][0] < 0 else "b over a: +"
    assert answer.startswith(f"a and b: undecided. {sign}")
    seeds = findings["seeds_to_halve"][0]
    assert f"points would be found; half of that with {seeds:.0f} seeds" in answer


def test_equal_models_are_alike_within_a_wide_margin(tmp_path):
    study = MadeUp(tmp_path, N)
    add_seeds(study, 0.85, "a", "cls", 64, "base", draw=1)
    add_seeds(study, 0.85, "b", "cls", 64, "base", draw=2)
    findings = study.analyse(margin=5)
    ((verdict, answer),) = answers(findings, "Which encoder")
    assert verdict == "alike within the margin"
    assert answer.startswith("a and b are alike within 5 points")
    assert -0.05 <= findings["low"][0] <= findings["high"][0] <= 0.05


def test_a_small_difference_may_be_shown_within_the_margin(tmp_path):
    study = MadeUp(tmp_path, N)
    for seed in (1, 2, 3):
        right = np.arange(N) < 1600 + seed
        study.add(right, "a", "cls", 64, "base", seed)
        study.add(np.arange(N) < 1640 + seed, "b", "cls", 64, "base", seed)
    ((verdict, answer),) = answers(study.analyse(margin=5), "Which encoder")
    assert verdict == "difference shown" and answer.endswith("That is within 5 points.")


def test_poolings_batches_and_padding(tmp_path):
    study = MadeUp(tmp_path, N)
    add_seeds(study, 0.75, "a", "padded-mean", 64, "base", draw=1)
    add_seeds(study, 0.85, "a", "masked-mean", 64, "base", draw=2)
    add_seeds(study, 0.85, "a", "masked-mean", 256, "base", draw=3)
    findings = study.analyse()
    ((verdict, answer),) = answers(findings, "Does padding")
    assert verdict == "difference shown" and answer.startswith("masked-mean over padded-mean: +")
    assert answers(findings, "Does the pooling")[0][0] == "not asked"
    ((verdict, answer),) = answers(findings, "Which effective batch")
    assert verdict == "undecided" and answer.startswith("batch 64 and batch 256: undecided. batch ")
    ((verdict, answer),) = answers(findings, "Which encoder")
    assert (verdict, answer) == ("not asked", "no two runs differ in the encoder alone.")


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_identical_back_ends_are_said_to_be_identical(tmp_path, seeds):
    variants = {"spread": {"backend": "accelerate"}}
    study = MadeUp(tmp_path, N, variants=variants)
    for variant in ("base", "spread"):
        add_seeds(study, 0.8, "a", "cls", 64, variant, seeds=seeds)
    findings = study.analyse()
    ((verdict, answer),) = answers(findings, "Do torch and Accelerate")
    assert verdict == "identical" and "the same label for each of 2,000 reviews" in answer
    assert findings[["p", "p_holm", "low", "high"]].isna().all(axis=None)


def test_back_ends_that_differ_are_judged(tmp_path):
    study = MadeUp(tmp_path, N, variants={"spread": {"backend": "accelerate"}})
    add_seeds(study, 0.8, "a", "cls", 64, "base", draw=1)
    add_seeds(study, 0.8, "a", "cls", 64, "spread", draw=2)
    findings = study.analyse()
    ((verdict, _),) = answers(findings, "Do torch and Accelerate")
    assert verdict == "undecided" and findings["agreement"][0] < 1


def test_scaled_learning_rates_are_told_by_what_variants_change(tmp_path):
    study = MadeUp(tmp_path, N, variants={"steep": {"lr_scaling": "sqrt"}})
    add_seeds(study, 0.8, "a", "cls", 1024, "base", draw=1)
    add_seeds(study, 0.9, "a", "cls", 1024, "steep", draw=2)
    ((verdict, answer),) = answers(study.analyse(), "Does scaling")
    assert verdict == "difference shown" and answer.startswith("steep over base: +")


def test_all_verdicts_of_a_page_are_one_family(tmp_path):
    study = MadeUp(tmp_path, N)
    for draw, model in enumerate("abc"):
        add_seeds(study, 0.8 + 0.1 * (model == "c"), model, "cls", 64, "base", draw=draw)
    add_seeds(study, 0.8, "a", "max", 64, "base", draw=4)
    study.add_baseline(right_or_wrong(N, 0.8, 7))
    contrasts = study.analyse().dropna(subset="p_holm")
    assert len(contrasts) == 3 + 3 + 1
    first = contrasts.sort_values("p").iloc[0]
    assert first["p_holm"] == pytest.approx(7 * first["p"])
    alike = contrasts.sort_values("p_alike").iloc[0]
    assert alike["p_alike_holm"] == pytest.approx(min(1, 7 * alike["p_alike"]))


@pytest.mark.parametrize("name", ["TF-IDF", "TF-IDF-bert", "tf-idf", "a_b.c"])
def test_a_model_may_have_any_name(tmp_path, name):
    study = MadeUp(tmp_path, N)
    add_seeds(study, 0.8, name, "cls", 64, "base")
    study.add_baseline(right_or_wrong(N, 0.8, 2), f"seen-by-{name}")
    findings = study.analyse()
    assert answers(findings, "Which encoder")[0][0] == "not asked"
    ((_, answer),) = answers(findings, "Does an encoder beat")
    assert f"TF-IDF, 128 tokens of {name}" in answer


def test_a_run_at_the_majority_is_named_and_not_compared(tmp_path):
    study = MadeUp(tmp_path, N)
    add_seeds(study, 0.8, "a", "cls", 64, "base")
    add_seeds(study, 0.8, "b", "cls", 64, "base", seeds=(1,), answer=1)
    findings = study.analyse()
    ((_, answer),) = answers(findings, "Did any run fail")
    assert answer.startswith("1 of 4 runs (validation predictions against the same ones in any or")
    assert "b, cls, batch 64: seed 1 (p = 1.000)" in answer
    ((verdict, answer),) = answers(findings, "Which encoder")
    assert verdict == "nothing to compare" and "no two runs that learned differ" in answer


def test_a_baseline_is_compared_whatever_its_validation_shows(tmp_path):
    study = MadeUp(tmp_path, N)
    add_seeds(study, 0.8, "a", "cls", 64, "base")
    study.add_baseline(right_or_wrong(N, 0.5, 2), chance_p=0.5)
    ((verdict, _),) = answers(study.analyse(), "Does an encoder beat")
    assert verdict == "difference shown"
    assert study.read("measures")["learned"].all()


def test_a_verdict_by_the_variance_of_others_is_marked(tmp_path):
    """The seeds of one of two poolings deviate by 4 points, those of six other settings hardly."""
    study = MadeUp(tmp_path, N)
    for batch in (8, 16, 32, 64, 128, 256):
        for seed in (1, 2, 3):
            study.add(np.arange(N) < 1600 + seed, "a", "cls", batch, "base", seed)
    for seed, right in ((1, 1860), (2, 1700), (3, 1780)):
        study.add(np.arange(N) < right, "a", "max", 64, "base", seed)
    study.add_baseline(np.arange(N) < 1000)
    findings = study.analyse().dropna(subset="p_holm").set_index("question")
    marked = findings["rests_on_others"].eq(True)
    assert marked.any() and not marked.all()
    for row in findings[marked].itertuples():
        assert row.verdict != "undecided"
        assert row.answer.endswith("This rests on the variance of other settings.")
    assert not findings[~marked]["answer"].str.contains("variance of other").any()
    page = study.page()
    assert (
        page.count("difference shown ‡")
        == (findings["verdict"][marked] == "difference shown").sum()
    )
    assert "‡ rests on the variance of other settings" in page


def test_a_run_that_diverged_is_named_whatever_its_best_epoch_reached(tmp_path):
    study = MadeUp(tmp_path)
    study.add(right_or_wrong(400, 0.8, 1), "a", "cls", 64, "base", 42, valid=0.9, diverged=True)
    ((_, answer),) = answers(study.analyse(), "Did any run fail")
    assert answer.startswith("1 of 1 run") and "seed 42 (diverged)" in answer
    assert study.read("runs")["diverged"].tolist() == [True]
    assert "variant=base seed=42 (diverged)" in study.page()


def test_the_test_split_has_no_say_in_who_learned(tmp_path):
    study = MadeUp(tmp_path, N)
    add_seeds(study, 0.5, "unlucky", "cls", 64, "base", draw=1, valid=0.8)
    add_seeds(study, 0.8, "lucky", "cls", 64, "base", draw=2, valid=0.5)
    ((_, answer),) = answers(study.analyse(), "Did any run fail")
    assert "unlucky" not in answer and answer.count("lucky") == 1
    assert study.read("measures").set_index("model")["learned"].to_dict() == {
        "unlucky": True,
        "lucky": False,
    }


def test_seeds_that_did_not_learn_leave_the_others_to_speak(tmp_path):
    study = MadeUp(tmp_path, N)
    add_seeds(study, 0.8, "a", "cls", 64, "base", seeds=(1, 2, 3, 4), draw=1)
    add_seeds(study, 0.9, "b", "cls", 64, "base", seeds=(1, 2, 4), draw=2)
    add_seeds(study, 0.9, "b", "cls", 64, "base", seeds=(3,), answer=0)
    findings = study.analyse()
    ((verdict, answer),) = answers(findings, "Which encoder")
    assert verdict == "difference shown" and "3 seeds" in answer


def test_a_page_on_which_nothing_failed_says_so(tmp_path):
    study = MadeUp(tmp_path)
    study.add(right_or_wrong(400, 0.8, 1), "a", "cls", 64, "base", 42)
    ((_, answer),) = answers(study.analyse(), "Did any run fail")
    assert answer.startswith(
        "None of 1 run (validation predictions against the same ones in any or"
    )


def test_the_cheapest_and_the_best_are_those_of_validation(tmp_path):
    study = MadeUp(tmp_path, N)
    study.add(right_or_wrong(N, 0.7, 1), "a", "cls", 64, "base", 1, valid=0.9, seconds=10)
    study.add(right_or_wrong(N, 0.9, 2), "a", "max", 64, "base", 1, valid=0.7, seconds=30)
    study.add(right_or_wrong(N, 0.9, 3), "a", "padded-mean", 64, "base", 1, valid=0.5, seconds=1)
    ((_, answer),) = answers(study.analyse(), "What does accuracy cost")
    assert "cls, batch 64, best in validation, took 10 s" in answer
    assert answer.startswith("a: 20 s of training per run")  # of those that learned


def test_ratios_of_seconds_are_above_one(tmp_path):
    study = MadeUp(tmp_path, N)
    study.add(right_or_wrong(N, 0.7, 1), "large", "cls", 64, "base", 1, seconds=500)
    study.add(right_or_wrong(N, 0.7, 2), "small", "cls", 64, "base", 1, seconds=10)
    found = [answer for _, answer in answers(study.analyse(), "What does accuracy cost")]
    assert "large takes 50.00 times the seconds of small (1 equal condition)." in found


def test_every_question_is_answered_for_the_smallest_study(tmp_path):
    study = MadeUp(tmp_path)
    study.add(np.ones(400, bool), "a", "cls", 64, "base", 42)
    findings = study.analyse()
    assert findings["question"].nunique() == 11
    assert findings["answer"].str.len().min() > 10
