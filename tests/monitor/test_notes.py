"""A note is told wherever a run is told of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deadband import wire
from deadband.wire import Note
from deadband_monitor import cli
from deadband_monitor.hub.sights import Ledger, cut
from deadband_monitor.narrator import Narrator
from deadband_monitor.notes import note_step, note_text
from deadband_monitor.record.writer import Recorder
from deadband_monitor.report.making import make_report
from deadband_monitor.report.words import format_report
from deadband_monitor.source.scripted import collapsing_run, healthy_run
from deadband_monitor.source.viewing import Viewing
from deadband_monitor.state.run_state import RunState
from deadband_monitor.tui.view import View
from deadband_monitor.tui.widgets.panels import run_facts
from deadband_monitor.tui.wishes import first_wish

TEXT = "halved the learning | rate"


def test_a_note_is_one_printable_line_about_a_step_that_there_was() -> None:
    assert note_text(" a\n\tb\x1b[31m c\x00 ") == "a b[31m c"
    assert len(note_text("x" * 10_000)) == 2000
    assert [note_step(it, 50) for it in (0, -3, 7, 50, 51, 1 << 70)] == [50, 50, 7, 50, 50, 50]


def noted() -> RunState:
    state = RunState()
    for event in healthy_run(samples=20):
        state.apply(event)
    state.apply(Note(seq=state.seq + 1, step=12, time=5.0, text=TEXT))
    state.apply(Note(seq=state.seq + 1, step=4, time=6.0, text="earlier"))
    return state


def test_the_report_has_notes_in_order_of_their_steps() -> None:
    report = make_report(noted())
    assert [(note.step, note.text) for note in report.notes] == [(4, "earlier"), (12, TEXT)]
    assert f"note      step 12: {TEXT}" in format_report(report, "text")
    markdown = format_report(report, "markdown")
    assert f"## Notes\n\n- step 4: earlier\n- step 12: {TEXT}\n" in markdown
    assert json.loads(format_report(report, "json"))["notes"][1]["text"] == TEXT


def test_a_run_without_notes_says_nothing_of_them() -> None:
    state = RunState()
    for event in healthy_run(samples=5):
        state.apply(event)
    assert "## Notes" not in format_report(make_report(state), "markdown")
    assert "note " not in format_report(make_report(state), "text")


def test_a_note_is_told_once_in_plain_lines_and_kept_by_a_late_joiner() -> None:
    state, narrator = noted(), Narrator()
    lines = [line for line in narrator.lines(state) if "note" in line]
    assert lines == [f"step     12  note      {TEXT}", "step      4  note      earlier"]
    assert not [line for line in narrator.lines(state) if "note" in line]
    late = RunState.unpack(state.pack())
    assert late.notes == state.notes
    assert run_facts(late)[0] == f"note at step 12: {TEXT}"


def test_who_sees_only_what_a_screen_shows_is_told_of_every_note() -> None:
    state, ledger = RunState(), Ledger()
    for event in healthy_run(samples=10):
        state.apply(event)
        ledger.note(event, state)
    for step in (3, 5):
        note = Note(seq=state.seq + 1, step=step, time=1.0, text=f"at {step}")
        state.apply(note)
        ledger.note(note, state)
    viewing = Viewing(far=False)
    viewing.wish = first_wish(View())
    viewing.take(cut(state, ledger, viewing.question()))
    assert [it.text for it in viewing.state.notes] == ["at 3", "at 5"]
    assert viewing.state.info == state.info
    before = viewing.state.seq
    note = Note(seq=before + 1, step=7, time=1.0, text="at 7")
    state.apply(note)
    ledger.note(note, state)
    assert ledger.urgent(before)
    viewing.take(cut(state, ledger, viewing.question()))
    assert [it.step for it in viewing.state.notes] == [3, 5, 7]


def test_export_and_ask_work_on_a_run_that_is_over(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = "collapsing-000001"
    recorder = Recorder(wire.recording_path(run))
    for event in collapsing_run(samples=80):
        recorder.add(event)
    recorder.close(0.0)
    assert cli.main(["ask", run, "--note", TEXT, "--step", "61"]) == 0
    assert capsys.readouterr().out == "noted at step 61\n"
    assert cli.main(["export", run, "--to", "jsonl"]) == 0
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (note,) = (value for value in values if value["metric"] == "note")
    assert (note["step"], note["text"], note["value"]) == (61, TEXT, None)
    assert "text" not in values[0]
    assert cli.main(["ask", run, "--dense", "5"]) == 2
    assert "only the live run" in capsys.readouterr().err
    assert cli.main(["ask", run]) == 2
    assert "--dense STEPS or --note TEXT" in capsys.readouterr().err
    assert cli.main(["ask", run, "--dense", "many"]) == 2
    assert "no number of steps" in capsys.readouterr().err
