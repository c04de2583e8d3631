"""What predicts: the checkpoints of a study, what they were exported to, and TF-IDF."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow.parquet as pq
import torch

from lib.analysis.baseline import fit, seen_texts
from lib.analysis.representatives import best_run, find, representatives
from lib.analysis.results import CHOOSE_BY, SETTING, read_tested
from lib.command.console import log
from lib.data.cutting import HEAD, Cut
from lib.data.encoding import TextEncoding
from lib.files.manifests import EXPORTS, reading
from lib.files.whole import read_json
from lib.study.runs import Run, run_of
from lib.training.device import peak_memory
from lib.training.exported import FACTS, MODEL, is_of
from lib.training.inference import TextClassifier
from lib.training.processes import in_processes

TORCH, TF_IDF = "torch", "tf-idf"
CARD = "README.md"  # which a checkpoint has and needs not
ALIKE = ["model", "pooling", f"{SETTING}max_length", f"{SETTING}truncation"]  # in what they cost
ON_CPU = {"device": "cpu", "precision": "fp32"}
REST = 8  # tokens more that a text has than are kept, so that its end may be read in another way

Predict = Callable[[Sequence[str], int | None], object]


class Predictor(NamedTuple):
    """What predicts.

    Attributes:
        run: the keys of the run, or of the baseline.
        form: `torch`, `onnx`, `int8` or `tf-idf`.
        model: a folder, or TF-IDF as a pickle.
        checkpoint: of the run, whose tokenizer counts; of TF-IDF none.
        how: `device` and `precision` in which it computes.
        told: other columns of the table serving.
    """

    run: Run
    form: str
    model: Path | bytes
    checkpoint: Path | None
    how: dict[str, str]
    told: dict[str, Any]

    @property
    def name(self) -> str:
        """It in words."""
        return " ".join(filter(None, [self.run.model, self.run.pooling, self.form]))

    def load(self) -> Predict:
        """What predicts texts, cut as in training or, where a length is given, after its tokens."""
        if isinstance(self.model, bytes):
            model = pickle.loads(self.model)
            return lambda texts, _: model.predict_proba(texts)
        classifier = TextClassifier(self.model, **self.how)
        own = classifier.cut

        def predict(texts: Sequence[str], length: int | None) -> object:
            classifier.cut = Cut(length, HEAD) if length else own
            return classifier(texts)

        return predict

    def text_of(self, tokens: int, texts: Sequence[str]) -> str:
        """A text of at least so many tokens, and few more, made of others.

        Args:
            tokens: of the text, special ones included.
            texts: that are joined, as many as it takes.
        """
        assert self.checkpoint  # TF-IDF has no tokens
        encoding, joined = TextEncoding(self.checkpoint), ""
        for text in cycle(texts):
            joined = f"{joined} {text}"
            if len(encoding([joined])[0]) >= tokens + REST:
                break
        return seen_texts([joined], self.checkpoint, Cut(tokens + REST, HEAD))[0]


def predictors(runs: pd.DataFrame, folders: Sequence[Path], how: dict[str, str]) -> list[Predictor]:
    """One run of each model, pooling and cut that learned, and its exports.

    Of runs that are alike in these it is the best by validation, as the run that stands for a
    model is the best of all its runs; that run is always among them.

    Args:
        runs: the table runs.
        folders: of the runs.
        how: `device` and `precision` of checkpoints.
    """
    stands = set(find(representatives(runs), folders))
    first = runs.groupby("model")[CHOOSE_BY].transform("first")
    chosen = runs.assign(**{CHOOSE_BY: first})[runs["chosen"]]
    best = [
        best_run(alike)
        for _, own in chosen.groupby("model", sort=False)
        for _, alike in own.groupby(ALIKE, sort=False)
    ]
    rows = pd.concat([runs.head(0), *best])
    found = []
    for row, (run, folder) in zip(
        rows.to_dict("records"), find(rows, folders).items(), strict=True
    ):
        told = {"setting": row["setting"], "representative": run in stands}
        told |= {key: row[f"{SETTING}{key}"] for key in ("max_length", "truncation")}
        told |= {"parameters": row["parameters"]}
        forms = [(TORCH, folder / "checkpoint", 0.0), *exports_of(folder)]
        found += [
            Predictor(
                run,
                form,
                place,
                folder / "checkpoint",
                how if form == TORCH else ON_CPU,
                told | {"bytes": size_of(place), "accuracy_change": change},
            )
            for form, place, change in forms
        ]
    return found


def exports_of(run: Path) -> Iterator[tuple[str, Path, float]]:
    """What the checkpoint of a run, as it is now, was exported to.

    Returns:
        The form, the folder, and by how much its accuracy was found to change.
    """
    for form, name in EXPORTS.items():
        folder = run / name
        if not (folder / MODEL).is_file():
            continue
        if is_of(folder, run / "checkpoint"):
            check = read_json(folder / FACTS, "check")["check"]
            yield form, folder, check["export_accuracy"] - check["accuracy"]
        else:
            log.warning("%s is left out: it is of another checkpoint; export it again", folder)


def tf_idf(baseline: Path, train: Path) -> Predictor:
    """The baseline of a folder, fitted again as its test.json tells.

    Args:
        baseline: on full texts.
        train: the training split.
    """
    measured = read_tested(baseline)
    log.info("fit TF-IDF again, up to %d words, C %g", measured["words"], measured["c"])
    work = partial(pickled, train, measured["words"], measured["c"])
    (model, parameters) = in_processes(work, 1)[0]  # whose memory is not reused here
    told = {"setting": "", "representative": True, "parameters": parameters, "bytes": len(model)}
    told |= {"accuracy_change": 0.0}
    how = {"device": "cpu", "precision": "fp64"}
    return Predictor(run_of(baseline), TF_IDF, model, None, how, told)


def pickled(train: Path, longest: int, c: float) -> tuple[bytes, int]:
    """TF-IDF fitted to a training split, as a pickle, and the number of its weights."""
    with reading(train):
        reviews = pq.read_table(train, columns=["text", "label"], partitioning=None)
    model = fit(reviews["text"].to_pylist(), reviews["label"].to_numpy(), longest, c)
    regression = model[-1]
    return pickle.dumps(model), regression.coef_.size + regression.intercept_.size


def size_of(folder: Path) -> int:
    """The bytes of the files of a checkpoint or an export, without its card."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return sum(path.stat().st_size for path in files if path.name != CARD)


def memory_of(predictor: Predictor, texts: Sequence[str], longest: int, threads: int) -> int:
    """The bytes that this process takes more at its peak, once it has loaded and predicted.

    Args:
        predictor: what is loaded.
        texts: that are predicted.
        longest: tokens of another text, which a pass of its own predicts; 0 for none.
        threads: CPU threads.
    """
    torch.set_num_threads(threads)
    device = torch.device(predictor.how["device"])
    before = peak_memory(device)
    predict = predictor.load()
    predict(texts, None)
    if longest:
        predict([predictor.text_of(longest, texts)], longest)
    return peak_memory(device) - before
