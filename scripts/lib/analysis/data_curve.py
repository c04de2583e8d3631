"""The metric by the number of training reviews: the learning curves of encoders and baselines."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lib.analysis.contrasts import UNTUNED, Variants
from lib.analysis.groups import Groups
from lib.analysis.measures import conditions as conditions_of
from lib.analysis.measures import measure_run
from lib.analysis.results import (
    ALL,
    SETTING,
    are_baselines,
    at_chosen_rates,
    read_all,
    read_baseline,
    stack,
)
from lib.analysis.study import Study
from lib.analysis.tuning import tuning_of
from lib.analysis.verdicts import answers_of
from lib.files.predictions import read_predictions

EXAMPLES = "examples"
KEYS = ["pooling", "batch", "setting"]  # that tell the curves of a model apart
MEASURED = ["seeds", "learned", "metric", "value", "low", "high", "deviation"]
COLUMNS = ["curve", "model", *KEYS, EXAMPLES, *MEASURED]


def data_curve(study: Study, conditions: pd.DataFrame, baselines: Sequence[Path]) -> pd.DataFrame:
    """The table data_curve.

    Args:
        study: whose runs tell how many reviews they learned from.
        conditions: the table conditions.
        baselines: folders of the baselines on samples of the training reviews.
    """
    found = [at_chosen_rates(conditions)]
    if baselines:
        found.append(measured(baselines, study.metric, study.groups))
    points = with_sizes(pd.concat(found, ignore_index=True), study.runs)
    return curves(points, tuning_of(study.runs)[1])


def measured(folders: Sequence[Path], metric: str, groups: Groups) -> pd.DataFrame:
    """The baselines on samples, as in the table conditions: a row per text and size."""
    tests, predictions = read_all(folders, read_baseline), read_all(folders, read_predictions)
    rows = {
        key: pd.DataFrame([measure_run(tests[key], found, metric, groups)])
        for key, found in predictions.items()
    }
    known = {key.condition: key.variant for key in predictions}
    measures, answers = stack(rows, tests, ()), answers_of(predictions, metric)
    return conditions_of(measures, answers, known, UNTUNED, {}, groups)


def with_sizes(conditions: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Conditions with their training reviews as numbers; without those on all, if no run tells."""
    whole = runs.loc[runs[SETTING + EXAMPLES] == ALL, EXAMPLES].max()
    sizes = pd.to_numeric(conditions[EXAMPLES], errors="coerce").fillna(whole)
    return conditions.assign(examples=sizes).dropna(subset=EXAMPLES).astype({EXAMPLES: int})


def curves(conditions: pd.DataFrame, variants: Variants) -> pd.DataFrame:
    """The conditions that are points of curves, in the order of curves and sizes.

    Conditions that differ in the number of training reviews alone are one curve, of two sizes or
    more; its setting has the name of the largest.

    Args:
        conditions: those at the chosen rates, with sizes.
        variants: per setting its training settings.
    """
    setting = conditions["setting"].mask(are_baselines(conditions), "")
    alike = {name: others(name, variants, EXAMPLES) for name in setting.unique()}
    points = conditions.assign(setting=setting, alike=setting.map(alike))
    groups = points.groupby(["model", "pooling", "batch", "alike"], sort=False, dropna=False)
    points = points.assign(place=groups.ngroup()).sort_values(["place", EXAMPLES], kind="stable")
    points = points.drop_duplicates(["place", EXAMPLES])
    by_curve = points.groupby("place")
    points["setting"] = by_curve["setting"].transform("last")
    points = points[by_curve[EXAMPLES].transform("count") > 1]
    return points.assign(curve=names(points))[COLUMNS]


def others(setting: str, variants: Variants, *keys: str) -> str:
    """The training settings of a setting but for some, as a text."""
    found = variants.get(setting, {})
    return str(sorted((key, str(value)) for key, value in found.items() if key not in keys))


def names(points: pd.DataFrame) -> list[str]:
    """The name of each point's curve: its model, and what the curves of a model differ in."""
    encoders = points[~are_baselines(points)]
    several = encoders.groupby("model")[KEYS].nunique().max() > 1
    differing = [key for key in KEYS if several[key]]
    return [
        ", ".join([row["model"], *(str(row[key]) for key in differing if row["setting"])])
        for row in points.to_dict("records")
    ]
