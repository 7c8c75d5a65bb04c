"""Gets a line of Python into a running interpreter, which runs it between two of its own.

Python 3.14 has a door for that, `sys.remote_exec` (PEP 768). Before it a debugger adds a pending
call: the interpreter's main thread makes it as soon as it is between two instructions, as it does
with signal handlers, so nothing is interrupted halfway.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from deadband_monitor.errors import MonitorError
from deadband_monitor.injection.process import PythonProcess

DOOR_SINCE = (3, 14)
STOPPED_S = 30.0
"""How long the debugger may hold the process; it takes about a second."""
_NO_PTRACE = (
    "the system does not let one process look into another: run deadband with sudo, or allow it"
    " with `sudo sysctl kernel.yama.ptrace_scope=0`, or give the container `--cap-add=SYS_PTRACE`"
)


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
        _by_debugger(process, script)


def _through_the_door(process: PythonProcess, script: Path) -> None:
    # Both sides must be of one version: the process's own interpreter asks.
    ask = "import sys; sys.remote_exec(int(sys.argv[1]), sys.argv[2])"
    command = [process.executable, "-I", "-S", "-c", ask, str(process.pid), str(script)]
    said = _run(command)
    if said.returncode == 0:
        return
    last = (said.stderr.strip().splitlines() or ["it does not say why"])[-1]
    # What it ends with may have been raised because of it: "cannot find the runtime".
    if "PermissionError" in said.stderr or "not permitted" in said.stderr:
        raise MonitorError(f"cannot look into process {process.pid}: {_NO_PTRACE}")
    raise MonitorError(
        f"process {process.pid} takes no code from outside ({last}); it may have been started with"
        " PYTHON_DISABLE_REMOTE_DEBUG or -X disable-remote-debug: start it with `deadband run`"
        " instead"
    )


def _by_debugger(process: PythonProcess, script: Path) -> None:
    gdb = shutil.which("gdb")
    if gdb is None:
        version = ".".join(map(str, process.version))
        raise MonitorError(
            f"to look into a process of Python {version} gdb is needed, and not here: install it"
            " (apt install gdb), or start the run with `deadband run` (3.14 needs no gdb)"
        )
    said = _run([gdb, *_gdb_options(process.pid, _guarded(script))])
    if "deadband-pending=0" in said.stdout:
        return
    text = said.stdout + said.stderr
    if "ptrace" in text or "not permitted" in text:
        raise MonitorError(f"cannot look into process {process.pid}: {_NO_PTRACE}")
    if "No symbol" in text:
        raise MonitorError(
            f"the interpreter {process.executable} has no names that gdb can find;"
            " start the run with `deadband run` instead"
        )
    lines = [line for line in said.stderr.splitlines() if line.strip()]
    raise MonitorError(
        f"gdb could not hand code to process {process.pid} ({lines[-1] if lines else 'no answer'});"
        " it is as it was; try again"
    )


def _guarded(script: Path) -> str:
    """What the pending call runs: whatever happens to the file meanwhile, nothing is raised."""
    run = f"exec(open({str(script)!r}).read(), {{'__name__': 'deadband_injected'}})"
    return f"try:\n {run}\nexcept BaseException:\n pass\n"


def _gdb_options(pid: int, code: str) -> list[str]:
    literal = code.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    size = len(code.encode()) + 1
    # The text lies in a page of its own: to ask the heap for room could meet its lock held.
    reserve = "((void *(*)(void *, unsigned long, int, int, int, long)) mmap)"
    pend = "((int (*)(void *, void *)) Py_AddPendingCall)"
    before = (
        "set debuginfod enabled off",
        "set auto-load off",
        "set auto-solib-add off",  # to read every symbol of torch would stop training for long
    )
    then = (
        "set pagination off",
        "sharedlibrary libpython",
        "sharedlibrary libc\\.",
        f"set $deadband = {reserve}(0, {size}, 3, 0x22, -1, 0)",
        f'set {{char[{size}]}} $deadband = "{literal}"',
        f'printf "deadband-pending=%d\\n", {pend}((void *) PyRun_SimpleString, $deadband)',
    )
    options = ["-nx", "-nh", "-batch"]
    for command in before:
        options += ["-iex", command]
    options += ["-p", str(pid)]
    for command in then:
        options += ["-ex", command]
    return options


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
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
