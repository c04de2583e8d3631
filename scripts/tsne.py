"""Map the sentence vectors of a sample of test reviews to the plane by t-SNE, for each model.

One run stands for each model, as in errors.py; the sample is the same for all. It writes tsne.csv
(a row per model and review) and boundary_errors.csv: wrongly labelled reviews that lie on the map
where the labels meet.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lib.cli import Parser, log, positive, run, seed
from lib.flags import add_flags
from lib.runs import KEYS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lib.model import Classifier

PERPLEXITY = 30  # scikit-learn's default, lowered for small samples
NEIGHBOURS = 15
COLUMNS = (
    *KEYS,
    *("id", "label", "prediction", "confidence", "loss", "label_name", "x", "y", "own_label"),
)
MIXED = (0.25, 0.75)  # shares of neighbours with a review's own label that make a boundary


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_flags(flags, "--table", "--runs", "--reviews", "--tokens", "--threads")
    flags.add_argument("--sample", type=positive, default=500, help="reviews on the map, at most")
    flags.add_argument("--seed", type=seed, default=42, help="seed of sample and t-SNE")
    flags.add_argument("--out", required=True, type=Path, help="folder of the tables")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write both tables."""
    import numpy as np
    import pandas as pd
    import torch

    from lib.model import load_checkpoint
    from lib.predictions import read_predictions
    from lib.study import find_representatives, read_texts, write_table

    torch.set_num_threads(options.threads)
    texts = read_texts(options.reviews)
    ids = np.sort(texts.index.to_numpy())
    size = min(options.sample, len(ids))
    ids = np.sort(np.random.default_rng(options.seed).choice(ids, size, replace=False))
    tokens = {model: Path(path) for model, path in options.tokens}
    maps = []
    for key, folder in find_representatives(options.table, options.runs).items():
        log.info("map %d reviews for %s", size, key.model)
        classifier = load_checkpoint(folder / "checkpoint")
        vectors = represent(classifier, tokens[key.model], ids)
        if not np.isfinite(vectors).all() or not np.ptp(vectors, axis=0).any():
            log.warning("%s: the vectors are all alike or not finite; no map", key.model)
            continue
        places = embed(vectors, options.seed)
        found = read_predictions(folder).loc[ids].reset_index()
        found["label_name"] = found["label"].map(classifier.encoder.config.id2label)
        found["x"], found["y"] = places.T
        found["own_label"] = own_label(places, found["label"].to_numpy())
        maps.append(pd.DataFrame([key._asdict()] * size).join(found)[[*COLUMNS]])
    table = pd.concat(maps) if maps else pd.DataFrame(columns=COLUMNS)
    write_table(options.out / "tsne.csv", table)
    write_table(options.out / "boundary_errors.csv", boundary_errors(table, texts))


def represent(classifier: "Classifier", tokens: Path, ids: "np.ndarray") -> "np.ndarray":
    """Pooled sentence vectors `(n, width)` of some reviews, on the CPU in float32.

    Args:
        classifier: the trained model.
        tokens: file of tokenized reviews.
        ids: `(n,)` ids, in ascending order, as the vectors are.
    """
    import numpy as np
    import torch

    from lib.batches import load_tokens

    split = load_tokens(tokens, torch.device("cpu"), classifier.pooling)
    order = np.argsort(split.ids)
    rows = torch.from_numpy(order[np.isin(split.ids[order], ids)])
    with torch.inference_mode():
        return torch.cat(
            [classifier.represent(split.batch(part)) for part in rows.split(64)]
        ).numpy()


def embed(vectors: "np.ndarray", seed: int) -> "np.ndarray":
    """Places `(n, 2)` on the map; the same on any number of cores."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(PERPLEXITY, max(1, (len(vectors) - 1) // 3))
    with threadpool_limits(1):
        init = "pca" if min(vectors.shape) > 1 else "random"
        tsne = TSNE(perplexity=perplexity, init=init, random_state=seed)
        return tsne.fit_transform(vectors)


def own_label(places: "np.ndarray", labels: "np.ndarray") -> "np.ndarray":
    """Share of each review's 15 nearest neighbours on the map that have its label."""
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS, len(places) - 1)
    neighbours = NearestNeighbors(n_neighbors=count).fit(places).kneighbors(return_distance=False)
    return (labels[neighbours] == labels[:, None]).mean(axis=1)


def boundary_errors(table: "pd.DataFrame", texts: "pd.Series") -> "pd.DataFrame":
    """Errors with neighbours of both labels, the most mixed first."""
    wrong = table["label"] != table["prediction"]
    found = table[wrong & table["own_label"].between(*MIXED)]
    found = found.sort_values("own_label", key=lambda own: (own - 0.5).abs(), kind="stable")
    return found.drop(columns=["x", "y"]).assign(text=found["id"].map(texts))


if __name__ == "__main__":
    run(main, arguments())
