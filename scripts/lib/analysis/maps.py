"""Maps of the sentence vectors of test reviews, by t-SNE, and the errors where labels meet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from lib.analysis.representatives import find_representatives
from lib.analysis.results import key_columns, read_texts
from lib.command.console import log
from lib.files.predictions import read_predictions
from lib.files.tables import write_table
from lib.study.runs import KEYS, keys_in
from lib.training.inference import sentence_vectors

PERPLEXITY = 30  # scikit-learn's default, lowered for small samples
NEIGHBOURS = 15
COLUMNS = (
    *KEYS,
    *("id", "label", "prediction", "confidence", "loss", "label_name", "x", "y", "own_label"),
)
MIXED = (0.25, 0.75)  # shares of neighbours with a review's own label that make a boundary


def map_reviews(
    table: Path,
    runs: Sequence[Path],
    reviews: Path,
    tokens: Sequence[Path],
    threads: int,
    sample: int,
    seed: int,
    out: Path,
) -> None:
    """Write the tables tsne and boundary_errors; the sample is the same for all models.

    Args:
        table: the table runs.
        runs: folders of the runs.
        reviews: the test split.
        tokens: the tokenized test splits, in folders that name the model.
        threads: CPU threads of the encoders.
        sample: reviews on the map, at most.
        seed: of sample and t-SNE.
        out: folder of the tables.
    """
    torch.set_num_threads(threads)
    texts = read_texts(reviews)
    ids = np.sort(texts.index.to_numpy())
    size = min(sample, len(ids))
    ids = np.sort(np.random.default_rng(seed).choice(ids, size, replace=False))
    files = {keys_in(path)["model"]: path for path in tokens}
    maps = []
    for key, folder in find_representatives(table, runs).items():
        log.info("map %d reviews for %s", size, key.model)
        vectors, names = sentence_vectors(folder / "checkpoint", files[key.model], ids)
        if not np.isfinite(vectors).all() or not np.ptp(vectors, axis=0).any():
            log.warning("%s: the vectors are all alike or not finite; no map", key.model)
            continue
        places = embed(vectors, seed)
        found = read_predictions(folder).loc[ids].reset_index()
        found["label_name"] = found["label"].map(names)
        found["x"], found["y"] = places.T
        found["own_label"] = own_label(places, found["label"].to_numpy())
        maps.append(key_columns([key] * size).join(found)[[*COLUMNS]])
    places = pd.concat(maps) if maps else pd.DataFrame(columns=COLUMNS)
    write_table(out, "tsne", places)
    write_table(out, "boundary_errors", boundary_errors(places, texts))


def embed(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Places `(n, 2)` on the map; the same on any number of cores."""
    perplexity = min(PERPLEXITY, max(1, (len(vectors) - 1) // 3))
    with threadpool_limits(1):
        init = "pca" if min(vectors.shape) > 1 else "random"
        tsne = TSNE(perplexity=perplexity, init=init, random_state=seed)
        return tsne.fit_transform(vectors)


def own_label(places: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share of each review's 15 nearest neighbours on the map that have its label."""
    count = min(NEIGHBOURS, len(places) - 1)
    neighbours = NearestNeighbors(n_neighbors=count).fit(places).kneighbors(return_distance=False)
    return (labels[neighbours] == labels[:, None]).mean(axis=1)


def boundary_errors(table: pd.DataFrame, texts: pd.Series) -> pd.DataFrame:
    """Errors with neighbours of both labels, the most mixed first."""
    wrong = table["label"] != table["prediction"]
    found = table[wrong & table["own_label"].between(*MIXED)]
    found = found.sort_values("own_label", key=lambda own: (own - 0.5).abs(), kind="stable")
    return found.drop(columns=["x", "y"]).assign(text=found["id"].map(texts))
