"""From the checkpoint of a run to an export that was compared with it."""

import re
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from huggingface_hub import ModelCard
from scipy.stats import binomtest

from lib.command.console import UserError, log, progress
from lib.data.cutting import HEAD_TAIL
from lib.data.encoder_files import CONFIG_FILE, tokenizer_files
from lib.files.manifests import EXPORTS, reading, sha256
from lib.files.whole import read_json, read_text, replacing, to_json
from lib.training.card import FILE, TASK, table
from lib.training.checkpoints import load_checkpoint
from lib.training.exported import FACTS, MODEL, installed
from lib.training.graph import round_weights, write_graph
from lib.training.inference import TextClassifier
from lib.training.modules import MODULES, TRANSFORMER_CONFIG
from lib.training.poolings import PADDED_MEAN

FLOAT32, INT8 = "float32", "int8"
FOLDERS = {FLOAT32: EXPORTS["onnx"], INT8: EXPORTS["int8"]}
AT_A_TIME = 256  # texts that are sorted by length
PASS, PARTS, LETTERS = 8, (1, 3, 30), 30  # of texts whose beginnings share passes with them
DIFFERENCE = 1e-3  # of a probability in float32, at most
# Rounded weights move the labels of texts that are near to a border, which are few. Many others
# are damage, also where the texts are too few, or the classifier too bad, to tell its cost.
RELABELLED = 0.1  # share of the texts whose labels differ, at most
LOSS, LEVEL = 0.01, 0.05  # of accuracy: a larger loss is refused where its p is below the level
PACKAGES = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")
LIBRARY = "onnx"  # as the hub names it
FORMS = {
    FLOAT32: "Its weights are those of the checkpoint, in float32.",
    INT8: "The weights of its matrix products are rounded to 8-bit integers, and what they are "
    "multiplied with is rounded while it is computed, by one scale for each pass: a probability "
    "depends a little on the texts beside a text. Embeddings are in float32. Probabilities are not "
    "those of the checkpoint, and thresholds have to be read anew.",
}
CODE = """\
import onnxruntime
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder)
session = onnxruntime.InferenceSession(f"{folder}/model.onnx")
inputs = tokenizer(
    texts, truncation=True, padding=PADDING, return_attention_mask=True, return_tensors="np"
)
names = [each.name for each in session.get_inputs()]
(probabilities,) = session.run(None, {name: inputs[name] for name in names})"""
CAUTIONS = {
    PADDED_MEAN: 'Leave `padding="max_length"` in it: padding is in the mean, and this model was '
    "trained on texts that were padded to MAX_LENGTH tokens.",
    HEAD_TAIL: "Of texts of more than MAX_LENGTH tokens, the tokenizer keeps another part than "
    "this model was trained on. `TextClassifier(folder)` of the workflow keeps the right one.",
}


class Found(NamedTuple):
    """What an export gives beside its checkpoint, on the same texts.

    Attributes:
        texts: how many.
        largest_difference: of a probability.
        other_labels: how many labels differ.
        accuracy: of the checkpoint.
        export_accuracy: of the export.
        p: of McNemar's exact test that both are right equally often.
    """

    texts: int
    largest_difference: float
    other_labels: int
    accuracy: float
    export_accuracy: float
    p: float

    @classmethod
    def of(cls, chances: np.ndarray, exported: np.ndarray, labels: np.ndarray) -> "Found":
        """What is found of the probabilities of both.

        Args:
            chances: `(n, classes)`, of the checkpoint.
            exported: `(n, classes)`, of the export.
            labels: `(n,)` true classes.
        """
        first, second = chances.argmax(axis=1), exported.argmax(axis=1)
        right, still = first == labels, second == labels
        lost, won = int((right & ~still).sum()), int((still & ~right).sum())
        return cls(
            texts=len(labels),
            largest_difference=float(np.abs(chances - exported).max()),
            other_labels=int((first != second).sum()),
            accuracy=float(right.mean()),
            export_accuracy=float(still.mean()),
            p=float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0,
        )

    def is_of(self, form: str) -> bool:
        """Whether an export of a form may differ so much."""
        if form == FLOAT32 or not np.isfinite(self.largest_difference):
            return self.largest_difference <= DIFFERENCE
        loses = self.accuracy - self.export_accuracy > LOSS and self.p < LEVEL
        return self.other_labels <= max(1, RELABELLED * self.texts) and not loses

    def __str__(self) -> str:
        return (
            f"probabilities differ by {self.largest_difference:.2g} at most, {self.other_labels} "
            f"of {self.texts} labels differ, accuracy is {self.export_accuracy:.4f}, that of the "
            f"checkpoint {self.accuracy:.4f} (McNemar's exact test: p = {self.p:.2g})"
        )


def export(run: Path, int8: bool, reviews: Path | None, out: Path | None, threads: int) -> None:
    """Write the checkpoint of a run as a graph of ONNX, if it gives what the checkpoint gives.

    Args:
        run: folder of a finished run.
        int8: whether weights are rounded to 8-bit integers.
        reviews: Parquet file of `text` and `label` to compare on; by default the test split.
        out: folder to write; by default one in that of the run.
        threads: of the CPU.

    Raises:
        UserError: the run is not finished, a package or the texts are missing, the architecture
            can't become a graph, or the export gives something else than the checkpoint.
    """
    with installed():
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    torch.set_num_threads(threads)
    form, checkpoint = INT8 if int8 else FLOAT32, run / "checkpoint"
    out = (out or run / FOLDERS[form]).resolve()
    if out.exists() and not (out / FACTS).is_file():
        raise UserError(f"'{out}' is there, and holds no export; name another folder with --out")
    original = TextClassifier(checkpoint, "cpu", "fp32")
    card = read_text(checkpoint / FILE)
    path = reviews or test_split(run)
    texts, labels = read_reviews(path, len(original.names))
    with replacing(out) as folder:
        folder.mkdir()
        write_model(checkpoint, original, form, folder / MODEL)
        names = (MODULES, TRANSFORMER_CONFIG)  # of another library, which does not read this
        for file in (checkpoint / CONFIG_FILE, *tokenizer_files(checkpoint)):
            if file.name not in names:
                shutil.copyfile(file, folder / file.name)
        found = compare(original, TextClassifier(folder), texts, labels)
        log.info("%s: %s", form, found)
        if not found.is_of(form):
            raise UserError(refusal(checkpoint, form, found))
        opsets = onnx.load(folder / MODEL, load_external_data=False).opset_import
        told = {
            "form": form,
            "opset": next(each.version for each in opsets if not each.domain),
            "versions": {name: version(name) for name in PACKAGES},
            "checkpoint": digests(checkpoint),
            "reviews": sha256(path),
            "check": found._asdict(),
        }
        (folder / FACTS).write_text(to_json(told, indent=2) + "\n", "utf-8")
        where = "labelled texts" if reviews else "texts of the test split"
        (folder / FILE).write_text(describe(card, original, told, where), "utf-8")
    log.info("'%s' is written", out)


def test_split(run: Path) -> Path:
    """The test split of the study that a run belongs to.

    Raises:
        UserError: the run lies in no folder of results.
    """
    dataset = read_json(run / "train.json", "dataset")["dataset"]
    for folder in run.resolve().parents:
        if folder.name == "runs":
            return folder.parent / "datasets" / dataset / "splits" / "test.parquet"
    raise UserError(
        f"'{run}' lies in no results/runs/, beside which a test split is; name one with --reviews"
    )


def read_reviews(path: Path, classes: int) -> tuple[list[str], np.ndarray]:
    """Labelled texts, and the `(n,)` numbers of their classes.

    Raises:
        UserError: the file is missing or damaged, or holds something else.
    """
    with reading(path):
        found = pq.read_table(path, columns=["text", "label"], partitioning=None)
        texts, labels = found["text"], found["label"]
        if not pa.types.is_integer(labels.type):
            raise ValueError("it needs texts in `text`, and numbers of classes in `label`")
        texts = texts.cast(pa.string())  # of which Arrow has several kinds
        if not len(found) or texts.null_count or labels.null_count:
            raise ValueError("it holds no texts, or rows that lack one")
        numbers = labels.to_numpy()
        if not 0 <= numbers.min() <= numbers.max() < classes:
            raise ValueError(f"its labels are not the classes 0 to {classes - 1} of the run")
    return texts.to_pylist(), numbers


def write_model(checkpoint: Path, original: TextClassifier, form: str, path: Path) -> None:
    """Write the graph of a checkpoint.

    Args:
        checkpoint: the folder.
        original: what is in it.
        form: of the weights.
        path: of the file to write.

    Raises:
        UserError: torch can't make a graph of its architecture.
    """
    model, length = load_checkpoint(checkpoint), original.cut.max_length
    types = original.encoding.has_types and model.takes_types
    if form == FLOAT32:
        write_graph(model, types, length, path)
        return
    with TemporaryDirectory(dir=path.parent) as folder:
        write_graph(model, types, length, Path(folder, MODEL))
        round_weights(Path(folder, MODEL), path)


def compare(
    original: TextClassifier, exported: TextClassifier, texts: Sequence[str], labels: np.ndarray
) -> Found:
    """Compare two classifiers on labelled texts, in passes of many lengths.

    Beginnings of some texts are compared as well, so that some passes have padding, however long
    the texts are.
    """
    mixed = [text[: max(LETTERS, len(text) // each)] for text in texts[:PASS] for each in PARTS]
    padded = [classifier.probabilities(mixed).to_numpy() for classifier in (original, exported)]
    starts = range(0, len(texts), AT_A_TIME)
    both: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for start in progress(starts, len(starts), "comparison", "part"):
        part = texts[start : start + AT_A_TIME]
        for classifier, found in zip((original, exported), both, strict=True):
            found.append(classifier.probabilities(part).to_numpy())
    whole = Found.of(np.concatenate(both[0]), np.concatenate(both[1]), labels)
    largest = max(whole.largest_difference, float(np.abs(padded[0] - padded[1]).max()))
    return whole._replace(largest_difference=largest)


def refusal(checkpoint: Path, form: str, found: Found) -> str:
    """Why an export is not kept."""
    allowed = f"a difference of {DIFFERENCE} is allowed; use the checkpoint as it is"
    if form == INT8:
        allowed = (
            f"{RELABELLED:.0%} other labels are allowed, and no significant loss of more than "
            f"{LOSS:.0%} of accuracy; export it without --int8"
        )
    return f"the export of '{checkpoint}' in {form} gives something else: {found}; {allowed}"


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a checkpoint, but of its card, which a test writes anew."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*"))}
    own = (name for name in files if files[name].is_file() and name != FILE and name[0] != ".")
    return {name: sha256(files[name]) for name in own}


def describe(card: str, original: TextClassifier, told: Mapping[str, Any], texts: str) -> str:
    """The card of a checkpoint as that of its export, which tells how it is used and what it gives.

    Args:
        card: of the checkpoint.
        original: the checkpoint.
        told: of the export.
        texts: that it was compared on, in words.
    """
    found = Found(**told["check"])
    shown = table(
        ["", ""],
        [
            ("Compared on", f"{found.texts:,} {texts}"),
            ("Largest difference of a probability", f"{found.largest_difference:.2g}"),
            ("Labels that differ", f"{found.other_labels:,}"),
            ("Accuracy of the checkpoint", f"{found.accuracy:.4f}"),
            ("Accuracy of the export", f"{found.export_accuracy:.4f}"),
            ("Exact McNemar test of the two", f"p = {found.p:.2g}"),
            ("Opset of ONNX", told["opset"]),
            *told["versions"].items(),
        ],
    )
    pooling, cut = original.model.pooling, original.cut
    padding = '"max_length"' if pooling == PADDED_MEAN else "True"
    section = "\n\n".join(
        [
            "## Export",
            f"An export to ONNX: `{MODEL}` takes tokens and gives the probabilities of the "
            f"classes above; pooling, head, temperature and softmax are in it. "
            f"{FORMS[told['form']]} The results above are those of the checkpoint.",
            shown,
            "`pip install onnxruntime transformers` is all that is needed. `folder` is where the "
            "files of this model are.",
            f"```python\n{CODE.replace('PADDING', padding)}\n```",
            *(
                caution.replace("MAX_LENGTH", str(cut.max_length))
                for name, caution in CAUTIONS.items()
                if name in (pooling, cut.truncation)
            ),
        ]
    )
    made = ModelCard(card)
    made.data.library_name, made.data.pipeline_tag = LIBRARY, TASK
    if told["form"] == INT8:
        made.data.eval_results = made.data.model_name = None  # which are the checkpoint's
    use = re.compile(r"^## Use$.*?(?=^## )", re.MULTILINE | re.DOTALL)
    made.text = use.sub("", made.text, count=1).rstrip() + f"\n\n{section}\n"
    return made.content
