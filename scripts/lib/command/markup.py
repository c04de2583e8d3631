"""Texts from outside in Markdown as GitHub shows it, in which they stay texts."""

import re

MARKUP = re.compile(
    r"""
      [`|$]                                # code, a cell, a formula
    | \\(?=[!-/:-@\[-`{-~]|$)              # an escape
    | (?<!\w)_+ | _++(?!\w)                # emphasis, which begins and ends at words alone
    | (?<!\s)[*~] | [*~](?!\s)             # emphasis, a strike-through
    | \](?=[(\[:])                         # a link
    | <(?=[a-z/!?]|\S*@|$)                 # a tag or an address
    | &(?=\#?\w+;)                         # an entity
    | (?<=www)\. | :(?=//)                 # a web address
    """,
    re.IGNORECASE | re.VERBOSE,
)


def escape(text: object) -> str:
    """Text on one line that is shown as it is, in a paragraph or a cell."""
    line = "".join(char if char.isprintable() else " " for char in str(text))
    return MARKUP.sub(lambda found: re.sub("(.)", r"\\\1", found[0]), " ".join(line.split()))
