"""Config files, looked at before Snakemake reads them: it names no line, and takes a key twice.

Light to import, because every start of Snakemake does.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError

from lib.command.console import UserError, one_line


class _Loader(yaml.SafeLoader):  # not the fast one, which deep nesting crashes
    """YAML in which a key that stands twice is a mistake."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping as it is written, to which `<<` has added nothing yet."""
        node = super().compose_mapping_node(anchor)
        found = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in found:
                raise ComposerError(None, None, f"key {key.value!r} stands twice", key.start_mark)
            found.add((key.tag, key.value))
        return node


def check_files(paths: Iterable[str | Path]) -> None:
    """Refuse files that are no YAML or JSON with keys, or in which a key stands twice.

    Raises:
        UserError: the message names the file and, where there is one, the line.
    """
    for path in paths:
        content = _read(Path(path))
        if not isinstance(content, dict):
            what = "is empty" if content is None else "has no keys at its top"
            raise UserError(
                f"config file '{path}' {what}; write keys with values, such as `study: mine`"
            )


def _read(path: Path) -> Any:
    name = f"config file '{path}'"
    try:
        text = path.read_text("utf-8-sig")
        with suppress(ValueError, RecursionError):
            json.loads(text)
            text = text.replace("\t", " ")  # which JSON may be indented by, and YAML may not
        return yaml.load(text, _Loader)
    except OSError as error:
        raise UserError(
            f"{name} can't be read: {(error.strerror or '').lower()}; write --configfile=FILE, "
            "with the =, before targets"
        ) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{name}, line {line}: {error.problem}; mend it there") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{name} is no YAML in UTF-8: {one_line(error)}; mend it there") from error
