"""Long form as text: one line a value, as CSV or JSON."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import TextIO

import msgspec

from deadband_monitor.exporting.values import Value


def write_csv(values: Iterable[Value], file: TextIO) -> None:
    """A line of names, then one a value."""
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(Value.__struct_fields__)
    lines.writerows(msgspec.structs.astuple(value) for value in values)


def write_jsonl(values: Iterable[Value], file: TextIO) -> None:
    """One object a value."""
    file.writelines(msgspec.json.encode(value).decode() + "\n" for value in values)
