"""An encoder tried once, in the form in which it will be used, before anything is trained."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lib.command.console import UserError, announcements, log, one_line
from lib.data.cutting import AUTO, HEAD, Cut, Frame
from lib.data.encoder_files import CONFIG_FILE, PROBE
from lib.data.encoders import load_tokenizer, using
from lib.data.tokens import TOKEN_COLUMNS, TokenFile
from lib.files.manifests import advice
from lib.files.whole import to_json
from lib.training.batches import Tokens
from lib.training.checkpoints import load_checkpoint, save_checkpoint
from lib.training.device import explain_lack_of_memory, is_out_of_memory
from lib.training.model import Classifier, load_encoder, looks_ahead, read_own_head
from lib.training.own_head import OwnHead
from lib.training.poolings import (
    NAMES,
    OWN_HEAD,
    PADDED_MEAN,
    POOLER,
    has_own_head,
    has_pooler,
)

# How far a state may move, relative to its norm, where nothing but rounding differs. Padding moved
# those of some fifty families by 4e-7 at most, and by 5e-5 in deep ones with exaggerated weights;
# where it is not left out of account, by 1e-3 or more.
TOLERANCE = 3e-4
SHORT = 16  # tokens, at most, of the text that is padded
SHORTEST = 3  # tokens of an input, as in the schema
WORDS = 64  # tokens of the vocabulary that the text is made of
FEW, MOST = 0.1, 0.9  # of the tokens that the model has rows for
CHARACTERS = 512  # tokens of a vocabulary of single characters or bytes, at most


def probe(folder: Path, name: str, max_length: int, poolings: Sequence[str]) -> None:
    """Try an encoder, and write what was found of it into its folder.

    Args:
        folder: of the encoder.
        name: where it comes from, for errors.
        max_length: tokens of the longest input.
        poolings: that are asked of it.

    Raises:
        UserError: it can't be used; the message names what is wrong with it.
    """
    with _trying(folder, name), explain_lack_of_memory("lower max_length"):
        encoder = load_encoder(folder, PADDED_MEAN)
        tokenizer = load_tokenizer(folder)
        _check_vocabulary(folder, tokenizer, encoder)
        pooling = POOLER if has_pooler(encoder) else PADDED_MEAN
        with using(folder, CONFIG_FILE):
            trial = Trial(folder, tokenizer, Classifier(encoder, pooling, 2, 0.0).eval())
        trial.check_length(max_length)
        lacks = _lacks(trial, max_length)
        for pooling in poolings:
            if pooling in lacks:
                others = [each for each in NAMES if each not in lacks]
                raise UserError(
                    f"'{folder}' {lacks[pooling]}, so pooling '{pooling}' does not fit it; take "
                    f"{' or '.join(others)}, or another encoder"
                )
        trial.check_checkpoint(max_length)
        if OWN_HEAD in poolings:
            HeadTrial.of(folder, tokenizer).check_checkpoint(max_length)
        facts = {"lacks": lacks, "positions": trial.positions(max_length)}
        (folder / PROBE).write_text(to_json(facts, indent=2) + "\n", "utf-8")


@contextmanager
def _trying(folder: Path, name: str) -> Iterator[None]:
    """Use one thread, as a job that claims one core, and let errors name where an encoder is from.

    Its folder is a temporary one, which is gone when they are read.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    except UserError as error:
        said = str(error).replace(advice(folder), "mend it there, or take another encoder")
        raise UserError(said.replace(f"'{folder}", f"'{name}")) from error
    finally:
        torch.set_num_threads(threads)


def _check_vocabulary(
    folder: Path, tokenizer: PreTrainedTokenizerFast, encoder: PreTrainedModel
) -> None:
    """Refuse a tokenizer that does not belong to the model, or has lost its vocabulary."""
    try:
        rows = encoder.get_input_embeddings().weight.shape[0]
    except (NotImplementedError, AttributeError) as error:
        raise UserError(
            f"'{folder}': {encoder.config.model_type} has no table of tokens; take an encoder of "
            "texts alone"
        ) from error
    known = len(_ordinary(tokenizer))
    if not known:
        files = sorted(set(tokenizer.vocab_files_names.values()))
        raise UserError(
            f"'{folder}': the tokenizer has no vocabulary, as there is no {' or '.join(files)}; "
            "add what belongs to it, or write it with tokenizer.save_pretrained(folder)"
        )
    if known < FEW * rows:
        raise UserError(
            f"'{folder}': the tokenizer knows {known} tokens, but the model {rows}; they do not "
            "belong together, so give the tokenizer that the model was trained with"
        )
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if model["type"] == "BPE" and not model["merges"] and known > CHARACTERS:
        raise UserError(
            f"'{folder}': the tokenizer has a vocabulary without the merges that lead to its "
            "tokens; add merges.txt, or write it with tokenizer.save_pretrained(folder)"
        )
    if known < MOST * rows:
        announcements.warning(
            "'%s': the tokenizer knows %d tokens, but the model %d; has its vocabulary been cut?",
            *(folder.name, known, rows),
        )
    token, highest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if highest >= rows:
        raise UserError(
            f"'{folder}': the tokenizer gives '{token}' as token {highest}, but the model has rows "
            f"for {rows} tokens; resize it with model.resize_token_embeddings(len(tokenizer)), and "
            "save both with save_pretrained"
        )


def _ordinary(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The tokens of the vocabulary proper: neither special nor added."""
    vocabulary = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False)
    others = {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}
    return sorted(number for token, number in vocabulary.items() if token not in others)


def _lacks(trial: "Trial", max_length: int) -> dict[str, str]:
    """Why an encoder does not offer some of the poolings, by their names."""
    padding = trial.effect_of_padding(max_length)
    lacks = {each: padding for each in NAMES if padding and each != PADDED_MEAN}
    if not has_pooler(trial.encoder):
        lacks[POOLER] = "has no pooler"
    if not padding and not looks_ahead(trial.encoder):
        lacks["cls"] = "is causal, and its first token sees no other"
    if not padding and (lack := _lack_of_head(trial, max_length)):
        lacks[OWN_HEAD] = lack
    return lacks


def _lack_of_head(trial: "Trial", max_length: int) -> str:
    """Why an encoder can't be used in the classifier of its architecture; empty if it can."""
    if not has_own_head(trial.encoder.config):
        return "has no classifier of its own in transformers"
    try:
        head = HeadTrial.of(trial.folder, trial.tokenizer)
        effect = head.effect_of_padding(max_length) or head.effect_of_parting(max_length)
    except Exception as error:  # which may be any, as in `using`
        effect = f"can't be used ({_reason(error)})"
    return f"has a classifier of its own that {effect}" if effect else ""


class Trial:
    """An encoder under trial, with texts of any length.

    Args:
        folder: of the encoder.
        tokenizer: its tokenizer.
        model: a classifier that has it.
    """

    def __init__(self, folder: Path, tokenizer: PreTrainedTokenizerFast, model: Classifier) -> None:
        self.folder = folder
        self.tokenizer = tokenizer
        self.model = model
        self.encoder = model.encoder
        ordinary = _ordinary(tokenizer)
        self.words = tokenizer.decode(ordinary[:: len(ordinary) // WORDS + 1]) + " "
        self.count = max(1, len(tokenizer(self.words, add_special_tokens=False)["input_ids"]) - 1)

    def batch(self, *lengths: int, width: int = 0) -> dict[str, Tensor]:
        """The inputs of a batch of texts that have so many tokens, padded to a width at least."""
        text = self.words * (max(lengths) // self.count + 1)
        texts = [self.tokenizer(text, truncation=True, max_length=length) for length in lengths]
        columns = {
            name: np.concatenate([text[name] for text in texts])
            for name in TOKEN_COLUMNS
            if name in texts[0]
        }
        bounds = np.cumsum([0, *(len(text["input_ids"]) for text in texts)])
        ids, pad_id = np.arange(len(texts)), self.tokenizer.pad_token_id
        cut = Cut(max(width, *lengths), AUTO)
        frame = Frame(0, 0, HEAD)  # the texts are cut already
        file = TokenFile(ids, ids, columns, bounds, np.diff(bounds), pad_id, cut, frame)
        tokens = Tokens.of(file, torch.device("cpu"), PADDED_MEAN)
        return tokens.batch(torch.arange(len(tokens)))

    @torch.inference_mode()
    def states(self, *lengths: int, width: int = 0) -> Tensor:
        """The states of the first text of such a batch."""
        states = self.model.encode(self.batch(*lengths, width=width)).last_hidden_state
        return states[0, : lengths[0]]

    def _fails(self, length: int) -> str:
        """Why the encoder fails on a text of so many tokens; empty if it does not."""
        try:
            self.states(length)
        except Exception as error:  # which may be any, as in `using`
            return _reason(error)
        return ""

    def check_length(self, max_length: int) -> None:
        """Refuse an encoder that fails on inputs of full length.

        Raises:
            UserError: it does; the message tells of the longest on which it does not.
        """
        if self.tokenizer.model_max_length < max_length:
            longest = self.tokenizer.model_max_length
            log.warning("the tokenizer says that the model takes %d tokens", longest)
        if not (why := self._fails(max_length)):
            return
        if max_length == SHORTEST or self._fails(SHORTEST):
            raise UserError(f"'{self.folder}' can't be used: {why}; take another encoder")
        passing, failing = SHORTEST, max_length
        while failing - passing > 1:
            middle = (passing + failing) // 2
            passing, failing = (passing, middle) if self._fails(middle) else (middle, failing)
        raise UserError(
            f"max_length is {max_length}, but the encoder '{self.folder}' takes {passing} tokens "
            "at most; lower max_length in the config"
        )

    def effect_of_padding(self, max_length: int) -> str:
        """Why texts of unequal length can't share a pass; empty if they can."""
        short = _short(max_length)
        try:
            alone = self.states(short)
            beside = [
                self.states(short, short + more) for more in (1, 5) if short + more <= max_length
            ]
            padded = self.states(short, width=max_length)
        except Exception as error:  # which may be any, as in `using`
            return f"fails on texts of {short} tokens ({_reason(error)})"
        if any(_differ(alone, states) for states in (*beside, padded)):
            return "lets the padding beside a text change its states"
        return ""

    def check_checkpoint(self, max_length: int) -> None:
        """Refuse an encoder that is another once it is saved and loaded again.

        Raises:
            UserError: it is, or can't be saved or loaded.
        """
        short = _short(max_length)
        batch = self.batch(max_length if self._fails(short) else short)
        with TemporaryDirectory(dir=self.folder) as place, torch.inference_mode():
            checkpoint = Path(place) / "checkpoint"
            with using(self.folder, CONFIG_FILE):
                before = self.model(batch)
                if _differ(before, self.model(batch)):
                    raise UserError(
                        f"'{self.folder}': {self.encoder.config.model_type} gives other states in "
                        "each pass, by chance; set in config.json what makes it exact, such as "
                        "attention_type original_full of big_bird, or take another encoder"
                    )
                save_checkpoint(self.model, self.folder, checkpoint, Cut(max_length, AUTO))
            if _differ(before, load_checkpoint(checkpoint)(batch)):
                raise UserError(
                    f"'{self.folder}': once {self.encoder.config.model_type} is saved and loaded "
                    "again, it gives other states; take another encoder"
                )

    def positions(self, max_length: int) -> int | None:
        """The longest input that tables of positions have rows for; None if there are no such.

        They are the tables that are looked up one row further for each token more.
        """
        short = _short(max_length)
        if self._fails(short) or self._fails(short - 1):
            return None
        with Lookups() as less:
            self.states(short - 1)
        with Lookups() as more:
            self.states(short)
        tokens = self.encoder.get_input_embeddings().weight.data_ptr()
        left = [
            rows - 1 - highest
            for (table, rows), highest in more.highest.items()
            if highest - less.highest.get((table, rows), highest) == 1 and table != tokens
        ]
        return short + min(left) if left else None


class HeadTrial(Trial):
    """The classifier of an architecture under trial, with its encoder."""

    model: OwnHead

    @classmethod
    def of(cls, folder: Path, tokenizer: PreTrainedTokenizerFast) -> "HeadTrial":
        """That of a folder."""
        return cls(folder, tokenizer, OwnHead(read_own_head(folder), 0.0).eval())

    @torch.inference_mode()
    def states(self, *lengths: int, width: int = 0) -> Tensor:
        """The vector of the first text of such a batch."""
        return self.model.represent(self.batch(*lengths, width=width))[0]

    @torch.inference_mode()
    def effect_of_parting(self, max_length: int) -> str:
        """Why it is not taken apart as it is here; empty if it gives the same logits so."""
        inputs = self.model.taken(self.batch(_short(max_length)))
        found = self.model(inputs)
        with self.model.assembled() as own:
            return "gives other logits in parts" if _differ(found, own(**inputs).logits) else ""


def _short(max_length: int) -> int:
    """Tokens of a text that leaves room for padding."""
    return max(SHORTEST, min(SHORT, max_length // 2))


def _reason(error: Exception) -> str:
    """Why a pass has failed.

    Raises:
        RuntimeError: for lack of memory, which says nothing of the encoder.
    """
    if is_out_of_memory(error):
        raise error
    return one_line(error) or type(error).__name__


class Lookups(TorchDispatchMode):
    """The rows that are looked up in tables while it is on.

    Attributes:
        highest: number of the highest row, by the table's place in memory and number of rows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.highest: dict[tuple[int, int], int] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Collection[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Note a look-up, and do as usual."""
        if func is torch.ops.aten.embedding.default:
            table, rows = args[:2]
            key = (table.data_ptr(), len(table))
            self.highest[key] = max(int(rows.max()), self.highest.get(key, 0))
        return func(*args, **kwargs or {})


def _differ(one: Tensor, other: Tensor) -> bool:
    """Whether states are apart by more than rounding explains."""
    return bool(((one - other).norm(dim=-1) > TOLERANCE * one.norm(dim=-1)).any())
