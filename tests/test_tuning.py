"""Learning rates as a part of settings, chosen by validation, and numbers of training reviews."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from made_up import SETTINGS, MadeUp, right_or_wrong
from workspace import RUN, Workspace

from lib.analysis.contrasts import (
    BACKEND,
    BASELINE,
    BATCH,
    ENCODER,
    EQUAL_UPDATES,
    POOLING,
    SCALING,
    VARIANT,
    plan,
)
from lib.analysis.findings import asked
from lib.analysis.results import CHOOSE_BY, SETTING, key_columns
from lib.analysis.tuning import (
    as_settings,
    budgets,
    rates_tried,
    tuned_settings,
    tuning_of,
    with_settings,
)
from lib.analysis.verdicts import decide, known_of
from lib.analysis.wording import NOT_ASKED
from lib.command.console import UserError
from lib.files.whole import write_text
from lib.page import figures
from lib.study import config, planning
from lib.study.runs import KEYS, Run, baseline_name, run_of

CHANGES = {
    "base": {},
    "slow": {"learning_rate": 1e-5},
    "fast": {"learning_rate": 1e-4},
    "few": {"examples": 100},
    "few-slow": {"examples": 100, "learning_rate": 1e-5},
    "few-fast": {"examples": 100, "learning_rate": 1e-4},
    "short": {"updates": 50},
    "short-slow": {"updates": 50, "learning_rate": 1e-5},
    "short-fast": {"updates": 50, "learning_rate": 1e-4},
    "spread": {"backend": "accelerate"},
    "sqrt": {"lr_scaling": "sqrt"},
}
VARIANTS = {name: SETTINGS | changes for name, changes in CHANGES.items()}
RATES = ("base", "slow", "fast")


def grid(models="a", poolings=("cls",), batches=(64,), variants=RATES, seeds=(1, 2, 3)):
    keys = itertools.product(models, poolings, batches, variants, seeds)
    return [Run("d", *each) for each in keys]


def table_of(runs, valid=None, tuned=True):
    """The table runs, where validation accuracies are given by variant or 0.5."""
    settings = pd.DataFrame([VARIANTS[run.variant] for run in runs]).add_prefix(SETTING)
    accuracies = [(valid or {}).get(run.variant, 0.5) for run in runs]
    table = (
        key_columns(runs)
        .join(settings)
        .assign(valid_accuracy=accuracies, valid_loss=0.5, learned=True)
    )
    table["learning_rate"] = table[f"{SETTING}learning_rate"]
    return with_settings(table, tuned)


def planned(runs, valid=None):
    tuned, variants = tuning_of(table_of(runs, valid))
    everything = [*runs, *as_settings(dict.fromkeys(runs), tuned), Run("d", baseline_name("full"))]
    return plan(everything, variants, everything, tuned)


def test_variants_that_differ_in_the_rate_alone_are_one_setting():
    assert tuned_settings(VARIANTS) == {
        **dict.fromkeys(RATES, "base (tuned)"),
        **dict.fromkeys(("few", "few-slow", "few-fast"), "few (tuned)"),
        **dict.fromkeys(("short", "short-slow", "short-fast"), "short (tuned)"),
    }


def test_validation_chooses_the_rate_in_the_mean_over_seeds():
    runs = grid(batches=(64, 256))
    table = table_of(runs, {"base": 0.7, "slow": 0.8, "fast": 0.6})
    table.loc[(table["variant"] == "fast") & (table["seed"] == 1), "valid_accuracy"] = 0.9
    table = with_settings(table.drop(columns=["setting", "rates", "chosen"]), True)
    assert set(table["variant"][table["chosen"]]) == {"slow"} and set(table["rates"]) == {3}
    rates = rates_tried(table)
    assert rates.loc[rates["chosen"], "edge"].tolist() == [True, True]
    middle = rates_tried(table_of(runs, {"base": 0.9}))
    assert middle.loc[middle["chosen"], "variant"].tolist() == ["base", "base"]
    assert not middle["edge"].any()


def test_ties_go_to_the_lower_validation_loss():
    table = table_of(grid()).drop(columns=["setting", "rates", "chosen"])
    table.loc[table["variant"] == "fast", "valid_loss"] = 0.4
    assert set(with_settings(table, True).query("chosen")["variant"]) == {"fast"}


@pytest.mark.parametrize("variants", [RATES, RATES[::-1], ("slow", "fast", "base")])
def test_full_ties_go_to_the_rate_that_comes_first_in_the_study(variants):
    table = table_of(grid(variants=variants, batches=(64, 256)))
    assert set(table["variant"][table["chosen"]]) == {variants[0]}
    rates = rates_tried(table)
    assert rates["chosen"].tolist() == [True, False, False] * 2
    assert rates["edge"].any() == (variants[0] != "base")


def test_an_edge_is_one_of_the_rates_of_its_own_setting():
    runs = grid(variants=(*RATES, "few", "few-fast"), batches=(64, 256))
    table = table_of(runs, {"base": 0.8, "few": 0.7}).drop(columns=["setting", "rates", "chosen"])
    table.loc[(table["variant"] == "fast") & (table["batch"] == 256), "valid_accuracy"] = 0.9
    table["learning_rate"] *= (table["batch"] / 64).astype(float)  # as linear scaling has it
    rates = rates_tried(with_settings(table, True)).set_index(["variant", "batch"])
    chosen = rates[rates["chosen"]]
    assert chosen["edge"].to_dict() == {
        ("base", 64): False,
        ("fast", 256): True,  # the highest
        ("few", 64): True,  # the lower of two
        ("few", 256): True,
    }
    assert rates["edge"].sum() == 3
    assert rates.loc[("fast", 256), "learning_rate"] == pytest.approx(4e-4)
    assert rates["rates"].to_dict()["few", 64] == 2 and set(rates["seeds"]) == {3}
    assert rates.loc[("fast", 256), ["value", "valid_loss"]].tolist() == [0.9, 0.5]


@pytest.mark.parametrize(
    ("choose_by", "chosen", "expected"),
    [("accuracy", "base", 0.9), ("macro_f1", "slow", 0.8), ("loss", "fast", 0.2)],
)
def test_the_measure_that_chooses_epochs_chooses_the_rate(choose_by, chosen, expected):
    measured = {  # by base, slow and fast
        "valid_accuracy": [0.9, 0.8, 0.7],
        "valid_macro_f1": [0.6, 0.8, 0.7],
        "valid_loss": [0.3, 0.4, 0.2],
    }
    table = table_of(grid(seeds=(1,))).drop(columns=["setting", "rates", "chosen"])
    table = table.assign(**measured, **{CHOOSE_BY: choose_by})
    table = with_settings(table, True)
    assert table["variant"][table["chosen"]].tolist() == [chosen]
    rates, curve = rates_tried(table), budgets(table)
    assert rates["value"].tolist() == measured[f"valid_{choose_by}"]
    assert {*rates["choose_by"], *curve["choose_by"]} == {choose_by}
    draws = itertools.product(measured[f"valid_{choose_by}"], repeat=2)
    best = min if choose_by == "loss" else max
    assert curve["expected"][1] == pytest.approx(np.mean([best(draw) for draw in draws]))
    assert rates["value"][rates["chosen"]].tolist() == [expected]


def test_a_rate_at_which_fewer_seeds_learned_is_not_chosen():
    table = table_of(grid()).drop(columns=["setting", "rates", "chosen"])
    table["valid_accuracy"] = [0.9] * 3 + [0.8] * 3 + [0.7] * 3  # base, slow and fast
    learned = {"base": 2, "slow": 3, "fast": 3}
    table["learned"] = table["seed"] <= table["variant"].map(learned)
    assert set(with_settings(table, True).query("chosen")["variant"]) == {"slow"}
    table["learned"] = False  # at no rate
    assert set(with_settings(table, True).query("chosen")["variant"]) == {"base"}


def test_settings_are_chosen_by_the_measures_of_their_own():
    table = table_of(grid(variants=(*RATES, "few", "few-slow", "few-fast"), seeds=(1,)))
    table = table.drop(columns=["setting", "rates", "chosen"])
    table["valid_accuracy"], table["valid_loss"] = [0.9, 0.8, 0.7] * 2, [0.4, 0.2, 0.3] * 2
    table[CHOOSE_BY] = ["accuracy"] * 3 + ["loss"] * 3
    table = with_settings(table, True)
    assert table["variant"][table["chosen"]].tolist() == ["base", "few-slow"]


def test_a_loss_that_is_not_finite_is_the_worst():
    table = table_of(grid(variants=("base", "slow"), seeds=(1, 2)))
    table = table.drop(columns=["setting", "rates", "chosen"]).assign(**{CHOOSE_BY: "loss"})
    table["valid_loss"] = [0.1, np.nan, 0.6, 0.6]
    assert set(with_settings(table, True).query("chosen")["variant"]) == {"slow"}


def test_a_rate_with_fewer_seeds_is_not_tried():
    runs = [*grid(variants=("base", "slow")), *grid(variants=("fast",), seeds=(1,))]
    table = table_of(runs, {"fast": 0.9, "slow": 0.7})
    assert set(table.query("chosen & rates > 1")["variant"]) == {"slow"}
    assert table.query("variant == 'fast'")[["setting", "rates"]].values.tolist() == [["fast", 1]]


def test_without_tuning_every_variant_is_a_setting():
    table = table_of(grid(), {"slow": 0.9}, tuned=False)
    assert table["chosen"].all() and (table["setting"] == table["variant"]).all()
    assert tuning_of(table)[0].settings == {}


def test_settings_are_compared_at_their_own_rates_where_they_tried_as_many():
    (contrast,) = [each for each in planned(grid(batches=(64, 256))) if each.question == BATCH]
    assert [pair[0].variant for pair in contrast.pairs] == ["base (tuned)"]
    found = planned(grid(batches=(64, 256)))
    assert {each.question for each in found} == {BATCH, BASELINE}  # no rate against another


def test_unequal_budgets_are_compared_at_the_same_rate():
    runs = [*grid(), *grid(poolings=("max",), variants=("base",))]
    (contrast,) = [each for each in planned(runs) if each.question == POOLING]
    assert [[each.variant for each in pair] for pair in contrast.pairs] == [["base", "base"]]
    fewer_seeds = [*grid(seeds=(1, 2, 3, 4)), *grid(poolings=("max",))]
    (contrast,) = [each for each in planned(fewer_seeds) if each.question == POOLING]
    assert [pair[0].variant for pair in contrast.pairs] == [*RATES]
    two = [*grid(), *grid(poolings=("max",), variants=("base", "fast"))]
    (contrast,) = [each for each in planned(two) if each.question == POOLING]
    assert [pair[0].variant for pair in contrast.pairs] == ["base", "fast"]


def test_what_repeats_or_scales_a_training_is_compared_at_the_same_rate():
    runs = grid(batches=(256,), variants=(*RATES, "spread", "sqrt"))
    found = {each.question: each for each in planned(runs, {"fast": 0.9})}
    assert found.keys() == {BACKEND, SCALING, BASELINE}
    for question, other in ((BACKEND, "spread"), (SCALING, "sqrt")):
        ((first, second),) = found[question].pairs
        assert (first.variant, second.variant) == ("base", other)


def test_each_number_of_reviews_has_contrasts_of_its_own():
    runs = grid(models="ab", variants=(*RATES, "few", "few-slow", "few-fast"))
    found = [each for each in planned(runs) if each.question == ENCODER]
    assert [asked(each, "tickets") for each in found] == [
        "Which encoder, from 100 training tickets?",
        "Which encoder?",
    ]
    assert all(len(each.pairs) == 1 for each in found)
    assert VARIANT not in {each.question for each in planned(runs)}
    (baseline, *_) = [each for each in planned(runs) if each.question == BASELINE]
    assert [pair[1].variant for pair in baseline.pairs] == ["base (tuned)"]


def test_batches_are_compared_at_equal_updates_apart_from_equal_epochs():
    runs = grid(batches=(8, 32), variants=(*RATES, "short", "short-slow", "short-fast"))
    found = {each.question: each for each in planned(runs)}
    for question, setting in ((BATCH, "base (tuned)"), (EQUAL_UPDATES, "short (tuned)")):
        assert [pair[0].variant for pair in found[question].pairs] == [setting]


def test_the_variance_between_seeds_is_pooled_within_a_number_of_reviews():
    runs = grid(models="ab", variants=("base", "few"))
    rng = np.random.default_rng(1)
    hard = rng.random(4000)
    answers = {
        (run.condition, run.seed): hard
        < 0.8 - (rng.normal(0, 0.06) if run.variant == "few" else rng.normal(0, 0.001))
        for run in runs
    }
    contrasts = plan(runs, VARIANTS, runs)
    found = decide(
        contrasts, answers, known_of((run.condition for run in runs), VARIANTS, {}), 0.01
    )
    few, all_of_them = found["standard_error"]
    assert [each.examples for each in contrasts] == ["100", "all"] and few > 5 * all_of_them


def test_expected_best_of_so_many_runs_by_enumeration():
    table = table_of(grid(variants=("base", "slow"), seeds=(1, 2)))
    table["valid_accuracy"] = values = [0.5, 0.9, 0.6, 0.6]
    found = budgets(table).set_index("budget")["expected"]
    for budget in (1, 2, 3, 4):
        draws = itertools.product(values, repeat=budget)
        assert found[budget] == pytest.approx(np.mean([max(draw) for draw in draws]))


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> MadeUp:
    """Two batches with three rates each: the test prefers other rates than validation does."""
    variants = {name: CHANGES[name] for name in RATES}
    study = MadeUp(tmp_path_factory.mktemp("tuned"), 600, variants=variants)
    number = itertools.count()
    valid = {("base", 64): 0.8, ("slow", 64): 0.85, ("fast", 64): 0.7}
    valid |= {("base", 256): 0.7, ("slow", 256): 0.75, ("fast", 256): 0.9}
    for batch, variant, seed in itertools.product((64, 256), RATES, (1, 2, 3)):
        quality = {"base": 0.95, "slow": 0.8, "fast": 0.65}[variant]
        right = right_or_wrong(600, quality, next(number))
        study.add(right, "a", "cls", batch, variant, seed, valid=valid[variant, batch])
    study.add_baseline(right_or_wrong(600, 0.7, 99))
    study.analyse(tuned=True)
    return study


def test_the_page_compares_and_shows_the_chosen_rates(study):
    findings = study.read("findings").set_index("question")
    chosen = {64: "slow", 256: "fast"}
    accuracies = {
        batch: np.mean([right(study, batch, chosen[batch], seed) for seed in (1, 2, 3)])
        for batch in chosen
    }
    assert findings.loc[BATCH, "difference"] == pytest.approx(accuracies[256] - accuracies[64])
    conditions = study.read("conditions").query("chosen and batch > 0")
    assert conditions[["batch", "variant"]].values.tolist() == [[64, "slow"], [256, "fast"]]
    page = study.page(drawn=True)
    assert "2 of 2 chosen rates are at the edge of those tried" in page
    assert "**1e-05: 0.8500**" in page and "**0.0001: 0.9000**" in page
    for name in ("tuning", "budgets"):
        assert (study.folder / "figures" / f"{name}.svg").stat().st_size > 5000
    main = page.partition("## Results")[2].partition("## ")[0]
    assert main.count("base (tuned)") == 2 and "| fast |" not in main
    paper = (study.tables / "results.tex").read_text()
    assert paper.count("base (tuned)") == 2 and "fast" not in paper
    certainty = page.partition("## Intervals and calibration")[2].partition("## ")[0]
    assert certainty.count("base (tuned)") == 2 and "| fast" not in certainty
    own = [[right(study, batch, chosen[batch], seed) for seed in (1, 2, 3)] for batch in chosen]
    assert all(f"{np.mean(each):.4f} ± {np.std(each, ddof=1):.4f}" in main for each in own)
    for name, table in {"batches": "conditions", "cost": "conditions"}.items():
        drawn = str(getattr(figures, name)(study.read(table), "accuracy", "reviews").to_dict())
        assert "base (tuned)" in drawn and "'variant': 'fast'" not in drawn
    drawn = str(figures.learning_curves(study.read("histories"), "accuracy", "reviews").to_dict())
    assert "base (tuned)" in drawn and "'variant': 'slow'" not in drawn


def test_what_is_not_chosen_counts_in_no_test_whether_there_is_one_or_not(study):
    """Its files of a test are taken away, which are damaged first so that nothing reads them."""
    logs = study.folder / "logs"
    others = [run for run in study.runs if f"{run.parts[-3]} {run.parts[-2]}" not in CHOSEN]
    assert len(others) == 12
    for run in others:
        log = logs / run.relative_to(study.folder / "runs") / "evaluate.log"
        write_text(log, "12:00:00 took 7.50 s")
        for name in ("test.json", "predictions.parquet", "probabilities.parquet"):
            (run / name).write_text("{")
    study.analyse(tuned=True)
    with_tests = {path.name: path.read_bytes() for path in study.tables.iterdir()}
    for path in (*logs.rglob("evaluate.log"), *(run / "test.json" for run in others)):
        path.unlink()
    study.analyse(tuned=True)
    assert {path.name: path.read_bytes() for path in study.tables.iterdir()} == with_tests


def test_tables_of_tests_hold_the_chosen_runs_alone(study):
    runs, measures = study.read("runs"), study.read("measures")
    assert len(runs) == 18 and runs["valid_accuracy"].notna().all()
    for name in ("accuracy", "loss", "macro_f1", "n"):
        assert (runs[name].notna() == runs["chosen"]).all()
    chosen = runs[runs["chosen"]][[*KEYS]].values.tolist()
    assert len(chosen) == 6 and measures[[*KEYS]].dropna().values.tolist() == chosen
    for name in ("conditions", "reliability", "classes", "confusion", "lengths", "comparisons"):
        found = study.read(name).dropna(subset=["batch"])
        assert {f"batch={batch} variant={each}" for batch, each in found[PAIR].values} <= CHOSEN


PAIR = ["batch", "variant"]
CHOSEN = {"batch=64 variant=slow", "batch=256 variant=fast"}


def test_the_plan_tests_what_the_table_tells(study):
    runs = [run_of(folder) for folder in study.runs]
    untuned = Run("d", "b", "cls", 64, "base", 1)
    found = planning.tested([*runs, untuned], study.tables / "tuning.csv")
    assert {f"batch={run.batch} variant={run.variant}" for run in found[:-1]} == CHOSEN
    assert len(found) == 7 and found[-1] == untuned


def test_a_damaged_choice_is_one_line(study, tmp_path):
    for name in ("tuning.csv", ".tuning.csv.sha256"):
        shutil.copy(study.tables / name, tmp_path)
    path = tmp_path / "tuning.csv"
    path.write_text(path.read_text().replace("False", "True"))
    with pytest.raises(UserError, match=r"tuning\.csv' is damaged"):
        planning.tested([], path)


@pytest.mark.parametrize("best", RATES)
def test_what_is_compared_at_the_same_rate_is_tested_whichever_is_chosen(tmp_path, best):
    variants = {**{name: CHANGES[name] for name in RATES}, "spread": CHANGES["spread"]}
    study = MadeUp(tmp_path, 600, variants=variants)
    for variant, seed in itertools.product(variants, (1, 2, 3)):
        right = right_or_wrong(600, 0.9, seed)
        study.add(right, "a", "cls", 64, variant, seed, valid=0.8 + 0.1 * (variant == best))
    findings = study.analyse(tuned=True).set_index("question")
    assert findings.loc[BACKEND, "verdict"] != NOT_ASKED
    runs = study.read("runs").groupby("variant")[["chosen", "tested"]].all()
    assert set(runs.index[runs["chosen"]]) == {best, "spread"}
    assert set(runs.index[runs["tested"]]) == {best, "spread", "base"}


def right(study: MadeUp, batch: int, variant: str, seed: int) -> float:
    path = f"runs/dataset=d/model=a/pooling=cls/batch={batch}/variant={variant}/seed={seed}"
    found = pd.read_parquet(Path(study.folder, path, "predictions.parquet"), partitioning=None)
    return float((found["label"] == found["prediction"]).mean())


@pytest.mark.parametrize("name", ["minilm.yaml", "imdb.yaml"])
def test_shipped_studies_try_equally_many_rates_in_what_they_compare(name):
    settings = yaml.safe_load((ROOT / "config" / name).read_text())
    config.check(settings)
    assert settings["analysis"]["tuned"]
    runs = config.runs(settings)
    trainings = [config.training(settings, run.variant) for run in runs]
    table = key_columns(runs).join(pd.DataFrame(trainings).add_prefix(SETTING))
    table["learning_rate"] = table[f"{SETTING}learning_rate"]
    tuned, variants = tuning_of(
        with_settings(table.assign(valid_accuracy=0, valid_loss=0, learned=True), True)
    )
    grid = [*runs, *as_settings(dict.fromkeys(runs), tuned), Run("d", baseline_name("full"))]
    contrasts = plan(grid, variants, grid, tuned)
    assert {ENCODER, POOLING, BATCH} <= {each.question for each in contrasts}
    for contrast in contrasts:
        if contrast.question in (ENCODER, POOLING, BATCH, EQUAL_UPDATES):
            assert any(pair[0] in tuned.budgets for pair in contrast.pairs), contrast.question
            assert not {each for pair in contrast.pairs for each in pair} & set(tuned.settings)
            assert len(contrast.seeds) >= 3


@pytest.mark.slow
def test_a_tuned_study_tests_the_chosen_rates_and_no_others(python, tmp_path):
    def change(config):
        config["variants"] = {"low": {"learning_rate": 4e-4}, "high": {"learning_rate": 4e-2}}
        config["training"]["epochs"] = 1
        config["grid"] = [config["grid"][0] | {"variant": ["high", "low"]}]
        parts = dict.fromkeys(("baseline", "errors", "tsne", "attention", "latency"), False)
        config["analysis"] = parts | {"tuned": True}

    def with_a_better_one(config):
        change(config)
        config["variants"]["middle"] = {}
        config["grid"][0]["variant"].append("middle")

    def tables() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.glob("results/tables/*")}

    workspace = Workspace(tmp_path)
    folder = workspace.folder
    run = "bert", "masked-mean", 64
    tests = {name: f"{RUN.format(*run, name, 1)}/test.json" for name in ("high", "low", "middle")}
    study = ("--cores", "2", f"--configfile={workspace.write_config('study.yaml', change)}")
    planned = workspace.jobs(python, "-n", *study)
    assert planned["train"] == 2 and planned["choose"] == planned["analyse"] == 1
    assert "evaluate" not in planned
    workspace.jobs(python, *study)
    assert [name for name in tests if (folder / tests[name]).exists()] == ["low"]
    assert workspace.jobs(python, "-n", *study) == {}
    as_on_a_node = ("--target-jobs", "analyse:", "--allowed-rules", "analyse", "--force")
    assert workspace.jobs(python, *as_on_a_node, *study) == {"analyse": 1}
    before = tables()

    assert workspace.jobs(python, tests["high"], *study) == {"evaluate": 1}
    assert workspace.jobs(python, "-n", *study) == {}
    workspace.jobs(python, *study, "--forcerun", "collect")
    assert tables() == before

    (folder / tests["high"]).with_name("predictions.parquet").unlink()
    assert workspace.jobs(python, "-n", *study) == {}
    (folder / tests["low"]).unlink()
    assert workspace.jobs(python, "-n", *study)["evaluate"] == 1

    more = ("--cores", "2", f"--configfile={workspace.write_config('m.yaml', with_a_better_one)}")
    planned = workspace.jobs(python, "-n", *more)
    assert planned["train"] == planned["choose"] == 1 and "evaluate" not in planned
    workspace.jobs(python, *more)
    assert (folder / tests["middle"]).exists() and not (folder / tests["low"]).exists()
    assert pd.read_csv(folder / "results/tables/measures.csv")["variant"].tolist() == ["middle"]
    assert workspace.jobs(python, "-n", *more) == {}

    (folder / "results/tables/tuning.csv").write_text("torn")
    done = workspace.snakemake(python, "-n", *more)
    (line,) = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert line.startswith("error: ") and "tuning.csv" in line and done.returncode == 1
