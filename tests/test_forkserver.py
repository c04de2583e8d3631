"""Commands in forks of a server that has imported their libraries."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, wait_until
from cuda import notes_in
from test_backends import train_command
from test_gpus import list_gpus

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


IMPORTS = """
import sys
from pathlib import Path
import cuda
from lib.forks import server
from lib.study import code
notes = Path("notes")
cuda.note_calls(notes)
for name in code.commands():
    modules = code.modules_of(name)
    server._import(*modules)
    assert all(f"lib.{module}" in sys.modules for module in modules), name
print([note.call for note in cuda.notes_in(notes)])
import torch
from transformers.utils import is_torch_cuda_available
for look in (
    torch.cuda.is_available,
    torch.accelerator.current_device_index,
    torch.accelerator.device_count,
    is_torch_cuda_available,
    lambda: torch.autocast("cuda"),
    lambda: torch.empty(1, device="cuda"),
):
    notes.unlink(missing_ok=True)
    try:
        look()
    except NotImplementedError:  # there is no such memory
        pass
    print(len(cuda.notes_in(notes)))
"""
# Runs that start CUDA: in one server, whose every call of it is noted.
SERVER = """
import runpy, sys
from pathlib import Path
import cuda
cuda.note_calls(Path({notes!r}))
runpy.run_module("lib.forks.server", run_name="__main__")
"""
SERVED = """
import json, subprocess, sys
from lib.forks import client
from lib.study import code
client.SERVER = (sys.executable, sys.argv[1])
client.start({name: code.modules_of(name) for name in code.commands()})
for words in json.loads(sys.argv[2]):
    subprocess.run([sys.executable, *words], check=True, stdin=subprocess.DEVNULL)
"""


def with_tests(**variables: str) -> dict[str, str]:
    """An environment in which processes import the helpers of the tests as well."""
    return environment(PYTHONPATH=f"{ROOT}/scripts:{ROOT}/tests", **variables)


def test_nothing_that_the_server_imports_asks_for_a_gpu(python, tmp_path):
    done = subprocess.run(
        [python, "-W", "ignore", "-c", IMPORTS],
        cwd=tmp_path,
        env=with_tests(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found, *seen = done.stdout.splitlines()
    assert found == "[]"
    assert len(seen) == 6 and "0" not in seen  # all of these would have been noted


@pytest.mark.slow
def test_cuda_starts_in_forks_alone_and_sees_the_gpu_that_each_has_claimed(
    python, encoders, tokens, tmp_path
):
    list_gpus(tmp_path, "GPU-a", "GPU-b")
    server, notes = tmp_path / "server.py", tmp_path / "notes"
    server.write_text(SERVER.format(notes=str(notes)))
    run, data = tmp_path / "dataset=d/model=bert/pooling=cls/batch=64/variant=base/seed=1", []
    for name, folder in (("tokens", tokens["bert"]), ("encoders", encoders["bert"])):
        data += [f"--{name}", str(tmp_path / name / "model=bert")]
        (tmp_path / name).mkdir()
        (tmp_path / name / "model=bert").symlink_to(folder)
    line = train_command(encoders, tokens, run, "--batch 64 --epochs 1").split()
    line[line.index("--device") + 1] = "auto"
    test = ["--tokens", str(tokens["bert"] / "test.parquet"), "--run", str(run)]
    left = ["--runs", str(run).replace("seed=1", "seed=2"), *data, "--max-length", "48"]
    commands = {
        "train": line,
        "evaluate": test,
        "estimate": [*left, "--out", str(tmp_path / "page.md")],
        "predict": [str(run), "--text", "a film"],
    }
    words = [[f"{ROOT}/scripts/{name}.py", *flags] for name, flags in commands.items()]
    done = subprocess.run(
        [python, "-c", SERVED, server, json.dumps(words)],
        cwd=tmp_path,
        env=with_tests(
            PATH=f"{tmp_path}:/usr/bin:/bin", TMPDIR=str(tmp_path), WANDB_MODE="disabled"
        ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = notes_in(notes)
    assert {note.command for note in found} == set(commands)
    (parent,) = {note.parent for note in found if note.command != "estimate"}
    assert parent not in {note.process for note in found}  # the server
    for note in found:
        seen = {"train": {"GPU-a"}, "evaluate": {"GPU-a"}, "predict": {None}}
        assert note.visible in seen.get(note.command, {None, "GPU-a"}), note
        assert (note.parent == parent) == (note.command != "estimate"), note  # whose forks do it
    measured = {note.visible for note in found if note.command == "estimate"}
    assert measured == {None, "GPU-a"}  # to look at the hardware, and to time updates
