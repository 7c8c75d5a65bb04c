"""`deadband attach --pid`: a run that was started without deadband gets watched, or let go of."""

from __future__ import annotations

import os
import time
from pathlib import Path

from deadband import wire
from deadband_monitor.commands.base import complain
from deadband_monitor.errors import MonitorError
from deadband_monitor.hub.registry import live_hub
from deadband_monitor.injection.process import python_process
from deadband_monitor.injection.request import ask

POLL_S = 0.05
PATIENCE_S = 10.0
"""After so long without a step, say what is waited for."""


def watch_process(pid: int) -> str:
    """Have what trains in process `pid` be watched from its next step on; the run id.

    Returns once the run is live.

    Raises:
        MonitorError: it cannot be watched; or it ended before it took a step.
    """
    process = python_process(pid)
    run = wire.new_run_id(_name(pid))
    os.environ["DEADBAND_HOME"] = ask(process, f"begin(run={run!r}, hub_python=hub_python)")
    complain(f"process {pid} is watched from its next step on, as {run}")
    complain(f"take it out again with: deadband attach --pid {pid} --detach")
    _wait_for(run, pid)
    return run


def leave_process(pid: int) -> None:
    """Take out what `watch_process` has put in.

    Raises:
        MonitorError: nothing is there to take out, or the process cannot be reached.
    """
    run = ask(python_process(pid), "end()")
    seen = f"; what was seen: deadband report {run}" if run else ", before a step was seen"
    complain(f"process {pid} is not watched any more{seen}")


def _wait_for(run: str, pid: int) -> None:
    began, told = time.monotonic(), False
    while live_hub(run) is None:
        if not Path(f"/proc/{pid}").exists():
            raise MonitorError(f"process {pid} ended before it took a step that could be seen")
        if not told and time.monotonic() - began > PATIENCE_S:
            complain("waiting for a step of an optimiser and a training forward of its model ...")
            told = True
        time.sleep(POLL_S)


def _name(pid: int) -> str:
    """What the script is called, as its command line says."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    scripts = [word for word in words[1:] if word and not word.startswith("-")]
    return Path(scripts[0]).stem if scripts else "python"
