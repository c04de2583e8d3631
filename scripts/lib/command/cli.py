"""The command line of all commands: flags, help with every default, errors in one line."""

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from lib.command import console
from lib.command.console import UserError, one_line, refusals_explained
from lib.command.timing import STARTED, started, took
from lib.forks.client import run_in_fork

MAX_SEED = 2**32 - 1
MAX_COUNT = 2**31 - 1  # of anything, as in the schema


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


def run(main: Callable[[argparse.Namespace], None], arguments: Parser) -> None:
    """Parse the command line and call `main`; a user's mistake ends in one line and exit code 1.

    What asks for the source `hub` may reach the Hugging Face hub; all else runs offline.

    Args:
        main: the command.
        arguments: its command line.
    """
    arguments.add_argument("--log", type=Path, help="file for all output, instead of the terminal")
    options = arguments.parse_args()
    log = vars(options).pop("log")
    hub = getattr(options, "source", None) == "hub"
    if hub:
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # HTTP goes on where a transfer stopped
    else:
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        if not hub and (code := run_in_fork(**{STARTED: str(started())})) is not None:
            sys.exit(code)
        signal.signal(signal.SIGTERM, _end)
        if log:
            with refusals_explained(log):
                console.write_to(log)
        console.start_logging()
        main(options)
        if log:
            console.log.info(took())
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UserError, OSError) as error:
        console.show_error(f"{arguments.prog}: error: {one_line(error)}")
        sys.exit(1)
    except KeyboardInterrupt:
        _end(signal.SIGINT)
    except Exception as error:
        place = console.write_traceback(log)
        what = f"unexpected {type(error).__name__}: {one_line(error)}"
        console.show_error(f"{arguments.prog}: error: {what}; its traceback is in {place}")
        sys.exit(1)


def _end(number: int, *_: object) -> NoReturn:
    """End as a signal asks, with one line."""
    console.log.warning("ended by %s", signal.Signals(number).name)
    sys.exit(128 + number)


def whole(least: int, most: int) -> Callable[[str], int]:
    """What parses a flag that is a whole number within bounds."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,20}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"'{text}' is not a whole number from {least} to {most}"
            )
        return int(text)

    return parse


positive = whole(1, MAX_COUNT)
seed = whole(0, MAX_SEED)
threads = whole(1, 1024)  # as in the schema
length = whole(3, 2**20)  # of inputs, in tokens, as in the schema


def mapping(text: str) -> tuple[str, str]:
    """Parse a `KEY=VALUE` flag; the key may not hold `=`."""
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form KEY=VALUE")
    return key, value
