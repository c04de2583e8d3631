"""The check of a graphics card: it passes where all is well, and each part finds its fault."""

import os
import subprocess
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from safetensors.numpy import save_file
from workspace import Workspace

import gpu_check
import gpu_memory
import gpu_report
import train
from gpu_check import PARTS, carry_out
from gpu_lab import Distance, Failed, Lab, LeftOut, differing, distance
from gpu_report import FAILED, LEFT_OUT, OK, Check
from lib.command.console import UserError
from lib.files.whole import write_json
from lib.study.flags import pop_settings
from lib.training import gpus

# A fault of each part: a module, what stands in it once, what is put there, and what is told of it.
FAULTS = {
    "card": ("device", "return torch.device(device)", 'raise UserError("none")', "error: none"),
    "repeat": ("batches", "default_rng([seed, epoch])", "default_rng()", "they differ"),
    "resume": (
        "loop",
        "before + len(progress.rates))",
        "before + len(progress.rates) + len(left) - len(updates))",
        "they differ in",
    ),
    "precision": (
        "loop",
        "backend.backward(part_loss)",
        "backend.backward(part_loss * len(rows) / len(part))",
        "allowed: ",
    ),
    "memory": ("loop", "backend.reseed(stream)", "pass", "they differ in"),
    "test": (
        "evaluation",
        "predict(model,",
        "predict(model.bfloat16().float(),",
        "then 0.",
    ),
    "speed": (
        "job",
        'job.settings["threads"]',
        'int(job.settings["deterministic"] or "no")',
        "invalid literal",
    ),
}


def check(folder: Path, python: str, *words: str | Path) -> subprocess.CompletedProcess:
    """Run the command of a copy of the project on the CPU."""
    return subprocess.run(
        [python, folder / "benchmarks" / "gpu_check.py", "--device", "cpu", *words],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder / "scripts")},
        capture_output=True,
        text=True,
        timeout=1800,
    )


@pytest.mark.slow
def test_all_checks_pass_on_a_cpu(python, tmp_path):
    done = check(ROOT, python, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "gpu-check.md").read_text()
    for text in (done.stdout, page):
        assert "0 failed, 3 left out" in text
    assert all(f"| {part} " in page for part in ("card", *PARTS))
    assert "| modernbert | largest passes" in page
    assert [path.name for path in tmp_path.glob("runs-*")] == []


def plant(folder: Path, python: str, part: str) -> subprocess.CompletedProcess:
    """What a part says in a copy of the project that has its fault."""
    workspace = Workspace(folder)
    module, old, new, _ = FAULTS[part]
    path = folder / "scripts" / "lib" / "training" / f"{module}.py"
    source = path.read_text()
    assert source.count(old) == 1
    path.write_text(source.replace(old, new))
    study = yaml.safe_load(workspace.read("config/config.yaml"))
    study["models"].pop("modernbert")
    study["grid"] = [{"model": ["bert"], "pooling": ["masked-mean"], "batch": [64], "seed": [1]}]
    (folder / "one.yaml").write_text(yaml.safe_dump(study))
    only = ("--only", part) if part in PARTS else ()
    return check(folder, python, "--config", "one.yaml", *only)


@pytest.fixture(scope="module")
def planted(python, tmp_path_factory, request) -> Iterator[dict[str, Future]]:
    """What the selected parts say of their faults, two of them at a time."""
    name = test_a_fault_is_found_by_its_part.__name__
    items = (item for item in request.session.items if getattr(item, "originalname", "") == name)
    parts = [item.callspec.params["part"] for item in items]
    with ThreadPoolExecutor(2) as pool:
        yield {
            part: pool.submit(plant, tmp_path_factory.mktemp(part), python, part) for part in parts
        }


@pytest.mark.slow
@pytest.mark.parametrize("part", FAULTS)
def test_a_fault_is_found_by_its_part(part, planted):
    done = planted[part].result()
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(FAILED)]
    assert lines
    for line in lines:
        assert line.startswith(f"{FAILED:8} {part}: ") and FAULTS[part][-1] in line


@pytest.fixture
def lab(tmp_path):
    """A place for trainings on a card."""
    return Lab("cuda", None, tmp_path / "data", tmp_path / "logs")


def read(words: list[str]) -> Namespace:
    """The flags of a training; an error where they are none."""
    return train.arguments().parse_args(words)


def test_a_card_trains_real_sizes_in_several_passes(lab):
    assert lab.study["models"]["bert"]["num_hidden_layers"] == 12
    options = read(lab.words("run", "bert", {}))
    assert (options.device, options.batch, options.micro_batch) == ("cuda", 256, 64)
    assert options.dropout > 0 and options.deterministic is True


def test_the_settings_of_all_trainings_are_those_of_the_schema(lab):
    for each in [*gpu_check.VARIANTS.values(), gpu_check.large_update(lab), gpu_check.FEW]:
        settings = pop_settings(read(lab.words("run", "modernbert", each)), "training")
        assert {key: settings.get(key, each[key]) for key in each} == each


def write_run(folder: Path, loss: float = 0.5, weight: float = 1.0, seconds: str = "1") -> Path:
    """A run of two weights, one in the encoder and one in the head, and one epoch."""
    (folder / "checkpoint" / "2_Dense").mkdir(parents=True)
    for name, value in {"model": weight, "2_Dense/model": 1.0}.items():
        weights = {"weight": np.array([value], dtype=np.float32)}
        save_file(weights, folder / "checkpoint" / f"{name}.safetensors")
    (folder / "history.csv").write_text(
        "train_loss,valid_loss,train_accuracy,valid_accuracy,seconds\n"
        f"0.5,{loss},0.75,0.5,{seconds}\n"
    )
    write_json(folder / "train.json", {"learning_rate": 0.01})
    return folder


def test_runs_are_alike_but_for_their_seconds(tmp_path):
    one, same = write_run(tmp_path / "one"), write_run(tmp_path / "same", seconds="2")
    assert differing(one, same) == [] and gpu_check.alike(one, same) == ""
    assert distance(one, same) == Distance(0, 0, 0)
    other = write_run(tmp_path / "other", loss=0.75, weight=1.25)
    assert differing(one, other) == ["checkpoint/model.safetensors", "history.csv"]
    with pytest.raises(Failed, match=r"model\.safetensors, history\.csv: losses differ by 0\.25"):
        gpu_check.alike(one, other)


def test_weights_are_apart_by_learning_rates(tmp_path):
    one = write_run(tmp_path / "one")
    found = distance(one, write_run(tmp_path / "other", loss=0.75, weight=1.25))
    assert found == (0.25, 0, pytest.approx(25 / 2**0.5))
    assert gpu_check.near(one, tmp_path / "other", found) == str(found)
    for less in (found._replace(loss=0.2), found._replace(weights=17)):
        with pytest.raises(Failed, match=r"allowed: 0\.2"):
            gpu_check.near(one, tmp_path / "other", less)


def test_what_is_not_a_number_is_near_nothing(tmp_path):
    one = write_run(tmp_path / "one", loss=float("nan"))
    with pytest.raises(Failed):
        gpu_check.near(one, one, Distance(1, 1, 1))


def stop(error: Exception) -> str:
    raise error


@pytest.mark.parametrize(
    ("error", "outcome", "detail"),
    [
        (Failed("they\ndiffer"), FAILED, "they differ"),
        (LeftOut("no bf16"), LEFT_OUT, "no bf16"),
        (KeyError("loss"), FAILED, "unexpected KeyError: 'loss'"),
    ],
    ids=repr,
)
def test_whatever_goes_wrong_is_told(error, outcome, detail):
    found = carry_out("repeat", ("runs", lambda: stop(error)))
    assert found[:4] == ("repeat", "runs", outcome, detail)


def test_nothing_is_trained_where_the_device_cannot_be_used(lab, monkeypatch):
    monkeypatch.setattr(lab, "run", lambda *_: stop(Failed("no kernels")))
    (found,) = gpu_check.check_all(lab, PARTS)
    assert (found.part, found.outcome, found.detail) == ("card", FAILED, "no kernels")
    assert gpu_check.machine(lab)["Device"] == "cuda"


OUTCOMES = {"passed": OK, "broken": FAILED, "left": LEFT_OUT}


@pytest.mark.parametrize(
    ("names", "told", "code"),
    [
        (["passed"], "1 check passed, 0 failed", 0),
        (["passed", "left"], "1 check passed, 0 failed, 1 left out", 0),
        (["passed", "passed", "broken"], "2 checks passed, 1 failed", 1),
        (["left"], "0 checks passed, 0 failed, 1 left out", 1),
    ],
)
def test_the_exit_code_is_that_of_the_checks(names, told, code, tmp_path):
    checks = [Check("repeat", name, OUTCOMES[name], "a | b", 1.0) for name in names]
    assert gpu_report.conclusion(checks) == told and gpu_report.exit_code(checks) == code
    gpu_report.write_page(tmp_path / "page.md", {"Device": "a | b", "Driver": ""}, checks, [])
    page = (tmp_path / "page.md").read_text()
    assert told in page and page.count("a \\| b") == 1 + len(checks) and "Driver" not in page


def test_one_card_is_checked(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(gpus, "visible", lambda: ["GPU-b", "GPU-a"])
    assert gpu_check.choose_one("cpu") == "cpu" and not os.environ["CUDA_VISIBLE_DEVICES"]
    assert gpu_check.choose_one(None) == "cuda"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-b"


def test_without_a_card_the_way_out_is_told(monkeypatch):
    monkeypatch.setattr(gpus, "visible", list)
    with pytest.raises(UserError, match="DEV=cpu"):
        gpu_check.choose_one(None)


@pytest.mark.parametrize(("total", "share"), [(24e9, 0.25), (4e9, 1.0)])
def test_a_training_on_a_card_has_so_much_memory(total, share, monkeypatch):
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: Namespace(total_memory=total)
    )
    shares: list[float] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    gpu_memory.limit_card(6_000_000_000)
    assert shares == [share]


def test_a_command_that_fails_is_told_by_its_last_line(lab, tmp_path):
    script = tmp_path / "fails.py"
    script.write_text("import sys; print('first'); sys.exit('error: it is broken')")
    with pytest.raises(Failed, match=r"^error: it is broken \(exit code 1, .*fails\.log\)$"):
        lab.run("fails", [script])


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("train.py: error: compile needs Triton; install that, or set it to false", LeftOut),
        ("train.py: error: out of memory; lower eval_batch", Failed),
    ],
)
def test_a_setting_that_is_refused_by_its_name_is_left_out(line, outcome, lab, monkeypatch):
    monkeypatch.setattr(gpu_check, "enough", lambda *_: 512)
    monkeypatch.setattr(lab, "train", lambda *names, **changes: stop(Failed(line)))
    with pytest.raises(outcome, match=line):
        gpu_check.timed(lab, "bert", "compiled", {"compile": True})


@pytest.mark.parametrize(("precision", "outcome"), [("fp32", LeftOut), ("bf16", Failed)])
def test_unpadded_passes_fail_on_a_card_that_is_to_have_them(
    precision, outcome, lab, tmp_path, monkeypatch
):
    def train(name: str, model: str, **changes) -> Path:
        if changes.get("unpadded"):
            raise Failed("error: unpadded is true, but")
        write_json(tmp_path / "train.json", {"precision": precision})
        return tmp_path

    monkeypatch.setattr(lab, "train", train)
    with pytest.raises(outcome):
        gpu_check.without_padding(lab, "bert")


@pytest.mark.parametrize(("rate", "reviews"), [(10, 512), (300, 1536), (9000, 8192)])
def test_a_timed_epoch_is_long_enough_on_every_card(rate, reviews, lab, tmp_path, monkeypatch):
    write_json(tmp_path / "train.json", {"examples_per_second": rate})
    monkeypatch.setattr(lab, "train", lambda *names, **changes: tmp_path)
    assert gpu_check.enough(lab, "bert") == reviews


def test_a_command_is_asked_to_end_before_it_is_killed(lab, tmp_path):
    end, script = tmp_path / "end", tmp_path / "waits.py"
    script.write_text(
        "import signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (open('{end}', 'w'), sys.exit()))\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    with pytest.raises(KeyboardInterrupt), lab.started("waits", [script]):
        while "ready" not in lab.said("waits"):
            pass
        raise KeyboardInterrupt
    assert end.exists()
