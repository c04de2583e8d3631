"""How often a page claims what is not so: whole studies made up without true differences.

For the grids of the shipped studies, reviews that are hard for all, and accuracies that deviate
from seed to seed, the project's own functions judge studies in which all settings are equally good.
Deviations belong to each setting alone; or to half to all settings, or to all of a model, that have
the seed; they are larger in some settings than in others; or a tenth of all runs is 10 points
lower; or learning rates, all equally good, are chosen by validation. Printed are the share of pages
with any false verdict and with an interval that misses the truth; what choosing gives; and, from
half as many studies in which one model is 2 points better than the others, the share that finds
this. A second table sets the multi-bootstrap beside the test of a page, for two settings alone; a
third is of reviews in groups that are alike, with errors clustered by the groups and without; a
fourth of each metric where classes have unequal shares; a fifth tells how often runs are wrongly
said to have learned, or not to.
"""

import argparse
import gc
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from threadpoolctl import threadpool_limits

from lib.analysis.contrasts import BACKEND, BASELINE, ENCODER, Contrast, Tuning, distinct, plan
from lib.analysis.groups import Groups
from lib.analysis.metrics import values_of
from lib.analysis.results import SETTING, key_columns
from lib.analysis.statistics import SIGNIFICANCE, mean_of, p_of_pair
from lib.analysis.tuning import as_settings, tuning_of, with_settings
from lib.analysis.verdicts import Answers, Known, decide, estimate, known_of, value_of
from lib.analysis.wording import ALIKE, SHOWN
from lib.command.console import progress
from lib.study import config
from lib.study.metrics import ACCURACY, BALANCED_ACCURACY, MACRO_F1, METRICS
from lib.study.planning import baselines as of_baselines
from lib.study.runs import PREFIX, Condition, Run, baseline_name
from lib.training.loop import Recipe
from lib.training.metrics import chance_level, chance_p

CONFIGS = Path(__file__).parents[1] / "config"
POINTS = (0.5, 1.0, 2.0)
ADVANTAGE = 0.02
UNEQUAL = 1.65
FAILING, LOSS = 0.1, 0.1  # share of runs, and how much lower they are
# shares of the variance of an answer: the review, the review for a setting, chance
SHARES = (0.6, 0.1, 0.3)
ALONE, TOGETHER, BY_MODEL = "nothing", "half, all settings", "half, those of a model"
BOOTSTRAPS = 1000
TWO_RUNS = [PREFIX + name for name in "ab"]
REVIEWS = 2500  # of the two settings of the multi-bootstrap, and of those in groups
RUNS = 20_000  # that learn, or do not
NORMAL = NormalDist()
BOUNDS = (0.5, 0.999)  # of accuracies
QUANTILES = 40  # of deviations, in means over them
CLASS_SHARES = (0.5, 0.8, 0.95)


class Size(NamedTuple):
    """What a made-up study has besides its grid: accuracy, and reviews of each split."""

    accuracy: float
    train: int
    valid: int
    test: int


STUDIES = {
    "config.yaml": Size(0.75, 4800, 500, 2500),
    "minilm.yaml": Size(0.7, 1000, 500, 2000),
    "imdb.yaml": Size(0.9, 40000, 5000, 5000),
}


class Alike(NamedTuple):
    """Reviews in groups that have something in common.

    Attributes:
        name: how many groups of which sizes.
        sizes: of the groups; what is more than all reviews is left out.
        common: share of each variance that is between groups.
    """

    name: str
    sizes: list[int]
    common: float

    def groups(self) -> np.ndarray:
        """`(n,)` the number of each review's group."""
        return np.repeat(range(len(self.sizes)), self.sizes)[:REVIEWS]


GROUPS = (
    Alike("355 of 1 to 30", [size for size in range(1, 31) for _ in range(92 // size)], 0.1),
    Alike("20 of one size", [125] * 20, 0.1),
    Alike("20, the largest of 20 times the smallest", [12 * i for i in range(1, 21)], 0.1),
    Alike("8 of one size", [313] * 8, 0.3),
)


class Study(NamedTuple):
    """The design of a study.

    Attributes:
        name: file of its configuration.
        contrasts: of its page.
        known: conditions that do not repeat a training.
        same: of each condition the one whose training it is or repeats.
        tuned: settings whose learning rate is tuned.
        seeds: of each condition.
        baselines: names of the baselines.
        models: names of the encoders.
        margin: of practical equality, as a share.
    """

    name: str
    contrasts: list[Contrast]
    known: Known
    same: Mapping[Condition, Condition]
    tuned: Tuning
    seeds: Mapping[Condition, set[int | None]]
    baselines: list[str]
    models: list[str]
    margin: float


@dataclass(frozen=True)
class Scenario:
    """How accuracies deviate from seed to seed.

    Attributes:
        points: standard deviation of the accuracy of a run, in points.
        shared: what has half of the deviation in common.
        unequal: whether settings deviate by 1.65 times more or less.
        failing: whether a tenth of all runs is 10 points lower.
        chosen: whether the rates of tuned settings are chosen by validation; else the first is.
        metric: in which the page is. But for accuracy, each of two classes deviates for itself.
        share: of the reviews that are of the first class, which is labelled right as much more
            often as makes accuracy the highest.
    """

    points: float = 0.0
    shared: str = ALONE
    unequal: bool = False
    failing: bool = False
    chosen: bool = False
    metric: str = ACCURACY
    share: float = 0.5

    @property
    def seed(self) -> list[int]:
        """Of the chance of its studies."""
        place = (ALONE, TOGETHER, BY_MODEL).index(self.shared)
        classes = [] if self.metric == ACCURACY else [[*METRICS].index(self.metric), self.percent]
        deviations = [int(10 * self.points), place, self.unequal, self.failing, self.chosen]
        return [*deviations, *classes]

    @property
    def percent(self) -> int:
        """Of the reviews in the first class."""
        return round(100 * self.share)

    def ease(self, accuracies: Sequence[float], usual: float) -> list[float]:
        """How far the mean review of each of two classes is from being labelled wrongly.

        Args:
            accuracies: of each class, where both have as many reviews.
            usual: accuracy there.
        """
        shift = np.log(self.share / (1 - self.share)) / 2 / NORMAL.inv_cdf(usual)
        one, other = map(NORMAL.inv_cdf, accuracies)
        return [one + shift, other - shift]

    def truth(self, accuracies: Sequence[float], usual: float) -> float:
        """The metric on endlessly many reviews, of the same arguments."""
        right = np.array([NORMAL.cdf(each) for each in self.ease(accuracies, usual)])
        shares = np.array([self.share, 1 - self.share])
        if self.metric == ACCURACY:
            return float(shares @ right)
        if self.metric == BALANCED_ACCURACY:
            return float(right.mean())
        hits = shares * right
        return float((2 * hits / (shares + hits + (shares - hits)[::-1])).mean())

    def mean_truth(self, usual: float) -> float:
        """The same in the mean over seeds."""
        deviations = [NORMAL.inv_cdf((i + 0.5) / QUANTILES) for i in range(QUANTILES)]
        found = np.clip(usual + self.points / 100 * np.array(deviations), *BOUNDS)
        pairs = [(x, x) for x in found] if self.metric == ACCURACY else product(found, found)
        return float(np.mean([self.truth(pair, usual) for pair in pairs]))

    def describe(self) -> dict[str, str]:
        """Columns of the table."""
        kinds = {
            f"÷ or × {UNEQUAL}": self.unequal,
            "a tenth of runs 10 points lower": self.failing,
            "rates chosen by validation": self.chosen,
        }
        return {
            "deviation between seeds": f"{self.points:g}",
            "what seeds share": self.shared,
            "besides": ", ".join(kind for kind, holds in kinds.items() if holds),
        }


SCENARIOS = (
    Scenario(),
    *(Scenario(points, shared) for shared, points in product((ALONE, TOGETHER, BY_MODEL), POINTS)),
    *(Scenario(points, unequal=True) for points in POINTS),
    *(Scenario(points, failing=True) for points in (0.5, 2.0)),
    *(Scenario(points, chosen=True) for points in POINTS),
)


class Row(NamedTuple):
    """What one line of the table is about."""

    study: Study
    scenario: Scenario
    studies: int


def read_study(name: str) -> Study:
    """The design that a shipped configuration asks for."""
    settings = yaml.safe_load((CONFIGS / name).read_text("utf-8"))
    config.check(settings)
    runs = config.runs(settings)
    models = list(dict.fromkeys(run.model for run in runs))
    texts = of_baselines(settings, runs)[0] if settings["analysis"]["baseline"] else []
    baselines = [baseline_name(text) for text in texts]
    tuned, variants = tuning_of(table_of(runs, settings))
    grid = [*runs, *as_settings(dict.fromkeys(runs), tuned), *(Run("", name) for name in baselines)]
    contrasts = [each for each in plan(grid, variants, grid, tuned) if each.question != BACKEND]
    seeds: dict[Condition, set[int | None]] = {}
    updates = {}
    for run in runs:
        seeds.setdefault(run.condition, set()).add(run.seed)
        updates[run.condition] = updates_of(run, settings, STUDIES[name].train)
    margin = settings["analysis"]["margin"] / 100
    known = known_of(seeds, variants, updates)
    same = {
        condition: next(k for k in known if len(distinct([k, condition], variants, updates)) == 1)
        for condition in seeds
    }
    return Study(name, contrasts, known, same, tuned, seeds, baselines, models, margin)


def updates_of(run: Run, study: dict[str, Any], reviews: int) -> int:
    """How many updates a run has where so many reviews are to be learned from."""
    settings = config.training(study, run.variant)
    examples = reviews if settings["examples"] == "all" else settings["examples"]
    return Recipe(run.batch or 1, 0, settings).updates(examples)


def table_of(runs: Sequence[Run], study: dict[str, Any]) -> pd.DataFrame:
    """The table runs, as far as it tells settings, where all rates are equally good."""
    settings = [config.training(study, run.variant) for run in runs]
    table = key_columns(runs).join(pd.DataFrame(settings).add_prefix(SETTING))
    rates = table[f"{SETTING}learning_rate"]
    table = table.assign(learning_rate=rates, valid_accuracy=0.5, valid_loss=0.5, learned=True)
    return with_settings(table, study["analysis"]["tuned"])


def accuracies(
    row: Row, better: str, rng: np.random.Generator
) -> dict[tuple[Condition, int | None], float]:
    """The accuracy of each run on endlessly many reviews.

    Args:
        row: the design, and how seeds deviate.
        better: a model that is 2 points better than the others, if it is one.
        rng: where chance comes from.
    """
    scenario = row.scenario
    common = np.sqrt(0.5) if scenario.shared != ALONE else 0.0
    shared: dict[tuple[str, int | None], float] = {}
    found = {}
    for condition in row.study.known:
        mean = STUDIES[row.study.name].accuracy + ADVANTAGE * (condition.model == better)
        factor = UNEQUAL ** rng.choice([-1, 1]) if scenario.unequal else 1
        for seed in row.study.seeds[condition]:
            group = condition.model if scenario.shared == BY_MODEL else ""
            if (group, seed) not in shared:
                shared[group, seed] = rng.standard_normal()
            own = np.sqrt(1 - common**2) * rng.standard_normal()
            deviation = factor * (common * shared[group, seed] + own)
            lost = LOSS * (scenario.failing and rng.random() < FAILING)
            shifted = mean + scenario.points / 100 * deviation - lost
            found[condition, seed] = float(np.clip(shifted, *BOUNDS))
    return found


def chosen_rates(
    row: Row,
    accuracy: Mapping[tuple[Condition, int | None], float],
    rng: np.random.Generator,
) -> Mapping[Condition, Condition]:
    """The condition whose rate is chosen, by tuned setting."""
    study, n = row.study, STUDIES[row.study.name].valid
    if not row.scenario.chosen:
        return study.tuned.chosen
    right = {
        condition: np.mean(
            [rng.binomial(n, accuracy[condition, s]) for s in study.seeds[condition]]
        )
        for condition in study.known
    }
    return {
        setting: max(
            (each for each, tuned in study.tuned.settings.items() if tuned == setting),
            key=lambda each: right[study.same[each]],
        )
        for setting in study.tuned.budgets
    }


def make_up(row: Row, better: str, rng: np.random.Generator, alike: Alike | None = None) -> Answers:
    """The answers of all runs and baselines of a study that nobody trained.

    Args:
        row: the design, and how seeds deviate.
        better: a model that is 2 points better than the others, if it is one.
        rng: where chance comes from.
        alike: the groups of the reviews, if they are in any.
    """
    size, scenario = STUDIES[row.study.name], row.scenario
    label = (np.arange(size.test) >= round(scenario.share * size.test)).astype(int)
    by_review, by_setting, chance = np.sqrt(SHARES)
    groups = alike.groups() if alike else None

    def deviations() -> np.ndarray:
        own = rng.standard_normal(size.test, np.float32)
        if alike is None:
            return own
        of_groups = rng.standard_normal(len(alike.sizes), np.float32)[groups]
        return np.sqrt(alike.common) * of_groups + np.sqrt(1 - alike.common) * own

    hard = by_review * deviations()

    def answer(of_setting: np.ndarray, means: Sequence[float]) -> np.ndarray:
        ease = np.array(scenario.ease(means, size.accuracy), np.float32)[label]
        right = ease + hard + of_setting + chance * deviations() > 0
        return values_of(label, np.where(right, label, 1 - label), scenario.metric)

    answers: dict[tuple[Condition, int | None], np.ndarray] = {}
    one = accuracies(row, better, rng)
    other = one if scenario.metric == ACCURACY else accuracies(row, better, rng)
    for condition in row.study.known:
        of_setting = by_setting * deviations()
        for seed in row.study.seeds[condition]:
            both = one[condition, seed], other[condition, seed]
            answers[condition, seed] = answer(of_setting, both)
    for setting, condition in chosen_rates(row, one, rng).items():
        for seed in row.study.seeds[condition]:
            answers[setting, seed] = answers[row.study.same[condition], seed]
    for name in row.study.baselines:
        of_setting = by_setting * deviations()
        answers[Condition(name), None] = answer(of_setting, (size.accuracy, size.accuracy))
    return answers


def truths(row: Row, better: str) -> np.ndarray:
    """The true difference of each contrast."""
    usual = STUDIES[row.study.name].accuracy
    usually, ahead = (row.scenario.truth((x, x), usual) for x in (usual, usual + ADVANTAGE))
    weights = [contrast.weights.items() for contrast in row.study.contrasts]
    return np.array(
        [
            (ahead - usually) * sum(x for each, x in found if each.model == better)
            for found in weights
        ]
    )


@threadpool_limits.wrap(limits=1)  # as more threads wait for one another longer than they compute
def judge_many(row: Row, better: str) -> pd.DataFrame:
    """Per made-up study whether a verdict is false, an interval misses, and the models differ."""
    study = row.study
    rng = np.random.default_rng([*row.scenario.seed, better != ""])
    truth = truths(row, better)
    gc.freeze()  # statsmodels collects garbage at each correction
    asked = [contrast.question == ENCODER for contrast in study.contrasts]
    beside = [contrast.question == BASELINE for contrast in study.contrasts]
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
                "gained": found.loc[beside, "difference"].mean(),
            }
        )
    return pd.DataFrame(rows)


def measure(row: Row) -> dict[str, Any]:
    """One line of the table."""
    equal = judge_many(row, "")
    differing = judge_many(row._replace(studies=row.studies // 2), row.study.models[-1])
    return {
        "study": row.study.name,
        **row.scenario.describe(),
        "pages with a false verdict": f"{equal['false'].mean():.1%}",
        "with an interval that misses": f"{equal['missed'].mean():.1%}",
        "alike within the margin": f"{equal['alike'].mean():.0%}",
        "over an untuned baseline": f"{100 * equal['gained'].mean():+.1f}"
        if row.scenario.chosen
        else "",
        "2 points between models found": f"{differing['found'].mean():.0%}",
        "false verdicts besides": f"{differing['false'].mean():.1%}",
    }


def simulate(studies: int, processes: int) -> pd.DataFrame:
    """The table of pages.

    Args:
        studies: made up for each of its lines, and half as many with a difference.
        processes: that share the work.
    """
    designs = [read_study(name) for name in STUDIES]
    rows = [
        Row(design, scenario, studies)
        for design, scenario in product(designs, SCENARIOS)
        if design.tuned.settings or not scenario.chosen
    ]
    with ProcessPoolExecutor(processes) as pool:
        return pd.DataFrame(progress(pool.map(measure, rows), len(rows), "made-up studies", "line"))


def two_settings(seeds: int) -> Study:
    """The smallest design: two settings of a model with so many seeds, and one contrast."""
    first, second = Condition("a", "cls", 64, "base"), Condition("a", "padded-mean", 64, "base")
    ids = range(seeds)
    contrast = Contrast("", "cls", "padded-mean", [(first, second)], ids)
    known = {first: "all", second: "all"}
    both: dict[Condition, set[int | None]] = {first: set(ids), second: set(ids)}
    return Study("config.yaml", [contrast], known, {}, Tuning(), both, [], ["a"], 0.01)


def multi_bootstrap(gains: np.ndarray, samples: np.ndarray, rng: np.random.Generator) -> float:
    """P of the paired multi-bootstrap (Sellam et al. 2022, arXiv:2106.16163) of a difference.

    Args:
        gains: `(seeds, n)` difference in each review.
        samples: `(samples, n)` how often each holds each review, over n.
        rng: where the samples of seeds come from.
    """
    seeds = len(gains)
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), len(samples)) / seeds
    differences = (drawn * (samples @ gains.T)).sum(axis=1)
    below = np.mean(differences < 0) + np.mean(differences == 0) / 2
    return float(2 * min(below, 1 - below))


def compare(case: tuple[int, float, int]) -> dict[str, Any]:
    """How often two tests tell two equally good settings apart, for seeds, points and studies."""
    seeds, points, studies = case
    row = Row(two_settings(seeds), Scenario(points), studies)
    (contrast,), known = row.study.contrasts, row.study.known
    rng = np.random.default_rng([seeds, int(10 * points)])
    shares = np.full(REVIEWS, 1 / REVIEWS)
    samples = rng.multinomial(REVIEWS, shares, BOOTSTRAPS).astype(np.float32) / REVIEWS
    gc.freeze()
    found = []
    with threadpool_limits(1):
        for _ in range(studies):
            answers = make_up(row, "", rng)
            verdict = decide([contrast], answers, known, row.study.margin, ahead=False)["verdict"]
            first, second = (np.array([answers[c, s] for s in contrast.seeds]) for c in known)
            gains = second.astype(np.float32) - first
            found.append((multi_bootstrap(gains, samples, rng) < 0.05, (verdict == SHOWN).any()))
    bootstrap, own = np.mean(found, axis=0)
    return {
        "seeds": seeds,
        "deviation between seeds": f"{points:g}",
        "multi-bootstrap": f"{bootstrap:.1%}",
        "this test": f"{own:.1%}",
    }


def simulate_two(studies: int, processes: int) -> pd.DataFrame:
    """The table of two settings."""
    cases = [(seeds, points, studies) for seeds, points in product((3, 5, 10), POINTS)]
    with ProcessPoolExecutor(processes) as pool:
        return pd.DataFrame(progress(pool.map(compare, cases), len(cases), "two settings", "line"))


def errs(row: Row, answers: Answers, groups: Groups = None) -> dict[str, bool]:
    """What is false of a study in which all is equally good.

    Args:
        row: a page, or two settings, beside which there may be two baselines.
        answers: made up.
        groups: by which errors are clustered.
    """
    study, scenario = row.study, row.scenario
    if len(study.contrasts) > 1:
        found = decide(study.contrasts, answers, study.known, study.margin, groups, ahead=False)
        return {f"pages of {study.name}": (found["verdict"] == SHOWN).any()}
    (contrast,), (first, _) = study.contrasts, study.known
    usual, seeds = STUDIES[study.name].accuracy, contrast.seeds
    truth = scenario.mean_truth(usual)
    (found,) = estimate([contrast], answers, study.known, groups).to_dict("records")
    several = value_of(first, seeds, answers, study.known, groups)
    told = {
        f"difference of two settings, {len(seeds)} seeds": not found["low"] <= 0 <= found["high"],
        f"metric over {len(seeds)} seeds": not several.low <= truth <= several.high,
    }
    runs = [answers[Condition(name), None] for name in study.baselines]
    if runs:
        one, gains = mean_of(runs[0], groups), runs[1].astype(float) - runs[0]
        told["metric of one run"] = not one.low <= scenario.truth((usual, usual), usual) <= one.high
        told["difference of two runs"] = p_of_pair(gains, groups, scenario.metric) < SIGNIFICANCE
    return told


def cluster(case: tuple[Alike, Study, int]) -> pd.DataFrame:
    """How often errors, clustered and not, are too small where reviews come in groups.

    Args:
        case: the groups, the design, and the number of made-up studies.
    """
    alike, study, studies = case
    row, groups, found = Row(study, Scenario(1.0), studies), alike.groups(), []
    rng = np.random.default_rng([len(study.contrasts[0].seeds), len(study.known), *alike.sizes])
    gc.freeze()
    with threadpool_limits(1):
        for _ in range(studies):
            answers = make_up(row, "", rng, alike)
            found.append([errs(row, answers, each) for each in (groups, None)])
    shares = [pd.DataFrame(each).mean().map("{:.1%}".format) for each in zip(*found, strict=True)]
    table = pd.concat(shares, axis=1, keys=["clustered", "unclustered"]).rename_axis("what")
    described = {"groups": alike.name, "in common": alike.common, "studies": f"{studies:,}"}
    return table.reset_index().assign(**described)


def simulate_groups(studies: int, processes: int) -> pd.DataFrame:
    """The table of reviews in groups, from four times as many studies, and twice as many pages."""
    designs = [
        (two_settings(3), 4 * studies),
        (two_settings(10)._replace(baselines=TWO_RUNS), 4 * studies),
        (read_study("config.yaml"), 2 * studies),
    ]
    cases = [(alike, *design) for alike in GROUPS for design in designs]
    with ProcessPoolExecutor(processes) as pool:
        found = list(progress(pool.map(cluster, cases), len(cases), "groups", "line"))
    columns = ["groups", "in common", "what", "clustered", "unclustered", "studies"]
    return pd.concat(found)[columns]


def measure_metric(row: Row) -> dict[str, Any]:
    """One line of the table of metrics: a page, and two settings and two runs on its reviews."""
    two = row._replace(study=two_settings(3)._replace(name=row.study.name, baselines=TWO_RUNS))
    rng = np.random.default_rng(row.scenario.seed)
    with threadpool_limits(1):
        found = [errs(two, make_up(two, "", rng)) for _ in range(row.studies)]
    usual = STUDIES[row.study.name].accuracy
    right = [NORMAL.cdf(each) for each in row.scenario.ease((usual, usual), usual)]
    page = measure(row)
    told = ("pages with a false verdict", "2 points between models found", "false verdicts besides")
    return {
        "metric": METRICS[row.scenario.metric],
        "classes": f"{row.scenario.percent}:{100 - row.scenario.percent}",
        "study": row.study.name,
        "labelled right of each": " and ".join(f"{share:.0%}" for share in right),
        **{name: page[name] for name in told},
        **pd.DataFrame(found).mean().map("{:.1%}".format),
    }


def simulate_metrics(studies: int, processes: int) -> pd.DataFrame:
    """The table of metrics and class shares, from twice as many studies."""
    rows = [
        Row(read_study(name), Scenario(1.0, metric=metric, share=share), 2 * studies)
        for metric, share, name in product((BALANCED_ACCURACY, MACRO_F1), CLASS_SHARES, STUDIES)
    ]
    with ProcessPoolExecutor(processes) as pool:
        return pd.DataFrame(progress(pool.map(measure_metric, rows), len(rows), "metrics", "line"))


def simulate_learned(reviews: int) -> dict[str, str]:
    """How often a run at chance counts as learned, and one 10 points above as failed."""
    rng, label = np.random.default_rng(0), np.arange(reviews) % 2
    level = chance_level(label)
    at, above = (
        np.array([chance_p(label, label ^ (rng.random(reviews) > share)) for _ in range(RUNS)])
        for share in (0.5, 0.6)
    )
    return {
        "validation reviews": f"{reviews:,}",
        "level": f"{level:.2%}",
        "runs at chance that pass": f"{np.mean(at < level):.1%}",
        "runs 10 points above that are lost": f"{np.mean(above >= level):.1%}",
        "lost at 0.1%": f"{np.mean(above >= 0.001):.1%}",
    }


def main() -> None:
    """Print the tables."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--studies", type=int, default=1000, help="made up for each line")
    flags.add_argument("--processes", type=int, default=os.cpu_count(), help="that share the work")
    options = flags.parse_args()
    print(simulate(options.studies, options.processes).to_markdown(index=False), flush=True)
    print()
    print(simulate_two(options.studies, options.processes).to_markdown(index=False), flush=True)
    print()
    print(simulate_groups(options.studies, options.processes).to_markdown(index=False), flush=True)
    print()
    print(simulate_metrics(options.studies, options.processes).to_markdown(index=False), flush=True)
    print()
    learned = pd.DataFrame(map(simulate_learned, (60, 120, 250, 500, 1000, 2000)))
    print(learned.to_markdown(index=False))


if __name__ == "__main__":
    main()
