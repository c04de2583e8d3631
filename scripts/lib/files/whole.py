"""Files that appear whole or not at all."""

import json
import math
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.command.console import refusals_explained
from lib.files.manifests import manifest, manifest_of, reading, sha256

if TYPE_CHECKING:
    import pyarrow as pa


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` for a file or a folder.

    It takes the place of `path` when the block ends well and is removed otherwise, so that
    nobody ever finds a half-written result. Its manifest is written with it.

    Raises:
        UserError: the disk is full, or `path` can't be written.
    """
    with refusals_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, listing = (_temporary(each) for each in (path, manifest_of(path)))
        try:
            yield temporary
            listing.write_text(manifest(temporary, path.name), "utf-8")  # the last that takes space
            manifest_of(path).unlink(missing_ok=True)  # never one of another content
            if path.is_dir():
                _remove(path)
            os.replace(temporary, path)
            os.replace(listing, manifest_of(path))
        finally:
            _remove(temporary)
            _remove(listing)


def _temporary(path: Path) -> Path:
    """Where this process writes what takes the place of `path`.

    What processes of this machine that were killed have left there is removed.
    """
    start, end = f".{path.name}.{platform.node()}-", ".tmp"
    for each in path.parent.iterdir():
        process = each.name.removeprefix(start).removesuffix(end)
        if each.name == start + process + end and not _is_alive(process):
            _remove(each)
    return path.with_name(f"{start}{os.getpid()}{end}")


def _is_alive(process: str) -> bool:
    from psutil import pid_exists  # which few need

    return process.isdecimal() and pid_exists(int(process))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link(source: str | Path, target: str | Path) -> None:
    """Give a file another name, or copy it where it can have but one."""
    try:
        os.link(os.path.realpath(source), target)  # never a link that leads elsewhere from there
    except OSError:
        shutil.copy2(source, target)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def amend(folder: Path, name: str, text: str) -> None:
    """Put a text in UTF-8 into a folder that was written whole, and its digest into the manifest.

    The digests of all other files stay as they are, and a folder without a manifest gets none.

    Raises:
        UserError: the disk is full, or the folder can't be written.
    """
    listing, entry = manifest_of(folder), f"  {Path(folder.name, name)}\n"
    known = listing.read_text("utf-8", "replace") if listing.is_file() else ""
    others = "".join(line for line in known.splitlines(keepends=True) if not line.endswith(entry))
    with refusals_explained(folder / name):
        temporary = _temporary(folder)

        def put(path: Path, content: str) -> None:
            temporary.write_text(content, "utf-8")
            os.replace(temporary, path)

        try:
            if known:
                put(listing, others)  # never a digest of another content
            put(folder / name, text)
            if known:
                put(listing, others + sha256(folder / name) + entry)
        finally:
            _remove(temporary)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an indented JSON object; numbers that are not finite become null."""
    write_text(path, to_json(content, indent=2) + "\n")


def to_json(content: Mapping[str, Any], indent: int | None = None) -> str:
    """An object as JSON, on one line unless indented; numbers that are not finite become null."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in content.items()
    }
    return json.dumps(finite, indent=indent, ensure_ascii=False, allow_nan=False)


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """Read one JSON object.

    Args:
        path: of the file.
        keys: that it has to have.

    Raises:
        UserError: it is missing or damaged, or holds something else.
    """
    with reading(path):
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it does not hold a JSON object")
        for key in keys:
            if key not in content:
                raise ValueError(f"it does not tell '{key}'")
        return content


def read_text(path: Path) -> str:
    """Read a text in UTF-8.

    Raises:
        UserError: it is missing or damaged.
    """
    with reading(path):
        return path.read_text("utf-8")


def write_parquet(path: Path, table: "pa.Table") -> None:
    """Write a table of Arrow as Parquet."""
    import pyarrow.parquet as pq

    with replacing(path) as temporary:
        pq.write_table(table, temporary)
