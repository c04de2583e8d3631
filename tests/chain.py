"""The smallest study, command by command, each in this process and without Snakemake."""

import importlib
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
from conftest import call
from transformers import BertConfig, BertModel

from lib.data.encoders import load_tokenizer

DATASET = "results/datasets/mine"
ENCODER = "results/encoders/dataset=mine/model=own"
TOKENS = "results/tokens/dataset=mine/model=own"
RUN = "results/runs/dataset=mine/model=own/pooling=masked-mean/batch=32/variant=base/seed=1"
TABLES = "results/tables"
ON_RUNS = f"--table {TABLES}/runs.parquet --runs {RUN} --out {TABLES}"
CHAIN = {
    "download": f"download.py files --paths mine.csv --near-duplicates 1 --out {DATASET}",
    "split": f"split.py --reviews {DATASET}/reviews.parquet --sizes 100 40 40 "
    f"--out {DATASET}/splits --counts {DATASET}/splits.json",
    "encoder": f"encoder.py folder --path own --out {ENCODER}",
    "pretokenize": f"pretokenize.py --splits {DATASET}/splits --encoder {ENCODER} "
    f"--threads 1 --out {TOKENS}",
    "train": f"train.py --tokens {TOKENS} --encoder {ENCODER} --run {RUN} --dataset mine "
    "--model own --pooling masked-mean --batch 32 --seed 1 --max-length 48 --epochs 1 --device cpu",
    "evaluate": f"evaluate.py --tokens {TOKENS}/test.parquet --run {RUN} "
    f"--reviews {DATASET}/reviews.json --device cpu",
    "collect": f"collect.py --runs {RUN} --logs results/logs --out {TABLES}",
    "analyse": f"analyse.py {ON_RUNS} --reviews {DATASET}/splits/test.parquet "
    f"--tokens {TOKENS}/test.parquet",
    "draw": f"draw.py --tables {TABLES}/histories.parquet --out results/figures",
    "summary": f"summary.py --study mine --tables {TABLES}/runs.parquet {TABLES}/histories.parquet "
    f"--runs {RUN} --figures results/figures/learning_curves.svg --reviews {DATASET}/reviews.json "
    f"--splits {DATASET}/splits.json --tokens {TOKENS}/tokens.json --out results",
    "predict": f"predict.py {RUN} --text film --device cpu",
}


def run_step(name: str) -> None:
    """Run a command of the chain, in the working directory."""
    script, _, flags = CHAIN[name].partition(" ")
    call(importlib.import_module(script.removesuffix(".py")), flags)


def run_all(sample: pa.Table, encoder: Path) -> None:
    """Run all commands in the working directory, on reviews and a BERT with weights there."""
    pyarrow.csv.write_csv(sample.select(["text", "label"]), "mine.csv")
    BertModel(BertConfig.from_pretrained(encoder)).save_pretrained("own")
    load_tokenizer(encoder).save_pretrained("own")
    for name in CHAIN:
        run_step(name)
