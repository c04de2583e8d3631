"""What a person sees of a command: its log, its progress, and mistakes in one line."""

import errno
import logging
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
log = logging.getLogger("study")
announcements = log.getChild("announcements")  # the few lines that reach the terminal as well

PROGRESS_SECONDS = 30

# What a disk may refuse, and what to do about it.
REFUSALS = {
    errno.ENOSPC: "free some space, then run this again",
    errno.EDQUOT: "free some of your quota, then run this again",
    errno.EROFS: "make it writable, or write elsewhere, as with --directory",
    errno.EACCES: "make it writable, or write elsewhere, as with --directory",
    errno.ENOTDIR: "write elsewhere, or move the file that stands in its way",
    errno.EEXIST: "write elsewhere, or move the file that stands in its way",
}

_terminal: list[int] = []  # standard error as it was before it went to a log


class UserError(Exception):
    """A mistake that the user can mend: the message says what is wrong, where, and what to do."""


def one_line(error: BaseException) -> str:
    """The message of an error with its line breaks folded to spaces."""
    return " ".join(str(error).split())


@contextmanager
def refusals_explained(path: Path) -> Iterator[None]:
    """Say in one line that the disk is full, or that `path` can't be written.

    Libraries raise errors of many kinds for it, which have the words of the system in common.

    Raises:
        UserError: the block failed for that.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        for number, advice in REFUSALS.items():
            refusal = os.strerror(number)
            if refusal in str(error) and not (number == errno.EACCES and _elsewhere(error, path)):
                raise UserError(
                    f"'{path}' can't be written: {refusal.lower()}; {advice}"
                ) from error
        raise


def _elsewhere(error: Exception, path: Path) -> bool:
    """Whether an error names a file that has nothing to do with writing `path`."""
    named = Path(getattr(error, "filename", None) or path)
    return named not in path.parents and not named.is_relative_to(path.parent)


def without_password(text: str) -> str:
    """A text without user and password in its addresses."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def start_logging() -> None:
    """Show messages of level INFO with their time on standard error."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    log.setLevel(logging.INFO)
    logging.raiseExceptions = False  # with a traceback for each line that a full disk refuses


def write_to(path: Path) -> None:
    """Send all output of this process to a file; announcements reach the terminal as well.

    The file is begun anew, unless standard output goes to it already, as in a process that
    `launch` started.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    if not os.path.samestat(os.fstat(1), os.fstat(file)):
        os.ftruncate(file, 0)
    _terminal.append(os.dup(2))
    handler = logging.StreamHandler(os.fdopen(_terminal[0], "w", buffering=1, closefd=False))
    announcements.addHandler(handler)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)


def show_error(line: str) -> None:
    """Write the last line of a command to its log; to the terminal, if the disk is full."""
    text = f"{line}\n".encode("utf-8", "backslashreplace")
    for stream in (2, *_terminal):
        with suppress(OSError):
            if os.write(stream, text) == len(text):
                return


def write_traceback(log: Path | None) -> Path | str:
    """Write the traceback of the error that is being handled; return where it is.

    It goes to the log or, without one, to a temporary file.
    """
    if log and _terminal:
        with suppress(OSError):
            traceback.print_exc()
        return log
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="traceback-", suffix=".txt", encoding="utf-8", delete=False
        ) as file:
            traceback.print_exc(file=file)
            return file.name
    except OSError:
        return "no file, as no temporary one can be written; name one with --log"


def give_back_terminal() -> None:
    """Let standard error reach the terminal again, so that processes to be started can."""
    if _terminal:
        os.dup2(_terminal[0], 2)


def silence() -> None:
    """Show warnings and errors alone from now on, for all but the first of several processes."""
    log.setLevel(logging.WARNING)


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
