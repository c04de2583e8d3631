"""Tiny encoders of many families of transformers, with tokenizers trained on real reviews."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import call
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CONFIG_MAPPING, AutoModel, PreTrainedModel, PreTrainedTokenizerFast

import encoder
from lib.command.console import UserError
from lib.data.tokenizer_training import SPECIAL, _finish, train_byte_bpe, train_wordpiece

VOCABULARY = 600
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 80,
}
WIDE = {"d_model": 32, "num_layers": 1, "num_heads": 2, "d_kv": 16, "d_ff": 48}
FUNNEL = {"d_model": 32, "block_sizes": [1, 1], "n_head": 2, "d_head": 16, "d_inner": 48}
FUNNEL |= {"architectures": ["FunnelModel"]}
GROUPS = {f"{part}_groups": 1 for part in ("q", "k", "v", "post_attention")}
GROUPS |= {f"{part}_groups": 1 for part in ("intermediate", "output")}
WORDPIECE, BYTES, UNIGRAM = "wordpiece", "bytes", "unigram"

# family -> its tokenizer, and what its config asks for besides
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "albert": (UNIGRAM, {"embedding_size": 16}),
    "bert": (WORDPIECE, {}),
    "big_bird": (UNIGRAM, {"attention_type": "original_full"}),
    "bloom": (BYTES, {"n_layer": 2, "n_head": 2}),
    "camembert": (UNIGRAM, {}),
    "data2vec-text": (BYTES, {}),
    "deberta": (BYTES, {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    "deberta-v2": (
        UNIGRAM,
        {
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
            "position_biased_input": False,
        },
    ),
    "distilbert": (WORDPIECE, {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48}),
    "electra": (WORDPIECE, {"embedding_size": 16}),
    "ernie": (WORDPIECE, {}),
    "esm": (WORDPIECE, {"position_embedding_type": "rotary"}),
    "eurobert": (BYTES, {"num_key_value_heads": 2}),
    "flaubert": (BYTES, {"emb_dim": 32, "n_layers": 2, "n_heads": 2}),
    "gpt2": (BYTES, {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 80}),
    "ibert": (BYTES, {}),
    "layoutlm": (WORDPIECE, {"max_2d_position_embeddings": 64}),
    "longformer": (BYTES, {"attention_window": 16}),
    "luke": (BYTES, {"entity_vocab_size": 10, "entity_emb_size": 16}),
    "megatron-bert": (WORDPIECE, {}),
    "mobilebert": (
        WORDPIECE,
        {"embedding_size": 16, "intra_bottleneck_size": 32, "true_hidden_size": 32},
    ),
    "modernbert": (BYTES, {"local_attention": 16}),
    "mpnet": (WORDPIECE, {}),
    "nomic_bert": (WORDPIECE, {}),
    "qwen3": (BYTES, {"head_dim": 16, "num_key_value_heads": 2}),
    "rembert": (UNIGRAM, {"input_embedding_size": 16, "output_embedding_size": 16}),
    "roberta": (BYTES, {}),
    "roberta-prelayernorm": (BYTES, {}),
    "roformer": (WORDPIECE, {"embedding_size": 32}),
    "splinter": (WORDPIECE, {}),
    "squeezebert": (WORDPIECE, {"embedding_size": 32, **GROUPS}),
    "xlm": (BYTES, {"emb_dim": 32, "n_layers": 2, "n_heads": 2}),
    "xlm-roberta": (UNIGRAM, {}),
    "xlm-roberta-xl": (UNIGRAM, {}),
    "xlnet": (UNIGRAM, {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 48}),
    "xmod": (UNIGRAM, {"languages": ["en_XX"], "default_language": "en_XX"}),
}
# family -> the same, and why it is refused
PADDING = "lets the padding beside a text change its states, so pooling 'masked-mean' does not fit"
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "bart": (
        BYTES,
        {"d_model": 32},
        "bart has a decoder beside its encoder; take an encoder alone",
    ),
    "convbert": (
        WORDPIECE,
        {"embedding_size": 32, "head_ratio": 1, "conv_kernel_size": 3},
        PADDING,
    ),
    "fnet": (UNIGRAM, {"tpu_short_seq_length": 80}, PADDING),
    "funnel": (
        WORDPIECE,
        FUNNEL,
        PADDING,
    ),
    "nystromformer": (WORDPIECE, {"num_landmarks": 8, "segment_means_seq_len": 8}, PADDING),
    "t5": (UNIGRAM, WIDE, "t5 has a decoder beside its encoder; take an encoder alone"),
}


def train_unigram(texts, vocab_size: int) -> PreTrainedTokenizerFast:
    """A Unigram tokenizer as SentencePiece makes them."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL.values()),
        unk_token=SPECIAL["unk_token"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return _finish(tokenizer, ["input_ids", "token_type_ids", "attention_mask"])


def train_tokenizers(texts: list[str]) -> dict[str, PreTrainedTokenizerFast]:
    """A tokenizer of each kind."""
    kinds = {WORDPIECE: train_wordpiece, BYTES: train_byte_bpe, UNIGRAM: train_unigram}
    return {kind: train(lambda: texts, VOCABULARY) for kind, train in kinds.items()}


def build(family: str, tokenizer: PreTrainedTokenizerFast, settings: dict) -> PreTrainedModel:
    """A tiny encoder with random weights, which pads with the tokenizer's token."""
    own_names = {"dim", "d_model", "n_embd", "emb_dim"} & set(settings)
    named = "num_layers" in settings
    sizes = {} if own_names or named else SIZES
    special = {
        "pad_token_id": tokenizer.pad_token_id,
        "pad_index": tokenizer.pad_token_id,
        "mask_token_id": tokenizer.mask_token_id,
        **dict.fromkeys(("bos_token_id", "cls_token_id"), tokenizer.cls_token_id),
        **dict.fromkeys(("eos_token_id", "sep_token_id"), tokenizer.sep_token_id),
    }
    config = CONFIG_MAPPING[family](vocab_size=len(tokenizer), **special, **sizes, **settings)
    torch.manual_seed(1)
    return AutoModel.from_config(config).eval()


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    """Write an encoder as people have them."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def bring(folder: Path, flags: str = "--poolings masked-mean") -> dict:
    """Bring an encoder, and return what was found of it."""
    out = folder.with_name("out")
    call(encoder, f"folder --path {folder} {flags} --out {out}")
    return json.loads((out / "probe.json").read_text())


def refusal(folder: Path, flags: str = "--poolings masked-mean") -> str:
    """Why an encoder is refused, of which nothing is left behind."""
    with pytest.raises(UserError) as refused:
        bring(folder, flags)
    assert not [path for path in folder.parent.iterdir() if "out" in path.name]
    said = str(refused.value)
    assert "\n" not in said and str(folder) in said and ".tmp" not in said
    return said


def change(path: Path, **entries: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def reweigh(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})
