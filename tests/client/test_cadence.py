"""Which steps are sampled, with times and costs given by hand."""

from __future__ import annotations

import numpy as np
import pytest

import deadband
from deadband import cadence as cadence_module
from deadband.cadence import Cadence
from deadband.startle import STRETCH, Startle
from deadband.wire import LOSS_CAPACITY


@pytest.fixture(autouse=True)
def steps_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of samples alone are round ones."""
    monkeypatch.setattr(cadence_module, "STEP_S", 0.0)


def test_the_budget_pays_for_the_calls_of_step_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cadence_module, "STEP_S", 2.5e-6)

    def gap(step_s: float) -> int:
        cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
        drive(cadence, steps=6000, step_s=step_s, cost_s=2 * step_s)
        return cadence.interval

    assert gap(0.1) == 201  # 2.5 of 1000 µs
    assert gap(0.0005) == 400  # half of 5 µs
    assert gap(0.0001) == 1000  # the limit of the rate, and not of half the budget


def drive(
    cadence: Cadence,
    *,
    steps: int,
    step_s: float,
    cost_s: float,
    first: int = 1,
    stride: int = 1,
) -> list[int]:
    """Run through a loop of equal steps; the sampled ones."""
    sampled = []
    for step in range(first, first + steps):
        if step >= cadence.next_step:
            sampled.append(step)
            cadence.sampled(step, step_s + cost_s, cost_s, stride=stride)
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
    sampled = drive(cadence, steps=3 * LOSS_CAPACITY, step_s=1e-5, cost_s=1e-3)
    assert cadence.interval == LOSS_CAPACITY
    assert np.diff(sampled)[9:14].tolist() == [16, 31, 64, 127, 256]


def test_samples_do_not_keep_time_with_a_loader_that_begins_anew() -> None:
    governed = Cadence(every=None, budget=0.01, credit_s=0.0)
    gaps = np.diff(drive(governed, steps=5000, step_s=0.001, cost_s=0.0001)[20:])
    assert np.gcd.reduce(gaps) == 1
    fixed = Cadence(every=50, budget=None, credit_s=0.0)
    assert set(np.diff(drive(fixed, steps=5000, step_s=0.001, cost_s=0.0001))) == {50}


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
    sampled = drive(cadence, steps=100, step_s=0.1, cost_s=0.01, stride=0)
    assert sampled[9:12] == [10, 20, 30]


def test_while_the_hub_starts_the_credit_is_spent_more_slowly() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=1.0)
    dense = drive(cadence, steps=20, step_s=0.001, cost_s=0.001)
    assert dense == list(range(1, 21))
    assert drive(cadence, steps=20, step_s=0.001, cost_s=0.001, first=21, stride=4)[1:3] == [25, 29]


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
    sampled = drive(cadence, steps=395, step_s=0.1, cost_s=0.1)  # one step in a hundred
    assert 300 < sampled[-1] < 395
    cadence.startled(395)
    assert drive(cadence, steps=20, step_s=0.1, cost_s=0.1, first=396) == list(range(396, 406))
    cadence.startled(415)
    assert drive(cadence, steps=50, step_s=0.1, cost_s=0.1, first=416) == []


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


def test_a_watch_follows_losses_in_stretches_and_samples_the_step_behind_a_jump(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEADBAND_CREDIT_S", "0")
    random = np.random.default_rng(2)
    watch = deadband.watch(None)
    cadence = watch._cadence

    def train(steps: int, level: float) -> list[int]:
        """Steps behind which the next one is sampled."""
        armed = []
        for _ in range(steps):
            cadence.next_step = 10_000
            watch.step(loss=level + float(0.01 * random.random()))
            armed += [watch.steps] if watch._armed else []
        return armed

    train(250, 2.0)
    # The highest loss is of an older, higher course for a while: no more than a stretch.
    assert train(2 * STRETCH, 0.5) == []
    cadence.interval, cadence._calm_until, cadence._startled_until = 500, 0, 0
    watch.step(loss=1.5)
    assert watch._armed
    assert cadence.next_step == watch.steps + 1
    watch.close()


def test_ranks_sample_the_same_steps_though_each_has_its_own_times() -> None:
    paces = ((0.010, 0.0007), (0.012, 0.0011), (0.009, 0.0009))
    chosen = []
    for step_s, cost_s in paces:
        cadence = Cadence(every=None, budget=0.01, credit_s=0.0, ranks=3)
        chosen.append(drive(cadence, steps=500, step_s=step_s, cost_s=cost_s))
    late = [{step for step in sampled if step > 16} for sampled in chosen]
    rarest = min(late, key=len)
    assert rarest
    assert all(rarest <= each for each in late)


def test_with_nobody_watching_half_as_many_samples_do() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    drive(cadence, steps=500, step_s=0.001, cost_s=0.000001)
    assert (cadence.interval, cadence.pace.why, cadence.pace.rate) == (100, "rate", 10.0)
    cadence.watched = True
    drive(cadence, steps=500, step_s=0.001, cost_s=0.000001, first=501)
    assert (cadence.interval, cadence.pace.why, cadence.pace.rate) == (50, "rate", 20.0)


@pytest.mark.parametrize(
    ("step_s", "cost_s", "interval"),
    [(0.00002, 0.01, 1024), (3.0, 90.0, 200), (700.0, 7000.0, 1)],
)
def test_no_run_is_left_alone_for_longer_than_the_slowest_pace(
    step_s: float, cost_s: float, interval: int
) -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    drive(cadence, steps=1100, step_s=step_s, cost_s=cost_s)
    assert (cadence.interval, cadence.pace.why) == (interval, "slowest")


def test_the_pace_says_what_is_done_and_why() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.015)
    said = []
    for step in range(1, 60):
        if step >= cadence.next_step:
            cadence.sampled(step, 0.101, 0.001)
        else:
            cadence.passed(0.1)
        said.append(cadence.pace.why)
    assert said[8] == "first steps"
    assert said[12] == "credit"
    assert said[40] == "budget" or said[40] == "rate"
    assert cadence.pace.cost_s == pytest.approx(0.001)
    assert cadence.pace.step_s == pytest.approx(0.1)
    cadence.skipped(60)
    assert cadence.pace.why == "no room"
    assert Cadence(every=4, budget=0.01, credit_s=1.0).pace.why == "named"


def test_flags_that_flap_for_ever_cost_no_more_than_the_budget_again() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=1.0)
    step_s, cost_s, now, step = 0.1, 0.01, 0.0, 0
    for step in range(1, 20_000):
        now += step_s
        if step % 10 == 0:
            cadence.renew(None, now=now, step=step)
        if step >= cadence.next_step:
            cadence.sampled(step, step_s + cost_s, cost_s)
        else:
            cadence.passed(step_s)
    assert cadence.spent_s / (step * step_s) < 0.0225


def test_what_a_viewer_asked_for_is_sampled_and_then_no_more() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    drive(cadence, steps=200, step_s=0.1, cost_s=0.01)
    cadence.asked(30, 200)
    sampled = drive(cadence, steps=200, step_s=0.1, cost_s=0.01, first=201)
    assert sampled[:31] == [*range(201, 231), 240]
    assert np.diff(sampled[30:]).min() == 10


def test_a_wish_is_granted_where_the_cadence_was_named_and_can_be_taken_back() -> None:
    cadence = Cadence(every=50, budget=None, credit_s=0.0)
    drive(cadence, steps=100, step_s=0.1, cost_s=0.01)
    cadence.asked(1000, 100)
    assert drive(cadence, steps=5, step_s=0.1, cost_s=0.01, first=101) == [101, 102, 103, 104, 105]
    assert (cadence.pace.why, cadence.pace.until) == ("asked", 1100)
    cadence.asked(0, 105)
    drive(cadence, steps=1, step_s=0.1, cost_s=0.01, first=106)
    assert (cadence.pace.why, cadence.pace.until, cadence.interval) == ("named", 0, 50)


def test_a_wish_costs_ten_seconds_of_training_at_most() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    drive(cadence, steps=400, step_s=0.1, cost_s=0.1)
    cadence.asked(10_000, 400)
    sampled = drive(cadence, steps=400, step_s=0.1, cost_s=0.1, first=401)
    assert sampled[:100] == list(range(401, 501))
    assert sampled[101] >= 600


def loop(cadence: Cadence, *, clocked: float, unseen: float, jitter: float) -> float:
    """A loop of steps of about 1 ms; share of its time that samples took in its second half."""
    chance = np.random.default_rng(0)
    lost = trained = 0.0
    after = 0
    for step in range(1, 40_001):
        duration = 0.001 * (1 + jitter * abs(float(chance.standard_normal())))
        trained += duration * (step > 20_000)
        if chance.random() < 0.02:
            duration += 0.01  # another process has the processor for a while
        if step >= cadence.next_step:
            lost += (clocked + 1.2 * unseen) * (step > 20_000)
            after = 2
            cadence.sampled(step, duration + clocked + unseen, clocked)
        else:
            cadence.passed(duration + 0.1 * unseen * (after > 0))
            after -= 1
    return lost / trained


@pytest.mark.parametrize("jitter", [0.02, 0.3])
def test_what_the_clock_does_not_see_is_told_from_the_steps_and_kept_within_the_budget(
    jitter: float,
) -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    assert 0.009 < loop(cadence, clocked=0.002, unseen=0.002, jitter=jitter) < 0.0115


@pytest.mark.parametrize("jitter", [0.02, 0.5])
def test_noise_takes_nothing_off_the_samples(jitter: float) -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    assert 0.0075 < loop(cadence, clocked=0.002, unseen=0.0, jitter=jitter) < 0.0105


def test_steps_that_are_long_whenever_they_are_sampled_do_not_end_the_sampling() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    drive(cadence, steps=20, step_s=0.1, cost_s=0.01)
    for _ in range(100):
        step = cadence.next_step
        cadence.sampled(step, 60.0, 0.01)
        for _ in range(cadence.interval - 1):
            cadence.passed(0.1)
    assert cadence.interval == 40  # four times what the clock says


def test_where_samples_are_dense_a_gap_is_left_now_and_then_to_compare_with() -> None:
    cadence = Cadence(every=None, budget=0.01, credit_s=0.0)
    sampled = drive(cadence, steps=100, step_s=1.0, cost_s=0.001)
    gaps = np.diff(sampled)
    assert set(gaps) == {1, 8}
    assert np.flatnonzero(gaps == 8).tolist() == [41, 74]
