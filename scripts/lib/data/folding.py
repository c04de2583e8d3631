"""When two texts are the same: the form in which they are compared."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

import numpy as np
import regex

BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
# Characters of which nothing is seen, to stand in a class: those of no script and no meaning, and
# the one that stands for bytes which could not be read, as well.
UNSEEN = r"\s\p{Default_Ignorable_Code_Point}\p{C}\uFFFD"
SEEN = regex.compile(rf"[^{UNSEEN}]")


def fold(text: str) -> str:
    """The form in which texts are compared: NFC, with `<br />` and white space as one space."""
    return " ".join(BREAK.sub(" ", unicodedata.normalize("NFC", text)).split())


def digests(texts: Iterable[str | None]) -> np.ndarray:
    """A 64-bit digest of each folded text, as `(n,)` uint64; 0 where there is nothing to see.

    Among ten million different texts, two share a digest with a probability of 3e-6.
    """
    return np.fromiter(map(_digest, texts), dtype=np.uint64)


def _digest(text: str | None) -> int:
    folded = fold(text or "")
    if not SEEN.search(folded):
        return 0
    encoded = folded.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest())
