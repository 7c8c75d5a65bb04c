"""This machine: can a run be watched, recorded, shown, and reached from here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import zmq

from deadband import wire
from deadband_monitor.doctor.finding import Finding, broken, looks, note, ok
from deadband_monitor.errors import MonitorError
from deadband_monitor.hub.registry import describe, live_hub, live_runs
from deadband_monitor.injection.debugger import ForbiddenError, rehearse
from deadband_monitor.settings import read_settings, settings_path
from deadband_monitor.state.run_state import ENDED

ROOM = 256 << 20
"""Bytes free: a recording of a long run of a large model takes about so much."""
ARENA = 64 << 20
"""The most that a client takes of shared memory."""
TRIAL_S = 60.0
POLL_S = 0.05
TRIAL = """
import numpy as np
import deadband

rng = np.random.default_rng(0)
with deadband.watch(None, name="trial") as watch:
    for _ in range(20):
        watch.observe("gate", rng.random((32, 8), dtype=np.float32), activation="sigmoid")
        watch.step(loss=1.0)
print(watch.run)
"""


def look_at_machine() -> Iterator[Finding]:
    """Everything that does not depend on a target."""
    return looks(
        (
            ("python", _python),
            ("torch", _torch),
            ("folder of runs", _home),
            ("shared memory", _shared_memory),
            ("settings", _settings),
            ("a trial run", _trial),
            ("live runs", _live),
            ("terminal", _terminal),
            ("ssh", _ssh),
            ("attach --pid", _injection),
            ("encryption", _curve),
        )
    )


def _python() -> Finding:
    ours = ".".join(map(str, sys.version_info[:3]))
    return ok("python", f"{ours}, deadband {version('deadband')}, in {sys.prefix}")


def _torch() -> Finding:
    if find_spec("torch") is None:
        return note("torch", "not in this environment: viewers need none, training scripts do")
    try:
        return ok("torch", version("torch"))
    except PackageNotFoundError:
        return ok("torch", "here, of an unknown version")


def _home() -> Finding:
    folder, runs = wire.home(), wire.runs_folder()
    try:
        wire.ensure_private(runs)
        wire.ensure_private(wire.live_folder())
        with tempfile.TemporaryFile(dir=runs):
            pass
    except OSError as error:
        return broken(
            "folder of runs",
            f"{folder} cannot be written ({error.strerror or error})",
            "choose another with DEADBAND_HOME",
        )
    free = shutil.disk_usage(runs).free
    if free < ROOM:
        return broken(
            "folder of runs",
            f"{folder} has {free >> 20} MB left",
            "make room, or choose another with DEADBAND_HOME",
        )
    return ok("folder of runs", f"{folder}, yours alone, {free >> 30} GB left")


def _shared_memory() -> Finding:
    place = Path("/dev/shm")
    if not place.is_dir():
        return note("shared memory", "no /dev/shm: frames go through the socket, which costs more")
    free = shutil.disk_usage(place).free
    if free < ARENA:
        return note(
            "shared memory",
            f"/dev/shm has {free >> 20} MB left: of large models less is seen",
            "in a container: --shm-size=1g",
        )
    return ok("shared memory", f"/dev/shm has {free >> 20} MB left")


def _settings() -> Finding:
    path = settings_path()
    read_settings()
    return ok("settings", f"{path}" if path.exists() else f"none at {path}, so the defaults")


def _trial() -> Finding:
    """A run of twenty steps in a folder of its own: client, hub and recording as they are."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="db-", ignore_cleanup_errors=True) as folder:
        environ = {key: text for key, text in os.environ.items() if not key.startswith("DEADBAND")}
        environ["DEADBAND_HOME"] = folder
        try:
            done = subprocess.run(
                [sys.executable, "-c", TRIAL],
                env=environ,
                capture_output=True,
                text=True,
                timeout=TRIAL_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return broken("a trial run", f"it did not end within {TRIAL_S:.0f} s")
        said = done.stderr.strip().splitlines()
        if done.returncode or said:
            return broken("a trial run", said[-1] if said else f"it ended with {done.returncode}")
        samples = _recorded(Path(folder) / "runs" / f"{done.stdout.strip()}.dbr")
    took = time.monotonic() - began
    return ok("a trial run", f"watched, recorded and judged {samples} steps in {took:.1f} s")


def _recorded(path: Path) -> int:
    deadline = time.monotonic() + TRIAL_S
    while time.monotonic() < deadline:
        if path.exists() and (entry := describe(path)).status in ENDED:
            return entry.samples
        time.sleep(POLL_S)
    raise MonitorError("the hub did not close the recording; its log lies beside the sockets")


def _live() -> Finding:
    live = live_runs()
    return ok("live runs", ", ".join(each.run for each in live) or "none here at the moment")


def _terminal() -> Finding:
    term = os.environ.get("TERM", "")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return note("terminal", "none here: attach and run --live tell the run in plain lines")
    if term in ("", "dumb"):
        return note("terminal", f"TERM={term or '(none)'}: runs are told in plain lines")
    width, height = shutil.get_terminal_size()
    colours = "true colours" if os.environ.get("COLORTERM") in ("truecolor", "24bit") else "256"
    if os.environ.get("NO_COLOR"):
        colours = "no colours (NO_COLOR)"
    plain = "" if "UTF-8" in (sys.stdout.encoding or "").upper() else ", ASCII only"
    small = "; below 80x24 one line is shown" if width < 80 or height < 24 else ""
    return ok("terminal", f"{term}, {width}x{height}, {colours}{plain}{small}")


def _ssh() -> Finding:
    found = shutil.which("ssh")
    if found is None:
        return note("ssh", "not here, so no attach HOST", "apt install openssh-client")
    return ok("ssh", found)


def _injection() -> Finding:
    if sys.version_info >= (3, 14):
        return ok("attach --pid", "by the interpreter's own door (3.14)")
    gdb = shutil.which("gdb")
    if gdb is None:
        return note("attach --pid", "gdb is not here", "apt install gdb")
    try:
        rehearse(gdb)
    except ForbiddenError:
        return note("attach --pid", "the system forbids it", "run it with sudo, or with SYS_PTRACE")
    except MonitorError as error:
        return note("attach --pid", f"gdb cannot call functions here ({error})", "a newer gdb")
    return ok("attach --pid", "by gdb")


def _curve() -> Finding:
    if not zmq.has("curve"):
        return note("encryption", "this ZeroMQ has no CURVE, so no --listen beyond this machine")
    return ok("encryption", f"CURVE of ZeroMQ {zmq.zmq_version()}")


def hub_of(run: str) -> Finding:
    """Whether the hub of a live run is there."""
    registration = live_hub(run)
    if registration is None:
        return broken("hub", f"none serves {run}", f"look back with: deadband replay {run}")
    return ok("hub", f"process {registration.hub_pid}, of training process"
              f" {registration.training_pid}")  # fmt: skip
