"""The budget governor, and what could not be looked at, in words."""

from __future__ import annotations

import pytest

from deadband.wire import LayerTable, Model, Pace, RankStatus, Sample, Status
from deadband_monitor.pace import asked_for, in_words, short
from deadband_monitor.state.run_state import RunState
from deadband_monitor.tui.widgets.panels import run_facts
from deadband_monitor.unseen import not_seen


def pace(why: str) -> Pace:
    return Pace(why=why, step_s=0.0004, cost_s=0.00017, rate=20.0)


def test_the_budget_is_told_with_its_figures() -> None:
    assert in_words(pace("budget"), 43) == (
        "one step in 43 was sampled: a sample costs 170 µs and a step takes 400 µs,"
        " so the budget allows no more"
    )
    assert in_words(pace("rate"), 125).endswith("more than 20 samples a second nobody needs")
    assert in_words(pace("named"), 1) == "every step was sampled: as it was asked for"
    assert short(pace("slowest"), 1024) == "every 1024 (slowest)"


@pytest.mark.parametrize(
    "why", ["first steps", "credit", "loss jumped", "named", "slowest", "no room"]
)
def test_every_reason_is_a_sentence(why: str) -> None:
    assert len(in_words(pace(why), 2)) > len("one step in 2 was sampled: ") + 10


def test_a_viewer_that_asked_is_named_with_what_is_left() -> None:
    asked = Pace(why="asked", until=320)
    assert in_words(asked, 1).endswith("a viewer asked for each step up to 320")
    assert (asked_for(asked, 200), asked_for(asked, 400), asked_for(None, 1)) == (120, 0, 0)


def model(**known: object) -> Model:
    return Model(name="net", kind="Net", parameters=1, trainable=1, **known)  # type: ignore[arg-type]


def test_what_is_compiled_is_said_to_be_unseen_and_how_to_see_it() -> None:
    assert not_seen(model()) == []
    assert not_seen(model(compiled=True, eager_samples=True)) == []
    (whole,) = not_seen(model(compiled=True))
    assert whole.what == "activations inside net"
    assert 'compiled="eager-samples"' in whole.advice
    (hidden,) = not_seen(model(compiled=True, hidden=True))
    assert hidden.what == "inputs and activations of net"
    (parts,) = not_seen(model(compiled_parts=("first", "blocks.0")))
    assert parts.what == "activations inside first, blocks.0"


def test_what_is_left_out_has_its_own_mend_on_screen_too() -> None:
    (rest,) = not_seen(model(left_out=8500))
    assert "eager-samples" not in rest.short
    assert "a model of its own" in rest.short


def test_the_screen_says_what_is_not_seen_and_which_rank_is_shown() -> None:
    state = RunState()
    table = LayerTable(
        seq=1,
        id=1,
        layers=(),
        models=(model(compiled=True),),
        optimizers=(),
        layer_metrics=(),
        model_metrics=(),
    )
    sample = Sample(seq=2, step=3, time=1.0, rank=0, table=1, layers=b"", models=b"")
    ranks = [
        RankStatus(
            rank=rank, pid=1, host="", status="running", step=3, samples=1, dropped=0, overhead=0.0
        )
        for rank in (0, 1)
    ]
    status = Status(
        seq=3,
        time=1.0,
        status="running",
        step=3,
        samples=1,
        dropped=0,
        overhead=0.01,
        interval=64,
        pace=pace("budget"),
        ranks=ranks,
    )
    for event in (table, sample, status):
        state.apply(event)
    facts = run_facts(state)
    assert "2 ranks, 2 running; rank 0 is shown, all are judged" in facts
    assert 'not seen: activations inside net; watch(..., compiled="eager-samples") shows them' in (
        facts
    )
    assert "sampled every 64 (budget)" in facts
