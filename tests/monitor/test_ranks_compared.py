"""Ranks beside each other, on hand-made frames: who is called different, and who is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from deadband.wire import (
    LOSS_CAPACITY,
    Flag,
    FrameHeader,
    Layer,
    Model,
    OptimizerGroup,
    Plan,
    Slot,
    What,
)
from deadband_monitor.ranks.behind import MUTE_S, Behind, Standing
from deadband_monitor.ranks.comparison import Comparison
from deadband_monitor.statistics.values import RawFrame

LAYERS = ("embed", "body", "head")
WIDTH = 16
Arrays = dict[tuple[What, str], NDArray[np.float32]]


@dataclass
class Replica:
    """One rank as a scene has it: its weights, its data, its loss."""

    rank: int
    rows: int = 24
    shards: int = 1
    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    before: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    scale: float = 1.0
    shift: float = 0.0
    constant: bool = False
    loss: float = float("nan")
    bad_loss: bool = False
    arrays: Arrays = field(default_factory=dict)
    """What is to stand in the frame instead."""


class Scene:
    """Ranks that train: `step` moves all weights by one averaged gradient."""

    def __init__(self, count: int, *, seed: int = 0, **about: object) -> None:
        self.random = np.random.default_rng(seed)
        start = {layer: self.normal(WIDTH, WIDTH) for layer in LAYERS}
        self.ranks = [
            Replica(rank, weights={k: v.copy() for k, v in start.items()}, **about)  # type: ignore[arg-type]
            for rank in range(count)
        ]
        self.step_now = 0
        self.averages = True
        self.comparison = Comparison()
        self.comparison.expect(count)
        self.flags: dict[int, Flag] = {}
        self.plans = 0
        self.adopt()

    def normal(self, *shape: int) -> NDArray[np.float32]:
        return self.random.normal(size=shape).astype(np.float32)

    def adopt(self) -> None:
        self.plans += 1
        self.plan = {each.rank: plan(each, self.plans) for each in self.ranks}
        for each in self.ranks:
            self.comparison.adopt(each.rank, self.plan[each.rank])

    def run(self, steps: int, during: Callable[[Scene], None] = lambda _: None) -> Scene:
        for _ in range(steps):
            self.step_now += 1
            during(self)
            self.take_step()
        return self

    def take_step(self) -> None:
        common = {layer: self.normal(WIDTH, WIDTH) for layer in LAYERS}
        usual = 2.0 * 0.99**self.step_now
        for each in self.ranks:
            grads = common
            if not self.averages or each.shards > 1:
                grads = {layer: self.normal(WIDTH, WIDTH) for layer in LAYERS}
            before = {layer: weight.copy() for layer, weight in each.weights.items()}
            for layer in LAYERS:
                each.weights[layer] = (before[layer] - 0.01 * grads[layer]).astype(np.float32)
            self.show(each, before, grads, usual * (1 + 0.1 * self.random.normal()))
        for _, flag in self.comparison.compare():
            self.flags[flag.id] = flag

    def show(self, each: Replica, before: object, grads: object, usual: float) -> None:
        assert isinstance(before, dict)
        assert isinstance(grads, dict)
        rows = self.normal(each.rows, WIDTH) * each.scale + each.shift
        arrays: Arrays = {(What.INPUT, ""): np.ones_like(rows) if each.constant else rows}
        for layer in LAYERS:
            arrays[What.WEIGHT_BEFORE, layer] = before[layer]
            arrays[What.WEIGHT, layer] = each.weights[layer]
            arrays[What.WEIGHT_GRAD, layer] = grads[layer]
            arrays[What.ACTIVATION, layer] = self.normal(each.rows, WIDTH)
        arrays[What.OUTPUT, ""] = self.normal(each.rows, WIDTH)
        arrays |= each.arrays
        own = self.plan[each.rank]
        payload = np.zeros(own.payload_bytes // 4, np.float32)
        payload[0] = np.nan if each.bad_loss else usual if np.isnan(each.loss) else each.loss
        for slot in own.slots[1:]:
            name = "" if slot.what in (What.INPUT, What.OUTPUT) else LAYERS[slot.index]
            payload[slot.offset : slot.offset + np.prod(slot.shape)] = arrays[
                slot.what, name
            ].ravel()
        header = FrameHeader(
            plan=own.id, step=self.step_now, time=0.0, present=b"\1" * len(own.slots),
            loss_first_step=self.step_now, loss_count=1, loss_given=b"\1",
        )  # fmt: skip
        self.comparison.gather(each.rank, [RawFrame(header, payload)])

    @property
    def only(self) -> Flag:
        (flag,) = self.flags.values()
        return flag


def plan(of: Replica, number: int) -> Plan:
    shapes: list[tuple[What, int, tuple[int, ...]]] = [(What.LOSS, 0, (LOSS_CAPACITY,))]
    shapes += [(What.INPUT, 0, (of.rows, WIDTH)), (What.OUTPUT, 0, (of.rows, WIDTH))]
    for index in range(len(LAYERS)):
        for what in (What.WEIGHT_BEFORE, What.WEIGHT, What.WEIGHT_GRAD):
            shapes.append((what, index, (WIDTH, WIDTH)))
        shapes.append((What.ACTIVATION, index, (of.rows, WIDTH)))
    slots, offset = [], 0
    for what, index, shape in shapes:
        slots.append(Slot(what=what, index=index, offset=offset, shape=shape))
        offset += int(np.prod(shape))
    return Plan(
        id=number,
        layers=tuple(Layer(name=name, model="model", kind="Linear") for name in LAYERS),
        models=(Model(name="model", kind="Net", parameters=9, trainable=9, shards=of.shards),),
        optimizers=(OptimizerGroup(optimizer="SGD", lr=0.01),),
        slots=tuple(slots),
        payload_bytes=4 * offset,
    )


# --- healthy ---


@pytest.mark.parametrize("count", [2, 3, 8])
def test_replicas_on_different_data_are_alike(count: int) -> None:
    scene = Scene(count).run(200)
    assert scene.flags == {}
    assert scene.comparison.coverage().state == "armed"
    assert scene.comparison.coverage().reason == ""


def test_shards_of_weights_may_differ() -> None:
    scene = Scene(4, shards=4)
    for each in scene.ranks:
        each.weights = {layer: scene.normal(WIDTH, WIDTH) for layer in LAYERS}
    assert scene.run(60).flags == {}


def test_stages_and_tensor_parallel_parts_that_start_alike_may_part() -> None:
    scene = Scene(4)
    scene.averages = False
    assert scene.run(60).flags == {}, "equal first weights make no replicas"
    assert "weights are not the same" in scene.comparison.coverage().reason


def test_batches_of_other_sizes_are_compared_and_alike() -> None:
    scene = Scene(3)
    for each in scene.ranks:
        each.rows = 8 + 8 * each.rank
    scene.adopt()
    assert scene.run(100).flags == {}


def test_a_harder_domain_on_one_rank_is_no_bad_shard() -> None:
    scene = Scene(4)

    def harder(now: Scene) -> None:
        now.ranks[2].loss = 1.45 * 2.0 * 0.99**now.step_now
        now.ranks[2].scale = 1.6

    assert scene.run(100, harder).flags == {}


def test_one_odd_batch_is_no_bad_shard() -> None:
    def odd(now: Scene) -> None:
        now.ranks[1].scale = 100.0 if now.step_now % 10 < 2 else 1.0

    assert Scene(3).run(100, odd).flags == {}


def test_an_expert_without_tokens_on_one_rank_is_no_bad_shard() -> None:
    scene = Scene(3)
    scene.ranks[1].arrays[What.ACTIVATION, "body"] = np.zeros((24, WIDTH), np.float32)
    assert scene.run(40).flags == {}


def test_minus_infinity_in_a_mask_inside_the_network_is_no_harm() -> None:
    scene = Scene(3)
    for slot in ((What.ACTIVATION, "body"), (What.OUTPUT, "")):
        scene.ranks[1].arrays[slot] = np.full((24, WIDTH), -np.inf, np.float32)
    assert scene.run(40).flags == {}


# --- weights ---


def test_the_rank_that_left_the_others_is_named() -> None:
    def leave(now: Scene) -> None:
        if now.step_now == 30:
            now.ranks[2].weights["body"] = now.ranks[2].weights["body"] * np.float32(1.1)

    flag = Scene(4).run(40, leave).only
    assert (flag.ranks, flag.onset_step, flag.raised_step) == ([2], 30, 31)
    assert (flag.severity, flag.layer) == ("critical", "body")
    assert "not by the optimiser" in flag.message


def test_when_the_first_rank_left_it_is_named_and_not_the_others() -> None:
    def leave(now: Scene) -> None:
        if now.step_now == 30:
            now.ranks[0].weights["head"] += 1

    assert Scene(3).run(40, leave).only.ranks == [0]


def test_of_two_ranks_the_one_that_was_changed_is_known_by_its_own_past() -> None:
    def change(now: Scene) -> None:
        if now.step_now == 30:
            now.ranks[1].weights["head"][0, 0] += 1

    assert Scene(2).run(40, change).only.ranks == [1]


def test_two_ranks_that_part_by_their_updates_cannot_say_which_is_right() -> None:
    def part(now: Scene) -> None:
        if now.step_now > 30:  # as a step that only one optimiser took
            now.ranks[1].before = {}
            now.averages = False

    flag = Scene(2).run(40, part).only
    assert flag.ranks == [0, 1]
    assert "cannot say" in flag.message
    assert "gradients differ as well" in flag.message


def test_weights_loaded_on_one_rank_only_are_found_by_the_shared_gradient() -> None:
    scene = Scene(3)
    scene.ranks[1].weights = {layer: scene.normal(WIDTH, WIDTH) for layer in LAYERS}
    flag = scene.run(20).only
    assert (flag.ranks, flag.onset_step) == ([1], 1)
    assert flag.raised_step <= 6
    assert "still averaged" in flag.message


def test_gradients_that_are_averaged_no_more_are_told_of_all_ranks() -> None:
    def stop(now: Scene) -> None:
        now.averages = now.step_now < 30

    flag = Scene(4).run(40, stop).only
    assert (flag.ranks, flag.severity, flag.onset_step) == ([0, 1, 2, 3], "warning", 31)
    assert "not averaged any more" in flag.message


def test_ranks_that_average_their_weights_now_and_then_are_told_once_at_most() -> None:
    def local(now: Scene) -> None:
        now.averages = now.step_now < 20
        if now.step_now >= 20 and now.step_now % 8 == 0:
            for layer in LAYERS:
                mean = np.mean([each.weights[layer] for each in now.ranks], axis=0)
                for each in now.ranks:
                    each.weights[layer] = mean.astype(np.float32)

    flag = Scene(4).run(120, local).only
    assert flag.resolved_step is not None


# --- numbers that are not finite ---


def test_the_rank_whose_inputs_broke_first_is_named() -> None:
    def spoil(now: Scene) -> None:
        if now.step_now == 30:
            now.ranks[2].arrays[What.INPUT, ""] = np.full((24, WIDTH), np.nan, np.float32)
            now.ranks[2].bad_loss = True
        elif now.step_now > 30:
            for each in now.ranks:
                each.arrays[What.OUTPUT, ""] = np.full((24, WIDTH), np.nan, np.float32)

    scene = Scene(4).run(40, spoil)
    flag = scene.only
    assert (flag.ranks, flag.severity, flag.onset_step, flag.raised_step) == (
        [2], "critical", 30, 30,
    )  # fmt: skip
    assert flag.resolved_step is None
    (cause,) = scene.comparison.causes()
    assert (cause.cause, cause.rank) == ("bad-data", 2)


def test_between_samples_the_losses_tell_who_was_first() -> None:
    scene = Scene(2).run(10)
    for each in scene.ranks:
        each.bad_loss = True
    show, first = scene.show, scene.step_now + 1

    def later(each: Replica, before: object, grads: object, usual: float) -> None:
        scene.step_now = first + (each.rank == 0)
        show(each, before, grads, usual)

    headers = []
    gather = scene.comparison.gather

    def same_sample(rank: int, frames: list[RawFrame]) -> None:
        import msgspec

        (frame,) = frames
        headers.append(frame.header)
        header = msgspec.structs.replace(frame.header, step=first + 5)
        gather(rank, [RawFrame(header, frame.payload)])

    scene.show, scene.comparison.gather = later, same_sample  # type: ignore[method-assign, assignment]
    scene.take_step()
    assert (scene.only.ranks, scene.only.onset_step) == ([1], first)
    assert scene.comparison.causes() == []


def test_what_all_ranks_show_at_once_is_nobodys() -> None:
    scene = Scene(3).run(10)
    for each in scene.ranks:
        each.bad_loss = True
    assert scene.run(5).flags == {}


# --- data ---


def bad_from(step: int, rank: int, **change: object) -> Callable[[Scene], None]:
    def spoil(now: Scene) -> None:
        if now.step_now == step:
            for name, value in change.items():
                setattr(now.ranks[rank], name, value)

    return spoil


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize(
    "change", [{"scale": 30.0}, {"scale": 0.02}, {"shift": 4.0}, {"constant": True}]
)
def test_inputs_far_from_the_others_are_a_bad_shard(change: dict[str, object], count: int) -> None:
    scene = Scene(count).run(60, bad_from(40, 1, **change))
    flag = scene.only
    assert (flag.ranks, flag.onset_step, flag.severity) == ([1], 40, "warning")
    assert flag.raised_step <= 44
    (cause,) = scene.comparison.causes()
    assert (cause.cause, cause.rank, cause.onset_step) == ("bad-data", 1, 40)


def test_a_shard_that_is_bad_from_the_start_is_found() -> None:
    flag = Scene(3).run(30, bad_from(1, 2, scale=30.0)).only
    assert flag.ranks == [2]
    assert flag.raised_step <= 20


def test_two_ranks_that_differ_from_the_start_cannot_say_which() -> None:
    flag = Scene(2).run(30, bad_from(1, 1, scale=30.0)).only
    assert flag.ranks == [0, 1]
    assert "cannot say" in flag.message


def test_a_loss_that_does_not_fall_on_one_rank_is_its_shard() -> None:
    flag = Scene(4).run(200, bad_from(60, 3, loss=2.5)).only
    assert flag.ranks == [3]
    assert "loss 2.5" in flag.message


def test_a_bad_shard_that_is_mended_is_told_as_over() -> None:
    def spoil(now: Scene) -> None:
        now.ranks[1].scale = 30.0 if 40 <= now.step_now < 60 else 1.0

    flag = Scene(3).run(80, spoil).only
    assert flag.resolved_step is not None
    assert 60 <= flag.resolved_step <= 64


def test_a_rank_whose_first_word_comes_late_is_waited_for() -> None:
    scene = Scene(2)
    late: list[tuple[int, list[RawFrame]]] = []
    gather = scene.comparison.gather

    def slow(rank: int, frames: list[RawFrame]) -> None:
        if rank == 1:
            late.append((rank, frames))
        else:
            gather(rank, frames)

    scene.comparison.gather = slow  # type: ignore[method-assign, assignment]
    scene.run(60, bad_from(40, 1, scale=30.0))
    assert scene.flags == {}
    for rank, frames in late:
        gather(rank, frames)
    (_, flag), *_ = scene.comparison.compare()
    assert (flag.ranks, flag.onset_step) == ([1], 40)


# --- time ---


def standings(*steps: int, mute: tuple[int, ...] = (), mute_s: float = 40.0) -> Iterator[Standing]:
    for rank, step in enumerate(steps):
        yield Standing(rank=rank, step=step, mute_s=mute_s if rank in mute else 0.5)


def test_a_process_that_says_nothing_while_others_do_has_stopped() -> None:
    behind = Behind()
    for second in range(40):  # the last beat of a rank is up to a second old
        said = list(standings(500 + 20, 499, 500 + 20, mute=(1,), mute_s=float(second)))
        found = behind.judge(100.0 + second, said)
        assert (found is None) == (second <= MUTE_S)
    assert found is not None
    assert (found.ranks, found.onset_step) == ((1,), 499)
    assert "the others wait for it" in found.message


def test_those_who_go_on_without_the_one_that_stopped_are_told_of() -> None:
    behind = Behind()
    found = None
    for second in range(40):
        step = 500 + 3 * second
        said = list(standings(step, 499, step, mute=(1,), mute_s=float(second)))
        found = behind.judge(100.0 + second, said)
    assert found is not None
    assert "the others go on" in found.message


def test_a_host_that_sleeps_is_not_a_rank_that_stopped() -> None:
    assert Behind().judge(100.0, list(standings(5, 5, mute=(0, 1)))) is None


def test_a_pause_of_all_ranks_is_not_called() -> None:
    behind = Behind()
    for second in range(300):
        step = 1000 + (second * 10 if second < 100 else 1000)
        assert behind.judge(float(second), list(standings(step, step, step - 7))) is None


def test_a_rank_whose_data_has_run_out_is_a_note_and_no_alarm() -> None:
    behind = Behind()
    found = None
    for second in range(80):
        step = second * 10
        found = behind.judge(float(second), list(standings(step, min(step, 5), step)))
    assert found is not None
    assert (found.ranks, found.severity) == ((1,), "info")


def test_a_rank_at_half_the_pace_falls_behind() -> None:
    behind = Behind()
    found = None
    for second in range(80):
        step = second * 10
        found = behind.judge(float(second), list(standings(step, step // 4, step)))
    assert found is not None
    assert found.ranks == (1,)
    assert "falls behind" in found.message
