"""SHA-256 digests that the configuration expects of files."""

from collections.abc import Mapping

from lib.console import UserError


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
