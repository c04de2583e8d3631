"""How numbers and lists read in a sentence or a cell."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

NOT_LEARNED = "†"


def duration(seconds: float) -> str:
    """Seconds as `45 s`, `21m 14s` or `3h 05m`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    return f"{minutes // 60}h {minutes % 60:02d}m"


def p_value(p: float) -> str:
    """A p-value as `0.032`; as `< 0.001` where it is smaller, `n/a` where there is none."""
    if math.isnan(p):
        return "n/a"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_is(p: float) -> str:
    """A p-value in a sentence, as `p = 0.032` or `p < 0.001`."""
    return f"p {p_value(p)}" if p < 0.001 else f"p = {p_value(p)}"


def interval(low: float, high: float, show: Callable[[float], str]) -> str:
    """An interval as `0.88 to 0.91`; `n/a` where there is none."""
    return "n/a" if math.isnan(low) else f"{show(low)} to {show(high)}"


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign, as `+1.8`; `n/a` for none."""
    return "n/a" if math.isnan(share) else f"{100 * share:+.1f}"


def percent(part: float) -> str:
    """A small share as `0.1%` or `1.3%`."""
    return f"{100 * part:.2g}%"


def plural(count: int, noun: str) -> str:
    """A count and a noun, as `1 seed` or `5,000 seeds`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def counted(count: int, noun: str) -> str:
    """A number of texts by the noun of their dataset, as `1 text` or `5,000 reviews`."""
    return f"{count:,} {'text' if count == 1 else noun}"


def measures_named(keys: Iterable[str]) -> str:
    """Measures of predictions, as a sentence names them: `accuracy or macro F1`."""
    names = [key.replace("_", " ").replace("f1", "F1") for key in dict.fromkeys(keys)]
    return joined(names, "or")


def joined(names: Sequence[str], word: str = "and") -> str:
    """Names in a sentence, as `a, b and c`."""
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def marked(names: Iterable[str], failed: Iterable[bool]) -> list[str]:
    """Names, with a dagger those of runs that did not learn."""
    pairs = zip(names, failed, strict=True)
    return [f"{name} {NOT_LEARNED}" if each else name for name, each in pairs]


def capital(text: str) -> str:
    """A text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


def beginning(text: str, letters: int) -> str:
    """A text on one line; of a longer one the words that fit, and `…`."""
    line = " ".join(text.split())
    if len(line) <= letters:
        return line
    words = line[: letters + 1].rpartition(" ")[0] or line[:letters]
    return f"{words} …"


def class_names(reviews: Mapping[str, Any]) -> list[str]:
    """The names of the classes in reviews.json, or their numbers where they have none."""
    return reviews["labels"] or list(map(str, range(len(reviews["classes"]))))


def classes_named(numbers: object, names: Sequence[str]) -> str:
    """The name of a class, or of several whose numbers stand in a text, as `bad or good`."""
    return " or ".join(names[int(number)] for number in str(numbers).split())


def over_seeds(values: "pd.Series", show: Callable[[float], str]) -> str:
    """Mean and standard deviation as `0.8820 ± 0.0012`; of one seed the value alone.

    `n/a` stands for what is not finite, of runs that diverged.
    """
    spread = [values.std(ddof=1, skipna=False)] if len(values) > 1 else []
    numbers = [values.mean(skipna=False), *spread]
    return " ± ".join(show(number) if math.isfinite(number) else "n/a" for number in numbers)
