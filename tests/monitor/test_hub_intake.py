"""The arena and the chronicle without processes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from deadband import wire
from deadband.wire import AskHistory, AskNews, FrameHeader, News, Plan, Slot, What
from deadband_monitor.hub import crew, history, intake
from deadband_monitor.hub.clients import Client
from deadband_monitor.hub.crew import Crew
from deadband_monitor.hub.history import Chronicle
from deadband_monitor.hub.intake import Arena, BadArena, Inbox
from deadband_monitor.record.reader import Recording
from deadband_monitor.record.writer import Recorder
from deadband_monitor.source.scripted import collapsing_run, healthy_run
from deadband_monitor.state import copying
from deadband_monitor.state.run_state import STATE_LAYOUT, RunState

RING, FLOATS = 4, 8


class Ring:
    """The client's end of an arena, as a file."""

    def __init__(self, path: Path, length: int = RING) -> None:
        self.path, self.length, self.head = path, length, 0
        self.frame_bytes = wire.FRAME_HEADER_BYTES + 4 * FLOATS
        data = bytearray(wire.ARENA_FRAMES_OFFSET + length * self.frame_bytes)
        head = (wire.ARENA_MAGIC, wire.VERSION, length, self.frame_bytes)
        wire.ARENA_HEAD.pack_into(data, 0, *head)
        path.write_bytes(data)

    def put(self, step: int, plan: int = 1, header: bytes | None = None) -> None:
        if header is None:
            header = msgspec.msgpack.encode(
                FrameHeader(plan=plan, step=step, time=float(step), present=b"\1")
            )
        with self.path.open("r+b") as file:
            file.seek(wire.ARENA_FRAMES_OFFSET + self.head % self.length * self.frame_bytes)
            file.write(len(header).to_bytes(4, "little") + header)
            file.seek(
                wire.ARENA_FRAMES_OFFSET
                + self.head % self.length * self.frame_bytes
                + wire.FRAME_HEADER_BYTES
            )
            file.write(np.full(FLOATS, step, np.float32).tobytes())
            self.head += 1
            file.seek(wire.ARENA_HEAD_OFFSET)
            file.write(self.head.to_bytes(8, "little"))

    @property
    def tail(self) -> int:
        data = self.path.read_bytes()[wire.ARENA_TAIL_OFFSET :][:8]
        return int.from_bytes(data, "little")


def plan(number: int, arena: Path | str) -> Plan:
    return Plan(
        id=number,
        layers=(),
        models=(),
        optimizers=(),
        slots=(Slot(what=What.LOSS, index=0, offset=0, shape=(FLOATS,)),),
        payload_bytes=4 * FLOATS,
        arena=str(arena),
    )


def steps(inbox: Inbox) -> list[int]:
    return [frame.header.step for frame in inbox.take()]


def test_frames_come_out_in_order_and_their_room_is_given_back(tmp_path: Path) -> None:
    ring, inbox = Ring(tmp_path / "a"), Inbox()
    assert inbox.adopt(plan(1, ring.path)) == ""
    assert inbox.take() == []
    for round_ in range(5):
        for step in range(3):
            ring.put(10 * round_ + step)
        assert inbox.waiting == 3
        frames = inbox.take()
        assert [frame.header.step for frame in frames] == [10 * round_ + s for s in range(3)]
        assert all((frame.payload == frame.header.step).all() for frame in frames)
        assert ring.tail == ring.head
    inbox.close()
    assert not ring.path.exists()


def test_a_taken_frame_does_not_change_when_its_room_is_written_again(tmp_path: Path) -> None:
    ring, inbox = Ring(tmp_path / "a", length=1), Inbox()
    inbox.adopt(plan(1, ring.path))
    ring.put(1)
    (frame,) = inbox.take()
    ring.put(2)
    assert (frame.payload == 1).all()
    inbox.close()


def test_a_batch_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "BATCH_BYTES", 2 * 4 * FLOATS)
    ring, inbox = Ring(tmp_path / "a"), Inbox()
    inbox.adopt(plan(1, ring.path))
    for step in range(4):
        ring.put(step)
    assert steps(inbox) == [0, 1]
    assert steps(inbox) == [2, 3]
    inbox.close()


def test_a_batch_may_be_larger_than_the_ring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BATCH_BYTES", 5 * 4 * FLOATS)
    ring, inbox = Ring(tmp_path / "a", length=2), Inbox()
    inbox.adopt(plan(1, ring.path))
    crowded = []
    for step in range(5):
        ring.put(step)
        inbox.gather()
        assert ring.tail == ring.head
        crowded.append(inbox.is_crowded)
    ring.put(5)
    inbox.gather()
    assert inbox.waiting == 6
    assert crowded == [False, False, False, False, True]
    frames = inbox.take()
    assert [frame.header.step for frame in frames] == [0, 1, 2, 3, 4]
    assert all((frame.payload == frame.header.step).all() for frame in frames)
    assert steps(inbox) == [5]
    assert not inbox.is_crowded
    inbox.close()


def test_frames_of_a_plan_that_is_still_under_way_wait_for_it(tmp_path: Path) -> None:
    ring, inbox = Ring(tmp_path / "a"), Inbox()
    inbox.adopt(plan(1, ring.path))
    ring.put(1, plan=1)
    ring.put(2, plan=2)
    assert steps(inbox) == [1]
    assert steps(inbox) == []
    inbox.adopt(plan(2, ring.path))
    assert steps(inbox) == [2]
    inbox.close()


def test_frames_of_an_older_plan_and_unreadable_ones_are_left_out(tmp_path: Path) -> None:
    ring, inbox = Ring(tmp_path / "a"), Inbox()
    inbox.adopt(plan(2, ring.path))
    ring.put(1, plan=1)
    ring.put(2, header=b"\xc1\xc1")
    ring.put(3, plan=2)
    assert steps(inbox) == [3]
    ring.put(4, header=b"x" * wire.FRAME_HEADER_BYTES)
    ring.put(5, plan=2)
    assert steps(inbox) == [5]
    inbox.close()


def test_a_new_arena_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    first, second, inbox = Ring(tmp_path / "a"), Ring(tmp_path / "b"), Inbox()
    inbox.adopt(plan(1, first.path))
    inbox.adopt(plan(2, second.path))
    assert not first.path.exists()
    second.put(7, plan=2)
    assert steps(inbox) == [7]
    inbox.adopt(plan(3, ""))
    assert not second.path.exists()
    assert inbox.take() == []


@pytest.mark.parametrize("spoil", ["missing", "short", "magic", "version", "length", "empty"])
def test_a_file_that_is_no_arena_is_refused_in_words(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "a"
    data = bytearray(Ring(path).path.read_bytes())
    if spoil == "missing":
        path.unlink()
    elif spoil == "magic":
        data[0] = 0
    elif spoil == "version":
        data[8] = 9
    elif spoil == "length":
        data[12] = 200
    elif spoil == "short":
        data = data[:100]
    elif spoil == "empty":
        data = bytearray()
    if spoil != "missing":
        path.write_bytes(data)
    with pytest.raises(BadArena, match=str(path)):
        Arena(path)
    assert str(path) in Inbox().adopt(plan(1, path))


def test_an_arena_too_small_for_its_plan_is_refused(tmp_path: Path) -> None:
    ring, inbox = Ring(tmp_path / "a"), Inbox()
    big = msgspec.structs.replace(plan(1, ring.path), payload_bytes=4 * FLOATS + 4)
    assert "smaller than its plan says" in inbox.adopt(big)
    assert inbox.take() == []


def chronicle(tmp_path: Path) -> Chronicle:
    return Chronicle(Recorder(tmp_path / "runs" / "train-1.dbr"))


def test_events_are_numbered_without_gaps(tmp_path: Path) -> None:
    kept = chronicle(tmp_path)
    for event in healthy_run(samples=10):
        kept.add(msgspec.structs.replace(event, seq=0))
    answer = kept.news(AskNews(since=0))
    assert isinstance(answer, News)
    assert [event.seq for event in answer.events] == list(range(1, kept.seq + 1))


def test_news_come_in_portions_and_then_not_until_something_happens(tmp_path: Path) -> None:
    kept, viewer = chronicle(tmp_path), RunState()
    for event in collapsing_run(samples=100):
        kept.add(event)
    asked = 0
    while (answer := kept.news(AskNews(since=viewer.seq, limit=7))) is not None:
        assert isinstance(answer, News)
        assert 0 < len(answer.events) <= 7
        asked += 1
        for event in answer.events:
            viewer.apply(event)
    assert asked == -(-kept.seq // 7)
    assert viewer.pack() == kept.state.pack()


def test_a_viewer_too_far_behind_asks_for_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "KEPT_EVENTS", 20)
    kept = chronicle(tmp_path)
    for event in healthy_run(samples=100):
        kept.add(event)
    for since in (0, kept.seq - 21, kept.seq + 5):
        assert kept.news(AskNews(since=since)) == News(events=[], reset=True)
    answer = kept.news(AskNews(since=kept.seq - 20))
    assert isinstance(answer, News)
    assert len(answer.events) == 20
    late = kept.history(AskHistory(version=wire.VERSION, columns=512))
    while kept.go_on():
        pass
    assert late.result().seq == kept.seq
    assert RunState.unpack(late.result().state).pack() == kept.state.pack()


def test_all_that_is_known_is_copied_between_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = chronicle(tmp_path)
    events = iter(healthy_run(samples=100))
    for event, _ in zip(events, range(60), strict=False):
        kept.add(event)
    monkeypatch.setattr(copying, "PART_BYTES", 3 * kept.state.series.bucket_bytes)
    ask = AskHistory(version=wire.VERSION, columns=512)
    first = kept.history(ask)
    assert kept.history(ask) is first
    turns = 0
    while kept.go_on():
        kept.add(next(events))
        turns += 1
    assert turns > 10
    last = kept.state.pack()
    for event in events:
        kept.add(event)
    assert RunState.unpack(first.result().state).pack() == last
    assert kept.history(ask) is not first


def test_frames_that_nobody_waits_for_any_longer_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "WAITING_FRAMES", 3)
    inbox = Inbox()
    inbox.adopt(plan(1, ""))
    for step in range(5):
        header = msgspec.msgpack.encode(
            FrameHeader(plan=1, step=step, time=float(step), present=b"\1")
        )
        inbox.put(wire.Frame(header=header, payload=bytes(4 * FLOATS)))
    assert inbox.dropped == 2
    assert steps(inbox) == [2, 3, 4]


def test_a_flood_of_frames_is_measured_before_more_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crew, "MOST_FED_BYTES", 2 * 4 * FLOATS)
    hello = wire.Hello(version=wire.VERSION, run="train-1", name="train", pid=1, started=0.0)
    client = Client(identity=b"1", hello=hello, last_word=0.0, last_heard=0.0)
    client.inbox.adopt(plan(1, ""))
    here = Crew()
    here.add(client)
    header = msgspec.msgpack.encode(FrameHeader(plan=1, step=1, time=1.0, present=b"\1"))
    here.feed(client, wire.Frame(header=header, payload=bytes(4 * FLOATS)))
    full = [here.is_full]
    here.feed(client, wire.Frame(header=header, payload=bytes(4 * FLOATS)))
    full.append(here.is_full)
    assert here.is_crowded
    assert [len(each.inbox.take()) for each in here.with_frames()] == [2]
    assert [*full, here.is_full] == [False, True, False]


def test_what_the_hub_keeps_for_viewers_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "KEPT_BYTES", 100_000)
    kept = chronicle(tmp_path)
    for event in healthy_run(samples=200, layers=40):
        kept.add(event)
    assert len(kept._kept) < 40
    assert kept._kept_bytes <= 100_000


def test_snapshots_in_the_recording_say_what_folding_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SNAPSHOT_EVENTS", 50)
    kept = chronicle(tmp_path)
    for now, event in enumerate(collapsing_run(samples=160)):
        kept.add(event)
        kept.go_on()
        kept.commit(float(now))
    kept.close(1e6)
    folded = RunState()
    with Recording(tmp_path / "runs" / "train-1.dbr") as recording:
        for event in recording.events():
            folded.apply(event)
            near = recording.snapshot(event.seq, STATE_LAYOUT)
            if near is not None and near[0] == event.seq:
                assert RunState.unpack(near[1]).pack() == folded.pack()
        last = recording.snapshot(10**9, STATE_LAYOUT)
        assert last is not None
        # One that was ready shortly before the end makes another at the end needless.
        assert folded.seq - last[0] < 50 // 4
        assert recording.snapshot(10**9, 99) is None
