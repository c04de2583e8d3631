"""The one way in which texts are cut that are longer than an encoder is to see."""

from typing import NamedTuple

import numpy as np

from lib.command.console import UserError

AUTO, HEAD, TAIL, HEAD_TAIL = "auto", "head", "tail", "head-tail"


def bounds_of(lengths: np.ndarray) -> np.ndarray:
    """Where texts begin, all tokens in a row, and where the last ends: `(n + 1,)` int64."""
    return np.append(0, np.cumsum(lengths, dtype=np.int64))


class Frame(NamedTuple):
    """What a tokenizer puts around the tokens of each text, and how it cuts if nobody says.

    Attributes:
        before: special tokens at the beginning.
        after: special tokens at the end.
        truncation: `head` or `tail`, as the tokenizer's files say.
    """

    before: int
    after: int
    truncation: str


class Cut(NamedTuple):
    """How much of a text an encoder sees, and which part of it.

    `head` keeps the first tokens, `tail` the last, `head-tail` the first quarter of the room that
    special tokens leave and the last three quarters, as 128 and 382 of 510 (Sun et al. 2019,
    arXiv:1905.05583); a quarter that is no whole number is rounded up. `auto` does as the
    tokenizer's files say. Special tokens are always kept.

    Attributes:
        max_length: tokens of a text, at most, special tokens included.
        truncation: `auto`, `head`, `tail` or `head-tail`.
    """

    max_length: int
    truncation: str

    def by(self, frame: Frame) -> "Cut":
        """This, with what `auto` stands for."""
        return self._replace(truncation=frame.truncation) if self.truncation == AUTO else self

    def ends(self, frame: Frame) -> tuple[int, int]:
        """How many tokens are kept of a longer text, at its beginning and at its end.

        Raises:
            UserError: there is no room for more than special tokens.
        """
        room = self.max_length - frame.before - frame.after
        if room < 1:
            raise UserError(
                f"max_length is {self.max_length}, but the tokenizer adds "
                f"{frame.before + frame.after} special tokens to each text; raise max_length in "
                "the config"
            )
        first = {HEAD: room, TAIL: 0, HEAD_TAIL: -(-room // 4)}[self.by(frame).truncation]
        return frame.before + first, frame.after + room - first

    def lengths(self, uncut: np.ndarray) -> np.ndarray:
        """How many tokens an encoder sees of texts that have so many."""
        return np.minimum(uncut, self.max_length)

    def kept(self, bounds: np.ndarray, frame: Frame) -> np.ndarray:
        """Which tokens of texts an encoder sees.

        Args:
            bounds: `(n + 1,)` where each of the texts, all tokens in a row, begins, and the last
                ends.
            frame: of their tokenizer.

        Returns:
            A boolean for each token.

        Raises:
            UserError: there is no room for more than special tokens.
        """
        first, last = self.ends(frame)
        longer = np.flatnonzero(np.diff(bounds) > self.max_length)
        gaps = np.zeros(bounds[-1] + 1, np.int8)
        gaps[bounds[longer] + first] += 1
        gaps[bounds[longer + 1] - last] -= 1
        return gaps[:-1].cumsum(dtype=np.int8) == 0
