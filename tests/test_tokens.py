"""Tokenizers from scratch, and the token files."""

import json
import subprocess
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, call
from transformers import AutoTokenizer

import encoder
import pretokenize
from lib.data import tokenization, tokenizer_training
from lib.data import tokens as token_files
from lib.data.cutting import Cut, Frame
from lib.data.encoders import load_tokenizer


@pytest.mark.parametrize("name", ["bert", "modernbert"])
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_tokens_are_those_of_the_tokenizer(encoders, splits, tokens, name, split):
    tokenizer = load_tokenizer(encoders[name])
    texts = pq.read_table(splits / f"{split}.parquet")
    table = pq.read_table(tokens[name] / f"{split}.parquet")
    expected = tokenizer(texts["text"].to_pylist())
    assert table["input_ids"].to_pylist() == expected["input_ids"]
    assert table["n_tokens"].to_pylist() == [len(ids) for ids in expected["input_ids"]]
    assert table["id"].equals(texts["id"]) and table["label"].equals(texts["label"])
    ids, lengths = token_files.read_lengths(tokens[name] / f"{split}.parquet")
    assert ids.tolist() == texts["id"].to_pylist()
    assert lengths.tolist() == table["n_tokens"].to_pylist() and max(lengths) > 48
    assert ("token_type_ids" in table.column_names) == (name == "bert")
    assert table.schema.field("input_ids").type == pa.list_(pa.int32())
    assert table.schema.field("n_tokens").type == pa.int32()
    if name == "bert":
        assert table["token_type_ids"].to_pylist() == expected["token_type_ids"]
        assert table.schema.field("token_type_ids").type == pa.list_(pa.int8())


def test_batches_of_texts_stay_in_their_order(encoders, splits, tokens, tmp_path, monkeypatch):
    monkeypatch.setattr(tokenization, "BATCH", 7)
    line = f"--splits {splits} --encoder {encoders['bert']} --threads 1"
    call(pretokenize, f"{line} --out {tmp_path}")
    for name in ("train.parquet", "test.parquet"):
        assert pq.read_table(tmp_path / name).equals(pq.read_table(tokens["bert"] / name))
    assert (tmp_path / "tokens.json").read_text() == (tokens["bert"] / "tokens.json").read_text()


@pytest.mark.parametrize("name", ["bert", "modernbert"])
@pytest.mark.parametrize("rows", [7, 40, 4096])
def test_token_files_are_read_whole_into_arrays_of_ones_own(monkeypatch, tokens, name, rows):
    monkeypatch.setattr(token_files, "ROWS", rows)
    path = tokens[name] / "train.parquet"
    table, found = pq.read_table(path), token_files.read_tokens(path, Cut(10**6, "auto"))
    assert found.ids.tolist() == table["id"].to_pylist()
    assert found.labels.tolist() == table["label"].to_pylist()
    assert list(found.columns) == ["input_ids", "token_type_ids"][: len(found.columns)]
    assert len(found.columns) == (2 if name == "bert" else 1)
    for column, values in found.columns.items():
        lists = [values[start:stop].tolist() for start, stop in pairwise(found.bounds)]
        assert lists == table[column].to_pylist()
    assert found.columns["input_ids"].dtype == np.int32
    assert found.uncut.tolist() == table["n_tokens"].to_pylist() and max(found.uncut) > 48
    arrays = [found.ids, found.labels, found.bounds, found.uncut, *found.columns.values()]
    assert all(array.flags.writeable for array in arrays)


def test_token_files_may_hold_several_row_groups_and_empty_lists(tmp_path):
    schema = token_files.schema(False, 0, Frame(0, 0, "head"))
    lists = [[1, 2], [], [3], [], [4, 5, 6]]
    columns = [range(5), [0, 1, 0, 1, 0], lists, [2, 0, 1, 0, 3]]
    pq.write_table(pa.table(columns, schema=schema), tmp_path / "t.parquet", row_group_size=2)
    found = token_files.read_tokens(tmp_path / "t.parquet", Cut(3, "auto"))
    assert found.columns["input_ids"].tolist() == [1, 2, 3, 4, 5, 6]
    assert found.bounds.tolist() == [0, 2, 2, 3, 3, 6]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_tokenizer_training_is_the_same_in_every_process(python, splits, tmp_path, architecture):
    line = (
        f"scratch --architecture {architecture} --vocab-size 700 "
        f"--reviews {splits}/train.parquet --out {tmp_path}"
    )
    call(encoder, f"{line}/here")
    subprocess.run(
        [python, "scripts/encoder.py", *f"{line}/there".split()],
        cwd=ROOT,
        env={"RAYON_NUM_THREADS": "3", "PATH": ""},
        check=True,
    )
    here, there = ((tmp_path / name / "tokenizer.json").read_bytes() for name in ("here", "there"))
    assert here == there


@pytest.mark.parametrize(
    ("architecture", "dropouts"),
    [
        ("bert", {"hidden_dropout_prob", "attention_probs_dropout_prob"}),
        ("modernbert", {"embedding_dropout", "mlp_dropout", "attention_dropout"}),
    ],
)
def test_a_new_encoder_is_as_it_was_asked_for(splits, tmp_path, architecture, dropouts):
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 40, "max_position_embeddings": 70, "vocab_size": 650}
    flags = " ".join(f"--{key.replace('_', '-')} {size}" for key, size in sizes.items())
    call(
        encoder,
        f"scratch --architecture {architecture} --dropout 0.3 {flags} "
        f"--reviews {splits}/train.parquet --out {tmp_path}/new",
    )
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "new")
    assert config.items() >= {**sizes, **dict.fromkeys(dropouts, 0.3)}.items()
    assert config["pad_token_id"] == tokenizer.convert_tokens_to_ids("[PAD]")
    assert len(tokenizer) == 650 and tokenizer.model_max_length == 70
    told = json.loads((tmp_path / "new" / "source.json").read_text())
    assert told.items() >= {**sizes, "architecture": architecture, "dropout": 0.3}.items()


@pytest.mark.parametrize(("name", "lower"), [("bert", True), ("modernbert", False)])
def test_tokenizers_are_of_their_family(encoders, name, lower):
    tokenizer = load_tokenizer(encoders[name])
    ids = tokenizer("The film was good.")["input_ids"]
    assert ids[0] == tokenizer.cls_token_id and ids[-1] == tokenizer.sep_token_id
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert text.replace(" ", "") == ("thefilmwasgood." if lower else "Thefilmwasgood.")
    assert len(tokenizer) <= 600
    assert (
        tokenizer.unk_token_id
        not in tokenizer('(7), 8-9? 10/10! <br /> $5: "x"; y\'s')["input_ids"]
    )


def test_the_rarest_characters_are_left_out_of_a_wordpiece_vocabulary(monkeypatch):
    monkeypatch.setattr(tokenizer_training, "ALPHABET", 3)
    found = tokenizer_training.train_wordpiece(lambda: ["aaaa", "bbb", "cc", "d"], 50).get_vocab()
    assert found.keys() >= {"a", "b", "c"} and "d" not in found
