"""Export the best checkpoint of a run to ONNX: tokens in, probabilities out, for onnxruntime.

What it gives on the test split is compared with what the checkpoint gives, and an export that
gives something else is not kept: one in float32 where a probability differs by more than 0.001;
one with --int8 where more than a tenth of the labels differ, or where accuracy is lower by more
than a point and significantly (McNemar's exact test, p < 0.05). The model card tells what was
found.
"""

import argparse
import os
from pathlib import Path

from lib.command.cli import Parser, run, threads


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("run", type=Path, help="folder of a finished run")
    flags.add_argument(
        "--int8",
        action="store_true",
        help="round weights to 8-bit integers, but for embeddings: smaller, and less exact",
    )
    flags.add_argument(
        "--reviews",
        type=Path,
        help="Parquet file of `text` and `label` to compare on; the test split of the run if none "
        "is named",
    )
    flags.add_argument(
        "--out", type=Path, help="folder to write; `onnx` or `onnx-int8` in that of the run if none"
    )
    flags.add_argument("--threads", type=threads, default=os.cpu_count(), help="CPU threads")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the export, compare it, and keep it if it gives what the checkpoint gives."""
    from lib.training.export import export

    export(**vars(options))


if __name__ == "__main__":
    run(main, arguments())
