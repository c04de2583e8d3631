"""The answer in sentences: made from verdicts alone, readable with one of them or with sixty."""

import math
import re

import pandas as pd
import pytest
from conftest import ROOT

from lib.analysis.contrasts import (
    BACKEND,
    BASELINE,
    BATCH,
    ENCODER,
    EQUAL_UPDATES,
    PADDING,
    POOLING,
    SCALING,
)
from lib.analysis.wording import ALIKE, ALONE, IDENTICAL, NOTHING, SHOWN, UNDECIDED
from lib.page.answer import answer
from lib.page.tables import verdict_cells

NONE = math.nan
FULL, SEEN = "TF-IDF, full text", "TF-IDF, text of "


def row(question: str, first: str, second: str, verdict: str, *points: float, **others) -> dict:
    """A row of the table findings, from difference and ends of its interval in points."""
    difference, low, high = (each / 100 for each in points or (NONE, NONE, NONE))
    found = {"question": question, "first": first, "second": second, "verdict": verdict}
    found |= {"difference": difference, "low": low, "high": high, "margin": 0.01, "seeds": 3}
    found |= {"p": 0.01, "p_holm": 0.01, "p_alike_holm": 1.0, "rests_on_others": False}
    found |= {"detectable": NONE, "seeds_to_halve": NONE, "reviews_to_halve": NONE}
    return found | {"settings": 1, "n": 2500} | others


def told(*rows: dict, noun: str = "reviews") -> str:
    return answer(pd.DataFrame(rows), "accuracy", noun)


def open_one(question: str, first: str, second: str, detectable: float, **ways: float) -> dict:
    return row(question, first, second, UNDECIDED, 0.4, -1, 2, detectable=detectable / 100) | ways


QUICK = [
    open_one(ENCODER, "bert", "modernbert", 1.9, reviews_to_halve=13_500.0),
    row(BASELINE, FULL, "bert", SHOWN, -11.4, -13.2, -9.6),
    row(BASELINE, FULL, "modernbert", SHOWN, -12.9, -14.9, -10.9),
    row(BASELINE, f"{SEEN}bert", "bert", SHOWN, -3.0, -4.7, -1.3),
    row(BASELINE, f"{SEEN}modernbert", "modernbert", SHOWN, -3.9, -5.9, -2.0),
    open_one(POOLING, "masked-mean", "cls", 2.2, seeds_to_halve=18.0),
    open_one(POOLING, "cls", "padded-mean", 2.2, seeds_to_halve=16.0),
    open_one(PADDING, "masked-mean", "padded-mean", 2.1, seeds_to_halve=8.2),
    row(BATCH, "batch 64", "batch 256", SHOWN, -1.5, -2.8, -0.2, rests_on_others=True),
    row(BACKEND, "base", "accelerate", IDENTICAL, 0, NONE, NONE, rests_on_others=None),
    row(SCALING, "base", "sqrt-lr", SHOWN, 2.5, 0.8, 4.2, rests_on_others=True),
]


def test_a_small_study_is_answered_in_a_paragraph():
    text = told(*QUICK)
    assert text == (
        "Batch 64 is better than batch 256 by 1.5 points of accuracy (95% interval 0.2 to 2.8 ‡) "
        "and sqrt-lr than base by 2.5 at large batches (0.8 to 4.2 ‡); all intervals hold "
        "together. torch and Accelerate give the same labels. Undecided: bert or modernbert; "
        "masked-mean, cls or padded-mean. Differences of 2.2 points would likely be found; finding "
        "half of that takes at least 9 seeds or 13,500 reviews. The classical baseline, TF-IDF on "
        "the full text, beats bert and modernbert by 11.4 and 12.9 points; on the text that "
        "encoders see, by 3.0 and 3.9 points. ‡ rests on the variance of other settings."
    )
    assert len(re.findall(r"[\w.,%-]*\w", text)) <= 105


def test_its_numbers_are_those_of_the_table():
    cells = verdict_cells(pd.DataFrame(QUICK), "reviews")
    table = " ".join(cells[["Points", "95% interval", "What would decide it"]].to_numpy().ravel())
    numbers = set(re.findall(r"\d[\d,.]*\d", told(*QUICK))) - {"95", "64", "256"}
    assert len(numbers) == 12 and numbers <= set(re.findall(r"\d[\d,.]*\d", table))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [row(ENCODER, "a", "b", SHOWN, 2.1, 1, 3.2)],
            "b is better than a by 2.1 points of accuracy (95% interval 1.0 to 3.2).",
        ),
        (
            [row(ENCODER, "a", "b", SHOWN, -0.4, -0.7, -0.0, p_alike_holm=0.01)],
            "a is better than b by 0.4 points of accuracy (95% interval 0.0 to 0.7, within 1 "
            "point).",
        ),
        (
            [row(ENCODER, "a", "b", ALIKE, 0.1, -0.4, 0.6, margin=0.02)],
            "Alike within 2 points of accuracy: a and b.",
        ),
        (
            [row(ENCODER, "a", "b", ALIKE, 0.1, -0.4, 0.6)],
            "Alike within 1 point of accuracy: a and b.",
        ),
        (
            [row(POOLING, "cls", "max", IDENTICAL, 0, NONE, NONE)],
            "cls and max give the same labels.",
        ),
        (
            [open_one(ENCODER, "a", "b", 3)],
            "Undecided: a or b. Differences of 3.0 points of accuracy would likely be found; "
            "finding half of that takes at least four times the seeds and the reviews.",
        ),
        (
            [row(ENCODER, "a", "b", ALONE, -2, -3.1, -0.9, seeds=1)],
            "With one seed there is no verdict, and nothing is said of other seeds: on these runs "
            "alone, a is ahead of b by 2.0 points of accuracy (95% interval over reviews 0.9 to "
            "3.1).",
        ),
        ([row(ENCODER, "a", "b", NOTHING)], "Too few runs learned to compare a and b."),
        (
            [row(ENCODER, None, None, "observed")],
            "No two settings were compared, so there is no verdict.",
        ),
        (
            [row(BASELINE, FULL, "a", ALIKE, 0.1, -0.4, 0.6), row(BASELINE, FULL, "b", NOTHING)],
            "The classical baseline, TF-IDF on the full text, is alike with a and can't be "
            "compared with b.",
        ),
        (
            [
                row(BASELINE, FULL, "a", UNDECIDED, -0.4, -2, 1.2),
                row(BASELINE, f"{SEEN}a", "a", SHOWN, 6.4, 2.4, 10.4, rests_on_others=True),
            ],
            "The classical baseline, TF-IDF on the full text, is not told apart from a; on the "
            "text that encoders see, is beaten by a by 6.4 points of accuracy ‡. ‡ rests on the "
            "variance of other settings.",
        ),
        (
            [row(BASELINE, FULL, "a", ALONE, -11.4, -13, -9, seeds=1)],
            "The classical baseline, TF-IDF on the full text, on these runs alone leads a by 11.4 "
            "points of accuracy.",
        ),
    ],
)
def test_each_verdict_has_its_words(rows, said):
    assert told(*rows) == said


def test_where_a_question_asks_is_told():
    sample = ", from 500 training tickets?"
    text = told(
        row(ENCODER[:-1] + sample, "a", "b", SHOWN, 14.7, 11.1, 18.3),
        row(ENCODER, "a", "b", SHOWN, 10.8, 6.0, 15.6),
        row(EQUAL_UPDATES[:-1] + sample, "batch 8", "batch 32", SHOWN, 5.0, 2.0, 7.9),
        noun="tickets",
    )
    assert text.startswith(
        "b is better than a by 14.7 points of accuracy from 500 training tickets (95% interval "
        "11.1 to 18.3), b than a by 10.8 from all training tickets (6.0 to 15.6) and batch 32 than "
        "batch 8 by 5.0 at equal updates, from 500 training tickets (2.0 to 7.9)"
    )


def test_the_baseline_stands_on_each_part_of_a_text():
    few, many = (
        [
            row(BASELINE, f"TF-IDF, {length} tokens of {name}", name, SHOWN, gain, -9, 9)
            for length, gain in zip(lengths, (2, -3, -4), strict=False)
            for name in "ab"
        ]
        for lengths in ((64, 128), (32, 64, 128))
    )
    full = row(BASELINE, FULL, "a", SHOWN, -5, -6, -4)
    assert told(full, *few).endswith(
        "beats a by 5.0 points of accuracy; on the 64 tokens that encoders see, is beaten by a and "
        "b by 2.0 and 2.0 points; on the 128 tokens that encoders see, beats a and b by 3.0 and "
        "3.0 points."
    )
    assert told(full, *many).endswith(
        "beats a by 5.0 points of accuracy; on what encoders see, is beaten by them 2 of 6 times "
        "and beats them 4 of 6 times."
    )


def test_sixty_verdicts_are_counted_and_the_largest_named():
    names = [f"m{i}" for i in range(10)]
    rows = [
        row(ENCODER, "m0", name, SHOWN, i / 2, 0.1, 9) for i, name in enumerate(names[1:], start=1)
    ]
    rows += [open_one(BATCH, f"batch {i}", f"batch {2 * i}", 2, seeds_to_halve=9.0) for i in names]
    rows += [row(POOLING, f"{name}-cls", f"{name}-max", ALIKE, 0, -0.5, 0.5) for name in names]
    rows += [row(BASELINE, FULL, name, SHOWN, -i, -i, -i) for i, name in enumerate(names, start=1)]
    rows += [
        row(BASELINE, SEEN + name, name, SHOWN, -i / 5, -i, -i)
        for i, name in enumerate(names, start=1)
    ]
    text = told(*rows)
    assert text.startswith("9 differences are shown; the largest: m9 is better than m0 by 4.5 ")
    assert "Alike within 1 point: 10 pairs, such as m0-cls and m0-max; m1-cls" in text
    assert "Undecided: 10 pairs, such as batch m0 or" in text
    assert "beats 10 encoders by 1.0 to 10.0 points; on the text that encoders see, by 0.2 " in text
    assert "The table of findings has them all." in text
    assert len(text.split()) < 135


def test_the_answer_of_the_readme_is_that_of_the_quick_study():
    paragraphs = (ROOT / "README.md").read_text().split("\n\n")
    (told,) = [text.removeprefix("> ") for text in paragraphs if text.startswith("> ")]
    assert "The classical baseline, TF-IDF" in told
    page = (ROOT / "docs" / "quick-study.md").read_text()
    assert told in page.partition("\n## ")[0].split("\n\n")
