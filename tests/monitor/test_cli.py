"""The command line as a user meets it: its help, its mistakes, its exit statuses."""

from __future__ import annotations

import json
import sqlite3
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import parquet
from tensorboardX.proto import event_pb2

from deadband import wire
from deadband.wire import Event
from deadband_monitor import cli
from deadband_monitor.commands.demo import DemoEntry, catalogue
from deadband_monitor.commands.run import split
from deadband_monitor.record.format import USER_VERSION
from deadband_monitor.record.writer import Recorder
from deadband_monitor.source.scripted import collapsing_run, healthy_run

Output = pytest.CaptureFixture[str]


def record(events: list[Event]) -> Path:
    """A finished recording in the folder of runs; returns its path."""
    run = events[0].hello.run  # type: ignore[union-attr]
    path = wire.recording_path(run)
    recorder = Recorder(path)
    for event in events:
        recorder.add(event)
    recorder.close(0.0)
    return path


@pytest.fixture
def collapsed(home: Path) -> Path:
    return record(list(collapsing_run()))


def one_line(output: Output) -> str:
    """The one line of complaint; nothing else was printed."""
    said = output.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("deadband: ")
    return said.err.removeprefix("deadband: ").rstrip()


def test_help_names_every_command(capsys: Output) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for command in cli.commands():
        assert (f"  {command.name} " in text) is not command.hidden
        assert (command.summary in text) is not command.hidden


@pytest.mark.parametrize("command", [command.name for command in cli.commands()])
def test_every_command_has_help_of_its_own(command: str, capsys: Output) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([command, "--help"])
    assert left.value.code == 0
    assert f"usage: deadband {command}" in capsys.readouterr().out


def test_the_version_is_told(capsys: Output) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("deadband 0.")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rum"], "there is no command 'rum'; did you mean: deadband run?"),
        (["train.py"], "to watch a script: deadband run train.py"),
        (["--frob"], "there is no command '--frob'"),
        (["run"], "the following arguments are required: SCRIPT"),
        (["run", "--frob", "train.py"], "unrecognized arguments: --frob"),
        (["run", "--every", "0", "train.py"], "needs a whole number of steps from 1 on, not '0'"),
        (["run", "--budget", "2", "train.py"], "needs a share between 0 and 1"),
        (["run", "--credit-s", "-1", "train.py"], "needs a number of seconds"),
        (["run", "--fail-on", "info", "train.py"], "invalid choice: 'info'"),
        (["run", "--report", "no-such-folder/r.json", "train.py"], "cannot write the report to"),
        (["report"], "the following arguments are required: RUN"),
        (["report", "x", "--format", "xml"], "invalid choice: 'xml'"),
        (["report", "nope"], "no run matches 'nope': there are no runs in"),
        (["report", "nope.dbr"], "cannot read nope.dbr: No such file"),
        (["replay", "nope"], "start one with: deadband run train.py"),
        (["attach"], "no run is live on this machine"),
        (["export", "nope"], "required: --to"),
        (["demo", "lr-to-high"], "there is no demo 'lr-to-high'; did you mean lr-too-high?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_told_in_one_line_with_status_2(
    arguments: list[str], told: str, capsys: Output
) -> None:
    assert cli.main(arguments) == 2
    assert told in one_line(capsys)


def test_a_report_goes_into_a_folder_only_under_a_name(tmp_path: Path, capsys: Output) -> None:
    assert cli.main(["run", "--report", str(tmp_path), "train.py"]) == 2
    assert "it is a folder; name a file in it" in one_line(capsys)


def test_a_file_that_is_no_recording_is_told(tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "notes.dbr"
    file.write_text("not at all")
    assert cli.main(["report", str(file)]) == 2
    assert "is not a recording of deadband" in one_line(capsys)


def test_a_recording_that_is_cut_off_is_told(collapsed: Path, capsys: Output) -> None:
    collapsed.write_bytes(collapsed.read_bytes()[:5000])
    for command in ("report", "replay"):
        assert cli.main([command, "collapsing"]) == 2
        assert "is cut off" in one_line(capsys)


def test_a_recording_of_a_newer_version_is_told(collapsed: Path, capsys: Output) -> None:
    with sqlite3.connect(collapsed) as database:
        database.execute(f"PRAGMA user_version = {USER_VERSION + 1}")
    database.close()
    assert cli.main(["report", str(collapsed)]) == 2
    assert "upgrade deadband" in one_line(capsys)


def test_a_name_that_matches_several_runs_is_told_with_their_ids(
    home: Path, capsys: Output
) -> None:
    for run in ("net-aaa111", "net-bbb222"):
        events = list(healthy_run())
        hello = events[0].hello  # type: ignore[union-attr]
        renamed = wire.RunInfo(
            seq=1, hello=wire.Hello(version=1, run=run, name="net", pid=1, started=hello.started)
        )
        record([renamed, *events[1:]])
    assert cli.main(["report", "net"]) == 2
    line = one_line(capsys)
    assert "net-aaa111" in line
    assert "net-bbb222" in line


def test_a_folder_of_runs_that_cannot_be_written_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    (home / "runs").write_text("a file where the folder should be")
    monkeypatch.setattr("deadband_monitor.commands.demo.catalogue", lambda: [ENTRY])
    assert cli.main(["demo", "one"]) == 2
    line = one_line(capsys)
    assert "cannot write to the folder of runs" in line
    assert "DEADBAND_HOME" in line


ENTRY = DemoEntry(name="one", summary="", cause="", remedy="", script="one.py")


def test_report_exits_by_verdict(collapsed: Path, capsys: Output) -> None:
    record(list(healthy_run()))
    assert cli.main(["report", "collapsing"]) == 3
    assert capsys.readouterr().out.startswith("FAILING: learning-rate-too-high")
    assert cli.main(["report", "healthy"]) == 0
    assert capsys.readouterr().out.startswith("HEALTHY")


def test_report_takes_a_file_an_id_and_the_start_of_an_id(collapsed: Path, capsys: Output) -> None:
    for target in (str(collapsed), "collapsing-000001", "collapsing-00"):
        assert cli.main(["report", target, "--format", "json"]) == 3
        assert json.loads(capsys.readouterr().out)["run"]["id"] == "collapsing-000001"


def test_following_a_finished_run_tells_it_and_ends(collapsed: Path, capsys: Output) -> None:
    assert cli.main(["report", "collapsing", "--follow"]) == 3
    text = capsys.readouterr().out
    assert text.startswith("watching collapsing-000001")
    assert "step    160  finished" in text
    assert "FAILING: learning-rate-too-high" in text


def test_replay_and_picker_without_a_terminal_print_instead(
    collapsed: Path, capsys: Output
) -> None:
    assert cli.main(["replay", "collapsing"]) == 0
    assert "finished" in capsys.readouterr().out
    assert cli.main([]) == 0
    assert "collapsing-000001  finished  failing  160" in capsys.readouterr().out


def test_runs_lists_what_there_is_as_table_and_as_json(collapsed: Path, capsys: Output) -> None:
    (collapsed.parent / "broken-1.dbr").write_text("broken")
    assert cli.main(["runs"]) == 0
    assert "broken-1" in capsys.readouterr().out
    assert cli.main(["runs", "--json"]) == 0
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["collapsing-000001"]["verdict"] == "failing"
    assert rows["collapsing-000001"]["live"] is False
    assert rows["broken-1"]["status"] == "unreadable"
    assert "is not a recording" in rows["broken-1"]["problem"]


def test_no_runs_at_all_is_no_error(home: Path, capsys: Output) -> None:
    assert cli.main(["runs"]) == 0
    assert "no runs in" in one_line(capsys)
    assert cli.main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_export_writes_every_value_in_long_form(
    collapsed: Path, tmp_path: Path, capsys: Output
) -> None:
    assert cli.main(["export", "collapsing", "--to", "csv"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head == "step,time,model,layer,metric,value,text"
    losses = [row for row in rows if row.split(",")[4] == "loss" and row.split(",")[2] == ""]
    assert len(losses) == 160
    file = tmp_path / "out.jsonl"
    assert cli.main(["export", "collapsing", "--to", "jsonl", "--output", str(file)]) == 0
    values = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(values) == len(rows)
    assert {"out_variance", "weight_rms", "lr"} <= {value["metric"] for value in values}


def test_export_to_parquet_and_tensorboard_holds_the_same_values(
    collapsed: Path, tmp_path: Path, capsys: Output
) -> None:
    assert cli.main(["export", "collapsing", "--to", "jsonl"]) == 0
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    file, folder = tmp_path / "out.parquet", tmp_path / "board"
    assert cli.main(["export", "collapsing", "--to", "parquet", "--output", str(file)]) == 0
    assert cli.main(["export", "collapsing", "--to", "tensorboard", "--output", str(folder)]) == 0
    columns = parquet.read_table(file).to_pydict()
    assert columns["step"] == [value["step"] for value in values]
    assert columns["metric"] == [value["metric"] for value in values]
    assert columns["value"] == pytest.approx([value["value"] for value in values], rel=1e-6)
    points = [
        (one.tag, event.step, one.simple_value)
        for event in events_of(next(folder.glob("events.*")))
        for one in event.summary.value
    ]
    assert len(points) == len(values)
    first = next(value for value in values if value["layer"])
    tag = "/".join((first["model"], first["layer"], first["metric"]))
    assert (tag, first["step"], pytest.approx(first["value"], rel=1e-6)) in points


def events_of(file: Path) -> Iterator[event_pb2.Event]:
    """The events of a TensorBoard file: length, its check, the event, its check."""
    data = file.read_bytes()
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        yield event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
        at += size + 16


@pytest.mark.parametrize(
    ("form", "package"), [("parquet", "pyarrow"), ("tensorboard", "tensorboardX")]
)
def test_a_form_that_needs_more_says_what(
    form: str,
    package: str,
    collapsed: Path,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cli.main(["export", "collapsing", "--to", form]) == 2
    assert "--output" in one_line(capsys)
    for name in [package, *(each for each in sys.modules if each.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    output = str(tmp_path / "out")
    assert cli.main(["export", "collapsing", "--to", form, "--output", output]) == 2
    assert f"pip install 'deadband[{form}]'" in one_line(capsys)


@pytest.mark.parametrize(
    ("given", "split_up"),
    [
        (["a.py"], ["--", "a.py"]),
        (["--live", "a.py", "--live"], ["--live", "--", "a.py", "--live"]),
        (["--report", "r.json", "a.py"], ["--report", "r.json", "--", "a.py"]),
        (["--report=r.json", "a.py"], ["--report=r.json", "--", "a.py"]),
        (["-m", "pkg.train", "-x"], ["--", "-m", "pkg.train", "-x"]),
        (["--", "a.py", "--", "b"], ["--", "a.py", "--", "b"]),
        (["a.py", "--help"], ["--", "a.py", "--help"]),
        (["--help", "a.py"], ["--help"]),
    ],
)
def test_the_words_of_the_script_are_left_alone(given: list[str], split_up: list[str]) -> None:
    assert split(given) == split_up


def test_the_bundled_demos_are_known_without_importing_them() -> None:
    assert "lr-too-high" in [demo.name for demo in catalogue()]
