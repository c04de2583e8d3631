"""What needs a checkpoint: a map of test reviews, and the attention in one of them."""

from collections.abc import Sequence
from pathlib import Path

import torch

from lib.analysis.attention import show_attention
from lib.analysis.maps import map_reviews
from lib.analysis.representatives import find, representatives
from lib.analysis.results import read_texts
from lib.files.predictions import read_predictions
from lib.files.tables import read_table, write_table
from lib.study.runs import keys_in


def explain(
    table: Path,
    runs: Sequence[Path],
    reviews: Path,
    tokens: Sequence[Path],
    threads: int,
    tsne: bool,
    attention: bool,
    sample: int,
    seed: int,
    review: int | None,
    out: Path,
) -> None:
    """Write the tables of the map and of attention, of the run that stands for each model.

    Args:
        table: the table runs.
        runs: folders of the runs.
        reviews: the test split.
        tokens: the tokenized test splits, in folders that name the model.
        threads: CPU threads of the encoders.
        tsne: whether to write tsne and boundary_errors.
        attention: whether to write attention.
        sample: reviews on the map, at most; the same for all models.
        seed: of sample and t-SNE.
        review: id of the review whose attention is shown; without it the shortest one that the
            models disagree on.
        out: folder of the tables.
    """
    torch.set_num_threads(threads)
    texts = read_texts(reviews)
    folders = find(representatives(read_table(table)), runs)
    predictions = {key: read_predictions(folder) for key, folder in folders.items()}
    tables = {}
    if attention:
        tables["attention"] = show_attention(folders, predictions, texts, review)
    if tsne:
        files = {keys_in(path)["model"]: path for path in tokens}
        tables |= map_reviews(folders, predictions, texts, files, sample, seed)
    for name, rows in tables.items():
        write_table(out, name, rows)
