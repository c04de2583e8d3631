"""How fast training is, beside the Trainer of transformers and the loop of published studies.

Every repeat measures all contestants in turn, in each case on the same reviews, tokens, initial
weights, batch and device, each in a process of its own: the training loop alone, and a small job
from the start of its process to a tested checkpoint. Written are loops.csv and jobs.csv (a line
per measurement), speed.md and speed.svg.
"""

import argparse
import math
import multiprocessing
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from itertools import product, repeat
from pathlib import Path
from resource import struct_rusage
from typing import Any, NamedTuple

import pandas as pd
import torch
import yaml

from contestants import (
    OURS,
    PUBLISHED,
    TRAINER,
    Case,
    Task,
    contestants,
    measure,
    measure_peak_flops,
    takes,
)
from lib.command.cli import positive
from lib.command.console import UserError, log, progress, start_logging
from lib.files.whole import read_json
from lib.study import config
from lib.study.planning import flags
from lib.study.schema import keys_that
from lib.study.version import workflow_version
from lib.training import gpus
from lib.training.device import choose, choose_precision, emulates, hardware
from loops import PASS, POOLING, SEED
from speed_data import encoder_folder, prepare_model, prepare_reviews, tokens_folder, write_job
from speed_report import write_report
from speed_rules import AND

ROOT = Path(__file__).parents[1]
BENCHMARKS, SCRIPTS = ROOT / "benchmarks", ROOT / "scripts"
CONFIGS = {"cpu": "config.yaml", "cuda": "throughput.yaml"}
REVIEWS = {"cpu": 256, "cuda": 2048}  # of a measurement, or one update where that has more
LENGTHS = [128, 256, 512]
WARMUP = 8  # reviews on a CPU; a GPU sees all reviews before
# An encoder whose matrix products fill a CPU: one small update takes seconds.
LARGER = "bert-6x384"
LARGER_SIZES = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "intermediate_size": 1536,
}
LARGER_BATCH = 32
DROPOUT = 0.1  # in the encoder, as pretrained BERTs have it; those of the quick study have none
JOB = (1024, 256, 512)  # reviews to learn from, to validate with, to test with
JOB_BATCH = 64
PEAKS = 4  # measurements of the device's peak before the loops, and as many after them
AGAIN = f"{OURS}, each further run"
JOBS = {OURS: "", TRAINER: "loop_trainer", PUBLISHED: "loop_published"}  # module of each
LIBRARIES = ("torch", "transformers", "accelerate")
NORM = 1.0  # to which the Trainer clips gradients by itself
INSTRUCTIONS = ("avx2", "avx512", "amx", "vnni", "neon", "sve")  # that decide how fast a CPU is
MAXRSS = 1 if sys.platform == "darwin" else 1024  # bytes, of what a process used
PRELOADED = ["contestants", "speed_report"]


class Plan(NamedTuple):
    """What is measured, and with what.

    Attributes:
        study: the configuration.
        settings: of its training, for the device.
        cases: of the loops.
        repeats: of each measurement.
        processes: measured at the same time.
    """

    study: dict[str, Any]
    settings: dict[str, Any]
    cases: list[Case]
    repeats: int
    processes: int


def make_plan(options: argparse.Namespace) -> Plan:
    """What the flags ask for.

    Raises:
        UserError: the configuration can't be used, or a batch can't be divided into passes.
    """
    path = options.config or ROOT / "config" / CONFIGS[options.device]
    study = yaml.safe_load(path.read_text("utf-8"))
    config.check(study)
    uneven = [batch for batch in options.batches if batch > PASS and batch % PASS]
    if uneven:
        raise UserError(f"--batches {uneven[0]} is no multiple of {PASS}, the reviews of a pass")
    settings = study["training"] | {"device": options.device, "max_grad_norm": NORM}
    own, *lowered = precisions(settings)
    least = options.reviews or REVIEWS[options.device]
    cases = [
        Case(model, length, batch, math.ceil(least / batch) * batch, precision, 0.0)
        for model, length, batch in product(study["models"], options.lengths, options.batches)
        for precision in [own, *lowered * (batch == options.batches[0])]
    ]
    if options.larger and options.device == "cpu":
        bert = {"source": "scratch", "architecture": "bert", **LARGER_SIZES}
        study["models"][LARGER] = bert
        config.check(study)
        cases += [
            Case(LARGER, length, LARGER_BATCH, LARGER_BATCH, precision, dropout)
            for length, precision in product(options.lengths, [own, *lowered])
            for dropout in (0.0, *[DROPOUT] * (length == max(options.lengths)))
        ]
    at_once = 1 if options.device == "cuda" else min(2, os.cpu_count() or 1)
    return Plan(study, settings, cases, options.repeats, options.processes or at_once)


def precisions(settings: Mapping[str, Any]) -> list[str]:
    """That of the settings, and bf16 besides on a CPU with instructions for it."""
    device = choose(settings["device"])
    own = choose_precision(settings["precision"], device)
    lowered = device.type == "cpu" and own != "bf16" and not emulates("bf16")
    return [own, *["bf16"] * lowered]


def prepare(plan: Plan, folder: Path, pool: ProcessPoolExecutor) -> None:
    """Write reviews, encoders and tokens."""
    pool.submit(prepare_reviews, plan.study, folder).result()
    samples: dict[str, set[int]] = {}
    for case in plan.cases:
        samples.setdefault(case.model, set()).update({case.reviews, warmup(plan, case)})
    done = [
        pool.submit(prepare_model, folder, name, plan.study["models"][name], numbers)
        for name, numbers in samples.items()
    ]
    for each in done:
        each.result()
    tokens = tokens_folder(folder, job_model(plan))
    pool.submit(write_job, tokens, JOB, folder / "job").result()


def warmup(plan: Plan, case: Case) -> int:
    """Reviews of the untimed updates before a measurement."""
    return WARMUP if plan.settings["device"] == "cpu" else case.reviews


def job_model(plan: Plan) -> str:
    """The model of the job."""
    return next(iter(plan.study["models"]))


def tasks(plan: Plan, folder: Path) -> Iterator[Task]:
    """All measurements of loops: repeats of cases of contestants, which take turns to be first."""
    names = list(contestants(plan.settings["device"]))
    for number in range(1, plan.repeats + 1):
        turn = (number - 1) % len(names)
        for case, name in product(plan.cases, names[turn:] + names[:turn]):
            if takes(name, case, plan.settings["device"], plan.cases[0].precision):
                yield Task(case, name, number, warmup(plan, case), plan.settings, folder)


def run_job(plan: Plan, contestant: str, repeat: int, folder: Path) -> list[dict[str, Any]]:
    """The lines of jobs.csv of one job, from the start of its process on.

    Ours is done twice in one process, since what starts with the first run serves the others.
    """
    run = folder / "runs" / f"{contestant}-{repeat}"
    commands = [[*job_command(plan, contestant, folder, run)]]
    if contestant == OURS:
        commands += [rules_commands(plan, folder, run.with_name(f"{run.name}-again"))]
    started = time.perf_counter()
    used, printed = run_command([word for each in commands for word in each], run)
    spent = [(time.perf_counter() - started, used.ru_utime + used.ru_stime)]
    names = [contestant]
    if contestant == OURS:
        _, first, _, second = ([float(x) for x in line.split()] for line in printed.splitlines())
        spent = [(first[0], first[1]), (second[0] - first[0], second[1] - first[1])]
        names = [OURS, AGAIN]
    return [
        {
            "contestant": name,
            "repeat": repeat,
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "peak_memory_bytes": used.ru_maxrss * MAXRSS,
            "test_accuracy": read_json(run / "test.json")["accuracy"],
        }
        for name, (seconds, cpu_seconds) in zip(names, spent, strict=True)
    ]


def job_command(plan: Plan, contestant: str, folder: Path, run: Path) -> list[str | Path]:
    """The command of a job, without the interpreter; ours runs those of the rules."""
    if contestant == OURS:
        return [BENCHMARKS / "speed_rules.py", *rules_commands(plan, folder, run)]
    settings = job_settings(plan, folder, run)
    return [BENCHMARKS / "speed_job.py", JOBS[contestant], *as_words(settings)]


def job_settings(plan: Plan, folder: Path, run: Path) -> dict[str, Any]:
    """What the job of every contestant is told."""
    model = job_model(plan)
    keys = {"run": run, "encoder": encoder_folder(folder, model), "tokens": folder / "job"}
    return {**plan.settings, **keys, "batch": JOB_BATCH}


def rules_commands(plan: Plan, folder: Path, run: Path) -> list[str | Path]:
    """The commands that the rules call for one run."""
    model = job_model(plan)
    settings = job_settings(plan, folder, run)
    keys = {"dataset": "job", "model": model, "pooling": POOLING, "seed": SEED}
    tested = {key: plan.settings[key] for key in keys_that("tested")}
    test = {"run": run, "tokens": settings["tokens"] / "test.parquet"}
    train = [SCRIPTS / "train.py", *as_words(settings | keys)]
    return [*train, AND, SCRIPTS / "evaluate.py", *as_words(test | tested), AND]


def as_words(settings: dict[str, Any]) -> list[str]:
    """Settings as the words of a command line."""
    return shlex.split(flags(settings))


def run_command(words: Sequence[str | Path], run: Path) -> tuple[struct_rusage, str]:
    """Run a command in a process of its own; what it used, and what it printed.

    Raises:
        UserError: it failed.
    """
    log = run.with_name(f"{run.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, stderr=file, text=True
        )
        printed = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"{words[0]} failed: {log.read_text('utf-8').strip()}")
    return usage, printed


def run_plan(plan: Plan) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]:
    """The measurements of loops and those of jobs, and the device's peak by precision."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)  # processes begin with all that they import
    with (
        tempfile.TemporaryDirectory() as name,
        ProcessPoolExecutor(plan.processes, context, max_tasks_per_child=1) as pool,
    ):
        folder = Path(name)
        log.info("preparing reviews, encoders and tokens")
        prepare(plan, folder, pool)
        asked = list(dict.fromkeys(case.precision for case in plan.cases)) * PEAKS
        peaks = [*pool.map(measure_peak_flops, repeat(plan.settings), asked)]
        loops = list(tasks(plan, folder))
        jobs = product(range(1, plan.repeats + 1), JOBS)
        measured = pool.map(measure, loops)
        loop_rows = list(progress(measured, len(loops), "training loops", "measurement"))
        peaks += pool.map(measure_peak_flops, repeat(plan.settings), asked)
        total = plan.repeats * len(JOBS)
        done = (run_job(plan, name, number, folder) for number, name in jobs)
        job_rows = [row for rows in progress(done, total, "whole jobs", "job") for row in rows]
    best = pd.Series(peaks).groupby(asked * 2, sort=False).max()
    return pd.DataFrame(loop_rows), pd.DataFrame(job_rows), best.to_dict()


def main() -> None:
    """Measure, and write the tables and the figure."""
    flags = argparse.ArgumentParser(description=__doc__)
    device = "cuda" if gpus.count() else "cpu"
    flags.add_argument("--out", type=Path, default="results/bench", help="folder to write to")
    flags.add_argument("--device", choices=list(CONFIGS), default=device, help="where to compute")
    flags.add_argument("--config", type=Path, help="study that names reviews, encoders, settings")
    flags.add_argument("--repeats", type=positive, default=5, help="of each measurement")
    flags.add_argument("--processes", type=positive, help="measured at the same time")
    flags.add_argument("--lengths", type=positive, nargs="+", default=LENGTHS, help="in tokens")
    flags.add_argument(
        "--batches", type=positive, nargs="+", default=[64, 256, 1024], help="effective"
    )
    flags.add_argument("--reviews", type=positive, help="least of a measurement")
    flags.add_argument(
        "--larger",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"measure {LARGER} as well, on a CPU",
    )
    options = flags.parse_args()
    # What is started finds its modules, and reaches no hub.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "scripts"), str(ROOT / "benchmarks")])
    os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
    start_logging()
    plan = make_plan(options)
    loops, jobs, peaks = run_plan(plan)
    loops["flop_utilisation"] = loops["flops_per_second"] / loops["precision"].map(peaks)
    write_report(options.out, loops, jobs, facts(plan, peaks))


def facts(plan: Plan, peaks: Mapping[str, float]) -> dict[str, str]:
    """What stands above the tables: hardware, versions, how it was measured."""
    at_once = f"{plan.processes} at a time" if plan.processes > 1 else "one at a time"
    return {
        "Hardware": hardware(choose(plan.settings["device"])),
        "Threads": f"{plan.settings['threads']} per measurement, {at_once}",
        "Instructions": ", ".join(instructions()),
        "Large matrix product": ", ".join(
            f"{peak / 1e9:.0f} GFLOP/s in {precision}" for precision, peak in peaks.items()
        ),
        "Versions": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "Workflow": workflow_version(),
        "Command": shlex.join(["python", *sys.argv]),
        "Repeats": str(plan.repeats),
    }


def instructions() -> list[str]:
    """Instructions of this processor that decide how fast matrix products are."""
    found = torch.cpu.get_capabilities().items()
    return sorted(name for name, has in found if has is True and name.startswith(INSTRUCTIONS))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
