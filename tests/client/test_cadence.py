"""Which steps are sampled, with times and costs given by hand."""

from __future__ import annotations

import numpy as np
import pytest

from deadband.cadence import Cadence
from deadband.startle import Startle
from deadband.wire import LOSS_CAPACITY


def drive(
    cadence: Cadence,
    *,
    steps: int,
    step_s: float,
    cost_s: float,
    first: int = 1,
    keeps_up: bool = True,
) -> list[int]:
    """Run through a loop of equal steps; the sampled ones."""
    sampled = []
    for step in range(first, first + steps):
        if step >= cadence.next_step:
            sampled.append(step)
            cadence.sampled(step, step_s + cost_s, cost_s, keeps_up=keeps_up)
        else:
            cadence.passed(step_s)
    return sampled


def test_every_step_is_sampled_while_the_credit_lasts() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.1)
    sampled = drive(cadence, steps=2000, step_s=0.01, cost_s=0.001)
    assert sampled[:100] == list(range(1, 101))
    assert sampled[101] - sampled[100] == 10  # 1 ms is 1 % of ten steps of 10 ms


def test_the_first_ten_steps_are_sampled_without_any_credit() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    sampled = drive(cadence, steps=200, step_s=0.1, cost_s=0.01)
    assert sampled[:12] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30]


def test_fast_loops_are_sampled_twenty_times_a_second() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    sampled = drive(cadence, steps=5000, step_s=0.001, cost_s=0.0001)
    assert sampled[20] - sampled[19] == 100


def test_the_slowest_cadence_is_what_a_frame_can_hold() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    drive(cadence, steps=10, step_s=1e-5, cost_s=1e-3)
    assert cadence.interval == LOSS_CAPACITY


def test_one_long_pause_changes_nothing() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    drive(cadence, steps=100, step_s=0.1, cost_s=0.01)
    interval = cadence.interval
    cadence.sampled(101, 60.0, 0.01)
    assert cadence.interval == interval
    cadence.sampled(102, 0.11, 5.0)
    assert cadence.interval == interval


def test_the_cost_stays_within_the_budget() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    sampled = drive(cadence, steps=10_000, step_s=0.02, cost_s=0.003)
    assert 0.003 * len(sampled) / (0.02 * 10_000) < 0.0115


def test_a_named_interval_is_kept_whatever_it_costs() -> None:
    cadence = Cadence(every=3, budget=0.01, credit_s=0.0)
    assert drive(cadence, steps=9, step_s=0.001, cost_s=0.1) == [1, 4, 7]


def test_without_a_budget_every_step_is_sampled() -> None:
    cadence = Cadence(every=None, budget=None, credit_s=0.0)
    assert drive(cadence, steps=50, step_s=0.001, cost_s=0.1) == list(range(1, 51))


def test_a_hub_that_does_not_keep_up_ends_the_dense_start() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=10.0)
    sampled = drive(cadence, steps=100, step_s=0.1, cost_s=0.01, keeps_up=False)
    assert sampled[9:12] == [10, 20, 30]


def test_a_flag_renews_the_credit_but_not_again_at_once() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.05)
    drive(cadence, steps=1000, step_s=0.1, cost_s=0.01)
    cadence.renew(None, now=100.0, step=1000)
    dense = drive(cadence, steps=50, step_s=0.1, cost_s=0.01, first=1001)
    assert dense[:5] == [1001, 1002, 1003, 1004, 1005]
    assert dense[6] - dense[5] == 10
    cadence.renew(None, now=110.0, step=1050)
    again = drive(cadence, steps=50, step_s=0.1, cost_s=0.01, first=1051)
    assert again[1] - again[0] == 10


def test_a_dropped_sample_is_tried_again_later() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    drive(cadence, steps=20, step_s=0.1, cost_s=0.01)
    cadence.skipped(30)
    assert cadence.next_step == 40


@pytest.mark.parametrize("every", [1, 5])
def test_a_dropped_sample_keeps_the_named_interval(every: int) -> None:
    cadence = Cadence(every=every, budget=None, credit_s=0.0)
    cadence.skipped(11)
    assert cadence.next_step == 11 + every


def test_a_jump_of_the_loss_is_looked_at_at_once_and_only_so_often() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    sampled = drive(cadence, steps=95, step_s=0.1, cost_s=0.1)  # one step in a hundred
    assert sampled[-1] == 10
    cadence.startled(95)
    assert drive(cadence, steps=20, step_s=0.1, cost_s=0.1, first=96) == list(range(96, 106))
    cadence.startled(115)
    assert drive(cadence, steps=50, step_s=0.1, cost_s=0.1, first=116) == []


def test_a_fixed_cadence_is_not_startled() -> None:
    cadence = Cadence(every=50, budget=None, credit_s=0.0)
    drive(cadence, steps=60, step_s=0.1, cost_s=0.1)
    cadence.startled(60)
    assert drive(cadence, steps=30, step_s=0.1, cost_s=0.1, first=61) == []


def test_losses_that_go_their_usual_way_startle_nobody() -> None:
    random = np.random.default_rng(0)
    startle = Startle()
    steps = np.arange(4000)
    losses = 2.3 * np.exp(-steps / 500) * np.exp(0.3 * random.standard_normal(4000)) + 0.01
    jumps = [step for step, loss in enumerate(losses) if startle.by(float(loss)) and step > 50]
    assert len(jumps) <= 4


@pytest.mark.parametrize("jump", [3.0, 1e9, float("inf"), float("nan")])
def test_a_loss_that_leaves_its_course_startles(jump: float) -> None:
    random = np.random.default_rng(1)
    startle = Startle()
    for _ in range(300):
        startle.by(float(0.5 + 0.1 * random.standard_normal()))
    assert startle.by(jump)
