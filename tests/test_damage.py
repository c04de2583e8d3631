"""Results that were damaged after they were written: named in one line, never used."""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chain import CHAIN, DATASET, ENCODER, RUN, TABLES, TOKENS, run_step
from refusals import is_one_line, refusal, tree
from safetensors.numpy import save_file

from lib.command.console import UserError
from lib.files.manifests import manifest_of, verify
from lib.files.whole import amend, read_json, replacing, write_json


@pytest.fixture
def result(tmp_path):
    path = tmp_path / "results" / "x.json"
    write_json(path, {"accuracy": 0.5})
    return path


def test_what_was_written_is_read(result):
    assert read_json(result) == {"accuracy": 0.5}


@pytest.mark.parametrize(
    "content", ['{"accuracy": 0.6}\n', '{"accuracy":', "", "[]", b"\xff\xfe"], ids=repr
)
@pytest.mark.parametrize("with_manifest", [True, False])
def test_what_was_changed_is_not(result, content, with_manifest):
    data = content if isinstance(content, bytes) else content.encode()
    result.write_bytes(data)
    if not with_manifest:
        manifest_of(result).unlink()
        if content == '{"accuracy": 0.6}\n':
            assert read_json(result) == {"accuracy": 0.6}  # a file of one's own
            return
    with pytest.raises(UserError) as caught:
        read_json(result)
    assert str(result) in str(caught.value)
    assert "--force results/x.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_verified_file_by_file(tmp_path):
    folder = tmp_path / "folder"
    with replacing(folder) as path:
        (path / "inner").mkdir(parents=True)
        (path / "a.txt").write_text("a")
        (path / "inner/b.bin").write_text("b")
    verify(folder)
    (folder / "inner/b.bin").write_text("c")
    verify(folder, "*.txt")
    with pytest.raises(UserError, match=r"b\.bin' is damaged"):
        verify(folder)
    (folder / "a.txt").unlink()
    with pytest.raises(UserError, match=r"a\.txt' is missing"):
        verify(folder, "*.txt")


@pytest.fixture
def folder(tmp_path):
    """A folder of two files, written whole."""
    folder = tmp_path / "folder"
    with replacing(folder) as path:
        path.mkdir()
        for name in ("a.txt", "b.txt"):
            (path / name).write_text(name)
    return folder


@pytest.mark.parametrize("name", ["a.txt", "c.txt", "txt"])
def test_a_text_that_is_put_into_a_folder_is_verified_as_well(folder, name):
    others = {path.name for path in folder.iterdir()} - {name}
    for text in ("one", "two\n"):
        amend(folder, name, text)
        assert (folder / name).read_text() == text
        verify(folder)
    assert {path.name for path in folder.iterdir()} == others | {name}
    assert len(manifest_of(folder).read_text().splitlines()) == len(others) + 1
    assert sorted(path.name for path in folder.parent.iterdir()) == [".folder.sha256", "folder"]
    (folder / name).write_text("three")
    with pytest.raises(UserError, match=rf"/{name}' is damaged"):
        verify(folder)
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"/{name}' is missing"):
        verify(folder)


def test_damage_to_other_files_is_still_noticed_after_it(folder):
    (folder / "b.txt").write_text("damaged")
    amend(folder, "a.txt", "new")
    verify(folder, "a.txt")
    with pytest.raises(UserError, match=r"b\.txt' is damaged"):
        verify(folder)


def test_a_folder_without_manifest_gets_none_by_it(folder):
    manifest_of(folder).unlink()
    amend(folder, "a.txt", "new")
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_process_killed_while_it_puts_a_text_leaves_no_false_alarm(folder, monkeypatch, step):
    amend(folder, "c.txt", "old")
    replace, calls = os.replace, []

    def killed(source, target):
        calls.append(target)
        if len(calls) == step:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        amend(folder, "c.txt", "new")
    verify(folder)
    assert (folder / "c.txt").read_text() == ("new" if step == 3 else "old")
    (folder / "b.txt").write_text("damaged")
    with pytest.raises(UserError, match=r"b\.txt' is damaged"):
        verify(folder)


@pytest.mark.parametrize("damage", ["changed", None])
def test_a_damaged_model_card_is_noticed_and_a_test_writes_it_again(study, damage):
    checkpoint = Path(RUN, "checkpoint")
    card = checkpoint / "README.md"
    before = card.read_bytes()
    card.write_text(damage) if damage else card.unlink()
    with pytest.raises(UserError, match=r"README\.md'"):
        verify(checkpoint)
    run_step("evaluate")
    verify(checkpoint)
    assert card.read_bytes() == before


def test_a_manifest_is_that_of_sha256sum(result):
    command = f"cd {result.parent} && sha256sum --check --strict .x.json.sha256"
    assert os.system(command + " > /dev/null") == 0


def test_a_process_killed_while_it_writes_leaves_no_false_alarm(result, monkeypatch):
    def killed(source, target):
        if str(target).endswith(".sha256"):
            raise KeyboardInterrupt
        shutil.move(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_json(result, {"accuracy": 0.7})
    assert read_json(result) == {"accuracy": 0.7}


# Every file that a later command reads, by the command.
READERS = {
    f"{DATASET}/reviews.parquet": "split",
    f"{DATASET}/reviews.json": "summary",
    f"{DATASET}/splits.json": "summary",
    f"{DATASET}/splits/train.parquet": "pretokenize",
    f"{DATASET}/splits/valid.parquet": "pretokenize",
    f"{DATASET}/splits/test.parquet": "analyse",
    f"{ENCODER}/config.json": "pretokenize",
    f"{ENCODER}/tokenizer.json": "pretokenize",
    f"{ENCODER}/model.safetensors": "train",
    f"{ENCODER}/source.json": "train",
    f"{TOKENS}/train.parquet": "train",
    f"{TOKENS}/valid.parquet": "train",
    f"{TOKENS}/test.parquet": "evaluate",
    f"{TOKENS}/tokens.json": "summary",
    f"{RUN}/checkpoint/config.json": "evaluate",
    f"{RUN}/checkpoint/model.safetensors": "evaluate",
    f"{RUN}/checkpoint/head.json": "evaluate",
    f"{RUN}/checkpoint/2_Dense/model.safetensors": "evaluate",
    f"{RUN}/checkpoint/tokenizer.json": "predict",
    f"{RUN}/history.csv": "collect",
    f"{RUN}/train.json": "collect",
    f"{RUN}/test.json": "collect",
    f"{RUN}/predictions.parquet": "analyse",
    f"{RUN}/probabilities.parquet": "analyse",
    f"{TABLES}/runs.parquet": "analyse",
    f"{TABLES}/runs.csv": "analyse",
    f"{TABLES}/histories.parquet": "draw",
    "results/figures/learning_curves.svg": "summary",
}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def reshape(path: Path) -> None:
    """Write a file of the same kind that holds something else."""
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.table({"x": [1]}), path)
        case ".safetensors":
            save_file({"x": np.zeros(1, np.float32)}, path)
        case ".csv":
            path.write_text("x\n1\n")
        case ".json":
            path.write_text('{"x": 1}\n')
        case _:
            path.write_text("x\n")


DAMAGES = (flip, halve, empty, reshape, Path.unlink)
# Where nothing but the manifest can tell: another text is as good, and no command reads that CSV.
TEXTS = (".svg", "runs.csv")


@pytest.fixture
def study(whole, tmp_path, monkeypatch) -> Path:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return tmp_path


def made_again(path: str) -> str:
    """The output of a rule that a file belongs to: itself, or the folder that is made whole."""
    return next((each for each in (ENCODER, f"{RUN}/checkpoint") if path.startswith(each)), path)


@pytest.mark.parametrize("path", READERS, ids=str)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_result_is_named_with_what_makes_it_again(study, capfd, path, damage):
    damage(Path(path))
    before = tree(study).keys()
    line = refusal(CHAIN[READERS[path]], capfd)
    assert is_one_line(line), line
    assert f"'{path}'" in line and line.endswith(f"--force {made_again(path)}\n"), line
    assert tree(study).keys() == before


@pytest.mark.parametrize("path", [path for path in READERS if not path.endswith(TEXTS)], ids=str)
@pytest.mark.parametrize("damage", [halve, empty, reshape], ids=lambda damage: damage.__name__)
def test_so_is_one_without_its_manifest(study, capfd, path, damage):
    manifest_of(Path(made_again(path))).unlink()
    damage(Path(path))
    before = tree(study).keys()
    line = refusal(CHAIN[READERS[path]], capfd)
    assert is_one_line(line), line
    assert Path(path).name in line and f"--force {made_again(path)}" in line, line
    assert tree(study).keys() == before


def test_an_encoder_that_lost_its_weights_is_not_trained_from_random_ones(study, capfd):
    manifest_of(Path(ENCODER)).unlink()
    Path(ENCODER, "model.safetensors").unlink()
    line = refusal(CHAIN["train"], capfd)
    assert line.startswith(f"train.py: error: '{ENCODER}/model.safetensors' is missing; make it")
