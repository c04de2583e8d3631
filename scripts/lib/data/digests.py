"""SHA-256 digests that the configuration expects of files."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib.command.console import UserError
from lib.data.division import listed
from lib.study.config import is_of


def verify(actual: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Compare digests, by file.

    Raises:
        UserError: a digest differs, or is expected of a file that is not there.
    """
    for name, digest in expected.items():
        if name not in actual:
            raise UserError(f"sha256 names '{name}', which is not among: {', '.join(actual)}")
        if actual[name] != digest:
            raise UserError(
                f"'{name}' has SHA-256 {actual[name]}, not {digest}; "
                "it is damaged or another version"
            )


def check_made(key: str, settings: Mapping[str, Any], made: Path) -> None:
    """Verify digests that the configuration expects of files from which results were made.

    A digest decides no result, so that a new one runs nothing again. What runs, because other
    settings or the files themselves have changed, verifies it anyway.

    Args:
        key: of a dataset or a model in the configuration.
        settings: what stands there.
        made: a JSON file that tells the settings and digests of what is there.

    Raises:
        UserError: a digest is another, or of a file that is not among them.
    """
    expected = settings.get("sha256")
    told: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        told = json.loads(made.read_text("utf-8")) if expected else {}
    files = [Path(path) for path in listed(settings.get("paths", ()))]
    if not told or not is_of(told, settings):
        return
    if any(path.stat().st_mtime > made.stat().st_mtime for path in files):
        return
    try:
        verify(told["sha256"], expected or {})
    except UserError as error:
        raise UserError(
            f"config key '{key}.sha256': {error}; '{made.parent}' was made from it: correct the "
            "digest, or remove that folder to fetch it again"
        ) from error
