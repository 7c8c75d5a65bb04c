"""What lies in a frame is what a plain slow look at the tensors shows."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from frames import Frames, grad_of, linear_of
from torch import Tensor, nn

import deadband
from deadband.roots import Root
from deadband.watching import Watch
from deadband.wire import What

FramesOf = Callable[[Watch], Frames]


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 40), nn.Tanh(), nn.Linear(40, 3))


def batch(rows: int = 20, width: int = 8, classes: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, width), torch.randint(0, classes, (rows,))


def learn(
    model: nn.Module, optimizer: torch.optim.Optimizer, watch: Watch, x: Tensor, y: Tensor
) -> None:
    """One step of the usual loop."""
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    watch.step()


def point(step: int, loss: Tensor) -> tuple[int, object]:
    """A loss as the frames should have it, but for rounding."""
    return step, pytest.approx(loss.item())


def test_the_first_step_is_captured_whole_though_nothing_was_known_before(
    frames_of: FramesOf,
) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = [each.detach().clone() for each in model.parameters()]
    watch = deadband.watch(model, optimizer, every=1)
    x, y = batch()
    output = model(x)
    output.retain_grad()
    loss = F.cross_entropy(output, y)
    loss.backward()
    optimizer.step()
    watch.step(loss=loss)
    frames = frames_of(watch)
    assert frames.steps == [1]
    assert frames.layers == ["0", "1", "2"]
    with torch.no_grad():
        hidden = x @ before[0].T + before[1]
        activation = hidden.tanh()
    check = np.testing.assert_allclose
    check(frames.held(What.INPUT, "model"), x)
    check(frames.held(What.OUTPUT, "model"), output.detach(), rtol=1e-6)
    check(frames.held(What.OUTPUT_GRAD, "model"), output.grad, rtol=1e-6)
    check(frames.held(What.ACTIVATION, "0"), hidden, rtol=1e-4, atol=1e-6)
    check(frames.held(What.ACTIVATION, "1"), activation, rtol=1e-4, atol=1e-6)
    assert output.grad is not None
    into_tanh = output.grad @ before[2]
    check(frames.held(What.ACTIVATION_GRAD, "1"), into_tanh, rtol=1e-4, atol=1e-7)
    check(
        frames.held(What.ACTIVATION_GRAD, "0"),
        into_tanh * (1 - activation**2),
        rtol=1e-4,
        atol=1e-7,
    )
    check(frames.held(What.WEIGHT_BEFORE, "0"), before[0])
    check(frames.held(What.WEIGHT, "0"), linear_of(model[0]).weight.detach())
    check(frames.held(What.WEIGHT_GRAD, "0"), grad_of(linear_of(model[0]).weight))
    check(frames.held(What.BIAS, "2"), linear_of(model[2]).bias.detach())
    assert frames.losses() == [point(1, loss)]
    assert frames.plan.models[0].loss == "cross_entropy"
    assert frames.plan.optimizers[0].lr == 0.1
    assert frames.headers[0].scalars["lr"] == [(1, 0.1)]
    linear = frames.plan.layers[0]
    assert (linear.kind, linear.fan_in, linear.units, linear.parameters) == ("Linear", 8, 40, 360)
    assert frames.plan.layers[1].activation == "tanh"


def test_later_frames_hold_their_own_step(frames_of: FramesOf) -> None:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    watch = deadband.watch(model, optimizer, every=1)
    weights = [linear_of(model[2]).weight.detach().clone()]
    for _ in range(4):
        x, y = batch()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        weights.append(linear_of(model[2]).weight.detach().clone())
        optimizer.zero_grad()  # gradients are gone before `step` is called
        watch.step(loss=loss)
    frames = frames_of(watch)
    assert frames.steps == [1, 2, 3, 4]
    for frame in range(4):
        np.testing.assert_array_equal(frames.of(What.WEIGHT_BEFORE, "2", frame), weights[frame])
        np.testing.assert_array_equal(frames.of(What.WEIGHT, "2", frame), weights[frame + 1])
        gradient = frames.of(What.WEIGHT_GRAD, "2", frame)
        assert gradient is not None
        assert np.abs(gradient).max() > 0


def test_losses_of_unsampled_steps_come_with_the_next_frame(frames_of: FramesOf) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=3)
    expected = []
    for step in range(1, 8):
        x, y = batch()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        watch.step(loss=loss, temperature=step / 2)
        expected.append(point(step, loss))
    frames = frames_of(watch)
    assert frames.steps == [1, 4, 7]
    assert frames.losses() == expected
    assert frames.headers[1].scalars["temperature"] == [(2, 1.0), (3, 1.5), (4, 2.0)]


def test_losses_after_the_last_sample_come_at_the_end(frames_of: FramesOf) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=5)
    for _ in range(8):
        x, y = batch()
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    watch.close()
    frames = frames_of(watch)
    assert frames.steps == [1, 6, 8]
    assert [step for step, _ in frames.losses()] == list(range(1, 9))
    assert frames.losses()[-1] == point(8, loss)
    assert not any(frames.headers[-1].present[1:])


class Functional(nn.Module):
    """Activations as functions, a reused module, an in-place one, and tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.first(x))
        x = self.act(self.second(x))
        x = self.act(self.second(x))
        x = torch.sigmoid(x)
        result: Tensor = self.head(x).tanh()
        return result


def test_functions_reused_modules_and_in_place_activations_are_seen(frames_of: FramesOf) -> None:
    model = Functional()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(3):
        x, y = batch()
        with torch.no_grad():
            first = F.gelu(F.linear(x, model.first.weight, model.first.bias))
            second = F.linear(first, model.second.weight, model.second.bias)
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        watch.step()
    frames = frames_of(watch)
    assert frames.layers == [
        "first",
        "first:gelu",
        "second",
        "act",
        "second@act",
        "act@second",
        "act@second:sigmoid",
        "head",
        "head:tanh",
    ]
    assert [layer.activation for layer in frames.plan.layers if layer.activation] == [
        "gelu",
        "relu",
        "relu",
        "sigmoid",
        "tanh",
    ]
    check = np.testing.assert_allclose
    check(frames.held(What.ACTIVATION, "first:gelu"), first, rtol=1e-5, atol=1e-6)
    # Copied before the in-place ReLU overwrote it.
    check(frames.held(What.ACTIVATION, "second"), second, rtol=1e-5, atol=1e-6)
    check(frames.held(What.ACTIVATION, "act"), second.relu(), rtol=1e-5, atol=1e-6)
    assert frames.plan.id == 1
    assert frames.of(What.WEIGHT_GRAD, "first") is not None


def test_gradients_of_micro_batches_are_those_the_optimiser_sees(frames_of: FramesOf) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    first = None
    for _ in range(2):
        for number in range(3):
            x, y = batch()
            if number == 0:
                first = x
            (F.cross_entropy(model(x), y) / 3).backward()
        whole = grad_of(linear_of(model[0]).weight).clone()
        optimizer.step()
        optimizer.zero_grad()
        watch.step()
    frames = frames_of(watch)
    assert frames.steps == [1, 2]
    np.testing.assert_allclose(frames.held(What.WEIGHT_GRAD, "0"), whole)
    assert first is not None
    np.testing.assert_allclose(frames.held(What.INPUT, "model"), first)


@pytest.mark.parametrize("acts", [lambda step: 1, lambda step: step % 3, lambda step: 9])
def test_a_forward_that_an_agent_acts_by_is_none_to_copy(
    acts: Callable[[int], int], frames_of: FramesOf
) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    shown = {}
    for step in range(1, 31):
        for _ in range(acts(step)):
            model(torch.full((1, 8), 7.0)).argmax()
        x, y = batch()
        learn(model, optimizer, watch, x, y)
        shown[step] = x
    frames = frames_of(watch)
    for step in range(20, 31):
        frame = frames.steps.index(step)
        np.testing.assert_allclose(frames.held(What.INPUT, "model", frame), shown[step])
        assert frames.of(What.OUTPUT_GRAD, "model", frame) is not None


@pytest.mark.parametrize(("asked", "acts"), [(1, True), (20, False), (0, False)])
def test_a_model_that_is_asked_about_few_rows_without_gradients_is_an_agent(
    asked: int, acts: bool, frames_of: FramesOf
) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(3):
        if asked:
            with torch.no_grad():
                model(torch.ones(asked, 8))
        learn(model, optimizer, watch, *batch())
    assert frames_of(watch).plan.models[0].acts is acts


def test_what_the_loss_was_given_is_told_anew_where_batches_stay_smaller(
    frames_of: FramesOf,
) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for rows in [20] * 5 + [3] * 8:
        x, y = batch()
        learn(model, optimizer, watch, x[:rows], y[:rows])
    assert frames_of(watch).plan.models[0].loss_target == (3,)


def test_of_forwards_of_one_shape_the_one_that_trains_is_copied(frames_of: FramesOf) -> None:
    """What comes next is valued before what is."""
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    shown = {}
    for step in range(1, 13):
        x, y = batch()
        model(batch()[0])
        learn(model, optimizer, watch, x, y)
        shown[step] = x
    frames = frames_of(watch)
    for step in range(5, 13):
        frame = frames.steps.index(step)
        np.testing.assert_allclose(frames.held(What.INPUT, "model", frame), shown[step])


def test_a_step_without_acting_forwards_is_copied_again(frames_of: FramesOf) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for step in range(1, 31):
        if step < 10:
            model(batch()[0])
        learn(model, optimizer, watch, *batch())
    frames = frames_of(watch)
    here = [frames.of(What.OUTPUT_GRAD, "model", k) is not None for k in range(len(frames.steps))]
    assert all(here[-20:])


def test_evaluation_between_steps_is_not_taken_for_training(frames_of: FramesOf) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(2):
        model.eval()
        with torch.no_grad():
            model(torch.full((20, 8), 7.0))
        model(torch.full((20, 8), 8.0))
        model.train()
        with torch.no_grad():
            model(torch.full((20, 8), 9.0))
        x, y = batch()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        watch.step()
        np.testing.assert_allclose(frames_of(watch).held(What.INPUT, "model"), x)


def test_a_smaller_last_batch_leaves_its_slots_out_and_keeps_the_plan(
    frames_of: FramesOf,
) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for rows in (64, 64, 5, 64, 64, 5, 64, 5, 64, 40):
        learn(model, optimizer, watch, *batch(rows))
    frames = frames_of(watch)
    assert frames.plan.id == 1
    assert frames.of(What.ACTIVATION, "0", 2) is None
    assert frames.of(What.WEIGHT_GRAD, "0", 2) is not None
    np.testing.assert_allclose(
        frames.held(What.INPUT, "model", 8), frames.held(What.INPUT, "model", 8)
    )
    assert frames.of(What.ACTIVATION, "0", 9) is not None


def test_a_trial_batch_of_two_rows_does_not_cut_all_that_follow(frames_of: FramesOf) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    plans = set()
    for rows in (2, 20, 24, 20, 24, 30):
        learn(model, optimizer, watch, *batch(rows))
        plans.add(frames_of(watch).plan.id)
    frames = frames_of(watch)
    assert frames.held(What.INPUT, "model").shape == (20, 8)  # not cut for each larger one
    assert frames.held(What.ACTIVATION, "0").shape[0] == 20
    assert len(plans) <= 2


def test_a_layer_that_comes_later_makes_a_new_plan(frames_of: FramesOf) -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(8, 3)
            self.b = nn.Linear(3, 3)
            self.wide = False

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            return self.b(x).relu() if self.wide else x

    model = Late()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for step in range(4):
        model.wide = step >= 2
        x, y = batch()
        learn(model, optimizer, watch, x, y)
    frames = frames_of(watch)
    assert frames.plan.id == 2
    assert frames.steps == [3, 4]
    assert frames.layers == ["a", "b", "b:relu"]
    assert frames.of(What.ACTIVATION, "b:relu", 0) is not None


def test_conv_layers_give_channels_and_pixels_of_the_middle(frames_of: FramesOf) -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(6 * 24 * 24, 3),
    )
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch leaves it out
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    x = torch.randn(5, 2, 24, 24).to(memory_format=torch.channels_last)
    with torch.no_grad():
        conv = model[0](x)
    F.cross_entropy(model(x), torch.tensor([0, 1, 2, 0, 1])).backward()
    optimizer.step()
    watch.step()
    frames = frames_of(watch)
    assert frames.layers == ["0", "1", "2", "5"]
    slot = frames.slot(What.ACTIVATION, "0")
    assert (slot.shape, slot.axes, slot.source) == ((5, 6, 16), "nup", (5, 6, 24, 24))
    np.testing.assert_allclose(
        frames.held(What.ACTIVATION, "0"), conv[:, :, 11, 4:20], rtol=1e-4, atol=1e-6
    )
    assert frames.slot(What.WEIGHT, "0").shape == (6, 18)
    first = model[0]
    assert isinstance(first, nn.Conv2d)
    np.testing.assert_allclose(frames.held(What.WEIGHT, "0"), first.weight.detach().flatten(1))
    assert frames.plan.layers[0].fan_in == 18


def test_recurrent_layers_put_samples_first(frames_of: FramesOf) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 6)
            self.head = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            out, _ = self.lstm(x)
            result: Tensor = self.head(out[-1])
            return result

    model = Recurrent()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    x = torch.randn(16, 7, 4)  # time, batch, features
    with torch.no_grad():
        out, _ = model.lstm(x)
    F.cross_entropy(model(x), torch.randint(0, 3, (7,))).backward()
    optimizer.step()
    watch.step()
    frames = frames_of(watch)
    slot = frames.slot(What.ACTIVATION, "lstm")
    assert (slot.shape, slot.axes) == ((7, 4, 6), "npu")
    np.testing.assert_allclose(
        frames.held(What.ACTIVATION, "lstm"),
        out[[1, 5, 9, 13]].transpose(0, 1),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_transformer_layer_shows_its_parts(frames_of: FramesOf) -> None:
    model = nn.Sequential(
        nn.Embedding(11, 16),
        nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0),
        nn.Linear(16, 11),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    tokens = torch.randint(0, 11, (6, 8))
    F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
    optimizer.step()
    watch.step()
    frames = frames_of(watch)
    assert frames.layers == [
        "0",
        "1.self_attn",
        "1.self_attn.out_proj.weight",
        "1.norm1",
        "1.linear1",
        "1.linear1:relu",
        "1.linear2",
        "1.norm2",
        "2",
    ]
    assert frames.slot(What.INPUT, "model").dtype == "int64"
    np.testing.assert_array_equal(frames.of(What.INPUT, "model"), tokens)
    assert frames.slot(What.ACTIVATION, "1.linear1:relu").axes == "npu"
    assert frames.of(What.WEIGHT_GRAD, "1.self_attn") is not None


def test_two_models_and_two_optimisers_step_as_one(frames_of: FramesOf) -> None:
    maker, critic = nn.Linear(4, 8), nn.Linear(8, 1)
    first = torch.optim.Adam(maker.parameters(), lr=1e-3)
    second = torch.optim.Adam(critic.parameters(), lr=2e-3)
    watch = deadband.watch({"g": maker, "d": critic}, [first, second], every=1)
    for _ in range(3):
        real, noise = torch.randn(5, 8), torch.randn(5, 4)
        second.zero_grad()
        loss = -critic(real).mean() + critic(maker(noise).detach()).mean()
        loss.backward()
        second.step()
        first.zero_grad()
        (-critic(maker(noise)).mean()).backward()
        first.step()
        watch.step(loss=loss)
    frames = frames_of(watch)
    assert frames.steps == [1, 2, 3]
    assert [(layer.model, layer.name) for layer in frames.plan.layers] == [
        ("d", "linear"),
        ("g", "linear"),
    ]
    assert frames.headers[0].scalars["lr/1"] == [(1, 0.002)]
    present = frames.headers[-1].present
    assert present.count(0) <= 2  # the generator's first output was detached: no gradients there


@pytest.mark.parametrize(
    ("every", "samples", "shown"), [(1, 12, False), (1, 22, True), (80, 5, True)]
)
def test_an_optimiser_that_others_step_without_is_shown_after_a_while(
    frames_of: FramesOf, every: int, samples: int, *, shown: bool
) -> None:
    body, head = nn.Linear(4, 8), nn.Linear(8, 2)
    first = torch.optim.SGD(body.parameters(), lr=0.01)
    second = torch.optim.SGD(head.parameters(), lr=0.01)
    watch = deadband.watch(nn.Sequential(body, head), [first, second], every=every)
    for _ in range(1 + (samples - 1) * every):
        loss = head(body(torch.randn(6, 4))).square().mean()
        first.zero_grad()
        second.zero_grad()
        loss.backward()
        first.step()
        watch.step(loss=loss)
    frames = frames_of(watch)
    weights = [slot for slot in frames.plan.slots if slot.what is What.WEIGHT]
    assert frames.has(weights[0], -1)
    assert frames.has(weights[1], -1) is shown


def test_step_may_be_left_out_where_an_optimiser_is_known(frames_of: FramesOf) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    expected = []
    for step in range(1, 5):
        x, y = batch()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        expected.append(point(step, loss))
    watch._torch.settle()  # type: ignore[union-attr]
    frames = frames_of(watch)
    assert frames.steps == [1, 2, 3, 4]
    assert frames.losses() == expected
    for frame in range(4):
        assert all(frames.headers[frame].present)
    assert frames.plan.models[0].loss == "cross_entropy"


def test_an_optimiser_that_was_not_named_is_found(frames_of: FramesOf) -> None:
    model, other = mlp(), nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    stranger = torch.optim.SGD(other.parameters(), lr=0.7)
    watch = deadband.watch(model, every=1)
    for _ in range(2):
        x, y = batch()
        optimizer.zero_grad()
        before = linear_of(model[0]).weight.detach().clone()
        F.cross_entropy(model(x), y).backward()
        stranger.step()
        optimizer.step()
        watch.step()
    frames = frames_of(watch)
    assert frames.steps == [1, 2]
    assert [group.lr for group in frames.plan.optimizers] == [0.3]
    np.testing.assert_array_equal(frames.of(What.WEIGHT_BEFORE, "0"), before)


def test_a_home_made_update_is_seen_before_and_after(frames_of: FramesOf) -> None:
    model = mlp()
    watch = deadband.watch(model, every=1)
    for _ in range(2):
        x, y = batch()
        before = linear_of(model[0]).weight.detach().clone()
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for each in model.parameters():
                assert each.grad is not None
                each.sub_(0.1 * each.grad)
        watch.step()
        model.zero_grad()
    frames = frames_of(watch)
    assert frames.steps == [1, 2]
    np.testing.assert_array_equal(frames.of(What.WEIGHT_BEFORE, "0"), before)
    np.testing.assert_array_equal(frames.of(What.WEIGHT, "0"), linear_of(model[0]).weight.detach())
    assert frames.of(What.WEIGHT_GRAD, "0") is not None


def test_a_closure_makes_its_gradients_within_the_step(frames_of: FramesOf) -> None:
    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)
    watch = deadband.watch(model, optimizer, every=1)
    x, y = batch()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
        watch.step()
    frames = frames_of(watch)
    assert frames.steps == [1, 2]
    assert frames.of(What.WEIGHT_GRAD, "0", 0) is not None


def test_steps_that_a_grad_scaler_leaves_out_are_marked(frames_of: FramesOf) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    watch = deadband.watch(model, optimizer, every=1)
    gradients = []
    for step in range(3):
        x, y = batch()
        output = model(x)
        output.retain_grad()
        loss = F.cross_entropy(output, y)
        scaler.scale(loss * (float("inf") if step == 1 else 1)).backward()
        assert output.grad is not None
        gradients.append(output.grad / scaler.get_scale())
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        watch.step(loss=loss)
    frames = frames_of(watch)
    assert frames.steps == [1, 2, 3]
    assert [header.skipped for header in frames.headers] == [False, True, False]
    assert frames.of(What.WEIGHT_GRAD, "0", 1) is None
    np.testing.assert_array_equal(
        frames.of(What.WEIGHT_BEFORE, "0", 1), frames.of(What.WEIGHT, "0", 1)
    )
    np.testing.assert_allclose(frames.held(What.OUTPUT_GRAD, "model", 0), gradients[0], rtol=1e-5)


def test_numpy_loops_show_their_arrays(frames_of: FramesOf) -> None:
    watch = deadband.watch(None, every=1)
    rng = np.random.default_rng(0)
    for _ in range(3):
        hidden = rng.normal(size=(12, 5))
        watch.observe("hidden", hidden, activation="sigmoid")
        watch.step(loss=float(hidden.mean()))
    frames = frames_of(watch)
    assert frames.steps == [1, 2, 3]
    assert frames.plan.layers[0].activation == "sigmoid"
    np.testing.assert_allclose(frames.held(What.ACTIVATION, "hidden"), hidden.astype(np.float32))


def test_a_compiled_model_gives_its_outside_and_is_never_run_eagerly(frames_of: FramesOf) -> None:
    plain = mlp()
    model = torch.compile(plain, backend="eager")
    assert isinstance(model, nn.Module)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(3):
        x, y = batch()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        watch.step()
    frames = frames_of(watch)
    assert frames.plan.models[0].compiled
    assert frames.layers == ["0", "2"]
    np.testing.assert_allclose(frames.held(What.INPUT, "model"), x)
    assert frames.of(What.OUTPUT_GRAD, "model") is not None
    assert frames.of(What.WEIGHT_GRAD, "2") is not None
    assert frames.of(What.ACTIVATION, "0") is None


def test_frames_without_room_are_dropped_and_counted(frames_of: FramesOf) -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(300):
        optimizer.zero_grad()
        model(torch.ones(3, 4)).sum().backward()
        optimizer.step()
        watch.step(loss=0.5)
    frames = frames_of(watch)
    assert frames.length == 256
    assert frames.steps[:128] == list(range(1, 129))
    assert frames.steps[-1] > 290
    assert watch._recorder.samples == len(frames.steps) < 256
    assert watch._recorder.dropped + watch._recorder.samples in {300, 301}  # the next was refused


def test_parts_called_without_their_root_are_seen(frames_of: FramesOf) -> None:
    model = nn.ModuleDict({"encoder": nn.Linear(8, 4), "decoder": nn.Linear(4, 8)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(2):
        x, _ = batch()
        F.mse_loss(model["decoder"](model["encoder"](x).relu()), x).backward()
        optimizer.step()
        watch.step()
    frames = frames_of(watch)
    assert frames.layers == ["encoder", "decoder"]
    assert all(frames.of(What.ACTIVATION, name) is not None for name in ("encoder", "decoder"))


def test_a_loss_that_is_missing_differs_from_one_that_is_nan(frames_of: FramesOf) -> None:
    watch = deadband.watch(None, every=4)
    for loss in (np.float32(1.0), float("nan"), None, torch.ones(2), torch.tensor(2.0)):
        watch.step(loss=loss)
    frames = frames_of(watch)
    assert b"".join(header.loss_given for header in frames.headers) == bytes([1, 1, 0, 0, 1])


def test_modules_in_plain_containers_are_told() -> None:
    class Lists(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [nn.Linear(4, 4)]
            self.named = {"a": nn.Linear(4, 4), "b": nn.Tanh()}
            self.known = nn.ModuleList([nn.Linear(4, 2)])
            self.same = [self.known[0]]
            self.teacher = [nn.Linear(4, 2).requires_grad_(False)]
            self.sizes = [4, 2]

    told = Root("m", Lists()).described()
    assert told.unregistered == ("blocks", "named")


def test_an_optimiser_that_is_made_anew_for_each_call_is_not_kept(frames_of: FramesOf) -> None:
    model = nn.Linear(3, 2)
    watch = deadband.watch(model, every=1)
    made = []
    for _ in range(6):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        made.append(weakref.ref(optimizer))
        optimizer.zero_grad()
        loss = model(torch.randn(4, 3)).pow(2).mean()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    del optimizer
    gc.collect()
    assert sum(each() is not None for each in made) <= 1
    frames = frames_of(watch)
    assert frames.plan.layers[0].optimised
    assert len(frames.plan.optimizers) <= 2
