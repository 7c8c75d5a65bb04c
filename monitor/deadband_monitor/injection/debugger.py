"""Hands code to an interpreter by gdb: it adds a pending call, and lets go.

A call that gdb begins and cannot finish leaves its mark: the system call that it broke into fails,
and with it the training. gdb 13 cannot write back the registers of processors that have more of
them than it knows (AMX). So every call is rehearsed on a process of our own first.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deadband_monitor.errors import MonitorError
from deadband_monitor.injection.process import PythonProcess
from deadband_monitor.injection.programs import forbidden, last_line, run
from deadband_monitor.injection.registers import BASIC_X86_64

_AHEAD = (
    "set debuginfod enabled off",
    "set auto-load off",
    "set auto-solib-add off",  # to read every symbol of torch would stop training for long
)
_REHEARSED = "deadband-rehearsed=1\n"


class DebuggerError(MonitorError):
    """What gdb said when it was to call a function of a process of our own."""


class ForbiddenError(DebuggerError):
    """The system does not let it."""


def hand_over(process: PythonProcess, code: str) -> None:
    """Have the process run some code; returns once it will, not when it has.

    Raises:
        MonitorError: gdb is not here, may not look into the process, or cannot call its functions.
    """
    gdb = shutil.which("gdb")
    if gdb is None:
        version = ".".join(map(str, process.version))
        raise MonitorError(
            f"to look into a process of Python {version} gdb is needed, and not here: install it"
            " (apt install gdb), or start the run with `deadband run` (3.14 needs no gdb)"
        )
    with tempfile.TemporaryDirectory(prefix="deadband-") as folder:
        try:
            ahead = _what_works(gdb, Path(folder))
        except ForbiddenError:
            raise forbidden(process) from None
        except DebuggerError as error:
            raise MonitorError(
                f"gdb cannot call functions on this machine ({error}), so process {process.pid} was"
                " left alone: install a newer gdb, or start the run with `deadband run`"
            ) from None
        said = run(_command(gdb, process.pid, ahead, _pending(code)))
    if "deadband-pending=0" in said.stdout:
        return
    text = said.stdout + said.stderr
    if _is_forbidden(text):
        raise forbidden(process)
    if "No symbol" in text:
        raise MonitorError(
            f"the interpreter {process.executable} has no names that gdb can find;"
            " start the run with `deadband run` instead"
        )
    raise MonitorError(
        f"gdb could not hand code to process {process.pid} ({last_line(said.stderr)}); try again"
    )


def rehearse(gdb: str) -> None:
    """Call a function of a process of our own.

    Raises:
        ForbiddenError: it may not.
        DebuggerError: it cannot.
        MonitorError: gdb did not come to an end.
    """
    with tempfile.TemporaryDirectory(prefix="deadband-") as folder:
        _what_works(gdb, Path(folder))


def _what_works(gdb: str, folder: Path) -> Sequence[str]:
    """Commands ahead of all others with which gdb can call a function here: few, or none.

    Where it knows but the basic registers, the others are neither saved nor written: what is called
    is plain code of libc and of the interpreter, which leaves them alone.

    Args:
        gdb: the program.
        folder: where the registers may be described; to be kept as long as the commands are used.
    """
    basic = folder / "registers.xml"
    basic.write_text(BASIC_X86_64)
    said = ""
    for ahead in ((), (f"set tdesc filename {basic}",)):
        tried = _rehearse(gdb, ahead)
        if _REHEARSED in tried.stdout:
            return ahead
        if _is_forbidden(tried.stdout + tried.stderr):
            raise ForbiddenError
        said = said or last_line(tried.stderr)
    raise DebuggerError(said)


def _rehearse(gdb: str, ahead: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Call a function of a process that nobody misses."""
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(["cat"], stdin=pipe, stdout=pipe, stderr=nothing) as own:
        assert own.stdin is not None
        assert own.stdout is not None
        try:
            own.stdin.write(b"\n")
            own.stdin.flush()
            own.stdout.readline()  # it has its libraries by now
            return run(_command(gdb, own.pid, ahead, _rehearsal(own.pid)))
        finally:
            own.kill()


def _rehearsal(pid: int) -> Sequence[str]:
    return (
        "sharedlibrary libc\\.",
        f'printf "deadband-rehearsed=%d\\n", ((int (*)(void)) getpid)() == {pid}',
    )


def _command(gdb: str, pid: int, ahead: Sequence[str], then: Sequence[str]) -> list[str]:
    command = [gdb, "-nx", "-nh", "-batch"]
    for each in (*ahead, *_AHEAD):
        command += ["-iex", each]
    command += ["-p", str(pid), "-ex", "set pagination off"]
    for each in then:
        command += ["-ex", each]
    return command


def _pending(code: str) -> Sequence[str]:
    literal = code.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    size = len(code.encode()) + 1
    # The text lies in a page of its own: to ask the heap for room could meet its lock held.
    reserve = "((void *(*)(void *, unsigned long, int, int, int, long)) mmap)"
    pend = "((int (*)(void *, void *)) Py_AddPendingCall)"
    return (
        "sharedlibrary libpython",
        "sharedlibrary libc\\.",
        f"set $deadband = {reserve}(0, {size}, 3, 0x22, -1, 0)",
        f'set {{char[{size}]}} $deadband = "{literal}"',
        f'printf "deadband-pending=%d\\n", {pend}((void *) PyRun_SimpleString, $deadband)',
    )


def _is_forbidden(text: str) -> bool:
    return "ptrace" in text or "not permitted" in text
