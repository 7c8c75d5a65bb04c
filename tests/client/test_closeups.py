"""A tensor that somebody looks at is copied nearly whole, and training is the same training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import deadband
from deadband import closeups, wire
from deadband.cells import Cell
from deadband.watching import Watch
from deadband.weights import WeightTap
from deadband.wire import What

WIDE = 600
"""More units than a slice has of a layer."""


class Post:
    """A link that keeps what is posted."""

    is_free = True
    patience_s = 0.0

    def __init__(self) -> None:
        self.closeups: list[wire.Closeup] = []

    def post(self, message: wire.ToHub) -> None:
        if isinstance(message, wire.Closeup):
            self.closeups.append(message)

    def close(self, bye: wire.Bye) -> bool:
        return False

    def hear_out(self) -> None:
        pass

    def abandon(self) -> None:
        pass


class Loop:
    """Two wide layers; keeps what a step showed."""

    def __init__(self, *, watched: bool = True, every: int = 1) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(20, WIDE), nn.Tanh(), nn.Linear(WIDE, 3))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.post = Post()
        self.watch: Watch | None = None
        if watched:
            self.watch = deadband.watch(self.model, self.optimizer, every=every, budget=None)
            self.watch._link = self.post
        self.outputs: list[Tensor] = []
        self.gradients: list[Tensor] = []

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            x = torch.randn(8, 20)
            self.optimizer.zero_grad()
            self.model(x).square().mean().backward()
            self.gradients.append(_weight(self.model).grad.clone())  # type: ignore[union-attr]
            self.optimizer.step()
            if self.watch is not None:
                self.watch.step()

    def wish(self, what: What, layer: str = "0") -> None:
        assert self.watch is not None
        self.watch._deliver(wire.CloseWish(model="model", layer=layer, what=what))


def _weight(model: nn.Sequential) -> nn.Parameter:
    weight = model[0].weight
    assert isinstance(weight, nn.Parameter)
    return weight


def values_of(closeup: wire.Closeup) -> NDArray[np.float32]:
    return np.frombuffer(closeup.values, np.float32)


@pytest.fixture
def loop() -> Any:
    made = Loop()
    yield made
    assert made.watch is not None
    made.watch.close()
    assert (made.watch._faults, made.watch._torch.capture.faults) == (0, 0)  # type: ignore[union-attr]


def test_a_weight_is_copied_whole_as_it_is_after_the_step(loop: Loop) -> None:
    loop.step(2)
    loop.wish(What.WEIGHT)
    loop.step()  # the wish is heard at its end
    loop.step()
    (closeup,) = loop.post.closeups
    assert (closeup.step, closeup.source) == (4, 20 * WIDE)
    np.testing.assert_array_equal(values_of(closeup), _weight(loop.model).detach().flatten())
    loop.step(3)
    assert len(loop.post.closeups) == 1, "asked for once"


def test_a_gradient_is_copied_as_the_optimiser_got_it(loop: Loop) -> None:
    loop.step(2)
    loop.wish(What.WEIGHT_GRAD)
    loop.step(2)
    (closeup,) = loop.post.closeups
    np.testing.assert_array_equal(values_of(closeup), loop.gradients[3].flatten())


@pytest.mark.parametrize("what", [What.ACTIVATION, What.ACTIVATION_GRAD])
def test_an_output_and_its_gradient_are_copied_whole(loop: Loop, what: What) -> None:
    seen: list[Tensor] = []

    def look(module: nn.Module, args: Any, output: Tensor) -> None:
        seen.append(output.detach().clone())
        output.register_hook(lambda gradient: seen.append(gradient.clone()))

    loop.model[0].register_forward_hook(look)
    loop.step(2)
    loop.wish(what)
    loop.step(2)
    (closeup,) = loop.post.closeups
    assert closeup.source == 8 * WIDE
    expected = seen[6 if what is What.ACTIVATION else 7]
    np.testing.assert_array_equal(values_of(closeup), expected.flatten())


def test_of_a_larger_tensor_so_many_rows_are_copied_as_there_is_room_for(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closeups, "MOST_VALUES", 20 * 100)
    loop.step(2)
    loop.wish(What.WEIGHT)
    loop.step(2)
    (closeup,) = loop.post.closeups
    assert closeup.source == 20 * WIDE
    np.testing.assert_array_equal(values_of(closeup), _weight(loop.model).detach()[::6].flatten())


@pytest.mark.parametrize("shape", [(3_000_000,), (2, 3, 5_000_000), (100_000, 64), (7, 1)])
def test_thinning_keeps_as_much_as_fits(shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape))
    kept = closeups.thinned(np.broadcast_to(np.float32(0), shape)).size
    assert min(size, closeups.MOST_VALUES) // 2 < kept <= closeups.MOST_VALUES


def test_training_with_closeups_at_every_step_is_the_same_training() -> None:
    bare = Loop(watched=False)
    bare.step(12)
    watched = Loop()
    for number in range(12):
        for what in (What.WEIGHT, What.WEIGHT_GRAD, What.ACTIVATION, What.ACTIVATION_GRAD):
            watched.wish(what, layer="02"[number % 2])
        watched.step()
    assert watched.watch is not None
    watched.watch.close()
    assert len(watched.post.closeups) > 20
    for one, other in zip(bare.model.parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_nothing_of_it_stays_behind(loop: Loop) -> None:
    loop.step(2)
    for what in (What.WEIGHT_GRAD, What.ACTIVATION, What.ACTIVATION_GRAD):
        loop.wish(what)
    loop.step(2)
    assert loop.watch is not None
    assert loop.watch._torch is not None
    entry = loop.watch._recorder.entries[0]
    assert {type(cell) for cell in entry.cells.values()} == {Cell}
    assert {type(tap) for tap in loop.watch._torch.capture.taps_of(entry)} == {WeightTap}
    assert loop.watch._closeups._wanted == []


def test_what_is_not_there_is_not_waited_for(loop: Loop) -> None:
    loop.step(2)
    loop.wish(What.ATTENTION)
    loop.wish(What.WEIGHT, layer="nowhere")
    loop.step(2)
    assert loop.post.closeups == []


def test_arrays_of_a_loop_without_torch_are_copied_as_well() -> None:
    watch = deadband.watch(None, every=1, budget=None)
    post = watch._link = Post()
    gates = [np.random.rand(64, 5000).astype(np.float32) for _ in range(4)]
    for step, gate in enumerate(gates):
        watch.observe("gate", gate)
        watch.step(loss=1.0)
        if step == 1:
            watch._deliver(wire.CloseWish(model="model", layer="gate", what=What.ACTIVATION))
    watch.close()
    (closeup,) = post.closeups
    assert closeup.step == 4 or closeup.step == 3
    np.testing.assert_array_equal(values_of(closeup), gates[closeup.step - 1].ravel())
