"""Each command by itself: --help, errors in one line, nothing half-written."""

import json
import os
import re
import subprocess

import pandas as pd
import pytest
import torch
from conftest import ROOT, call
from transformers import AutoTokenizer, BertConfig, BertModel, DistilBertConfig, DistilBertModel

import collect
import draw
import encoder
import pretokenize
import train
from lib.command.console import progress
from lib.data.encoders import load_tokenizer
from lib.files.manifests import sha256
from lib.files.whole import replacing, write_json

COMMANDS = sorted(path.name for path in (ROOT / "scripts").glob("*.py"))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_flag(command):
    module = __import__(command.removesuffix(".py"))
    parsers = [module.arguments()]
    for action in parsers[0]._actions:
        parsers += list(action.choices.values()) if hasattr(action, "_name_parser_map") else []
    for parser in parsers:
        assert [action.dest for action in parser._actions if not action.help] in ([], ["source"])
        assert parser.format_help().startswith("usage: ")


def test_help_is_quick_and_imports_nothing_heavy(python):
    code = (
        "import runpy, sys, time\n"
        f"for command in {COMMANDS}:\n"
        "    sys.argv = [command, '--help']\n"
        "    try: runpy.run_path('scripts/' + command, run_name='__main__')\n"
        "    except SystemExit as end: assert not end.code, command\n"
        "    heavy = {'torch', 'pandas', 'numpy', 'transformers'} & set(sys.modules)\n"
        "    assert not heavy, (command, heavy)\n"
        "print(time.process_time(), file=sys.stderr)"
    )
    environment = {"PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run(
        [python, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stderr) < 0.05 * len(COMMANDS) + 0.5  # seconds of this process, for all


def test_an_error_is_one_line_with_exit_code_1(python, tmp_path):
    failed = subprocess.run(
        f"{python} scripts/download.py files --paths nowhere.csv --out {tmp_path}/out".split(),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert failed.returncode == 1
    assert failed.stderr == "download.py: error: 'nowhere.csv' is not a file; check its path\n"
    assert not (tmp_path / "out").exists()


def test_a_wrong_flag_is_one_line_with_exit_code_2(python):
    failed = subprocess.run(
        f"{python} scripts/train.py --tokens t --encoder e --run r --dataset d --model m "
        "--pooling cls --batch 0 --seed 1".split(),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert failed.returncode == 2
    message = "train.py: error: argument --batch: '0' is not a whole number from 1 to 2147483647\n"
    assert failed.stderr == message


@pytest.fixture
def folder(encoders, tmp_path):
    """A BERT as save_pretrained writes it, with what other tools may add."""
    folder = tmp_path / "mine"
    config = BertConfig.from_pretrained(encoders["bert"])
    BertModel(config).save_pretrained(folder)
    load_tokenizer(encoders["bert"]).save_pretrained(folder)
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "modeling_mine.py").write_text("raise SystemExit")
    return folder


def test_a_folder_is_copied_without_pickles_and_code(folder, tmp_path):
    call(encoder, f"folder --path {folder} --out {tmp_path}/out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    kept = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert names == kept | {"source.json", "probe.json"}
    source = json.loads((tmp_path / "out/source.json").read_text())
    assert source == {
        "source": "folder",
        "path": str(folder),
        "sha256": {name: sha256(folder / name) for name in sorted(kept)},
    }


def test_a_diverged_run_is_drawn_and_collected(tmp_path):
    run = tmp_path / "dataset=d/model=m/pooling=cls/batch=8/variant=base/seed=1"
    run.mkdir(parents=True)
    pd.DataFrame(
        {
            "epoch": [1, 2],
            "train_loss": [0.7, float("nan")],
            "train_accuracy": [0.5, 0.5],
            "valid_loss": [0.7, float("inf")],
            "valid_accuracy": [0.5, 0.5],
        }
    ).to_csv(run / "history.csv", index=False)
    keys = {"dataset": "d", "model": "m", "pooling": "cls", "batch": 8, "variant": "b", "seed": 1}
    measured = {"valid_loss": float("nan"), "best_epoch": 1, "learned": False}
    measured["settings"] = {"examples": "all", "max_length": 8, "truncation": "auto"}
    write_json(run / "train.json", keys | measured)
    write_json(run / "test.json", keys | {"accuracy": 0.5, "loss": float("inf")})
    assert json.loads((run / "test.json").read_text())["loss"] is None
    call(collect, f"--runs {run} --logs {tmp_path}/logs --out {tmp_path}")
    table = pd.read_csv(tmp_path / "runs.csv")
    assert table["accuracy"][0] == 0.5 and table[["loss", "valid_loss"]].isna().all(axis=None)
    call(draw, f"--tables {tmp_path}/histories.parquet --out {tmp_path}")
    assert (tmp_path / "learning_curves.svg").read_text().startswith("<svg")


def test_a_third_family_trains_without_a_change(encoders, splits, tmp_path, monkeypatch):
    tokenizer = AutoTokenizer.from_pretrained(encoders["bert"])
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    config = DistilBertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **sizes)
    DistilBertModel(config).save_pretrained(tmp_path / "distilbert")
    tokenizer.save_pretrained(tmp_path / "distilbert")
    tokens, out = tmp_path / "tokens", tmp_path / "run"
    call(pretokenize, f"--splits {splits} --encoder {tmp_path}/distilbert --out {tokens}")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    call(
        train,
        f"--tokens {tokens} --encoder {tmp_path}/distilbert --run {out} "
        "--dataset d --model distilbert --pooling masked-mean --batch 32 --seed 1 --epochs 1 "
        "--max-length 32 --device cpu",
    )
    assert json.loads((out / "train.json").read_text())["updates"] == 4


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_replacing_keeps_the_old_and_removes_the_unfinished(tmp_path, kind):
    def write(path, content):
        if kind == "folder":
            path.mkdir()
            path = path / "inside"
        path.write_text(content)

    def read():
        path = tmp_path / "x"
        return (path / "inside" if kind == "folder" else path).read_text()

    with replacing(tmp_path / "x") as path:
        write(path, "old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "x") as path:
        write(path, "half")
        raise RuntimeError
    assert read() == "old"
    with replacing(tmp_path / "x") as path:
        write(path, "new")
    assert read() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"x", ".x.sha256"}


def test_a_stopped_command_leaves_nothing(python, tmp_path):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from lib.command.cli import Parser, run; from lib.files.whole import replacing\n"
        "def main(options):\n"
        "    with replacing(Path('out')) as path:\n"
        "        path.write_text('half')\n"
        "        print('started', flush=True); time.sleep(600)\n"
        "sys.argv = ['x']; run(main, Parser())"
    )
    process = subprocess.Popen(
        [python, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "scripts")},
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"started\n"
    assert len(list(tmp_path.iterdir())) == 1
    process.terminate()
    assert process.wait() == 143
    process.stdout.close()
    assert not list(tmp_path.iterdir())


BROKEN = """
import sys
sys.path.insert(0, {scripts!r})
from lib.command.cli import Parser, run
from lib.training.launch import launched

def main(options):
    if not launched("cpu", options.processes):
        raise KeyError("what nobody\\nexpected")

flags = Parser()
flags.add_argument("--processes", type=int, default=1)
run(main, flags)
"""
FORKED = """
import subprocess, sys
from lib.forks import client
client.start({})
sys.exit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)
"""


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("log", [[], ["--log", "the.log"]], ids=["terminal", "log"])
@pytest.mark.parametrize("forked", [[], ["-c", FORKED]], ids=["itself", "fork"])
def test_an_unexpected_error_is_one_line_and_its_traceback_is_kept(
    python, tmp_path, processes, log, forked
):
    (tmp_path / "broken.py").write_text(BROKEN.format(scripts=str(ROOT / "scripts")))
    done = subprocess.run(
        [python, *forked, "broken.py", "--processes", str(processes), *log],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts"), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    said = (tmp_path / "the.log").read_text() if log else done.stderr
    line = (
        r"broken.py: error: unexpected KeyError: 'what nobody\\nexpected'; its traceback is in (.*)"
    )
    places = re.findall(f"^{line}$", said, re.MULTILINE)
    assert 1 <= len(places) <= processes  # the first that fails ends the others
    assert bool(done.stderr) is not bool(log)
    for place in places:
        assert "Traceback (most recent call last)" in (tmp_path / place).read_text()


def test_an_unexpected_error_without_a_place_for_its_traceback_is_one_line(python, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN.format(scripts=str(ROOT / "scripts")))
    code = (
        "import runpy, tempfile; tempfile.tempdir = '/nowhere'; "
        "runpy.run_path('broken.py', run_name='__main__')"
    )
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.endswith("no temporary one can be written; name one with --log\n")


def test_progress_is_lines_in_a_log(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr("lib.command.console.PROGRESS_SECONDS", 0)
    assert list(progress(iter("abc"), 3, "epoch 1", "update")) == ["a", "b", "c"]
    assert caplog.messages[-1] == "epoch 1: 2 of 3 updates"


def test_conda_files_pin_what_the_lock_pins():
    lock = set((ROOT / "envs" / "requirements.txt").read_text().split())
    for path in (ROOT / "envs").glob("*.yaml"):
        pins = [line.removeprefix("      - ") for line in path.read_text().splitlines()]
        pins = {pin for pin in pins if "==" in pin}
        assert pins and pins <= lock
