"""The rules on real small networks: what learns is left alone, what fails is named.

A part of the board that takes half a minute, and as slow tests a larger one. All of it:
`make scoreboard`.
"""

from __future__ import annotations

from functools import lru_cache

import pytest

from scoreboard import runs
from scoreboard.harness import Outcome, judge, record

SCENARIOS = {scenario.name: scenario for scenario in runs.everything()}
CADENCES = (1, 25)

LEARNING = (
    "healthy mlp digits sgd",
    "healthy zero head warm-up",
    "healthy imbalanced 5 percent",
    "healthy evaluated mlp",
)
FAILING = (
    "lr sgd 10 relu",
    "saturated tanh bias 8",
    "constant init sigmoid",
    "dying relu bias -8",
    "raw cancer tanh",
    "gradients zeroed before the step",
    "no zero grad momentum wine",
    "weight decay sgd 1",
)
MORE_LEARNING = (
    "healthy cnn batchnorm adam",
    "healthy sigmoid 3 adam",
    "healthy blobs sgd 0.5 edge",
    "healthy batch of two",
    "healthy gan two models",
    "healthy frozen backbone",
    "healthy text gru",
    "healthy autoencoder",
    "healthy lstm rows",
    "healthy scaler skips at start",
    "healthy accumulation of four",
    "healthy finished long ago",
    "healthy offset target",
)
MORE_FAILING = (
    "lr adam 1 sigmoid",
    "lr jump at 200 adam",
    "lr too low",
    "zero init relu",
    "deep relu 20 default sgd",
    "output detached",
    "optimiser of another model",
    "tiny inputs relu",
)

pytestmark = pytest.mark.timeout(120)  # two seconds each on a free core


@lru_cache(maxsize=1)
def outcomes(name: str) -> tuple[Outcome, ...]:
    lanes, _ = record(SCENARIOS[name], CADENCES)
    return tuple(judge(every, lanes[every]) for every in CADENCES)


def some(names: tuple[str, ...], more: tuple[str, ...]) -> list[object]:
    return [*names, *(pytest.param(name, marks=pytest.mark.slow) for name in more)]


@pytest.mark.parametrize("name", some(LEARNING, MORE_LEARNING))
def test_a_run_that_learns_raises_no_alarm_at_any_cadence(name: str) -> None:
    for outcome in outcomes(name):
        assert outcome.alarms == [], outcome.every
        assert (outcome.verdict, outcome.causes) == ("healthy", [])


@pytest.mark.parametrize("name", some(FAILING, MORE_FAILING))
def test_a_run_that_fails_is_flagged_and_its_cause_named(name: str) -> None:
    scenario = SCENARIOS[name]
    for outcome in outcomes(name):
        words = [cause.cause for cause in outcome.causes]
        assert outcome.verdict != "healthy", outcome.every
        assert words, outcome.every
        assert words[0] in scenario.causes, outcome.every
        assert outcome.causes[0].evidence
        assert outcome.causes[0].advice
        if scenario.sudden:
            onset = min(flag.onset_step for flag in outcome.flags if flag.severity != "info")
            assert abs(onset - scenario.onset) <= max(10, outcome.every)
