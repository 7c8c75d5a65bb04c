"""What the plan says of layers and models, and what frames hold of batch normalisations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from frames import Frames
from torch import Tensor, nn

import deadband
from deadband.watching import Watch
from deadband.wire import Plan, What

FramesOf = Callable[[Watch], Frames]


@pytest.mark.parametrize("kind", ["flat", "image", "frozen", "lazy"])
def test_a_batch_norm_shows_its_input_and_its_figures_before_the_forward(
    kind: str, frames_of: FramesOf
) -> None:
    flat = kind in ("flat", "lazy")
    norm: nn.Module = nn.BatchNorm1d(6) if flat else nn.BatchNorm2d(6)
    if kind == "lazy":
        norm = nn.LazyBatchNorm1d()
    first = nn.Linear(4, 6) if flat else nn.Conv2d(2, 6, 3)
    model = nn.Sequential(first, norm, nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    if kind == "frozen":
        norm.eval()
    given: list[Tensor] = []
    norm.register_forward_pre_hook(lambda module, args: given.append(args[0].detach().clone()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=2)
    expected = []
    for step in range(1, 6):
        x = torch.randn(10, 4) if flat else torch.randn(10, 2, 5, 5)
        buffers = norm._buffers
        pending = kind == "lazy" and step == 1
        means = None if pending else buffers["running_mean"].clone()  # type: ignore[union-attr]
        spreads = None if pending else buffers["running_var"].clone()  # type: ignore[union-attr]
        loss = F.cross_entropy(model(x + 3), torch.randint(0, 3, (10,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
        if step % 2:
            expected.append((given[-1], means, spreads))
    frames = frames_of(watch)
    expected = expected[-len(frames.steps) :]
    for frame, (x, mean, spread) in enumerate(expected):
        shown = frames.of(What.LAYER_INPUT, "1", frame)
        assert shown is not None
        np.testing.assert_allclose(shown, x if flat else x.flatten(2), rtol=1e-6)
        assert mean is not None
        np.testing.assert_array_equal(frames.of(What.RUNNING_MEAN, "1", frame), mean)
        np.testing.assert_array_equal(frames.of(What.RUNNING_VAR, "1", frame), spread)
    assert frames.slot(What.RUNNING_MEAN, "1").axes == "u"
    given_slot, made = frames.slot(What.LAYER_INPUT, "1"), frames.slot(What.ACTIVATION, "1")
    assert (given_slot.axes, given_slot.shape) == (made.axes, made.shape)
    assert frames.plan.layers[1].options["momentum"] == 0.1
    assert frames.of(What.LAYER_INPUT, "0") is None


@pytest.mark.parametrize("tests", [0, 1, 3])
@pytest.mark.parametrize("forgotten", [True, False])
def test_running_means_are_shown_ahead_of_forwards_that_train_nothing_in_training_mode(
    tests: int, forgotten: bool, frames_of: FramesOf
) -> None:
    norm = nn.BatchNorm1d(6)
    model = nn.Sequential(nn.Linear(4, 6), norm, nn.Linear(6, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    ahead: list[Tensor] = []
    for _ in range(4):
        ahead.clear()
        model.train(forgotten)
        for _ in range(tests):
            ahead.append(norm._buffers["running_mean"].clone())  # type: ignore[union-attr]
            with torch.no_grad():
                model(torch.randn(5, 4) + 2)
        model.train()
        loss = F.cross_entropy(model(torch.randn(10, 4)), torch.randint(0, 3, (10,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    frames = frames_of(watch)
    for place, what in enumerate((What.TESTED_MEAN, What.TESTED_NEXT)):
        shown = frames.of(what, "1")
        if forgotten and tests > place:
            np.testing.assert_array_equal(frames.held(what, "1"), ahead[place])
        else:
            assert shown is None


def test_a_norm_without_running_figures_shows_none(frames_of: FramesOf) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, track_running_stats=False))
    watch = deadband.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), every=1)
    model(torch.randn(8, 4)).sum().backward()
    watch.step()
    assert frames_of(watch).of(What.LAYER_INPUT, "1") is None


def test_layers_and_model_tell_what_they_were_made_with(frames_of: FramesOf) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 8)
            self.act = nn.LeakyReLU(0.2)
            self.attend = nn.MultiheadAttention(8, 2, dropout=0.4, batch_first=True)
            self.drop, self.more = nn.Dropout(0.1), nn.Dropout(0.6)

        def forward(self, x: Tensor) -> Tensor:
            x = self.drop(self.act(self.first(x)))
            attended: Tensor = self.more(self.attend(x, x, x)[0])
            return attended

    model = Net()
    watch = deadband.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), every=1)
    model(torch.randn(2, 3, 4)).sum().backward()
    watch.step()
    plan = frames_of(watch).plan
    options = {layer.name: layer.options for layer in plan.layers}
    assert options["act"]["negative_slope"] == 0.2
    assert (options["attend"]["num_heads"], options["attend"]["dropout"]) == (2, 0.4)
    assert plan.models[0].dropout == 0.6


def test_dropout_that_is_called_as_a_function_is_told(frames_of: FramesOf) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.share = nn.Linear(4, 8), nn.Linear(8, 2), 0.3

        def forward(self, x: Tensor) -> Tensor:
            x = F.dropout(self.first(x).relu(), self.share, training=self.training)
            x = F.dropout(x, p=0.99, training=False)
            out: Tensor = self.second(x)
            return out

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for model.share, told in ((0.3, 0.3), (0.9, 0.9), (0.2, 0.2)):
        model(torch.randn(4, 4)).sum().backward()
        optimizer.step()
        watch.step()
        plan = frames_of(watch).plan
        assert plan.models[0].dropout == told
        assert "relu" in "".join(layer.name for layer in plan.layers)
        assert not any("dropout" in layer.name for layer in plan.layers)


def test_a_run_is_told_of_dropout_and_weight_decay_that_change(frames_of: FramesOf) -> None:
    dropout = nn.Dropout(0.1)
    model = nn.Sequential(nn.Linear(4, 8), dropout, nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-4)
    watch = deadband.watch(model, optimizer, every=1)

    def plan() -> Plan:
        model(torch.randn(4, 4)).sum().backward()
        optimizer.step()
        watch.step()
        return frames_of(watch).plan

    _, _, first = plan(), plan(), plan()
    optimizer.param_groups[0]["weight_decay"] = 1.5e-4
    dropout.p = 0.15
    assert plan() is first  # a schedule goes by small steps
    optimizer.param_groups[0]["weight_decay"] = 1.0
    second = plan()
    assert (second.id, second.optimizers[0].weight_decay) == (first.id + 1, 1.0)
    dropout.p = 0.9
    third = plan()
    assert (third.id, third.models[0].dropout) == (second.id + 1, 0.9)
    assert plan() is third
    for step in range(20):  # on and off for ever
        dropout.p = 0.9 * (step % 2)
        last = plan()
    assert last.id < third.id + 10
    assert plan() is last


@pytest.mark.parametrize("calls", [1, 4])
def test_training_forwards_of_a_step_are_counted(calls: int, frames_of: FramesOf) -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(6):
        for _ in range(calls):
            F.cross_entropy(model(torch.randn(9, 4)), torch.randint(0, 3, (9,))).backward()
        optimizer.step()
        optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            model(torch.randn(9, 4))
        model.train()
        watch.step()
    frames = frames_of(watch)
    assert frames.plan.models[0].calls == calls
    assert frames.plan.id == 1


class Pair(nn.Module):
    """Compares two pictures; says how sure it is where it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(
        self, first: Tensor, second: dict[str, Tensor] | None = None, **options: object
    ) -> Tensor:
        other = first if second is None else next(iter(second.values()))
        out: Tensor = self.head(torch.cat([first, other], 1))
        return out


@pytest.mark.parametrize(
    ("further", "options", "inputs"),
    [
        ((), {}, 1),
        (({"other": torch.ones(9, 4)},), {}, 2),
        ((), {"second": {"other": torch.ones(9, 4)}}, 2),
        ((), {"padding_mask": torch.ones(9, 4), "labels": torch.ones(9), "scale": 2.0}, 1),
        ((), {"keep": torch.ones(9, dtype=torch.bool), "step": torch.tensor(3)}, 1),
    ],
)
def test_tensors_that_the_answer_may_depend_on_are_counted(
    further: tuple[object, ...], options: dict[str, object], inputs: int, frames_of: FramesOf
) -> None:
    model = Pair()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(4):
        out = model(torch.randn(9, 4), *further, **options)
        F.cross_entropy(out, torch.randint(0, 3, (9,))).backward()
        optimizer.step()
        optimizer.zero_grad()
        watch.step()
    frames = frames_of(watch)
    assert frames.plan.models[0].inputs == inputs
    assert frames.plan.id == 1
