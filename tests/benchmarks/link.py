"""What a viewer costs a poor link: seconds and bytes to a whole dashboard, then bytes a second.

    python tests/benchmarks/link.py [--layers 300] [--kbit 1000] [--delay 0.1] [--seconds 20]
    python tests/benchmarks/link.py --whole         # a viewer that asks for everything
    python tests/benchmarks/link.py --viewers 20    # one of them stopped: who sees a flag when

A hub of its own (a process) holds a made-up run at step 1,000,000 and goes on at 10 samples a
second; between it and the viewer stands a proxy that lets through so many bits a second, late.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

from deadband import wire
from deadband.wire import Event, Flag, FlagChange, Points, Registration, Sample
from deadband_monitor.hub.registry import Claim
from deadband_monitor.hub.server import Hub
from deadband_monitor.source.channel import Health, LocalChannel
from deadband_monitor.source.live import LiveSource
from deadband_monitor.source.scripted import healthy_run
from deadband_monitor.tui.keys import DASHBOARD
from deadband_monitor.tui.view import View
from deadband_monitor.tui.wishes import first_wish, wish

RUN = "far-away-000001"
STEPS, SAMPLES, RATE = 1_000_000, 600, 10.0
STRIDE = 10
"""Steps from one sample to the next while the viewer looks on: 100 steps a second."""
COLUMNS = 76
"""Columns of the heat map on a screen of 120 by 40."""
TICK_S = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=300)
    parser.add_argument("--kbit", type=float, default=1000.0, help="of the link, each way")
    parser.add_argument("--delay", type=float, default=0.1, help="seconds, there and back")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--whole", action="store_true", help="ask for everything")
    parser.add_argument("--viewers", type=int, default=0)
    parser.add_argument("--hub", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--viewer", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.hub:
        return serve(arguments.layers)
    if arguments.viewer:
        return report_flags()
    near, far = (Path(tempfile.mkdtemp(prefix="dbl", dir="/tmp")) for _ in range(2))
    hub = start_hub(near, arguments.layers)
    try:
        if arguments.viewers:
            many_viewers(near, hub.pid, arguments.viewers, arguments.seconds)
        else:
            one_viewer(near, far, arguments)
    finally:
        hub.terminate()
        hub.wait()
        for folder in (near, far):
            shutil.rmtree(folder)
    return 0


# --- the far end ---


def start_hub(home: Path, layers: int) -> subprocess.Popen[str]:
    os.environ["DEADBAND_HOME"] = str(home)
    wire.ensure_private(wire.live_folder())
    hub = subprocess.Popen(
        [sys.executable, __file__, "--hub", "--layers", str(layers)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert hub.stdout is not None
    print(hub.stdout.readline().rstrip())
    return hub


def serve(layers: int) -> int:
    """A real hub but for its training: events come from a script, and flags when it is told to."""
    hub, claim = Hub(RUN), Claim(RUN)
    us = os.getpid()
    claim.write(Registration(run=RUN, hub_pid=us, training_pid=us, started=time.time()))
    script = healthy_run(layers=layers, samples=1 << 40, every=STEPS // SAMPLES)
    for event in past(script):
        hub.chronicle.add(event)
    hub.chronicle.commit(time.monotonic(), at_once=True)
    wishes: list[int] = []
    signal.signal(signal.SIGUSR1, lambda *_: wishes.append(1))
    ready = later(script, 1 << 40, hub.chronicle.state.step)
    print(f"{layers} layers, step {hub.chronicle.state.step:,}", flush=True)
    began, sent = time.monotonic(), 0
    while True:
        hub._poll(at_once=False)
        now = time.monotonic()
        hub._rhythm.expect(now)
        hub._viewers.take(hub.chronicle, hub._demands, now)
        if sent < (now - began) * RATE:
            hub.chronicle.add(msgspec.structs.replace(next(ready), time=time.time()))
            sent += 1
        if wishes:
            wishes.clear()
            hub.chronicle.add(flag(hub.chronicle.state.step, hub.chronicle.seq))
        hub._viewers.answer(hub.chronicle, time.monotonic())
        hub.chronicle.commit(time.monotonic())


def past(script: Iterator[Event]) -> Iterator[Event]:
    for event in script:
        yield event
        if isinstance(event, Sample) and event.step >= STEPS * 0.999:
            return


def later(script: Iterator[Event], samples: int, step: int) -> Iterator[Sample]:
    """The next samples, closer together."""
    for event in script:
        if isinstance(event, Sample):
            step += STRIDE
            steps = np.arange(step - STRIDE + 1, step + 1, dtype=np.int64)
            losses = np.frombuffer(event.scalars["loss"].values, np.float32)[:STRIDE]
            loss = Points(steps=steps.tobytes(), values=losses.tobytes())
            yield msgspec.structs.replace(event, step=step, scalars={"loss": loss})
            samples -= 1
            if not samples:
                return


def flag(step: int, number: int) -> FlagChange:
    """One that says in its message when it was called."""
    return FlagChange(
        seq=0,
        step=step,
        flag=Flag(
            id=number, kind="dead-units", severity="warning", model="model", layer="net.1",
            onset_step=step, raised_step=step, message=repr(time.time()),
        ),
    )  # fmt: skip


# --- the link ---


class Link:
    """A proxy between two Unix sockets, with its own thread. Counts what the hub sends."""

    def __init__(self, inner: Path, outer: Path, kbit: float, delay_s: float) -> None:
        self.received = 0
        self.asked = 0
        self._inner, self._outer = inner, outer
        self._bytes_per_s, self._delay_s = kbit * 125, delay_s / 2
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        self._ready.wait(5)

    async def _serve(self) -> None:
        server = await asyncio.start_unix_server(self._join, self._outer)
        self._ready.set()
        await server.serve_forever()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._inner)
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(
                self._carry(reader, back, up=True), self._carry(there, writer, up=False)
            )

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        """Bytes leave in order, no faster than the rate, each `delay_s` after it came."""
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=64)

        async def deliver() -> None:
            while True:
                at, data = await under_way.get()
                await asyncio.sleep(max(at - loop.time(), 0))
                writer.write(data)
                await writer.drain()

        delivery = asyncio.create_task(deliver())
        free = 0.0
        while data := await reader.read(1400):
            self.asked += len(data) if up else 0
            self.received += 0 if up else len(data)
            free = max(free, loop.time()) + len(data) / self._bytes_per_s
            await under_way.put((free + self._delay_s, data))
            await asyncio.sleep(max(free - loop.time() - 0.01, 0))
        delivery.cancel()
        writer.close()


class FarChannel(LocalChannel):
    """To a hub that is far away."""

    where = "far"

    def health(self) -> Health:
        """The registry of the far host is not ours to read."""
        return Health.WAITING


# --- the near end ---


def one_viewer(near: Path, far: Path, arguments: argparse.Namespace) -> None:
    inner = Path(wire.viewer_address(RUN).removeprefix("ipc://"))
    os.environ["DEADBAND_HOME"] = str(far)
    wire.ensure_private(wire.live_folder())
    outer = Path(wire.viewer_address(RUN).removeprefix("ipc://"))
    link = Link(inner, outer, arguments.kbit, arguments.delay)
    source, view = LiveSource(RUN, FarChannel(RUN)), View()
    began = time.monotonic()
    if arguments.whole:
        while source.state.latest is None:
            source.refresh(TICK_S)
    else:
        source.want(first_wish(view))
        while not look(source, view):
            source.refresh(TICK_S)
    print(
        f"whole dashboard after {time.monotonic() - began:.2f} s, {link.received / 1000:.1f} kB"
        f" ({link.asked / 1000:.1f} kB asked)"
    )
    before, asked, step = link.received, link.asked, source.state.step
    began = shown = time.monotonic()
    while time.monotonic() - began < arguments.seconds:
        source.refresh(TICK_S)
        if not arguments.whole and time.monotonic() - shown > 0.5:
            shown = time.monotonic()
            look(source, view)
    span = time.monotonic() - began
    print(
        f"then {(link.received - before) / span / 1000:.2f} kB/s"
        f" ({(link.asked - asked) / span / 1000:.2f} kB/s asked),"
        f" {source.state.step - step} steps further in {span:.0f} s"
    )
    changes: tuple[tuple[str, Callable[[], object]], ...] = (
        ("zoom", lambda: view.zoom_by(2)),
        ("metric", lambda: view.next_metric(3)),
    )
    for word, change in changes:
        if arguments.whole:
            continue
        change()
        before, began = link.received, time.monotonic()
        while not look(source, view):
            source.refresh(TICK_S)
        print(f"{word}: {time.monotonic() - began:.2f} s, {(link.received - before) / 1000:.1f} kB")
    source.close()


def look(source: LiveSource, view: View) -> bool:
    """What the dashboard does; True where all that it shows is there."""
    view.live = source.state
    if view.live.table is None:
        return False
    view.update(COLUMNS)
    source.want(wish(view, DASHBOARD))
    return not source.lacks


def many_viewers(home: Path, hub: int, count: int, seconds: float) -> None:
    """One is stopped; a flag a second; how late does each of the others hear of it?"""
    viewers = [
        subprocess.Popen([sys.executable, __file__, "--viewer"], stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    for viewer in viewers:
        assert viewer.stdout is not None
        viewer.stdout.readline()
    os.kill(viewers[0].pid, signal.SIGSTOP)
    before = resident_mb(hub)
    spent, began = cpu_s(hub), time.monotonic()
    for _ in range(int(seconds)):
        os.kill(hub, signal.SIGUSR1)
        time.sleep(1.0)
    share = (cpu_s(hub) - spent) / (time.monotonic() - began)
    after = resident_mb(hub)
    delays: list[float] = []
    for viewer in viewers[1:]:
        viewer.terminate()
        assert viewer.stdout is not None
        delays += [float(line) for line in viewer.stdout.read().split()]
        viewer.wait()
    viewers[0].kill()
    viewers[0].wait()
    expected = (count - 1) * int(seconds)
    print(
        f"{count} viewers, one stopped: {len(delays)} of {expected} flags heard,"
        f" after {median(delays) * 1000:.0f} ms, the slowest after {max(delays) * 1000:.0f} ms;"
        f" hub {before:.0f} -> {after:.0f} MB, {share:.0%} of a core"
    )
    del home


def report_flags() -> int:
    """A viewer that prints how long after its call each flag was here."""
    source, view = LiveSource(RUN), View()
    source.want(first_wish(view))
    while not look(source, view):
        source.refresh(TICK_S)
    print("here", flush=True)
    known = set(source.state.flags)
    while True:
        source.refresh(TICK_S)
        look(source, view)
        for number in source.state.flags.keys() - known:
            known.add(number)
            print(time.time() - float(source.state.flags[number].message), flush=True)


def resident_mb(process: int) -> float:
    """What a process holds of memory (Linux)."""
    pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_s(process: int) -> float:
    """CPU time a process has used (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    raise SystemExit(main())
