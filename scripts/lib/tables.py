"""Tables of results: Parquet, which keeps the types of columns, and CSV beside it for people."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lib.files import replacing
from lib.manifests import reading, verify


def write_table(folder: Path, name: str, rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> None:
    """Write `name.csv` and `name.parquet`, each whole or not at all."""
    table = pd.DataFrame(rows).reset_index(drop=True)
    with replacing(folder / f"{name}.csv") as path:
        table.to_csv(path, index=False)
    with replacing(folder / f"{name}.parquet") as path:
        table.to_parquet(path)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of results from its Parquet file.

    Raises:
        UserError: it, or the same table as CSV, is missing or damaged.
    """
    verify(path.with_suffix(".csv"))
    with reading(path):
        return pd.read_parquet(path, partitioning=None)
