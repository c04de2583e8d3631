"""A study of one's own data and one's own encoder, as the README describes it."""

import json

import pandas as pd
import yaml
from transformers import BertConfig, BertModel
from workspace import SUMMARY, Workspace

from lib.data.encoders import load_tokenizer


def test_three_classes_of_ones_own_and_a_folder_encoder(python, encoders, tmp_path):
    words = {"good": "fine film great", "bad": "awful dull mess", "soso": "average plain okay"}
    rows = [(f"{text} number {i}", name) for name, text in words.items() for i in range(40)]
    pd.DataFrame(rows, columns=["review", "stars"]).to_csv(tmp_path / "mine.csv", index=False)
    BertModel(BertConfig.from_pretrained(encoders["bert"])).save_pretrained(tmp_path / "encoder")
    load_tokenizer(encoders["bert"]).save_pretrained(tmp_path / "encoder")
    config = {
        "study": "mine",
        "dataset": {
            "name": "mine",
            "source": "files",
            "paths": [str(tmp_path / "mine.csv")],
            "text_column": "review",
            "label_column": "stars",
            "labels": ["bad", "soso", "good"],
        },
        "max_length": 16,
        "models": {"own": {"source": "folder", "path": str(tmp_path / "encoder")}},
        "training": {"learning_rate": "5e-3", "epochs": 6, "micro_batch": 16},
        "analysis": dict.fromkeys(("baseline", "statistics", "errors", "tsne", "attention"), False),
        "grid": [{"model": ["own"], "pooling": ["max"], "batch": [16], "seed": [1]}],
    }
    workspace = Workspace(tmp_path / "project")
    (workspace.folder / "mine.yaml").write_text(yaml.safe_dump(config))
    done = workspace.snakemake(python, "--cores", "2", "--configfile", "mine.yaml")
    assert done.returncode == 0, done.stderr
    folder = workspace.folder / (
        "results/runs/dataset=mine/model=own/pooling=max/batch=16/variant=base/seed=1"
    )
    predictions = pd.read_parquet(folder / "predictions.parquet", partitioning=None)
    assert set(predictions["label"]) == {0, 1, 2} and len(predictions) == 12
    assert json.loads((folder / "test.json").read_text())["accuracy"] > 0.9
    page = workspace.read(SUMMARY)
    assert "bad 40, soso 40, good 40" in page
    assert "random weights" not in page
