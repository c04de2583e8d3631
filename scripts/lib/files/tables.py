"""Tables of results: Parquet, which keeps the types of columns, and CSV beside it for people."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.files.manifests import reading, verify
from lib.files.whole import replacing

NAME = b"table"  # of the metadata that tell which table a file is


def write_table(folder: Path, name: str, rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> None:
    """Write `name.csv` and `name.parquet`, each whole or not at all."""
    table = pd.DataFrame(rows).reset_index(drop=True)
    with replacing(folder / f"{name}.csv") as path:
        table.to_csv(path, index=False)
    with replacing(folder / f"{name}.parquet") as path:
        found = pa.Table.from_pandas(table)
        pq.write_table(found.replace_schema_metadata({**found.schema.metadata, NAME: name}), path)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of results from its Parquet file.

    Raises:
        UserError: it, or the same table as CSV, is missing or damaged, or it is another table.
    """
    verify(path.with_suffix(".csv"))
    with reading(path):
        if (pq.read_schema(path).metadata or {}).get(NAME) != path.stem.encode():
            raise ValueError(f"it is no table '{path.stem}' of this workflow")
        return pd.read_parquet(path, partitioning=None)
