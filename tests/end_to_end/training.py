"""A training process without torch: speaks the wire as a client does, on command.

Started as a process by the tests. Reads one command a line from its input and answers each with one
line when it is done: `hub`, `hello [VERSION]`, `plan`, `frames N`, `inline N`, `beat`, `heard`,
`bye STATUS`.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import zmq

from deadband import wire
from deadband.wire import Layer, Model, OptimizerGroup, Plan, Slot, What

decoder: msgspec.msgpack.Decoder[wire.ToClient] = msgspec.msgpack.Decoder(wire.ToClient)

ROWS, FEATURES, CLASSES, RING = 32, 12, 5, 16


def make_plan(number: int, arena: str) -> Plan:
    shapes: list[tuple[What, tuple[int, ...], str]] = [
        (What.INPUT, (ROWS, FEATURES), "nu"),
        (What.OUTPUT, (ROWS, CLASSES), "nu"),
        (What.ACTIVATION, (ROWS, CLASSES), "nu"),
        (What.WEIGHT, (CLASSES, FEATURES), ""),
        (What.LOSS, (wire.LOSS_CAPACITY,), ""),
    ]
    slots, offset = [], 0
    for what, shape, axes in shapes:
        slots.append(Slot(what=what, index=0, offset=offset, shape=shape, axes=axes, source=shape))
        offset += int(np.prod(shape))
    return Plan(
        id=number,
        layers=(
            Layer(
                name=f"fc{number}",
                model="model",
                kind="Linear",
                fan_in=FEATURES,
                units=CLASSES,
                parameters=FEATURES * CLASSES,
            ),
        ),
        models=(Model(name="model", kind="Linear", parameters=60, trainable=60, loss="mse"),),
        optimizers=(OptimizerGroup(optimizer="SGD", lr=0.1),),
        slots=tuple(slots),
        payload_bytes=offset * 4,
        arena=arena,
    )


class Training:
    """What the client of a real run does, in slow motion."""

    def __init__(self, run: str, rank: int = 0) -> None:
        self.run, self.rank = run, rank
        self.step = self.samples = self.plans = self.head = 0
        self.hub: subprocess.Popen[bytes] | None = None
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 1000)
        self.socket.connect(wire.intake_address(run))
        self.noise = np.random.default_rng(3)

    def start_hub(self) -> str:
        self.hub = subprocess.Popen(
            [sys.executable, "-m", "deadband_monitor.hub", "--run", self.run],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return f"hub starter ended {self.hub.wait(10)}"

    def hello(self, version: int = wire.VERSION) -> str:
        self.send(
            wire.Hello(
                version=version,
                run=self.run,
                name=self.run.rpartition("-")[0],
                pid=os.getpid(),
                started=time.time(),
                rank=self.rank,
            )
        )
        welcome = self.receive()
        assert isinstance(welcome, wire.Welcome)
        return f"hub {welcome.hub_pid} {welcome.refused}"

    def plan(self, shared: bool = True) -> str:
        self.plans += 1
        folder = Path("/dev/shm") if Path("/dev/shm").is_dir() else wire.live_folder()
        path = folder / f"deadband-{os.getpid()}-{self.run}-{self.plans}"
        self.now = make_plan(self.plans, str(path) if shared else "")
        if shared:
            self.frame_bytes = wire.FRAME_HEADER_BYTES + self.now.payload_bytes
            with path.open("w+b") as file:
                file.truncate(wire.ARENA_FRAMES_OFFSET + RING * self.frame_bytes)
                self.memory = mmap.mmap(file.fileno(), 0)
            head = (wire.ARENA_MAGIC, wire.VERSION, RING, self.frame_bytes)
            wire.ARENA_HEAD.pack_into(self.memory, 0, *head)
            self.head = 0
        self.send(self.now)
        return str(path)

    def frames(self, count: int) -> str:
        for _ in range(count):
            header, payload = self.one()
            deadline = time.monotonic() + 10
            while self.head - self.counter(wire.ARENA_TAIL_OFFSET) >= RING:
                assert time.monotonic() < deadline, "the hub takes nothing"
                time.sleep(0.001)
            start = wire.ARENA_FRAMES_OFFSET + self.head % RING * self.frame_bytes
            self.memory[start : start + 4] = len(header).to_bytes(4, "little")
            self.memory[start + 4 : start + 4 + len(header)] = header
            payload_at = start + wire.FRAME_HEADER_BYTES
            self.memory[payload_at : payload_at + len(payload)] = payload
            self.head += 1
            self.memory[64:72] = self.head.to_bytes(8, "little")
        return f"sent {self.step}"

    def inline(self, count: int) -> str:
        for _ in range(count):
            header, payload = self.one()
            self.send(wire.Frame(header=header, payload=payload))
        return f"sent {self.step}"

    def beat(self, unsaid: str = "") -> str:
        self.send(
            wire.Beat(
                time=time.time(),
                step=self.step,
                samples=self.samples,
                dropped=0,
                interval=1,
                overhead=0.005,
                unsaid=unsaid,
            )
        )
        return "sent"

    def bye(self, status: str) -> str:
        self.send(
            wire.Bye(
                status=status,
                step=self.step,
                samples=self.samples,
                dropped=0,
                overhead=0.005,
                error="ValueError: no" if status == "failed" else "",
            )
        )
        return "sent"

    def heard(self) -> str:
        """Everything that the hub has said, as words."""
        words: list[str] = []
        while self.socket.poll(0 if words else 5000):
            words.append(type(self.receive()).__name__)
        return " ".join(words)

    def one(self) -> tuple[bytes, bytes]:
        self.step += 1
        self.samples += 1
        noise = self.noise.standard_normal
        inputs, outputs = noise((ROWS, FEATURES)), noise((ROWS, CLASSES))
        losses = np.full(wire.LOSS_CAPACITY, np.nan)
        losses[0] = 1.0 / self.step
        parts = (inputs, outputs, outputs, noise((CLASSES, FEATURES)), losses)
        header = wire.FrameHeader(
            plan=self.now.id,
            step=self.step,
            time=time.time(),
            present=b"\1" * len(self.now.slots),
            loss_first_step=self.step,
            loss_count=1,
            scalars={"lr": [(self.step, 0.1)]},
        )
        payload = np.concatenate([part.ravel() for part in parts]).astype(np.float32)
        return msgspec.msgpack.encode(header), payload.tobytes()

    def counter(self, offset: int) -> int:
        return int.from_bytes(self.memory[offset : offset + 8], "little")

    def send(self, message: wire.ToHub) -> None:
        self.socket.send(msgspec.msgpack.encode(message))

    def receive(self) -> wire.ToClient:
        assert self.socket.poll(15000), "the hub says nothing"
        return decoder.decode(self.socket.recv())


def main() -> None:
    training = Training(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    for line in sys.stdin:
        print(obey(training, *line.split()), flush=True)


def obey(training: Training, word: str, value: str = "") -> str:
    answers: dict[str, Callable[[], str]] = {
        "hub": training.start_hub,
        "hello": lambda: training.hello(int(value or wire.VERSION)),
        "plan": training.plan,
        "inline-plan": lambda: training.plan(shared=False),
        "frames": lambda: training.frames(int(value)),
        "inline": lambda: training.inline(int(value)),
        "beat": lambda: training.beat(value),
        "heard": training.heard,
        "bye": lambda: training.bye(value),
    }
    return answers[word]()


if __name__ == "__main__":
    main()
