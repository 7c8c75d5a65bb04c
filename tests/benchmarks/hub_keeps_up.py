"""Whether the hub keeps up: `python tests/benchmarks/hub_keeps_up.py [--seconds 10]`.

Trains for a while, keeps the frames as the client has written them, and gives them to a hub again
at the rates that it must keep up with: 200 samples a second of a small MLP, 20 of 300 layers.
Prints the share of a core that a real hub process takes, and where the time of a sample goes: by
processor time in this process, with frames in batches as the hub takes them while nobody looks on.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import msgspec
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from workloads import make

from deadband import recorder as client_recorder
from deadband import watching, wire
from deadband.arena import Arena, shared_folder
from deadband.identity import greeting
from deadband.sender import Sender
from deadband.settings import Settings
from deadband_monitor.hub import registry
from deadband_monitor.hub.history import Chronicle
from deadband_monitor.hub.judgement import Judgement
from deadband_monitor.hub.rhythm import GATHER_S, WATCHED_GATHER_S
from deadband_monitor.record.writer import Recorder
from deadband_monitor.rules.engine import Engine
from deadband_monitor.statistics.statistician import Statistician
from deadband_monitor.statistics.values import RawFrame


@dataclass(frozen=True, slots=True)
class Stream:
    """What a client has written, and how fast it comes."""

    name: str
    rate: float
    plan: wire.Plan
    frames: list[tuple[wire.FrameHeader, np.ndarray]]

    def raw(self, count: int) -> Iterator[RawFrame]:
        """So many frames, their steps going on where the captured ones end."""
        for number in range(count):
            header, payload = self.frames[number % len(self.frames)]
            header = msgspec.structs.replace(header, step=number + 1, loss_first_step=number + 1)
            yield RawFrame(header, payload)


def mlp() -> tuple[nn.Module, torch.optim.Optimizer, Callable[[], Tensor]]:
    """The small MLP of the other benchmarks, over changing batches."""
    load = make("mlp")
    return load.model, load.optimizer, batches(load.model, load.optimizer, (64,))


def layers300() -> tuple[nn.Module, torch.optim.Optimizer, Callable[[], Tensor]]:
    """100 times convolution, normalisation and activation, with ways around."""
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(16, 16, 3, padding=1, bias=False)
            self.norm, self.relu = nn.BatchNorm2d(16), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.relu(x + self.norm(self.convolution(x)))
            return out

    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), *[Block() for _ in range(100)],
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return model, optimizer, batches(model, optimizer, (3, 8, 8))


def batches(
    model: nn.Module, optimizer: torch.optim.Optimizer, shape: tuple[int, ...]
) -> Callable[[], Tensor]:
    """One step over 64 of 4096 made-up samples of ten classes."""
    size = int(np.prod(shape))
    draw = torch.Generator().manual_seed(1)
    centres = torch.randn(10, size, generator=draw)
    labels = torch.randint(0, 10, (4096,), generator=draw)
    samples = (centres[labels] + 2 * torch.randn(4096, size, generator=draw)).view(-1, *shape)

    def step() -> Tensor:
        chosen = torch.randint(0, len(labels), (64,), generator=draw)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(samples[chosen]), labels[chosen])
        loss.backward()
        optimizer.step()
        return loss

    return step


class Tap:
    """Stands where the client's arena is, and keeps what is written."""

    frames: list[tuple[wire.FrameHeader, np.ndarray]] = []  # noqa: RUF012

    def __init__(self, path: Path, payload_bytes: int) -> None:
        self.waiting, self.has_room, self.dropped = 0, True, 0
        self.length, self.place, self.path, self.failed = 1, 0, path, False
        self.stride = 1
        self._payload = np.zeros(payload_bytes // 4, np.float32)
        Tap.frames = []

    def payload(self, place: int) -> np.ndarray:
        return self._payload

    def write(self, header: bytes, payload: np.ndarray | None) -> bool:
        decoded = msgspec.msgpack.decode(header, type=wire.FrameHeader)
        if decoded.present.count(1) > 1:
            Tap.frames.append((decoded, (self._payload if payload is None else payload).copy()))
        return True

    def close(self, *, unlink: bool) -> None:
        """Nothing to let go of."""


def captured(name: str, rate: float, steps: int) -> Stream:
    """Train so many steps, every one of them sampled."""
    model, optimizer, step = {"mlp": mlp, "300 layers": layers300}[name]()
    with mock.patch.object(client_recorder, "Arena", Tap):
        watch = watching.Watch(
            {"model": model},
            [optimizer],
            name=name,
            run=name,
            settings=Settings(every=1, budget=None, hub=False),
        )
        for _ in range(steps):
            watch.step(loss=step())
        plan = watch._recorder.plan
        watch.close()
    assert plan is not None
    frames = [each for each in Tap.frames if each[0].plan == plan.id]
    print(
        f"{name}: {len(plan.layers)} layers, {len(plan.slots)} slots, "
        f"{plan.payload_bytes / 1e6:.2f} MB a frame, {len(frames)} frames"
    )
    return Stream(name, rate, plan, frames)


class Clock:
    """Processor time by stage; what one stage calls another for counts for the inner one."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._open: list[list[float]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what follows."""
        start = time.process_time()
        self._open.append([0.0])
        try:
            yield
        finally:
            taken = time.process_time() - start
            inner = self._open.pop()[0]
            self.spent[name] = self.spent.get(name, 0.0) + taken - inner
            if self._open:
                self._open[-1][0] += taken

    def timed(self, owner: type, method: str, name: str) -> mock._patch:  # type: ignore[type-arg]
        """A method of a class, counted."""
        plain = getattr(owner, method)

        def counted(*arguments: object, **named: object) -> object:
            with self.stage(name):
                return plain(*arguments, **named)

        return mock.patch.object(owner, method, counted)


def by_stage(stream: Stream, together_s: float, count: int) -> dict[str, float]:
    """Milliseconds a sample of each stage, frames in batches of so many seconds."""
    at_once = max(1, round(stream.rate * together_s))
    at_once = max(1, min(at_once, 64, (16 << 20) // stream.plan.payload_bytes))
    every = max(1, round(0.5 * stream.rate / at_once))
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        judge, chronicle = Judgement(), Chronicle(Recorder(Path(folder) / "run.deadband"))
        for event in judge.adopt(stream.plan):
            chronicle.add(event)
        waiting: deque[RawFrame] = deque(stream.raw(count))
        warm = count // 5
        batch: list[RawFrame] = []
        number = 0
        with (
            clock.timed(Statistician, "measure", "statistics"),
            clock.timed(Engine, "observe", "rules"),
            clock.timed(Engine, "causes", "causes"),
            clock.timed(Engine, "coverage", "coverage"),
            clock.timed(Chronicle, "add", "state"),
            clock.timed(Recorder, "commit", "recording"),
        ):
            done = 0
            while waiting:
                with clock.stage("copy"):
                    batch = [
                        RawFrame(frame.header, frame.payload.copy())
                        for frame in (waiting.popleft() for _ in range(min(at_once, len(waiting))))
                    ]
                with clock.stage("events"):
                    for event in judge.judge(batch):
                        chronicle.add(event)
                number += 1
                if number % every == 0:
                    chronicle.commit(float(number))
                done += len(batch)
                if done >= warm > done - len(batch):
                    clock.spent.clear()
                    first = done
        if judge.error:
            raise RuntimeError(judge.error)
        chronicle.close(float(number + 1))
    return {name: 1e3 * spent / (count - first) for name, spent in clock.spent.items()}


def core_share(stream: Stream, seconds: float) -> tuple[float, float, int]:
    """Share of a core of a real hub, samples a second that reached it, frames dropped."""
    run = f"keeps-up-{os.getpid()}-{len(stream.plan.layers)}"
    sent = 0

    def beat() -> wire.Beat:
        now = time.time()
        return wire.Beat(time=now, step=sent, samples=sent, dropped=0, overhead=0.0, interval=1)

    sender = Sender(run, beat, lambda message: None)
    settings = Settings(every=1, budget=None)
    sender.post(greeting(run, stream.name, settings))
    path = shared_folder() / f"deadband-{os.getpid()}-{run}-1"
    arena = Arena(path, stream.plan.payload_bytes)
    sender.post(msgspec.structs.replace(stream.plan, arena=str(path)))
    hub = 0
    while not hub:
        found = registry.live_hub(run)
        hub = found.hub_pid if found else 0
        time.sleep(0.05)
    encode = msgspec.msgpack.Encoder().encode
    frames = stream.raw(sys.maxsize)
    spent = counted = 0.0
    until = began = time.monotonic()
    while (now := time.monotonic()) - began < seconds + 2.0:
        if not counted and now - began > 2.0:
            counted, spent, first = now, cpu_s(hub), sent
        until += 1.0 / stream.rate
        time.sleep(max(0.0, until - now))
        frame = next(frames)
        arena.write(encode(frame.header), frame.payload)
        sent += 1
    share = (cpu_s(hub) - spent) / (now - counted)
    rate = (sent - first) / (now - counted)
    dropped = arena.dropped
    sender.close(wire.Bye(status="finished", step=sent, samples=sent, dropped=0, overhead=0.0))
    arena.close(unlink=False)
    return share, rate, dropped


def cpu_s(process: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(title: str, stages: dict[str, float], rate: float) -> None:
    """One line of stages."""
    total = sum(stages.values())
    parts = ", ".join(f"{name} {spent:.2f}" for name, spent in stages.items())
    print(f"  {title:<12} {total:7.2f} ms a sample, {rate * total / 10:5.1f} % of a core: {parts}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--no-hub", action="store_true", help="only the stages, in this process")
    parser.add_argument("--only", choices=("mlp", "300 layers"))
    given = parser.parse_args(arguments)
    for name, rate, steps, count in (("mlp", 200.0, 600, 1000), ("300 layers", 20.0, 40, 100)):
        if given.only not in (None, name):
            continue
        stream = captured(name, rate, steps)
        for title, together in (("unwatched", GATHER_S), ("watched", WATCHED_GATHER_S)):
            show(title, by_stage(stream, together, count), rate)
        if not given.no_hub:
            with tempfile.TemporaryDirectory() as home:
                os.environ["DEADBAND_HOME"] = home
                share, reached, dropped = core_share(stream, given.seconds)
            print(f"  hub process  {share:.1%} of a core at {reached:.0f}/s, {dropped} dropped")


if __name__ == "__main__":
    main()
