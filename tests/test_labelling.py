"""Labels of the texts of whole files, as predict.py writes them."""

import bz2
import gzip
import json
import os
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CUT, ROOT, call, make_run, wait_until
from kinds import change, make
from refusals import is_one_line, refusal
from test_predict import predict_here

import predict
from lib.command.console import UserError
from lib.files.predictions import read_predictions
from lib.training import labelling, saving
from lib.training.checkpoints import load_checkpoint, new_classifier, save_checkpoint
from lib.training.inference import TextClassifier
from lib.training.labelling import Parts

NAMES = ["so, so", 'the "best"', "label"]
COLUMNS = ["row", "text", "label", "confidence", *(f"probability_{name}" for name in NAMES)]
HARD = ['"Wow", he said', "two\nlines, with\r\nboth ends", "a\ttab", "\\", "映画 é", "null"]
TEXTS = [*HARD, *(f"{'Good film. ' * (n % 5)} Number {n}" for n in range(34))]
READ = {
    "csv": lambda path: pd.read_csv(path, keep_default_na=False, na_values={"label": [""]}),
    "parquet": pd.read_parquet,
    "jsonl": lambda path: pd.DataFrame(map(json.loads, path.read_text().split("\n")[:-1])),
}
READ["ndjson"] = READ["jsonl"]


def classifier(encoder, folder, names=NAMES):
    """A checkpoint of random weights, which tells classes apart."""
    torch.manual_seed(2)
    model = new_classifier(encoder, "masked-mean", len(names), 0.1, names)
    torch.nn.init.normal_(model.head.weight, std=4.0)
    model.temperature = 1.6
    save_checkpoint(model, encoder, folder, CUT)
    return folder


@pytest.fixture(scope="module")
def checkpoint(encoders, tmp_path_factory):
    return classifier(encoders["bert"], tmp_path_factory.mktemp("c") / "checkpoint")


@pytest.fixture(scope="module")
def expected(checkpoint):
    """The probabilities of the classes of `TEXTS`."""
    found = TextClassifier(checkpoint, "cpu").probabilities(TEXTS)
    assert found.idxmax(axis=1).nunique() > 1
    return found


@pytest.fixture
def source(tmp_path):
    """A table of `TEXTS`, in the column `review`."""
    pd.DataFrame({"review": TEXTS, "n": range(len(TEXTS))}).to_parquet(tmp_path / "in.parquet")
    return tmp_path / "in.parquet"


@pytest.fixture
def parted(monkeypatch):
    """Parts of four texts, ten of all; notes the numbers of those that are labelled."""
    found = []

    def chances(classify, texts, first, **settings):
        found.append(first // 4)
        return compute(classify, texts, first, **settings)

    compute = labelling.chances
    monkeypatch.setattr(labelling, "PART", 4)
    monkeypatch.setattr(labelling, "chances", chances)
    return found


def label(checkpoint, source, out, flags=""):
    flags = f"--text-column review --device cpu --threads 1 {flags}"
    call(predict, f"{checkpoint} --file {source} --out {out} {flags}")


def same(table, expected):
    """Whether a table that was written has the texts, and labels by their probabilities."""
    assert table.columns.tolist() == COLUMNS and table["row"].tolist() == list(range(len(TEXTS)))
    assert table["text"].tolist() == TEXTS
    assert table["label"].tolist() == expected.idxmax(axis=1).tolist()
    chances = table[COLUMNS[4:]].to_numpy()
    np.testing.assert_allclose(chances, expected.to_numpy(), atol=1e-6)
    assert table["confidence"].tolist() == chances.max(axis=1).tolist()
    return True


def write_csv(path, **form):
    pd.DataFrame({"n": 1, "review": TEXTS}).to_csv(path, index=False, **form)


def write_lines(path):
    path.write_text("".join(f"{json.dumps({'review': text})}\n" for text in TEXTS))


@pytest.mark.parametrize("kind", ["in.csv", "in.tsv", "in.CSV.gz", "in.jsonl", "in.ndjson.bz2"])
def test_a_table_is_read_by_its_name(checkpoint, expected, tmp_path, kind):
    plain = tmp_path / "plain"
    if "json" in kind:
        write_lines(plain)
    else:
        write_csv(plain, sep="\t" if "tsv" in kind else ",")
    pack = {"gz": gzip.compress, "z2": bz2.compress}.get(kind[-2:], bytes)
    (tmp_path / kind).write_bytes(pack(plain.read_bytes()))
    label(checkpoint, tmp_path / kind, tmp_path / "out.parquet")
    assert same(pd.read_parquet(tmp_path / "out.parquet"), expected)


def test_the_quote_and_the_escape_of_a_table_may_be_named(checkpoint, expected, tmp_path):
    write_csv(tmp_path / "in.csv", quotechar="'", escapechar="^", doublequote=False)
    label(checkpoint, tmp_path / "in.csv", tmp_path / "out.parquet", "--quote ' --escape ^")
    assert same(pd.read_parquet(tmp_path / "out.parquet"), expected)


@pytest.mark.parametrize("kind", READ)
def test_a_table_is_written_by_its_name(
    checkpoint, expected, source, tmp_path, kind, caplog, monkeypatch
):
    caplog.set_level("INFO")
    monkeypatch.setattr("lib.command.console.PROGRESS_SECONDS", 0)
    out = tmp_path / f"new/out.{kind}"
    label(checkpoint, source, out)
    assert same(READ[kind](out), expected)
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert "labelling: 39 of 40 texts" in caplog.messages
    assert f"{out}: 40 texts; 40 of them labelled now, in " in caplog.messages[-1]


def test_lines_of_a_file_are_written_as_a_table(checkpoint, expected, tmp_path):
    lines = [" ".join(text.split()) for text in TEXTS]
    (tmp_path / "in.txt").write_text("\n".join(lines))
    call(predict, f"{checkpoint} --file {tmp_path}/in.txt --out {tmp_path}/x.csv --device cpu")
    found = READ["csv"](tmp_path / "x.csv")
    assert found["text"].tolist() == lines
    assert found["label"].tolist() == expected.idxmax(axis=1).tolist()


def test_lines_tell_probabilities_where_asked(checkpoint, expected, source, capsys, monkeypatch):
    flags = [checkpoint, "--file", source, "--text-column", "review", "--device", "cpu"]
    plain = predict_here(capsys, monkeypatch, flags)
    assert [list(line) for line in plain] == [["label", "confidence"]] * len(TEXTS)
    told = predict_here(capsys, monkeypatch, [*flags, "--probabilities"])
    for line, more, (_, row) in zip(plain, told, expected.iterrows(), strict=True):
        assert list(more) == ["label", "confidence", "probabilities"]
        assert more["probabilities"] == pytest.approx(row.to_dict(), abs=1e-6)
        assert line["label"] == row.idxmax() and line == {key: more[key] for key in line}


GAPS = [None, "a film", "", " \n", "\u200b", "another one"]


@pytest.mark.parametrize("tokenizer", ["right", "bytes without special tokens"])
def test_rows_without_a_text_stay_and_have_no_label(
    encoders, tmp_path, tokenizer, capsys, monkeypatch, caplog
):
    checkpoint = classifier(make(tokenizer, encoders, tmp_path / "e"), tmp_path / "checkpoint")
    source, texts = tmp_path / "in.jsonl", GAPS if tokenizer == "right" else [*GAPS[:4], *GAPS[5:]]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    there = [str(text).startswith("a") for text in texts]
    rows = TextClassifier(checkpoint, "cpu").probabilities([t for t in texts if t and t[0] == "a"])
    for kind, read in READ.items():
        out = tmp_path / f"out.{kind}"
        call(predict, f"{checkpoint} --file {source} --out {out} --device cpu")
        found = read(out)
        assert len(found) == len(texts) and found["label"].notna().tolist() == there
        assert caplog.messages[-1].startswith(f"{there.count(False)} texts have no label: missing")
        known = found[there]
        assert known["label"].tolist() == rows.idxmax(axis=1).tolist()
        np.testing.assert_allclose(known[COLUMNS[4:]].to_numpy(float), rows, atol=1e-6)
        empty = found[COLUMNS[2:]][~np.array(there)]
        assert empty.isin(["", None, np.nan]).all(axis=None)
    found = pd.read_parquet(out.with_suffix(".parquet"))
    assert [None if pd.isna(text) else text for text in found["text"]] == texts
    flags = [checkpoint, "--file", source, "--probabilities", "--device", "cpu"]
    lines = predict_here(capsys, monkeypatch, flags)
    nothing = {"label": None, "confidence": None, "probabilities": None}
    assert [line == nothing for line in lines] == [not each for each in there]


def test_a_table_without_any_text_has_its_rows(checkpoint, tmp_path):
    pd.DataFrame({"review": [None, None]}).to_parquet(tmp_path / "in.parquet")
    pd.DataFrame({"review": [""][:0]}).to_parquet(tmp_path / "none.parquet")
    for name, count in (("in", 2), ("none", 0)):
        label(checkpoint, tmp_path / f"{name}.parquet", tmp_path / "out.parquet")
        found = pd.read_parquet(tmp_path / "out.parquet")
        assert found.columns.tolist() == COLUMNS and len(found) == count
        assert found[COLUMNS[1:]].isna().all(axis=None)


def test_an_error_tells_the_row_behind_such_texts(encoders, tmp_path, monkeypatch):
    monkeypatch.setattr(labelling, "PART", 2)
    encoder = make("right", encoders, tmp_path / "e")
    told = json.loads((encoder / "tokenizer.json").read_text())
    change(encoder, "tokenizer.json", model=told["model"] | {"unk_token": "[NOTHING]"})
    checkpoint = classifier(encoder, tmp_path / "checkpoint")
    pd.DataFrame({"review": ["a film", None, None, "映"]}).to_parquet(tmp_path / "in.parquet")
    (tmp_path / "in").write_text("a film\nanother\none more\n映\n")
    for name, column in (("in.parquet", "review"), ("in", "text")):
        flags = f"--file {tmp_path}/{name} --text-column {column} --out {tmp_path}/out.csv"
        with pytest.raises(UserError, match="text 3 can't become tokens"):
            call(predict, f"{checkpoint} {flags} --device cpu")


def test_no_number_is_written_that_is_not_finite(checkpoint, source, tmp_path, capsys, monkeypatch):
    model = load_checkpoint(checkpoint)
    torch.nn.init.constant_(model.head.weight, float("nan"))
    save_checkpoint(model, checkpoint, tmp_path / "nan", CUT)
    label(tmp_path / "nan", source, tmp_path / "out.jsonl")
    found = READ["jsonl"](tmp_path / "out.jsonl")
    assert found["text"].tolist() == TEXTS and found[COLUMNS[2:]].isna().all(axis=None)
    lines = predict_here(capsys, monkeypatch, [tmp_path / "nan", "--text", "x", "--device", "cpu"])
    assert lines == [{"label": None, "confidence": None}]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            "--file {source} --out {folder}/x.xlsx",
            "of an unknown kind; known are .csv, .jsonl, .nd",
        ),
        ("--file {source} --out {folder}/x", "of an unknown kind; known are .csv"),
        ("--file {source} --out {folder}/x.csv.gz", "of an unknown kind; known are .csv"),
        ("--text good --out {folder}/x.csv", "--out asks for --file, from which it can go on"),
        ("--file /dev/stdin --out {folder}/x.csv", "'/dev/stdin' is not a file; check its path"),
        ("--file {folder}/no.csv --out {folder}/x.csv", "no.csv' is not a file; check its path"),
        ("--file {source} --out {folder}/a.csv", "a.csv' is a folder; name a file"),
        ("--file {source} --out {source}", "holds the texts themselves; write to another file"),
        ("--file {source} --out {folder}/x.csv", "has no column 'text'; it has: review, n"),
        ("--file {source} --text-column n", "column 'n' of .* holds 0 (row 0); allowed: text"),
        ("--file {source} --text-column n --out {folder}/x.csv", "holds 0 (row 0); allowed: text"),
        (
            "--file {folder}/in --text-column n",
            "--text-column is 'n', but '{folder}/in' has no col",
        ),
        ("--file {source} --quote ab", "'quote' is 'ab'; allowed: one character"),
    ],
)
def test_what_can_not_be_done_is_refused_in_one_line(
    checkpoint, source, tmp_path, capfd, monkeypatch, flags, message
):
    monkeypatch.setattr(TextClassifier, "tokens", None)  # so that nothing can be computed
    (tmp_path / "in").write_text("good\n")
    (tmp_path / "a.csv").mkdir()
    before = sorted(tmp_path.rglob("*"))
    names = {"source": source, "folder": tmp_path}
    said = refusal(f"predict.py {checkpoint} --device cpu {flags.format(**names)}", capfd)
    expected = message.format(**names).split(".*")
    assert is_one_line(said) and all(part in said for part in expected), said
    assert sorted(tmp_path.rglob("*")) == before


def test_classes_of_one_name_are_refused_where_columns_are_named_so(
    checkpoint, source, tmp_path, capsys, monkeypatch
):
    twice = shutil.copytree(checkpoint, tmp_path / "twice")
    change(twice, "config.json", id2label={"0": "a", "1": "b", "2": "a"}, label2id={"a": 2, "b": 1})
    for flags in (
        f"--file {source} --text-column review --out {tmp_path}/x.csv",
        "--probabilities",
    ):
        with pytest.raises(UserError, match=r"twice' has two classes 'a', .*; rename one"):
            predict_here(capsys, monkeypatch, [twice, "--device", "cpu", *flags.split()], "film")
    (line,) = predict_here(capsys, monkeypatch, [twice, "--device", "cpu"], "film")
    assert line["label"] in "ab"


class Interrupted(Exception):
    """The end of a process, as far as it can be seen from outside."""


def interrupt(monkeypatch, kept: int) -> None:
    """Let a command end when it has kept so many parts."""

    def write(parts, number, rows):
        if number == kept:
            raise Interrupted
        return keep(parts, number, rows)

    keep = Parts.write
    monkeypatch.setattr(Parts, "write", write)


@pytest.mark.parametrize("kind", READ)
def test_an_interruption_changes_no_byte(checkpoint, source, tmp_path, parted, kind, monkeypatch):
    out, other = tmp_path / f"out.{kind}", tmp_path / f"undisturbed.{kind}"
    label(checkpoint, source, other)
    assert READ[kind](other)["row"].tolist() == list(range(len(TEXTS)))
    for kept in (0, 3, 9):
        with pytest.raises(Interrupted), monkeypatch.context() as patch:
            interrupt(patch, kept)
            label(checkpoint, source, out)
        assert not out.exists()
    parted.clear()
    label(checkpoint, source, out, "--batch 16")  # as lack of memory may ask for
    assert parted == [9]
    assert out.read_bytes() == other.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"in.parquet", out.name, other.name}


def test_what_is_there_stays_until_the_new_output_is_whole(
    checkpoint, source, tmp_path, parted, monkeypatch
):
    def read(parts, schema):
        yield from all_of(parts, schema)
        raise Interrupted

    all_of = Parts.read
    for kind in READ:
        out = tmp_path / f"out.{kind}"
        out.write_text("old")
        with pytest.raises(Interrupted), monkeypatch.context() as patch:
            patch.setattr(Parts, "read", read)
            label(checkpoint, source, out)
        assert out.read_text() == "old"
        parted.clear()
        label(checkpoint, source, out)
        assert len(READ[kind](out)) == len(TEXTS) and not parted


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("texts", "they are of other texts"),
        ("column", "they are of other form.text_column"),
        ("weights", "they are of other checkpoint"),
        ("damage", "some are damaged"),
        ("nothing", ""),
    ],
)
def test_parts_of_something_else_are_not_used(
    checkpoint, tmp_path, parted, monkeypatch, caplog, change, reason
):
    own = shutil.copytree(checkpoint, tmp_path / "own")
    table = pd.DataFrame({"review": TEXTS, "text": TEXTS[::-1]})
    source, out, flags = tmp_path / "in.parquet", tmp_path / "out.parquet", ""
    table.to_parquet(source)
    with pytest.raises(Interrupted), monkeypatch.context() as patch:
        interrupt(patch, 8)
        label(own, source, out)
    if change == "texts":
        table.iloc[::-1].to_parquet(source)
    elif change == "column":
        flags = "--text-column text"
    elif change == "weights":
        shutil.rmtree(own)
        model = load_checkpoint(checkpoint)
        torch.nn.init.normal_(model.head.weight)
        save_checkpoint(model, checkpoint, own, CUT)
    elif change == "damage":
        (part,) = tmp_path.glob(".*.parts/*5.parquet")
        content = part.read_bytes()
        part.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    parted.clear()
    label(own, source, out, flags)
    anew = {"damage": [5, 8, 9], "nothing": [8, 9]}
    assert parted == anew.get(change, list(range(10)))
    warnings = [each.message for each in caplog.records if each.levelname == "WARNING"]
    folder = tmp_path / ".out.parquet.parts"
    assert warnings == [f"parts in '{folder}' are made anew: {reason}"][: bool(reason)]
    label(own, source, tmp_path / "fresh.parquet", flags)
    assert out.read_bytes() == (tmp_path / "fresh.parquet").read_bytes()


WAITING = """
import runpy, sys, time
from lib.training import labelling
from lib.training.labelling import Parts

def write(parts, number, rows):
    keep(parts, number, rows)
    if number == 5:
        time.sleep(600)

keep, Parts.write, labelling.PART = Parts.write, write, 4
sys.argv[0] = "predict.py"
runpy.run_path("scripts/predict.py", run_name="__main__")
"""


def test_a_process_keeps_others_away_and_leaves_whole_parts_when_it_is_killed(
    python, checkpoint, expected, source, tmp_path, parted, monkeypatch
):
    out, parts = tmp_path / "out.parquet", tmp_path / ".out.parquet.parts"
    words = f"{checkpoint} --file {source} --out {out} --text-column review --device cpu"
    process = subprocess.Popen(
        [python, "-c", WAITING, *words.split()],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: (parts / "00000005.parquet").exists() or process.poll() is not None)
    monkeypatch.setattr(saving, "PATIENCE", 0)
    with pytest.raises(UserError, match=f"is being written by process {process.pid} on .*; wait"):
        label(checkpoint, source, out)
    process.kill()
    process.wait()
    assert {path.name for path in tmp_path.iterdir()} == {source.name, parts.name}
    label(checkpoint, source, out)
    assert parted == [6, 7, 8, 9]
    assert same(pd.read_parquet(out), expected)
    assert not parts.exists()


@pytest.mark.parametrize(
    ("pooling", "model"),
    [
        *(("cls", "bert"), ("padded-mean", "modernbert"), ("masked-mean", "modernbert")),
        *(("max", "bert"), ("pooler", "bert"), ("head", "bert")),
    ],
)
def test_labels_of_the_test_split_are_its_predictions(
    splits, encoders, tokens, tmp_path, pooling, model
):
    flags = f"--pooling {pooling} --batch 20 --epochs 2 --max-length 48 --learning-rate 1e-3"
    flags += " --labels negative positive"
    make_run(tmp_path / "run", tokens[model], encoders[model], flags)
    out = tmp_path / "out.parquet"
    call(predict, f"{tmp_path}/run --file {splits}/test.parquet --out {out} --device cpu")
    ids = pd.read_parquet(splits / "test.parquet")["id"]
    found = pd.read_parquet(out)
    tested = read_predictions(tmp_path / "run").loc[ids]
    assert found["row"].tolist() == list(range(len(ids)))
    names = tested["prediction"].map({0: "negative", 1: "positive"})
    assert found["label"].tolist() == names.tolist()
    chances = pd.read_parquet(tmp_path / "run/probabilities.parquet").set_index("id").loc[ids]
    columns = ["probability_negative", "probability_positive"]
    np.testing.assert_allclose(found[columns], chances, atol=1e-5)
    assert (found["confidence"] == found[columns].max(axis=1)).all()
