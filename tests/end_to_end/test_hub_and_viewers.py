from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import zmq
from processes import RUN, ScriptedTraining, await_end, ended, follow, has_samples

from deadband import wire
from deadband_monitor.errors import SourceError, UnknownRun
from deadband_monitor.hub import registry
from deadband_monitor.hub.detach import NICENESS
from deadband_monitor.record.reader import Recording
from deadband_monitor.source.base import Source
from deadband_monitor.source.live import LiveSource
from deadband_monitor.source.open import open_source
from deadband_monitor.source.replay import ReplaySource

Trainings = Callable[..., ScriptedTraining]
Viewers = Callable[..., LiveSource]


def test_early_viewer_late_viewer_and_recording_show_the_same_run(
    training: ScriptedTraining, viewers: Viewers
) -> None:
    hub = training.start()
    early = viewers()
    training.do("frames 5")
    follow(early, has_samples(5))
    training.do("frames 35")
    follow(early, has_samples(40))
    late = viewers()
    follow(late, has_samples(40))
    assert late.state.series.window(64).steps[0] == 0
    assert [reading.step for reading in late.state.recent] == list(range(1, 41))

    training.do("frames 3")
    training.do("bye finished")
    for source in (early, late):
        follow(source, ended)
    await_end(hub)
    replayed = ReplaySource(wire.recording_path(RUN))
    assert early.state.pack() == late.state.pack() == replayed.state.pack()
    assert replayed.state.samples == 43
    status = replayed.state.status
    assert status is not None
    assert (status.status, status.step, status.samples) == ("finished", 43, 43)
    replayed.close()


def test_nothing_is_left_behind_but_the_recording(training: ScriptedTraining, home: Path) -> None:
    hub = training.start()
    arena = Path(training.do("plan"))
    training.do("frames 3")
    training.do("bye finished")
    await_end(hub)
    assert [path.name for path in (home / "runs").iterdir()] == [f"{RUN}.dbr"]
    assert list(wire.live_folder().iterdir()) == []
    assert not arena.exists()


def test_the_hub_is_a_process_of_its_own(training: ScriptedTraining) -> None:
    hub = training.start()
    assert os.getsid(hub) not in (os.getsid(0), os.getsid(training.pid), hub)
    assert os.getpriority(os.PRIO_PROCESS, hub) == NICENESS
    process = Path(f"/proc/{hub}")
    assert (process / "cwd").readlink() == Path("/")
    streams = {(process / "fd" / number).readlink() for number in "012"}
    assert streams == {Path(os.devnull)}
    children = Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text()
    assert children == ""


def test_kill_9_on_training_leaves_every_frame_and_the_status_killed(
    training: ScriptedTraining, viewers: Viewers
) -> None:
    training.start()
    viewer = viewers()
    # The plan travels in a message, which a killed process may not have sent yet.
    follow(viewer, lambda source: source.state.table is not None)
    training.do("frames 12")
    training.kill()
    follow(viewer, ended)
    with Recording(wire.recording_path(RUN)) as recording:
        assert recording.span().samples == 12
        assert recording.last_status is not None
        assert recording.last_status.status == "killed"
    assert viewer.state.samples == 12


def test_kill_9_on_the_hub_leaves_training_running_and_a_lost_recording(
    training: ScriptedTraining, viewers: Viewers
) -> None:
    hub = training.start()
    viewer = viewers()
    training.do("frames 8")
    training.do("beat")
    follow(viewer, lambda source: source.state.step == 8 and source.state.samples == 8)
    with Recording(wire.recording_path(RUN)) as recording:
        follow(viewer, lambda _: recording.last_seq >= 8)
    os.kill(hub, signal.SIGKILL)
    await_end(hub)
    assert training.do("frames 4") == "sent 12"
    assert training.do("beat") == "sent"
    follow(viewer, ended)
    assert viewer.state.status is not None
    assert viewer.state.status.status == "lost"
    (entry,) = registry.runs()
    assert (entry.live, entry.status) == (False, "lost")
    source = open_source("train")
    assert source.state.status is not None
    assert source.state.status.status == "lost"
    assert source.state.pack() == viewer.state.pack()
    source.close()


def test_a_hub_killed_before_it_wrote_is_lost_and_not_waited_for(
    training: ScriptedTraining, viewers: Viewers
) -> None:
    hub = training.start()
    viewer = viewers()
    training.do("frames 3")
    follow(viewer, has_samples(3))
    os.kill(hub, signal.SIGSTOP)
    wire.recording_path(RUN).unlink()
    os.kill(hub, signal.SIGKILL)
    await_end(hub)
    follow(viewer, ended)
    assert viewer.state.status is not None
    assert viewer.state.status.status == "lost"
    assert viewer.state.samples == 3


def test_a_sleeping_viewer_holds_up_neither_training_nor_other_viewers(
    training: ScriptedTraining, viewers: Viewers, home: Path
) -> None:
    training.start()
    code = (
        "import sys; from deadband_monitor.source.live import LiveSource\n"
        f"source = LiveSource({RUN!r})\n"
        "while source.state.samples < 1: source.refresh(1.0)\n"
        "print('there', flush=True)\n"
        "while source.link != 'ended': source.refresh(1.0)\n"
        "print(source.state.samples, source.state.status.status)\n"
    )
    sleeper = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert sleeper.stdout is not None
    try:
        training.do("frames 1")
        assert sleeper.stdout.readline() == "there\n"
        sleeper.send_signal(signal.SIGSTOP)
        awake = viewers()
        training.do("frames 200")
        follow(awake, has_samples(201))
        training.do("bye finished")
        follow(awake, ended)
        sleeper.send_signal(signal.SIGCONT)
        assert sleeper.stdout.readline() == "201 finished\n"
    finally:
        sleeper.kill()
        sleeper.wait()
        sleeper.stdout.close()


def test_a_new_plan_keeps_the_history_and_drains_the_old_arena(
    training: ScriptedTraining, viewers: Viewers
) -> None:
    training.start()
    training.do("frames 10")
    training.do("plan")
    training.do("frames 10")
    training.do("bye finished")
    viewer = viewers()
    follow(viewer, ended)
    assert viewer.state.samples == 20
    assert viewer.state.table is not None
    assert viewer.state.table.id == 2
    assert [layer.name for layer in viewer.state.layers] == ["fc2"]


def test_frames_inside_messages_are_taken_like_those_in_shared_memory(
    training: ScriptedTraining, viewers: Viewers
) -> None:
    training.do("hub")
    training.do("hello")
    training.do("inline-plan")
    training.do("inline 6")
    training.do("bye finished")
    viewer = viewers()
    follow(viewer, ended)
    assert viewer.state.samples == 6


def test_another_rank_joins_without_doubling_samples(
    training: ScriptedTraining, trainings: Trainings, viewers: Viewers
) -> None:
    hub = training.start()
    other = trainings(RUN, 1)
    assert other.do("hub") == "hub starter ended 0"
    assert other.do("hello") == f"hub {hub}"
    other.do("plan")
    other.do("frames 40")
    training.do("frames 7")
    other.do("bye finished")
    training.do("bye finished")
    viewer = viewers()
    follow(viewer, ended)
    assert viewer.state.samples == 7


def test_two_runs_at_once_keep_to_themselves(trainings: Trainings, viewers: Viewers) -> None:
    first, second = trainings("train-aaaaaa"), trainings("train-bbbbbb")
    first.start()
    second.start()
    first.do("frames 3")
    second.do("frames 5")
    for run, count in (("train-aaaaaa", 3), ("train-bbbbbb", 5)):
        viewer = viewers(run)
        follow(viewer, has_samples(count))
        assert viewer.state.samples == count
    assert {entry.run for entry in registry.runs() if entry.live} == {first.run, second.run}
    with pytest.raises(UnknownRun, match="several runs match 'train'"):
        open_source("train")


def test_a_second_process_cannot_take_a_run_over(
    training: ScriptedTraining, trainings: Trainings
) -> None:
    training.start()
    answer = trainings(RUN).do("hello")
    assert f"already watched by process {training.pid}" in answer


def test_a_client_of_another_version_is_refused_in_plain_words(training: ScriptedTraining) -> None:
    training.do("hub")
    answer = training.do("hello 99")
    assert "the hub speaks version 1 of the wire, the client 99" in answer
    hub = int(answer.split()[1])
    await_end(hub)


def test_a_failed_run_says_why(training: ScriptedTraining, viewers: Viewers) -> None:
    training.start()
    training.do("frames 2")
    training.do("bye failed")
    viewer = viewers()
    follow(viewer, ended)
    assert viewer.state.status is not None
    assert (viewer.state.status.status, viewer.state.status.error) == ("failed", "ValueError: no")


def test_sigterm_ends_the_hub_in_order(training: ScriptedTraining, viewers: Viewers) -> None:
    hub = training.start()
    viewer = viewers()
    training.do("frames 4")
    follow(viewer, has_samples(4))
    os.kill(hub, signal.SIGTERM)
    await_end(hub)
    with Recording(wire.recording_path(RUN)) as recording:
        assert recording.last_status is not None
        assert recording.last_status.status == "lost"
        assert "told to end" in recording.last_status.error
    assert training.do("frames 4") == "sent 8"


def test_a_folder_that_cannot_be_written_costs_the_recording_not_the_picture(
    training: ScriptedTraining, viewers: Viewers, home: Path
) -> None:
    (home / "runs").write_text("in the way")
    training.start()
    viewer = viewers()
    training.do("frames 3")
    follow(viewer, has_samples(3))
    follow(viewer, lambda source: bool(source.state.status and source.state.status.error))
    assert viewer.state.status is not None
    assert f"cannot write {wire.recording_path(RUN)}" in viewer.state.status.error
    training.do("bye finished")
    follow(viewer, ended)


def test_a_folder_of_live_runs_that_cannot_be_made_is_one_line_from_the_starter(home: Path) -> None:
    (home / "live").write_text("in the way")
    done = subprocess.run(
        [sys.executable, "-m", "deadband_monitor.hub", "--run", RUN],
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("deadband hub: cannot use ")
    assert done.stderr.count("\n") == 1


def test_a_hub_without_a_client_goes_when_its_starter_is_gone(home: Path) -> None:
    code = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-m', 'deadband_monitor.hub', '--run', {RUN!r}])\n"
        "from deadband_monitor.hub.registry import live_hub\n"
        f"print(live_hub({RUN!r}).hub_pid)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=True
    )
    await_end(int(done.stdout))
    assert list(wire.live_folder().iterdir()) == []


def test_a_viewer_of_another_version_is_refused_in_plain_words(
    training: ScriptedTraining, viewers: Viewers, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.start()
    monkeypatch.setattr(wire, "VERSION", 7)
    with pytest.raises(SourceError, match=r"speaks version 1, this viewer 7"):
        follow(viewers(), lambda _: False)


def test_rubbish_on_the_sockets_hurts_nobody(training: ScriptedTraining, viewers: Viewers) -> None:
    training.start()
    with zmq.Context() as context:
        for address in (wire.intake_address(RUN), wire.viewer_address(RUN)):
            with context.socket(zmq.DEALER) as socket:
                socket.linger = 1000
                socket.connect(address)
                for body in (b"", b"\xc1", b"\x81", msgspec.msgpack.encode({"type": "what"})):
                    socket.send(body)
    training.do("frames 2")
    follow(viewers(), has_samples(2))


@pytest.mark.slow
def test_a_viewer_carries_on_where_it_was_after_a_lost_link(
    training: ScriptedTraining, viewers: Viewers
) -> None:
    hub = training.start()
    viewer = viewers()
    training.do("frames 5")
    follow(viewer, has_samples(5))
    os.kill(hub, signal.SIGSTOP)
    try:
        follow(viewer, lambda source: source.link == "lost")
    finally:
        os.kill(hub, signal.SIGCONT)
    training.do("frames 5")
    follow(viewer, has_samples(10))
    assert viewer.link == "live"
    assert [reading.step for reading in viewer.state.recent] == list(range(1, 11))


def test_steps_that_are_left_unsaid_are_told_until_they_are_said_again(
    training: ScriptedTraining, viewers: Viewers
) -> None:
    training.start()
    viewer = viewers()
    training.do("frames 3")

    def told(error: str) -> Callable[[Source], bool]:
        return lambda source: source.state.status is not None and source.state.status.error == error

    training.do("beat unsaid-since-step-3")
    follow(viewer, told("unsaid-since-step-3"))
    training.do("beat")
    follow(viewer, told(""))


@pytest.mark.slow
def test_silence_is_said_while_the_process_lives(
    training: ScriptedTraining, viewers: Viewers
) -> None:
    training.start()
    training.do("frames 1")
    viewer = viewers()

    def status(source: LiveSource) -> str:
        return source.state.status.status if source.state.status else ""

    follow(viewer, lambda _: status(viewer) == "silent")
    training.do("beat")
    follow(viewer, lambda _: status(viewer) == "running")


def test_the_first_viewer_that_comes_asks_for_a_dense_look(
    training: ScriptedTraining, viewers: Viewers
) -> None:
    training.start()
    training.do("frames 1")
    assert training.do("heard") == "Audience"  # nobody is there yet
    follow(viewers(), has_samples(1))
    assert training.do("heard").split()[:2] == ["Audience", "CaptureWish"]
