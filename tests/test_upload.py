"""A checkpoint that is uploaded by the client of the hub, to a small hub on loopback, and back."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, make_run
from hub import Hub
from scipy.special import softmax

TOKEN = "hf_madeUpForThisTest"
NAME = "me/model"
LOAD = f"""
import sys
import numpy as np
import pandas as pd
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{NAME}", device="cpu")
texts = pd.read_parquet(sys.argv[1])
np.save(sys.argv[2], model.encode(texts["text"].tolist()))
"""


@pytest.fixture(scope="module")
def run(encoders, tokens, tmp_path_factory) -> Path:
    """A finished run."""
    flags = "--pooling cls --batch 10 --max-length 48 --epochs 5 --learning-rate 3e-3"
    return make_run(
        tmp_path_factory.mktemp("run"),
        tokens["bert"],
        encoders["bert"],
        f"{flags} --labels negative positive",
    )


def client(hub: Hub, home: Path, *words: str, **environment: str) -> str:
    """What a client of the hub says: a process of its own, which knows no other hub."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=home,
        env=kept | hub.environment(home) | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    files = filter(Path.is_file, folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def documented(folder: Path) -> list[str]:
    """The words of the command of the documents that uploads a folder."""
    line = re.search(r"^ +hf (upload .*)$", (ROOT / "docs/models.md").read_text(), re.MULTILINE)
    words = shlex.split(line[1])
    assert words[1] == "USER/NAME" and words[2].endswith("/checkpoint")
    return [words[0], NAME, str(folder), *words[3:]]


def test_what_is_uploaded_is_the_folder_and_labels_texts_as_the_run_did(run, splits, tmp_path):
    folder, home = run / "checkpoint", tmp_path / "home"
    home.mkdir()
    (folder / ".snakemake_timestamp").touch()  # of a run by Snakemake
    with Hub(tmp_path / "hub") as hub:
        command = ("-m", "huggingface_hub.cli.hf", *documented(folder))
        said = client(hub, home, *command, HF_TOKEN=TOKEN, HF_HUB_DISABLE_XET="1")
        arrived = contents(tmp_path / "hub" / "models" / NAME)
        wanted = contents(folder)
        del wanted[".snakemake_timestamp"]
        assert arrived == wanted
        assert not [name for name in arrived if name.startswith(".") or "/." in name]
        assert f"Bearer {TOKEN}" in hub.tokens and TOKEN not in said
        assert not any(TOKEN.encode() in body for body in hub.bodies.values())
        asked = json.loads(hub.bodies["/api/validate-yaml"])
        assert asked["content"] == (folder / "README.md").read_text()
        client(hub, home, "-c", LOAD, f"{splits}/test.parquet", f"{home}/logits.npy")
    ids, logits = pd.read_parquet(splits / "test.parquet")["id"], np.load(home / "logits.npy")
    table = pd.read_parquet(run / "predictions.parquet").set_index("id").loc[ids]
    assert table["prediction"].nunique() == 2
    assert logits.argmax(axis=1).tolist() == table["prediction"].tolist()
    chances = softmax(logits, axis=1).max(axis=1)
    np.testing.assert_allclose(chances, table["confidence"], rtol=1e-4)
