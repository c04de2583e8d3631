"""Commands that end in one line, run in this process."""

import importlib
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from lib.command import cli


def refusal(line: str | list[str], output: Any) -> str:
    """What a command says on standard error as it is refused.

    Args:
        line: its words, the script first, as in `split.py --seed 1`.
        output: the fixture `capfd`.
    """
    words = shlex.split(line) if isinstance(line, str) else line
    handler = signal.getsignal(signal.SIGTERM)
    module = importlib.import_module(words[0].removesuffix(".py"))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", words)
        patch.setenv("HF_HUB_OFFLINE", "1")  # which a command sets, and which is undone here
        output.readouterr()  # of what the case was made from
        cli.run(module.main, module.arguments())
    signal.signal(signal.SIGTERM, handler)
    assert end.value.code in (1, 2)  # 2 of a wrong flag
    return output.readouterr().err


def is_one_line(text: str) -> bool:
    """Whether a text is one line, and none of an error that nobody expected."""
    return len(text.splitlines()) == 1 and "traceback" not in text.lower()


def tree(folder: Path) -> dict[Path, int]:
    """All files of a folder, with the times of their last changes; Snakemake's own left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.stat().st_mtime_ns for path in files if ".snakemake" not in path.parts}
