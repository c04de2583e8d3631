"""Write the attention of the last layer of each model for one test review.

It is the mean over the heads, computed by eager attention; special tokens are left out and the
rows brought to a sum of 1 again. One run stands for each model, as in errors.py.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lib.cli import Parser, UserError, run
from lib.flags import add_flags

if TYPE_CHECKING:
    import pandas as pd


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_flags(flags, "--table", "--runs", "--reviews", "--threads")
    flags.add_argument(
        "--review",
        type=int,
        help="id of the test review; without it the shortest one that the models disagree on",
    )
    flags.add_argument("--out", required=True, type=Path, help="CSV file to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write one row per model and pair of tokens."""
    import pandas as pd
    import torch

    from lib.predictions import read_predictions
    from lib.study import find_representatives, read_texts, write_table

    torch.set_num_threads(options.threads)
    texts = read_texts(options.reviews)
    folders = find_representatives(options.table, options.runs)
    predictions = {key: read_predictions(folder) for key, folder in folders.items()}
    review = choose(texts, predictions, options.review)
    tables = []
    for key, folder in folders.items():
        found = predictions[key].loc[[review]].reset_index().assign(model=key.model)
        columns = ["model", "id", "label", "prediction", "confidence"]
        table = attention(folder / "checkpoint", texts[review])
        tables.append(found[columns].merge(table, how="cross"))
    write_table(options.out, pd.concat(tables))


def choose(texts: "pd.Series", predictions: "dict[tuple, pd.DataFrame]", review: int | None) -> int:
    """The id of the review to show.

    Raises:
        UserError: the review that was asked for is not in the test split.
    """
    import pandas as pd

    if review is not None:
        if review not in texts.index:
            raise UserError(
                f"analysis.review is {review}, which is not the id of a test review; "
                "predictions.parquet holds the ids"
            )
        return review
    found = pd.concat([table["prediction"] for table in predictions.values()], axis=1)
    label = next(iter(predictions.values()))["label"]
    disagreed = found.nunique(axis=1) > 1
    wrong = found.ne(label, axis=0).any(axis=1)
    legible = texts.reindex(label.index).str.contains(r"\w")
    candidates = (disagreed & legible, wrong & legible, legible, label.notna())
    chosen = next(ids for ids in candidates if ids.any())
    lengths = texts.loc[chosen.index[chosen]].str.split().str.len()
    return int(lengths.idxmin())


def attention(checkpoint: Path, text: str) -> "pd.DataFrame":
    """One row per pair of tokens of a text: `query`, `key` (positions), their texts, `weight`.

    Raises:
        UserError: the text has no tokens.
    """
    import pandas as pd
    import torch

    from lib.cli import read_json
    from lib.encoders import load_tokenizer
    from lib.model import HEAD_CONFIG, load_checkpoint

    classifier = load_checkpoint(checkpoint)
    inputs = load_tokenizer(checkpoint)(
        text,
        truncation=True,
        max_length=read_json(checkpoint / HEAD_CONFIG)["max_length"],
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        return_tensors="pt",
    )
    offsets = inputs.pop("offset_mapping")[0]
    real = inputs.pop("special_tokens_mask")[0] == 0
    if not real.any():
        raise UserError("the review has no tokens; set analysis.review to another id")
    with torch.inference_mode():
        weights = classifier.attend(inputs)[0].mean(dim=0)[real][:, real]
    weights = weights / weights.sum(dim=1, keepdim=True)
    tokens = [text[start:end].strip() or "␣" for start, end in offsets[real].tolist()]
    count = len(tokens)
    return pd.DataFrame(
        {
            "query": [row for row in range(count) for _ in range(count)],
            "key": list(range(count)) * count,
            "query_token": [token for token in tokens for _ in range(count)],
            "key_token": tokens * count,
            "weight": weights.flatten().numpy(),
        }
    )


if __name__ == "__main__":
    run(main, arguments())
