"""The course of frames from a device, on a device of the tests' own that is as slow as they want.

The processor's memory plays the device's. Its work waits in a queue until the test lets it run:
what was read or written too early shows in the figures, and a wait is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from frames import Frames
from torch import Tensor, nn

import deadband
from deadband import device, wire
from deadband.cadence import Cadence
from deadband.watching import Watch
from deadband.wire import What


class Mark:
    """An event that is passed once the queue has come to it."""

    def __init__(self, fake: FakeDevice) -> None:
        self.fake = fake
        self.passed_at: float | None = None

    def record(self, stream: Any = None) -> None:
        self.fake.queue.append(self._pass)

    def _pass(self) -> None:
        self.passed_at = self.fake.time_s

    def query(self) -> bool:
        self.fake.asked += 1
        return self.passed_at is not None

    def synchronize(self) -> None:
        self.fake.waits += 1
        self.fake.run()

    def elapsed_time(self, end: Mark) -> float:
        assert self.passed_at is not None
        assert end.passed_at is not None
        return 1000 * (end.passed_at - self.passed_at)


class FakeDevice:
    """Takes the place of `deadband.device.RUNTIME`'s ways to CUDA."""

    def __init__(self) -> None:
        self.queue: list[Callable[[], None]] = []
        self.time_s = 0.0
        self.waits = self.asked = self.pinnings = 0
        self.capturing = False

    def mark(self, where: torch.device, *, timed: bool = False) -> Mark:
        mark = Mark(self)
        mark.record()
        return mark

    def work(self, seconds: float) -> None:
        """The device is kept busy."""

        def pass_time() -> None:
            self.time_s += seconds

        self.queue.append(pass_time)

    def copy_behind(self, event: Mark, stream: Any, host: Tensor, arena: Tensor) -> Mark:
        def copy() -> None:
            assert event.passed_at is not None
            host.copy_(arena)

        self.queue.append(copy)
        return self.mark(arena.device)

    def pinned(self, size: int) -> Tensor:
        self.pinnings += 1
        return torch.zeros(size)

    def run(self, upto: int | None = None) -> None:
        """Do what waits; all of it, or so many pieces."""
        for work in self.queue[:upto]:
            work()
        del self.queue[:upto]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    made = FakeDevice()
    monkeypatch.setattr(device, "KINDS", {"cpu"})
    for name in ("mark", "copy_behind", "pinned"):
        monkeypatch.setattr(device.RUNTIME, name, getattr(made, name))
    monkeypatch.setattr(device.RUNTIME, "stream", lambda where: None)
    monkeypatch.setattr(device.RUNTIME, "is_capturing", lambda: made.capturing)
    return made


class Loop:
    """A small loop and what went through it."""

    def __init__(self) -> None:
        self.model = nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 3))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.watch = deadband.watch(self.model, self.optimizer, every=1)
        self.inputs: list[Tensor] = []
        self.weights: list[Tensor] = []

    def step(self, rows: int = 6) -> None:
        x, y = torch.randn(rows, 4), torch.randint(0, 3, (rows,))
        loss = F.cross_entropy(self.model(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.watch.step(loss=loss)
        self.inputs.append(x)
        self.weights.append(self.model[0].weight.detach().clone())  # type: ignore[operator]


def test_frames_land_as_they_were_and_nobody_waits(
    fake: FakeDevice, frames_of: Callable[[Watch], Frames]
) -> None:
    loop = Loop()
    for _ in range(8):
        loop.step()
        fake.run()
    loop.watch._recorder.land()
    assert (fake.waits, loop.watch._recorder.dropped) == (0, 0)
    frames = frames_of(loop.watch)
    assert frames.steps == list(range(1, 9))
    for frame, step in enumerate(frames.steps):
        np.testing.assert_array_equal(
            frames.held(What.INPUT, "model", frame), loop.inputs[step - 1]
        )
        np.testing.assert_array_equal(frames.held(What.WEIGHT, "0", frame), loop.weights[step - 1])
    assert [step for step, _ in frames.losses()] == list(range(1, 9))


def test_while_one_frame_flies_the_next_is_filled_and_a_third_is_left_out(
    fake: FakeDevice, frames_of: Callable[[Watch], Frames]
) -> None:
    loop = Loop()
    for _ in range(5):
        loop.step()  # the device does nothing all the while
    recorder = loop.watch._recorder
    assert (recorder.samples, recorder.dropped, fake.waits) == (2, 4, 0)
    fake.run()
    loop.step()  # the frames are taken in, and this step's successor is sampled again
    loop.step()
    fake.run()
    recorder.land()
    frames = frames_of(loop.watch)
    assert frames.steps == [1, 2, 7]
    for frame, step in enumerate(frames.steps):
        np.testing.assert_array_equal(
            frames.held(What.INPUT, "model", frame), loop.inputs[step - 1]
        )
    assert [step for step, _ in frames.losses()] == list(range(1, 8))


def test_other_shapes_make_another_plan_only_once_nothing_flies(
    fake: FakeDevice, frames_of: Callable[[Watch], Frames]
) -> None:
    loop = Loop()
    for _ in range(3):
        loop.step()
        fake.run()
    for _ in range(8):
        loop.step(rows=3)
        fake.run()
    loop.watch._recorder.land()
    assert fake.waits == 0
    frames = frames_of(loop.watch)
    assert frames.plan.id > 1
    np.testing.assert_array_equal(frames.held(What.INPUT, "model"), loop.inputs[-1])


def test_nothing_goes_into_a_graph_that_is_being_captured(fake: FakeDevice) -> None:
    loop = Loop()
    loop.step()
    fake.run()
    loop.step()
    asked = fake.asked
    fake.capturing = True
    held = [berth.arenas[1].clone() for berth in loop.watch._recorder.fleet._decks[0].berths]  # type: ignore[union-attr]
    out = loop.model(torch.randn(6, 4))
    F.cross_entropy(out, torch.randint(0, 3, (6,))).backward()
    loop.optimizer.step()
    now = [berth.arenas[1] for berth in loop.watch._recorder.fleet._decks[0].berths]  # type: ignore[union-attr]
    assert all(torch.equal(one, other) for one, other in zip(held, now, strict=True))
    assert fake.asked == asked
    fake.capturing = False
    fake.run()
    loop.watch.close()
    assert loop.watch._beat().fault == ""


def test_closing_takes_in_what_still_flies(
    fake: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop()
    loop.step()
    stored: list[int] = []
    recorder = loop.watch._recorder
    arena = recorder.arena
    assert arena is not None
    monkeypatch.setattr(arena, "write", lambda packed, payload: stored.append(1))
    loop.watch.close()
    assert stored == [1]


def test_what_a_sample_costs_the_device_is_measured_and_governs(fake: FakeDevice) -> None:
    clock = device.DeviceClock(torch.device("cpu"))
    clock.begin()
    fake.work(0.012)
    clock.step()
    assert clock.cost_s() is None
    fake.work(0.010)
    clock.step()
    assert clock.cost_s() is None  # the device has not come so far yet
    fake.run()
    assert clock.cost_s() == pytest.approx(0.002)
    assert clock.cost_s() is None
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    for step in range(1, 11):
        cadence.sampled(step, 0.2, 0.0001)
    assert cadence.interval == 1
    cadence.took_on_device(0.01)
    cadence.sampled(11, 0.2, 0.0001)
    assert cadence.interval == 6  # 10 ms are 1 % of five steps and a bit
    assert cadence.pace.cost_s == pytest.approx(0.01)


@pytest.mark.parametrize("what", [What.WEIGHT, What.ACTIVATION])
def test_a_tensor_that_is_looked_at_comes_down_behind_an_event_and_nobody_waits(
    fake: FakeDevice, what: What
) -> None:
    loop = Loop()
    posted: list[wire.ToHub] = []
    link = SimpleNamespace(post=posted.append, is_free=True, close=lambda bye: False)
    loop.watch._link = link
    outputs: list[Tensor] = []
    loop.model[0].register_forward_hook(lambda *given: outputs.append(given[-1].detach().clone()))
    for _ in range(3):
        loop.step()
        fake.run()
    loop.watch._deliver(wire.CloseWish(model="model", layer="0", what=what))
    for _ in range(3):
        loop.step()  # the device is far behind
    assert not [each for each in posted if isinstance(each, wire.Closeup)]
    fake.run()
    loop.step()
    (closeup,) = [each for each in posted if isinstance(each, wire.Closeup)]
    expected = (loop.weights if what is What.WEIGHT else outputs)[closeup.step - 1]
    np.testing.assert_array_equal(
        np.frombuffer(closeup.values, np.float32), expected.flatten().numpy()
    )
    assert fake.waits == 0
    assert (loop.watch._faults, loop.watch._fault) == (0, "")
