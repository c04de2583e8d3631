"""What a prediction costs: seconds of single texts, texts per second, bytes."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch

from lib.analysis.predictors import (
    TF_IDF,
    Predict,
    Predictor,
    memory_of,
    predictors,
    tf_idf,
)
from lib.analysis.results import key_columns
from lib.analysis.turns import Group, Ratio, Spread, affordable, evenly, ratio, spread, take_turns
from lib.command.console import log, progress
from lib.data.encoder_files import facts_of
from lib.files.manifests import reading
from lib.files.tables import read_table, write_table
from lib.study.runs import keys_in
from lib.training.device import explain_lack_of_memory, hardware
from lib.training.processes import in_processes, place_of

SAMPLE = 300  # test texts, at most
SEED = 42  # of the sample
ROUNDS = 10  # of single texts
CALLS = (2, 10)  # of a predictor in a round, the fewest and the most
ROUND_SECONDS = 0.5  # that these take at most, but for the fewest
EVERY = 2  # rounds, a pass of the whole sample
COLUMNS = (
    *("form", "setting", "representative", "max_length", "truncation", "parameters", "bytes"),
    "accuracy_change",
    *("texts", "rounds", "texts_per_second", "low", "high", "memory_bytes"),
    *("device", "precision", "hardware", "threads"),
)
ADVICE = "lower analysis.latency_lengths, or set analysis.latency to false"


def latency(
    table: Path,
    runs: Sequence[Path],
    splits: Path,
    encoders: Sequence[Path],
    baselines: Sequence[Path],
    latency_lengths: Sequence[int],
    settings: Mapping[str, Any],
    out: Path,
) -> None:
    """Write the tables serving and latency: what those cost that predict, timed in turns.

    Args:
        table: the table runs.
        runs: folders of the runs.
        splits: folder of the split reviews.
        encoders: folders of the encoders, with `model=NAME` in their paths.
        baselines: folder of the baseline on full texts, if there is one.
        latency_lengths: of single texts, in tokens.
        settings: those of the section `training` that decide where and how predictions are made.
        out: folder of the tables.

    Raises:
        UserError: a file can't be used, or the device is out of memory.
    """
    device, precision, threads = (settings[key] for key in ("device", "precision", "threads"))
    place = in_processes(partial(place_of, device, precision), 1)[0]
    how = {key: place[key] for key in ("device", "precision")}
    found = predictors(read_table(table), runs, how)
    found += [tf_idf(folder, splits / "train.parquet") for folder in baselines]
    positions = {keys_in(path)["model"]: facts_of(path).get("positions") for path in encoders}
    lengths = {
        number: lengths_of(each, latency_lengths, positions) for number, each in enumerate(found)
    }
    texts = sample_of(splits / "test.parquet")
    memory = []
    for number, each in enumerate(progress(found, len(found), "measuring memory", "predictor")):
        longest = max(lengths[number], default=0)
        memory += in_processes(partial(memory_of, each, texts, longest, threads), 1)
    torch.set_num_threads(threads)
    settle = torch.get_device_module(how["device"]).synchronize
    with explain_lack_of_memory(ADVICE):
        loaded = [each.load() for each in found]
        speeds, singles = timed(found, loaded, texts, lengths, settle)
    cpu = hardware(torch.device("cpu"))
    places = [place["hardware"] if each.how == how else cpu for each in found]
    write_table(out, "serving", serving(found, speeds, memory, len(texts), places, threads))
    write_table(out, "latency", latencies(found, singles))


def lengths_of(
    predictor: Predictor, lengths: Iterable[int], positions: Mapping[str, int | None]
) -> list[int]:
    """The lengths that an encoder takes; of TF-IDF, which has no tokens, none."""
    if predictor.form == TF_IDF:
        return []
    longest = positions[predictor.run.model]
    return [length for length in lengths if longest is None or length <= longest]


def sample_of(test: Path) -> list[str]:
    """Some texts of a test split, the same every time, the shortest first."""
    with reading(test):
        texts = pq.read_table(test, columns=["text"], partitioning=None)["text"]
        size = min(SAMPLE, len(texts))
        rows = np.random.default_rng(SEED).choice(len(texts), size, replace=False)
        return sorted(texts.take(rows).to_pylist(), key=len)


def timed(
    found: Sequence[Predictor],
    loaded: Sequence[Predict],
    texts: Sequence[str],
    lengths: Mapping[int, Sequence[int]],
    settle: Callable[[], object],
) -> tuple[dict[int, np.ndarray], dict[int | None, dict[int, np.ndarray]]]:
    """The seconds of passes of the whole sample, and of single texts.

    Args:
        found: what predicts.
        loaded: the same, loaded.
        texts: of the sample, the shortest first.
        lengths: of texts of so many tokens, by the number of what predicts them.
        settle: waits until a device has done all that it was told.

    Returns:
        Seconds `(rounds, 1)` of the sample by number; seconds `(rounds, calls)` of single texts by
        tokens, None for those of the sample, and by number.
    """
    groups: dict[int | None, Group] = {}
    for tokens in (None, *sorted({each for own in lengths.values() for each in own})):
        if tokens is None:
            given = {number: [texts[len(texts) // 2]] for number in lengths}
        else:
            able = [number for number, own in lengths.items() if tokens in own]
            given = {number: [found[number].text_of(tokens, texts)] for number in able}
        works = {n: single(loaded[n], own, tokens) for n, own in given.items()}
        calls = affordable(works, ROUND_SECONDS, CALLS, time.perf_counter)
        if tokens is None:
            order = evenly(len(texts), ROUNDS + 1, calls, SEED)
            works = {n: single(loaded[n], [texts[i] for i in order]) for n in lengths}
        groups[tokens] = Group(works, calls)
    works = {number: partial(all_of, predict, texts) for number, predict in enumerate(loaded)}
    speeds, *singles = take_turns([Group(works, 1, EVERY), *groups.values()], ROUNDS, settle)
    return speeds, dict(zip(groups, singles, strict=True))


def single(
    predict: Predict, texts: Sequence[str], tokens: int | None = None
) -> Callable[[int], object]:
    """What predicts one of some texts, by the number of the call."""
    return lambda call: predict([texts[call % len(texts)]], tokens)


def all_of(predict: Predict, texts: Sequence[str], _: int) -> object:
    """Predict a whole sample."""
    return predict(texts, None)


def serving(
    found: Sequence[Predictor],
    speeds: Mapping[int, np.ndarray],
    memory: Sequence[int],
    texts: int,
    hardware: Sequence[str],
    threads: int,
) -> pd.DataFrame:
    """The table serving.

    Args:
        found: what predicts.
        speeds: seconds of passes of the sample, by number.
        memory: bytes of each.
        texts: of the sample.
        hardware: that each computes on.
        threads: of all but TF-IDF.
    """
    rows = []
    for number, each in enumerate(found):
        took = spread(speeds[number])
        row = {
            "form": each.form,
            **each.told,
            "texts": texts,
            "rounds": took.calls,
            "texts_per_second": texts / took.median,
            "low": texts / took.high,
            "high": texts / took.low,
            "memory_bytes": memory[number],
            **each.how,
            "hardware": hardware[number],
            "threads": 1 if each.form == TF_IDF else threads,
        }
        rows.append(row)
        log.info(
            "%s: %.0f texts/s (%.0f to %.0f), %.1f million parameters, %.1f MB, %.1f MB of memory",
            *(each.name, row["texts_per_second"], row["low"], row["high"]),
            *(row[key] / 1e6 for key in ("parameters", "bytes", "memory_bytes")),
        )
    return key_columns(each.run for each in found).join(pd.DataFrame(rows, columns=COLUMNS))


def latencies(
    found: Sequence[Predictor], singles: Mapping[int | None, Mapping[int, np.ndarray]]
) -> pd.DataFrame:
    """The table latency.

    What others are compared with is TF-IDF where it takes part, else the first of those that stand
    for their models, else the first.

    Args:
        found: what predicts.
        singles: seconds of single texts by their tokens, and by number.
    """
    runs, rows = [], []
    for tokens, by_number in singles.items():
        standing = [number for number in by_number if found[number].told["representative"]]
        classical = [number for number in standing if found[number].form == TF_IDF]
        first = next(iter([*classical, *standing, *by_number]), 0)
        for number, seconds in by_number.items():
            each, took = found[number], spread(seconds)
            compared = ratio(seconds, by_number[first])
            runs.append(each.run)
            rows.append(
                {
                    "form": each.form,
                    "tokens": tokens,
                    "rounds": len(seconds),
                    **took._asdict(),
                    "accuracy_change": each.told["accuracy_change"],
                    "reference": number == first,
                    **compared._asdict(),
                }
            )
            log.info(
                "%s, %s: %.2f ms (%.2f to %.2f), 95th percentile %.2f ms, %.3g times the first",
                *(each.name, f"{tokens} tokens" if tokens else "test texts"),
                *(1000 * took.median, 1000 * took.low, 1000 * took.high, 1000 * took.p95),
                compared.ratio,
            )
    columns = ["form", "tokens", "rounds", *Spread._fields, "accuracy_change", "reference"]
    columns += Ratio._fields
    return key_columns(runs).join(pd.DataFrame(rows, columns=columns).astype({"tokens": "Int64"}))
