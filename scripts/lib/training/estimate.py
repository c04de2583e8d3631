"""How long a study takes: a few timed passes of each kind of training, times what is left to do."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from lib.command.console import UserError, announcements, progress
from lib.command.formats import duration, plural
from lib.files.manifests import reading
from lib.files.whole import write_text
from lib.study.config import check_section
from lib.study.runs import COUNT, KEYS, SEED, keys_in
from lib.study.schema import poolings, word
from lib.training import gpus
from lib.training.gpus import uses_gpus
from lib.training.job import SPLITS, Job
from lib.training.loop import Recipe
from lib.training.speed import Speed, time_at_once

# The settings that decide how long an update or a pass takes.
DECIDING = (
    *("micro_batch", "micro_tokens", "eval_batch", "threads", "processes", "device", "precision"),
    *("backend", "compile", "deterministic"),
)
PARTS = ("training", "validation", "tests", "start of jobs, and checkpoints")
MEASURED = (
    *("reviews/s in training", "reviews/s in validation and test"),
    *("runs left", "one run", "jobs at once"),
)
PROCESSES = (
    "\n\nA training in several processes was timed as one of them, with its share of each update: "
    "what they exchange is left out."
)
PAGE = """# How long the study takes

{done}: about **{total}**, while this machine does as much else as when this was measured.

{kinds}

{alike} Speeds are those of one training, timed in a few passes while as many as run at once did \
the same.{note}

{work}

The total divides the time of each row by its jobs at once. The start of a job is the time from a \
new process to its first pass. Left out are Snakemake itself, what a training saves after each \
epoch, downloads, tokens, baselines, tables and figures: a few minutes.
"""


class Study(NamedTuple):
    """What is to be run.

    Attributes:
        runs: folders of all runs.
        tokens: folders of the tokenized splits, each with `model=NAME` in its path.
        encoders: folders of the encoders, likewise.
        variants: settings of each that differ, by name, as JSON.
        settings: the section `training` of the configuration.
    """

    runs: Sequence[Path]
    tokens: Sequence[Path]
    encoders: Sequence[Path]
    variants: Sequence[tuple[str, str]]
    settings: Mapping[str, Any]


class Kind(NamedTuple):
    """What trainings have in common whose updates take as long.

    Attributes:
        model: name of the encoder.
        pooling: name of the pooling.
        batch: effective batch size.
        deciding: the values of the settings `DECIDING`.
    """

    model: str
    pooling: str
    batch: int
    deciding: tuple[Any, ...]


class Sizes(NamedTuple):
    """Reviews of each split."""

    train: int
    valid: int
    test: int


class Left(NamedTuple):
    """What is left to do of a run.

    Attributes:
        kind: of its training.
        settings: of its training.
        seen: reviews in training, each counted as often as it is taken.
        validated: likewise, in validation.
        tested: reviews in the test.
    """

    kind: Kind
    settings: Mapping[str, Any]
    seen: int
    validated: int
    tested: int


Measured = tuple[Speed, int]  # of a kind, and how many of its jobs run at once


def estimate(study: Study, cores: int, out: Path) -> None:
    """Time each kind of training of which something is left, and write the page.

    Args:
        study: what is to be run.
        cores: that it has.
        out: the page.

    Raises:
        UserError: something can't be used, or a process that measures has failed.
    """
    available = gpus.count()
    folders = {"tokens": by_model(study.tokens), "encoders": by_model(study.encoders)}
    left = left_of_study(study, folders)
    kinds = {each.kind: each.settings for each in left}
    if any(uses_gpus(settings, available) for settings in kinds.values()):
        gpus.claim("auto")
    measured: dict[Kind, Measured] = {}
    for kind, settings in progress(kinds.items(), len(kinds), "timing", "kind"):
        at_once = jobs_at_once(settings, cores, available)
        job = Job(
            tokens=folders["tokens"][kind.model],
            encoder=folders["encoders"][kind.model],
            run=Path(),
            labels=(),
            keys={"pooling": kind.pooling, "batch": kind.batch, "seed": 1},
            settings=settings,
        )
        count = 1 if uses_gpus(settings, available) else at_once * settings["processes"]
        measured[kind] = time_at_once(job, count), at_once
        announcements.info(
            "%s %s %d: %.0f reviews/s in training, %.0f in validation and test; %s at once",
            *kind[:3],
            *measured[kind][0][:2],
            plural(at_once, "job"),
        )
    write_text(out, page(left, measured, len(study.runs)))
    announcements.info(
        "%d of %s left, about %s: %s",
        len(left),
        plural(len(study.runs), "run"),
        duration(whole(left, measured)),
        out,
    )


def by_model(paths: Sequence[Path]) -> dict[str, Path]:
    """Folders by the name of the model in their paths."""
    return {keys_in(path).get("model", ""): path for path in paths}


def left_of_study(study: Study, folders: Mapping[str, Mapping[str, Path]]) -> list[Left]:
    """What is left of all runs of which something is.

    Raises:
        UserError: a variant can't be used, or a run names what is not given.
    """
    settings = {name: settings_of(study.settings, name, text) for name, text in study.variants}
    known = {**folders, "variants": settings}
    sizes = {name: sizes_of(folder) for name, folder in folders["tokens"].items()}
    found = []
    for run in study.runs:
        keys = keys_of(run)
        for flag, given in known.items():
            key = "variant" if flag == "variants" else "model"
            if keys[key] not in given:
                raise UserError(f"--{flag} lacks {keys[key]}, which '{run}' names")
        done = [(run / name).is_file() for name in ("train.json", "test.json")]
        if not all(done):
            found.append(
                left_of_run(keys, settings[keys["variant"]], sizes[keys["model"]], done[0])
            )
    return found


def keys_of(run: Path) -> dict[str, str]:
    """The keys of a run, from its folder.

    Raises:
        UserError: one is missing, or is none.
    """
    keys = keys_in(run)
    if set(KEYS) - set(keys):
        raise UserError(f"--runs: '{run}' does not name {', '.join(KEYS)}")
    for key, allowed in (("pooling", "|".join(poolings())), ("batch", COUNT), ("seed", SEED)):
        if not re.fullmatch(allowed, keys[key]):
            raise UserError(f"--runs: '{run}' names no {key} that there is")
    return keys


def settings_of(common: Mapping[str, Any], name: str, text: str) -> dict[str, Any]:
    """The training settings of a variant, checked.

    Raises:
        UserError: they hold what they may not.
    """
    try:
        settings = {**common, **json.loads(text)}
    except (ValueError, TypeError) as error:
        raise UserError(f"--variants: {name} is '{text}'; allowed: a JSON object") from error
    check_section("training", settings, f"variants.{name}")
    return settings


def sizes_of(tokens: Path) -> Sizes:
    """How many reviews the tokenized splits hold.

    Raises:
        UserError: one is missing or damaged.
    """
    counts = []
    for name in (*SPLITS, "test.parquet"):
        with reading(tokens / name):
            counts.append(pq.read_metadata(tokens / name).num_rows)
    return Sizes(*counts)


def left_of_run(
    keys: Mapping[str, str], settings: Mapping[str, Any], sizes: Sizes, trained: bool
) -> Left:
    """What is left of a run that is not yet tested."""
    batch = int(keys["batch"])
    recipe = Recipe(batch, int(keys["seed"]), settings)
    examples = sizes.train if settings["examples"] == "all" else int(settings["examples"])
    kind = Kind(keys["model"], keys["pooling"], batch, tuple(settings[key] for key in DECIDING))
    if trained:
        return Left(kind, settings, 0, 0, sizes.test)
    seen = recipe.seen(recipe.updates(examples), examples)
    return Left(kind, settings, seen, recipe.epochs(examples) * sizes.valid, sizes.test)


def jobs_at_once(settings: Mapping[str, Any], cores: int, available: int) -> int:
    """How many trainings with these settings run at once on so many cores and GPUs."""
    processes = settings["processes"]
    fitting = cores // (settings["threads"] * processes)
    if uses_gpus(settings, available):
        fitting = min(fitting, available // processes)
    return max(1, fitting)


def spent(left: Left, speed: Speed) -> tuple[float, ...]:
    """The seconds of what is left of a run, for each of `PARTS`."""
    validating = speed.prediction * left.settings["processes"]
    training = speed.start + speed.checkpoint if left.seen else 0.0
    return (
        left.seen / speed.training,
        left.validated / validating,
        left.tested / speed.prediction,
        speed.start + training,
    )


def whole(left: Sequence[Left], measured: Mapping[Kind, Measured]) -> float:
    """The seconds of all that is left, several jobs at once; no less than the longest run."""
    runs = [(sum(spent(each, measured[each.kind][0])), measured[each.kind][1]) for each in left]
    shared = math.fsum(seconds / at_once for seconds, at_once in runs)
    return max([shared, *(seconds for seconds, _ in runs)])


def page(left: Sequence[Left], measured: Mapping[Kind, Measured], runs: int) -> str:
    """The page: what is left, a row per kind, and the parts of the work.

    Args:
        left: what is left of each run.
        measured: of each kind.
        runs: of the whole study.
    """
    if not left:
        return f"# How long the study takes\n\nAll of {plural(runs, 'run')} are done.\n"
    seconds = [spent(each, measured[each.kind][0]) for each in left]
    values = list(zip(*(kind.deciding for kind in measured), strict=True))
    varying = [number for number, each in enumerate(values) if len(set(each)) > 1]
    alike = [
        f"{name} {word(each[0])}"
        for name, each in zip(DECIDING, values, strict=True)
        if len(set(each)) == 1
    ]
    rows: list[list[object]] = []
    for kind, (speed, at_once) in measured.items():
        totals = [sum(each) for one, each in zip(left, seconds, strict=True) if one.kind == kind]
        rows.append(
            [
                *kind[:3],
                *(word(kind.deciding[number]) for number in varying),
                f"{speed.training:,.0f}",
                f"{speed.prediction:,.0f}",
                len(totals),
                duration(fmean(totals)),
                at_once,
            ]
        )
    names = [DECIDING[number] for number in varying]
    sums = [math.fsum(each) for each in zip(*seconds, strict=True)]
    work = [[name, duration(each)] for name, each in zip(PARTS, sums, strict=True)]
    return PAGE.format(
        done=f"Of {plural(runs, 'run')}, {len(left)} are left",
        total=duration(whole(left, measured)),
        kinds=markdown(["model", "pooling", "batch", *names, *MEASURED], rows),
        alike=f"Alike in all: {', '.join(alike)}.",
        work=markdown(["part", "one job after another"], [*work, ["all", duration(sum(sums))]]),
        note=PROCESSES if any(each.settings["processes"] > 1 for each in left) else "",
    )


def markdown(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
