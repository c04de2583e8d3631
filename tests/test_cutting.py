"""Texts cut to what is seen of them, held against plain lists and against transformers."""

import math
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import call
from kinds import change, without_special_tokens
from tokenizers import processors
from transformers import AutoModel, AutoTokenizer

import pretokenize
from lib.analysis.baseline import seen_texts
from lib.command.console import UserError
from lib.data import tokens as token_files
from lib.data.cutting import Cut, Frame
from lib.data.tokens import read_tokens
from lib.files.whole import write_parquet
from lib.training.checkpoints import read_head, save_checkpoint
from lib.training.inference import TextClassifier
from lib.training.insight import attention, sentence_vectors
from lib.training.model import Classifier, load_encoder

TRUNCATIONS = ("head", "tail", "head-tail")
WORDS = ["A", "good", "film,", "and", "a", "bad", "song", "with", "awful", "plots", "I", "forget"]
TEXTS = [" ".join((WORDS * 3)[count % 5 : count + 1 + count % 5]) for count in range(30)]
torch.set_num_threads(1)  # several would wait for one another longer than these models compute
CLS, SEP = "[CLS]", "[SEP]"


def like_roberta(folder: Path) -> None:
    """Let special tokens be put around texts as RoBERTa's processor does."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [(name, tokenizer.convert_tokens_to_ids(name)) for name in (SEP, CLS)]
    tokenizer.backend_tokenizer.post_processor = processors.RobertaProcessing(*ids)
    tokenizer.save_pretrained(folder)


def like_xlnet(folder: Path) -> None:
    """Let two special tokens follow texts, the last of another type, as XLNet's do."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A:0 {SEP}:0 {CLS}:2",
        special_tokens=[(name, tokenizer.convert_tokens_to_ids(name)) for name in (SEP, CLS)],
    )
    tokenizer.save_pretrained(folder)


# family -> the tokenizer that it starts from, what is changed, special tokens before and after
FAMILIES = {
    "bert": ("bert", (), 1, 1),
    "modernbert": ("modernbert", (), 1, 1),
    "roberta": ("modernbert", (like_roberta,), 1, 1),
    "xlnet": ("bert", (like_xlnet,), 0, 2),
    "gpt2": ("modernbert", (without_special_tokens,), 0, 0),
}


@pytest.fixture(scope="module")
def folders(encoders, tmp_path_factory) -> dict[str, Path]:
    """An encoder of each family, without weights."""
    found = {}
    for family, (source, changes, *_) in FAMILIES.items():
        found[family] = tmp_path_factory.mktemp(family) / "e"
        shutil.copytree(encoders[source], found[family])
        for each in changes:
            each(found[family])
    return found


@pytest.fixture(scope="module")
def files(folders, tmp_path_factory) -> dict[str, Path]:
    """A token file of the texts by each family."""
    splits = tmp_path_factory.mktemp("splits")
    columns = {"id": range(len(TEXTS)), "text": TEXTS, "label": [0, 1] * (len(TEXTS) // 2)}
    for name in ("train", "valid", "test"):
        write_parquet(splits / f"{name}.parquet", pa.table(columns))
    found = {}
    for family, folder in folders.items():
        out = tmp_path_factory.mktemp("tokens")
        call(pretokenize, f"--splits {splits} --encoder {folder} --threads 1 --out {out}")
        found[family] = out / "test.parquet"
    return found


def by_hand(row: list, cut: Cut, before: int, after: int) -> list:
    """What is kept of the tokens of a text."""
    if len(row) <= cut.max_length:
        return row
    inner = row[before : len(row) - after]
    room = cut.max_length - before - after
    first = {"head": room, "tail": 0, "head-tail": math.ceil(room / 4)}[cut.truncation]
    kept = inner[:first] + inner[len(inner) - (room - first) :]
    return row[:before] + kept + row[len(row) - after :]


def lists(file: token_files.TokenFile) -> dict[str, list[list[int]]]:
    return {
        name: [values[start:stop].tolist() for start, stop in pairwise(file.bounds)]
        for name, values in file.columns.items()
    }


@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_training_reads_is_what_is_cut_by_hand(
    folders, files, monkeypatch, family, truncation
):
    monkeypatch.setattr(token_files, "ROWS", 7)
    *_, before, after = FAMILIES[family]
    tokenizer = AutoTokenizer.from_pretrained(folders[family])
    whole = tokenizer(TEXTS)
    lengths = [len(row) for row in whole["input_ids"]]
    middle = sorted(lengths)[15]
    assert min(lengths) < middle < max(lengths) and middle - before - after > 5
    for length in (before + after + 1, before + after + 2, middle - 1, middle, max(lengths), 1000):
        cut = Cut(length, truncation)
        found = read_tokens(files[family], cut)
        expected = {
            name: [by_hand(row, cut, before, after) for row in whole[name]]
            for name in ("input_ids", "token_type_ids")
            if name in whole
        }
        assert lists(found) == expected
        assert found.uncut.tolist() == lengths
        assert (found.cut, found.frame) == (cut, Frame(before, after, "head"))
        if truncation != "head-tail":
            tokenizer.truncation_side = {"head": "right", "tail": "left"}[truncation]
            short = tokenizer(TEXTS, truncation=True, max_length=length)
            assert lists(found) == {name: short[name] for name in expected}


def test_types_are_cut_with_the_tokens(files):
    """Of which the tests above would tell nothing if all were alike."""
    for truncation in TRUNCATIONS:
        for types in lists(read_tokens(files["xlnet"], Cut(5, truncation)))["token_type_ids"]:
            assert len(types) <= 5 and types.index(2) == len(types) - 1


@pytest.mark.parametrize(("side", "same"), [("right", "head"), ("left", "tail")])
def test_auto_is_what_the_files_of_the_tokenizer_say(folders, files, tmp_path, side, same):
    folder = shutil.copytree(folders["bert"], tmp_path / "e")
    change(folder, "tokenizer_config.json", truncation_side=side)
    splits = tmp_path / "splits"
    columns = {"id": range(len(TEXTS)), "text": TEXTS, "label": [0] * len(TEXTS)}
    for name in ("train", "valid", "test"):
        write_parquet(splits / f"{name}.parquet", pa.table(columns))
    call(pretokenize, f"--splits {splits} --encoder {folder} --threads 1 --out {tmp_path}/t")
    found = read_tokens(tmp_path / "t" / "test.parquet", Cut(6, "auto"))
    assert found.cut == Cut(6, same)
    for truncation in TRUNCATIONS:
        other = read_tokens(tmp_path / "t" / "test.parquet", Cut(6, truncation))
        assert (lists(found) == lists(other)) == (truncation == same)
        assert lists(other) == lists(read_tokens(files["bert"], Cut(6, truncation)))


def test_a_quarter_of_the_room_is_the_beginning():
    ends = {
        (length, before, after): Cut(length, "head-tail").ends(Frame(before, after, "tail"))
        for length, before, after in ((512, 1, 1), (512, 0, 2), (510, 0, 0), (9, 1, 1), (3, 1, 1))
    }
    assert ends == {
        (512, 1, 1): (1 + 128, 1 + 382),
        (512, 0, 2): (128, 2 + 382),
        (510, 0, 0): (128, 382),
        (9, 1, 1): (1 + 2, 1 + 5),
        (3, 1, 1): (2, 1),
    }


@pytest.mark.parametrize("truncation", ["auto", *TRUNCATIONS])
def test_a_length_without_room_for_text_is_refused(files, truncation):
    for family, least in (("bert", 3), ("xlnet", 3), ("gpt2", 1)):
        assert len(read_tokens(files[family], Cut(least, truncation)).ids) == len(TEXTS)
        with pytest.raises(UserError, match="special tokens to each text; raise max_length in the"):
            read_tokens(files[family], Cut(least - 1, truncation))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_whose_lengths_are_not_those_of_its_texts_is_refused(files, tmp_path, change):
    table = pq.read_table(files["bert"])
    place = table.column_names.index("n_tokens")
    lengths = pa.array(np.array(table["n_tokens"]) + change, pa.int32())
    wrong = table.set_column(place, table.schema.field("n_tokens"), lengths)
    pq.write_table(wrong, tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"t\.parquet' can't be read"):
        read_tokens(tmp_path / "t.parquet", Cut(6, "head"))


@pytest.fixture(scope="module")
def checkpoints(folders, tmp_path_factory) -> dict[str, Path]:
    """A checkpoint that nobody trained, for each truncation at eight tokens."""
    found = {}
    torch.manual_seed(3)
    model = Classifier(load_encoder(folders["bert"], "masked-mean"), "masked-mean", 2, 0.0).eval()
    for truncation in TRUNCATIONS:
        found[truncation] = tmp_path_factory.mktemp("checkpoint")
        save_checkpoint(model, folders["bert"], found[truncation], Cut(8, truncation))
    return found


@pytest.mark.parametrize("truncation", TRUNCATIONS)
def test_whoever_uses_a_checkpoint_sees_what_it_was_trained_on(
    folders, files, checkpoints, truncation
):
    folder, cut = checkpoints[truncation], Cut(8, truncation)
    tokenizer = AutoTokenizer.from_pretrained(folders["bert"])
    whole = tokenizer(TEXTS, return_offsets_mapping=True)
    rows = [by_hand(row, cut, 1, 1) for row in whole["input_ids"]]
    encoder = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = [encoder(input_ids=torch.tensor([row])).last_hidden_state[0] for row in rows]
    vectors = torch.stack([each.mean(dim=0) for each in states])
    found = sentence_vectors(folder, files["bert"], np.arange(len(TEXTS))).vectors
    assert found == pytest.approx(vectors.numpy(), abs=1e-5)

    classify = TextClassifier(folder, "cpu")
    with torch.inference_mode():
        probabilities = classify.model.head(vectors).softmax(dim=1)
    confidences = [each.confidence for each in classify(TEXTS, 4)]
    assert confidences == pytest.approx(probabilities.max(dim=1).values.tolist(), abs=1e-5)

    shown = tokenizer.convert_ids_to_tokens(rows[-1])[1:-1]
    assert attention(folder, TEXTS[-1].lower()).tokens == [
        each.removeprefix("##") for each in shown
    ]

    seen = seen_texts(TEXTS, folders["bert"], cut)
    for text, spans, part in zip(TEXTS, whole["offset_mapping"], seen, strict=True):
        places = by_hand(list(range(len(spans))), cut, 1, 1)[1:-1]
        gaps = [i for i, (one, two) in enumerate(pairwise(places), 1) if two != one + 1]
        pieces = np.split(places, gaps)
        assert len(pieces) == (2 if truncation == "head-tail" and len(spans) > 8 else 1)
        assert part == " ".join(text[spans[x[0]][0] : spans[x[-1]][1]] for x in pieces)


def test_each_truncation_gives_other_labels(checkpoints):
    """Of which the test above would tell nothing otherwise."""
    found = [TextClassifier(folder, "cpu")(TEXTS[-1])[0] for folder in checkpoints.values()]
    assert len({each.confidence for each in found}) == len(TRUNCATIONS)


def test_a_checkpoint_tells_how_it_cuts(encoders, tmp_path):
    left = shutil.copytree(encoders["bert"], tmp_path / "left")
    change(left, "tokenizer_config.json", truncation_side="left")
    sides = {}
    for name, source in (("right", encoders["bert"]), ("left", left)):
        model = Classifier(load_encoder(source, "cls"), "cls", 2, 0.0)
        for truncation in TRUNCATIONS:
            folder = tmp_path / f"{name}-{truncation}"
            save_checkpoint(model, source, folder, Cut(9, truncation))
            assert read_head(folder).cut == Cut(9, truncation)
            sides[name, truncation] = AutoTokenizer.from_pretrained(folder).truncation_side
    assert sides == {
        **{("right", "head"): "right", ("right", "tail"): "left", ("right", "head-tail"): "right"},
        **{("left", "head"): "right", ("left", "tail"): "left", ("left", "head-tail"): "left"},
    }
