"""Training, validation and test splits: disjoint and seeded, stratified or of whole groups."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.command.console import UserError, log
from lib.data.division import SPLITS
from lib.data.groups import divide_groups
from lib.data.reviews import GROUP, SCHEMA, class_counts, require_splits
from lib.data.sampling import RATIOS, divide, sizes_from_ratios, stratified
from lib.data.streaming import read_reviews, writing
from lib.files.manifests import advice
from lib.files.whole import write_json

VALID = 0.1  # of the training reviews of a given division, where it has no validation split


class Facts(NamedTuple):
    """What decides which review goes where.

    Attributes:
        labels: `(n,)` class numbers.
        splits: `(n,)` places in `SPLITS`; none where no division is given.
        groups: `(n,)` numbers of groups; none where there are none.
    """

    labels: np.ndarray
    splits: np.ndarray | None = None
    groups: np.ndarray | None = None


class Part(NamedTuple):
    """A split.

    Attributes:
        rows: numbers of its rows.
        wanted: reviews of each class that it was to have, where whole groups miss them.
    """

    rows: np.ndarray
    wanted: np.ndarray | None = None


def split(
    reviews: Path,
    seed: int,
    out: Path,
    counts: Path,
    ratios: Sequence[float] | None = None,
    sizes: Sequence[int] | None = None,
    valid: float | None = None,
) -> None:
    """Write `train.parquet`, `valid.parquet` and `test.parquet`, and a JSON file of their sizes.

    Args:
        reviews: reviews.parquet; a division and groups that it tells are kept.
        seed: decides which review goes where, and nothing else does.
        out: folder of the three files.
        counts: the JSON file.
        ratios: shares of the three splits.
        sizes: numbers of reviews, instead of ratios.
        valid: share of given training reviews that validate, where no validation split is given.

    Raises:
        UserError: there are too few reviews or groups, or a setting does not fit the division.
    """
    facts = read_facts(reviews)
    parts = divide_reviews(facts, seed, ratios, sizes, valid)
    found = {name: told(name, part, facts) for name, part in parts.items()}
    for name, about in found.items():
        log.info("%s: %d reviews, per class %s", name, about["reviews"], about["classes"])
    masks = [np.isin(np.arange(len(facts.labels)), parts[name].rows) for name in SPLITS]
    write_splits(reviews, masks, out, facts.groups is not None)
    given = {"given": given_splits(facts)} if given_splits(facts) else {}
    write_json(counts, {"seed": seed, **found, **given})


def read_facts(reviews: Path) -> Facts:
    """What decides which review of reviews.parquet goes where.

    Raises:
        UserError: the split of a review is none, or its group missing.
    """
    found: dict[str, list[pa.Array]] = {}
    for batch in read_reviews(reviews, ["label"], optional=["split", "group"]):
        for name in batch.schema.names:
            found.setdefault(name, []).append(batch[name])
    columns = {name: pa.chunked_array(parts).combine_chunks() for name, parts in found.items()}
    if "split" in columns:
        columns["split"] = pc.index_in(columns["split"], pa.array(SPLITS))
    if "group" in columns:
        columns["group"] = columns["group"].dictionary_encode().indices
    for name, column in columns.items():
        if column.null_count:
            raise UserError(f"'{reviews}' has a review of an unknown {name}; {advice(reviews)}")
    numbers = {name: column.to_numpy() for name, column in columns.items()}
    return Facts(numbers["label"], numbers.get("split"), numbers.get("group"))


def divide_reviews(
    facts: Facts,
    seed: int,
    ratios: Sequence[float] | None = None,
    sizes: Sequence[int] | None = None,
    valid: float | None = None,
) -> dict[str, Part]:
    """The splits, by name; arguments and errors as of `split`."""
    check_settings(given_splits(facts), ratios, valid)
    if facts.splits is None:
        return division(facts, seed, ratios or RATIOS, sizes)
    require_splits(facts.splits, ("train", "test"))
    rows = [np.flatnonzero(facts.splits == place) for place in range(len(SPLITS))]
    return given_division(facts, dict(zip(SPLITS, rows, strict=True)), seed, sizes, valid or VALID)


def check_settings(
    given: Sequence[str], ratios: Sequence[float] | None, valid: float | None
) -> None:
    """Check settings against the splits that are given.

    Raises:
        UserError: one does not go with them.
    """
    if valid and not given:
        raise UserError("split.valid is for a division that the dataset brings; leave it out")
    if ratios and given:
        raise UserError("the dataset brings its division: use split.sizes in place of split.ratios")
    if valid and "valid" in given:
        raise UserError("the dataset brings a validation split: leave out split.valid")


def given_splits(facts: Facts) -> list[str]:
    """The names of the splits of a given division; none where there is none."""
    return [] if facts.splits is None else [SPLITS[place] for place in np.unique(facts.splits)]


def division(
    facts: Facts, seed: int, ratios: Sequence[float], sizes: Sequence[int] | None
) -> dict[str, Part]:
    """The splits where no division is given; arguments as of `split`."""
    if facts.groups is None:
        found = [Part(rows) for rows in divide(facts.labels, seed, ratios, sizes)]
    else:
        wanted = sizes or sizes_from_ratios(len(facts.labels), ratios)
        found = whole_groups(facts.labels, facts.groups, wanted, seed)
    return dict(zip(SPLITS, found, strict=True))


def given_division(
    facts: Facts,
    rows: Mapping[str, np.ndarray],
    seed: int,
    sizes: Sequence[int] | None,
    valid: float,
) -> dict[str, Part]:
    """The given splits, or samples of these sizes; validation is drawn from training if need be.

    Args:
        facts: of all reviews.
        rows: numbers of the rows of each split.
        seed: as of `split`, like the others.
        sizes: of the samples.
        valid: share of the training reviews that validate, where none is given to do so.

    Raises:
        UserError: a split is too small.
    """
    parts = {name: Part(each) for name, each in rows.items()}
    drawn = () if len(rows["valid"]) else ("train", "valid")
    if drawn:
        both = sizes[:2] if sizes else sizes_from_share(len(rows["train"]), valid)
        parts |= zip(drawn, draw(facts, rows["train"], both, seed), strict=True)
    for name, size in zip(SPLITS, sizes or (), strict=False):
        if name not in drawn:
            setting = f"split.sizes, of the given split '{name}'"
            (some,) = stratified(facts.labels[rows[name]], [size], seed, setting)
            parts[name] = Part(rows[name][some])
    return parts


def draw(facts: Facts, rows: np.ndarray, sizes: Sequence[int], seed: int) -> list[Part]:
    """Disjoint samples of some rows: stratified, or of whole groups."""
    labels = facts.labels[rows]
    if facts.groups is None:
        setting = "split.valid or split.sizes"
        parts = [Part(some) for some in stratified(labels, sizes, seed, setting)]
    else:
        parts = whole_groups(labels, facts.groups[rows], sizes, seed)
    return [Part(rows[part.rows], part.wanted) for part in parts]


def whole_groups(
    labels: np.ndarray, groups: np.ndarray, sizes: Sequence[int], seed: int
) -> list[Part]:
    """Disjoint samples of whole groups, near these sizes and the shares of the classes."""
    shares = np.bincount(labels) / len(labels)
    samples = divide_groups(labels, groups, sizes, seed)
    return [Part(rows, size * shares) for rows, size in zip(samples, sizes, strict=True)]


def sizes_from_share(total: int, share: float) -> list[int]:
    """Sizes of the training and the validation split, of given training reviews.

    Raises:
        UserError: one would be empty.
    """
    valid = round(total * share)
    if not 0 < valid < total:
        raise UserError(
            f"{total} training reviews are too few to take {share} of them; change split.valid"
        )
    return [total - valid, valid]


def told(name: str, part: Part, facts: Facts) -> dict[str, Any]:
    """What the JSON file tells of a split: its sizes, and by how much whole groups miss them.

    Raises:
        UserError: a class is missing.
    """
    counts = np.bincount(facts.labels[part.rows], minlength=int(facts.labels.max()) + 1)
    if not counts.all():
        few = "stands in too few groups: leave out split.group, or merge classes"
        gone = "each split needs: look at what that split is read from"
        raise UserError(
            f"the split '{name}' has no review of class {int(np.argmin(counts))}, which "
            f"{few if part.wanted is not None else gone}"
        )
    found = {"reviews": len(part.rows), "classes": class_counts(facts.labels[part.rows])}
    if facts.groups is not None:
        found["groups"] = len(np.unique(facts.groups[part.rows]))
    if part.wanted is not None:
        size = part.wanted.sum()
        shares = part.wanted / size
        missed = np.abs(counts / counts.sum() - shares).max()
        found["wanted"] = {"reviews": round(size), "class_shares": shares.round(6).tolist()}
        found["missed"] = {
            "reviews": len(part.rows) - round(size),
            "class_share": round(float(missed), 6),
        }
    return found


def write_splits(reviews: Path, masks: Sequence[np.ndarray], out: Path, has_groups: bool) -> None:
    """Write the rows of each split, marked by `(n,)` booleans, in one pass over the reviews."""
    names = ["id", "text", "label"]
    schema = pa.schema([*(SCHEMA.field(name) for name in names), *[GROUP] * has_groups])
    with ExitStack() as files:
        writers = [files.enter_context(writing(out / f"{name}.parquet", schema)) for name in SPLITS]
        start = 0
        for batch in read_reviews(reviews, schema.names):
            stop = start + batch.num_rows
            for write, mask in zip(writers, masks, strict=True):
                write(batch.filter(pa.array(mask[start:stop])).cast(schema))
            start = stop
