"""Encoders that start from random weights: a config, and a tokenizer trained for them."""

from pathlib import Path

from transformers import BertConfig, ModernBertConfig

from lib.data.tokenizer_training import Texts, train_byte_bpe, train_wordpiece


def build_from_scratch(
    texts: Texts,
    folder: Path,
    architecture: str,
    sizes: dict[str, int],
    vocab_size: int,
    dropout: float,
) -> None:
    """Write the config of a new encoder and a tokenizer trained on `texts`; weights come later.

    Args:
        texts: gives a fresh iterator over the training texts at each call.
        folder: where to write.
        architecture: `bert` or `modernbert`.
        sizes: hidden_size, num_hidden_layers, num_attention_heads, intermediate_size and
            max_position_embeddings, as in the configs of transformers.
        vocab_size: entries of the vocabulary at most.
        dropout: probability, for every dropout inside the encoder.
    """
    if architecture == "bert":
        tokenizer = train_wordpiece(texts, vocab_size)
        config = BertConfig(
            hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, **sizes
        )
    else:
        tokenizer = train_byte_bpe(texts, vocab_size)
        config = ModernBertConfig(
            embedding_dropout=dropout,
            mlp_dropout=dropout,
            attention_dropout=dropout,
            cls_token_id=tokenizer.cls_token_id,
            sep_token_id=tokenizer.sep_token_id,
            bos_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id,
            **sizes,
        )
    config.vocab_size = len(tokenizer)
    config.pad_token_id = tokenizer.pad_token_id
    tokenizer.model_max_length = sizes["max_position_embeddings"]
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
