"""How code gets into a running interpreter: through its own door, or by a debugger's hand."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deadband_monitor.errors import MonitorError
from deadband_monitor.injection import debugger, delivery, request
from deadband_monitor.injection.process import PythonProcess
from deadband_monitor.injection.registers import BASIC_X86_64


def process(folder: Path, body: str, version: tuple[int, int] = (3, 14)) -> PythonProcess:
    """A process whose interpreter is a shell script."""
    stub = folder / "python3.14"
    stub.write_text(f"#!/bin/sh\n{body}\n")
    stub.chmod(0o755)
    return PythonProcess(pid=4711, uid=os.getuid(), executable=str(stub), version=version)


def test_from_3_14_on_the_interpreter_itself_is_asked(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    delivery.deliver(process(tmp_path, f'echo "$@" > {asked}'), Path("/tmp/ask.py"))
    words = asked.read_text().split()
    assert words[-2:] == ["4711", "/tmp/ask.py"]
    assert any("sys.remote_exec" in word for word in words)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("PermissionError: Not permitted", "SYS_PTRACE"),
        ("PermissionError: cannot read\nRuntimeError: no runtime found", "SYS_PTRACE"),
        ("RuntimeError: Script execution is disabled", "PYTHON_DISABLE_REMOTE_DEBUG"),
    ],
)
def test_a_closed_door_is_told_with_the_mend(tmp_path: Path, said: str, told: str) -> None:
    with pytest.raises(MonitorError, match=told):
        delivery.deliver(process(tmp_path, f'echo "{said}" >&2; exit 1'), Path("/tmp/ask.py"))


def stub_gdb(folder: Path, monkeypatch: pytest.MonkeyPatch, rehearsed: str, handed: str) -> Path:
    """A gdb that is a shell script: what it does with our own process, and with the other one.

    Returns:
        Where it writes down what it was asked, a line each time.
    """
    asked = folder / "asked"
    gdb = folder / "gdb"
    gdb.write_text(
        "#!/bin/sh\n"
        f'echo "$@" | tr "\\n" " " >> {asked}; echo >> {asked}\n'
        f'case "$*" in *getpid*) {rehearsed};; *) {handed};; esac\n'
    )
    gdb.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return asked


CALLS = "echo deadband-rehearsed=1"
TAKES = "echo deadband-pending=0"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ptrace: Operation not permitted.", "SYS_PTRACE"),
        ('No symbol "Py_AddPendingCall" in current context.', "no names that gdb can find"),
        ("it broke", "it broke"),
    ],
)
def test_what_the_debugger_cannot_do_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, told: str
) -> None:
    stub_gdb(tmp_path, monkeypatch, CALLS, f"echo '{said}' >&2")
    with pytest.raises(MonitorError, match=told):
        delivery.deliver(process(tmp_path, "", version=(3, 11)), Path("/tmp/ask.py"))


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("echo 'ptrace: Operation not permitted.' >&2", "SYS_PTRACE"),
        (
            "echo 'Invalid cast.' >&2",
            r"cannot call functions .*\(Invalid cast\.\).* was left alone",
        ),
        ("echo deadband-rehearsed=17", "cannot call functions"),
    ],
)
def test_a_process_is_not_touched_by_a_debugger_that_failed_with_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, told: str
) -> None:
    asked = stub_gdb(tmp_path, monkeypatch, does, TAKES)
    with pytest.raises(MonitorError, match=told):
        delivery.deliver(process(tmp_path, "", version=(3, 11)), Path("/tmp/ask.py"))
    assert "4711" not in asked.read_text()


def test_a_debugger_that_knows_too_few_registers_is_given_the_basic_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    able = f'case "$*" in *tdesc*) {CALLS};; *) echo "extended state" >&2;; esac'
    asked = stub_gdb(tmp_path, monkeypatch, able, TAKES)
    delivery.deliver(process(tmp_path, "", version=(3, 11)), Path("/tmp/ask.py"))
    plain, basic, handed = asked.read_text().splitlines()
    assert "tdesc" not in plain
    assert "set tdesc filename" in basic
    assert "set tdesc filename" in handed
    assert "-p 4711" in handed


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the basic registers are x86-64's")
def test_gdb_takes_the_basic_registers_as_they_are_described(tmp_path: Path) -> None:
    described = tmp_path / "registers.xml"
    described.write_text(BASIC_X86_64)
    said = debugger._rehearse("gdb", (f"set tdesc filename {described}",))
    assert debugger._REHEARSED in said.stdout
    assert "target description" not in said.stderr


def test_without_a_debugger_the_mend_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MonitorError, match="apt install gdb"):
        delivery.deliver(process(tmp_path, "", version=(3, 11)), Path("/tmp/ask.py"))


def run_script(call: str, folder: Path, ahead: str = "") -> dict[str, str]:
    """What a fresh interpreter answers that runs our script."""
    answer = folder / "answer.json"
    script = f"{ahead}\n{request._script(call, answer)}"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    found: dict[str, str] = json.loads(answer.read_text())
    return found


def test_a_process_without_torch_refuses(tmp_path: Path) -> None:
    said = run_script("begin(run='x-1', hub_python='')", tmp_path)
    assert "has not imported torch" in said["refused"]


def test_another_python_is_not_lent_our_modules(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['deadband'] = None; del sys.modules['deadband']"
    strip = (
        "sys.meta_path[:] = [e for e in sys.meta_path if 'editable' not in repr(e)];"
        "sys.path[:] = [e for e in sys.path if 'client' not in e];"
        "sys.version_info = (3, 2, 0)"
    )
    said = run_script("begin(run='x-1', hub_python='')", tmp_path, f"{hide}; {strip}")
    assert "Python 3.2 without deadband" in said["refused"]


def test_whatever_the_script_meets_it_raises_nothing(tmp_path: Path) -> None:
    said = run_script("no_such_thing()", tmp_path)
    assert "no_such_thing" in said["refused"]
    gone = request._script("end()", tmp_path / "no-such-folder" / "answer.json")
    subprocess.run([sys.executable, "-c", gone], check=True, timeout=60)
