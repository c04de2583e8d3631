"""A fork server: commands on this machine begin with their libraries imported.

Importing torch and transformers takes longer than a small training. The Snakefile starts one server
(`start`), each command hands itself over (`run_in_fork`), and a fork of the server does what the
command was asked to, with its files, folder and environment. A fork ends with its command, however
that ends, and the server and all forks end with Snakemake.
"""

import atexit
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
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, auto
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from lib.timing import STARTED, started

SCRIPTS = Path(__file__).parents[1]
PATIENCE = 5.0  # seconds within which a command has to say what it is
PR_SET_PDEATHSIG = 1  # of prctl(2): the signal that a process gets when its parent ends
PR_SET_NAME = 15  # the name that `top` shows
ADDRESS = "TEXT_ENCODERS_FORK_SERVER"  # variable that names the server's socket
# Threads that a library starts do not live on in a fork; commands set their own numbers of threads.
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Event(Enum):
    """What the server waits for."""

    STARTER_ENDED = auto()
    COMMAND_CAME = auto()
    COMMAND_ENDED = auto()
    FORK_ENDED = auto()


class Command(NamedTuple):
    """A command to be run.

    Attributes:
        prefix: of the Python environment that it runs in.
        argv: its words, the script first.
        folder: where it runs.
        umask: of files that it makes.
        environment: its variables.
    """

    prefix: str
    argv: list[str]
    folder: str
    umask: int
    environment: dict[str, str]


def start() -> None:
    """Start a server for the commands that this process starts; it ends with this process.

    It imports the libraries of a command when that comes for the first time. Where no server can
    be had, as outside Linux, commands go on to import for themselves.
    """
    try:
        os.close(os.pidfd_open(os.getpid()))
        folder = tempfile.mkdtemp(prefix="text-encoders-")  # which nobody else may enter
    except (AttributeError, OSError):
        return
    address = f"{folder}/socket"
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen()
            server = subprocess.Popen(
                [sys.executable, "-m", "lib.forkserver", str(listener.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
                cwd=SCRIPTS,
                env={**os.environ, **ENVIRONMENT, ADDRESS: address},
            )
    except OSError:
        shutil.rmtree(folder)
        return
    os.environ[ADDRESS] = address
    atexit.register(_stop, server, folder)


def _stop(server: subprocess.Popen, folder: str) -> None:
    server.communicate()  # which closes its standard input, and waits
    shutil.rmtree(folder, ignore_errors=True)


def run_in_fork() -> int | None:
    """Run the command of this process in a fork of the server, and wait until it ends.

    Signals that ask this process alone to end are passed on.

    Returns:
        The exit code; None where no server takes the command, so that it has to run here.
    """
    address = os.environ.get(ADDRESS)
    if not address:
        return None
    with socket.socket(socket.AF_UNIX) as server:
        fork = _ask(server, address)
        if fork is None:
            return None
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the fork as well
        received: list[int] = []

        def pass_on(number: int, _: Any) -> None:
            received.append(number)
            _pass_on(fork, number)

        for name in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, pass_on)
        with suppress(ConnectionError):
            if code := server.recv(1):
                return code[0]
    if received:  # the server as well, with a whole group of processes
        sys.exit(128 + received[0])
    sys.exit("error: the fork server has ended; run this again")


def _ask(server: socket.socket, address: str) -> int | None:
    """The process that does what this one was asked to; None where no server takes the command."""
    with suppress(OSError):
        server.connect(address)
        _send(server)
        if fork := server.recv(4, socket.MSG_WAITALL):  # else it is of another environment
            return int.from_bytes(fork)
    return None


def _pass_on(process: int, signal_number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal_number)


def _send(server: socket.socket) -> None:
    umask = os.umask(0)
    os.umask(umask)
    environment = {**os.environ, STARTED: str(started())}
    command = Command(sys.prefix, sys.argv, os.getcwd(), umask, environment)
    text = json.dumps(command).encode()
    socket.send_fds(server, [len(text).to_bytes(4)], [0, 1, 2])
    server.sendall(text)


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


def serve(listener: socket.socket) -> tuple[Command, list[int]]:
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
                new = _fork(work[0]) if work else None
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
                _pass_on(fork, signal.SIGTERM)
            elif fork in clients:
                _report(selector, event, clients.pop(fork))


def _fork(command: Command) -> int | None:
    """The process number of a new fork, 0 in the fork itself; None where there can be none."""
    name = Path(command.argv[0]).stem
    _import(name)
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
def _import(command: str) -> None:
    """Import the code of a command, and its libraries with it; forks forget the code again."""
    with suppress(Exception):  # which the command meets as well, and tells
        from lib.planning import code  # which imports what imports this module

        for path in code(command):
            importlib.import_module(".".join(path.relative_to(SCRIPTS).with_suffix("").parts))
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
        work = serve(own)
    signal.signal(signal.SIGINT, before)
    become(*work)
