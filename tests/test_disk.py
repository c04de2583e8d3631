"""Disks that are full, or that can't be written: one line, nothing half-written, then done."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from chain import CHAIN, DATASET, ENCODER, RUN, TOKENS, run_step
from conftest import ROOT, call
from refusals import is_one_line, refusal, tree

import encoder

PAGE = 4096  # bytes, of which a tmpfs gives whole ones
# What each command writes first, and last.
WRITES = {
    "download": (f"{DATASET}/reviews.parquet", f"{DATASET}/reviews.json"),
    "split": (f"{DATASET}/splits/train.parquet", f"{DATASET}/splits.json"),
    "encoder": (ENCODER, f"{ENCODER}/source.json"),
    "pretokenize": (f"{TOKENS}/train.parquet", f"{TOKENS}/tokens.json"),
    "train": (f"{RUN}/checkpoint", f"{RUN}/train.json"),
    "evaluate": tuple(
        f"{RUN}/{name}" for name in ("predictions.parquet", "probabilities.parquet", "test.json")
    ),
    "collect": ("results/tables/runs.csv", "results/tables/histories.parquet"),
    "analyse": ("results/tables/measures.csv", "results/tables/conditions.parquet"),
    "draw": ("results/figures/learning_curves.svg", "results/figures/learning_curves.html"),
    "summary": ("results/summary.md", "results/summary.md"),
}


@pytest.fixture
def disk(whole, tmp_path, monkeypatch) -> Path:
    """The folder `results` of the smallest study, as a disk of its own."""
    size = sum(path.stat().st_size + 2 * PAGE for path in whole.rglob("*"))
    folder = tmp_path / "results"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={2 * size}", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only an administrator may mount a disk")
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def forget(step: str) -> int:
    """Remove what a command has written; returns how many bytes that were."""
    written = [Path(path) for path in WRITES[step]]
    files = [file for path in written for file in (path, *path.rglob("*")) if file.is_file()]
    size = sum(file.stat().st_size for file in set(files))
    for path in written:
        for each in (path, path.parent / f".{path.name}.sha256"):
            shutil.rmtree(each) if each.is_dir() else each.unlink(missing_ok=True)
    return size


def fill(disk: Path, left: int) -> Path:
    """Fill a disk with a file, but for some bytes."""
    file = disk / "filling"
    free = shutil.disk_usage(disk).free
    file.write_bytes(bytes(max(0, free - left)))
    return file


@pytest.mark.parametrize("step", WRITES)
@pytest.mark.parametrize("share", [0, 0.5], ids=["full", "half"])
def test_a_full_disk_is_one_line_and_the_next_time_is_well(disk, capfd, step, share):
    needed = forget(step)
    filling = fill(disk, int(share * needed))
    before = tree(disk)
    line = refusal(CHAIN[step], capfd)
    assert is_one_line(line), line
    assert "can't be written: no space left on device; free some space, then run this again" in line
    assert "results/" in line
    assert share or tree(disk) == before
    assert not [path for path in tree(disk) if path.name.endswith(".tmp")]
    filling.unlink()
    run_step(step)
    assert all(Path(path).exists() for path in WRITES[step])


def run(python, line: str, **environment) -> subprocess.CompletedProcess:
    """Run a command of scripts/, or Snakemake, in a process of its own."""
    script, *words = line.split()
    start = ["-m", "snakemake"] if script == "snakemake" else [ROOT / "scripts" / script]
    return subprocess.run(
        [python, *start, *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def new_encoder(disk) -> str:
    """The line of a command that writes by tokenizers and transformers."""
    shutil.rmtree(ENCODER)
    flags = f"--architecture bert --vocab-size 600 --reviews {DATASET}/splits/train.parquet"
    return f"encoder.py scratch {flags} --out {ENCODER}"


@pytest.mark.parametrize("left", [0, 3 * PAGE])
def test_a_full_disk_for_a_new_encoder_is_one_line(disk, capfd, new_encoder, left):
    filling = fill(disk, left)
    line = refusal(new_encoder, capfd)
    assert is_one_line(line) and f"'{ENCODER}' can't be written: no space left" in line
    assert not Path(ENCODER).exists() and not list(Path(ENCODER).parent.glob(".*tmp"))
    filling.unlink()
    call(encoder, new_encoder.removeprefix("encoder.py "))
    assert Path(ENCODER, "tokenizer.json").is_file()


def test_a_full_disk_for_shingles_is_one_line(disk, capfd):
    forget("download")
    fill(disk, 0)
    line = refusal(CHAIN["download"].replace("--near-duplicates 1", ""), capfd)
    assert is_one_line(line) and "can't be written: no space left on device" in line


def test_a_log_on_a_full_disk_leaves_its_last_line_to_the_terminal(python, disk):
    forget("collect")
    fill(disk, 0)
    done = run(python, f"{CHAIN['collect']} --log results/collect.log")
    assert done.returncode == 1 and is_one_line(done.stderr)
    assert "'results/tables/runs.csv' can't be written: no space left on device" in done.stderr


@pytest.mark.slow
def test_a_full_disk_for_tracking_is_one_warning(python, disk, tmp_path):
    fill(disk, 0)
    line = CHAIN["train"].replace("--run results", "--run elsewhere")
    done = run(python, line, WANDB_MODE="offline", WANDB_DIR=str(disk))
    assert done.returncode == 0 and "Traceback" not in done.stderr
    warnings = [line for line in done.stderr.splitlines() if "tracking failed" in line]
    assert len(warnings) == 1 and "No space left on device" in warnings[0]
    assert (tmp_path / RUN.replace("results", "elsewhere") / "train.json").is_file()


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_snakemake_says_so_in_one_line_before_any_job(python, disk, fault):
    shutil.copy(ROOT / "tests" / "config.yaml", "study.yaml")
    if fault == "full":
        fill(disk, 0)
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    flags = "--quiet all --cores 1 --configfile=study.yaml"
    target = "results/datasets/imdb-25k/reviews.parquet"
    done = run(python, f"snakemake {flags} --snakefile {ROOT}/Snakefile {target}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "Using workflow" not in line)
    assert line.startswith("error: 'results/.study' can't be written: ")
    assert not Path("results/.study").exists()


@pytest.mark.parametrize("step", WRITES)
def test_a_disk_that_is_read_only_is_one_line(disk, capfd, step):
    forget(step)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    line = refusal(CHAIN[step], capfd)
    assert is_one_line(line), line
    assert "can't be written: read-only file system; make it writable, or write elsewhere" in line
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    run_step(step)
    assert all(Path(path).exists() for path in WRITES[step])
