"""Encoders whose tokenizers differ in what their files ask for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, BertConfig, PreTrainedTokenizerFast

STORED = {  # as sentence-transformers leaves them, and the other side
    "truncation": {
        "direction": "Left",
        "max_length": 20,
        "strategy": "OnlySecond",
        "stride": 3,
    },
    "padding": {
        "strategy": {"Fixed": 24},
        "direction": "Left",
        "pad_to_multiple_of": 8,
        "pad_id": 0,
        "pad_type_id": 1,
        "pad_token": "[PAD]",
    },
}


def change(folder: Path, name: str, **entries: object) -> None:
    """Change entries of a JSON file of an encoder."""
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def configured(**entries: object) -> Callable[[Path], None]:
    """What changes `tokenizer_config.json`."""
    return lambda folder: change(folder, "tokenizer_config.json", **entries)


def store(folder: Path) -> None:
    """Let `tokenizer.json` store truncation and padding of its own."""
    change(folder, "tokenizer.json", **STORED)


def without_special_tokens(folder: Path) -> None:
    """Let no special tokens be added, as GPT-2."""
    change(folder, "tokenizer.json", post_processor=None)


def typed(folder: Path) -> None:
    """Let the first token be of another type, as of XLNet and Funnel."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:1 $A:0 [SEP]:0", special_tokens=special
    )
    tokenizer.save_pretrained(folder)


def unigram(folder: Path) -> None:
    """A Unigram model over words with a mark of the space before them, as XLM-RoBERTa's."""
    texts = [" ".join(AutoTokenizer.from_pretrained(folder).get_vocab())]
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    save(folder, PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names))


def save(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Give a BERT another tokenizer."""
    tokenizer.save_pretrained(folder)
    config = BertConfig.from_pretrained(folder)
    config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    config.save_pretrained(folder)


# kind -> the architecture that it starts from, and what is changed
KINDS: dict[str, tuple[str, tuple[Callable[[Path], None], ...]]] = {
    "right": ("bert", ()),
    "left": ("bert", (configured(truncation_side="left"),)),
    "left bytes": ("modernbert", (configured(truncation_side="left"),)),
    "bytes without special tokens": ("modernbert", (without_special_tokens,)),
    "padding left": ("modernbert", (configured(padding_side="left"),)),
    "stored": ("bert", (store,)),
    "unigram": ("bert", (unigram, configured(truncation_side="left"))),
    "typed": ("bert", (typed,)),
    "no mask": ("modernbert", (configured(model_input_names=["input_ids"]),)),
    "spelled out": ("bert", (configured(split_special_tokens=True),)),
}


def make(kind: str, encoders: dict[str, Path], folder: Path) -> Path:
    """An encoder of a kind, without weights."""
    architecture, changes = KINDS[kind]
    shutil.copytree(encoders[architecture], folder)
    for each in changes:
        each(folder)
    return folder
