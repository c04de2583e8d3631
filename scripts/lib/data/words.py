"""The words of a text in any script, by the word boundaries of Unicode (UAX 29)."""

import regex

from lib.data.folding import UNSEEN

# Punctuation of sentences makes no difference; brackets stay, by which `:)` differs from `:(`.
PUNCTUATION = r"\p{Terminal_Punctuation}\p{Quotation_Mark}\p{Dash_Punctuation}"
WORD = regex.compile(rf"(?w)[^{UNSEEN}{PUNCTUATION}]\S*?\b")


def words(text: str) -> list[str]:
    """The words of a text: what stands between two boundaries, but white space and punctuation.

    Combining marks are a part of their word, an emoji or a symbol is a word of its own, and so is
    each character of a script that is written without spaces.
    """
    return WORD.findall(text)
