from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from deadband import wire
from deadband.wire import Event, Registration, RunInfo
from deadband_monitor.errors import BadRecording, UnknownRun
from deadband_monitor.hub import registry
from deadband_monitor.hub.registry import Claim
from deadband_monitor.record.writer import Recorder
from deadband_monitor.source.scripted import collapsing_run, healthy_run

GONE_PID = 2**22 + 1
"""Above the largest process number of Linux."""


def record(run: str, events: Iterable[Event], *, name: str = "train", started: float = 1.0) -> Path:
    path = wire.recording_path(run)
    recorder = Recorder(path)
    for event in events:
        if isinstance(event, RunInfo):
            hello = msgspec.structs.replace(event.hello, run=run, name=name, started=started)
            recorder.add(msgspec.structs.replace(event, hello=hello))
        else:
            recorder.add(event)
    recorder.close(0.0)
    return path


@pytest.fixture
def claims() -> Iterator[list[Claim]]:
    held: list[Claim] = []
    yield held
    for claim in held:
        claim.release()


def hold(claims: list[Claim], run: str) -> None:
    claim = Claim(run)
    claim.write(Registration(run=run, hub_pid=os.getpid(), training_pid=1, started=time.time()))
    claims.append(claim)


def test_a_run_is_live_as_long_as_its_hub_holds_it(claims: list[Claim]) -> None:
    assert registry.live_hub("train-1") is None
    hold(claims, "train-1")
    registration = registry.live_hub("train-1")
    assert registration is not None
    assert registration.hub_pid == os.getpid()
    claims.pop().release()
    assert registry.live_hub("train-1") is None
    assert list(wire.live_folder().iterdir()) == []


def test_one_hub_a_run(claims: list[Claim]) -> None:
    hold(claims, "train-1")
    with pytest.raises(BlockingIOError):
        Claim("train-1")


def test_looking_at_a_run_does_not_keep_a_hub_from_claiming_it(claims: list[Claim]) -> None:
    wire.ensure_private(wire.live_folder())
    file = os.open(wire.registry_path("train-1"), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(file, fcntl.LOCK_SH)
    code = (
        "import sys; from deadband_monitor.hub.registry import Claim\n"
        "print('asking', flush=True); Claim('train-1'); print('held')"
    )
    asker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert asker.stdout is not None
    assert asker.stdout.readline() == "asking\n"
    os.close(file)
    assert asker.stdout.read() == "held\n"
    asker.stdout.close()
    assert asker.wait() == 0


def test_where_files_cannot_be_locked_the_process_number_has_to_do(
    claims: list[Claim], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(file: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", cannot)
    hold(claims, "train-1")
    assert registry.live_hub("train-1") is not None
    dead = Registration(run="train-1", hub_pid=GONE_PID, training_pid=1, started=1.0)
    wire.registry_path("train-1").write_bytes(msgspec.json.encode(dead))
    assert registry.live_hub("train-1") is None


def test_what_dead_hubs_left_is_swept_and_what_lives_is_not(claims: list[Claim]) -> None:
    hold(claims, "alive-1")
    folder = wire.live_folder()
    dead = Registration(run="dead-1", hub_pid=GONE_PID, training_pid=GONE_PID, started=1.0)
    wire.registry_path("dead-1").write_bytes(msgspec.json.encode(dead))
    kept = {folder / name for name in ("alive-1.json", "alive-1.in", "new.log")}
    swept = {folder / name for name in ("dead-1.json", "dead-1.in", "dead-1.view", "old.log")}
    swept.add(folder / f"deadband-{GONE_PID}-dead-1-1")
    kept.add(folder / f"deadband-{os.getpid()}-dead-1-1")
    kept.add(folder / f"deadband-{GONE_PID}-alive-1-1")
    kept.add(folder / f"deadband-{GONE_PID}-young-1-1")
    for path in kept | swept:
        path.touch()
    for path in swept | kept:
        if "young" not in path.name and path.name != "new.log":
            os.utime(path, (1, 1))
    registry.sweep()
    assert set(folder.iterdir()) == kept


def test_runs_are_listed_live_first_then_newest_first(claims: list[Claim]) -> None:
    record("old-1", healthy_run(samples=3), started=10.0)
    record("bad-1", collapsing_run(), name="bad", started=20.0)
    record("live-1", list(healthy_run(samples=9))[:-1], started=5.0)
    wire.recording_path("broken-1").write_text("no recording")
    os.utime(wire.recording_path("broken-1"), (1, 1))
    hold(claims, "live-1")
    hold(claims, "fresh-1")
    told = [(entry.run, entry.live, entry.status, entry.verdict) for entry in registry.runs()]
    assert told == [
        ("fresh-1", True, "running", "healthy"),
        ("live-1", True, "running", "healthy"),
        ("bad-1", False, "finished", "failing"),
        ("old-1", False, "finished", "healthy"),
        ("broken-1", False, "unreadable", ""),
    ]


def test_a_run_whose_hub_died_is_lost() -> None:
    record("train-1", list(healthy_run(samples=20))[:-1])
    (entry,) = registry.runs()
    assert entry.status == "lost"


def test_a_run_is_found_by_id_start_name_and_file(tmp_path: Path) -> None:
    path = record("alpha-a1", healthy_run(samples=2), name="alpha")
    record("beta-b1", healthy_run(samples=2), name="beta")
    for target in ("alpha-a1", "alpha-a", "alpha", "al", str(path)):
        assert registry.resolve(target).run == "alpha-a1"
    elsewhere = tmp_path / "copy.dbr"
    elsewhere.write_bytes(path.read_bytes())
    assert registry.resolve(str(elsewhere)).path == elsewhere


def test_a_name_that_matches_several_lists_them() -> None:
    for number in range(7):
        record(f"train-{number}", healthy_run(samples=2), started=float(number))
    with pytest.raises(UnknownRun) as caught:
        registry.resolve("train")
    assert str(caught.value) == (
        "several runs match 'train': train-6, train-5, train-4, train-3, train-2 and 2 more"
        " (deadband runs); give more of the id"
    )


def test_of_several_with_one_name_the_live_one_is_meant(claims: list[Claim]) -> None:
    record("train-1", healthy_run(samples=2))
    record("train-2", list(healthy_run(samples=2))[:-1])
    hold(claims, "train-2")
    assert registry.resolve("train").run == "train-2"


def test_a_name_that_matches_nothing_says_what_there_is(home: Path) -> None:
    with pytest.raises(UnknownRun, match=r"no run matches 'x': there are no runs in .*; start one"):
        registry.resolve("x")
    record("train-1", healthy_run(samples=2))
    with pytest.raises(UnknownRun, match=r"no run matches 'x'; there are: train-1$"):
        registry.resolve("x")


@pytest.mark.parametrize("kind", ["missing", "folder", "text"])
def test_a_file_that_is_no_recording_is_one_line(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "some.dbr"
    if kind == "folder":
        target.mkdir()
    elif kind == "text":
        target.write_text("text")
    with pytest.raises(BadRecording) as caught:
        registry.resolve(str(target))
    assert "\n" not in str(caught.value)
