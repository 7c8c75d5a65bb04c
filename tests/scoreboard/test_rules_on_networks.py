"""The rules on real small networks: what learns is left alone, what fails is named.

A part of the corpus that takes a minute; all of it: `python -m scoreboard --half both --pairs` in
`tests`.
"""

from __future__ import annotations

from functools import lru_cache

import pytest

from scoreboard import failing, healthy
from scoreboard.harness import Outcome, Scenario, judge, record

SCENARIOS = {scenario.name: scenario for scenario in (*healthy.RUNS, *failing.RUNS)}

LEARNING = (
    "healthy mlp digits sgd",
    "healthy cnn batchnorm adam",
    "healthy sigmoid 3 adam",
    "healthy zero head warm-up",
    "healthy blobs sgd 0.5 edge",
    "healthy batch of two",
    "healthy imbalanced 5 percent",
    "healthy offset target",
    "healthy gan two models",
    "healthy frozen backbone",
)
FAILING = (
    "lr sgd 10 relu",
    "lr adam 1 sigmoid",
    "lr jump at 200 adam",
    "saturated tanh bias 8",
    "constant init sigmoid",
    "zero init relu",
    "dying relu bias -8",
    "raw cancer tanh",
    "deep relu 20 default sgd",
    "shuffled labels sgd",
)
CADENCES = (1, 25)

pytestmark = pytest.mark.timeout(120)  # two seconds each on a free core


@lru_cache(maxsize=1)
def outcomes(name: str) -> tuple[Outcome, ...]:
    lanes, _ = record(SCENARIOS[name], CADENCES)
    return tuple(judge(every, lanes[every]) for every in CADENCES)


@pytest.mark.parametrize("name", LEARNING)
def test_a_run_that_learns_raises_no_alarm_at_any_cadence(name: str) -> None:
    for outcome in outcomes(name):
        assert outcome.alarms == [], outcome.every
        assert (outcome.verdict, outcome.causes) == ("healthy", [])


@pytest.mark.parametrize("name", FAILING)
def test_a_run_that_fails_is_flagged_and_its_cause_named(name: str) -> None:
    scenario: Scenario = SCENARIOS[name]
    for outcome in outcomes(name):
        words = [cause.cause for cause in outcome.causes]
        if not scenario.causes:
            assert not words, outcome.every
            continue
        assert outcome.verdict == "failing", outcome.every
        assert words[0] in scenario.causes
        onset = min(flag.onset_step for flag in outcome.flags if flag.severity == "critical")
        assert abs(onset - scenario.onset) <= max(10, outcome.every)
        assert outcome.causes[0].evidence
        assert outcome.causes[0].advice
