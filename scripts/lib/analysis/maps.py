"""Maps of the sentence vectors of test reviews, by t-SNE, and the errors where labels meet."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from lib.analysis.results import key_columns
from lib.command.console import log
from lib.study.runs import KEYS, Run
from lib.training.insight import sentence_vectors

PERPLEXITY = 30  # scikit-learn's default, lowered for small samples
NEIGHBOURS = 15
COLUMNS = (
    *KEYS,
    *("id", "label", "prediction", "confidence", "loss", "label_name", "x", "y", "own_label"),
)
MIXED = (0.25, 0.75)  # shares of neighbours with a review's own label that make a boundary


def map_reviews(
    folders: Mapping[Run, Path],
    predictions: Mapping[Run, pd.DataFrame],
    texts: pd.Series,
    tokens: Mapping[str, Path],
    sample: int,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """The tables tsne and boundary_errors; the sample is the same for all models.

    Args:
        folders: of the run that stands for each model.
        predictions: of these runs.
        texts: of the test reviews, by id.
        tokens: the tokenized test split of each model.
        sample: reviews on the map, at most.
        seed: of sample and t-SNE.
    """
    ids = np.sort(texts.index.to_numpy())
    size = min(sample, len(ids))
    ids = np.sort(np.random.default_rng(seed).choice(ids, size, replace=False))
    maps = []
    for key, folder in folders.items():
        log.info("map %d reviews for %s", size, key.model)
        vectors, names = sentence_vectors(folder / "checkpoint", tokens[key.model], ids)
        if not np.isfinite(vectors).all() or not np.ptp(vectors, axis=0).any():
            log.warning("%s: the vectors are all alike or not finite; no map", key.model)
            continue
        places = embed(vectors, seed)
        found = predictions[key].loc[ids].reset_index()
        found["label_name"] = found["label"].map(names)
        found["x"], found["y"] = places.T
        found["own_label"] = own_label(places, found["label"].to_numpy())
        maps.append(key_columns([key] * size).join(found)[[*COLUMNS]])
    places = pd.concat(maps) if maps else pd.DataFrame(columns=COLUMNS)
    return {"tsne": places, "boundary_errors": boundary_errors(places, texts)}


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
