"""How often a page claims what is not so: whole studies made up without true differences.

For the grids of the shipped studies, reviews that are hard for all, and accuracies that deviate
from seed to seed, in each setting for itself, as much in all settings or by a factor of 1.65 more
or less, the project's own functions judge studies in which all settings are equally good. Printed
are the share of pages with any false verdict and with an interval that misses the truth; and, from
half as many studies in which one model is 2 points better than the others, the share that finds
this.
"""

import argparse
import gc
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from lib import config
from lib.analysis.contrasts import BACKEND, ENCODER, Contrast, Tuning, plan
from lib.analysis.results import SETTING, key_columns
from lib.analysis.tuning import as_settings, tuning_of, with_settings
from lib.analysis.verdicts import Answers, Known, decide, known_of
from lib.analysis.wording import ALIKE, SHOWN
from lib.baselines import FULL_TEXT, SEEN_TEXT, baseline_name
from lib.console import progress
from lib.runs import Condition, Run

CONFIGS = Path(__file__).parents[1] / "config"
STUDIES = {
    "config.yaml": (0.75, 2500),
    "minilm.yaml": (0.7, 2000),
    "imdb.yaml": (0.9, 5000),
}  # accuracy, test reviews
POINTS = (0.0, 0.5, 1.0, 2.0)
UNEQUAL = 1.65
ADVANTAGE = 0.02
# shares of the variance of an answer: the review, the review for a setting, chance
SHARES = (0.6, 0.1, 0.3)


class Study(NamedTuple):
    """The design of a study.

    Attributes:
        name: file of its configuration.
        contrasts: of its page.
        known: conditions that do not repeat a training.
        tuned: settings whose learning rate is tuned; that of each which comes first is chosen, as
            good as any where validation and test are of different reviews.
        seeds: of each condition.
        baselines: names of the baselines.
        models: names of the encoders.
        margin: of practical equality, as a share.
    """

    name: str
    contrasts: list[Contrast]
    known: Known
    tuned: Tuning
    seeds: Mapping[Condition, set[int | None]]
    baselines: list[str]
    models: list[str]
    margin: float


class Row(NamedTuple):
    """What one line of the table is about."""

    study: Study
    points: float
    unequal: bool
    studies: int


def read_study(name: str) -> Study:
    """The design that a shipped configuration asks for."""
    settings = yaml.safe_load((CONFIGS / name).read_text("utf-8"))
    config.check(settings)
    runs = config.runs(settings)
    models = list(dict.fromkeys(run.model for run in runs))
    texts = [FULL_TEXT, *(SEEN_TEXT + model for model in models)] * settings["analysis"]["baseline"]
    baselines = [baseline_name(text) for text in texts]
    tuned, variants = tuning_of(table_of(runs, settings))
    grid = [*runs, *as_settings(dict.fromkeys(runs), tuned), *(Run("", name) for name in baselines)]
    contrasts = [each for each in plan(grid, variants, grid, tuned) if each.question != BACKEND]
    seeds: dict[Condition, set[int | None]] = {}
    for run in runs:
        seeds.setdefault(run.condition, set()).add(run.seed)
    margin = settings["analysis"]["margin"] / 100
    known = known_of(seeds, variants)
    return Study(name, contrasts, known, tuned, seeds, baselines, models, margin)


def table_of(runs: Sequence[Run], study: dict[str, Any]) -> pd.DataFrame:
    """The table runs, as far as it tells settings, where all rates are equally good."""
    settings = [config.training(study, run.variant) for run in runs]
    table = key_columns(runs).join(pd.DataFrame(settings).add_prefix(SETTING))
    rates = table[f"{SETTING}learning_rate"]
    table = table.assign(learning_rate=rates, valid_accuracy=0.5, valid_loss=0.5)
    return with_settings(table, study["analysis"]["tuned"])


def make_up(row: Row, better: str, rng: np.random.Generator) -> Answers:
    """The answers of all runs and baselines of a study that nobody trained.

    Args:
        row: the design, and how much seeds deviate.
        better: a model that is 2 points better than the others, if it is one.
        rng: where chance comes from.
    """
    accuracy, n = STUDIES[row.study.name]
    by_review, by_setting, chance = np.sqrt(SHARES)
    hard = by_review * rng.standard_normal(n, np.float32)

    def answer(of_setting: np.ndarray, mean: float) -> np.ndarray:
        noise = chance * rng.standard_normal(n, np.float32)
        return NormalDist().inv_cdf(mean) + hard + of_setting + noise > 0

    answers: dict[tuple[Condition, int | None], np.ndarray] = {}
    for condition in row.study.known:
        of_setting = by_setting * rng.standard_normal(n, np.float32)
        mean = accuracy + ADVANTAGE * (condition.model == better)
        factor = UNEQUAL ** rng.choice([-1, 1]) if row.unequal else 1
        for seed in row.study.seeds[condition]:
            shifted = mean + factor * row.points / 100 * rng.standard_normal()
            answers[condition, seed] = answer(of_setting, float(np.clip(shifted, 0.5, 0.999)))
    for setting, condition in row.study.tuned.chosen.items():
        for seed in row.study.seeds[condition]:
            answers[setting, seed] = answers[condition, seed]
    for name in row.study.baselines:
        of_setting = by_setting * rng.standard_normal(n, np.float32)
        answers[Condition(name), None] = answer(of_setting, accuracy)
    return answers


def truths(contrasts: Sequence[Contrast], better: str) -> np.ndarray:
    """The true difference of each contrast."""
    weights = [contrast.weights.items() for contrast in contrasts]
    return np.array(
        [ADVANTAGE * sum(x for each, x in found if each.model == better) for found in weights]
    )


def judge_many(row: Row, better: str) -> pd.DataFrame:
    """Per made-up study whether a verdict is false, an interval misses, and the models differ."""
    study = row.study
    rng = np.random.default_rng([int(10 * row.points), row.unequal, better != ""])
    truth = truths(study.contrasts, better)
    gc.freeze()  # statsmodels collects garbage at each correction
    asked = [contrast.question == ENCODER for contrast in study.contrasts]
    rows = []
    for _ in range(row.studies):
        answers = make_up(row, better, rng)
        found = decide(study.contrasts, answers, study.known, study.margin, ahead=False)
        shown = (found["verdict"] == SHOWN) & (
            np.sign(found["difference"]) != np.where(abs(truth) < 1e-9, 0, np.sign(truth))
        )
        alike = (found["verdict"] == ALIKE) & (abs(truth) > study.margin)
        missed = (found["low"] > truth + 1e-9) | (found["high"] < truth - 1e-9)
        rows.append(
            {
                "false": (shown | alike).any(),
                "missed": missed.any(),
                "found": (found.loc[asked, "verdict"] == SHOWN).mean(),
                "alike": (found["verdict"] == ALIKE).mean(),
            }
        )
    return pd.DataFrame(rows)


def measure(row: Row) -> dict[str, Any]:
    """One line of the table."""
    equal = judge_many(row, "")
    differing = judge_many(row._replace(studies=row.studies // 2), row.study.models[-1])
    return {
        "study": row.study.name,
        "contrasts": len(row.study.contrasts),
        "deviation between seeds": f"{row.points:g}" + (" / 1.65 to × 1.65" if row.unequal else ""),
        "pages with a false verdict": f"{equal['false'].mean():.1%}",
        "with an interval that misses": f"{equal['missed'].mean():.1%}",
        "alike within the margin": f"{equal['alike'].mean():.0%}",
        "2 points between models found": f"{differing['found'].mean():.0%}",
        "false verdicts besides": f"{differing['false'].mean():.1%}",
    }


def simulate(studies: int, processes: int) -> pd.DataFrame:
    """The whole table.

    Args:
        studies: made up for each of its lines, and half as many with a difference.
        processes: that share the work.
    """
    designs = [read_study(name) for name in STUDIES]
    rows = [
        Row(design, points, unequal, studies)
        for design, unequal, points in product(designs, (False, True), POINTS)
        if points or not unequal
    ]
    with ProcessPoolExecutor(processes) as pool:
        return pd.DataFrame(progress(pool.map(measure, rows), len(rows), "made-up studies", "line"))


def main() -> None:
    """Print the table."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--studies", type=int, default=1000, help="made up for each line")
    flags.add_argument("--processes", type=int, default=os.cpu_count(), help="that share the work")
    options = flags.parse_args()
    print(simulate(options.studies, options.processes).to_markdown(index=False))


if __name__ == "__main__":
    main()
