"""The one way from texts to what an encoder sees of them."""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path

from tokenizers import Encoding

from lib.command.console import UserError, one_line
from lib.data.encoder_files import TOKENIZER_FILES
from lib.data.encoders import load_tokenizer, using

SPACE = "▁"  # alone, a token of many tokenizers that stands for nothing but a space


class TextEncoding:
    """From texts to tokens, as the files of a tokenizer ask for.

    Which end of a long text is cut, which special tokens are added, and what becomes of those that
    a text spells out: all that is as they say, and as transformers does it. A length or padding
    that they store besides is left aside: the length is `max_length`, and padding is added where
    passes are made, on the right. Which side that is makes no difference to an encoder whose states
    do not depend on padding, and the first position is the first token so.

    Args:
        folder: of an encoder or a checkpoint.
        max_length: tokens kept of each text, special tokens included.

    Raises:
        UserError: there is no tokenizer of texts alone, its tokens are random, or `max_length` has
            no room for more than special tokens.
    """

    def __init__(self, folder: Path, max_length: int) -> None:
        tokenizer = load_tokenizer(folder)
        self.folder = folder
        self.max_length = max_length
        self.pad_id = tokenizer.pad_token_id
        self.has_types = "token_type_ids" in tokenizer.model_input_names
        self.backend = tokenizer.backend_tokenizer
        self.backend.no_padding()
        self.nothing = self.backend.encode("").ids  # the special tokens that each text has
        with using(folder, *TOKENIZER_FILES):
            if tokenizer("")["input_ids"] != self.nothing:
                raise ValueError(f"{type(tokenizer).__name__} makes other tokens than it")
        for key in ("dropout", "alpha"):  # of BPE and of Unigram
            if getattr(self.backend.model, key, None):
                raise UserError(
                    f"'{folder}': the tokenizer draws tokens at random, by '{key}'; set it to null "
                    "in tokenizer.json"
                )
        if max_length <= len(self.nothing):
            raise UserError(
                f"max_length is {max_length}, but the encoder '{folder}' adds {len(self.nothing)} "
                "special tokens to each text; raise max_length in the config"
            )
        self.backend.enable_truncation(max_length, direction=tokenizer.truncation_side)

    def __call__(
        self, texts: Sequence[str], ids: Iterable[int] | None = None, offsets: bool = False
    ) -> list[Encoding]:
        """What the encoder sees of each text.

        Args:
            texts: to encode.
            ids: numbers of the texts, for errors; their positions if none are given.
            offsets: whether it is asked where each token stands in its text, which takes longer.

        Raises:
            UserError: a text is no valid Unicode, or holds what the tokenizer has no token for.
        """
        encode = self.backend.encode_batch if offsets else self.backend.encode_batch_fast
        try:
            return encode(list(texts))
        except Exception:  # of no kind of its own
            for number, text in zip(count() if ids is None else ids, texts, strict=False):
                self._explain(number, text)
            raise

    def _explain(self, number: int, text: str) -> None:
        try:
            text.encode()
            self.backend.encode_batch_fast([text])
        except Exception as error:
            raise UserError(
                f"text {number} can't become tokens of '{self.folder}': {one_line(error)}; leave "
                "it out, or take another encoder"
            ) from error

    def columns(self, encodings: Sequence[Encoding]) -> dict[str, list[list[int]]]:
        """What the encoder is fed, one value per token of each text."""
        found = {"input_ids": [encoding.ids for encoding in encodings]}
        if self.has_types:
            found["token_type_ids"] = [encoding.type_ids for encoding in encodings]
        return found

    @cached_property
    def unknown_id(self) -> int | None:
        """The token that stands for what the tokenizer does not know, if there is one."""
        model = json.loads(self.backend.to_str())["model"]
        name = model.get("unk_token")
        return model.get("unk_id") if name is None else self.backend.token_to_id(name)

    @cached_property
    def space_id(self) -> int | None:
        """The token that stands for a space alone, if there is one."""
        return self.backend.token_to_id(SPACE)
