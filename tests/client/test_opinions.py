"""What the hub says reaches the user's code at the next step."""

from __future__ import annotations

import pytest

import deadband
from deadband import wire
from deadband.opinions import Opinions
from deadband.watching import Watch


def flag(number: int, severity: str, *, resolved: int | None = None) -> wire.Flag:
    return wire.Flag(
        id=number,
        kind="output-collapse",
        severity=severity,
        model="model",
        layer="fc1",
        onset_step=4,
        raised_step=6,
        resolved_step=resolved,
        message="fc1 gives the same output for every sample",
    )


def say(watch: Watch, *flags: wire.Flag) -> None:
    watch._deliver(wire.Opinion(verdict="failing", flags=list(flags), causes=[]))


def test_callbacks_hear_of_each_flag_once_and_at_the_next_step() -> None:
    heard = []
    watch = deadband.watch(None)

    @watch.on_flag
    def note(raised: wire.Flag) -> None:
        heard.append(raised.id)

    say(watch, flag(1, "warning"))
    assert watch.verdict == "failing"
    assert heard == []
    watch.step()
    say(watch, flag(1, "critical"), flag(2, "info"))
    watch.step()
    watch.step()
    assert heard == [1, 2]
    assert [each.id for each in watch.flags] == [1, 2]


def test_training_stops_at_the_severity_that_was_named() -> None:
    watch = deadband.watch(None, stop_on="critical")
    say(watch, flag(1, "warning"), flag(2, "critical", resolved=9))
    watch.step()
    say(watch, flag(1, "critical"))
    with pytest.raises(deadband.Collapsed, match="output-collapse in fc1 since step 4") as caught:
        watch.step()
    assert [each.id for each in caught.value.flags] == [1]
    watch.step()
    assert watch.steps == 3


def test_a_wish_for_dense_samples_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEADBAND_CREDIT_S", "0.5")
    watch = deadband.watch(None)
    for _ in range(12):
        watch.step()
    watch._cadence.next_step = 1000
    watch._deliver(wire.CaptureWish(credit_s=0.5))
    watch.step()
    assert watch._cadence.next_step == 14
    assert watch._armed


def test_whether_anybody_watches_is_heard_and_wishes_for_nothing() -> None:
    opinions = Opinions(None)
    opinions.inbox.append(wire.Audience(watching=True))
    assert opinions.hear() is None
    assert opinions.watched
    opinions.inbox.append(wire.Audience(watching=False))
    assert opinions.hear() is None
    assert not opinions.watched


def test_a_viewer_that_asks_for_dense_steps_gets_them() -> None:
    watch = deadband.watch(None, every=100, budget=None)
    for _ in range(12):
        watch.step()
    watch._deliver(wire.CaptureWish(credit_s=0.0, steps=20))
    watch.step()
    assert watch._cadence.next_step == 14
    watch.step()
    assert watch._cadence.pace.until == 33
    watch._deliver(wire.CaptureWish(credit_s=0.0, steps=-1))
    watch.step()
    watch.step()
    assert watch._cadence.pace.until == 0
