"""A million reviews from files to training: time and memory of each command.

The reviews are made up of sentences of real ones of the same label, as long as real ones; a known
share of them repeats earlier ones, exactly, nearly or under the other label, or is empty. Each
command of the workflow runs as a process of its own. The tokens are made again from some of the
texts, in turn with a bare call of the tokenizer. A training loads all tokens, and makes
some updates.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.metadata import distribution
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import yaml

from lib.command.console import progress
from lib.files.whole import read_json, replacing

ROOT = Path(__file__).parents[1]
SENTENCE = re.compile(r"(?<=[.!?])\s+")
WORDS = range(8, 41)  # in a sentence that is used
SHORTEST = 5  # sentences, so that none makes up most of a review
ROWS = 10_000  # made up at a time
FILES = 4
BATCH = 1024  # texts in a bare call
UPDATES, EFFECTIVE_BATCH = 200, 64
RSS_UNITS = 1 << 20 if sys.platform == "darwin" else 1 << 10  # in a MiB
VOCABULARY = 8192


class Plant(NamedTuple):
    """Rows that are made from an earlier one: one in `every`, with its remainder.

    Attributes:
        every: rows, among which is one.
        remainder: its place.
        original: the place of the row that it is made from.
    """

    every: int
    remainder: int
    original: int

    def source(self, row: int) -> int:
        """The row that a planted one is made from; none is used twice."""
        block, other = divmod(row // self.every, 2)
        return self.every * block + self.original + other

    def count(self, rows: int) -> int:
        """How many are planted among the first rows."""
        return (rows - 1 - self.remainder) // self.every + 1


PLANTS = {
    "duplicates": Plant(50, 49, 0),
    "near_duplicates": Plant(50, 48, 2),
    "conflicting_labels": Plant(500, 497, 4),
    "empty": Plant(500, 496, 6),
}


class Pool(NamedTuple):
    """What reviews are made of: per label the sentences, and how many stand in each review."""

    sentences: list[list[str]]
    sizes: list[np.ndarray]


@cache
def read_pool() -> Pool:
    """The sentences of the reviews of the quick study."""
    dataset = yaml.safe_load((ROOT / "config" / "config.yaml").read_text("utf-8"))["dataset"]
    path = str(distribution(dataset["package"]).locate_file(dataset["file"]))
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    table = pyarrow.csv.read_csv(path, parse_options=options).to_pandas().query("source == 'imdb'")
    pool = Pool([], [])
    for _, texts in table.groupby("label")["text"]:
        found = [SENTENCE.split(text) for text in texts]
        kept = (each for sentences in found for each in sentences if len(each.split()) in WORDS)
        pool.sentences.append(list(dict.fromkeys(kept)))
        pool.sizes.append(np.maximum([len(sentences) for sentences in found], SHORTEST))
    return pool


def make_up(row: int, pool: Pool) -> tuple[str, int]:
    """Text and label of a row; they depend on its number alone."""
    kind = next(
        (name for name, plant in PLANTS.items() if row % plant.every == plant.remainder), ""
    )
    if kind == "empty":
        return " <br />", 0
    if kind:
        text, label = make_up(PLANTS[kind].source(row), pool)
        if kind == "duplicates":
            return text.replace(" ", "  ", 1), label
        return (f"{text} Indeed.", label) if kind == "near_duplicates" else (text, 1 - label)
    rng = np.random.default_rng([0, row])
    label = int(rng.integers(len(pool.sentences)))
    sentences, size = pool.sentences[label], rng.choice(pool.sizes[label])
    return " ".join(sentences[each] for each in rng.integers(len(sentences), size=size)), label


def planted(rows: int) -> dict[str, int]:
    """How many of the first rows are to be dropped, by reason."""
    counts = {name: plant.count(rows) for name, plant in PLANTS.items()}
    return counts | {"conflicting_labels": 2 * counts["conflicting_labels"]}  # with the originals


def write_reviews(path: Path, rows: range) -> Path:
    """Write the reviews of these rows as Parquet, in bounded memory."""
    pool = read_pool()
    schema = pa.schema({"text": pa.string(), "label": pa.int64()})
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for start in range(rows.start, rows.stop, ROWS):
            made = [make_up(row, pool) for row in range(start, min(start + ROWS, rows.stop))]
            texts, labels = zip(*made, strict=True)
            writer.write_table(pa.table([texts, labels], schema=schema))
    return path


def steps(files: list[str], out: Path, max_length: int, threads: int) -> dict[str, list[str]]:
    """The commands of the workflow in their order, without `python scripts/`."""
    reviews, splits, encoder = out / "reviews", out / "splits", out / "encoder"
    sizes = ["--hidden-size", "64", "--num-hidden-layers", "1", "--intermediate-size", "128"]
    positions = ["--max-position-embeddings", str(max_length), "--vocab-size", str(VOCABULARY)]
    return {
        "download": ["download.py", "files", "--paths", *files, "--out", f"{reviews}"],
        "split": [
            *("split.py", "--reviews", f"{reviews}/reviews.parquet"),
            *("--out", f"{splits}", "--counts", f"{out}/splits.json"),
        ],
        "encoder": [
            *("encoder.py", "scratch", "--architecture", "bert", *sizes, *positions),
            *("--reviews", f"{splits}/train.parquet", "--out", f"{encoder}"),
        ],
        "pretokenize": [
            *("pretokenize.py", "--splits", f"{splits}", "--encoder", f"{encoder}"),
            *("--threads", str(threads), "--out", f"{out}/tokens"),
        ],
    }


def measure(command: list[str], log: Path) -> dict[str, float]:
    """Run a command of the workflow: seconds, CPU seconds and peak memory of its process.

    Raises:
        SystemExit: it failed.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, f"{ROOT}/scripts/{command[0]}", "--log", str(log), *command[1:]]
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} failed; its log: {log}")
    return {
        "seconds": time.perf_counter() - begun,
        "CPU seconds": usage.ru_utime + usage.ru_stime,
        "peak RSS (MiB)": usage.ru_maxrss / RSS_UNITS,
    }


def train_some(tokens: Path, encoder: Path, max_length: int) -> dict[str, float | str]:
    """Load all tokens, make some updates, and tell what that took in this process."""
    from lib.data.cutting import AUTO, Cut
    from lib.study.config import check_section
    from lib.training.backends import connect
    from lib.training.batches import epoch_order, load_tokens
    from lib.training.loop import Recipe, train
    from lib.training.model import Classifier, load_encoder

    begun = time.perf_counter()
    settings = {"epochs": 1, "device": "cpu"}
    check_section("training", settings)
    with connect(settings, seed=1) as backend:
        data, valid = (
            load_tokens(
                tokens / f"{name}.parquet", Cut(max_length, AUTO), backend.device, "masked-mean"
            )
            for name in ("train", "valid")
        )
        some = data.select(epoch_order(len(data), seed=1, epoch=1)[: UPDATES * EFFECTIVE_BATCH])
        few = valid.select(epoch_order(len(valid), seed=1, epoch=1)[:EFFECTIVE_BATCH])
        model = Classifier(load_encoder(encoder, "masked-mean"), "masked-mean", 2, 0.0)
        found = train(model, (some, few), Recipe(EFFECTIVE_BATCH, 1, settings), backend)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "command": f"train, {found.history[-1].updates} updates",
        "seconds": time.perf_counter() - begun,
        "CPU seconds": usage.ru_utime + usage.ru_stime,
        "peak RSS (MiB)": usage.ru_maxrss / RSS_UNITS,
        "texts/s": len(some) / found.best.seconds,
    }


def compare_rates(
    split: Path, encoder: Path, threads: int, texts: int, repeats: int
) -> pd.DataFrame:
    """Texts per second of the tokenization and of bare calls of the tokenizer, taken in turn.

    Args:
        split: Parquet file with `id`, `text`, `label`.
        encoder: folder of the encoder.
        threads: CPU threads.
        texts: of the split, that are used.
        repeats: of each.
    """
    os.environ |= {"RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true"}
    from lib.data import encoding, tokenization

    folder = split.parent / "some"
    folder.mkdir(exist_ok=True)
    table = next(pq.ParquetFile(split).iter_batches(texts))
    pq.write_table(pa.Table.from_batches([table]), folder / "some.parquet")
    batches = [table["text"].slice(start, BATCH).to_pylist() for start in range(0, texts, BATCH)]
    texts_to_tokens = encoding.TextEncoding(encoder)
    bare = texts_to_tokens.backend

    def tokenize() -> None:
        tokenization.tokenize(
            folder / "some.parquet", texts_to_tokens, VOCABULARY, folder / "tokens.parquet"
        )

    def call(encode: Callable[[list[str]], object]) -> None:
        for batch in batches:
            encode(batch)

    ways: dict[str, Callable[[], None]] = {
        "pretokenize": tokenize,
        "encode_batch": lambda: call(bare.encode_batch),
        "encode_batch_fast": lambda: call(bare.encode_batch_fast),
    }
    rows = []
    for _ in range(repeats):
        row = {}
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            way()
            row[name] = table.num_rows / (time.perf_counter() - wall)
            row[f"{name}, CPU µs per text"] = (time.process_time() - cpu) / table.num_rows * 1e6
        rows.append(row)
    return pd.DataFrame(rows)


def run(reviews: int, max_length: int, threads: int, texts: int, repeats: int, out: Path) -> None:
    """Make up the reviews, run all commands on them, and write the tables.

    Args:
        reviews: to make up.
        max_length: tokens of each review that are trained on.
        threads: CPU threads of the tokenization.
        texts: of which the rate of the tokenization is compared.
        repeats: of each rate.
        out: folder for everything.

    Raises:
        SystemExit: a command failed, or dropped other reviews than those planted.
    """
    bounds = np.linspace(0, reviews, FILES + 1, dtype=int).tolist()
    paths = [out / "made-up" / f"{number}.parquet" for number in range(FILES)]
    with ProcessPoolExecutor(threads, get_context("spawn")) as pool:
        written = pool.map(write_reviews, paths, map(range, bounds, bounds[1:]))
        files = [str(path) for path in progress(written, FILES, "reviews made up", "file")]
    found = []
    for name, command in steps(files, out, max_length, threads).items():
        measured = measure(command, out / f"{name}.log")
        measured["texts/s"] = reviews / measured["seconds"]
        found.append({"command": name} | measured)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        found.append(pool.submit(train_some, out / "tokens", out / "encoder", max_length).result())
    table = pd.DataFrame(found)
    dropped = read_json(out / "reviews" / "reviews.json")["dropped"]
    if dropped != planted(reviews) | {"beyond_limit": 0}:
        raise SystemExit(f"planted: {planted(reviews)}; dropped: {dropped}")
    train, encoder = out / "splits" / "train.parquet", out / "encoder"
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        task = pool.submit(compare_rates, train, encoder, threads, texts, repeats)
        rates = task.result()
    table.to_csv(out / "commands.csv", index=False)
    rates.to_csv(out / "rates.csv", index=False)
    (out / "large_data.md").write_text(describe(table, rates, reviews))


def describe(table: pd.DataFrame, rates: pd.DataFrame, reviews: int) -> str:
    """The tables in Markdown."""
    median = rates.median()
    ratios = {
        name: (rates["pretokenize"] / rates[name]).median()
        for name in ("encode_batch", "encode_batch_fast")
    }
    lines = [
        f"{reviews:,} made-up reviews, of which "
        + ", ".join(f"{count:,} {name}" for name, count in planted(reviews).items())
        + " were planted and dropped.",
        table.to_markdown(index=False, floatfmt=",.0f"),
        f"Tokenization, median of {len(rates)} in turn: {median['pretokenize']:,.0f} texts/s; "
        + "; ".join(f"{ratio:.2f} of a bare {name}" for name, ratio in ratios.items())
        + ".",
        median.rename("median").to_frame().to_markdown(floatfmt=",.0f"),
    ]
    return "\n\n".join(lines) + "\n"


def main() -> None:
    """Write the tables to a folder, and print them."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--reviews", type=int, default=1_000_000, help="to make up")
    flags.add_argument(
        "--max-length", type=int, default=128, help="tokens of each review that are trained on"
    )
    flags.add_argument("--threads", type=int, default=os.cpu_count(), help="of the tokenization")
    flags.add_argument("--texts", type=int, default=20_000, help="whose rates are compared")
    flags.add_argument("--repeats", type=int, default=5, help="of each rate")
    flags.add_argument("--out", required=True, type=Path, help="folder for everything")
    options = flags.parse_args()
    run(**vars(options))
    print((options.out / "large_data.md").read_text(), end="")


if __name__ == "__main__":
    main()
