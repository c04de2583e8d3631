"""One way from texts to tokens, whatever a tokenizer's files ask for, and who goes it."""

import json
import random
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import call, make_run
from kinds import KINDS, change, make
from refusals import is_one_line, refusal, tree
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, LayoutLMv3Tokenizer

import pretokenize
from lib.analysis.baseline import seen_texts
from lib.command.console import UserError
from lib.data.cutting import Cut
from lib.data.encoding import TextEncoding
from lib.files.predictions import read_predictions
from lib.files.whole import write_parquet
from lib.training.inference import TextClassifier
from lib.training.insight import attention

LENGTH = 12
CUT = Cut(LENGTH, "auto")
# Kinds whose runs have another pooling than masked-mean.
POOLINGS = {"typed": "padded-mean", "left bytes": "padded-mean", "stored": "pooler"}
POOLINGS |= {"right": "cls", "no mask": "max"}
# Kinds whose runs have another truncation than auto.
PARTS = {"right": "tail", "left bytes": "head-tail", "unigram": "head", "no mask": "head-tail"}
HOSTILE = [
    *("", " ", "\t\r\n", "\x00", "a\x00b", "\u200b", "\ufeff", "▁", "▁ ▁a", "é", "e\u0301", "映画"),
    *("[SEP] a [PAD][MASK] [CLS] [UNK]", "<s> a </s><pad> <unk>", "👩\u200d👧 fine", "नमस्ते दुनिया"),
    *("good film " * 40, "x" * 5000, "GOOD Film, isn't it?", "a" * 99 + " b" * 99),
]
random.seed(1)
HOSTILE += ["".join(chr(random.randrange(1, 0xD800)) for _ in range(30)) for _ in range(20)]


@pytest.fixture(scope="module")
def folders(encoders, tmp_path_factory) -> dict[str, Path]:
    """An encoder of each kind."""
    return {kind: make(kind, encoders, tmp_path_factory.mktemp("kind") / "e") for kind in KINDS}


@pytest.fixture(scope="module")
def tokenized(folders, splits, tmp_path_factory) -> dict[str, Path]:
    """The token files of each kind."""
    found = {kind: tmp_path_factory.mktemp("tokens") for kind in KINDS}
    for kind, out in found.items():
        flags = f"--splits {splits} --encoder {folders[kind]} --threads 1"
        call(pretokenize, f"{flags} --out {out}")
    return found


@pytest.fixture(scope="module")
def runs(folders, tokenized, tmp_path_factory) -> dict[str, Path]:
    """A finished run of each kind."""
    found = {kind: tmp_path_factory.mktemp("run") for kind in KINDS}
    flags = f"--batch 20 --epochs 1 --learning-rate 1e-2 --max-length {LENGTH}"
    for kind, run in found.items():
        pooling = POOLINGS.get(kind, "masked-mean")
        cut = f"--truncation {PARTS.get(kind, 'auto')}"
        make_run(run, tokenized[kind], folders[kind], f"--pooling {pooling} {cut} {flags}")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_those_of_transformers(folders, kind):
    encoding = TextEncoding(folders[kind])
    tokenizer = AutoTokenizer.from_pretrained(folders[kind])
    more = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
    expected = tokenizer(HOSTILE, **more)
    for offsets in (False, True):
        found = encoding(HOSTILE, offsets=offsets)
        columns = encoding.columns(found)
        assert columns.items() <= dict(expected).items()
        assert ("token_type_ids" in columns) == ("token_type_ids" in expected)
        assert [each.special_tokens_mask for each in found] == expected["special_tokens_mask"]
    assert [each.offsets for each in found] == expected["offset_mapping"]
    assert encoding.nothing == tokenizer("")["input_ids"]


def cut_by(encoding: TextEncoding, found: list) -> list[list[int]]:
    """Of the tokens of some texts, those that are kept of each."""
    kept = (CUT.kept(np.array([0, len(each)]), encoding.frame) for each in found)
    return [np.array(each.ids)[mask].tolist() for each, mask in zip(found, kept, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_cut_as_transformers_cuts_them(folders, kind):
    encoding = TextEncoding(folders[kind])
    expected = AutoTokenizer.from_pretrained(folders[kind])(
        HOSTILE, truncation=True, max_length=LENGTH
    )
    assert cut_by(encoding, encoding(HOSTILE)) == expected["input_ids"]


def test_the_kinds_differ(folders):
    """Of which all that follows would be idle otherwise."""
    text = "[SEP] " + "one good film and another one " * 9
    encodings = {kind: TextEncoding(folder) for kind, folder in folders.items()}
    tokens = {kind: encoding([text]) for kind, encoding in encodings.items()}
    ids = {kind: cut_by(encodings[kind], each)[0] for kind, each in tokens.items()}
    assert ids["left"] == ids["stored"] != ids["right"] == ids["typed"] != ids["spelled out"]
    assert ids["left bytes"] != ids["padding left"] == ids["no mask"]
    assert ids["padding left"][1:-1] == ids["bytes without special tokens"][: LENGTH - 2]
    assert tokens["typed"][0].type_ids != tokens["right"][0].type_ids
    assert "▁" in encodings["unigram"].backend.get_vocab()


@pytest.mark.parametrize("kind", KINDS)
def test_token_files_hold_them_and_what_became_of_the_texts(folders, splits, tokenized, kind):
    tokenizer = AutoTokenizer.from_pretrained(folders[kind])
    told = json.loads((tokenized[kind] / "tokens.json").read_text())
    total = Counter()
    for split in ("train", "valid", "test"):
        texts = pq.read_table(splits / f"{split}.parquet")["text"].to_pylist()
        table = pq.read_table(tokenized[kind] / f"{split}.parquet")
        found = tokenizer(texts)
        lengths = [len(ids) for ids in found["input_ids"]]
        assert table["input_ids"].to_pylist() == found["input_ids"]
        assert table["n_tokens"].to_pylist() == lengths
        kept = [
            token
            for each in found.encodings
            for token, special in zip(each.ids, each.special_tokens_mask, strict=True)
            if not special
        ]
        names = tokenizer.convert_ids_to_tokens(kept)
        expected = {
            "reviews": len(texts),
            "tokens": sum(name != "▁" for name in names),
            "unknown": 0 if "bytes" in kind else names.count(tokenizer.unk_token),
        }
        assert told[split] == expected
        total.update(expected)
    assert told["unknown_share"] == total["unknown"] / total["tokens"]
    assert (told["warning"] is None) == (told["unknown_share"] <= 0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_a_classifier_labels_as_the_test_does(runs, splits, kind):
    texts = pd.read_parquet(splits / "test.parquet").set_index("id")["text"]
    tested = read_predictions(runs[kind])
    classify = TextClassifier(runs[kind] / "checkpoint", "cpu")
    for batch in (1, 32):
        found = pd.DataFrame(classify(texts.loc[tested.index].tolist(), batch))
        assert found["label"].astype(int).tolist() == tested["prediction"].tolist()
        confidence = tested["calibrated"].tolist()
        assert found["confidence"].tolist() == pytest.approx(confidence, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_lines_of_the_card_do_as_well_and_where_a_library_can_without_the_project(
    runs, splits, kind
):
    card = (runs[kind] / "checkpoint" / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(.+?)^```$", card, re.MULTILINE | re.DOTALL)
    ours = POOLINGS.get(kind) == "padded-mean" or PARTS.get(kind) == "head-tail"
    assert ("lib" in re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE)) == ours
    classify = TextClassifier(runs[kind] / "checkpoint", "cpu")
    long = pq.read_table(splits / "test.parquet")["text"].to_pylist()
    for texts in (long, ["A film", "Schön, 映画"]):
        names = {"texts": texts, "folder": str(runs[kind] / "checkpoint")}
        exec(code, names)
        found, expected = np.asarray(names["probabilities"]), classify.probabilities(texts)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert (found.argmax(axis=1) == expected.to_numpy().argmax(axis=1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_baseline_sees_what_the_encoder_sees(folders, splits, kind):
    texts = pq.read_table(splits / "test.parquet")["text"].to_pylist()
    tokenizer = AutoTokenizer.from_pretrained(folders[kind])
    found = tokenizer(texts, truncation=True, max_length=LENGTH, return_offsets_mapping=True)
    seen = seen_texts(texts, folders[kind], CUT)
    for text, spans, part in zip(texts, found["offset_mapping"], seen, strict=True):
        real = [span for span in spans if span != (0, 0)]
        assert part == text[real[0][0] : real[-1][1]]


def test_a_baseline_sees_nothing_of_a_text_without_tokens(folders):
    for kind in ("right", "left", "bytes without special tokens"):
        assert seen_texts(["", "a"], folders[kind], CUT) == ["", "a"]


def test_attention_is_that_of_the_end_where_the_end_is_kept(runs):
    text = "a bad film, a bad plot and a bad song, but a good one " * 3 + "at the very end"
    tokens = attention(runs["left"] / "checkpoint", text).tokens
    assert len(tokens) == LENGTH - 2
    assert text.replace(" ", "").endswith("".join(tokens))


def change_model(folder: Path, **entries: object) -> None:
    """Change entries of `model` in tokenizer.json."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    change(folder, "tokenizer.json", model=model | entries)


@pytest.fixture
def line(tmp_path):
    """Writes splits of some texts, and returns the flags that tokenize them by an encoder."""

    def write(folder: Path, texts: list[str]) -> str:
        columns = {"id": range(7, 7 + len(texts)), "text": texts, "label": [0] * len(texts)}
        for split in ("train", "valid", "test"):
            write_parquet(tmp_path / "splits" / f"{split}.parquet", pa.table(columns))
        splits, out = tmp_path / "splits", tmp_path / "tokens"
        return f"--splits {splits} --encoder {folder} --out {out}"

    return write


NOTHING, RIGHT = "bytes without special tokens", "right"
NO_TOKEN = "text 8 can't become tokens of .*: WordPiece error: Missing .*; leave it out, or take"
FOREIGN = r"e': 80\.0% of the tokens are unknown to the tokenizer, .*; take another encoder"


@pytest.mark.parametrize(
    ("kind", "model", "texts", "message"),
    [
        (NOTHING, {}, ["a", ""], "no tokens for the text of review 8; take the review out"),
        (RIGHT, {}, ["a", "b", "\u200b"], "no tokens .* of review 9; "),  # but special tokens
        (RIGHT, {"unk_token": "[NOTHING]"}, ["a", "映"], NO_TOKEN),
        ("left bytes", {"dropout": 0.1}, ["a"], "at random, by 'dropout'; set it"),
        (RIGHT, {}, ["映画 映画", "a"], FOREIGN),
        ("unigram", {}, ["映 画 映 画"], r"100\.0% of the tokens are unknown"),  # or a space
    ],
)
def test_what_can_not_be_trained_on_is_one_line_and_no_file(
    encoders, tmp_path, line, capfd, kind, model, texts, message
):
    folder = make(kind, encoders, tmp_path / "e")
    change_model(folder, **model)
    flags = line(folder, texts)
    before = tree(tmp_path)
    said = refusal(f"pretokenize.py {flags}", capfd)
    assert is_one_line(said) and re.search(message, said), said
    assert tree(tmp_path) == before


def test_a_length_without_room_for_text_is_refused(folders):
    right, bare = (TextEncoding(folders[kind]).frame for kind in (RIGHT, NOTHING))
    for truncation in ("auto", "head", "tail", "head-tail"):
        with pytest.raises(UserError, match=r"length is 2, .* adds 2 special tokens to each"):
            Cut(2, truncation).ends(right)
        assert sum(Cut(3, truncation).ends(right)) == 3
        assert sum(Cut(1, truncation).ends(bare)) == 1


def test_a_token_beyond_those_that_the_encoder_knows_is_refused(encoders, tmp_path, line):
    folder = make("right", encoders, tmp_path / "e")
    flags = line(folder, ["good film"])
    highest = max(AutoTokenizer.from_pretrained(folder)("good film")["input_ids"])
    change(folder, "config.json", vocab_size=highest)
    message = f"the tokenizer gives token {highest}, but the encoder knows {highest} tokens"
    with pytest.raises(UserError, match=message):
        call(pretokenize, flags)
    change(folder, "config.json", vocab_size=highest + 1)
    call(pretokenize, flags)


def test_a_tokenizer_that_takes_more_than_texts_is_refused(encoders, tmp_path):
    shutil.copy(encoders["bert"] / "config.json", tmp_path)
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *ByteLevel.alphabet()]
    vocabulary = {name: number for number, name in enumerate(names)}
    LayoutLMv3Tokenizer(vocab=vocabulary, merges=[]).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"tokenizer\.json .*can't be used: "):
        TextEncoding(tmp_path)


def test_some_unknown_tokens_are_a_warning(folders, tmp_path, line, caplog):
    call(pretokenize, line(folders["right"], ["a b c d e f g"] * 2 + ["a b 映 c"] * 2))
    told = json.loads((tmp_path / "tokens" / "tokens.json").read_text())
    assert told["train"] == {"reviews": 4, "tokens": 22, "unknown": 2}
    assert told["warning"] == "9.1% of the tokens are unknown to the tokenizer"
    (record,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert record.message == f"'{folders['right']}': {told['warning']}"


def test_a_special_token_that_every_text_has_is_not_unknown(encoders, tmp_path, line):
    folder = make("right", encoders, tmp_path / "e")
    change_model(folder, unk_token="[SEP]")
    call(pretokenize, line(folder, ["a", "b 映"]))
    told = json.loads((tmp_path / "tokens" / "tokens.json").read_text())
    assert told["test"] == {"reviews": 2, "tokens": 3, "unknown": 1}


def test_a_text_that_can_not_be_labelled_is_told_by_its_number(runs, capfd, tmp_path):
    (tmp_path / "texts").write_text("\n".join(["a film"] * 70 + ["", "a film"]))
    flags = f"--file {tmp_path}/texts --batch 2 --device cpu"
    said = refusal(f"predict.py {runs[NOTHING]} {flags}", capfd)
    assert is_one_line(said) and "error: text 70 has no tokens, and so no states to" in said
    classify = TextClassifier(runs["right"] / "checkpoint", "cpu")
    assert len(classify(["", "a film"])) == 2
    with pytest.raises(UserError, match=r"text 1 can't become tokens .*surrogates not allowed"):
        classify(["a film", "a \ud800 film"])
