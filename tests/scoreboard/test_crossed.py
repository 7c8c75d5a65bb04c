"""The exam that is drawn: the same for the same seed, and proven by training."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch

from scoreboard import runs
from scoreboard.crossed import draw
from scoreboard.crossed.bench import bench
from scoreboard.crossed.cross import cross
from scoreboard.crossed.data import TASKS
from scoreboard.crossed.draw import FAMILIES, crossed, drawn, fitting, one
from scoreboard.crossed.faults import FAULTS, Fault, Injection, OwnFault, by_cause
from scoreboard.scenario import holds, train

OF_FAMILY = {
    family.__name__.rpartition(".")[2]: [
        each for each in FAULTS if each.draw.__module__ == family.__name__
    ]
    for family in FAMILIES
}


def test_the_same_draw_is_the_same_exam_and_another_is_another() -> None:
    first, again, other = drawn(1, 60), drawn(1, 60), drawn(2, 60)
    assert [s.name for s in first] == [s.name for s in again]
    assert [(s.causes, s.steps, s.onset) for s in first] == [
        (s.causes, s.steps, s.onset) for s in again
    ]
    assert not {s.name.partition(" ")[2] for s in first} & {s.name.partition(" ")[2] for s in other}
    assert len({s.name for s in first}) == 60


def test_every_cause_comes_about_equally_often() -> None:
    known = set(by_cause(FAULTS))
    assert known == {s.causes[0] for s in runs.failing()}
    counts = Counter(s.causes[0] for s in drawn(3, 3 * len(known)))
    assert set(counts.values()) == {3}


def test_a_run_trains_on_the_same_numbers_each_time() -> None:
    scenario = one(1, 2)
    losses: list[list[float]] = []
    for _ in range(2):
        torch.manual_seed(0)
        training = scenario.build()
        losses.append([float(training.step(k)) for k in range(1, 6)])
    assert losses[0] == losses[1]


def test_the_halves_and_exams_hold_no_drawn_run() -> None:
    assert not any(s.share == "crossed" for s in runs.everything())
    assert one(1, 0).share == one(1, 0).mended().share == "crossed"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_can_be_put_in_somewhere(fault: Fault | OwnFault) -> None:
    rng = random.Random(fault.name)
    scenario = crossed(fault, rng, "crossed test")
    torch.manual_seed(0)
    training = scenario.build()
    for k in (1, 2):
        training.step(k)
    assert 1 <= scenario.onset < scenario.steps
    assert scenario.remedy is not None


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_drawn_with_a_network_that_answers_it(task: str) -> None:
    rng = random.Random(task)
    found = next(c for c in iter(lambda: cross(rng), None) if c.task == task)
    torch.manual_seed(0)
    training = bench(found).training()
    assert training.step(1).isfinite()
    assert training.score is not None
    assert training.score() <= 1.0


def test_a_fault_that_fits_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "TRIES", 3)
    never = Fault(
        name="never",
        causes=("dying-relu",),
        applies=lambda c: False,
        draw=lambda r, c: Injection(says="nothing"),
    )
    with pytest.raises(LookupError, match="never"):
        fitting(never, random.Random(0))


@pytest.mark.slow
@pytest.mark.parametrize("family", OF_FAMILY)
def test_a_fault_of_each_family_keeps_its_promise(family: str) -> None:
    rng = random.Random(family)
    for _ in range(6):
        scenario = crossed(rng.choice(OF_FAMILY[family]), rng, "crossed test")
        fault, mended = train(scenario)[1], train(scenario.mended())[1]
        if holds(fault, mended, scenario.learns, scenario.keeps):
            return
    pytest.fail(f"no fault of {family} held in six crosses")
