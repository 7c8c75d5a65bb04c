"""The link to the hub, with a hub of the test's own at the other end of a real socket."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq
from torch import nn

import deadband
from deadband import sender, wire

TO_HUB: msgspec.msgpack.Decoder[wire.ToHub] = msgspec.msgpack.Decoder(wire.ToHub)


class Intake:
    """Answers as a hub does, in the test's thread."""

    def __init__(self, run: str) -> None:
        wire.ensure_private(wire.live_folder())
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.bind(wire.intake_address(run))
        self._client = b""

    def next(self) -> wire.ToHub:
        assert self._socket.poll(10_000)
        self._client, packed = self._socket.recv_multipart()
        return TO_HUB.decode(packed)

    def last(self) -> wire.ToHub:
        """The next message that is no sign of life."""
        message = self.next()
        while isinstance(message, wire.Beat):
            message = self.next()
        return message

    def say(self, message: wire.ToClient) -> None:
        self._socket.send_multipart([self._client, msgspec.msgpack.encode(message)])

    def close(self) -> None:
        self._socket.close()
        self._context.term()


@pytest.fixture
def with_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link, but no hub process: `true` takes its place and ends at once."""
    monkeypatch.delenv("DEADBAND_HUB")
    monkeypatch.setenv("DEADBAND_RUN", "run-1")

    def start(run: str) -> sender.Hub:
        process = subprocess.Popen(["true"])
        process.wait()
        return sender.Hub(process, open(Path("/dev/null"), "rb"))  # noqa: PTH123

    monkeypatch.setattr(sender, "start_hub", start)


@pytest.fixture
def intake(with_link: None) -> Iterator[Intake]:
    hub = Intake("run-1")
    yield hub
    hub.close()


def train(watch: deadband.Watch, model: nn.Module, steps: int) -> None:
    import torch

    for _ in range(steps):
        model.zero_grad()
        loss = model(torch.ones(3, 4)).sum()
        loss.backward()
        watch.step(loss=loss)


def test_the_hub_hears_hello_plan_beats_and_bye_in_order(intake: Intake) -> None:
    model = nn.Linear(4, 2)
    watch = deadband.watch(model, every=1, name="mine")
    hello = intake.next()
    assert isinstance(hello, wire.Hello)
    assert (hello.run, hello.name, hello.every) == ("run-1", "mine", 1)
    intake.say(wire.Welcome(run="run-1", hub_pid=1))
    train(watch, model, 3)
    plan = intake.last()
    assert isinstance(plan, wire.Plan)
    assert Path(plan.arena).is_file()
    beat = intake.next()
    assert isinstance(beat, wire.Beat)
    assert (beat.step, beat.samples, beat.dropped) == (3, 3, 0)
    start = time.perf_counter()
    watch.close()
    assert time.perf_counter() - start < 2
    bye = intake.last()
    assert isinstance(bye, wire.Bye)
    assert (bye.status, bye.step, bye.samples) == ("finished", 3, 3)
    assert Path(plan.arena).is_file()  # the hub drains it and takes it away


def test_an_opinion_is_there_at_a_later_step(intake: Intake) -> None:
    watch = deadband.watch(nn.Linear(4, 2))
    intake.next()
    intake.say(wire.Welcome(run="run-1", hub_pid=1))
    intake.say(wire.Opinion(verdict="failing", flags=[], causes=[]))
    deadline = time.monotonic() + 10
    while watch.verdict != "failing":
        assert time.monotonic() < deadline
        watch._link._ended.wait(0.01)  # type: ignore[attr-defined]


def test_after_the_end_the_last_opinion_is_waited_for(intake: Intake) -> None:
    watch = deadband.watch(nn.Linear(4, 2))
    intake.next()
    intake.say(wire.Welcome(run="run-1", hub_pid=1))
    watch.close()
    assert isinstance(intake.last(), wire.Bye)
    intake.say(wire.Opinion(verdict="warning", flags=[], causes=[]))
    later = threading.Timer(
        0.2, intake.say, [wire.Opinion(verdict="failing", flags=[], causes=[], final=True)]
    )
    later.start()
    assert watch.verdict == "failing"
    later.join()


def test_a_hub_that_never_says_its_last_word_is_not_waited_for_without_end(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "LAST_WORD_S", 0.1)
    watch = deadband.watch(nn.Linear(4, 2))
    intake.next()
    intake.say(wire.Welcome(run="run-1", hub_pid=1))
    intake.say(wire.Opinion(verdict="warning", flags=[], causes=[]))
    watch.close()
    assert watch.verdict == "warning"


def test_an_error_in_the_block_is_told(intake: Intake) -> None:
    def broken() -> None:
        with deadband.watch(nn.Linear(4, 2)):
            intake.next()
            intake.say(wire.Welcome(run="run-1", hub_pid=1))
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        broken()
    bye = intake.last()
    assert isinstance(bye, wire.Bye)
    assert (bye.status, bye.error) == ("failed", "ZeroDivisionError: division by zero")


def test_frames_travel_in_messages_where_memory_cannot_be_shared(
    intake: Intake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("deadband.recorder.shared_folder", lambda: tmp_path / "nowhere")
    model = nn.Linear(4, 2)
    watch = deadband.watch(model, every=1)
    intake.next()
    train(watch, model, 1)
    plan, frame = intake.last(), intake.last()
    assert isinstance(plan, wire.Plan)
    assert isinstance(frame, wire.Frame)
    assert plan.arena == ""
    header = msgspec.msgpack.decode(frame.header, type=wire.FrameHeader)
    assert (header.step, len(frame.payload)) == (1, plan.payload_bytes)


def test_without_a_hub_training_runs_on_and_nothing_is_left(
    with_link: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(run: str) -> sender.Hub:
        raise OSError("no such program")

    monkeypatch.setattr(sender, "start_hub", fail)
    model = nn.Linear(4, 2)
    watch = deadband.watch(model, every=1)
    train(watch, model, 5)
    arena = watch._recorder.arena
    assert arena is not None
    watch.close()
    assert watch._recorder.samples == 5
    assert not arena.path.exists()
    said = capfd.readouterr().err
    assert len(said.splitlines()) == 1
    assert "no such program" in said


def test_a_hub_that_fails_tells_why(
    with_link: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("DEADBAND_RUN", "bad/run")
    hub = sender.start_hub("bad/run")
    hub._process.wait(20)
    assert not hub.alive()
    assert "usage" in hub.reason()
    hub.close()
