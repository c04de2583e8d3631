"""Tokenizers trained from scratch, for encoders that start from random weights.

The same texts give the same tokenizer, on any machine and any number of threads.
"""

from collections import Counter
from collections.abc import Callable, Iterable

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
ALPHABET = 1000  # characters that a WordPiece vocabulary holds at most, as in BERT's
PREFIX = "##"

Texts = Callable[[], Iterable[str]]


def train_wordpiece(texts: Texts, vocab_size: int) -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer as BERT's.

    Args:
        texts: gives a fresh iterator over the training texts at each call.
        vocab_size: entries at most, special tokens included.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # The trainer numbers characters as it meets them, in an order that differs between processes,
    # and breaks ties between merges by these numbers. Given as special tokens, they are in order.
    characters = _alphabet(texts, tokenizer)
    pieces = [*SPECIAL.values(), *characters, *(PREFIX + character for character in characters)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=pieces,
        limit_alphabet=ALPHABET,
        continuing_subword_prefix=PREFIX,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    trained = Tokenizer(models.WordPiece(tokenizer.get_vocab(), unk_token=SPECIAL["unk_token"]))
    trained.normalizer = tokenizer.normalizer
    trained.pre_tokenizer = tokenizer.pre_tokenizer
    trained.decoder = decoders.WordPiece(prefix=PREFIX)
    return _finish(trained, ["input_ids", "token_type_ids", "attention_mask"])


def _alphabet(texts: Texts, tokenizer: Tokenizer) -> list[str]:
    """The most frequent characters of the normalised texts, sorted."""
    counts: Counter[str] = Counter()
    for text in texts():
        counts.update(tokenizer.normalizer.normalize_str(text))
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    return sorted(character for character in ranked[:ALPHABET] if not character.isspace())


def train_byte_bpe(texts: Texts, vocab_size: int) -> PreTrainedTokenizerFast:
    """A cased byte-level BPE tokenizer as ModernBERT's. Arguments as for `train_wordpiece`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return _finish(tokenizer, ["input_ids", "attention_mask"])


def _finish(tokenizer: Tokenizer, inputs: list[str]) -> PreTrainedTokenizerFast:
    cls, sep = SPECIAL["cls_token"], SPECIAL["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(cls, tokenizer.token_to_id(cls)), (sep, tokenizer.token_to_id(sep))],
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=inputs, **SPECIAL)
