"""Config files, looked at before Snakemake reads them: it names no line, and takes a key twice.

Light to import, because every start of Snakemake does.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from lib.command.console import UserError, one_line


class _Loader(yaml.SafeLoader):  # not the fast one, which deep nesting crashes
    """YAML in which a key that stands twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, whose keys from elsewhere, by `<<`, may be the same as its own."""
        found = set()
        for key, _ in node.value:
            if key.start_mark.index < node.start_mark.index:
                continue
            if (key.tag, str(key.value)) in found:
                problem = f"key '{key.value}' stands twice"
                raise ConstructorError(None, None, problem, key.start_mark)
            found.add((key.tag, str(key.value)))
        return super().construct_mapping(node, deep)


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
                f"config file '{path}' {what}; write keys with values, such as `study: mine`, as "
                "config/README.md describes them"
            )


def _read(path: Path) -> Any:
    name = f"config file '{path}'"
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        why = (error.strerror or "").lower()
        raise UserError(
            f"{name} can't be read: {why}; write --configfile=FILE, with the =, before targets"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is no text in UTF-8; save it in that encoding") from error
    with suppress(ValueError, RecursionError):
        json.loads(text)
        text = text.replace("\t", " ")  # which JSON may be indented by, and YAML may not
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{name}, line {line}: {error.problem}; mend it there") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{name}, line {line}: a character that no text has; remove it") from error
    except ValueError as error:  # a number or a date
        raise UserError(f"{name}: {one_line(error)}; mend it there") from error
    except RecursionError as error:
        raise UserError(f"{name} has too many brackets in one another; write fewer") from error
