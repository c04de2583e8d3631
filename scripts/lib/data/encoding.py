"""The one way from texts to what an encoder sees of them."""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain, count
from pathlib import Path

from tokenizers import Encoding

from lib.command.console import UserError, one_line
from lib.data.cutting import HEAD, TAIL, Frame
from lib.data.encoder_files import TOKENIZER_FILES
from lib.data.encoders import load_tokenizer, using

SPACE = "▁"  # alone, a token of many tokenizers that stands for nothing but a space


class TextEncoding:
    """From texts to tokens, as the files of a tokenizer ask for.

    Which special tokens are added, and what becomes of those that a text spells out: all that is as
    they say, and as transformers does it. A length or padding that they store besides is left
    aside: texts are encoded whole, to be cut by a `Cut` with the `frame` of this, and padding is
    added where passes are made, on the right. Which side that is makes no difference to an encoder
    whose states do not depend on padding, and the first position is the first token so.

    Args:
        folder: of an encoder or a checkpoint.

    Raises:
        UserError: there is no tokenizer of texts alone, or its tokens are random.
    """

    def __init__(self, folder: Path) -> None:
        tokenizer = load_tokenizer(folder)
        self.folder = folder
        self.pad_id = tokenizer.pad_token_id
        self.has_types = "token_type_ids" in tokenizer.model_input_names
        self.backend = tokenizer.backend_tokenizer
        self.backend.no_padding()
        self.backend.no_truncation()
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
        before = self._special_tokens_before()
        cut = HEAD if tokenizer.truncation_side == "right" else TAIL
        self.frame = Frame(before, len(self.nothing) - before, cut)

    def _special_tokens_before(self) -> int:
        """How many of the special tokens stand before a text, as any text tells that has tokens."""
        for text in chain("a", self.backend.get_vocab(with_added_tokens=False)):
            mask = self.backend.encode(text).special_tokens_mask
            if 0 in mask:
                return mask.index(0)
        return len(self.nothing)

    def __call__(
        self, texts: Sequence[str], ids: Iterable[int] | None = None, offsets: bool = False
    ) -> list[Encoding]:
        """All tokens of each text.

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
        """What the encoder is fed, one value per token of each text, before texts are cut."""
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
