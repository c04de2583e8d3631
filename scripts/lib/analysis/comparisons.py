"""Comparisons of single runs in pairs, on the same test reviews.

Two runs are a pair when they differ in one key alone: model, pooling, batch or variant. Every run
is compared with the baselines besides. What such a pair shows is about these two trained models;
what settings do is told by contrasts over seeds.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from lib.analysis.groups import Groups
from lib.analysis.results import NUMBERS, settings_of_variants
from lib.analysis.statistics import Paired, compare_pair
from lib.analysis.study import Study
from lib.command.console import progress
from lib.study.runs import KEYS, Run, baselines_of, is_baseline

FACTORS = ("model", "pooling", "batch", "variant")


def compare(study: Study) -> pd.DataFrame:
    """The table comparisons: a row per pair of runs."""
    predictions, measured = study.predictions, study.measured
    found = list(pairs(list(predictions), settings_of_variants(study.runs)))
    rows = []
    for factor, first, second in progress(found, len(found), "compare runs", "pair"):
        both = measured[first], measured[second]
        rows.append(
            describe(factor, first, second)
            | {"both_learned": all(each["learned"] for each in both), "metric": study.metric}
            | compare_runs(
                predictions[first], predictions[second], study.groups, study.metric
            )._asdict()
        )
    columns = ["factor", *KEYS, "first", "second", "both_learned", "metric", *Paired._fields]
    return pd.DataFrame(rows, columns=columns).astype(
        NUMBERS | {"both_learned": bool, "groups": "Int64"}
    )


def pairs(
    keys: list[Run], variants: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Run, Run]]:
    """The pairs of runs that differ in one key, with its name, and those with the baselines.

    Of the baselines, an encoder is compared with those on the full text and on what it sees.

    Args:
        keys: of runs and baselines.
        variants: per variant the settings of its training.
    """
    encoders = [key for key in keys if not is_baseline(key)]
    for pair in itertools.combinations(encoders, 2):
        different = [key for key in KEYS if len({getattr(run, key) for run in pair}) == 2]
        if len(different) == 1 and different[0] in FACTORS:
            first, second = ordered(pair, different[0], encoders)
            yield different[0], first, second
    for baseline, encoder in itertools.product(filter(is_baseline, keys), encoders):
        if baseline.model in baselines_of(encoder.model, variants[encoder.variant]):
            yield "baseline", baseline, encoder


def ordered(pair: tuple[Run, Run], factor: str, runs: list[Run]) -> list[Run]:
    """A pair in the order that all pairs have: of batches by size, else as the study has them."""
    values = [getattr(run, factor) for run in runs]
    place = int if factor == "batch" else values.index
    return sorted(pair, key=lambda run: place(getattr(run, factor)))


def describe(factor: str, first: Run, second: Run) -> dict[str, Any]:
    """The keys that two runs share, and the two values of the one in which they differ."""
    name = "model" if factor == "baseline" else factor
    shared = second._asdict()
    if factor != "baseline":
        shared[factor] = None if factor == "batch" else ""
    return {
        "factor": factor,
        **shared,
        "first": str(getattr(first, name)),
        "second": str(getattr(second, name)),
    }


def compare_runs(first: pd.DataFrame, second: pd.DataFrame, groups: Groups, metric: str) -> Paired:
    """Compare the predictions of two runs on the reviews that both were tested on."""
    shared = first.index.intersection(second.index)
    first, second = first.loc[shared], second.loc[shared]
    right, one, other = first["label"], first["prediction"], second["prediction"]
    return compare_pair(right.to_numpy(), one.to_numpy(), other.to_numpy(), groups, metric)
