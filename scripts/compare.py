"""Compare runs in pairs on the same test reviews, and settings over their seeds.

Two runs are a pair when they differ in one key alone: model, pooling, batch or variant. Every run
is compared with the baselines besides. It writes comparisons.csv (a row per pair: exact McNemar
test, bootstrap interval, agreement) and comparisons_over_seeds.csv (a row per pair of settings
with two shared seeds or more: paired t-test). Holm's correction counts all pairs of one table
that differ in the same key as one family.
"""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import Parser, log, progress, run, seed
from lib.flags import add_flags

if TYPE_CHECKING:
    import pandas as pd

    from lib.runs import Run

FACTORS = ("model", "pooling", "batch", "variant")


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_flags(flags, "--runs", "--baselines")
    flags.add_argument("--seed", type=seed, default=42, help="seed of the bootstrap")
    flags.add_argument("--out", required=True, type=Path, help="folder of the tables")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write both tables."""
    import pandas as pd

    from lib.predictions import read_predictions
    from lib.runs import KEYS
    from lib.statistics import Paired
    from lib.study import read_all, read_measured, trained, write_table

    folders = [*options.runs, *options.baselines]
    predictions = read_all(folders, read_predictions)
    measured = read_all(folders, read_measured)
    found = list(pairs(list(predictions)))
    rows = []
    for factor, first, second in progress(found, len(found), "compare runs", "pair"):
        both = measured[first], measured[second]
        rows.append(
            describe(factor, first, second)
            | {"trained": all(trained(each["association_p"]) for each in both)}
            | compare_runs(predictions[first], predictions[second], options.seed)
        )
    columns = ["factor", *KEYS, "first", "second", "trained", *Paired._fields]
    table = correct(pd.DataFrame(rows, columns=columns).astype({"trained": bool}))
    write_table(options.out / "comparisons.csv", table)
    write_table(options.out / "comparisons_over_seeds.csv", over_seeds(table))
    log.info("%d pairs of runs compared", len(rows))


def pairs(keys: "list[Run]") -> "Iterator[tuple[str, Run, Run]]":
    """The pairs of runs that differ in one key, with its name, and those with the baselines.

    Of the baselines, an encoder is compared with those on the full text and on what it sees.
    """
    from lib.runs import KEYS, baselines_of, is_baseline

    encoders = [key for key in keys if not is_baseline(key)]
    for pair in itertools.combinations(encoders, 2):
        different = [key for key in KEYS if len({getattr(run, key) for run in pair}) == 2]
        if len(different) == 1 and different[0] in FACTORS:
            first, second = ordered(pair, different[0], encoders)
            yield different[0], first, second
    for baseline, encoder in itertools.product(filter(is_baseline, keys), encoders):
        if baseline.model in baselines_of(encoder.model):
            yield "baseline", baseline, encoder


def ordered(pair: "tuple[Run, Run]", factor: str, runs: "list[Run]") -> "list[Run]":
    """A pair in the order that all pairs have: of batches by size, else as the study has them."""
    values = [getattr(run, factor) for run in runs]
    place = int if factor == "batch" else values.index
    return sorted(pair, key=lambda run: place(getattr(run, factor)))


def describe(factor: str, first: "Run", second: "Run") -> dict[str, Any]:
    """The keys that two runs share, and the two values of the one in which they differ."""
    name = "model" if factor == "baseline" else factor
    shared = second._asdict() | ({} if factor == "baseline" else {factor: ""})
    return {
        "factor": factor,
        **shared,
        "first": getattr(first, name),
        "second": getattr(second, name),
    }


def compare_runs(first: "pd.DataFrame", second: "pd.DataFrame", seed: int) -> dict[str, Any]:
    """Compare the predictions of two runs on the reviews that both were tested on."""
    from lib.statistics import compare

    shared = first.index.intersection(second.index)
    first, second = first.loc[shared], second.loc[shared]
    columns = (first["label"], first["prediction"], second["prediction"])
    return compare(*(column.to_numpy() for column in columns), seed)._asdict()


def over_seeds(table: "pd.DataFrame") -> "pd.DataFrame":
    """One row per pair of settings with two shared seeds or more with which both trained."""
    import pandas as pd

    from lib.statistics import OverSeeds, compare_over_seeds

    names = ["factor", "dataset", *FACTORS, "first", "second"]
    rows = []
    for values, group in table[table["trained"]].groupby(names, sort=False):
        if len(group) > 1:
            found = compare_over_seeds(group["accuracy_first"], group["accuracy_second"])
            counts = {"n": int(group["n"].iloc[0])}
            rows.append(dict(zip(names, values, strict=True)) | counts | found._asdict())
    return correct(pd.DataFrame(rows, columns=[*names, "n", *OverSeeds._fields]))


def correct(table: "pd.DataFrame") -> "pd.DataFrame":
    """Add the p-values after Holm's correction, each factor being a family."""
    from lib.statistics import holm

    adjusted = table.groupby("factor", sort=False)["p"].transform(holm)
    return table.assign(p_holm=adjusted.astype(float))


if __name__ == "__main__":
    run(main, arguments())
