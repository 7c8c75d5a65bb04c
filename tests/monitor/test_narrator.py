"""A run in plain lines, as it happens."""

from __future__ import annotations

import msgspec

from deadband.wire import FlagChange
from deadband_monitor.narrator import STATUS_EVERY_STEPS, Narrator
from deadband_monitor.source.fake import FakeSource
from deadband_monitor.source.scripted import collapsing_run, healthy_run


def told(source: FakeSource, samples: int) -> list[str]:
    """All lines of a narrator that looks after every sample."""
    narrator = Narrator()
    lines: list[str] = []
    for _ in range(samples):
        source.advance()
        lines += narrator.lines(source.state)
    source.finish()
    return lines + narrator.lines(source.state)


def test_it_opens_with_what_is_watched_and_closes_with_how_it_ended() -> None:
    lines = told(FakeSource(healthy_run()), 120)
    assert lines[0] == "watching healthy-000001: train.py, process 4242"
    assert "Sequential of 6 layers" in lines[1]
    assert lines[-1] == "step    120  finished"


def test_a_collapse_is_told_once_with_flag_cause_and_verdict() -> None:
    lines = told(FakeSource(collapsing_run()), 160)
    text = "\n".join(lines)
    assert text.count("CRITICAL  output-collapse in whole model, since step 62") == 1
    assert text.count("WARNING  dead-units in layer net.1, since step 61") == 1
    assert text.count("CAUSE     learning-rate-too-high (92 % sure)") == 1
    assert "Try: divide the learning rate by 10" in text
    assert [line[13:] for line in lines if "verdict" in line] == [
        "verdict   healthy -> warning",
        "verdict   warning -> failing",
    ]


def test_a_look_at_the_end_tells_the_same_flags_as_many_looks() -> None:
    often = told(FakeSource(collapsing_run()), 160)
    once = told(FakeSource(collapsing_run()), 0)
    flags = [line for line in often if "CRITICAL" in line or "WARNING" in line]
    assert [line for line in once if "CRITICAL" in line or "WARNING" in line] == flags


def test_a_healthy_run_is_told_in_a_line_every_few_hundred_steps() -> None:
    lines = told(FakeSource(healthy_run(samples=300, every=4)), 300)
    status = [line for line in lines if "loss" in line]
    assert 1200 // STATUS_EVERY_STEPS - 1 <= len(status) <= 1200 // STATUS_EVERY_STEPS + 1


def test_a_flag_that_closes_is_told_as_resolved() -> None:
    source = FakeSource(collapsing_run())
    narrator = Narrator()
    source.advance(100)
    narrator.lines(source.state)
    (flag,) = [flag for flag in source.state.open_flags if flag.kind == "output-collapse"]
    flag.resolved_step = 101
    source.apply(FlagChange(seq=source.state.seq + 1, step=101, flag=flag))
    assert "step    101  resolved  output-collapse in whole model" in narrator.lines(source.state)


def test_what_keeps_the_hub_from_its_work_is_told_when_it_begins() -> None:
    source = FakeSource(healthy_run())
    narrator = Narrator()
    source.advance(20)
    narrator.lines(source.state)
    status = source.state.status
    assert status is not None
    seq = source.state.seq + 1
    source.apply(msgspec.structs.replace(status, seq=seq, error="cannot write: disk full"))
    step = source.state.step
    assert narrator.lines(source.state) == [f"step {step:>6}  running: cannot write: disk full"]
    assert narrator.lines(source.state) == []


def test_nothing_new_is_nothing_said() -> None:
    source = FakeSource(collapsing_run())
    narrator = Narrator()
    assert narrator.lines(source.state) == []
    source.finish()
    assert narrator.lines(source.state)
    assert narrator.lines(source.state) == []
