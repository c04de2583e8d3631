"""Findings of made-up studies: what is truly there is found, and nothing else is claimed."""

import numpy as np
import pytest
from made_up import MadeUp, right_or_wrong

from lib.formats import points

N = 2000


def answers(findings, question: str) -> list[tuple[str, str]]:
    found = findings[findings["question"].str.startswith(question)]
    return list(zip(found["verdict"], found["answer"], strict=True))


def test_a_better_model_is_found_with_its_evidence(tmp_path):
    study = MadeUp(tmp_path, N)
    weak = right_or_wrong(N, 0.85, 1)
    strong = weak | right_or_wrong(N, 0.2, 2)
    study.add(weak, "a", "cls", 64, "base", 42)
    study.add(strong, "b", "cls", 64, "base", 42)
    findings = study.analyse()
    ((verdict, answer),) = answers(findings, "Which encoder")
    row = findings.iloc[0]
    gain = strong.mean() - weak.mean()
    assert row["difference"] == pytest.approx(gain) and row["low"] < gain < row["high"]
    assert (row["n"], row["seeds"]) == (N, 1)
    assert verdict == "difference shown"
    assert f"b over a (cls, batch 64): {points(row['difference'])} points" in answer
    assert "Holm-corrected p < 0.001 (exact McNemar test), n = 2,000 reviews, 1 seed" in answer
    assert answer.endswith("One seed does not tell how another would come out.")


def test_a_better_first_model_is_named_first(tmp_path):
    study = MadeUp(tmp_path, N)
    strong = right_or_wrong(N, 0.95, 1)
    study.add(strong, "a", "cls", 64, "base", 42)
    study.add(strong & right_or_wrong(N, 0.9, 2), "b", "cls", 64, "base", 42)
    ((verdict, answer),) = answers(study.analyse(), "Which encoder")
    assert verdict == "difference shown"
    assert "a over b (cls, batch 64): +" in answer and "-" not in answer.split("interval")[1][:12]


def test_equal_models_are_rarely_told_apart(tmp_path):
    verdicts = []
    for i in range(40):
        study = MadeUp(tmp_path / str(i), 500)
        for j, model in enumerate("ab"):
            study.add(right_or_wrong(500, 0.85, 100 * i + j), model, "cls", 64, "base", 42)
        ((verdict, answer),) = answers(study.analyse(), "Which encoder")
        verdicts.append(verdict)
        if verdict == "no difference shown":
            assert "no difference shown in 1 comparison. The largest:" in answer
    assert verdicts.count("difference shown") <= 4  # of 40; 2 are expected


def test_seeds_speak_by_the_paired_t_test(tmp_path):
    study = MadeUp(tmp_path, N)
    for seed in (1, 2, 3):
        right = right_or_wrong(N, 0.85, seed)
        study.add(right, "a", "cls", 64, "base", seed)
        study.add(right | right_or_wrong(N, 0.2, 10 + seed), "b", "cls", 64, "base", seed)
    ((verdict, answer),) = answers(study.analyse(), "Which encoder")
    assert verdict == "difference shown"
    assert "(paired t-test over seeds), n = 2,000 reviews, 3 seeds" in answer
    assert "One seed" not in answer


def test_seeds_that_disagree_show_nothing(tmp_path):
    study = MadeUp(tmp_path, N)
    for seed, better in ((1, "a"), (2, "b"), (3, "b")):
        for model in "ab":
            accuracy = 0.9 if model == better else 0.85
            study.add(right_or_wrong(N, accuracy, seed), model, "cls", 64, "base", seed)
    ((verdict, _),) = answers(study.analyse(), "Which encoder")
    assert verdict == "no difference shown"


def test_poolings_batches_and_padding(tmp_path):
    study = MadeUp(tmp_path, N)
    padded = right_or_wrong(N, 0.8, 1)
    masked = padded | right_or_wrong(N, 0.3, 2)
    study.add(padded, "a", "mean", 64, "base", 42)
    study.add(masked, "a", "masked-mean", 64, "base", 42)
    study.add(masked, "a", "masked-mean", 256, "base", 42)
    findings = study.analyse()
    ((verdict, answer),) = answers(findings, "Does padding")
    assert verdict == "difference shown" and "masked-mean over mean (a, batch 64)" not in answer
    assert "masked-mean over mean (batch 64): +" in answer
    ((verdict, answer),) = answers(findings, "Does the pooling")
    assert answer == "a: mean and masked-mean alone, which the next question compares."
    ((verdict, answer),) = answers(findings, "Which effective batch")
    assert verdict == "no difference shown"
    assert "batch 256 and batch 64 alike (masked-mean): +0.0 points" in answer
    ((verdict, answer),) = answers(findings, "Which encoder")
    assert (verdict, answer) == ("not asked", "Not asked: the study has one encoder, a.")


def test_backends_and_scaled_learning_rates_are_told_by_what_variants_change(tmp_path):
    variants = {"spread": {"backend": "accelerate"}, "steep": {"lr_scaling": "sqrt"}}
    study = MadeUp(tmp_path, N, variants=variants)
    right = right_or_wrong(N, 0.8, 1)
    study.add(right, "a", "cls", 1024, "base", 42)
    study.add(right, "a", "cls", 1024, "spread", 42)
    study.add(right | right_or_wrong(N, 0.4, 2), "a", "cls", 1024, "steep", 42)
    findings = study.analyse()
    ((verdict, answer),) = answers(findings, "Do torch and Accelerate")
    assert verdict == "no difference shown"
    assert "spread and base alike" in answer and "at least 100.0% of the reviews alike" in answer
    ((verdict, answer),) = answers(findings, "Does scaling")
    assert verdict == "difference shown" and "steep over base (cls, batch 1024): +" in answer


def test_scaling_is_asked_of_large_batches_and_against_none(tmp_path):
    scales = {"steep": {"lr_scaling": "sqrt"}, "steeper": {"lr_scaling": "linear"}}
    study = MadeUp(tmp_path, N, variants=scales)
    right = right_or_wrong(N, 0.7, 1)
    study.add(right, "a", "cls", 8, "base", 42)
    study.add(right | right_or_wrong(N, 0.4, 2), "a", "cls", 8, "steep", 42)
    study.add(right, "a", "cls", 256, "steep", 42)
    study.add(right | right_or_wrong(N, 0.4, 3), "a", "cls", 256, "steeper", 42)
    ((verdict, _),) = answers(study.analyse(), "Does scaling")
    assert verdict == "not asked"


def test_pairs_do_not_depend_on_the_order_of_the_grid(tmp_path):
    study = MadeUp(tmp_path, N)
    for i, (model, batch, seed) in enumerate(
        [("a", 256, 1), ("b", 256, 1), ("b", 64, 2), ("a", 64, 2), ("b", 256, 2), ("a", 256, 2)]
    ):
        study.add(right_or_wrong(N, 0.8, i), model, "cls", batch, "base", seed)
    findings = study.analyse()
    ((_, answer),) = answers(findings, "Which encoder")
    assert "in 2 comparisons" in answer
    table = study.read("comparisons")
    assert set(zip(table["first"], table["second"], strict=True)) == {("a", "b"), ("64", "256")}
    assert len(study.read("comparisons_over_seeds")) == 1


def test_seeds_that_did_not_train_leave_the_others_to_speak(tmp_path):
    study = MadeUp(tmp_path, N)
    for seed in (1, 2, 3):
        right = right_or_wrong(N, 0.8, seed)
        study.add(right, "a", "cls", 64, "base", seed)
        failed = {"answer": 0} if seed == 3 else {}
        study.add(right | right_or_wrong(N, 0.3, 9 + seed), "b", "cls", 64, "base", seed, **failed)
    ((_, answer),) = answers(study.analyse(), "Which encoder")
    assert "1 comparison" in answer and answer.count("2 seeds") == 1


def test_equal_gains_are_not_tested(tmp_path):
    study = MadeUp(tmp_path, 500)
    for seed, right in ((1, 350), (2, 275)):
        study.add(np.arange(500) < right, "a", "cls", 64, "base", seed)
        study.add(np.arange(500) < right + 10, "b", "cls", 64, "base", seed)
    ((verdict, answer),) = answers(study.analyse(), "Which encoder")
    assert verdict == "no difference shown"
    assert "+2.0 points, the same with each seed, which leaves nothing to test" in answer


def test_one_seed_among_several_is_told(tmp_path):
    study = MadeUp(tmp_path, N)
    for seed in (1, 2, 3):
        for model in "ab":
            study.add(right_or_wrong(N, 0.8, seed + ord(model)), model, "cls", 64, "base", seed)
    right = right_or_wrong(N, 0.8, 7)
    study.add(right, "a", "max", 64, "base", 1)
    study.add(right | right_or_wrong(N, 0.5, 8), "b", "max", 64, "base", 1)
    ((verdict, answer),) = answers(study.analyse(), "Which encoder")
    assert verdict == "difference shown" and "in 1 of 2 comparisons" in answer
    assert "One seed does not tell" in answer


@pytest.mark.parametrize("name", ["TF-IDF", "TF-IDF-bert", "tf-idf", "a_b.c"])
def test_a_model_may_have_any_name(tmp_path, name):
    study = MadeUp(tmp_path)
    study.add(right_or_wrong(400, 0.8, 1), name, "cls", 64, "base", 42)
    study.add_baseline(right_or_wrong(400, 0.8, 2), f"seen-by-{name}")
    findings = study.analyse()
    assert answers(findings, "Which encoder") == [
        ("not asked", f"Not asked: the study has one encoder, {name}.")
    ]
    ((_, answer),) = answers(findings, "Does an encoder beat")
    assert f"TF-IDF, text of {name}" in answer


def test_a_run_at_the_majority_is_named_and_not_compared(tmp_path):
    study = MadeUp(tmp_path, N)
    study.add(right_or_wrong(N, 0.8, 1), "a", "cls", 64, "base", 42)
    study.add(right_or_wrong(N, 0.8, 2), "b", "cls", 64, "base", 42, answer=1)
    findings = study.analyse()
    ((_, answer),) = answers(findings, "Did any run fail")
    assert answer.startswith("Yes, 1 of 2 runs: the validation accuracy is not shown to be above")
    assert "b, cls, batch 64, seed 42 (accuracy 0.5000, p = 0.513)" in answer
    ((verdict, answer),) = answers(findings, "Which encoder")
    assert verdict == "not asked" and "nothing to compare" in answer


def test_a_run_that_diverged_is_named_whatever_its_best_epoch_reached(tmp_path):
    study = MadeUp(tmp_path)
    study.add(right_or_wrong(400, 0.8, 1), "a", "cls", 64, "base", 42, valid=0.9, diverged=True)
    findings = study.analyse()
    ((_, answer),) = answers(findings, "Did any run fail")
    assert answer.startswith("Yes, 1 of 1 run") and "seed 42 (accuracy 0.5000, diverged)" in answer
    assert study.read("runs")["diverged"].tolist() == [True]
    assert "variant=base seed=42 (diverged)" in study.page()


def test_trained_runs_are_said_to_depend_on_the_label(tmp_path):
    study = MadeUp(tmp_path)
    study.add(right_or_wrong(400, 0.8, 1), "a", "cls", 64, "base", 42)
    ((_, answer),) = answers(study.analyse(), "Did any run fail")
    assert answer.startswith("No: the validation accuracy of all 1 run is above")


def test_the_baseline_is_compared_with_what_stands_for_each_model(tmp_path):
    study = MadeUp(tmp_path, N)
    right = right_or_wrong(N, 0.8, 1)
    study.add(right, "a", "cls", 64, "base", 42)
    study.add(right_or_wrong(N, 0.7, 5), "a", "cls", 256, "base", 42)
    study.add_baseline(right | right_or_wrong(N, 0.5, 2))
    study.add_baseline(right, "seen-by-a")
    findings = study.analyse()
    ((verdict, answer),) = answers(findings, "Does an encoder beat")
    assert verdict == "difference shown" and "in 1 of 2 comparisons" in answer
    assert "TF-IDF, full text over a (cls, batch 64): +" in answer
    costs = " ".join(answer for _, answer in answers(findings, "What does accuracy cost"))
    assert "TF-IDF, full text, took 2.0 s" in costs and "cls, batch 64, highest" in costs


def test_every_question_is_answered_for_the_smallest_study(tmp_path):
    study = MadeUp(tmp_path)
    study.add(np.ones(400, bool), "a", "cls", 64, "base", 42)
    findings = study.analyse()
    assert findings["question"].nunique() == 9
    assert findings["answer"].str.len().min() > 10
