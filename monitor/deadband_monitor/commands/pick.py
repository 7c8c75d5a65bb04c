"""`deadband` alone: choose among the runs of this machine, and look at one."""

from __future__ import annotations

from deadband_monitor.commands.base import can_draw
from deadband_monitor.commands.runs import list_runs
from deadband_monitor.hub.registry import runs


def run() -> int:
    """The picker; where there is no terminal, the list."""
    if not can_draw():
        return list_runs(runs())
    from deadband_monitor.tui.start import run_picker

    return run_picker()
