"""Long form as a Parquet file: the columns of `Value`, the names as dictionaries."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import msgspec

from deadband_monitor.errors import MonitorError
from deadband_monitor.exporting.values import Value

ROWS = 100_000
"""Values of a row group: a few megabytes."""


def write_parquet(values: Iterable[Value], path: Path) -> None:
    """Write the file.

    Raises:
        MonitorError: pyarrow is not installed.
        OSError: the file cannot be written.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise MonitorError(
            "Parquet needs pyarrow: pip install 'deadband[parquet]', or --to csv"
        ) from error
    words = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    kinds = {
        "step": pyarrow.int64(),
        "time": pyarrow.float64(),
        "model": words,
        "layer": words,
        "metric": words,
        "value": pyarrow.float32(),
        "text": pyarrow.string(),
    }
    schema = pyarrow.schema([(name, kinds[name]) for name in Value.__struct_fields__])
    rest = iter(values)
    with ParquetWriter(path, schema) as file:
        while rows := [msgspec.structs.astuple(value) for value in islice(rest, ROWS)]:
            columns = [
                pyarrow.array(column, field.type)
                for column, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            file.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
