"""What viewers ask for beside the news, over real sockets: spreads, dense steps, notes."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from processes import PATIENCE_S, RUN, ScriptedTraining, await_end, end_hubs, follow, has_samples

from deadband import wire
from deadband.wire import AskDense, AskNote, Sample, What
from deadband_monitor.cli import main
from deadband_monitor.record.reader import Recording
from deadband_monitor.source.base import Source
from deadband_monitor.source.live import LiveSource
from deadband_monitor.source.replay import ReplaySource
from deadband_monitor.statistics.outlines import WIDTH

LOOP = "loop-00000a"
ACTIVATION = ("model", "fc1", What.ACTIVATION)

Viewers = Callable[..., LiveSource]


def outlined(steps: int) -> Callable[[Source], bool]:
    def is_so(source: Source) -> bool:
        assert isinstance(source, LiveSource)
        return source.spread is not None and len(source.spread.course) >= steps

    return is_so


def test_a_tensor_that_is_looked_at_is_followed_at_every_sample_and_recorded_now_and_then(
    training: ScriptedTraining, viewers: Viewers
) -> None:
    hub = training.start()
    viewer = viewers()
    training.do("frames 3")
    follow(viewer, has_samples(3))
    viewer.look_at(ACTIVATION, finely=True)
    follow(viewer, outlined(1))
    spread = viewer.spread
    assert spread is not None
    assert spread.kinds == (What.ACTIVATION, What.WEIGHT)
    assert (spread.values, spread.source) == (160, 160)
    training.do("frames 30")
    follow(viewer, outlined(31))
    assert spread.course.steps[-30:] == list(range(4, 34))
    follow(viewer, lambda _: spread.histogram is not None)
    assert spread.histogram is not None
    counts = np.frombuffer(spread.histogram.counts, "<u4")
    assert counts.sum() == 160 * spread.histogram.samples
    assert spread.histogram.last_step == 33

    training.do("bye finished")
    await_end(hub)
    replay = ReplaySource(wire.recording_path(RUN))
    replay.look_at(ACTIVATION)
    replay.refresh(0.0)
    assert replay.spread is not None
    recorded = replay.spread.course
    assert 1 <= len(recorded) <= 33
    assert replay.spread.kinds == spread.kinds
    shared = [step for step in recorded.steps if step > 3]
    for step in shared:
        ((_, told),) = spread.course.between(step, step)
        ((_, kept),) = recorded.between(step, step)
        assert kept.shape == (WIDTH,)
        np.testing.assert_allclose(kept, told)  # of so few values all are taken by both
    replay.close()


WIDE = """
import sys
import numpy as np
import deadband

rng = np.random.default_rng(0)
watch = deadband.watch(None, name="wide", every=1, budget=None)
print(watch.run, flush=True)
while not sys.stdin.closed and sys.stdin.readline():
    gate = rng.random((200, 3000), dtype=np.float32)
    watch.observe("gate", gate)
    watch.step(loss=1.0)
    print(gate.max(), flush=True)
"""


def test_what_is_shown_finely_comes_whole_from_the_process_that_trains(
    home: Path, viewers: Viewers
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WIDE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    highest: dict[int, float] = {}

    def steps(count: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(count):
            process.stdin.write("on\n")
            process.stdin.flush()
            highest[len(highest) + 1] = float(process.stdout.readline())

    try:
        viewer = viewers(process.stdout.readline().strip())
        steps(3)
        follow(viewer, has_samples(3))
        viewer.look_at(("model", "gate", What.ACTIVATION), finely=True)

        def is_whole(source: Source) -> bool:
            steps(1)
            shown = viewer.spread.histogram if viewer.spread is not None else None
            return shown is not None and shown.values == 200 * 3000

        follow(viewer, is_whole)
        assert viewer.spread is not None
        shown = viewer.spread.histogram
        assert shown is not None
        assert (shown.samples, shown.source) == (1, 200 * 3000)
        assert np.frombuffer(shown.counts, "<u4").sum() == 200 * 3000
        assert shown.high == pytest.approx(highest[shown.last_step])
        assert viewer.spread.values < 200 * 3000, "the frames hold a slice, as before"
    finally:
        process.communicate(timeout=60)
        end_hubs()


def test_another_question_does_not_disturb_the_news(
    training: ScriptedTraining, viewers: Viewers
) -> None:
    training.start()
    viewer, quiet = viewers(), viewers()
    training.do("frames 2")
    for source in (viewer, quiet):
        follow(source, has_samples(2))
    viewer.look_at(ACTIVATION)
    for _ in range(10):
        training.do("frames 4")
        viewer.refresh(0.05)
    for source in (viewer, quiet):
        follow(source, has_samples(42))
    assert viewer.state.pack() == quiet.state.pack()


def test_a_note_is_told_to_all_viewers_and_recorded(
    training: ScriptedTraining, viewers: Viewers
) -> None:
    hub = training.start()
    writer, reader = viewers(), viewers()
    training.do("frames 5")
    for source in (writer, reader):
        follow(source, has_samples(5))
    writer.demand(AskNote(text="  halved the\nlearning rate "))
    follow(writer, lambda source: bool(writer.said))
    assert writer.said.popleft().said == "noted at step 5"
    follow(reader, lambda source: bool(source.state.notes))
    (note,) = reader.state.notes
    assert (note.text, note.step) == ("halved the learning rate", 5)
    writer.demand(AskNote(text="   "))
    follow(writer, lambda source: bool(writer.said))
    assert writer.said.popleft().refused
    late = viewers()
    follow(late, lambda source: bool(source.state.notes))

    training.do("frames 3")
    training.do("bye finished")
    await_end(hub)
    replay = ReplaySource(wire.recording_path(RUN))
    assert [each.text for each in replay.state.notes] == ["halved the learning rate"]
    replay.demand(AskNote(text="this is where it went wrong", step=4))
    assert replay.said.popleft().said == "noted at step 4"
    replay.close()
    again = ReplaySource(wire.recording_path(RUN))
    assert [each.step for each in again.state.notes] == [5, 4]
    again.close()


def test_a_wish_for_very_many_dense_steps_is_cut(
    training: ScriptedTraining, viewers: Viewers
) -> None:
    training.start()
    viewer = viewers()
    training.do("frames 2")
    follow(viewer, has_samples(2))
    viewer.demand(AskDense(steps=1_000_000))
    follow(viewer, lambda source: bool(viewer.said))
    assert (
        viewer.said.popleft().said == "every step for the next 10,000, no more than 10,000 at once"
    )


class Loop:
    """A handle on `loop.py`, sampled at every tenth step."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("loop.py")), "0.1", "200", "10"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "DEADBAND_RUN": LOOP},
        )

    def says(self) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 3 * PATIENCE_S)
        assert ready, "the loop says nothing"
        return self.process.stdout.readline().strip()

    def go_on(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.says()


@pytest.fixture
def loop(home: Path) -> Iterator[Loop]:
    made = Loop()
    yield made
    made.process.kill()
    made.process.communicate()
    end_hubs()


@pytest.mark.timeout(120)  # it imports torch and starts three processes
def test_a_command_has_a_run_sampled_densely_for_a_while(
    loop: Loop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert loop.says() == "at 20"
    with closing(LiveSource(LOOP)) as viewer:
        follow(viewer, has_samples(2))
    assert main(["ask", LOOP, "--dense", "30", "--note", "look here"]) == 0
    dense, noted = capsys.readouterr().out.splitlines()
    assert dense == "every step for the next 30"
    assert noted.startswith("noted at step ")
    while loop.go_on().startswith("at"):
        pass
    loop.process.wait(PATIENCE_S)
    with Recording(wire.recording_path(LOOP)) as recording:
        steps = [event.step for event in recording.events() if isinstance(event, Sample)]
    first = next(step for step in steps if step % 10 != 1 and step > 20)
    assert set(range(first, first + 28)) <= set(steps)
    later = [step for step in steps if first + 40 < step < 200]  # the end brings the rest of losses
    assert set(np.diff(later)) == {10}
