"""Licences that sources tell: read from what they ship, and none where they can't be."""

import json

import pytest
from conftest import call
from transformers import BertConfig, BertModel

import encoder
from lib.data.encoders import load_tokenizer
from lib.data.licences import LONGEST, of_card, of_package


def card(folder, metadata: str | bytes):
    """A folder with a README.md of this metadata."""
    content = metadata.encode() if isinstance(metadata, str) else metadata
    (folder / "README.md").write_bytes(b"---\n" + content + b"\n---\n# A model\nlicense: text\n")
    return folder


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ("license: apache-2.0", "apache-2.0"),
        ("tags: [a]\nlicense:\n- mit\n- cc-by-4.0", "mit, cc-by-4.0"),
        ("license: other\nlicense_name: own-1.0\nlicense_link: LICENSE", "own-1.0 (LICENSE)"),
        ("license: other\nlicense_link: https://a.b/c", "other (https://a.b/c)"),
        ("license: [mit, {a: b}, 3]", "mit"),
        ('license: "a\\nb\\u2028c\\ud800d\\e[1m"', "a b c d [1m"),
        (f"license: {'x' * 9999}", "x" * LONGEST),
    ],
)
def test_a_card_tells_its_licence_in_a_short_line(tmp_path, metadata, told):
    assert of_card(card(tmp_path, metadata)) == {"license": told}


@pytest.mark.parametrize(
    "metadata",
    [
        *(
            "",
            "tags: [a]",
            "license:",
            "license: ''",
            "license: 3",
            "license: {a: b}",
            "license: no",
        ),
        *("license: unknown", "- license", "license: 'mit", "license: !!python/name:os.system"),
        *("license: mit\nother: [", "[" * 9999, b"license: \xff"),
    ],
)
def test_a_card_that_tells_none_or_is_broken_is_no_error(tmp_path, metadata):
    assert of_card(card(tmp_path, metadata)) == {}


def test_a_folder_without_a_card_and_a_card_without_metadata_tell_none(tmp_path):
    assert of_card(tmp_path) == {}
    (tmp_path / "README.md").write_text("# A model\n\nlicense: mit\n")
    assert of_card(tmp_path) == {}
    (tmp_path / "README.md").unlink()
    (tmp_path / "README.md").mkdir()
    assert of_card(tmp_path) == {}


CLASSIFIERS = ["License :: OSI Approved :: MIT License", "Topic :: Text", "License :: Other"]
WHOLE = "\n        The Licence\n        \n        Permission is granted, " + "word " * 999


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ([("License", "BSD"), ("License-Expression", "MIT OR Apache-2.0")], "MIT OR Apache-2.0"),
        ([("License", "BSD"), ("Classifier", CLASSIFIERS[0])], "BSD"),
        ([("License", WHOLE)], "The Licence"),
        ([("Classifier", each) for each in CLASSIFIERS], "MIT License, Other"),
        ([("License", "UNKNOWN"), ("Classifier", CLASSIFIERS[0])], "MIT License"),
        ([("License", ""), ("Classifier", CLASSIFIERS[1])], None),
        ([], None),
    ],
)
def test_a_package_tells_its_licence_by_the_first_way_it_has(headers, told):
    lines = ["Metadata-Version: 2.4", "Name: x", *(f"{key}: {value}" for key, value in headers)]
    metadata = "\n".join(lines) + "\n\nLicense: of the description\n"
    assert of_package(metadata) == ({"license": told} if told else {})


@pytest.mark.parametrize("metadata", ["license: apache-2.0", "license: ["])
def test_a_local_encoder_tells_that_of_its_card_and_its_files_are_those_of_an_encoder(
    encoders, tmp_path, metadata
):
    BertModel(BertConfig.from_pretrained(encoders["bert"])).save_pretrained(tmp_path / "own")
    load_tokenizer(encoders["bert"]).save_pretrained(tmp_path / "own")
    card(tmp_path / "own", metadata)
    call(encoder, f"folder --path {tmp_path}/own --out {tmp_path}/out")
    source = json.loads((tmp_path / "out" / "source.json").read_text())
    assert source.get("license") == (None if "[" in metadata else "apache-2.0")
    assert "README.md" not in source["sha256"] and not (tmp_path / "out" / "README.md").exists()
