"""Sentence vectors of an encoder that is not trained: computed once, learned from many times."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from lib.command.console import UserError, log
from lib.data.cutting import Cut
from lib.data.encoder_files import WEIGHT_FILES, check_length, describe_encoder, names_in
from lib.files.manifests import advice, reading, sha256
from lib.files.whole import write_parquet
from lib.study.config import lack_of_vectors
from lib.training.backends import Torch, connect
from lib.training.batches import Bounds, Tokens, load_tokens
from lib.training.checkpoints import new_classifier
from lib.training.device import explain_lack_of_memory
from lib.training.model import VECTORS
from lib.training.prediction import compute
from lib.training.saving import differences

FILES = ("train.parquet", "valid.parquet", "test.parquet")
ADVICE = "lower eval_batch, micro_tokens or max_length"
MADE_OF = b"made_of"  # of the metadata, which tell of what the vectors were made


@dataclass(frozen=True)
class Pooled(Tokens):
    """A split whose batches are sentence vectors, in passes like those of its tokens.

    Attributes:
        vectors: `(n, width)` float32 tensor on the device.
    """

    vectors: Tensor

    @classmethod
    def of_tokens(cls, tokens: Tokens, vectors: Tensor) -> "Pooled":
        """A split by its vectors; of its tokens, their numbers alone are kept."""
        facts = vars(tokens) | {"columns": {}}
        return cls(**facts, vectors=vectors.to(tokens.labels.device))

    def select(self, rows: Tensor) -> "Pooled":
        """Some examples, by an int64 tensor of rows on the CPU."""
        kept = self.vectors[rows.to(self.vectors.device)]
        return Pooled(**vars(super().select(rows)) | {"vectors": kept})

    def batch(self, rows: Tensor) -> dict[str, Tensor]:
        """The vectors `(b, width)` of some examples, by a `(b,)` int64 tensor on the CPU."""
        return {VECTORS: self.vectors[rows.to(self.vectors.device, non_blocking=True)]}


def write_vectors(
    tokens: Path, encoder: Path, pooling: str, out: Path, settings: Mapping[str, Any]
) -> None:
    """Compute the vectors of all splits, as a test does; write a file for each.

    Args:
        tokens: folder of the tokenized splits.
        encoder: folder of the encoder.
        pooling: of its states.
        out: folder to write to.
        settings: those of the section `training` on which vectors depend.

    Raises:
        UserError: the encoder or the pooling has no vectors that stay as they are, something can't
            be used, or the device is out of memory.
    """
    if lack := lack_of_vectors(pooling, has_weights=bool(names_in(encoder, *WEIGHT_FILES))):
        raise UserError(f"there are no vectors of '{encoder}' for all trainings: {lack}")
    check_length(encoder, settings["max_length"])
    backend = connect({**settings, "backend": "torch"}, seed=0)
    cut, digests = Cut(settings["max_length"], settings["truncation"]), digests_of(encoder)
    with explain_lack_of_memory(ADVICE):
        pool = pooler(encoder, pooling, settings, backend)
        for name in FILES:
            split = load_tokens(tokens / name, cut, backend.device, pooling)
            found = pool(split).cpu().numpy()
            flat, width = pa.array(found.ravel()), found.shape[1]
            columns = {"id": split.ids, "vector": pa.FixedSizeListArray.from_arrays(flat, width)}
            facts = facts_of(tokens / name, split.cut, pooling, digests)
            told = {MADE_OF: json.dumps(facts)}
            write_parquet(out / name, pa.table(columns).replace_schema_metadata(told))
            log.info("%d vectors of %d numbers: %s", len(split), width, out / name)


def pooler(
    encoder: Path, pooling: str, settings: Mapping[str, Any], backend: Torch
) -> Callable[[Tokens], Tensor]:
    """What computes the `(n, width)` vectors of a split, by an encoder as it is in a test.

    Args:
        encoder: its folder.
        pooling: of its states.
        settings: those of the section `training` that bound a pass.
        backend: how to compute.
    """
    model = new_classifier(encoder, pooling, 1, 0.0).to(backend.device).eval()
    bounds = Bounds.of(settings["eval_batch"], settings["micro_tokens"], backend.device)
    width = model.head.in_features
    return lambda split: compute(model.represent, width, split, bounds, backend)


def load_vectors(
    path: Path, tokens: Path, split: Tokens, pooling: str, encoder: Mapping[str, str]
) -> Pooled:
    """A split by the vectors that `write_vectors` has computed of it.

    Args:
        path: their file.
        tokens: the token file of the split.
        split: its content, cut.
        pooling: that is asked for.
        encoder: the digests of its files.

    Raises:
        UserError: the file is missing or damaged, or holds vectors of something else.
    """
    with reading(path):
        table = pq.read_table(path, partitioning=None)
        if MADE_OF not in (table.schema.metadata or {}):
            raise ValueError("it holds no vectors of vectors.py")
        found = json.loads(table.schema.metadata[MADE_OF])
        flat = table["vector"].combine_chunks().flatten().to_numpy().copy()
        vectors = torch.from_numpy(flat.reshape(len(table), -1))
    if others := differences(found, facts_of(tokens, split.cut, pooling, encoder)):
        raise UserError(f"'{path}' holds vectors of other {', '.join(others)}; {advice(path)}")
    if len(table) != len(split):
        raise UserError(
            f"'{path}' holds {len(table)} vectors, but the split has {len(split)} texts; "
            f"{advice(path)}"
        )
    return Pooled.of_tokens(split, vectors)


def facts_of(tokens: Path, cut: Cut, pooling: str, encoder: Mapping[str, str]) -> dict[str, Any]:
    """What vectors are made of, as their file tells it."""
    facts = {"tokens": sha256(tokens), "pooling": pooling, **cut._asdict()}
    return facts | {"encoder": dict(encoder)}


def refuse_vectors_of_trained(freeze: str | int) -> None:
    """Refuse vectors beside a training that changes the encoder.

    Args:
        freeze: the setting of the training.

    Raises:
        UserError: the encoder is trained, as a whole or in part.
    """
    if freeze != "encoder":
        raise UserError(
            f"freeze is {freeze}, but vectors are of an encoder that is not trained; set it to "
            "encoder, or leave --vectors out"
        )


def digests_of(encoder: Path) -> dict[str, str]:
    """The digests of the files of an encoder."""
    return describe_encoder(encoder)["sha256"]
