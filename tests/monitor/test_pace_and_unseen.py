"""The budget governor, and what could not be looked at, in words."""

from __future__ import annotations

import pytest

from deadband.wire import Model, Pace
from deadband_monitor.pace import in_words, short
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
