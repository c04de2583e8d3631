"""Answers to the questions of a study, made from its tables by rule.

A difference is said to be shown where its p-value after Holm's correction is under 5%: that of
the paired t-test over seeds where two conditions share two seeds or more, else that of the exact
McNemar test of the one seed. Runs that did not learn take no part in comparisons.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lib.analysis.collection import settings_of_variants
from lib.analysis.results import SIGNIFICANCE, are_baselines
from lib.formats import duration, interval, p_is, plural, points
from lib.runs import CONDITION
from lib.schema import keys_that
from lib.tables import read_table, write_table

NAMES = ["factor", *CONDITION, "first", "second"]
EVIDENCE = ["difference", "low", "high", "p_holm", "test", "n", "seeds"]
MEANS = frozenset({"mean", "masked-mean"})
CLEAREST = 3  # comparisons that one answer names


class Answer(NamedTuple):
    """What is found on a question.

    Attributes:
        text: sentences that name their evidence.
        verdict: `difference shown`, `no difference shown`, `observed` or `not asked`.
        evidence: the numbers of the clearest comparison, where there is one.
    """

    text: str
    verdict: str
    evidence: Mapping[str, Any] = {}


@dataclass
class Study:
    """The tables of a study.

    Attributes:
        measures: what each run measured.
        conditions: the same over seeds.
        comparisons: pairs of runs.
        over_seeds: pairs of conditions.
        variants: per variant the settings of its training.
    """

    measures: pd.DataFrame
    conditions: pd.DataFrame
    comparisons: pd.DataFrame
    over_seeds: pd.DataFrame
    variants: Mapping[str, Mapping[str, Any]]

    def encoders(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of measures or conditions that are encoders."""
        return table[~are_baselines(table)]

    def models(self) -> list[str]:
        """The encoders, in the order of the study."""
        return self.encoders(self.measures)["model"].unique().tolist()

    def evidence(self, factor: str) -> pd.DataFrame:
        """The comparisons of a factor in which both sides learned, one per pair of conditions.

        It is that over seeds where the conditions share two or more with which both learned.
        """
        several = self.over_seeds.assign(test="paired t-test over seeds")
        known = set(several[NAMES].itertuples(index=False, name=None))
        single = self.comparisons[self.comparisons["both_learned"]]
        single = single[[row not in known for row in single[NAMES].itertuples(False, None)]]
        single = single.assign(test="exact McNemar test", seeds=1)
        parts = [part[[*NAMES, *EVIDENCE]] for part in (several, single) if len(part)]
        if not parts:
            return pd.DataFrame(columns=[*NAMES, *EVIDENCE])
        table = pd.concat(parts, ignore_index=True)
        return table[table["factor"] == factor]


def judge(subject: str, rows: pd.DataFrame) -> Answer:
    """What comparisons show together: the clearest of them, and how many show nothing."""
    if rows.empty:
        text = f"{subject}: nothing to compare, no two runs that learned differ in this alone."
        return Answer(text, "not asked")
    shown = rows[rows["p_holm"] < SIGNIFICANCE].sort_values("p_holm", kind="stable")
    count = plural(len(rows), "comparison")
    if shown.empty:
        named = rows.loc[[rows["difference"].abs().idxmax()]]
        text = f"{subject}: no difference shown in {count}. The largest: "
    else:
        named = shown.head(CLEAREST)
        some = "; the clearest: " if len(shown) > CLEAREST else ": "
        text = f"{subject}: a difference is shown in {len(shown)} of {count}{some}"
    text += "; ".join(describe(row) for _, row in named.iterrows()) + "."
    if 0 < len(shown) < len(rows):
        text += " In the rest, none is shown."
    if (named["seeds"] == 1).any():
        text += " One seed does not tell how another would come out."
    verdict = "no difference shown" if shown.empty else "difference shown"
    return Answer(text, verdict, named.iloc[0][EVIDENCE].to_dict())


def describe(row: pd.Series) -> str:
    """One comparison with its evidence, the better side first."""
    first, second = row["first"], row["second"]
    low, high, difference = row["low"], row["high"], row["difference"]
    if difference < 0:
        first, second = second, first
        low, high, difference = -high, -low, -difference
    if row["factor"] == "batch":
        first, second = f"batch {first}", f"batch {second}"
    sides = f"{second} over {first}" if difference else f"{second} and {first} alike"
    seeds = plural(int(row["seeds"]), "seed")
    if pd.isna(row["p_holm"]):
        found = "the same with each seed, which leaves nothing to test against"
    else:
        found = (
            f"95% interval {interval(low, high, points)}, Holm-corrected "
            f"{p_is(row['p_holm'])} ({row['test']})"
        )
    tested = plural(int(row["n"]), "review")
    return (
        f"{sides} ({condition(row)}): {points(difference)} points, {found}, n = {tested}, {seeds}"
    )


def condition(row: pd.Series) -> str:
    """Pooling, batch and variant as `cls, batch 64, sqrt-lr`, without those that are not there."""
    batch = f"batch {row['batch']}" if pd.notna(row["batch"]) else ""
    variant = "" if row["variant"] == "base" else row["variant"]
    return ", ".join(filter(None, [row["pooling"], batch, variant]))


def which_encoder(study: Study) -> Iterator[Answer]:
    """Each pair of models, at equal pooling, batch, variant and seed."""
    names = study.models()
    if len(names) == 1:
        yield Answer(f"Not asked: the study has one encoder, {names[0]}.", "not asked")
    table = study.evidence("model")
    for first, second in itertools.combinations(names, 2):
        rows = table[(table["first"] == first) & (table["second"] == second)]
        yield judge(f"{first} and {second}", rows)


def beats_baseline(study: Study) -> Iterator[Answer]:
    """The run that stands for each model, against TF-IDF on the full text and on what it sees."""
    table = study.evidence("baseline")
    if not are_baselines(study.measures).any():
        yield Answer("Not asked: the study leaves the baseline out.", "not asked")
        return
    chosen = study.encoders(study.measures).query("representative")
    for row in chosen[CONDITION].to_dict("records"):
        same = (table[CONDITION] == row).all(axis=1)
        yield judge(f"{row['model']} and TF-IDF", table[same])


def does_pooling_matter(study: Study) -> Iterator[Answer]:
    """The pairs of poolings of each model, but for the two means."""
    table = study.evidence("pooling")
    yield from within_models(study, "pooling", table[~between_means(table)], MEANS)


def does_padding_cost(study: Study) -> Iterator[Answer]:
    """The mean over all positions against the mean over real tokens, for each model."""
    if not set(study.measures["pooling"]) >= MEANS:
        yield Answer(
            "Not asked: the study does not train with both mean and masked-mean.", "not asked"
        )
        return
    table = study.evidence("pooling")
    for model in study.models():
        yield judge(model, table[between_means(table) & (table["model"] == model)])


def between_means(table: pd.DataFrame) -> pd.Series:
    """Which comparisons are between the mean over all positions and that over real tokens."""
    return table["first"].isin(MEANS) & table["second"].isin(MEANS)


def which_batch(study: Study) -> Iterator[Answer]:
    """The pairs of effective batches of each model."""
    yield from within_models(study, "batch", study.evidence("batch"))


def within_models(
    study: Study, key: str, table: pd.DataFrame, elsewhere: frozenset[str] = frozenset()
) -> Iterator[Answer]:
    """What the comparisons of a key show for each model, and what validation prefers.

    Values of which all are `elsewhere` are compared in the answer to another question.
    """
    conditions = study.encoders(study.conditions)
    for model, found in conditions.groupby("model", sort=False):
        if found[key].nunique() == 1:
            yield Answer(f"{model}: not asked; one {key} alone, {found[key].iloc[0]}.", "not asked")
            continue
        if set(found[key]) <= elsewhere:
            names = " and ".join(found[key].unique())
            yield Answer(f"{model}: {names} alone, which the next question compares.", "not asked")
            continue
        answer = judge(model, table[table["model"] == model])
        best = found.loc[found["valid_accuracy"].idxmax()]
        observed = (
            f" Validation accuracy, by which one chooses, is highest for {condition(best)}: "
            f"{best['valid_accuracy']:.4f} ({plural(int(best['seeds']), 'seed')})."
        )
        yield answer._replace(text=answer.text + observed)


def did_any_fail(study: Study) -> Iterator[Answer]:
    """The runs that diverged, or whose validation accuracy is not shown above the majority."""
    runs = study.encoders(study.measures)
    failed = runs[~runs["learned"]]
    count = plural(len(runs), "run")
    if failed.empty:
        highest = runs["chance_p"].max()
        yield Answer(
            f"No: the validation accuracy of all {count} is above the share of the most frequent "
            f"class (exact binomial test, {p_is(highest)} at most).",
            "observed",
        )
        return
    names = [
        f"{row['model']}, {condition(row)}, seed {row['seed']} (accuracy {row['accuracy']:.4f}, "
        + ("diverged)" if row["diverged"] else f"{p_is(row['chance_p'])})")
        for _, row in failed.iterrows()
    ]
    yield Answer(
        f"Yes, {len(failed)} of {count}: the validation accuracy is not shown to be above the "
        "share of the most frequent class (exact binomial test, 0.1%), or training diverged. "
        f"{'; '.join(names)}.",
        "observed",
    )


def do_backends_agree(study: Study) -> Iterator[Answer]:
    """Variants that differ in the back-end, and in nothing that decides what is learned."""
    learned = set(keys_that("learned"))

    def only_computes(row: Any) -> bool:
        changed = differences(study, row)
        return "backend" in changed and learned.isdisjoint(changed)

    yield from between_variants(study, only_computes, "backend: accelerate")


def does_scaling_help(study: Study) -> Iterator[Answer]:
    """Variants with and without scaling, at batches above the one where it begins."""

    def scales_one(row: Any) -> bool:
        sides = [study.variants[name] for name in (row.first, row.second)]
        scaled = [side for side in sides if side["lr_scaling"] != "none"]
        alone = differences(study, row) <= {"lr_scaling", "lr_scaling_base"}
        return alone and len(scaled) == 1 and row.batch > scaled[0]["lr_scaling_base"]

    yield from between_variants(study, scales_one, "lr_scaling: sqrt or linear")


def differences(study: Study, row: Any) -> set[str]:
    """The training settings in which the two variants of a comparison differ."""
    first, second = study.variants[row.first], study.variants[row.second]
    return {key for key, value in first.items() if second[key] != value}


def between_variants(
    study: Study, counts: Callable[[Any], bool], asked_by: str
) -> Iterator[Answer]:
    """What the comparisons show of those pairs of variants that count."""
    table = study.evidence("variant")
    table = table[pd.Series([counts(row) for row in table.itertuples()], table.index, bool)]
    if table.empty:
        yield Answer(
            "Not asked: no two variants of the grid differ in this alone; one with "
            f"{asked_by} would tell.",
            "not asked",
        )
        return
    for model, rows in table.groupby("model", sort=False):
        answer = judge(model, rows)
        same = study.comparisons.merge(rows[NAMES], on=NAMES)["agreement"].min()
        share = f" They label at least {100 * same:.1f}% of the reviews alike."
        yield answer._replace(text=answer.text + share)


def what_it_costs(study: Study) -> Iterator[Answer]:
    """Seconds of training: each pair of models at equal conditions, and the baselines."""
    conditions = study.encoders(study.conditions)
    seconds = conditions.set_index(CONDITION)["train_seconds"].unstack("model")
    names = study.models()
    for name in names:
        rows = conditions[conditions["model"] == name]
        best = rows.loc[rows["valid_accuracy"].idxmax()]
        yield Answer(
            f"{name}: a median of {duration(rows['train_seconds'].median())} of training per run; "
            f"{condition(best)}, highest in validation, took {duration(best['train_seconds'])} for "
            f"a test accuracy of {best['accuracy']:.4f}, 95% interval "
            f"{interval(best['low'], best['high'], '{:.4f}'.format)} "
            f"({plural(int(best['seeds']), 'seed')}).",
            "observed",
        )
    for first, second in itertools.combinations(names, 2):
        ratio = (seconds[second] / seconds[first]).dropna()
        if len(ratio):
            yield Answer(
                f"{second} takes {ratio.median():.2f} times the seconds of {first}: the median "
                f"of {plural(len(ratio), 'equal condition')}, from {ratio.min():.2f} to "
                f"{ratio.max():.2f}.",
                "observed",
            )
    baselines = study.conditions[are_baselines(study.conditions)]
    if len(baselines):
        costs = [
            f"{row['model']}, took {duration(row['train_seconds'])} for {row['accuracy']:.4f}, "
            f"95% interval {row['low']:.4f} to {row['high']:.4f}"
            for _, row in baselines.iterrows()
        ]
        yield Answer(f"{'; '.join(costs)}; tuning included, no seed.", "observed")


QUESTIONS = {
    "Which encoder?": which_encoder,
    "Does an encoder beat the classical baseline?": beats_baseline,
    "Does the pooling matter?": does_pooling_matter,
    "Does padding in the mean cost anything?": does_padding_cost,
    "Which effective batch?": which_batch,
    "Did any run fail to learn?": did_any_fail,
    "Do torch and Accelerate agree?": do_backends_agree,
    "Does scaling the learning rate help at large batches?": does_scaling_help,
    "What does accuracy cost in seconds?": what_it_costs,
}


def answer(
    runs: Path, measures: Path, conditions: Path, comparisons: Path, over_seeds: Path, out: Path
) -> None:
    """Write the table findings: every question with its answers, in the order of the page.

    Args:
        runs: the table runs, which tells the settings of the variants.
        measures: the table measures.
        conditions: the table conditions.
        comparisons: the table comparisons.
        over_seeds: the table comparisons_over_seeds.
        out: folder of the tables.
    """
    study = Study(
        measures=read_table(measures),
        conditions=read_table(conditions),
        comparisons=read_table(comparisons),
        over_seeds=read_table(over_seeds),
        variants=settings_of_variants(read_table(runs)),
    )
    write_table(out, "findings", findings(study))


def findings(study: Study) -> pd.DataFrame:
    """Every question with its answers, in the order of the page: a row per answer."""
    return pd.DataFrame(
        {
            "question": question,
            "answer": answer.text,
            "verdict": answer.verdict,
            **dict.fromkeys(EVIDENCE),
            **answer.evidence,
        }
        for question, answers in QUESTIONS.items()
        for answer in answers(study)
    )
