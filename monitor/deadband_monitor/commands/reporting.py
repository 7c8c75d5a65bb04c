"""A report on standard output, as wide as the terminal allows."""

from __future__ import annotations

import sys
from shutil import get_terminal_size

from deadband_monitor.report.parts import Report
from deadband_monitor.report.words import WIDTH, format_report

NARROWEST = 40
"""Columns; a text in fewer is no easier to read than one that the terminal cuts."""


def say_report(report: Report, form: str = "text") -> None:
    """Print it: text no wider than the terminal, and no wider than it is easily read."""
    width = WIDTH
    if sys.stdout.isatty():
        width = max(min(width, get_terminal_size().columns), NARROWEST)
    sys.stdout.write(format_report(report, form, width=width))
    sys.stdout.flush()
