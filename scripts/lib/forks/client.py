"""Commands on this machine begin with their libraries imported, in forks of a server.

Importing torch and transformers takes longer than a small training. The Snakefile starts one server
(`start`), each command hands itself over (`run_in_fork`), and a fork of the server does what the
command was asked to, with its files, folder and environment. A fork ends with its command, however
that ends, and the server and all forks end with Snakemake. Forks may use GPUs, because nothing that
the server imports asks for one: CUDA, which no fork can share, starts in each of them.
"""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

SCRIPTS = Path(__file__).parents[2]
SERVER = (sys.executable, "-m", "lib.forks.server")
ADDRESS = "TEXT_ENCODERS_FORK_SERVER"  # variable that names the server's socket
# Threads that a library starts do not live on in a fork; commands set their own numbers of threads.
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


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


def start(modules: Mapping[str, Sequence[str]]) -> None:
    """Start a server for the commands that this process starts; it ends with this process.

    It imports the libraries of a command when that comes for the first time. Where no server can
    be had, as outside Linux, commands go on to import for themselves.

    Args:
        modules: of each command, those of its code.
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
                [*SERVER, str(listener.fileno()), json.dumps(modules)],
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


def run_in_fork(**variables: str) -> int | None:
    """Run the command of this process in a fork of the server, and wait until it ends.

    Signals that ask this process alone to end are passed on.

    Args:
        variables: of its environment besides those of this process.

    Returns:
        The exit code; None where no server takes the command, so that it has to run here.
    """
    address = os.environ.get(ADDRESS)
    if not address:
        return None
    with socket.socket(socket.AF_UNIX) as server:
        fork = _ask(server, address, variables)
        if fork is None:
            return None
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the fork as well
        received: list[int] = []

        def note(number: int, _: Any) -> None:
            received.append(number)
            pass_on(fork, number)

        for name in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, note)
        with suppress(ConnectionError):
            if code := server.recv(1):
                return code[0]
    if received:  # the server as well, with a whole group of processes
        sys.exit(128 + received[0])
    sys.exit("error: the fork server has ended; run this again")


def _ask(server: socket.socket, address: str, variables: Mapping[str, str]) -> int | None:
    """The process that does what this one was asked to; None where no server takes the command."""
    with suppress(OSError):
        server.connect(address)
        _send(server, variables)
        if fork := server.recv(4, socket.MSG_WAITALL):  # else it is of another environment
            return int.from_bytes(fork)
    return None


def pass_on(process: int, signal_number: int) -> None:
    """Send a signal to a process, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(process, signal_number)


def _send(server: socket.socket, variables: Mapping[str, str]) -> None:
    umask = os.umask(0)
    os.umask(umask)
    environment = {**os.environ, **variables}
    command = Command(sys.prefix, sys.argv, os.getcwd(), umask, environment)
    text = json.dumps(command).encode()
    socket.send_fds(server, [len(text).to_bytes(4)], [0, 1, 2])
    server.sendall(text)
