"""How long a study takes: what is left of it, at the speed of finished runs or of timed updates.

Runs of one kind train at one speed: they share model, pooling, batch, tokens, hardware and the
settings that decide it. Finished runs of a kind tell its speed; a kind without any is timed. So are
the vectors of encoders that are not trained, where they are yet to be computed.
"""

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pyarrow.parquet as pq
import torch

from lib.command.console import UserError, announcements, progress
from lib.command.formats import duration, plural
from lib.data.encoder_files import describe_encoder
from lib.files.manifests import reading, sha256
from lib.files.whole import write_text
from lib.study.config import check_section, vectors_of
from lib.study.runs import keys_in, run_of
from lib.study.schema import poolings
from lib.training import gpus
from lib.training.backends import connect
from lib.training.batches import load_tokens
from lib.training.device import explain_lack_of_memory
from lib.training.job import SPLITS, Job, build_model
from lib.training.launch import forget_other_launchers
from lib.training.loop import Recipe, train
from lib.training.processes import in_processes, place_of
from lib.training.vectors import ADVICE, Pooled, pooler

# What train.json tells of a kind besides the encoder, and the settings that decide its speed.
SHARED = ("model", "pooling", "batch", "tokens_sha256", "device", "precision", "hardware")
DECIDING = (
    *("max_length", "truncation", "micro_batch", "micro_tokens", "threads", "processes"),
    *("backend", "compile", "unpadded", "deterministic", "freeze", "encoder_dropout"),
)
ALONE = {"backend": "torch", "processes": 1}
WITHOUT_END = {"patience": "none", "learning_rate": 0.0}  # nor does a timed training diverge
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
ONCE = """
A row with vectors in place of a batch is of an encoder that is not trained: its passes over all \
reviews, which are made once for all runs of the variants.
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
    kinds, speeds, unmade = by_kind(left), speeds_of_finished(jobs), by_vectors(left)
    new = {kind: alike[0] for kind, alike in kinds.items() if kind not in speeds}
    available = gpus.count()
    asked = [*new.values(), *(alike[0] for alike in unmade)]
    if any(gpus.uses_gpus(job.settings, available) for job in asked):
        gpus.claim("auto")

    def at_once(job: Job) -> int:
        return jobs_at_once(job.settings, cores, available)

    rows, spent = [], []
    for alike in progress(unmade, len(unmade), "timing", "encoder"):
        speed = timed(speed_of_vectors, alike[0], at_once(alike[0]), available)
        seconds = sum(sizes_of(alike[0].tokens)) / speed
        spent.append((seconds, at_once(alike[0])))
        rows.append(row(alike, "vectors", speed, "timed passes", [seconds], at_once(alike[0])))
    for kind, job in progress(new.items(), len(new), "timing", "kind"):
        speeds[kind] = [timed(speed_of, job, at_once(job), available)]
    for kind, alike in kinds.items():
        speed, batch = median(speeds[kind]), alike[0].keys["batch"]
        each = [reviews_left(job) / speed for job in alike]
        spent += [(seconds, at_once(alike[0])) for seconds in each]
        source = "timed updates" if kind in new else plural(len(speeds[kind]), "finished run")
        rows.append(row(alike, batch, speed, source, each, at_once(alike[0])))
    runs, total = plural(len(jobs), "run"), duration(whole(spent))
    page = PAGE.format(runs=runs, left=len(left), total=total, rows="\n".join(rows))
    write_text(out, page + ONCE * bool(unmade))
    announcements.info("%d of %s left, about %s: %s", len(left), runs, total, out)


def row(
    alike: Sequence[Job],
    batch: int | str,
    speed: float,
    source: str,
    seconds: Sequence[float],
    at_once: int,
) -> str:
    """A row of the page: trainings that are alike, or vectors, with the seconds of each."""
    variants = ", ".join(dict.fromkeys(job.keys["variant"] for job in alike))
    keys = (alike[0].keys["model"], alike[0].keys["pooling"], batch, variants)
    found = (f"{speed:,.0f}", source, len(seconds), duration(fmean(seconds)), at_once)
    return f"| {' | '.join(map(str, [*keys, *found]))} |"


def jobs_of(
    runs: Iterable[Path],
    tokens: Iterable[Path],
    encoders: Iterable[Path],
    variants: Iterable[tuple[str, str]],
    settings: Mapping[str, Any],
    vectors: Iterable[Path] = (),
) -> list[Job]:
    """The trainings of a study.

    Args:
        runs: folders of its runs.
        tokens: folders of the tokenized splits, each with `model=NAME` in its path.
        encoders: folders of the encoders, likewise.
        variants: settings of each that differ, by name, as JSON.
        settings: the section `training` of the configuration.
        vectors: folders of those of encoders that are not trained, with all keys in their paths.

    Raises:
        UserError: a variant can't be used, or a run is none or names what is not given.
    """
    data, models = ({keys_in(path).get("model"): path for path in x} for x in (tokens, encoders))
    given = {name: settings_of(settings, name, text) for name, text in variants}
    study = {"training": settings, "variants": given}
    folders = {str(path).rpartition("/model=")[2]: path for path in vectors}
    jobs = []
    for path in runs:
        run = run_of(path)
        if not run.batch or run.pooling not in poolings():
            raise UserError(f"--runs: '{path}' names no batch or no pooling that there is")
        try:
            own = data[run.model], models[run.model], path, (), run._asdict(), given[run.variant]
            how = vectors_of(study, run.variant)
        except KeyError as error:
            raise UserError(f"'{path}' names {error}, which no other flag gives") from error
        jobs.append(Job(*own, folders.get(f"{run.model}/pooling={run.pooling}/{how}")))
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


def by_vectors(jobs: Iterable[Job]) -> list[list[Job]]:
    """Trainings that wait for the same vectors, as jobs of the one process that computes them."""
    found = defaultdict(list)
    for job in jobs:
        if job.vectors and not (job.vectors / SPLITS[0]).is_file():
            found[job.vectors].append(job._replace(settings={**job.settings, **ALONE}))
    return [*found.values()]


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


def timed(work: Callable[[Job], float], job: Job, at_once: int, available: int) -> float:
    """The reviews per second of one of so many jobs at once; on GPUs, of one alone."""
    processes = job.settings["processes"]
    count = 1 if gpus.uses_gpus(job.settings, available) else at_once * processes
    return processes * fmean(in_processes(partial(work, job), count))


def speed_of(job: Job) -> float:
    """The reviews per second of the training loop, with one process's share of each update.

    Trainings on 8, 16, 32, ... reviews follow one another, until one takes `SECONDS` when it is
    done again: before, it may have compiled, loaded kernels or filled caches.
    """
    forget_other_launchers()
    share, seed = math.ceil(job.keys["batch"] / job.settings["processes"]), job.keys["seed"]
    with connect(job.settings, seed) as backend, explain_lack_of_memory("lower max_length"):
        data = job._replace(vectors=None).load(SPLITS[0], backend.device)
        model, data = build_model(job, data), job.sample(data)
        if job.vectors:  # which may not be there, and are all as quick as zeros
            data = Pooled.of_tokens(data, torch.zeros(len(data), model.head.in_features))
        splits = data, data.select(torch.arange(1))
        settings = {**job.settings, **WITHOUT_END}
        reviews, seconds = 4, 0.0
        while seconds < SECONDS:
            reviews *= 2
            batch = min(share, reviews)
            recipe = Recipe(batch, seed, {**settings, "updates": reviews // batch})
            for _ in range(2):
                history = train(model, splits, recipe, backend).history
                if (seconds := sum(epoch.seconds for epoch in history)) < SECONDS:
                    break
    return recipe.seen(history[-1].updates, len(data)) / seconds


def speed_of_vectors(job: Job) -> float:
    """The reviews per second of passes without training, of more and more reviews as above."""
    forget_other_launchers()
    with connect(job.settings, job.keys["seed"]) as backend, explain_lack_of_memory(ADVICE):
        data = load_tokens(job.tokens / SPLITS[0], job.cut, backend.device, job.keys["pooling"])
        pool = pooler(job.encoder, job.keys["pooling"], job.settings, backend)
        reviews, seconds = 4, 0.0
        while seconds < SECONDS:
            reviews *= 2
            rows, started = torch.arange(reviews) % len(data), time.perf_counter()
            pool(data.select(rows)).cpu()
            seconds = time.perf_counter() - started
    return reviews / seconds
