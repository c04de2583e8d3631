"""Variants that differ in the learning rate alone, as one setting whose rate validation chooses.

At one rate for all, two settings are compared by how well that rate suits each of them. So each is
compared at the rate that is best for it, of as many as the other one has tried (Dodge et al. 2020,
arXiv:2002.06305).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from lib.analysis.contrasts import RATE, Tuning, Variants, pairs
from lib.analysis.results import (
    BETTER,
    CHOOSE_BY,
    read_all,
    read_trained,
    runs_table,
    settings_of_variants,
    with_scores,
)
from lib.command.console import log
from lib.files.tables import write_table
from lib.study.runs import CONDITION, Condition, Run

Content = TypeVar("Content")
TUNED = " (tuned)"  # ends the name of a tuned setting, and of no variant, which has no parenthesis
SETTING = ["model", "pooling", "batch", "setting"]
CHOICES = ["rates", "chosen", "tested"]
ADDED = ["setting", *CHOICES]  # to the table runs


def choose(runs: Sequence[Path], out: Path) -> None:
    """Choose a learning rate for each tuned setting; write the tables tuning and budgets.

    Args:
        runs: folders of the runs, which are trained, in the order of the tables.
        out: folder of the tables.
    """
    table = with_settings(runs_table(read_all(runs, read_trained)), tuned=True)
    write_table(out, "tuning", rates_tried(table))
    write_table(out, "budgets", budgets(table))
    tested, rates = table["tested"].sum(), table[RATE].nunique()
    log.info("%d of %d runs, with %d learning rates, are to be tested", tested, len(runs), rates)


def with_settings(runs: pd.DataFrame, tuned: bool) -> pd.DataFrame:
    """Name the setting of each run, and tell whether it has the learning rate that is chosen.

    Of a tuned setting, the rate with the best validation in the mean over seeds is chosen, by the
    measure by which its runs choose an epoch, `training.choose_by` (ties: the lower loss, then the
    rate that comes first in the study). A rate at which fewer seeds learned than at another is
    never chosen. It counts as tried where it has as many seeds as any of its setting; a setting of
    one rate is not tuned.

    Args:
        runs: the table runs, without what is added.
        tuned: whether variants that differ in the learning rate alone are one setting.

    Returns:
        The runs with `setting` (that of a run that is not tuned is its variant), `rates` (how many
        its setting has tried), `chosen` (so are all runs that are not tuned) and `tested`: chosen
        ones, and those that are compared at the same rate with what is not tuned alike.
    """
    if not tuned:
        return runs.assign(setting=runs["variant"], rates=1, chosen=True, tested=True)
    names = tuned_settings(settings_of_variants(runs))
    runs = runs.assign(setting=runs["variant"].map(lambda name: names.get(name, name)))
    rows = means(runs)
    rows = rows[rows["seeds"] == rows.groupby(SETTING)["seeds"].transform("max")]
    rows = rows.assign(rates=rows.groupby(SETTING)["variant"].transform("count"))
    rows = rows[rows["rates"] > 1]
    order = ["learned", *BETTER]
    best = rows.sort_values(order, ascending=[False, False, True], kind="stable")
    rows["chosen"] = rows.index.isin(best.drop_duplicates(SETTING).index)
    runs = runs.merge(rows[[*CONDITION, "rates", "chosen"]], "left", on=CONDITION)
    untuned = runs["rates"].isna()
    runs = runs.assign(
        setting=runs["setting"].mask(untuned, runs["variant"]),
        rates=runs["rates"].fillna(1).astype(int),
        chosen=runs["chosen"].mask(untuned, True).astype(bool),
    )
    return runs.assign(tested=runs["chosen"] | are_compared(runs))


def are_compared(runs: pd.DataFrame) -> np.ndarray:
    """Which runs are compared at their own rates, and not as those of a tuned setting."""
    tuned, variants = tuning_of(runs)
    conditions = [Condition(*keys) for keys in runs[CONDITION].itertuples(index=False)]
    known = [*dict.fromkeys(conditions), *tuned.budgets]
    compared = {each for *_, pair in pairs(known, variants, tuned) for each in pair}
    return np.array([condition in compared for condition in conditions])


def means(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per condition: `setting`, the rate in use, `seeds`, how many `learned`, and means."""
    groups = with_scores(runs, runs[CHOOSE_BY]).groupby([*CONDITION, "setting"], sort=False)
    return groups.agg(
        learning_rate=(RATE, "first"),
        seeds=("seed", "count"),
        learned=("learned", "sum"),
        choose_by=(CHOOSE_BY, "first"),
        value=("value", "mean"),
        score=("score", "mean"),
        valid_loss=("valid_loss", "mean"),
    ).reset_index()


def rates_tried(runs: pd.DataFrame) -> pd.DataFrame:
    """The rates that each tuned setting has tried.

    Args:
        runs: the table runs.

    Returns:
        A row per condition: its keys, `setting`, `learning_rate` (the one in use), `seeds`, the
        measure `choose_by` and its mean `value`, the mean `valid_loss`, `rates`, `chosen`,
        `tested`, and `edge`: whether the chosen one is the lowest or the highest that was tried.
    """
    tuned = runs[runs["rates"] > 1]
    choices = tuned[[*CONDITION, *CHOICES]].drop_duplicates()
    rows = means(tuned).drop(columns=["score", "learned"]).merge(choices, on=CONDITION)
    place = rows.groupby(SETTING)[RATE].rank()
    return rows.assign(edge=rows["chosen"] & ((place == 1) | (place == rows["rates"])))


def tuned_settings(variants: Variants) -> dict[str, str]:
    """The tuned setting of each variant that differs from another one in the learning rate alone.

    It has the name of the first of them, as in `base (tuned)`.
    """
    alike: dict[tuple, list[str]] = defaultdict(list)
    for name, settings in variants.items():
        others = sorted((key, str(value)) for key, value in settings.items() if key != RATE)
        alike[tuple(others)].append(name)
    several = [names for names in alike.values() if len(names) > 1]
    return {name: names[0] + TUNED for names in several for name in names}


def budgets(runs: pd.DataFrame) -> pd.DataFrame:
    """The validation that is expected of the best of so many runs of a tuned setting.

    Runs are drawn from those of the setting, with replacement (Dodge et al. 2019,
    arXiv:1909.03004, equation 4), which is biased low (Tang et al. 2020, arXiv:2004.13705).

    Args:
        runs: the table runs.

    Returns:
        A row per setting and number of runs, its `budget`, with the measure `choose_by` of which
        the value is `expected`.
    """
    tables, tuned = [], runs[runs["rates"] > 1]
    for keys, group in with_scores(tuned, tuned[CHOOSE_BY]).groupby(SETTING, sort=False):
        values = group.sort_values("score")["value"].to_numpy()
        budget = np.arange(1, len(values) + 1)
        shares = np.arange(len(values) + 1)[:, None] / len(values)
        chances = np.diff(shares**budget, axis=0)  # (run, budget): that this one is the best
        table = pd.DataFrame({"budget": budget, "expected": values @ chances})
        table["choose_by"] = group[CHOOSE_BY].iloc[0]
        tables.append(table.assign(**dict(zip(SETTING, keys, strict=True))))
    columns = [*SETTING, "choose_by", "budget", "expected"]
    return pd.concat(tables)[columns] if tables else pd.DataFrame(columns=columns)


def tuning_of(runs: pd.DataFrame) -> tuple[Tuning, dict[str, dict[str, Any]]]:
    """The tuned settings of a study for its contrasts.

    Args:
        runs: the table runs.

    Returns:
        What is tuned; and per variant or tuned setting its training settings, of which those of
        a tuned one name no rate.
    """
    variants = settings_of_variants(runs)
    settings, budgets, chosen = {}, {}, {}
    tuned = runs.assign(seeds=runs.groupby(CONDITION)["seed"].transform("count"))
    for row in tuned[tuned["rates"] > 1].drop_duplicates(CONDITION).to_dict("records"):
        condition = Condition(*(row[key] for key in CONDITION))
        settings[condition] = own = condition._replace(variant=row["setting"])
        budgets[own] = row["rates"], row["seeds"]
        if row["chosen"]:
            chosen[own] = condition
        variants[own.variant] = {**variants[condition.variant], RATE: None}
    return Tuning(settings, budgets, chosen), variants


def as_settings(runs: Mapping[Run, Content], tuned: Tuning) -> dict[Run, Content]:
    """What is known of the runs that stand for tuned settings, which are named as these."""
    names = {condition: setting.variant for setting, condition in tuned.chosen.items()}
    return {
        run._replace(variant=names[run.condition]): content
        for run, content in runs.items()
        if run.condition in names
    }
