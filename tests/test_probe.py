"""Encoders tried before anything is trained: what each is refused for, and what is found of it."""

import json
import os
from copy import deepcopy
from pathlib import Path

import pytest
import sentencepiece
import torch
import yaml
from conftest import CUT, ROOT, call
from families import bring, build, change, refusal, save
from transformers import (
    AddedToken,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    T5EncoderModel,
    ViTConfig,
    ViTModel,
)

import encoder
import pretokenize
import train
import vectors
from lib.command.console import UserError
from lib.data.encoders import load_config, load_tokenizer
from lib.study.config import check, lack_of
from lib.training.checkpoints import load_checkpoint, save_checkpoint
from lib.training.model import Classifier, load_encoder

BASE = yaml.safe_load((ROOT / "tests" / "config.yaml").read_text())
GRID = {"model": ["own"], "pooling": ["max"], "batch": [8], "seed": [1]}
LEFTOVERS = {"output_attentions": True, "output_hidden_states": True, "return_dict": False}
LEFTOVERS |= {"torchscript": True, "use_cache": True, "gradient_checkpointing": True}
LEFTOVERS |= {"dtype": "float16", "torch_dtype": "bfloat16", "chunk_size_feed_forward": 2}
LEFTOVERS |= {f"{name}attn_implementation": "someone/kernel" for name in ("", "_")}


def test_how_a_model_is_run_is_not_read_from_its_config(made):
    folder = made("bert")
    expected = load_encoder(folder, "cls").state_dict()
    change(folder / "config.json", **LEFTOVERS)
    bring(folder, "--poolings cls pooler padded-mean")
    model = Classifier(load_encoder(folder, "pooler"), "pooler", 2, 0.0).eval()
    assert all(torch.equal(expected[name], x) for name, x in model.encoder.state_dict().items())
    save_checkpoint(model, folder, folder.with_name("checkpoint"), CUT)
    ids = torch.tensor([[5, 6, 7]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids, dtype=torch.bool)}
    plain = AutoModel.from_pretrained(folder.with_name("checkpoint")).eval()
    states = plain(input_ids=ids).last_hidden_state
    torch.testing.assert_close(states, model.encode(inputs).last_hidden_state)
    assert torch.equal(model(inputs), load_checkpoint(folder.with_name("checkpoint"))(inputs))


NONE = "the tokenizer has no vocabulary, as there is no "


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("bert", "{}", f"{NONE}tokenizer.json or vocab.txt;"),
        ("albert", "{}", f"{NONE}spiece.model or tokenizer.json;"),
        ("roberta", "{}", f"{NONE}merges.txt or tokenizer.json or vocab.json;"),
        ("deberta-v2", "{}", f"{NONE}spm.model or tokenizer.json;"),
        ("bert", '{"tokenizer_class": "CanineTokenizer"}', "CanineTokenizer is slow; add a token"),
    ],
)
def test_a_tokenizer_without_the_file_that_it_needs_is_refused(made, family, settings, message):
    folder = made(family)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(settings)
    assert message in refusal(folder)


def test_a_vocabulary_without_merges_is_refused(made):
    folder = made("roberta")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["merges"] = []
    (folder / "tokenizer.json").write_text(json.dumps(content))
    message = "a vocabulary without the merges that lead to its tokens; add merges.txt"
    assert message in refusal(folder)


def test_a_vocabulary_far_smaller_than_the_models_is_refused(made, caplog):
    caplog.set_level("INFO")
    folder = made("bert")
    bring(folder)
    assert "been cut" not in caplog.text

    def enlarge(rows: int) -> None:
        BertModel(BertConfig.from_pretrained(folder, vocab_size=rows)).save_pretrained(folder)

    enlarge(1000)
    bring(folder)
    assert "but the model 1000; has its vocabulary been cut?" in caplog.text
    enlarge(6000)
    with pytest.raises(UserError, match=r"knows \d+ tokens, but the model 6000; they do not"):
        bring(folder)


def test_a_token_without_a_row_is_refused(made, tokenizers):
    folder = made("bert")
    tokenizer = load_tokenizer(folder)
    tokenizer.add_tokens([AddedToken("@user")])
    tokenizer.save_pretrained(folder)
    rows = len(tokenizers["wordpiece"])
    message = f"gives '@user' as token {rows}, but the model has rows for {rows} tokens"
    assert message in refusal(folder)
    model = AutoModel.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    bring(folder)


def test_a_sentencepiece_file_alone_is_a_tokenizer(made, sample):
    folder = made("deberta-v2")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    pieces = {"pad": "[PAD]", "bos": "[CLS]", "eos": "[SEP]", "unk": "[UNK]"}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text[:200] for text in sample["text"].to_pylist()),
        **{"model_prefix": str(folder / "spm"), "vocab_size": 400, "minloglevel": 2},
        **{f"{name}_id": number for number, name in enumerate(pieces)},
        **{f"{name}_piece": piece for name, piece in pieces.items()},
        user_defined_symbols="[MASK]",
    )
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    bring(folder)
    out, checkpoint = folder.with_name("out"), folder.with_name("checkpoint")
    assert (out / "spm.model").is_file() and not (out / "spm.vocab").exists()
    tokenizer = load_tokenizer(out)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    ids = tokenizer("a great film of the year", add_special_tokens=False)["input_ids"]
    assert ids == pieces.encode("a great film of the year") and tokenizer.unk_token_id not in ids
    save_checkpoint(Classifier(load_encoder(out, "max"), "max", 2, 0.0), out, checkpoint, CUT)
    again = AutoTokenizer.from_pretrained(checkpoint)
    assert again("a great film")["input_ids"] == tokenizer("a great film")["input_ids"]


@pytest.mark.parametrize(
    ("family", "longest"),
    [
        ("bert", 80),
        ("roberta", 79),  # 80 rows, of which that of the padding token, 0, is none of a position
        ("mpnet", 78),
        ("distilbert", 80),
        ("gpt2", 80),
        ("xlnet", None),
        ("modernbert", None),
    ],
)
def test_the_longest_input_is_that_which_passes(made, family, longest):
    more = {"max_position_embeddings": 80} if family == "distilbert" else {}
    folder = made(family, **more)
    assert bring(folder, f"--max-length {longest or 200}")["positions"] == longest
    if longest:
        folder.with_name("out").rename(folder.with_name("before"))
        with pytest.raises(UserError, match=f"takes {longest} tokens at most; lower max_length"):
            bring(folder, f"--max-length {longest + 1}")


def test_a_tokenizer_may_be_too_modest(made, caplog):
    folder = made("bert")
    change(folder / "tokenizer_config.json", model_max_length=20)
    bring(folder, "--max-length 40")
    assert "the tokenizer says that the model takes 20 tokens" in caplog.text


@pytest.mark.parametrize("family", ["fnet", "convbert", "funnel"])
def test_padding_that_changes_states_leaves_mean_alone(made, family):
    folder = made(family)
    message = "so pooling 'max' does not fit it; take padded-mean, or another encoder"
    assert message in refusal(folder, "--max-length 40 --poolings padded-mean max")
    lacks = bring(folder, "--max-length 40 --poolings padded-mean")["lacks"]
    assert set(lacks) == {"cls", "masked-mean", "max", "pooler", "head"}
    with pytest.raises(UserError, match=r"pooling 'max' does not fit '.*out', which lets the"):
        load_encoder(folder.with_name("out"), "max")
    assert load_encoder(folder.with_name("out"), "padded-mean")


def test_an_encoder_of_one_length_takes_that_alone(made):
    folder = made("nystromformer", num_landmarks=8, segment_means_seq_len=16)
    assert "fails on texts of 8 tokens" in refusal(folder, "--max-length 16 --poolings cls")
    assert bring(folder, "--max-length 16 --poolings padded-mean")["positions"] is None
    folder.with_name("out").rename(folder.with_name("before"))
    with pytest.raises(UserError, match=r"'.*own' can't be used: .*; take another encoder"):
        bring(folder, "--max-length 20 --poolings padded-mean")


@pytest.mark.parametrize("family", ["gpt2", "qwen3", "bloom"])
def test_a_causal_encoder_offers_no_cls(made, family):
    message = "is causal, and its first token sees no other, so pooling 'cls' does not"
    assert message in refusal(made(family), "--poolings max cls")


def test_an_encoder_in_which_two_tokens_are_alike_is_not_causal(made):
    folder = made("bert")
    model = BertModel.from_pretrained(folder)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[1] = model.embeddings.word_embeddings.weight[0]
    model.save_pretrained(folder)
    bring(folder, "--poolings cls")


def test_half_of_a_model_is_no_encoder(made):
    assert "t5 has a decoder beside its encoder" in refusal(made("t5"))
    assert "such as decoder.block.0" in refusal(made("t5", T5EncoderModel))


def test_an_encoder_of_pictures_is_refused(made):
    folder = made("bert")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    pictures = {**sizes, "intermediate_size": 48, "image_size": 32, "patch_size": 16}
    text = {**sizes, "vocab_size": 600, "intermediate_size": 48}
    vit = ViTModel(ViTConfig(**pictures))
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=pictures))
    for model, why in ((vit, "takes pixel_values, and no tok"), (clip, "has no table of tokens")):
        (folder / "model.safetensors").unlink()
        model.save_pretrained(folder)
        assert why in refusal(folder)


def test_a_config_without_model_type_is_named(made, tmp_path):
    folder = made("bert").rename(tmp_path / "bert-own")  # a path by which transformers guesses
    (folder / "config.json").write_text("{}")
    message = "config.json can't be used: it names no model_type, such as bert; "
    with pytest.raises(UserError, match=f"{message}mend it there"):
        bring(folder)
    with pytest.raises(UserError, match=message):
        load_config(folder)


def test_a_training_on_longer_texts_is_refused_as_it_begins(made, splits, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    bring(made("bert"))
    out = tmp_path / "out"
    flags = "--dataset d --model m --pooling max --batch 32 --seed 1 --max-length 81 --device cpu"
    call(pretokenize, f"--splits {splits} --encoder {out} --out {tmp_path}/tokens")
    given = f"--tokens {tmp_path}/tokens --encoder {out}"
    with pytest.raises(UserError, match=r"max_length is 81, but .* takes 80 tokens at most"):
        call(train, f"{given} --run {tmp_path}/run {flags}")
    flags = "--pooling max --max-length 81 --device cpu"
    with pytest.raises(UserError, match=r"max_length is 81, but .* takes 80 tokens at most"):
        call(vectors, f"{given} --out {tmp_path}/vectors {flags}")


def study(folder: Path, **changes: object) -> dict:
    """A study of one model, the configuration as it is checked."""
    models = {"own": {"source": "folder", "path": str(folder)}}
    config = deepcopy(BASE) | {"models": models, "grid": [GRID]} | changes
    check(config)
    return config


@pytest.fixture
def tried(made, tmp_path, monkeypatch) -> Path:
    """A causal encoder that was brought for a study of the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = made("gpt2")
    dataset = BASE["dataset"]["name"]
    out = f"results/encoders/dataset={dataset}/model=own"
    call(encoder, f"folder --path {folder} --poolings max --out {out}")
    return folder


def test_a_plan_knows_what_was_found_before(tried):
    assert lack_of(study(tried), "own", "cls").startswith("is causal")
    with pytest.raises(UserError, match=r"'own' is causal.*: padded-mean, masked-mean, max, head$"):
        study(tried, grid=[GRID | {"pooling": ["cls"]}])
    assert study(tried, max_length=80)
    with pytest.raises(UserError, match="'max_length' is 81; allowed: at most 80, the positions"):
        study(tried, max_length=81)


def test_a_plan_does_not_take_one_encoder_for_another(tried, made, tokenizers):
    later = (tried / "model.safetensors").stat().st_mtime + 100
    os.utime(tried / "model.safetensors", (later, later))
    assert lack_of(study(tried, max_length=200), "own", "cls") == ""
    other = save(build("bert", tokenizers["wordpiece"], {}), tokenizers["wordpiece"], Path("other"))
    assert lack_of(study(other, max_length=200), "own", "cls") == ""


def test_random_weights_are_tried_as_well(splits, tmp_path):
    line = f"scratch --architecture modernbert --reviews {splits}/train.parquet --hidden-size 32"
    line += f" --num-hidden-layers 1 --intermediate-size 48 --out {tmp_path}/new --poolings "
    with pytest.raises(UserError, match="new' has no pooler, so pooling 'pooler' does not fit it"):
        call(encoder, line + "pooler")
    call(encoder, line + "cls max")
    names = {"config.json", "tokenizer.json", "tokenizer_config.json", "source.json", "probe.json"}
    assert {path.name for path in (tmp_path / "new").iterdir()} == names
