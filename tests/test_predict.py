"""Labels of new texts by a trained run."""

import gzip
import io
import json
import subprocess

import pandas as pd
import pytest
from conftest import ROOT, make_run

import predict
from lib.command.console import UserError
from lib.files.predictions import read_predictions
from lib.training.inference import TextClassifier


@pytest.fixture(scope="module")
def runs(encoders, tokens, tmp_path_factory):
    """Finished runs on the splits of the other tests, by pooling, with named classes.

    The one with the unmasked mean is a ModernBERT, whose padding is not token 0.
    """
    folders = {}
    for pooling, model in (("padded-mean", "modernbert"), ("masked-mean", "bert")):
        flags = f"--pooling {pooling} --batch 20 --epochs 2 --max-length 48 --learning-rate 1e-3"
        folders[pooling] = make_run(
            tmp_path_factory.mktemp(pooling),
            tokens[model],
            encoders[model],
            f"{flags} --labels negative positive",
        )
    return folders


@pytest.mark.parametrize("pooling", ["padded-mean", "masked-mean"])
def test_labels_are_those_of_the_test(runs, splits, pooling):
    texts = pd.read_parquet(splits / "test.parquet").set_index("id")["text"]
    tested = read_predictions(runs[pooling])
    classify = TextClassifier(runs[pooling] / "checkpoint", "cpu")
    found = pd.DataFrame(classify(texts.loc[tested.index].tolist()))
    names = tested["prediction"].map({0: "negative", 1: "positive"})
    assert found["label"].tolist() == names.tolist()
    assert found["confidence"].tolist() == pytest.approx(tested["calibrated"].tolist(), abs=1e-5)
    assert (tested["confidence"] - tested["calibrated"]).abs().max() > 0.01


def test_a_single_text_and_none_at_all_are_labelled_as_lists(runs):
    classify = TextClassifier(runs["masked-mean"] / "checkpoint", "cpu")
    assert classify("A fine film.") == classify(["A fine film."])
    assert classify([]) == []


def test_texts_may_be_any_iterable_and_rows_have_the_index_of_a_series(runs):
    classify = TextClassifier(runs["masked-mean"] / "checkpoint", "cpu")
    texts = pd.Series(["A fine film.", "Dull."], index=["b", "a"])
    labels = classify(texts.tolist())
    assert classify(texts) == classify(iter(texts)) == classify(tuple(texts)) == labels
    found = classify.probabilities(texts)
    assert found.index.tolist() == ["b", "a"] and found.columns.tolist() == ["negative", "positive"]
    assert found.idxmax(axis=1).tolist() == [each.label for each in labels]
    assert found.max(axis=1).tolist() == [each.confidence for each in labels]
    assert classify.probabilities(iter(texts)).index.tolist() == [0, 1]
    with pytest.raises(TypeError, match="text 1 is nan; give texts, and none that is missing"):
        classify.probabilities(pd.Series(["A fine film.", None], dtype="str"))


@pytest.mark.parametrize("missing", [None, float("nan"), b"bytes", 7])
def test_what_is_no_text_is_told_by_its_number(runs, missing):
    classify = TextClassifier(runs["masked-mean"] / "checkpoint", "cpu")
    with pytest.raises(TypeError, match=r"text 1 is .*; give texts, and none that is missing"):
        classify(["A fine film.", missing])


def predict_here(capsys, monkeypatch, flags: list, text: str = "") -> list[dict]:
    """What predict.py prints, in this process."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    predict.main(predict.arguments().parse_args(list(map(str, flags))))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_texts_come_from_flags_a_file_or_standard_input(runs, tmp_path, capsys, monkeypatch):
    run = runs["masked-mean"]
    texts = ["A film I will not forget.", "", "Schön, aber lang — 映画"]
    (tmp_path / "texts.txt").write_text("\n".join(texts), "utf-8")
    calls = [
        ([run, "--text", *texts], ""),
        ([run, "--file", tmp_path / "texts.txt", "--batch", "2"], ""),
        ([run / "checkpoint"], "\r\n".join(texts) + "\r\n"),
    ]
    expected = [label._asdict() for label in TextClassifier(run / "checkpoint", "cpu")(texts)]
    for flags, text in calls:
        found = predict_here(capsys, monkeypatch, flags, text)
        assert [list(line) for line in found] == [["label", "confidence"]] * 3
        for line, label in zip(found, expected, strict=True):
            assert line["label"] == label["label"] in ("negative", "positive")
            assert line["confidence"] == pytest.approx(label["confidence"], abs=1e-5)
    assert predict_here(capsys, monkeypatch, [run], "") == []


def test_the_command_reads_a_pipe_that_its_reader_closes_early(python, runs):
    command = f"yes 'A film I will not forget.' | {python} scripts/predict.py {runs['padded-mean']}"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -n 1"], cwd=ROOT, capture_output=True, text=True
    )
    assert json.loads(done.stdout)["label"] in ("negative", "positive")
    assert done.stderr == ""


def test_a_folder_without_checkpoint_is_refused(tmp_path, capsys, monkeypatch):
    message = f"'{tmp_path}' holds no checkpoint; name the folder of a finished run"
    with pytest.raises(UserError, match=message):
        predict_here(capsys, monkeypatch, [tmp_path, "--text", "x"])


def test_a_table_is_no_column_of_texts(runs):
    classify = TextClassifier(runs["masked-mean"] / "checkpoint", "cpu")
    for table in (pd.DataFrame({"review": ["A fine film."]}), {"a": "A fine film."}):
        with pytest.raises(TypeError, match="give a column of it"):
            classify(table)


@pytest.mark.parametrize("name", ["a.csv.zip", "a.xlsx", "a.json", "a.csv.xz", "."])
def test_files_of_other_kinds_are_refused(runs, tmp_path, name, capsys, monkeypatch):
    file = tmp_path / name
    if name != ".":
        file.write_bytes(b"PK text")
    said = r"is of an unknown kind; known are|is a folder; name a file"
    with pytest.raises(UserError, match=said):
        predict_here(capsys, monkeypatch, [runs["masked-mean"], "--file", file])


def test_lines_of_a_file_are_utf_8_compressed_or_not(runs, tmp_path, capsys, monkeypatch):
    content = "\ufeffA film I will not forget.\nSchön\x0bund lang\r\nDull.".encode()
    plain, packed, other = (tmp_path / name for name in ("a.txt", "a.txt.gz", "b.txt"))
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    flags = [runs["masked-mean"], "--file"]
    found = [predict_here(capsys, monkeypatch, [*flags, path]) for path in (plain, packed)]
    assert found[0] == found[1] and len(found[0]) == 3
    other.write_bytes("Schön".encode("latin1"))
    with pytest.raises(UserError, match="it is not UTF-8"):
        predict_here(capsys, monkeypatch, [*flags, other])


def test_an_output_within_the_checkpoint_is_refused(runs, tmp_path, capsys, monkeypatch):
    (tmp_path / "a.csv").write_text("text\nfine\n")
    out = runs["masked-mean"] / "checkpoint" / "out.csv"
    flags = [runs["masked-mean"], "--file", tmp_path / "a.csv", "--out", out]
    with pytest.raises(UserError, match="would be a part of"):
        predict_here(capsys, monkeypatch, flags)
