"""Many ranks on one hub: simulated clients send summaries, and the hub is timed.

`python tests/benchmarks/ranks.py [--ranks 1024] [--layers 100] [--rate 2] [--seconds 20]`

Says how many frames were sent, how many the hub took in, and what share of a core it used. Clients
speak the wire as real ones of ranks beyond the first eight do, from two processes: 64 KiB a frame,
all of its slices in the message. Rank 700 (or the last) turns to other weights half way, so that
there is something to find.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing.synchronize import Event as Signal
from pathlib import Path

import msgspec
import numpy as np
import zmq

from deadband import wire
from deadband.wire import Layer, Model, OptimizerGroup, Plan, Slot, What

RUN = "many-000000"
PROCESSES = 2
"""A ZeroMQ context has room for 1,023 sockets."""
WHATS = (What.WEIGHT_BEFORE, What.WEIGHT, What.WEIGHT_GRAD, What.ACTIVATION, What.ACTIVATION_GRAD)
SHAPE = (4, 6)
"""What fits 64 KiB with five slices a layer and a hundred layers."""


def make_plan(layers: int) -> Plan:
    """The plan of a summary."""
    slots = [Slot(what=What.LOSS, index=0, offset=0, shape=(wire.LOSS_CAPACITY,))]
    offset = wire.LOSS_CAPACITY
    for what in (What.INPUT, What.OUTPUT):
        slots.append(Slot(what=what, index=0, offset=offset, shape=(4, 64), axes="nu"))
        offset += 256
    for index in range(layers):
        for what in WHATS:
            axes = "nu" if "activation" in what.value else ""
            slots.append(Slot(what=what, index=index, offset=offset, shape=SHAPE, axes=axes))
            offset += SHAPE[0] * SHAPE[1]
    return Plan(
        id=1,
        layers=tuple(
            Layer(name=f"blocks.{index}", model="model", kind="Linear", fan_in=64, units=64)
            for index in range(layers)
        ),
        models=(Model(name="model", kind="Net", parameters=9, trainable=9, loss="mse"),),
        optimizers=(OptimizerGroup(optimizer="SGD", lr=0.1),),
        slots=tuple(slots),
        payload_bytes=4 * offset,
    )


class Simulated:
    """The clients of some ranks."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], rank: int, world: int) -> None:
        self.rank, self.world = rank, world
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndhwm = 8
        self.socket.connect(wire.intake_address(RUN))
        self.refused = 0

    def say(self, message: wire.ToHub) -> None:
        """Send, or count what found no room."""
        try:
            self.socket.send(msgspec.msgpack.encode(message), zmq.NOBLOCK)
        except zmq.Again:
            self.refused += 1

    def hello(self) -> None:
        """As a client begins."""
        self.say(
            wire.Hello(
                version=wire.VERSION, run=RUN, name="many", pid=os.getpid(), started=time.time(),
                host=f"node-{self.rank // 8}", rank=self.rank, world_size=self.world,
            )
        )  # fmt: skip


def clients(
    ranks: range, world: int, layers: int, rate: float, seconds: float, go: Signal, out: Path
) -> None:
    """Simulate these ranks."""
    context = zmq.Context()
    context.setsockopt(zmq.MAX_SOCKETS, 1023)
    plan = make_plan(layers)
    crew = [Simulated(context, rank, world) for rank in ranks]
    for each in crew:
        each.hello()
        each.say(plan)
        time.sleep(0.002)
    go.wait()
    random = np.random.default_rng(ranks.start)
    steps = int(rate * seconds)
    began, late_s = time.monotonic(), 0.0
    sent = 0
    floats = plan.payload_bytes // 4
    common = np.random.default_rng(1)  # the same on all ranks: weights and averaged gradients
    weights = common.normal(size=(layers, *SHAPE)).astype(np.float32)
    noise = random.normal(size=4 * floats).astype(np.float32)
    for step in range(1, steps + 1):
        grads = common.normal(size=weights.shape).astype(np.float32)
        before, weights = weights, (weights - 0.01 * grads).astype(np.float32)
        for number, each in enumerate(crew):
            due = began + (step - 1 + number / len(crew)) / rate
            wait = due - time.monotonic()
            if wait > 0.002:
                time.sleep(wait)
            late_s = max(late_s, -wait)
            at = int(random.integers(0, 3 * floats))
            payload = noise[at : at + floats].copy()
            payload[0] = 1.0 + 0.05 * payload[0]
            table = payload[wire.LOSS_CAPACITY + 512 :].reshape(layers, len(WHATS), *SHAPE)
            table[:, 0], table[:, 1], table[:, 2] = before, weights, grads
            if each.rank == min(700, world - 1) and step > steps // 2:
                table[:, :2] *= 1.1
            header = wire.FrameHeader(
                plan=1, step=step, time=time.time(), present=b"\1" * len(plan.slots),
                loss_first_step=step, loss_count=1, loss_given=b"\1",
                scalars={"lr": [(step, 0.1)]},
            )  # fmt: skip
            each.say(wire.Frame(header=msgspec.msgpack.encode(header), payload=payload.tobytes()))
            sent += 1
            if step % max(1, int(rate)) == 0:
                each.say(
                    wire.Beat(
                        time=time.time(), step=step, samples=step, dropped=each.refused, interval=1,
                        overhead=0.0,
                    )
                )  # fmt: skip
    time.sleep(2.0)
    out.write_bytes(msgspec.json.encode([sent, sum(each.refused for each in crew), late_s]))
    for each in crew:
        each.say(wire.Bye(status="finished", step=steps, samples=steps, dropped=0, overhead=0.0))
    time.sleep(1.0)


def cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=100)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    asked = parser.parse_args()
    home = os.environ["DEADBAND_HOME"] = tempfile.mkdtemp(prefix="deadband-ranks-")
    hub = subprocess.Popen(
        [sys.executable, "-m", "deadband_monitor.hub", "--run", RUN, "--foreground"],
        env={**os.environ},
    )
    go = multiprocessing.Event()
    cut = [asked.ranks * part // PROCESSES for part in range(PROCESSES + 1)]
    outs = [Path(home) / f"sent-{part}" for part in range(PROCESSES)]
    workers = [
        multiprocessing.Process(
            target=clients,
            args=(
                range(cut[part], cut[part + 1]), asked.ranks, asked.layers, asked.rate,
                asked.seconds, go, outs[part],
            ),
        )
        for part in range(PROCESSES)
    ]  # fmt: skip
    for worker in workers:
        worker.start()
    time.sleep(4.0 + 0.006 * asked.ranks)
    before, began = cpu_s(hub.pid), time.monotonic()
    go.set()
    while not all(out.exists() for out in outs):
        time.sleep(0.1)
    after, took = cpu_s(hub.pid), time.monotonic() - began
    peak = Path(f"/proc/{hub.pid}/status").read_text().partition("VmHWM:")[2].split()[0]
    for worker in workers:
        worker.join()
    hub.wait(60)
    sent, refused, late_s = zip(
        *(msgspec.json.decode(out.read_bytes()) for out in outs), strict=True
    )
    report(sum(sent), sum(refused), max(late_s), (after - before), took, int(peak) // 1024)


def report(sent: int, refused: int, late_s: float, cpu: float, took: float, peak: int) -> None:
    """What the recording holds against what was sent."""
    from deadband_monitor.record.reader import Recording

    with Recording(wire.recording_path(RUN)) as recording:
        status = recording.last_status
        flags = [event.flag for event in recording.events() if isinstance(event, wire.FlagChange)]
    assert status is not None
    # Ranks say of themselves what they sent; the hub counts what it measured.
    taken = sum(rank.measured for rank in status.ranks)
    size = wire.recording_path(RUN).stat().st_size
    print(f"frames sent {sent:,}, found no room {refused:,}, sent late by up to {late_s:.2f} s")
    print(f"frames measured {taken:,} ({taken / max(sent, 1):.2%})")
    per_frame = 1000 * cpu / max(taken, 1)
    print(f"hub: {cpu:.1f} s of processor in {took:.1f} s = {cpu / took:.2f} cores,")
    print(f"     {per_frame:.3f} ms a frame, {peak} MB, recording {size / 1e6:.1f} MB")
    for flag in flags:
        print(f"flag at step {flag.raised_step}: {flag.message}")
    if status.error:
        print(f"error: {status.error}")


if __name__ == "__main__":
    main()
