"""Commands in forks of a server that has imported their libraries."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, wait_until

LIBRARY = "pandas"  # which the code of collect.py imports
STARTER = """
import subprocess, sys
from lib.forks import client
client.start({{"collect": ["files.tables"]}})
sys.exit(subprocess.run({command}).returncode)
"""
COMMAND = f"""
import json, os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {str(ROOT / "scripts")!r})
from lib.forks.client import ADDRESS, run_in_fork
Path("commands").open("a").write(f"{{os.getpid()}}\\n")
if (code := run_in_fork()) is not None:
    sys.exit(code)
print(json.dumps({{
    "words": sys.argv[1:],
    "folder": os.getcwd(),
    "variable": os.environ.get("VARIABLE"),
    "umask": os.umask(0o22),
    "input": sys.stdin.read(),
    "imported": {LIBRARY!r} in sys.modules,
    "process": os.getpid(),
    "name": Path("/proc/self/comm").read_text().strip(),
    "address": os.environ.get(ADDRESS),
}}), flush=True)
if sys.argv[1:] == ["wait"]:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    Path("waits").write_text(str(os.getpid()))
    try:
        time.sleep(600)
    finally:
        Path("cleaned").touch()
sys.exit(3)
"""


def starter(python, folder: Path, *words: str, name: str = "nothing") -> list:
    """The words of a process that starts a server, and a command."""
    script = folder / f"{name}.py"
    script.write_text(COMMAND)
    command = [str(python), str(script), *words]
    return [python, "-c", STARTER.format(command=command)]


def environment(**variables: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT}/scripts", **variables}


def is_alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.fixture
def waiting(python, tmp_path):
    """A process that has started a server, and its command, whose fork waits."""
    started = subprocess.Popen(
        starter(python, tmp_path, "wait"),
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    waits = tmp_path / "waits"
    wait_until(lambda: waits.exists() and waits.read_text())
    yield started, int((tmp_path / "commands").read_text().split()[0])
    started.kill()
    started.communicate()


@pytest.mark.parametrize("name", ["collect", "no_command_of_ours"])
def test_a_fork_does_what_the_command_would_do(python, tmp_path, name):
    done = subprocess.run(
        starter(python, tmp_path, "a b", "ü", name=name),
        cwd=tmp_path,
        env=environment(VARIABLE="its\nvalue"),
        input="text",
        capture_output=True,
        text=True,
        umask=0o27,
    )
    assert (done.returncode, done.stderr) == (3, "")
    found = json.loads(done.stdout)
    assert found.pop("process") != int((tmp_path / "commands").read_text().split()[0])
    assert found == {
        "words": ["a b", "ü"],
        "folder": str(tmp_path),
        "variable": "its\nvalue",
        "umask": 0o27,
        "input": "text",
        "imported": name == "collect",
        "name": name[:15],  # as many characters as Linux keeps
        "address": None,
    }


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_a_fork_ends_with_its_command(waiting, tmp_path, signal_number):
    started, command = waiting
    fork = int((tmp_path / "waits").read_text())
    os.kill(command, signal_number)
    expected = 143 if signal_number == signal.SIGTERM else -9 % 256
    assert started.wait() == expected
    wait_until(lambda: not is_alive(fork))
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize("which", ["the process that started it", "the server"])
def test_server_commands_and_forks_end_together(waiting, tmp_path, which):
    started, command = waiting
    fork = int((tmp_path / "waits").read_text())
    server = int(Path(f"/proc/{fork}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(server if which == "the server" else started.pid, signal.SIGKILL)
    for process in (fork, server, command):
        wait_until(lambda process=process: not is_alive(process))
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize("address", ["", "socket"])
def test_without_a_server_a_command_runs_in_its_own_process(python, tmp_path, address):
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    variables = {"TEXT_ENCODERS_FORK_SERVER": str(tmp_path / address)} if address else {}
    done = subprocess.run(
        [python, script],
        cwd=tmp_path,
        env=environment(**variables),
        input="",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (3, "")
    found = json.loads(done.stdout)
    assert found["process"] == int((tmp_path / "commands").read_text())
    assert not found["imported"]


SEVERAL = """
import os, signal, socket, subprocess, sys, time
from lib.forks import client as forks
os.umask(0)
forks.start({})
assert os.stat(os.path.dirname(os.environ[forks.ADDRESS])).st_mode & 0o777 == 0o700
waiting = subprocess.Popen([sys.executable, sys.argv[1], "wait"], stdin=subprocess.DEVNULL)
while not os.path.exists("waits"):
    time.sleep(0.02)
for text in (b"", b"\\0\\0\\0\\5[1,2]", b"\\0\\0\\0\\2no"):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.environ[forks.ADDRESS])
        if text:
            socket.send_fds(client, [text], [0, 1, 2])
other = subprocess.Popen([sys.executable, sys.argv[1]])
time.sleep(float(sys.argv[2]))
other.kill()
assert subprocess.run([sys.executable, sys.argv[1]], stdin=subprocess.DEVNULL).returncode == 3
assert waiting.poll() is None
waiting.terminate()
waiting.wait()
"""


@pytest.mark.parametrize("delay", ["0", "0.05", "0.1"])
def test_a_command_that_ends_early_ends_no_other(python, tmp_path, delay):
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    done = subprocess.run(
        [python, "-c", SEVERAL, script, delay],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_code_that_is_being_edited_ends_its_own_command_alone(python, tmp_path):
    scripts = tmp_path / "scripts"
    shutil.copytree(ROOT / "scripts", scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "lib" / "files" / "tables.py").write_text("def (:")
    folder = tmp_path / "here"
    folder.mkdir()
    done = subprocess.run(
        starter(python, folder, name="collect"),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(scripts)},
        input="",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize("how", ["no folder", "a long path"])
def test_where_no_server_can_be_had_commands_run_in_their_own_process(python, tmp_path, how):
    folder = tmp_path / ("x" * 120)
    if how == "a long path":
        folder.mkdir()
    done = subprocess.run(
        starter(python, tmp_path, name="collect"),
        cwd=tmp_path,
        env=environment(TMPDIR=str(folder)),
        input="",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (3, "")
    if how == "a long path":
        assert not json.loads(done.stdout)["imported"] and not any(folder.iterdir())


def test_a_command_of_another_environment_runs_in_its_own_process(python, tmp_path):
    words = starter(python, tmp_path, name="collect")
    pretend = "import sys; sys.prefix = 'another'\n"
    (tmp_path / "collect.py").write_text(pretend + COMMAND)
    done = subprocess.run(
        words, cwd=tmp_path, env=environment(), input="", capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert not json.loads(done.stdout)["imported"]
