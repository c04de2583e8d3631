"""The metric and seconds by how many tokens are seen of each text, and by which part of it."""

import numpy as np
import pandas as pd

from lib.analysis.contrasts import CUTS
from lib.analysis.data_curve import MEASURED, names, others
from lib.analysis.results import are_baselines, at_chosen_rates
from lib.analysis.study import Study
from lib.analysis.tuning import tuning_of
from lib.study.runs import CONDITION, FULL_TEXT, PREFIX, SEEN_TEXT, Run

KEYS = ["model", "pooling", "batch"]
LOSSES = ["texts_cut", "tokens_lost"]
COLUMNS = ["curve", *KEYS, "setting", *CUTS, *LOSSES, "train_seconds", *MEASURED]


def compare_cuts(study: Study, conditions: pd.DataFrame) -> pd.DataFrame:
    """The table cuts: a row per condition of which another differs in the cut alone.

    The baselines on the same tokens stand below, and the one on the full text last, whose length is
    missing.

    Args:
        study: whose runs tell how much of the texts they lost.
        conditions: the table conditions.
    """
    losses = study.runs.groupby(CONDITION, as_index=False)[LOSSES].mean()
    found = at_chosen_rates(conditions.merge(losses, "left", on=CONDITION))
    encoders = of_encoders(found[~are_baselines(found)], study)
    baselines = of_baselines(found[are_baselines(found)], study, set(encoders["model"]))
    rows = pd.concat([encoders, baselines], ignore_index=True).astype({"max_length": "Int64"})
    return rows.reindex(columns=COLUMNS)


def of_encoders(conditions: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The conditions of encoders that differ from others in the cut alone, with their curves."""
    variants = tuning_of(study.runs)[1]
    cuts = {key: conditions["setting"].map(lambda x, key=key: variants[x][key]) for key in CUTS}
    alike = conditions["setting"].map(lambda name: others(name, variants, *CUTS))
    conditions = conditions.assign(**cuts, alike=alike)
    groups = conditions.groupby([*KEYS, "alike"], sort=False)
    points = conditions.assign(setting=groups["setting"].transform("first"))
    points = points[groups["alike"].transform("count") > 1]
    return points.assign(curve=names(points)).sort_values("max_length", kind="stable")


def of_baselines(conditions: pd.DataFrame, study: Study, models: set[str]) -> pd.DataFrame:
    """The baselines on the tokens of some models, and on the full text; none beside no model."""
    dataset = study.runs["dataset"].iloc[0]
    told = [study.measured[Run(dataset, name)] for name in conditions["model"]]
    texts = [each["text"].removeprefix(SEEN_TEXT) for each in told]
    rows = conditions.assign(
        curve=[PREFIX + ("full text" if x == FULL_TEXT else f"tokens of {x}") for x in texts],
        max_length=[each.get("max_length") for each in told],
        truncation=[each.get("truncation", "") for each in told],
    )
    shown = {FULL_TEXT, *models} if models else models
    rows = rows[np.array([text in shown for text in texts], bool)]
    return rows.sort_values("max_length", kind="stable")  # the one without a length is last
