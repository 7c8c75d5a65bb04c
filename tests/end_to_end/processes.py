"""Handles on the real processes of a run: scripted training, hub, viewers."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from deadband import wire
from deadband_monitor.hub.registry import live_hub
from deadband_monitor.source.base import Source

PATIENCE_S = 15.0
RUN = "train-7f3a1c"


class ScriptedTraining:
    """A handle on `training.py`: one command in, one answer out."""

    def __init__(self, run: str, rank: int = 0) -> None:
        self.run = run
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("training.py")), run, str(rank)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid

    def do(self, command: str) -> str:
        """Have it done; its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        assert ready, f"no answer to {command}"
        return self.process.stdout.readline().strip()

    def start(self) -> int:
        """Start the hub, say hello, announce a plan; the hub's process id."""
        assert self.do("hub") == "hub starter ended 0"
        hub = int(self.do("hello").split()[1])
        self.do("plan")
        return hub

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass


def follow(source: Source, until: Callable[[Source], bool], patience_s: float = PATIENCE_S) -> None:
    """Refresh until it is so; each refresh waits for the hub's next word."""
    deadline = time.monotonic() + patience_s
    while not until(source):
        assert time.monotonic() < deadline, f"not so in time; link {source.link}"
        source.refresh(0.5)


def has_samples(count: int) -> Callable[[Source], bool]:
    return lambda source: source.state.samples >= count


def ended(source: Source) -> bool:
    return source.link == "ended"


def await_end(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([handle], [], [], PATIENCE_S)
        assert ready, f"process {pid} does not end"
    finally:
        os.close(handle)


def end_process(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    await_end(pid)


def end_hubs() -> None:
    for path in wire.live_folder().glob("*.json"):
        hub = live_hub(path.stem)
        if hub is not None:
            end_process(hub.hub_pid)
