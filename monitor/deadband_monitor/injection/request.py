"""What is asked of a process that was never prepared, and its answer.

The process runs a small script of ours: it loads the client, its own where it has one, else ours if
the Python versions agree, calls one function of it and writes down what came of it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

import deadband
from deadband_monitor.errors import MonitorError
from deadband_monitor.injection.delivery import deliver
from deadband_monitor.injection.process import PythonProcess

ANSWER_S = 60.0
"""The interpreter takes our line between two of its own; a library's call may last."""
POLL_S = 0.05
BORROWED = ("deadband", "msgspec", "zmq", "numpy")
"""What the client needs, lent to a process that lacks it."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the process has written down."""

    value: str = ""
    refused: str = ""
    """Why nothing was done."""


def ask(process: PythonProcess, call: str) -> str:
    """Call a function of `deadband.injected` in the process; what it returns.

    Args:
        process: in whom.
        call: the call as Python text, with `hub_python` at hand.

    Raises:
        MonitorError: it cannot be reached, does not answer, or refuses.
    """
    with _meeting_place(process) as folder:
        script, answer = folder / "ask.py", folder / "answer.json"
        script.write_text(_script(call, answer))
        if os.geteuid() == 0:
            os.chown(script, process.uid, -1)
        deliver(process, script)
        found = _wait(process, answer)
    if found.refused:
        raise MonitorError(f"process {process.pid} cannot be watched: {found.refused}")
    return found.value


@contextmanager
def _meeting_place(process: PythonProcess) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="deadband-") as name:
        if os.geteuid() == 0:
            os.chown(name, process.uid, -1)  # it is written to from there
        yield Path(name)


def _wait(process: PythonProcess, answer: Path) -> Answer:
    deadline = time.monotonic() + ANSWER_S
    while not answer.exists():
        if not Path(f"/proc/{process.pid}").exists():
            raise MonitorError(f"process {process.pid} ended before it answered")
        if time.monotonic() > deadline:
            raise MonitorError(
                f"process {process.pid} has not run a line of Python for {ANSWER_S:.0f} s: its main"
                " thread waits in a library; ask again when it trains"
            )
        time.sleep(POLL_S)
    return msgspec.json.decode(answer.read_bytes(), type=Answer)


def _script(call: str, answer: Path) -> str:
    """The text that the process runs. It must run on every Python 3, and raise nothing."""
    lent = {
        str(Path(spec.origin).parent.parent)
        for name in BORROWED
        if (spec := importlib.util.find_spec(name)) is not None and spec.origin is not None
    }
    return _TEXT.format(
        call=call,
        answer=str(answer),
        lent=sorted(lent),
        version=tuple(sys.version_info[:2]),
        python=sys.executable,
        ours=deadband.__version__,
    )


_TEXT = """
def ask():
    import json, os, sys
    value, refused, hub_python = "", "", ""
    try:
        try:
            from deadband import injected
        except ImportError:
            if "deadband" in sys.modules:
                raise RuntimeError("its deadband is too old for that; start it anew with {ours}")
            if tuple(sys.version_info[:2]) != {version}:
                raise RuntimeError(
                    "it runs Python %d.%d without deadband, and this command Python %d.%d: install"
                    " deadband in its environment (it need not be started anew)"
                    % (*sys.version_info[:2], *{version})
                )
            before = list(sys.path)
            try:
                sys.path.extend({lent})
                import numpy, msgspec.json, msgspec.msgpack, zmq
                from deadband import injected
                hub_python = {python!r}
            finally:
                sys.path[:] = before
        value = str(injected.{call})
    except BaseException as error:
        refused = str(error) or type(error).__name__
    with open({answer!r} + ".part", "w") as file:
        json.dump({{"value": value, "refused": refused}}, file)
    os.replace({answer!r} + ".part", {answer!r})
try:
    ask()
except BaseException:
    pass
"""
