"""Whether every library labels as the test of a run did: a row per run, a column per library.

The texts of the test split are labelled by predict.py, by sentence-transformers, by a pipeline of
transformers and by onnxruntime, from an export that is made for it, each as its users call it. A
cell tells how many labels differ from predictions.parquet, and the largest difference of a
probability from probabilities.parquet. It ends with 1 if a label differs, or a probability by more
than 0.001.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import pandas as pd
from scipy.special import softmax
from sentence_transformers import SentenceTransformer
from tabulate import tabulate
from transformers import AutoTokenizer, pipeline

from lib.command.cli import Parser, run
from lib.command.console import UserError, log
from lib.data.cutting import HEAD_TAIL
from lib.study.runs import run_of
from lib.training.checkpoints import Head, read_head
from lib.training.export import DIFFERENCE, test_split
from lib.training.poolings import OWN_HEAD, PADDED_MEAN

SCRIPTS = Path(__file__).parents[1] / "scripts"
BATCH = 32  # texts of a pass of onnxruntime


class Case(NamedTuple):
    """A run and the texts of its test split.

    Attributes:
        run: its folder.
        reviews: file of the test split, in the order of its ids.
        texts: `n`.
        wanted: `(n, classes)` probabilities of the test.
        head: what the checkpoint tells.
        folder: for files.
    """

    run: Path
    reviews: Path
    texts: list[str]
    wanted: np.ndarray
    head: Head
    folder: Path

    @property
    def checkpoint(self) -> str:
        """The folder of the checkpoint."""
        return str(self.run / "checkpoint")


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument(
        "runs", nargs="*", type=Path, help="folders of runs; one of each model and pooling if none"
    )
    return flags


def main(options: argparse.Namespace) -> None:
    """Print the table.

    Raises:
        UserError: there is no run, or a library labels otherwise.
    """
    rows = []
    for folder in options.runs or one_of_each(Path("results/runs")):
        log.info("%s", folder)
        with tempfile.TemporaryDirectory() as place:
            rows.append(list(row(case_of(folder, Path(place)))))
    print(tabulate(rows, ["Model", "Pooling", "Texts", *WAYS], tablefmt="github"))
    found = (cell.strip("()").split(" (") for cells in rows for cell in cells[3:] if cell)
    if any(differ != "0" or not float(largest) <= DIFFERENCE for differ, largest in found):
        raise UserError("a library labels otherwise than the test did; see the table")


def one_of_each(runs: Path) -> list[Path]:
    """A tested run of each model and pooling.

    Raises:
        UserError: there is none.
    """
    found: dict[tuple[str, str], Path] = {}
    for test in sorted(runs.rglob("test.json")):
        keys = run_of(test.parent)
        found.setdefault((keys.model, keys.pooling), test.parent)
    if not found:
        raise UserError(f"'{runs}' holds no tested run; name folders of runs, or run a study first")
    return list(found.values())


def case_of(folder: Path, place: Path) -> Case:
    """A run with its test split, whose reviews are written in the order of the predictions."""
    split = test_split(folder)
    reviews = pd.read_parquet(split, partitioning=None).sort_values("id")
    reviews[["text"]].to_parquet(place / "texts.parquet")
    chances = pd.read_parquet(folder / "probabilities.parquet", partitioning=None)
    if not np.array_equal(chances["id"], reviews["id"]):
        raise UserError(f"'{folder}' was tested on other texts than those of '{split}'")
    wanted = chances.drop(columns="id").to_numpy()
    texts = reviews["text"].tolist()
    return Case(
        folder, place / "texts.parquet", texts, wanted, read_head(folder / "checkpoint"), place
    )


def row(case: Case) -> Iterator[str]:
    """The cells of a run; empty where a library can't read it, or cuts longer texts otherwise."""
    keys = run_of(case.run)
    yield from (str(keys.model), str(keys.pooling), f"{len(case.texts):,}")
    for way in WAYS.values():
        found = way(case)
        if found is None:
            yield ""
            continue
        differ = int((found.argmax(axis=1) != case.wanted.argmax(axis=1)).sum())
        yield f"{differ} ({np.abs(found - case.wanted).max():.1e})"


def command(name: str, *words: str) -> None:
    """Run a command of the workflow, which tells by itself what fails.

    Raises:
        UserError: it has failed.
    """
    if subprocess.run([sys.executable, SCRIPTS / name, *words]).returncode:
        raise UserError(f"{name} has failed, as it says above")


def by_predict(case: Case) -> np.ndarray:
    """Probabilities of predict.py, from file to file."""
    out = case.folder / "labelled.parquet"
    files = ("--file", str(case.reviews), "--out", str(out))
    command("predict.py", str(case.run), *files, "--device", "cpu")
    return pd.read_parquet(out).filter(regex="^probability_").to_numpy()


def by_sentence_transformers(case: Case) -> np.ndarray | None:
    """Probabilities of sentence-transformers, which has no mean over padding."""
    if case.head.pooling == PADDED_MEAN or case.head.cut.truncation == HEAD_TAIL:
        return None
    logits = SentenceTransformer(case.checkpoint, device="cpu").encode(case.texts)
    return softmax(logits / case.head.temperature, axis=1)


def by_pipeline(case: Case) -> np.ndarray | None:
    """Probabilities of a pipeline, where the checkpoint is a standard one."""
    if case.head.pooling != OWN_HEAD or case.head.cut.truncation == HEAD_TAIL:
        return None
    classify = pipeline("text-classification", model=case.checkpoint, device="cpu")
    names = list(classify.model.config.id2label.values())
    found = classify(case.texts, truncation=True, top_k=None)
    scores = [[{x["label"]: x["score"] for x in each}[name] for name in names] for each in found]
    return softmax(np.log(scores) / case.head.temperature, axis=1)


def by_onnxruntime(case: Case) -> np.ndarray | None:
    """Probabilities of onnxruntime, on an export, with the tokenizer beside it."""
    if case.head.cut.truncation == HEAD_TAIL:
        return None
    out = case.folder / "onnx"
    command("export.py", str(case.run), "--out", str(out))
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    tokenizer = AutoTokenizer.from_pretrained(out)
    padding = "max_length" if case.head.pooling == PADDED_MEAN else True
    found = []
    for start in range(0, len(case.texts), BATCH):
        inputs = tokenizer(
            case.texts[start : start + BATCH],
            truncation=True,
            padding=padding,
            return_attention_mask=True,
            return_tensors="np",
        )
        given = {name: inputs[name].astype(np.int64) for name in names}
        found.append(session.run(["probabilities"], given)[0])
    return np.concatenate(found)


WAYS: dict[str, Callable[[Case], np.ndarray | None]] = {
    "predict.py": by_predict,
    "sentence-transformers": by_sentence_transformers,
    "pipeline": by_pipeline,
    "onnxruntime": by_onnxruntime,
}

if __name__ == "__main__":
    run(main, arguments())
