"""An export to ONNX in use: what onnxruntime computes in place of a checkpoint."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten

import numpy as np
import torch
from torch import Tensor

from lib.command.console import UserError, one_line
from lib.data.encoders import SHOWN, using
from lib.files.manifests import sha256, verify
from lib.files.whole import read_json
from lib.training.checkpoints import HEAD_CONFIG, read_head

MODEL = "model.onnx"
FACTS = "export.json"
MASK = "attention_mask"
OUTPUT = "probabilities"


def is_export(folder: Path) -> bool:
    """Whether a folder holds an export of the workflow, be it a damaged one."""
    model = (folder / MODEL).is_file() and (folder / HEAD_CONFIG).is_file()
    return model or (folder / FACTS).is_file()


def is_of(folder: Path, checkpoint: Path) -> bool:
    """Whether an export was made from a checkpoint as it is now.

    Raises:
        UserError: what the export tells of itself can't be read.
    """
    verify(folder, FACTS)
    known = read_json(folder / FACTS, "checkpoint")["checkpoint"].items()
    files = {checkpoint / name: digest for name, digest in known}
    return all(path.is_file() and sha256(path) == digest for path, digest in files.items())


def refuse_stale(folder: Path) -> None:
    """Refuse an export beside a checkpoint that was trained anew since.

    Raises:
        UserError: a file of the checkpoint is another than it was.
    """
    checkpoint = folder.parent / "checkpoint"
    made = (checkpoint / HEAD_CONFIG).is_file() and (folder / FACTS).is_file()
    if made and not is_of(folder, checkpoint):
        raise UserError(
            f"'{folder}' is of another checkpoint than '{checkpoint}'; export that again"
        )


@contextmanager
def installed() -> Iterator[None]:
    """Say in one line which package of exports the block lacks.

    Raises:
        UserError: one is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"an export needs {error.name}, which is not installed; pip install -r envs/export.txt"
        ) from error


def device_of_export(device: str, precision: str) -> str:
    """The device on which an export computes.

    Raises:
        UserError: another one is asked for, or another precision than that of the export.
    """
    if device not in ("auto", "cpu"):
        raise UserError(
            f"an export computes on the CPU, and device is {device}; set it to auto, or take the "
            "checkpoint that it was made from"
        )
    if precision not in ("auto", "fp32"):
        raise UserError(
            f"an export computes as it was written, and precision is {precision}; set it to auto, "
            "or take the checkpoint that it was made from"
        )
    return "cpu"


class Exported:
    """The classifier in a folder that export.py wrote, computed by as many threads as torch has.

    Args:
        folder: of the export.

    Attributes:
        pooling: a name from the table of poolings.

    Raises:
        UserError: a file of it is missing or damaged, or onnxruntime is not installed.
    """

    def __init__(self, folder: Path) -> None:
        with installed():
            from onnxruntime import InferenceSession, SessionOptions

        refuse_stale(folder)
        self.folder = folder
        self.pooling = read_head(folder).pooling
        options = SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # beside torch
        options.log_severity_level = 3  # errors alone
        with using(folder, MODEL, f"{MODEL}*"):
            providers = ["CPUExecutionProvider"]
            self.session = InferenceSession(folder / MODEL, options, providers=providers)
            self.taken = [each.name for each in self.session.get_inputs()]

    def chances(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Probabilities `(n, classes)` of a padded batch, in float32.

        Args:
            inputs: as for every classifier.

        Raises:
            UserError: onnxruntime fails.
        """
        given = {MASK: torch.ones_like(inputs["input_ids"]), **inputs}
        arrays = {name: given[name].numpy().astype(np.int64) for name in self.taken}
        try:
            (found,) = self.session.run([OUTPUT], arrays)
        except Exception as error:  # of no kind of its own
            raise UserError(
                f"'{self.folder / MODEL}' fails in onnxruntime, at inputs of the shape "
                f"{tuple(arrays['input_ids'].shape)}: {shorten(one_line(error), SHOWN)}"
            ) from error
        return torch.from_numpy(found)
