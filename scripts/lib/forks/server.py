"""The server: what it waits for, its forks, and what becomes of them."""

import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto
from functools import cache
from pathlib import Path
from typing import Any

from lib.forks.client import ADDRESS, Command, pass_on

PATIENCE = 5.0  # seconds within which a command has to say what it is
PR_SET_PDEATHSIG = 1  # of prctl(2): the signal that a process gets when its parent ends
PR_SET_NAME = 15  # the name that `top` shows


class Event(Enum):
    """What the server waits for."""

    STARTER_ENDED = auto()
    COMMAND_CAME = auto()
    COMMAND_ENDED = auto()
    FORK_ENDED = auto()


def _receive(client: socket.socket) -> tuple[Command, list[int]] | None:
    """A command, and the files that are to be its standard input, output and error.

    None where it is of another environment, or has ended before it was told.
    """
    client.settimeout(PATIENCE)
    files: list[int] = []
    try:
        size, files, _, _ = socket.recv_fds(client, 4, 3)
        with client.makefile("rb") as stream:
            command = Command(*json.loads(stream.read(int.from_bytes(size))))
        if command.prefix == sys.prefix:
            client.settimeout(None)
            return command, files
    except (OSError, ValueError, TypeError):
        pass
    _close(files)
    return None


def _close(files: Sequence[int]) -> None:
    for file in files:
        os.close(file)


def serve(listener: socket.socket, modules: Mapping[str, list[str]]) -> tuple[Command, list[int]]:
    """Fork for each command that comes, until standard input ends; return in the forks alone."""
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ, (Event.STARTER_ENDED, 0))
    selector.register(listener, selectors.EVENT_READ, (Event.COMMAND_CAME, 0))
    clients: dict[int, socket.socket] = {}  # by fork
    while True:
        for event, _ in selector.select():
            kind, fork = event.data
            if kind is Event.STARTER_ENDED:
                shutil.rmtree(os.path.dirname(os.environ[ADDRESS]), ignore_errors=True)
                sys.exit()
            elif kind is Event.COMMAND_CAME:
                client, _ = listener.accept()
                work = _receive(client)
                new = _fork(work[0], modules) if work else None
                if work and new == 0:
                    selector.close()
                    for each in (listener, client, *clients.values()):
                        each.close()
                    return work
                _close(work[1] if work else [])
                if new is None:
                    client.close()  # the command runs in its own process
                    continue
                clients[new] = client
                selector.register(client, selectors.EVENT_READ, (Event.COMMAND_ENDED, new))
                ended = os.pidfd_open(new)
                selector.register(ended, selectors.EVENT_READ, (Event.FORK_ENDED, new))
                with suppress(OSError):  # it has ended, as the next event tells
                    client.sendall(new.to_bytes(4))
            elif fork in clients and kind is Event.COMMAND_ENDED:
                selector.unregister(event.fileobj)
                pass_on(fork, signal.SIGTERM)
            elif fork in clients:
                _report(selector, event, clients.pop(fork))


def _fork(command: Command, modules: Mapping[str, list[str]]) -> int | None:
    """The process number of a new fork, 0 in the fork itself; None where there can be none."""
    name = Path(command.argv[0]).stem
    _import(*modules.get(name, ()))
    server = os.getpid()
    try:
        fork = os.fork()
    except OSError:
        return None
    if not fork:
        library = ctypes.CDLL(None)
        library.prctl(PR_SET_NAME, name.encode())
        library.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != server:
            os._exit(1)
    return fork


def _report(selector: Any, event: selectors.SelectorKey, client: socket.socket) -> None:
    """Tell a command that its fork has ended, and how."""
    _, fork = event.data
    code = os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1])
    selector.unregister(event.fd)
    os.close(event.fd)
    with suppress(KeyError):
        selector.unregister(client)
    with client, suppress(OSError):
        client.sendall((code if code >= 0 else 128 - code).to_bytes(1))


@cache
def _import(*modules: str) -> None:
    """Import the code of a command, and its libraries with it; forks forget the code again."""
    with suppress(Exception):  # which the command meets as well, and tells
        for name in modules:
            importlib.import_module(f"lib.{name}")
    gc.freeze()


def become(command: Command, files: Sequence[int]) -> None:
    """Let this process, a fork of the server, run a command as if it had been started for it."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(command.folder)
    os.umask(command.umask)
    os.environ.clear()
    os.environ.update(command.environment)
    del os.environ[ADDRESS]
    tempfile.tempdir = None  # which a library may have looked up
    for name in [name for name in sys.modules if name.partition(".")[0] == "lib"]:
        del sys.modules[name]  # which may have been edited since the server started
    sys.argv = command.argv
    sys.path[0] = os.path.dirname(os.path.abspath(command.argv[0]))
    runpy.run_path(command.argv[0], run_name="__main__")


if __name__ == "__main__":
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes
    with socket.socket(fileno=int(sys.argv[1])) as own:
        work = serve(own, json.loads(sys.argv[2]))
    signal.signal(signal.SIGINT, before)
    become(*work)
