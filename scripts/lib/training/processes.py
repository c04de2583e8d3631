"""Work in processes that end with it and leave no trace in this one, as CUDA and memory would."""

import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from lib.command.console import UserError, silence
from lib.training.device import choose, choose_precision, hardware


def place_of(device: str, precision: str) -> dict[str, str]:
    """Where what has these settings computes, as train.json tells it."""
    there = choose(device)
    precision = choose_precision(precision, there)
    return {"device": there.type, "precision": precision, "hardware": hardware(there)}


def in_processes(work: Callable[[], Any], count: int) -> list[Any]:
    """What so many processes find at the same time.

    They are forks on Linux, each of which starts CUDA for itself: this process never does.

    Raises:
        UserError: one can't be done, or its process has ended.
    """
    context: Any = get_context("fork" if sys.platform == "linux" else "spawn")
    receivers = []
    for _ in range(count):
        receiver, sender = context.Pipe(duplex=False)
        context.Process(target=send, args=(sender, work), daemon=True).start()
        sender.close()
        receivers.append(receiver)
    try:
        found = [receiver.recv() for receiver in receivers]
    except EOFError as error:
        raise UserError("a process that measured has ended; its output tells why") from error
    for mistake in (each for each in found if isinstance(each, UserError)):
        raise mistake
    return found


def send(sender: Connection, work: Callable[[], Any]) -> None:
    """Send what some work finds, or the user's mistake."""
    silence()
    try:
        sender.send(work())
    except UserError as error:
        sender.send(error)
