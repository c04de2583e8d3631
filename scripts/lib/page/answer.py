"""The answer of a study: a paragraph made from its verdicts alone, before any table.

Its numbers are those of the table of verdicts, the better of two levels first. Of many verdicts of
a kind it names some, and counts the others.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import pandas as pd

from lib.analysis.contrasts import BACKEND, BASELINE, SCALING
from lib.analysis.statistics import SIGNIFICANCE
from lib.analysis.wording import (
    ALIKE,
    ALONE,
    IDENTICAL,
    NOTHING,
    SHOWN,
    UNDECIDED,
    margin_is,
    to_halve,
)
from lib.command.formats import joined
from lib.page.tables import NOT_ALONE
from lib.study.metrics import METRICS
from lib.study.runs import PREFIX

LISTED = 4  # verdicts of a kind that are all named
LARGEST = 3  # those that are named of more
PARTS = 2  # of texts that encoders see, on which baselines are named one by one
STANDING = {ALIKE: "is alike with", IDENTICAL: "gives the same labels as"}
STANDING |= {UNDECIDED: "is not told apart from", NOTHING: "can't be compared with"}

Row = Mapping[str, Any]
Pair = tuple[str, str]


def answer(findings: pd.DataFrame, metric: str, noun: str) -> str:
    """What is shown, what is alike, what stays undecided, and where the baseline stands.

    Args:
        findings: that table.
        metric: of the study.
        noun: what the dataset calls its texts.
    """
    contrasts = findings.dropna(subset="first")
    if contrasts.empty:
        return "No two settings were compared, so there is no verdict."
    contrasts = contrasts.assign(place=places(contrasts["question"], noun))
    of_baseline = contrasts["question"].str.startswith(BASELINE[:-1])
    groups = contrasts[~of_baseline].groupby("verdict")
    rows = defaultdict(list, {verdict: found.to_dict("records") for verdict, found in groups})
    sentences = [
        shown(rows[SHOWN]),
        alike(rows[ALIKE]),
        identical(rows[IDENTICAL]),
        alone(rows[ALONE], noun),
        undecided(rows[UNDECIDED], noun),
        nothing(rows[NOTHING]),
        baselines(contrasts[of_baseline].to_dict("records")),
        "The table of findings has them all." if max(map(len, rows.values())) > LISTED else "",
    ]
    text = " ".join(filter(None, sentences))
    text = re.sub(r"(?<=\d) (points?)\b", rf" \1 of {METRICS[metric]}", text, count=1)
    rests = f" {NOT_ALONE} rests on the variance of other settings."
    return text + rests if NOT_ALONE in text else text


def shown(rows: Sequence[Row]) -> str:
    """The differences that are shown, with their simultaneous intervals."""
    if not rows:
        return ""
    many = f"{len(rows)} differences are shown; the largest: " if len(rows) > LISTED else ""
    text = many + differences(rows, "is better", "than", "95% interval ")
    together = "; all intervals hold together" if len(rows) > 1 else ""
    return f"{text.replace('batch', 'Batch', text.startswith('batch '))}{together}."


def alike(rows: Sequence[Row]) -> str:
    """What is alike within the margin."""
    return f"Alike within {margin_is(rows[0]['margin'])}: {pairs(rows, 'and')}." if rows else ""


def identical(rows: Sequence[Row]) -> str:
    """What gives the same labels."""
    return f"{pairs(rows, 'and')} give the same labels." if rows else ""


def alone(rows: Sequence[Row], noun: str) -> str:
    """The differences of single runs, which are no verdicts."""
    if not rows:
        return ""
    seeds = "one seed" if max(row["seeds"] for row in rows) == 1 else "fewer than three seeds"
    return (
        f"With {seeds} there is no verdict, and nothing is said of other seeds: on these runs "
        f"alone, {differences(rows, 'is ahead', 'of', f'95% interval over {noun} ')}."
    )


def undecided(rows: Sequence[Row], noun: str) -> str:
    """What is undecided, what would have been found, and the least that would find half of it."""
    if not rows:
        return ""
    table = pd.DataFrame(rows)
    more = to_halve(table["seeds_to_halve"].min(), table["reviews_to_halve"].min(), noun)
    return (
        f"Undecided: {pairs(rows, 'or')}. Differences of {size(table['detectable'].max())} points "
        f"would likely be found; finding half of that takes at least {more}."
    )


def nothing(rows: Sequence[Row]) -> str:
    """What could not be compared."""
    return f"Too few runs learned to compare {pairs(rows, 'and')}." if rows else ""


def baselines(rows: Sequence[Row]) -> str:
    """Where the classical baseline stands, on the full text and on what encoders see of it."""
    if not rows:
        return ""
    parts: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        part = row["first"].removeprefix(PREFIX)
        seen = part.removesuffix(f" of {row['second']}")
        parts[f"the {part}" if seen == part else f"the {seen} that encoders see"].append(row)
    (text, first), *others = parts.items()
    told = [f"on {text}, {standing(first)}"]
    if len(others) > PARTS:
        told.append(f"on what encoders see, {often([row for _, rows in others for row in rows])}")
        others = []
    for text, found in others:
        again = standing(found) == standing(first).removesuffix(by(first)) + by(found)
        told.append(f"on {text}, {by(found).strip() or 'too' if again else standing(found)}")
    return f"The classical baseline, TF-IDF {'; '.join(told)}."


def often(rows: Sequence[Row]) -> str:
    """How often a baseline stands how to encoders."""
    counts = Counter(map(verb, rows))
    return joined([f"{told} them {count} of {len(rows)} times" for told, count in counts.items()])


def standing(rows: Sequence[Row]) -> str:
    """A baseline beside encoders, as `beats a and b by 2.1 and 0.4 points and is alike with c`."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[verb(row)].append(row)
    return joined([f"{told} {named(found)}{by(found)}" for told, found in groups.items()])


def verb(row: Row) -> str:
    """How a baseline stands to an encoder."""
    behind = row["difference"] > 0
    if row["verdict"] == ALONE:
        return f"on these runs alone {'trails' if behind else 'leads'}"
    return STANDING.get(row["verdict"], "is beaten by" if behind else "beats")


def named(rows: Sequence[Row]) -> str:
    """The encoders that are compared with a baseline, or how many."""
    return f"{len(rows)} encoders" if len(rows) > LISTED else joined([x["second"] for x in rows])


def by(rows: Sequence[Row]) -> str:
    """The differences of contrasts of one verdict, if it tells some; of many as a range."""
    if rows[0]["verdict"] not in (SHOWN, ALONE):
        return ""
    sizes = [size(row["difference"]) for row in rows]
    if len(rows) > LISTED:
        sizes = [f"{min(sizes, key=float)} to {max(sizes, key=float)}"]
    return f" by {joined(sizes)} points{max(map(mark, rows))}"


def differences(rows: Sequence[Row], verb: str, than: str, interval: str) -> str:
    """The better levels, as `b is better than a by 2.1 points (95% interval 1.0 to 3.2)`."""
    texts: list[str] = []
    for row in largest(rows):
        worse, better, low, high = row["first"], row["second"], row["low"], row["high"]
        if row["difference"] < 0:
            worse, better, low, high = better, worse, -high, -low
        words, unit, name = ("", "", "") if texts else (f" {verb}", " points", interval)
        gain = f"{size(row['difference'])}{unit}{row['place']}"
        ends = f"{name}{size(low, True)} to {size(high, True)}{mark(row)}{within(row)}"
        texts.append(f"{better}{words} {than} {worse} by {gain} ({ends})")
    return joined(texts)


def largest(rows: Sequence[Row]) -> Sequence[Row]:
    """Rows in their order; of many, those of the largest differences."""
    by_size = sorted(rows, key=lambda row: -abs(row["difference"]))
    return rows if len(rows) <= LISTED else by_size[:LARGEST]


def pairs(rows: Sequence[Row], word: str) -> str:
    """Pairs of levels, as `a or b; c, d or e` where each of three or more is paired with each."""
    places: dict[str, list[Pair]] = defaultdict(list)
    for row in rows:
        is_backend = row["question"].startswith(BACKEND[:-1])
        pair = ("torch", "Accelerate") if is_backend else (row["first"], row["second"])
        places[row["place"] + mark(row)].append(pair)
    texts = [
        joined(names, word) + place
        for place, found in places.items()
        for part in connected(found)
        for names in whole(part)
    ]
    if len(texts) > LISTED:
        return f"{len(rows)} pairs, such as {'; '.join(texts[:LARGEST])}"
    return "; ".join(texts)


def connected(found: Iterable[Pair]) -> list[list[Pair]]:
    """Pairs, in parts that share no level."""
    parts: list[list[Pair]] = []
    for pair in dict.fromkeys(found):
        near = [part for part in parts if any(set(pair) & set(other) for other in part)]
        parts = [part for part in parts if part not in near] + [[*chain(*near), pair]]
    return parts


def whole(part: Sequence[Pair]) -> list[Sequence[str]]:
    """The levels of pairs as one list, if each is paired with each, else the pairs."""
    names = list(dict.fromkeys(name for pair in part for name in pair))
    return [names] if len(part) == len(names) * (len(names) - 1) / 2 else list(part)


def places(questions: Sequence[str], noun: str) -> list[str]:
    """Where each question asks, as ` from 500 training reviews`; or nothing."""
    asked = [question.removesuffix("?") for question in questions]
    sampled = {question.partition(", from ")[0] for question in asked if ", from " in question}
    found = []
    for question in asked:
        place = question.partition(", ")[2] or "at large batches" * (question == SCALING[:-1])
        everything = f"from all training {noun}" if question in sampled else ""
        found.append("".join(f" {words}" for words in (place, everything) if words))
    return found


def mark(row: Row) -> str:
    """The sign of a verdict that rests on the variance of other settings."""
    return f" {NOT_ALONE}" if pd.notna(row["rests_on_others"]) and row["rests_on_others"] else ""


def within(row: Row) -> str:
    """That a difference is shown and small."""
    small = row["verdict"] == SHOWN and row["p_alike_holm"] < SIGNIFICANCE
    return f", within {margin_is(row['margin'])}" if small else ""


def size(share: float, signed: bool = False) -> str:
    """Percentage points, as the table rounds them; without a sign but for ends of intervals."""
    return f"{100 * (share if signed else abs(share)):z.1f}"
