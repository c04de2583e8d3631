"""What all commands do alike: one-line errors, logs, progress, files that appear whole."""

import argparse
import json
import logging
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

Item = TypeVar("Item")
log = logging.getLogger("study")

PROGRESS_SECONDS = 30
MAX_SEED = 2**32 - 1


class UserError(Exception):
    """A mistake that the user can mend: the message says what is wrong, where, and what to do."""


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help that shows defaults where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.default not in (None, [])
        return super()._get_help_string(action) if shown else action.help


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line; its --help shows every default."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        """End with one line and exit code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def run(main: Callable[[argparse.Namespace], None], arguments: Parser, hub: bool = False) -> None:
    """Parse the command line and call `main`; a user's mistake ends in one line and exit code 1.

    Args:
        main: the command.
        arguments: its command line.
        hub: whether it may reach the Hugging Face hub; all others run offline.
    """
    options = arguments.parse_args()
    if hub:
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # HTTP goes on where a transfer stopped
    else:
        os.environ["HF_HUB_OFFLINE"] = "1"
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    log.setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main(options)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UserError, OSError) as error:
        sys.exit(f"{arguments.prog}: error: {one_line(error)}")
    except KeyboardInterrupt:
        sys.exit(130)


def silence() -> None:
    """Show warnings and errors alone from now on, for all but the first of several processes."""
    log.setLevel(logging.WARNING)


def one_line(error: Exception) -> str:
    """The message of an error with its line breaks folded to spaces."""
    return " ".join(str(error).split())


def positive(text: str) -> int:
    """Parse a flag that is a whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 1 or more")
    return int(text)


def seed(text: str) -> int:
    """Parse a flag that is a seed: a whole number of 32 bits."""
    if not text.isdecimal() or int(text) > MAX_SEED:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 to {MAX_SEED}")
    return int(text)


def mapping(text: str) -> tuple[str, str]:
    """Parse a `KEY=VALUE` flag; the key may not hold `=`."""
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form KEY=VALUE")
    return key, value


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` for a file or a folder.

    It takes the place of `path` when the block ends well and is removed otherwise, so that
    nobody ever finds a half-written result.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    _remove(temporary)  # what a killed process may have left
    try:
        yield temporary
        if path.is_dir():
            _remove(path)
        os.replace(temporary, path)
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write indented JSON, whole or not at all; numbers that are not finite become null."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in content.items()
    }
    text = json.dumps(finite, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object."""
    return json.loads(path.read_text("utf-8"))


def progress(items: Iterable[Item], total: int, description: str, unit: str) -> Iterator[Item]:
    """Iterate over `total` items with a bar on a terminal, or a line every 30 seconds in a log."""
    if not log.isEnabledFor(logging.INFO):
        yield from items
        return
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=description, unit=unit, leave=False)
        return
    reported = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - reported > PROGRESS_SECONDS:
            reported = time.monotonic()
            log.info("%s: %d of %d %ss", description, done, total, unit)
        yield item
