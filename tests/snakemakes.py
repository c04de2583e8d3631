"""Calls of Snakemake in forks of a process that has imported it, for tests that plan often."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

# Of Snakemake, and what it and the Snakefile import when it plans.
PRELOADED = ("snakemake.cli", "jinja2", "jsonschema", "pyarrow.parquet", "requests", "smart_open")


def call_snakemake(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess:
    """What `python -m snakemake` does in a folder, without the second that its imports take."""
    server = _server(os.getpid())
    with tempfile.TemporaryDirectory() as name:
        files = [str(Path(name) / file) for file in ("stdout", "stderr")]
        request = [list(arguments), str(folder), dict(environment), files]
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        said = [Path(file).read_text() for file in files]
    return subprocess.CompletedProcess(list(arguments), code, *said)


@cache
def _server(_: int) -> subprocess.Popen:
    """The process that forks, one per process of tests, whose end is its own."""
    return subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _become(
    arguments: list[str], folder: str, environment: dict[str, str], files: list[str]
) -> None:
    """Be `python -m snakemake` in a fork."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    opened = [os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for file in files]
    for number, file in enumerate([nothing, *opened]):
        os.dup2(file, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:1] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv[1:] = arguments
    cli.main()


if __name__ == "__main__":
    cli, *_ = map(import_module, PRELOADED)
    for line in sys.stdin:
        fork = os.fork()
        if not fork:
            _become(*json.loads(line))
            sys.exit()
        print(os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]), flush=True)
