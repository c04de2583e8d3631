"""A small Hugging Face hub on loopback, for the real client libraries, with faults to order."""

import base64
import hashlib
import json
import os
import subprocess
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from conftest import ROOT
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertModel,
    ModernBertConfig,
    ModernBertForMaskedLM,
)

from lib.data.encoders import load_tokenizer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """A hub that serves `folder/{models,datasets}/OWNER/NAME/...`, each repository at one commit.

    Attributes:
        requests: method and path of every request so far.
        tokens: the Authorization headers that came with them.
        faults: by part of a path, the status and the error code that are answered instead.
        cuts: by part of a path, at which byte a transfer of the file breaks off, and how often.
        sent: by file, how many bytes were sent.
        damaged: files that are sent with a wrong last byte.
        bodies: what came with the requests of an upload, by its path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[str] = []
        self.tokens: set[str | None] = set()
        self.faults: dict[str, tuple[int, str]] = {}
        self.cuts: dict[str, tuple[int, int]] = {}
        self.damaged: set[str] = set()
        self.sent: Counter[str] = Counter()
        self.bodies: dict[str, bytes] = {}
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def environment(self, home: Path) -> dict[str, str]:
        """Variables with which a client reaches this hub and no other host."""
        nowhere = "http://127.0.0.1:9"
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HTTP_PROXY": nowhere,
            "HTTPS_PROXY": nowhere,
            "NO_PROXY": "127.0.0.1",
        }

    def files(self, repository: str) -> list[str]:
        base = self.folder / repository
        return sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.is_file())

    def entry(self, repository: str, path: str) -> dict[str, object]:
        """A file as the hub lists it; the large kinds with the digest of Git LFS."""
        full = self.folder / repository / path
        if full.is_dir():
            return {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}
        content = full.read_bytes()
        entry = {"type": "file", "path": path, "size": len(content), "oid": etag(full)[:40]}
        if large(full):
            entry["lfs"] = {"oid": etag(full), "size": len(content), "pointerSize": 130}
            entry["xetHash"] = etag(full)  # offered as by the real hub; no client should use it
        return entry


def large(path: Path) -> bool:
    return path.suffix in (".parquet", ".safetensors", ".bin", ".onnx")


def etag(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        self.hub.tokens.add(self.headers["authorization"])
        path = unquote(urlsplit(self.path).path)
        self.body = self.rfile.read(int(self.headers["content-length"] or 0))
        for part, (status, code) in self.hub.faults.items():
            if part in path:
                self.answer(status, {"error": code}, {"X-Error-Code": code})
                return
        uploaded = self.upload(*path.lstrip("/").split("/"))
        if uploaded is not None:
            self.hub.bodies[path] = self.body
            self.answer(200, uploaded)
        elif path.startswith(("/api/models/", "/api/datasets/")):
            self.api(*path.removeprefix("/api/").split("/", 3))
        else:
            self.resolve(path.lstrip("/"))

    do_HEAD = do_POST = do_PUT = do_GET

    def upload(self, *parts: str) -> object:
        """What a client is answered that uploads a folder; none where it asks for other things."""
        url = self.hub.url
        match parts:
            case ("api", "validate-yaml"):
                return {"errors": [], "warnings": []}
            case ("api", "repos", "create"):
                asked = json.loads(self.body)
                name = f"{asked['organization']}/{asked['name']}"
                (self.hub.folder / "models" / name).mkdir(parents=True)
                return {"url": f"{url}/{name}"}
            case ("api", "models", _, _, "preupload", "main"):
                paths = [each["path"] for each in json.loads(self.body)["files"]]
                modes = {path: "lfs" if large(Path(path)) else "regular" for path in paths}
                found = [{"path": path, "uploadMode": mode} for path, mode in modes.items()]
                return {"files": [each | {"shouldIgnore": False} for each in found]}
            case (_, _, "info", "lfs", "objects", "batch"):
                objects = json.loads(self.body)["objects"]
                places = [{"upload": {"href": f"{url}/lfs/{each['oid']}"}} for each in objects]
                pairs = zip(objects, places, strict=True)
                return {"objects": [each | {"actions": place} for each, place in pairs]}
            case ("lfs", _):
                return {}
            case ("api", "models", owner, name, "commit", "main"):
                self.commit(self.hub.folder / "models" / owner / name)
                return {"commitUrl": f"{url}/{owner}/{name}/commit/{COMMIT}", "commitOid": COMMIT}
        return None

    def commit(self, repository: Path) -> None:
        """Write the files of a commit, of which the large ones came before."""
        for line in self.body.splitlines():
            entry = json.loads(line)
            value, path = entry["value"], repository / entry["value"].get("path", "")
            path.parent.mkdir(parents=True, exist_ok=True)
            match entry["key"]:
                case "file":
                    path.write_bytes(base64.b64decode(value["content"]))
                case "lfsFile":
                    path.write_bytes(self.hub.bodies[f"/lfs/{value['oid']}"])
                    assert etag(path) == value["oid"]

    def answer(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        self.send(status, json.dumps(content).encode(), headers or {})

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.start(status, headers | {"Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def start(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def api(self, kind: str, owner: str, name: str, rest: str = "") -> None:
        repository = f"{kind}/{owner}/{name}"
        verb, _, rest = rest.partition("/")
        revision, _, folder = rest.partition("/")
        if not (self.hub.folder / repository).is_dir():
            self.answer(404, {"error": "Not found"}, {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("", COMMIT, "main"):
            self.answer(404, {"error": "Not found"}, {"X-Error-Code": "RevisionNotFound"})
        elif verb == "paths-info":
            body = self.body.decode()
            try:
                paths = json.loads(body)["paths"]
            except ValueError:
                paths = parse_qs(body)["paths"]
            known = [path for path in paths if (self.hub.folder / repository / path).exists()]
            self.answer(200, [self.hub.entry(repository, path) for path in known])
        elif verb == "tree":
            self.tree(repository, folder)
        else:
            siblings = [{"rfilename": path} for path in self.hub.files(repository)]
            about = {"id": f"{owner}/{name}", "sha": COMMIT, "siblings": siblings, "tags": []}
            self.answer(200, about | {"private": False, "gated": False, "disabled": False})

    def tree(self, repository: str, folder: str) -> None:
        deep = "recursive=true" in self.path.lower()
        inside = [path for path in self.hub.files(repository) if path.startswith(folder)]
        listed = {}
        for path in inside:
            rest = Path(path).relative_to(folder or ".")
            shown = path if deep or len(rest.parts) == 1 else str(Path(folder) / rest.parts[0])
            listed[shown] = self.hub.entry(repository, shown)
        self.answer(200, list(listed.values()))

    def resolve(self, path: str) -> None:
        repository, _, rest = path.partition("/resolve/")
        if not repository.startswith("datasets/"):
            repository = f"models/{repository}"
        _, _, file = rest.partition("/")
        full = self.hub.folder / repository / file
        if not full.is_file():
            self.answer(404, {"error": "Not found"}, {"X-Error-Code": "EntryNotFound"})
            return
        content = full.read_bytes()
        if file in self.hub.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        headers = {"ETag": f'"{etag(full)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        start = int((self.headers["range"] or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        part = next((part for part in self.hub.cuts if part in file), None)
        if self.command == "GET" and part is not None:
            self.cut(part, content, start, headers)
            return
        self.hub.sent[file] += len(content) - start if self.command == "GET" else 0
        self.send(206 if start else 200, content[start:], headers)

    def cut(self, part: str, content: bytes, start: int, headers: dict[str, str]) -> None:
        end, times = self.hub.cuts.pop(part)
        if times > 1:
            self.hub.cuts[part] = end, times - 1
        self.close_connection = True
        if start < end:
            headers["Content-Length"] = str(len(content) - start)
            self.start(206 if start else 200, headers)
            self.wfile.write(content[start:end])

    def log_message(self, *_: object) -> None:
        pass


BERT, MODERNBERT, IMDB = "google-bert/tiny", "answerdotai/tiny", "stanfordnlp/imdb"
HALVES = "large/halves"
ENCODER = f"encoder.py hub --id {BERT} --revision {COMMIT}"
DATASET = f"download.py hub --id {IMDB} --revision {COMMIT} --splits train test"
LICENCE = "apache-2.0"  # of the ModernBERT
CARD = """---
license: [cc-by-4.0, mit]
configs:
- config_name: plain_text
  data_files:
  - {split: train, path: plain_text/train-*}
  - {split: test, path: plain_text/test-*}
  - {split: unsupervised, path: plain_text/unsupervised-*}
  default: true
dataset_info:
  config_name: plain_text
  features:
  - {name: text, dtype: string}
  - {name: label, dtype: {class_label: {names: {'0': neg, '1': pos}}}}
---
"""


def build_repositories(folder: Path, encoders: dict[str, Path], sample: pa.Table) -> None:
    """Write repositories as the real ones are laid out, with files that nobody should ask for."""
    bert, modernbert = folder / "models" / BERT, folder / "models" / MODERNBERT
    torch.manual_seed(1)
    BertForPreTraining(BertConfig.from_pretrained(encoders["bert"])).save_pretrained(bert)
    ModernBertForMaskedLM(ModernBertConfig.from_pretrained(encoders["modernbert"])).save_pretrained(
        modernbert
    )
    old_names = {  # bert-base-uncased was converted from TensorFlow
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for key, tensor in load_file(bert / "model.safetensors").items()
    }
    save_file(old_names, bert / "model.safetensors", {"format": "pt"})
    for name, repository in (("bert", bert), ("modernbert", modernbert)):
        load_tokenizer(encoders[name]).save_pretrained(repository)
        (repository / "pytorch_model.bin").write_bytes(b"a pickle")
        (repository / "modeling_tiny.py").write_text("raise SystemExit")
        config = json.loads((repository / "config.json").read_text())
        config["auto_map"] = {"AutoConfig": "modeling_tiny.X", "AutoModel": "modeling_tiny.Y"}
        (repository / "config.json").write_text(json.dumps(config))
        (repository / "onnx").mkdir()
        (repository / "onnx" / "model.onnx").write_bytes(b"a graph")
    (modernbert / "README.md").write_text(f"---\nlicense: {LICENCE}\n---\n# Tiny\n")
    pickled = folder / "models" / "old" / "pickled"
    pickled.mkdir(parents=True)
    (pickled / "config.json").write_bytes((bert / "config.json").read_bytes())
    (pickled / "pytorch_model.bin").write_bytes(b"a pickle")
    sharded = folder / "models" / "large" / "sharded"
    BertModel(BertConfig.from_pretrained(encoders["bert"])).save_pretrained(
        sharded, max_shard_size="50KB"
    )
    load_tokenizer(encoders["bert"]).save_pretrained(sharded)
    frame = sample.to_pandas()[["text", "label"]]
    for name, write in {
        "csv": lambda path: frame.to_csv(path / "train [1].csv", sep=";", index=False),
        "lines": lambda path: frame.to_json(path / "train.jsonl", orient="records", lines=True),
        "broken": lambda path: (path / "train.parquet").write_bytes(b"PAR1 no Parquet PAR1"),
        "script": lambda path: (path / "script.py").write_text("raise SystemExit"),
        "zipped": lambda path: frame.to_csv(
            path / "train.zip", index=False, compression={"method": "zip", "archive_name": "a.csv"}
        ),
        "packed": lambda path: frame.to_csv(path / "train.csv.gz", index=False),
        "outside": lambda path: frame.to_csv(path / "train.csv", index=False),
    }.items():
        (folder / "datasets" / "other" / name).mkdir(parents=True)
        write(folder / "datasets" / "other" / name)
    frame.to_csv(folder / "datasets" / "other" / "script" / "train.csv", index=False)
    (folder / "datasets" / "other" / "csv" / "README.md").write_text(
        "---\nconfigs:\n- {config_name: semicolons, data_files: '*.csv', sep: ';'}\n---\n"
    )
    private = folder / "private.csv"
    frame.to_csv(private, index=False)
    (folder / "datasets" / "other" / "outside" / "README.md").write_text(
        f"---\nconfigs:\n- {{config_name: all, data_files: '{private}'}}\n---\n"
    )
    build_halves(folder / "datasets" / HALVES)
    data = folder / "datasets" / IMDB
    (data / "plain_text").mkdir(parents=True)
    (data / "README.md").write_text(CARD)
    for split, part in {
        "train": pa.concat_tables([sample.slice(0, 120), sample.slice(200, 120)]),
        "test": pa.concat_tables([sample.slice(110, 90), sample.slice(310, 90)]),
        "unsupervised": sample.slice(0, 50),
    }.items():
        columns = part.select(["text", "label"])
        pq.write_table(columns, data / "plain_text" / f"{split}-00000-of-00001.parquet")


def build_halves(folder: Path, count: int = 25_000) -> None:
    """Write halves as large as those of IMDB, in its layout, of short texts with repeats.

    Of the training half, the first 100 texts are those of the test half, the next 50 have one more
    word, and 30 are those before them. Of the test half, 20 are those before them.
    """
    noise = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(5000)])
    train, test = (list(map(" ".join, words[noise.integers(0, 5000, (count, 9))])) for _ in "ab")
    train[:100] = test[:100]
    train[100:150] = [f"{text} indeed" for text in test[100:150]]
    train[1030:1060] = train[1000:1030]
    test[2020:2040] = test[2000:2020]
    (folder / "plain_text").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    labels = pa.array([0, 1] * (count // 2))
    for split, texts in {"train": train, "test": test, "unsupervised": ["a"]}.items():
        table = pa.table({"text": texts, "label": labels[: len(texts)]})
        pq.write_table(table, folder / "plain_text" / f"{split}-00000-of-00001.parquet")


def command(python, hub, tmp_path, line: str, **environment: str) -> subprocess.CompletedProcess:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    script, *flags = line.split()
    return subprocess.run(
        [python, f"scripts/{script}", *flags, "--out", str(tmp_path / "out")],
        cwd=ROOT,
        env=kept | hub.environment(tmp_path / "home") | environment,
        capture_output=True,
        text=True,
    )
