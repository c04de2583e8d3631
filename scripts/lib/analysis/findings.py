"""Answers to the questions of a study, made from the predictions of its runs by rule.

contrasts.py plans what is compared, verdicts.py decides what it shows, and this says it. Runs that
did not learn take no part.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.analysis.comparisons import compare_runs
from lib.analysis.contrasts import (
    BACKEND,
    BASELINE,
    BATCH,
    ENCODER,
    EQUAL_UPDATES,
    LENGTH,
    PADDING,
    POOLING,
    SCALING,
    TRUNCATION,
    Contrast,
    plan,
)
from lib.analysis.representatives import representatives
from lib.analysis.results import ALL, are_baselines, at_chosen_rates, updates_of
from lib.analysis.statistics import SIGNIFICANCE, Paired, holm
from lib.analysis.study import Study
from lib.analysis.tuning import as_settings, tuning_of
from lib.analysis.verdicts import Known, answers_of, decide, estimate, known_of, parts
from lib.analysis.wording import (
    ALIKE,
    ALONE,
    IDENTICAL,
    NOT_ASKED,
    NOTHING,
    OBSERVED,
    RESTS,
    SHOWN,
    UNDECIDED,
    margin_is,
    paired_test,
    what_would_decide,
)
from lib.command.formats import counted, duration, interval, p_is, percent, plural, points
from lib.study.metrics import METRICS
from lib.study.runs import CONDITION, Condition, Run, is_baseline

FAILURE = "Did any run fail to learn?"
# question -> why a study may leave it out
WHEN_ASKED = {
    ENCODER: "no two runs differ in the encoder alone",
    BASELINE: "the study leaves the baseline out",
    POOLING: "no two runs differ in the pooling alone, but for the two means",
    PADDING: "no two runs differ in that alone, padded-mean against masked-mean",
    LENGTH: "no two runs differ in max_length alone",
    TRUNCATION: "no two runs differ in truncation alone",
    BATCH: "no two runs differ in the batch alone",
    BACKEND: "no two runs differ in the back-end alone (one with backend: accelerate would)",
    SCALING: "no two runs differ in that alone, one scaled and one not, above lr_scaling_base",
}
COLUMNS = (
    *("question", "first", "second", "verdict", "answer"),
    *("metric", "difference", "low", "high", "margin"),
    *("p", "p_holm", "p_alike", "p_alike_holm", "standard_error", "df", "rests_on_others"),
    *("agreement",),
    *("detectable", "seeds_to_halve", "reviews_to_halve", "settings", "seeds", "n", "groups"),
)
TYPES = {
    **dict.fromkeys(["settings", "seeds", "n", "groups"], "Int64"),
    "rests_on_others": "boolean",
}

Predictions = Mapping[Run, pd.DataFrame]


def answer(
    study: Study, conditions: pd.DataFrame, margin: float, noun: str
) -> dict[str, pd.DataFrame]:
    """The tables findings and estimates.

    Args:
        study: of which the runs that learned take part.
        conditions: the table conditions.
        margin: difference up to which two levels count as equal in practice.
        noun: what the dataset calls its texts.
    """
    tuned, variants = tuning_of(study.runs)
    encoders = (run.condition for run in study.encoders())
    known = known_of(encoders, variants, updates_of(study.runs))
    grid: dict[Run, Any] = dict.fromkeys(study.predictions)
    grid |= as_settings(grid, tuned)
    predictions = study.that_count()
    predictions |= as_settings(predictions, tuned)
    planned = plan(grid, variants, predictions, tuned)
    judged = judge(planned, predictions, known, margin, study, noun)
    tables = [
        judged,
        pd.DataFrame(not_asked(planned)),
        pd.DataFrame(failures(study.runs)),
        pd.DataFrame(costs(conditions, representatives(study.runs), study.metric)),
    ]
    findings = pd.concat([each for each in tables if len(each)], ignore_index=True)
    differing = [planned[i] for i in judged.index[judged["verdict"] != IDENTICAL]]
    return {
        "findings": findings.assign(metric=study.metric).reindex(columns=COLUMNS).astype(TYPES),
        "estimates": estimates(differing, predictions, known, study, noun),
    }


def judge(
    contrasts: Sequence[Contrast],
    predictions: Predictions,
    known: Known,
    margin: float,
    study: Study,
    noun: str,
) -> pd.DataFrame:
    """The verdicts on all contrasts, each with its sentence.

    Identical predictions and contrasts without runs that learned can't earn a verdict, and count in
    no family.
    """
    groups = study.groups
    pairs = [pairs_of_runs(contrast, predictions, study) for contrast in contrasts]
    table = pd.DataFrame(
        {
            "question": [asked(contrast, noun) for contrast in contrasts],
            "first": [level(contrast, contrast.first) for contrast in contrasts],
            "second": [level(contrast, contrast.second) for contrast in contrasts],
            "agreement": [np.mean([pair.agreement for pair in found] or np.nan) for found in pairs],
        }
    )
    table["verdict"] = np.where(table["agreement"] == 1, IDENTICAL, NOTHING)
    open_ones = table.index[table["agreement"] < 1]
    compared = table.index[table["agreement"].notna()]
    answers = answers_of(predictions, study.metric)
    several = [contrasts[i] for i in open_ones]
    decided = decide(several, answers, known, margin, groups).set_index(open_ones)
    several = [contrasts[i] for i in compared]
    measured = estimate(several, answers, known, groups).set_index(compared)
    table = decided.combine_first(table).combine_first(measured)
    table.loc[table["verdict"] == IDENTICAL, ["low", "high"]] = np.nan
    for i in table.index[table["verdict"] == ALONE]:
        table.loc[i, "p"] = holm(pd.Series([pair.p for pair in pairs[i]])).min()
    table = table.assign(margin=margin).astype(TYPES)
    table["answer"] = [
        sentence(row, margin, study.metric, noun) for row in table.to_dict("records")
    ]
    return table


def pairs_of_runs(contrast: Contrast, predictions: Predictions, study: Study) -> list[Paired]:
    """The single runs of a contrast, compared in pairs."""
    by_key = {(run.condition, run.seed): found for run, found in predictions.items()}

    def of(condition: Condition, seed: int) -> pd.DataFrame:
        return by_key[condition, None if is_baseline(condition) else seed]

    return [
        compare_runs(of(first, seed), of(second, seed), study.groups, study.metric)
        for first, second in contrast.pairs
        for seed in contrast.seeds
    ]


def asked(contrast: Contrast, noun: str) -> str:
    """The question of a contrast, with the number of training texts where that is a sample."""
    if contrast.examples == ALL:
        return contrast.question
    return f"{contrast.question[:-1]}, from {int(contrast.examples):,} training {noun}?"


def level(contrast: Contrast, name: str) -> str:
    """A level of a factor, as a sentence names it."""
    if contrast.question in (BATCH, EQUAL_UPDATES):
        return f"batch {name}"
    return f"{name} tokens" if contrast.question == LENGTH else name


def sentence(row: Mapping[str, Any], margin: float, metric: str, noun: str) -> str:
    """What a contrast shows, with its evidence; the better level comes first."""
    first, second = row["first"], row["second"]
    both = f"{first} and {second}"
    if row["verdict"] == NOTHING:
        return f"{both}: no two runs that learned differ in this alone."
    seeds, n = plural(row["seeds"], "seed"), counted(row["n"], noun)
    if row["verdict"] == IDENTICAL:
        return f"{both}: the same label for each of {n}, with {seeds}."
    low, high, difference = row["low"], row["high"], row["difference"]
    if difference < 0:
        first, second = second, first
        low, high, difference = -high, -low, -difference
    found = f"{second} over {first}: {points(difference)} points"
    ends = interval(low, high, points)
    tested = f"mean of {plural(row['settings'], 'setting')}, {seeds}, {n}"
    if row["verdict"] == ALONE:
        test = f"{paired_test(row['groups'], metric)}, {p_is(row['p'])}"
        return (
            f"{found} on these runs alone ({ends} over {noun}; {test}; {tested}). "
            "Nothing is said of other seeds."
        )
    text = {
        SHOWN: f"{found} ({ends}, {p_is(row['p_holm'])}; {tested}).",
        ALIKE: f"{both} are alike within {margin_is(margin)}. {found} ({ends}, "
        f"{p_is(row['p_alike_holm'])}; {tested}).",
        UNDECIDED: f"{both}: undecided. {found} ({ends}; {tested}). "
        f"{what_would_decide(row, noun)}.",
    }[row["verdict"]]
    if row["verdict"] == SHOWN and row["p_alike_holm"] < SIGNIFICANCE:
        text += f" That is within {margin_is(margin)}."
    return f"{text} {RESTS}." if row["rests_on_others"] else text


def not_asked(contrasts: Sequence[Contrast]) -> Iterator[dict[str, Any]]:
    """The questions to which the grid has no contrast."""
    asked = {contrast.question for contrast in contrasts}
    for question, reason in WHEN_ASKED.items():
        if question not in asked:
            yield {"question": question, "verdict": NOT_ASKED, "answer": f"{reason}."}


def failures(runs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The runs whose validation is not shown to be better than chance."""
    failed = runs[~runs["learned"]]
    test = "validation predictions against the same ones in any order, permutation test"
    text = f"None of {plural(len(runs), 'run')} ({test}, {p_is(runs['chance_p'].max())} at most)."
    if len(failed):
        names = [
            f"{rows.iloc[0]['model']}, {condition(rows.iloc[0])}: {seeds_and_p(rows)}"
            for _, rows in failed.groupby(CONDITION, sort=False)
        ]
        level = percent(runs["chance_level"].max())
        text = f"{len(failed)} of {plural(len(runs), 'run')} ({test}, {level}): {'; '.join(names)}."
    yield {"question": FAILURE, "verdict": OBSERVED, "answer": text}


def seeds_and_p(rows: pd.DataFrame) -> str:
    """The runs of one condition that did not learn, each with its p."""
    found = zip(rows["seed"], rows["diverged"], rows["chance_p"], strict=True)
    return ", ".join(
        f"seed {seed} ({'diverged' if diverged else p_is(p)})" for seed, diverged, p in found
    )


def costs(conditions: pd.DataFrame, best: pd.DataFrame, metric: str) -> Iterator[dict[str, Any]]:
    """Seconds of training: each model, each pair of models at equal conditions, the baselines.

    Args:
        conditions: the table conditions.
        best: the run that stands for each model.
        metric: of the study.
    """
    name = METRICS[metric]
    encoders = at_chosen_rates(conditions[~are_baselines(conditions)])
    whole = encoders[encoders["learned"] == encoders["seeds"]]
    best = at_chosen_rates(best)[CONDITION].merge(encoders, on=CONDITION)
    texts = [
        cost_of(row, whole[whole["model"] == row["model"]], name) for _, row in best.iterrows()
    ]
    seconds = whole.set_index(CONDITION)["train_seconds"].unstack("model")
    for pair in itertools.combinations(whole["model"].unique(), 2):
        ratio = (seconds[pair[1]] / seconds[pair[0]]).dropna()
        if len(ratio):
            texts.append(ratio_of(pair, ratio))
    for _, row in conditions[are_baselines(conditions)].iterrows():
        texts.append(
            f"{row['model']}: {duration(row['train_seconds'])}, tuning included, for a test "
            f"{name} of {row['value']:.4f}."
        )
    for text in texts:
        yield {
            "question": f"What does {name} cost in seconds?",
            "verdict": OBSERVED,
            "answer": text,
        }


def cost_of(best: pd.Series, rows: pd.DataFrame, metric: str) -> str:
    """The seconds of a model, and of its condition that is best in validation."""
    seconds = rows["train_seconds"] if len(rows) else pd.Series([best["train_seconds"]])
    return (
        f"{best['model']}: {duration(seconds.median())} of training per run, in the median "
        f"over its settings; {condition(best)}, best in validation, took "
        f"{duration(best['train_seconds'])} for a test {metric} of {best['value']:.4f} "
        f"({plural(int(best['seeds']), 'seed')})."
    )


def ratio_of(pair: tuple[str, str], ratio: pd.Series) -> str:
    """How many times the seconds of one model the other takes, over equal conditions."""
    first, second = pair
    if ratio.median() < 1:
        first, second, ratio = second, first, 1 / ratio
    among = f", from {ratio.min():.2f} to {ratio.max():.2f}" if len(ratio) > 1 else ""
    return (
        f"{second} takes {ratio.median():.2f} times the seconds of {first}{among} "
        f"({plural(len(ratio), 'equal condition')})."
    )


def condition(row: pd.Series) -> str:
    """Pooling, batch and variant as `cls, batch 64, sqrt-lr`."""
    variant = "" if row["variant"] == "base" else row["variant"]
    return ", ".join(filter(None, [row["pooling"], f"batch {row['batch']}", variant]))


def estimates(
    contrasts: Sequence[Contrast],
    predictions: Predictions,
    known: Known,
    study: Study,
    noun: str,
) -> pd.DataFrame:
    """The contrasts of single models and settings: a row each, without verdicts."""
    found = [(contrast, *part) for contrast in contrasts for part in parts(contrast)]
    keys = pd.DataFrame(
        [
            {
                "question": asked(contrast, noun),
                "first": level(contrast, contrast.first),
                "second": level(contrast, contrast.second),
                **shared._asdict(),
            }
            for contrast, shared, _ in found
        ],
        columns=["question", "first", "second", *CONDITION],
    )
    answers = answers_of(predictions, study.metric)
    measured = estimate([part for *_, part in found], answers, known, study.groups)
    table = keys.assign(metric=study.metric).astype({"batch": "Int64"})
    return table.join(measured.drop(columns="settings"))
