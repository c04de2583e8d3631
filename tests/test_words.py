"""What a word is, in any script: for near-duplicates, and for the baseline."""

import numpy as np
import pytest

from lib.analysis.baseline import tune
from lib.data.folding import digests
from lib.data.near_duplicates import repetitions
from lib.data.words import words

FAMILY = "👨\u200d👩\u200d👧"  # one emoji of three, joined by zero-width joiners


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't, it\u2019s 3.5 or 1,000!", ["Don't", "it\u2019s", "3.5", "or", "1,000"]),
        ("snake_case e\u0301te\u0301", ["snake_case", "e\u0301te\u0301"]),
        ("'everything' \"is\" well-made", ["everything", "is", "well", "made"]),
        ("one\ntwo\r\nthree\u2028four\u00a0five", ["one", "two", "three", "four", "five"]),
        ("राम मिला, मेला।", ["राम", "मिला", "मेला"]),
        ("বাংলা தமிழ்", ["বাংলা", "தமிழ்"]),
        ("שָׁלוֹם مُحَمَّد؟", ["שָׁלוֹם", "مُحَمَّد"]),
        ("좋은 영화", ["좋은", "영화"]),
        ("ดีมาก", ["ดี", "ม", "า", "ก"]),
        ("很好。カメラtest", ["很", "好", "カメラ", "test"]),
        ("C++ C# $5 10%", ["C", "+", "+", "C", "#", "$", "5", "10", "%"]),
        (":) :( <3", [")", "(", "<", "3"]),
        (f"👍🏽👍 {FAMILY} 🇩🇪🇫🇷 ❤\ufe0f", ["👍🏽", "👍", FAMILY, "🇩🇪", "🇫🇷", "❤\ufe0f"]),
        ("a\u200bb \ufeff \u200d \u00ad", ["a", "b"]),
        ("?! … — \"'", ["…"]),
    ],
)
def test_words_are_those_of_unicode_without_the_punctuation_of_sentences(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("कल राम वहाँ मिला था", "कल राम वहाँ मेला था"),
        ("স্কুলের দিন ভালো ছিল", "স্কুলের দান ভালো ছিল"),
        ("அவன் நல்ல படம் பார்த்தான்", "அவன் நல்ல பாடம் பார்த்தான்"),
        ("הסרט הזה דָּבָר טוב", "הסרט הזה דֶּבֶר טוב"),
        ("هذا الفيلم كَتَبَ جيد", "هذا الفيلم كُتِبَ جيد"),
        ("หนังเรื่องนี้ดี", "หนังเรื่องนี้ดู"),
        ("这部电影很好", "这部电影很坏"),
        ("what a film 😀", "what a film 😡"),
        ("what a film 👍🏽", "what a film 👍🏿"),
        ("what a film :)", "what a film :("),
        ("I write it in C++", "I write it in C#"),
        ("it cost me 5 $", "it cost me 5 €"),
        ("a film of 2 stars", "a film of 9 stars"),
        ("a film of ★", "a film of ★★★"),
    ],
)
def test_texts_that_differ_in_a_word_are_no_near_duplicates(one, other):
    assert repetitions(iter([one, other]), 2, 0.8).tolist() == [0, 1]
    assert repetitions(iter([one, f"“{one.upper()}!”"]), 2, 0.8).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("bad", "good"), [("दिन", "दान"), ("😡", "😀"), ("C#", "C++"), ("坏", "好"), ("9", "2")]
)
def test_the_baseline_learns_words_of_every_script(bad, good):
    labels = np.arange(40) % 2
    texts = [f"कल {(bad, good)[label]} था" for label in labels]
    model, _ = tune(texts, labels, texts, labels, "accuracy")
    assert (model.predict(texts) == labels).all()


@pytest.mark.parametrize(
    "nothing",
    [
        "",
        " \u3000\u00a0",
        "\u200b",
        "\ufeff<br />\u200d",
        "\u00ad\u2060",
        "\x00\x1b",
        "\u3164",
        "\ufe0f",
    ],
)
def test_a_text_of_which_nothing_is_seen_is_empty(nothing):
    assert digests([nothing]).tolist() == [0]


@pytest.mark.parametrize("something", [".", "\u200ba", "😀", "\u0301", "\u0950"])
def test_a_text_of_which_something_is_seen_is_not(something):
    assert digests([something]).all()
