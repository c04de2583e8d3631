"""Measure accuracy by the length of the test reviews: in fifths by words, and truncated or whole.

Words are those between white space, the same for all models; a review is truncated where it has
more tokens than the encoder was given of it.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lib.cli import Parser, run
from lib.flags import add_flags

if TYPE_CHECKING:
    import pandas as pd

FIFTHS = 5


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_flags(flags, "--table", "--runs", "--baselines", "--reviews", "--tokens")
    flags.add_argument("--out", required=True, type=Path, help="CSV file to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write one row per run and group of reviews."""
    from lib.predictions import read_predictions
    from lib.study import find_representatives, read_all, stack, write_table

    chosen = find_representatives(options.table, options.runs)
    fifths = fifths_of_words(options.reviews)
    truncated = {model: truncation(Path(path)) for model, path in options.tokens}
    predictions = read_all([*options.runs, *options.baselines], read_predictions)
    tables = {
        key: accuracies(found, {"words": fifths, "truncation": truncated.get(key.model)})
        for key, found in predictions.items()
    }
    write_table(options.out, stack(tables, chosen))


def fifths_of_words(reviews: Path) -> "pd.Series":
    """By review id, the fifth of the reviews to which it belongs, such as `52 to 130`."""
    import pandas as pd

    from lib.study import read_texts

    words = read_texts(reviews).str.split().str.len()
    bins = pd.qcut(words, FIFTHS, labels=False, duplicates="drop").fillna(0)  # one length
    names = words.groupby(bins).agg(lambda group: f"{group.min():,} to {group.max():,}")
    ordered = pd.CategoricalDtype(names.tolist(), ordered=True)
    return bins.map(names).astype(ordered)


def truncation(tokens: Path) -> "pd.Series":
    """By review id, whether the encoder sees it `whole` or `truncated`."""
    import pandas as pd
    import pyarrow.parquet as pq

    table = pq.read_table(tokens, columns=["id", "n_tokens"], partitioning=None)
    longest = int(pq.read_schema(tokens).metadata[b"max_length"])
    lengths = table.to_pandas().set_index("id")["n_tokens"]
    names = (lengths > longest).map({False: "whole", True: "truncated"})
    return names.astype(pd.CategoricalDtype(["whole", "truncated"], ordered=True))


def accuracies(
    predictions: "pd.DataFrame", groupings: "dict[str, pd.Series | None]"
) -> "pd.DataFrame":
    """Accuracy with Wilson interval in each group of reviews, for one run."""
    import pandas as pd

    from lib.statistics import proportion

    right = predictions["label"] == predictions["prediction"]
    rows = []
    for by, groups in groupings.items():
        if groups is None:
            continue
        for group, found in right.groupby(groups, observed=True):
            accuracy, low, high = proportion(int(found.sum()), len(found))
            row = {"by": by, "group": group, "n": len(found)}
            rows.append(row | {"accuracy": accuracy, "low": low, "high": high})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    run(main, arguments())
