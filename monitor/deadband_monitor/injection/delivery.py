"""Gets a line of Python into a running interpreter, which runs it between two of its own.

Python 3.14 has a door for that, `sys.remote_exec` (PEP 768). Before it a debugger adds a pending
call: the interpreter's main thread makes it as soon as it is between two instructions, as it does
with signal handlers, so nothing is interrupted halfway.
"""

from __future__ import annotations

from pathlib import Path

from deadband_monitor.errors import MonitorError
from deadband_monitor.injection.debugger import hand_over
from deadband_monitor.injection.process import PythonProcess
from deadband_monitor.injection.programs import forbidden, last_line, run

DOOR_SINCE = (3, 14)


def deliver(process: PythonProcess, script: Path) -> None:
    """Have the process run the file `script`; returns once it will, not when it has.

    Args:
        process: whom.
        script: a file that the process can read. It must not raise.

    Raises:
        MonitorError: it is not permitted, or what it takes is not here.
    """
    if process.version >= DOOR_SINCE:
        _through_the_door(process, script)
    else:
        hand_over(process, _guarded(script))


def _through_the_door(process: PythonProcess, script: Path) -> None:
    # Both sides must be of one version: the process's own interpreter asks.
    ask = "import sys; sys.remote_exec(int(sys.argv[1]), sys.argv[2])"
    command = [process.executable, "-I", "-S", "-c", ask, str(process.pid), str(script)]
    said = run(command)
    if said.returncode == 0:
        return
    # What it ends with may have been raised because of it: "cannot find the runtime".
    if "PermissionError" in said.stderr or "not permitted" in said.stderr:
        raise forbidden(process)
    raise MonitorError(
        f"process {process.pid} takes no code from outside ({last_line(said.stderr)}); it may have"
        " been started with PYTHON_DISABLE_REMOTE_DEBUG or -X disable-remote-debug: start it with"
        " `deadband run` instead"
    )


def _guarded(script: Path) -> str:
    """What the pending call runs: whatever happens to the file meanwhile, nothing is raised."""
    run = f"exec(open({str(script)!r}).read(), {{'__name__': 'deadband_injected'}})"
    return f"try:\n {run}\nexcept BaseException:\n pass\n"
