"""How long a study takes: what is left of it, at the speed of finished runs or of timed updates.

Runs of one kind train at one speed: they share model, pooling, batch, tokens, hardware and the
settings that decide it. Finished runs of a kind tell its speed; a kind without any is timed.
"""

import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pyarrow.parquet as pq
import torch

from lib.command.console import UserError, announcements, progress, silence
from lib.command.formats import duration, plural
from lib.data.encoder_files import describe_encoder
from lib.files.manifests import reading, sha256
from lib.files.whole import write_text
from lib.study.config import check_section
from lib.study.runs import keys_in, run_of
from lib.study.schema import poolings
from lib.training import gpus
from lib.training.backends import connect
from lib.training.device import choose, choose_precision, explain_lack_of_memory, hardware
from lib.training.job import SPLITS, Job, build_model
from lib.training.launch import forget_other_launchers
from lib.training.loop import Recipe, train

# What train.json tells of a kind besides the encoder, and the settings that decide its speed.
SHARED = ("model", "pooling", "batch", "tokens_sha256", "device", "precision", "hardware")
DECIDING = (
    *("max_length", "truncation", "micro_batch", "micro_tokens", "threads", "processes"),
    *("backend", "compile", "unpadded", "deterministic"),
)
PREDICTION = 1 / 3  # of the time of a review in training: its forward pass alone
SECONDS = 3.0  # that the last of the timed trainings takes at least
PAGE = """# How long the study takes

Of {runs}, {left} are left: about **{total}**.

| model | pooling | batch | variants | reviews/s in training | known from | runs left | one run \
| jobs at once |
| --- | --- | --: | --- | --: | --- | --: | --: | --: |
{rows}

A speed is that of one training beside as many others as run at once: the median of finished runs \
of the kind on this hardware, or else that of updates timed now. A review takes a third as long in \
validation and test. The total divides the time of each run by its jobs at once. Left out: starts \
of jobs, seconds each, or more where a model is compiled; what processes of a timed training \
exchange; all other rules, some minutes.
"""


def estimate(jobs: Sequence[Job], cores: int, tuned: bool, out: Path) -> None:
    """Find the speed of each kind of training of which something is left, and write the page.

    Args:
        jobs: of all runs of a study.
        cores: that it has.
        tuned: whether validation decides which runs are tested.
        out: the page.

    Raises:
        UserError: something can't be used, or a process that measures has failed.
    """
    needed = ("train",) if tuned else ("train", "test")
    left = [job for job in jobs if not all(is_there(job, name) for name in needed)]
    kinds, speeds, available = by_kind(left), speeds_of_finished(jobs), gpus.count()
    new = {kind: alike[0] for kind, alike in kinds.items() if kind not in speeds}
    if any(gpus.uses_gpus(job.settings, available) for job in new.values()):
        gpus.claim("auto")
    for kind, job in progress(new.items(), len(new), "timing", "kind"):
        speeds[kind] = [timed(job, jobs_at_once(job.settings, cores, available), available)]
    rows, spent = [], []
    for kind, alike in kinds.items():
        at_once, speed = jobs_at_once(alike[0].settings, cores, available), median(speeds[kind])
        seconds = [reviews_left(job) / speed for job in alike]
        spent += [(each, at_once) for each in seconds]
        source = "timed updates" if kind in new else plural(len(speeds[kind]), "finished run")
        keys = [alike[0].keys[name] for name in ("model", "pooling", "batch")]
        keys.append(", ".join(dict.fromkeys(job.keys["variant"] for job in alike)))
        found = f"{speed:,.0f}", source, len(alike), duration(fmean(seconds)), at_once
        rows.append(f"| {' | '.join(map(str, [*keys, *found]))} |")
    runs, total = plural(len(jobs), "run"), duration(whole(spent))
    write_text(out, PAGE.format(runs=runs, left=len(left), total=total, rows="\n".join(rows)))
    announcements.info("%d of %s left, about %s: %s", len(left), runs, total, out)


def jobs_of(
    runs: Iterable[Path],
    tokens: Iterable[Path],
    encoders: Iterable[Path],
    variants: Iterable[tuple[str, str]],
    settings: Mapping[str, Any],
) -> list[Job]:
    """The trainings of a study.

    Args:
        runs: folders of its runs.
        tokens: folders of the tokenized splits, each with `model=NAME` in its path.
        encoders: folders of the encoders, likewise.
        variants: settings of each that differ, by name, as JSON.
        settings: the section `training` of the configuration.

    Raises:
        UserError: a variant can't be used, or a run is none or names what is not given.
    """
    data, models = ({keys_in(path).get("model"): path for path in x} for x in (tokens, encoders))
    given = {name: settings_of(settings, name, text) for name, text in variants}
    jobs = []
    for path in runs:
        run = run_of(path)
        if not run.batch or run.pooling not in poolings():
            raise UserError(f"--runs: '{path}' names no batch or no pooling that there is")
        try:
            own = data[run.model], models[run.model], path, (), run._asdict(), given[run.variant]
        except KeyError as error:
            raise UserError(f"'{path}' names {error}, which no other flag gives") from error
        jobs.append(Job(*own))
    return jobs


def settings_of(common: Mapping[str, Any], name: str, text: str) -> dict[str, Any]:
    """The training settings of a variant, checked."""
    try:
        settings = {**common, **json.loads(text)}
    except (ValueError, TypeError) as error:
        raise UserError(f"--variants: {name} is '{text}'; allowed: a JSON object") from error
    check_section("training", settings, f"variants.{name}")
    return settings


def is_there(job: Job, name: str) -> bool:
    """Whether a run has been trained, or tested."""
    return (job.run / f"{name}.json").is_file()


def by_kind(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    """Trainings by their kinds; a process of its own looks at the hardware, and leaves no trace."""
    digest, described = cache(sha256), cache(describe_encoder)
    place = cache(lambda *asked: in_processes(partial(place_of, *asked), 1)[0])
    kinds = defaultdict(list)
    for job in jobs:
        told = {"tokens_sha256": digest(job.tokens / SPLITS[0]), "encoder": described(job.encoder)}
        told |= place(job.settings["device"], job.settings["precision"])
        kinds[kind_of({**job.keys, **told, "settings": job.settings})].append(job)
    return kinds


def place_of(device: str, precision: str) -> dict[str, str]:
    """Where trainings with these settings compute, as train.json tells it."""
    there = choose(device)
    precision = choose_precision(precision, there)
    return {"device": there.type, "precision": precision, "hardware": hardware(there)}


def kind_of(facts: Mapping[str, Any]) -> str:
    """The kind of a training of which train.json tells these facts."""
    told = [facts[key] for key in SHARED] + [facts["settings"].get(key) for key in DECIDING]
    return json.dumps([facts["encoder"]["sha256"], *told], sort_keys=True)


def speeds_of_finished(jobs: Iterable[Job]) -> dict[str, list[float]]:
    """The reviews per second of finished trainings, by their kinds."""
    speeds = defaultdict(list)
    for path in (job.run / "train.json" for job in jobs if is_there(job, "train")):
        with reading(path):
            facts = json.loads(path.read_text("utf-8"))
            speeds[kind_of(facts)].append(facts["examples_per_second"])
    return speeds


@cache
def sizes_of(tokens: Path) -> list[int]:
    """The reviews in training, validation and test."""
    with reading(tokens):
        return [pq.read_metadata(tokens / name).num_rows for name in (*SPLITS, "test.parquet")]


def reviews_left(job: Job) -> float:
    """How many reviews a training takes in the time of what is left of a run."""
    learned, validated, tested = sizes_of(job.tokens)
    alone = tested * job.settings["processes"]  # one process tests, whatever number trains
    if is_there(job, "train"):
        return PREDICTION * alone
    examples = learned if job.settings["examples"] == "all" else job.settings["examples"]
    seen = job.recipe.seen(job.recipe.updates(examples), examples)
    return seen + PREDICTION * (job.recipe.epochs(examples) * validated + alone)


def jobs_at_once(settings: Mapping[str, Any], cores: int, available: int) -> int:
    """How many trainings with these settings run at once on so many cores and GPUs."""
    fitting = cores // (settings["threads"] * settings["processes"])
    if gpus.uses_gpus(settings, available):
        fitting = min(fitting, available // settings["processes"])
    return max(1, fitting)


def whole(spent: Sequence[tuple[float, int]]) -> float:
    """The seconds of runs, each with how many run at once; no less than the longest run."""
    return max(sum(each / count for each, count in spent), *(each for each, _ in spent), 0.0)


def timed(job: Job, at_once: int, available: int) -> float:
    """The reviews per second of one of so many trainings at once; on GPUs, of one alone."""
    processes = job.settings["processes"]
    count = 1 if gpus.uses_gpus(job.settings, available) else at_once * processes
    return processes * fmean(in_processes(partial(speed_of, job), count))


def speed_of(job: Job) -> float:
    """The reviews per second of the training loop, with one process's share of each update.

    Trainings on 8, 16, 32, ... reviews follow one another, until one takes `SECONDS` when it is
    done again: before, it may have compiled, loaded kernels or filled caches.
    """
    forget_other_launchers()
    share, seed = math.ceil(job.keys["batch"] / job.settings["processes"]), job.keys["seed"]
    with connect(job.settings, seed) as backend, explain_lack_of_memory("lower max_length"):
        data = job.load(SPLITS[0], backend.device)
        model, data = build_model(job, data), job.sample(data)
        splits = data, data.select(torch.arange(1))
        reviews, seconds = 4, 0.0
        while seconds < SECONDS:
            reviews *= 2
            batch = min(share, reviews)
            recipe = Recipe(batch, seed, {**job.settings, "updates": reviews // batch})
            for _ in range(2):
                history = train(model, splits, recipe, backend).history
                if (seconds := sum(epoch.seconds for epoch in history)) < SECONDS:
                    break
    return recipe.seen(history[-1].updates, len(data)) / seconds


def in_processes(work: Callable[[], Any], count: int) -> list[Any]:
    """What so many processes find at the same time.

    They are forks on Linux, each of which starts CUDA for itself: this process never does.

    Raises:
        UserError: one can't be done, or its process has ended.
    """
    context: Any = get_context("fork" if sys.platform == "linux" else "spawn")
    receivers = []
    for _ in range(count):
        receiver, sender = context.Pipe(duplex=False)
        context.Process(target=send, args=(sender, work), daemon=True).start()
        sender.close()
        receivers.append(receiver)
    try:
        found = [receiver.recv() for receiver in receivers]
    except EOFError as error:
        raise UserError("a process that measured has ended; its output tells why") from error
    for mistake in (each for each in found if isinstance(each, UserError)):
        raise mistake
    return found


def send(sender: Connection, work: Callable[[], Any]) -> None:
    """Send what some work finds, or the user's mistake."""
    silence()
    try:
        sender.send(work())
    except UserError as error:
        sender.send(error)
