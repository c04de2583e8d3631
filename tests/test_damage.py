"""Results that were damaged after they were written: named in one line, never used."""

import os
import shutil

import pytest

from lib.console import UserError
from lib.files import read_json, replacing, write_json
from lib.manifests import manifest_of, verify


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
