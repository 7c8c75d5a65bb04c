"""Programs that look into another process for us, and what is said where that is forbidden."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deadband_monitor.errors import MonitorError
from deadband_monitor.injection.process import PythonProcess

STOPPED_S = 30.0
"""How long one may hold the process; it takes about a second."""


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """What the program says.

    Raises:
        MonitorError: it did not come to an end.
    """
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=STOPPED_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise MonitorError(
            f"{Path(command[0]).name} did not come to an end within {STOPPED_S:.0f} s and was let"
            " go of; try again"
        ) from None


def last_line(text: str) -> str:
    """What a program ended with: why it failed, as a rule."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it does not say why"


def forbidden(process: PythonProcess) -> MonitorError:
    """The system does not let us look into this process."""
    return MonitorError(
        f"cannot look into process {process.pid}: the system does not let one process look into"
        " another: run deadband with sudo, or allow it with"
        " `sudo sysctl kernel.yama.ptrace_scope=0`, or give the container `--cap-add=SYS_PTRACE`"
    )
