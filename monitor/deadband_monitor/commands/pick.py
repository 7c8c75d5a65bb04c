"""`deadband` alone: choose among the runs of this machine and of the hosts of the settings."""

from __future__ import annotations

from contextlib import closing

from deadband_monitor.commands.base import can_draw
from deadband_monitor.commands.places import settings_or_defaults
from deadband_monitor.commands.runs import list_runs
from deadband_monitor.hub.registry import runs
from deadband_monitor.source.hosts import Hosts


def run() -> int:
    """The picker; where there is no terminal, the list."""
    if not can_draw():
        return list_runs(runs())
    from deadband_monitor.tui.start import run_picker

    with closing(Hosts(settings_or_defaults())) as hosts:
        hosts.watch()
        return run_picker(hosts.runs, hosts.open)
