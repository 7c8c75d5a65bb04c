"""The board itself: its halves, its remedies, its cache and its figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from deadband.wire import Cause, Flag
from scoreboard import board, runs
from scoreboard.cache import Cache
from scoreboard.figures import Result, figures, proven
from scoreboard.harness import Outcome
from scoreboard.loops import fit
from scoreboard.nets import mlp
from scoreboard.scenario import Runs, Scenario, Shown, Verdict, holds, train


def short(name: str = "short") -> Scenario:
    made = Runs(__name__)
    made.broken(name, "learning-rate-too-high", lambda r: fit(mlp(4, 3), "iris", lr=r), 50, 0.1)
    return Scenario(
        name=name, build=made[0].build, causes=made[0].causes, remedy=made[0].remedy, steps=40
    )


def said(scenario: Scenario, *, cause: str = "", sure: float = 0.9, at: int = 5) -> Result:
    flag = Flag(
        id=1,
        kind="output-collapse",
        severity="critical",
        model="model",
        layer="",
        onset_step=at,
        raised_step=at + 3,
        resolved_step=None,
        evidence={},
        message="",
    )
    causes = [Cause(cause=cause, confidence=sure, evidence=[], advice="")] if cause else []
    outcome = Outcome(
        every=1,
        verdict="failing" if cause else "healthy",
        flags=[flag] if cause else [],
        causes=causes,
        alarms=[flag] if cause else [],
    )
    return Result(scenario=scenario, score=0.0, outcome=outcome)


def test_every_failing_run_has_a_remedy_and_a_name_of_its_own() -> None:
    names = Counter(scenario.name for scenario in runs.everything())
    assert [name for name, count in names.items() if count > 1] == []
    for scenario in runs.failing():
        assert scenario.remedy is not None, scenario.name
        assert scenario.onset < scenario.steps, scenario.name


def test_every_cause_has_three_variants_and_both_halves_have_some() -> None:
    groups = Counter(scenario.causes[0] for scenario in runs.failing())
    assert {cause: count for cause, count in groups.items() if count < 3} == {}
    held = Counter(scenario.causes[0] for scenario in runs.failing() if scenario.held_out)
    assert len(groups) == 29
    assert len(held) >= len(groups) - 3


def test_forty_healthy_runs_and_more_are_there_in_each_half() -> None:
    shares = Counter(scenario.share for scenario in runs.healthy())
    assert min(shares["tune"], shares["held"], shares["exam"]) >= 40


@pytest.mark.parametrize(
    ("exam", "failing", "of_a_cause", "healthy"),
    [
        ("exam", 90, 3, 40),
        ("fresh", 45, 1, 35),
        ("sealed", 80, 2, 80),
        ("blind", 90, 3, 80),
        ("unread", 200, 5, 150),
    ],
)
def test_an_exam_has_every_cause_and_lies_in_neither_half(
    exam: str, failing: int, of_a_cause: int, healthy: int
) -> None:
    its = [scenario for scenario in runs.everything() if scenario.share == exam]
    groups = Counter(scenario.causes[0] for scenario in its if scenario.fails)
    assert len(groups) == 29
    assert min(groups.values()) >= of_a_cause
    assert sum(groups.values()) >= failing
    assert sum(not scenario.fails for scenario in its) >= healthy
    for scenario in its:
        assert scenario.family.startswith(f"{exam}.")
        assert not scenario.held_out
        if scenario.fails:
            assert scenario.mended().share == exam


def test_a_loop_without_torch_shows_what_each_step_worked_on() -> None:
    (scenario,) = (s for s in runs.healthy() if s.name == "healthy exam numpy network")
    seen: list[set[str]] = []

    class Looker:
        def on_start(self, model: object, optimizer: object) -> None:
            assert (model, optimizer) == ({}, [])

        def on_arrays(self, arrays: Sequence[Shown]) -> None:
            seen.append({shown.role for shown in arrays})

        def on_step(self, step: int, loss: torch.Tensor) -> None:
            assert len(seen) == step

        def verdict(self) -> Verdict:
            return Verdict(verdict="healthy")

    _, skill = train(scenario, Looker())
    assert {"input", "weight", "output", "target", "weight_grad"} <= seen[0]
    assert skill > 0.5


def test_a_remedy_lies_in_the_half_of_its_fault() -> None:
    for scenario in runs.failing():
        assert scenario.mended().held_out == scenario.held_out


def test_a_fault_holds_only_where_it_costs_skill_and_the_remedy_wins_it_back() -> None:
    assert holds(0.1, 0.9)
    assert holds(math.nan, 0.9)
    assert holds(-math.inf, 0.2)
    assert not holds(0.8, 0.9)
    assert not holds(0.0, 0.1)
    assert not holds(0.0, math.nan)


def test_a_listener_hears_every_step_and_is_asked_before_the_skill_is_measured() -> None:
    heard: list[int] = []

    class Listener:
        def on_start(self, model: object, optimizer: object) -> None:
            assert isinstance(model, torch.nn.Module)
            assert isinstance(optimizer, torch.optim.Optimizer)

        def on_step(self, step: int, loss: torch.Tensor) -> None:
            heard.append(step)

        def verdict(self) -> Verdict:
            return Verdict(verdict="warning", first_alarm=heard[-1])

    verdict, skill = train(short().mended(), Listener())
    assert heard == list(range(1, 41))
    assert verdict.first_alarm == 40
    assert skill > 0.3


def test_a_kept_run_says_the_same_as_the_one_that_was_trained(tmp_path: Path) -> None:
    scenario, cache = short(), Cache(tmp_path)
    first, score = cache.lanes(scenario)
    (kept,) = tmp_path.glob("*.run")
    stamp = kept.stat().st_mtime_ns
    again, same = cache.lanes(scenario)
    assert kept.stat().st_mtime_ns == stamp
    assert score == pytest.approx(same, nan_ok=True)
    for every, observations in first.items():
        assert [o.step for o in observations] == [o.step for o in again[every]]
        np.testing.assert_array_equal(observations[-1].models, again[every][-1].models)


def test_a_kept_run_is_not_used_for_another_number_of_steps(tmp_path: Path) -> None:
    scenario, cache = short(), Cache(tmp_path)
    cache.lanes(scenario)
    longer = Scenario(
        name=scenario.name, build=scenario.build, causes=scenario.causes, steps=scenario.steps + 3
    )
    lanes, _ = cache.lanes(longer)
    assert lanes[1][-1].step == scenario.steps + 3
    assert len(list(tmp_path.glob("*.run"))) == 1


def test_the_figures_count_what_was_found_named_and_raised_in_vain() -> None:
    fault = short("fault")
    calm = Scenario(name="calm", build=fault.build)
    board_ = figures(
        1,
        [
            said(fault, cause="learning-rate-too-high"),
            said(fault, cause="dying-relu", sure=0.6, at=9),
            said(fault),
            said(calm),
            said(calm, cause="overfitting"),
        ],
    )
    assert board_.failing == 3
    assert board_.recall == pytest.approx(2 / 3)
    assert board_.first == pytest.approx(1 / 3)
    assert (board_.healthy, board_.critical_healthy, board_.warned_healthy) == (2, 1, 1)
    assert board_.onset_error == 6  # of 4 and 8
    assert board_.latency == 9  # of 7 and 11
    assert [(b.runs, b.right) for b in board_.confidence] == [(1, 0.0), (1, 1.0)]
    assert proven({"fault": 0.0, "fault mended": 0.9}, fault)
    assert proven({"fault": 0.0}, fault) is None


def test_the_board_says_which_runs_were_judged_wrongly() -> None:
    fault = short("fault")
    calm = Scenario(name="calm", build=fault.build)
    lines = board.wrongs(
        [said(fault, cause="dying-relu"), said(fault), said(calm, cause="overfitting"), said(calm)]
    )
    assert [line.split()[0] for line in lines] == ["WRONG", "MISSED", "FALSE"]
