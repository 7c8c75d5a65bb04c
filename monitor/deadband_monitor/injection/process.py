"""A running process as the kernel shows it: is it Python, which, whose, and where does it live."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from deadband_monitor.errors import MonitorError

ASK_S = 20.0
"""How long an interpreter may take to say its version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonProcess:
    """A Python process that runs on this machine."""

    pid: int
    uid: int
    executable: str
    version: tuple[int, int]


def python_process(pid: int) -> PythonProcess:
    """The Python process of that number.

    Raises:
        MonitorError: there is none, it is not Python, or it cannot be reached from here.
    """
    if not sys.platform.startswith("linux"):
        raise MonitorError("--pid works on Linux only; start the run with: deadband run")
    if pid == os.getpid():
        raise MonitorError(f"process {pid} is this very command; name the one that trains")
    folder = Path(f"/proc/{pid}")
    try:
        uid = folder.stat().st_uid
        executable = str((folder / "exe").readlink())
        foreign = (folder / "ns/mnt").readlink() != Path("/proc/self/ns/mnt").readlink()
    except FileNotFoundError:
        raise MonitorError(
            f"there is no process {pid} on this machine; find it with: ps -ef | grep python"
        ) from None
    except PermissionError:
        raise MonitorError(
            f"process {pid} is another user's; run deadband as that user, or with sudo"
        ) from None
    if foreign:
        raise MonitorError(
            f"process {pid} lives in a container of its own; go in there: docker exec -it"
            " CONTAINER deadband attach --pid PID-IN-THERE"
        )
    if "python" not in Path(executable).name:
        raise MonitorError(
            f"process {pid} is not Python but {executable};"
            " name the interpreter that trains, not its shell or launcher"
        )
    return PythonProcess(pid=pid, uid=uid, executable=executable, version=_version(executable))


def _version(executable: str) -> tuple[int, int]:
    asked = [executable, "-I", "-S", "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=ASK_S, check=True)
        major, minor = answer.stdout.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise MonitorError(
            f"cannot tell the Python version of {executable} ({error}); if it was upgraded since,"
            " start the run again"
        ) from error
