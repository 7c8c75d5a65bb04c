from __future__ import annotations

import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from deadband.wire import Event, Sample
from deadband_monitor.errors import BadRecording
from deadband_monitor.hub.registry import describe
from deadband_monitor.record import writer
from deadband_monitor.record.format import APPLICATION_ID, USER_VERSION
from deadband_monitor.record.reader import Recording
from deadband_monitor.record.writer import COMMIT_INTERVAL_S, RETRY_INTERVAL_S, Recorder
from deadband_monitor.source.replay import ReplaySource
from deadband_monitor.source.scripted import collapsing_run, healthy_run


def record(path: Path, events: Iterable[Event]) -> list[Event]:
    recorder = Recorder(path)
    kept = list(events)
    for event in kept:
        recorder.add(event)
    recorder.close(0.0)
    assert recorder.error == ""
    return kept


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "train-1.dbr"


def test_events_come_back_in_order_and_unchanged(path: Path) -> None:
    events = record(path, collapsing_run(samples=400, every=4))
    with Recording(path) as recording:
        assert list(recording.events()) == events
        assert list(recording.events(after=7, upto=300)) == events[7:300]
        assert list(recording.events(after=len(events))) == []


def test_a_recording_tells_its_story_without_reading_all_of_it(path: Path) -> None:
    record(path, collapsing_run(samples=160, every=2, onset=60))
    with Recording(path) as recording:
        assert recording.hello.name == "collapsing"
        assert recording.verdict == "failing"
        assert [flag.kind for flag in recording.flags] == ["dead-units", "output-collapse"]
        assert recording.diagnosis is not None
        assert recording.diagnosis.causes[0].cause == "learning-rate-too-high"
        assert recording.last_status is not None
        assert recording.last_status.status == "finished"
        span = recording.span()
        assert (span.samples, span.first_step, span.last_step) == (160, 2, 320)


def test_steps_are_found_by_number_and_by_distance(path: Path) -> None:
    events = record(path, healthy_run(samples=50, every=10))
    with Recording(path) as recording:
        at = recording.seq_at_step(105)
        assert [event.step for event in events[:at] if isinstance(event, Sample)][-1] == 100
        assert recording.seq_at_step(0) == 2
        assert recording.seq_at_step(10**9) == len(events)
        assert recording.step_by(100, 3) == 130
        assert recording.step_by(105, -1) == 100
        assert recording.step_by(100, -1000) == 10
        assert recording.step_by(100, 1000) == 500
        assert recording.step_by(100, 0) == 100
        assert recording.seq_at_time(recording.time_at(at)) == at


def test_a_closed_recording_is_one_plain_file(path: Path) -> None:
    record(path, healthy_run(samples=5))
    assert [file.name for file in path.parent.iterdir()] == ["train-1.dbr"]
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert database.execute("PRAGMA user_version").fetchone() == (USER_VERSION,)
    assert database.execute("SELECT count(*) FROM samples").fetchone() == (5,)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_flags_are_columns_for_other_programs(path: Path) -> None:
    record(path, collapsing_run())
    database = sqlite3.connect(path)
    rows = database.execute("SELECT kind, severity, layer FROM flags ORDER BY id").fetchall()
    database.close()
    assert rows == [("dead-units", "warning", "net.1"), ("output-collapse", "critical", "")]


def test_a_recording_can_be_read_while_it_is_written(path: Path) -> None:
    recorder = Recorder(path)
    events = list(healthy_run(samples=30))
    for event in events[:10]:
        recorder.add(event)
    recorder.commit(0.0)
    with Recording(path) as recording:
        assert recording.last_seq == 10
        for event in events[10:]:
            recorder.add(event)
        assert not recorder.due(COMMIT_INTERVAL_S / 2)
        assert recorder.due(COMMIT_INTERVAL_S)
        recorder.commit(COMMIT_INTERVAL_S)
        assert list(recording.events(after=10)) == events[10:]
        recorder.close(1.0)
        assert list(recording.events()) == events


def test_the_hub_s_death_loses_only_what_was_not_committed(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from deadband_monitor.record.writer import Recorder\n"
        "from deadband_monitor.source.scripted import healthy_run\n"
        "recorder = Recorder(Path(sys.argv[1]))\n"
        "for event in healthy_run(samples=40):\n"
        "    recorder.add(event)\n"
        "    if event.seq == 20: recorder.commit(0.0)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], timeout=15, check=False)
    assert done.returncode == -signal.SIGKILL
    with Recording(path) as recording:
        assert [event.seq for event in recording.events()] == list(range(1, 21))


def test_a_torn_tail_of_the_log_is_left_out(path: Path, tmp_path: Path) -> None:
    recorder = Recorder(path)
    for event in healthy_run(samples=40):
        recorder.add(event)
        recorder.commit(float(event.seq))
    copy = tmp_path / "torn.dbr"
    log = path.with_name(path.name + "-wal").read_bytes()
    copy.write_bytes(path.read_bytes())
    copy.with_name("torn.dbr-wal").write_bytes(log[: len(log) * 2 // 3])
    recorder.close(99.0)
    with Recording(copy) as recording:
        seqs = [event.seq for event in recording.events()]
    assert 5 < len(seqs) < 43
    assert seqs == list(range(1, len(seqs) + 1))


def test_an_older_recording_of_the_same_run_is_set_aside(path: Path) -> None:
    record(path, healthy_run(samples=3))
    record(path, healthy_run(samples=4))
    record(path, healthy_run(samples=5))
    counts = {}
    for file in path.parent.iterdir():
        with Recording(file) as recording:
            counts[file.name] = recording.span().samples
    assert counts == {"train-1.1.dbr": 3, "train-1.2.dbr": 4, "train-1.dbr": 5}


def test_a_full_disk_is_said_and_leaves_no_hole_once_there_is_room(path: Path) -> None:
    events = list(healthy_run(samples=300, layers=40))
    recorder = Recorder(path)
    for event in events[:50]:
        recorder.add(event)
    recorder.commit(0.0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = path.with_name(path.name + "-wal").stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, limits[1]))
        for event in events[50:]:
            recorder.add(event)
        recorder.commit(1.0)
        assert str(path) in recorder.error
        assert not recorder.due(1.0 + RETRY_INTERVAL_S / 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    recorder.commit(1.0 + RETRY_INTERVAL_S)
    assert recorder.error == ""
    recorder.close(9.0)
    with Recording(path) as recording:
        assert list(recording.events()) == events


def test_a_disk_that_stays_full_ends_the_recording_and_bounds_the_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAITING_LIMIT_BYTES", 20_000)
    path.parent.write_text("a file where the folder should be")
    recorder = Recorder(path)
    for event in healthy_run(samples=100):
        recorder.add(event)
        recorder.commit(float(event.seq))
    assert recorder.error.startswith("the recording ends here: cannot write")
    assert not recorder.due(1e9)
    recorder.close(1e9)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a recording"),
        (b"hello, world\n" * 100, "is not a recording"),
        (b"SQLite format 3\0", "is cut off"),
    ],
)
def test_what_is_not_a_recording_is_said_so(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "odd.dbr"
    file.write_bytes(content)
    with pytest.raises(BadRecording, match=says) as caught:
        Recording(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match="No such file"):
        Recording(tmp_path / "none.dbr")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_recording_is_said_so(path: Path, share: float) -> None:
    record(path, healthy_run(samples=200))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BadRecording, match="is cut off"):
        Recording(path)


def test_damage_inside_is_one_line_too(path: Path) -> None:
    record(path, healthy_run(samples=200))
    data = bytearray(path.read_bytes())
    data[8192 : len(data) - 4096] = b"\xa5" * (len(data) - 12288)
    path.write_bytes(data)
    with pytest.raises(BadRecording, match="is damaged"), Recording(path) as recording:
        list(recording.events())


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("run", b"\xa5"),
        ("run", b"\xa3\xff\xfe\xfd"),
        ("status", b"\x81\xa4type\xa3run"),
        ("diagnosis", None),
        ("flag", b""),
    ],
)
def test_a_damaged_event_is_one_line_whoever_asks(
    path: Path, kind: str, body: bytes | None
) -> None:
    record(path, collapsing_run(samples=200))
    database = sqlite3.connect(path)
    value = "" if body is None else body  # text where a blob belongs
    database.execute("UPDATE events SET body = ? WHERE kind = ?", (value, kind))
    database.commit()
    database.close()

    with Recording(path) as recording:
        asked: Callable[[], object] = {
            "run": lambda: recording.hello,
            "status": lambda: recording.last_status,
            "diagnosis": lambda: recording.verdict,
            "flag": lambda: recording.flags,
        }[kind]
        with pytest.raises(BadRecording, match=r"\A[^\n]*is damaged[^\n]*\Z"):
            asked()
        with pytest.raises(BadRecording, match="is damaged"):
            list(recording.events())
    assert describe(path).status == ("finished" if kind == "flag" else "unreadable")


def test_a_damaged_sample_is_one_line_too(path: Path) -> None:
    record(path, healthy_run(samples=200))
    database = sqlite3.connect(path)
    database.execute("UPDATE samples SET layers = x'0102030405' WHERE step > 100")
    database.commit()
    database.close()
    with pytest.raises(BadRecording, match="is damaged"):
        ReplaySource(path)


def test_another_program_s_database_is_not_a_recording(tmp_path: Path) -> None:
    file = tmp_path / "other.dbr"
    database = sqlite3.connect(file)
    database.execute("CREATE TABLE t (x)")
    database.commit()
    database.close()
    with pytest.raises(BadRecording, match="of another program"):
        Recording(file)


def test_a_newer_recording_asks_for_an_upgrade(path: Path) -> None:
    record(path, healthy_run(samples=2))
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version={USER_VERSION + 1}")
    database.close()
    with pytest.raises(BadRecording, match=r"newer deadband .* upgrade deadband"):
        Recording(path)


def test_a_recording_without_a_word_is_said_so(path: Path) -> None:
    record(path, [])
    assert not path.exists()
    record(path, list(healthy_run(samples=1))[1:2])
    with Recording(path) as recording, pytest.raises(BadRecording, match="before its first word"):
        _ = recording.hello


def test_a_read_only_folder_is_enough_to_read(path: Path) -> None:
    record(path, healthy_run(samples=6))
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        with Recording(path) as recording:
            assert recording.span().samples == 6
    finally:
        path.parent.chmod(0o700)
