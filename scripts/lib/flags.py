"""Flags that several commands of the analysis share."""

from pathlib import Path
from typing import Any

from lib.cli import Parser, mapping, positive

FLAGS: dict[str, dict[str, Any]] = {
    "--table": {"required": True, "type": Path, "help": "runs.csv of collect.py"},
    "--runs": {"required": True, "nargs": "+", "type": Path, "help": "folders of the runs"},
    "--baselines": {"nargs": "*", "default": [], "type": Path, "help": "folders of baselines"},
    "--reviews": {"required": True, "type": Path, "help": "the test split"},
    "--tokens": {
        "required": True,
        "nargs": "+",
        "type": mapping,
        "metavar": "MODEL=FILE",
        "help": "the tokenized test split of each model",
    },
    "--threads": {"type": positive, "default": 1, "help": "CPU threads of the encoders"},
}


def add_flags(parser: Parser, *names: str) -> None:
    """Add some of the flags to a command line."""
    for name in names:
        parser.add_argument(name, **FLAGS[name])
