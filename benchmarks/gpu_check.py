"""Whether training on this graphics card can be believed.

Real trainings and tests of the project on real reviews are held to what they promise: identical
reruns, resuming to the last bit, the numbers of other arithmetics and other passes, halved passes
where memory is short, the validation accuracy that a test finds again. Then speeds are measured.
With the device `cpu` the same is done with small encoders, in a few minutes. Each check is a line
on the terminal; gpu-check.md holds them all, with the machine and the speeds; exit code 1 tells
that one has failed.
"""

import argparse
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from gpu_lab import (
    BENCHMARKS,
    CPU_THREADS,
    SCRIPTS,
    SIZES,
    Distance,
    Failed,
    Lab,
    LeftOut,
    differing,
    distance,
)
from gpu_report import (
    FAILED,
    LEFT_OUT,
    OK,
    Check,
    Speed,
    conclusion,
    exit_code,
    write_page,
)
from lib.command.cli import Parser, run
from lib.command.console import UserError, one_line
from lib.command.formats import plural
from lib.files.whole import read_json
from lib.forks import client
from lib.study import code
from lib.study.schema import options_of
from lib.study.version import workflow_version
from lib.training import gpus

Step = tuple[str, Callable[[], str]]  # what is to hold; what tells a detail, or raises Failed

SOON = 0.0001  # minutes
UNEVEN = 12  # reviews of a pass, of which no update of `FEW` is a multiple
FEW: dict[str, Any] = {  # three updates, a smaller one among them, at one learning rate
    "batch": 32,
    "examples": 80,
    "epochs": 1,
    "dropout": 0.0,
    "scheduler": "constant",
    "warmup": 0.0,
}
HALVED = "out of memory: passes are halved"
MID_SECOND = r"epoch 1:(?s:.*)state saved, after update"  # what a training says in its second epoch
EVERY_TOKEN = 2**20  # in a pass, so that nothing but the reviews of an update bounds it
# On a CPU, other passes or threads moved losses by 5e-7 and weights by 3e-5 learning rates at most
# (BERT-base; narrow encoders of 12 and 22 layers), bf16 by 9e-4 and 0.09. Where each pass weighed
# the same in the gradient of its update, weights moved by 0.4 or more; by 0.9 where one was lost.
EXACT = Distance(loss=5e-5, accuracy=0.02, weights=3e-3)
ROUNDED = Distance(loss=2e-2, accuracy=0.1, weights=0.4)
SAME = Distance(loss=1e-5, accuracy=0.0, weights=0.0)  # of the same passes
REVIEW_LOSS = 1e-3  # of one review
STILL = 1e-12  # a learning rate that moves no weight
EPOCHS = 2
COMPILED = "compiled"
VARIANTS: dict[str, dict[str, Any]] = {  # whose speed is measured
    "base": {},
    "not deterministic": {"deterministic": False},
    "largest passes": {"micro_batch": "auto"},
    COMPILED: {"compile": True},
    "without padding": {"unpadded": True},
}
SECONDS = 5  # that a timed epoch should take


def runs(lab: Lab) -> str:
    """The device, and the kernels of attention."""
    if lab.card["broken"]:
        raise Failed(lab.card["broken"])
    return f"{lab.card['facts']['Device']}; kernels of attention: {lab.card['attention']}"


def repeat(lab: Lab) -> Iterator[Step]:
    """The same training twice."""
    for model in lab.models:
        yield f"two trainings of {model} give the same bytes", partial(repeated, lab, model)


def repeated(lab: Lab, model: str) -> str:
    """Train twice, with dropout and several passes to an update."""
    return alike(first_run(lab, model), lab.train(f"repeat-{model}-2", model, epochs=EPOCHS))


def first_run(lab: Lab, model: str) -> Path:
    """The training that others are compared with."""
    return lab.train(f"repeat-{model}-1", model, epochs=EPOCHS)


def alike(one: Path, other: Path) -> str:
    """Nothing, if two runs are the same bytes.

    Raises:
        Failed: they are not.
    """
    if files := differing(one, other):
        raise Failed(f"they differ in {', '.join(files)}: {distance(one, other)}")
    return ""


def resume(lab: Lab) -> Iterator[Step]:
    """A training that is interrupted, and goes on."""
    model = lab.models[0]
    yield f"{model}, interrupted, goes on to the same bytes", partial(resumed, lab, model)


def resumed(lab: Lab, model: str) -> str:
    """Interrupt a training, run it again, and compare it with one that nothing interrupted."""
    name, undisturbed = f"resume-{model}", first_run(lab, model)
    lab.interrupt(name, model, MID_SECOND, epochs=EPOCHS, save_minutes=SOON)
    run = lab.train(name, model, epochs=EPOCHS)
    found = re.search(r"resuming in epoch 2, after update [1-9]\d*", lab.said(name))
    if not found:
        raise Failed("it does not go on in the second epoch")
    alike(undisturbed, run)
    return found[0]


def precision(lab: Lab) -> Iterator[Step]:
    """Small trainings without dropout, in other arithmetics and passes."""
    for model in lab.models if lab.device == "cuda" else lab.models[-1:]:
        yield f"{model} in fp32 as on the CPU", partial(as_on_cpu, lab, model)
        yield f"{model} in other passes", partial(in_other_passes, lab, model)
        for name in arithmetics():
            yield f"{model} in {name} near fp32", partial(near_fp32, lab, model, name)
        yield f"{model} without padding as with it", partial(without_padding, lab, model)
        lab.forget(f"precision-{model}-")


def arithmetics() -> list[str]:
    """The precisions of a training but fp32."""
    names = options_of("training")["precision"]["enum"]
    return [name for name in names if name not in ("auto", "fp32")]


def few(lab: Lab, model: str, name: str, **changes: Any) -> Path:
    """A training of three updates, in one pass each, without dropout."""
    own = {
        "encoder": lab.encoder(model, dropout=False),
        "micro_batch": FEW["batch"],
        "precision": "fp32",
    }
    return lab.train(f"precision-{model}-{name}", model, **FEW | own | changes)


def as_on_cpu(lab: Lab, model: str) -> str:
    """The device against the CPU with other threads."""
    there = few(lab, model, "cpu", device="cpu", threads=CPU_THREADS)
    return near(few(lab, model, "fp32"), there, EXACT)


def in_other_passes(lab: Lab, model: str) -> str:
    """Updates in several passes against those in one."""
    passes = few(lab, model, "passes", micro_batch=UNEVEN)
    return near_but_other(few(lab, model, "fp32"), passes, EXACT)


def near_fp32(lab: Lab, model: str, name: str) -> str:
    """Another precision against fp32."""
    if name in lab.card["lacks"]:
        raise LeftOut(lab.card["lacks"][name])
    one, other = few(lab, model, "fp32"), few(lab, model, name, precision=name)
    skipped = read_json(other / "train.json")["updates_skipped"]
    if not skipped:
        return near_but_other(one, other, ROUNDED)
    one, other = (
        few(lab, model, f"{each}-still", precision=each, learning_rate=STILL)
        for each in ("fp32", name)
    )
    found = near(one, other, ROUNDED._replace(weights=math.inf))
    return f"{plural(skipped, 'update')} skipped; without learning {found}"


def without_padding(lab: Lab, model: str) -> str:
    """Passes without padding against those with it, in the precision that the device is for."""
    padded = few(lab, model, "padded", precision="auto")
    taken = read_json(padded / "train.json")["precision"]
    if lab.device == "cuda" and taken != "bf16":
        raise LeftOut(f"on a GPU it is for bf16, and this one takes {taken}")
    unpadded = few(lab, model, "unpadded", precision="auto", unpadded=True)
    return near_but_other(padded, unpadded, EXACT if taken == "fp32" else ROUNDED)


def near_but_other(one: Path, other: Path, most: Distance) -> str:
    """How far two runs are apart, of which one has a setting that is to have an effect.

    Raises:
        Failed: further than they may be, or not at all.
    """
    if not differing(one, other):
        raise Failed("the same bytes: the setting has no effect")
    return near(one, other, most)


def near(one: Path, other: Path, most: Distance) -> str:
    """How far two runs are apart.

    Raises:
        Failed: further than they may be.
    """
    found = distance(one, other)
    if not found.within(most):
        raise Failed(f"{found}; allowed: {most.loss:g}, {most.accuracy:g} and {most.weights:g}")
    return str(found)


def memory(lab: Lab) -> Iterator[Step]:
    """An update that does not fit into memory."""
    model = lab.models[0]
    yield (
        f"passes of {model} are halved until they fit, to the same bytes",
        partial(halved, lab, model),
    )


def large_update(lab: Lab) -> dict[str, Any]:
    """The settings of a training of one update, in one pass if that fits."""
    examples = lab.sizes.large
    passes = {"micro_batch": examples, "micro_tokens": EVERY_TOKEN, "eval_batch": 8}
    return {"examples": examples, "batch": examples, "epochs": 1, **passes}


def halved(lab: Lab, model: str) -> str:
    """Train without enough memory for all of an update at once; then with the passes that fit."""
    if lab.device == "cpu" and sys.platform != "linux":
        raise LeftOut("only Linux bounds the memory of a process")
    by = BENCHMARKS / "gpu_memory.py", lab.device, str(lab.sizes.spare)
    run = lab.train(f"memory-{model}", model, by, **large_update(lab))
    if HALVED not in lab.said(run.name):
        raise Failed("memory was enough for the first pass, which was to be too large")
    tokens = read_json(run / "train.json")["micro_tokens"]
    alike(run, lab.train(f"{run.name}-2", model, **large_update(lab) | {"micro_tokens": tokens}))
    return f"down to {tokens:,} tokens"


def test(lab: Lab) -> Iterator[Step]:
    """Tests of finished trainings."""
    for model in lab.models:
        yield f"a test of {model} finds the validation again", partial(found_again, lab, model)
    model = lab.models[-1]
    yield f"a test of {model} in fp32 as on the CPU", partial(tested_on_cpu, lab, model)


def found_again(lab: Lab, model: str) -> str:
    """Test a run on the reviews that validated it."""
    run = uncompiled(lab, model)
    told, found = read_json(run / "train.json"), lab.test(f"{run.name}-again", run)
    if found["n"] != lab.sizes.valid:
        raise Failed(f"{found['n']} reviews are tested, of {lab.sizes.valid}")
    accuracies = told["valid_accuracy"], found["accuracy"]
    losses = told["valid_loss"], found["loss"]
    shown = "accuracy {}, then {}; loss {:.6f}, then {:.6f}".format(*accuracies, *losses)
    if not Distance(abs(losses[0] - losses[1]), abs(accuracies[0] - accuracies[1]), 0).within(SAME):
        raise Failed(shown)
    return shown


def uncompiled(lab: Lab, model: str) -> Path:
    """A training of which nothing is compiled, as nothing is in a test."""
    return lab.train(f"test-{model}", model, epochs=1, compile=False)


def tested_on_cpu(lab: Lab, model: str) -> str:
    """Test a run on the device and on the CPU, and compare the loss of every review."""
    run, losses = uncompiled(lab, model), []
    for name, changes in {"here": {}, "cpu": {"device": "cpu", "threads": CPU_THREADS}}.items():
        lab.test(f"{run.name}-{name}", run, precision="fp32", **changes)
        losses.append(pd.read_parquet(run / "predictions.parquet", partitioning=None)["loss"])
    apart = (losses[0] - losses[1]).abs().max()
    if not apart < REVIEW_LOSS:
        raise Failed(f"losses of a review differ by {apart:.2g}; allowed: {REVIEW_LOSS:g}")
    return f"losses of a review differ by {apart:.2g} at most"


def speed(lab: Lab) -> Iterator[Step]:
    """How fast trainings are that differ in settings."""
    for model in lab.models:
        for name, settings in VARIANTS.items():
            yield f"{model}, {name}", partial(timed, lab, model, name, settings)


def timed(lab: Lab, model: str, name: str, settings: Mapping[str, Any]) -> str:
    """Time the second of two epochs, in which everything is warm and compiled.

    Raises:
        LeftOut: the settings are not for this device, or refused by their name.
        Failed: the training does not end well.
    """
    if lab.device == "cpu" and name == COMPILED:
        raise LeftOut("it is for graphics cards")
    words, examples = name.replace(" ", "-"), enough(lab, model)
    changes = {"epochs": EPOCHS, "examples": examples, **settings}
    try:
        run = lab.train(f"speed-{model}-{words}", model, **changes)
    except Failed as reason:
        if any(f"error: {key} " in str(reason) for key in settings):
            raise LeftOut(reason) from reason
        raise
    told = read_json(run / "train.json")
    found = Speed(
        model=model,
        settings=name,
        reviews_per_second=told["examples_per_second"],
        memory=told["peak_memory_bytes"],
        micro_batch=told["micro_batch"],
        micro_tokens=told["micro_tokens"],
        precision=told["precision"],
    )
    lab.speeds.append(found)
    lab.forget(run.name)
    return str(found)


def enough(lab: Lab, model: str) -> int:
    """Reviews of a timed epoch: of two updates or more, as many as are there at most."""
    rate = read_json(first_run(lab, model) / "train.json")["examples_per_second"]
    updates = max(2, round(SECONDS * rate / lab.sizes.batch))
    return min(updates * lab.sizes.batch, lab.sizes.train)


PARTS = {  # after that of the device
    "repeat": repeat,
    "resume": resume,
    "precision": precision,
    "memory": memory,
    "test": test,
    "speed": speed,
}


def carry_out(part: str, step: Step) -> Check:
    """Do what a check asks for; whatever goes wrong is its failure, and others go on."""
    name, act = step
    started = time.monotonic()
    try:
        outcome, detail = OK, act()
    except LeftOut as reason:
        outcome, detail = LEFT_OUT, one_line(reason)
    except Failed as reason:
        outcome, detail = FAILED, one_line(reason)
    except Exception as error:
        outcome, detail = FAILED, f"unexpected {type(error).__name__}: {one_line(error)}"
    return Check(part, name, outcome, detail, time.monotonic() - started)


def check_all(lab: Lab, parts: Collection[str]) -> Iterator[Check]:
    """Check the device; if it can be used, carry out all checks of some parts."""
    yield carry_out("card", ("a product and attention run on the device", partial(runs, lab)))
    if lab.card["broken"]:
        return
    lab.prepare()
    for part in parts:
        yield from (carry_out(part, step) for step in PARTS[part](lab))


def machine(lab: Lab) -> dict[str, str]:
    """What stands above the checks."""
    return lab.card["facts"] | {
        "Driver": driver(),
        "Workflow": workflow_version(),
        "Command": shlex.join(["python", *sys.argv]),
    }


def driver() -> str:
    """The version of NVIDIA's driver, if there is one."""
    if not shutil.which("nvidia-smi"):
        return ""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    told = subprocess.run(command, capture_output=True, text=True).stdout.split()
    return told[0] if told else ""


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--out", type=Path, default="results/gpu-check", help="folder to write to")
    flags.add_argument("--device", choices=list(SIZES), help="cuda, if there is a graphics card")
    flags.add_argument("--config", type=Path, help="study that names reviews, encoders, settings")
    flags.add_argument(
        "--only",
        nargs="+",
        choices=list(PARTS),
        default=list(PARTS),
        help="parts to carry out",
    )
    return flags


def choose_one(device: str | None) -> str:
    """The device to check; of several cards, all processes see the first.

    Raises:
        UserError: there is no card, and nothing else is asked for.
    """
    cards = gpus.visible()
    if not device and not cards:
        raise UserError(
            "there is no NVIDIA card here; run this on a machine that has one, or with DEV=cpu "
            "(--device cpu) to try the check itself"
        )
    if cards and device != "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = cards[0]
    return device or "cuda"


def main(options: argparse.Namespace) -> None:
    """Carry out the checks, tell each as it ends, and write the page after each."""
    device = choose_one(options.device)
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (SCRIPTS, BENCHMARKS)))  # of all processes
    os.environ["WANDB_MODE"] = "disabled"
    client.start({name: code.modules_of(name) for name in ("train", "evaluate")})
    options.out.mkdir(parents=True, exist_ok=True)
    checks: list[Check] = []
    with tempfile.TemporaryDirectory(prefix="runs-", dir=options.out) as folder:
        lab = Lab(device, options.config, Path(folder), options.out / "logs")
        facts = machine(lab)
        for check in check_all(lab, [part for part in PARTS if part in options.only]):
            checks.append(check)
            print(check.line(), flush=True)
            write_page(options.out / "gpu-check.md", facts, checks, lab.speeds)
    print(f"{conclusion(checks)}; {options.out / 'gpu-check.md'}")
    sys.exit(exit_code(checks))


if __name__ == "__main__":
    run(main, arguments())
