"""The parts of a long table that are kept until it is whole, so that its command can go on."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lib.command.console import UserError, announcements
from lib.data.streaming import read_parquet
from lib.files.manifests import verify
from lib.files.whole import write_parquet
from lib.training.saving import LOCK, differences

MADE_OF = b"made_of"  # of the metadata, which tell of what a part was made


class Parts:
    """Parts of a table in a folder, a whole Parquet file for each.

    Those that are there are kept where they are whole and made of the same; others are removed.

    Args:
        folder: of the parts, which is locked.
        made_of: what decides their content, as JSON can hold it.
    """

    def __init__(self, folder: Path, made_of: Mapping[str, Any]) -> None:
        self.folder = folder
        self.made_of = json.loads(json.dumps(made_of))
        reasons: dict[str, None] = {}
        for path in sorted(folder.glob("*.parquet")):
            if reason := self._unfit(path):
                reasons[reason] = None
                path.unlink()
        if reasons:
            announcements.warning(
                "parts in '%s' are made anew: %s", folder, " and ".join(map(str, reasons))
            )

    def _unfit(self, path: Path) -> str:
        """Why a part can't be used; empty if it can."""
        with suppress(UserError, OSError, ValueError, LookupError, TypeError):
            verify(path)
            others = differences(json.loads(pq.read_schema(path).metadata[MADE_OF]), self.made_of)
            return f"they are of other {', '.join(others)}" if others else ""
        return "some are damaged"

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08}.parquet"

    def __contains__(self, number: int) -> bool:
        return self._path(number).is_file()

    def write(self, number: int, table: pa.Table) -> None:
        """Keep a part, whose place in the table its number tells."""
        told = {MADE_OF: json.dumps(self.made_of)}
        write_parquet(self._path(number), table.replace_schema_metadata(told))

    def read(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of all parts, in order."""
        for path in sorted(self.folder.glob("*.parquet")):
            yield from (batch.cast(schema) for batch in read_parquet(path, schema.names))

    def remove(self) -> None:
        """Remove all but the lock."""
        for path in self.folder.iterdir():
            if path.name != LOCK:
                path.unlink()
