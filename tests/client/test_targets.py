"""What the loss compared the output with, and the losses of evaluation passes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from frames import Frames
from torch import Tensor, nn
from torch.nn.functional import mse_loss as imported_by_name
from torch.overrides import TorchFunctionMode

import deadband
from deadband.watching import Watch
from deadband.wire import What

FramesOf = Callable[[Watch], Frames]


def watched_steps(
    model: nn.Module, loss_of: Callable[[nn.Module, int], Tensor], steps: int = 2, every: int = 1
) -> Watch:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    watch = deadband.watch(model, optimizer, every=every)
    for step in range(1, steps + 1):
        loss = loss_of(model, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    return watch


@pytest.mark.parametrize("how", ["function", "module", "keywords"])
def test_class_ids_travel_with_their_rows(how: str, frames_of: FramesOf) -> None:
    labels = []

    def loss_of(model: nn.Module, step: int) -> Tensor:
        y = torch.randint(0, 3, (70,))
        labels.append(y)
        output = model(torch.randn(70, 8))
        if how == "module":
            loss: Tensor = nn.CrossEntropyLoss(weight=torch.ones(3))(output, y)
            return loss
        if how == "keywords":
            return F.cross_entropy(target=y, input=output, label_smoothing=0.1)
        return F.cross_entropy(output, y)

    frames = frames_of(watched_steps(nn.Linear(8, 3), loss_of))
    slot = frames.slot(What.TARGET, "model")
    assert (slot.axes, slot.shape, slot.source, slot.dtype) == ("n", (64,), (70,), "int64")
    for frame in range(2):
        np.testing.assert_array_equal(frames.of(What.TARGET, "model", frame), labels[frame][:64])
    model = frames.plan.models[0]
    assert (model.loss, model.loss_input, model.loss_target) == ("cross_entropy", (70, 3), (70,))
    assert frames.plan.id == 1


class Tokens(nn.Module):
    """A little language model; `inside`: it computes its loss itself."""

    def __init__(self, *, inside: bool) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 6), nn.Linear(6, 11)
        self.inside = inside

    def forward(self, x: Tensor, y: Tensor | None = None) -> Any:
        logits: Tensor = self.head(self.embed(x))
        if self.inside and y is not None:
            return logits, F.cross_entropy(logits.view(-1, 11), y.view(-1))
        return logits


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("half", [True, False])
def test_tokens_lie_at_the_positions_of_the_output(
    inside: bool, half: bool, frames_of: FramesOf
) -> None:
    y = torch.randint(0, 11, (5, 12))

    def loss_of(model: nn.Module, step: int) -> Tensor:
        x = torch.randint(0, 11, (5, 12))
        if inside:
            loss: Tensor = model(x, y)[1]
            return loss
        logits = model(x)
        if half:
            logits = logits.bfloat16().float()
        return F.cross_entropy(logits.reshape(-1, 11), y.flatten())

    frames = frames_of(watched_steps(Tokens(inside=inside), loss_of))
    slot = frames.slot(What.TARGET, "model")
    assert (slot.axes, slot.shape, slot.source) == ("np", (5, 4), (5, 12))
    places = [1, 4, 7, 10]  # those of the output: four, spread over the twelve
    np.testing.assert_array_equal(frames.held(What.TARGET, "model"), y[:, places])
    assert frames.held(What.OUTPUT, "model").shape == (5, 4, 11)


def test_class_maps_lie_at_the_pixels_of_the_output(frames_of: FramesOf) -> None:
    y = torch.randint(0, 3, (4, 9, 9))
    seen: list[Tensor] = []

    def loss_of(model: nn.Module, step: int) -> Tensor:
        seen.append(model(torch.randn(4, 1, 9, 9)))
        return F.cross_entropy(seen[-1], y)

    frames = frames_of(watched_steps(nn.Conv2d(1, 3, 3, padding=1), loss_of))
    output = frames.held(What.OUTPUT, "model")  # (samples, classes, pixels)
    target = frames.held(What.TARGET, "model")
    assert frames.slot(What.TARGET, "model").axes == "np"
    assert target.shape == (4, output.shape[2])
    # Pixels of the whole image, as the loss is; the labels' come from where the output's do.
    whole = seen[-1].detach()[:, :, 1:8:2, 1:8:2]
    np.testing.assert_allclose(whole.flatten(2), output, atol=1e-6)
    np.testing.assert_array_equal(target, y[:, 1:8:2, 1:8:2].flatten(1))


def test_classes_along_axis_one_of_three_make_the_output_channels(frames_of: FramesOf) -> None:
    y = torch.randint(0, 3, (4, 20))

    def loss_of(model: nn.Module, step: int) -> Tensor:
        return F.cross_entropy(model(torch.randn(4, 2, 20)), y)

    frames = frames_of(watched_steps(nn.Conv1d(2, 3, 3, padding=1), loss_of, steps=3))
    assert frames.slot(What.OUTPUT, "model").axes == "nup"
    assert frames.slot(What.OUTPUT_GRAD, "model").axes == "nup"
    np.testing.assert_array_equal(frames.held(What.TARGET, "model"), y[:, 2:18])


@pytest.mark.parametrize("turned", [True, False])
def test_rows_made_of_channels_over_positions_tell_where_the_classes_lie(
    frames_of: FramesOf, *, turned: bool
) -> None:
    y = torch.randint(0, 3, (4 * 20,))

    def loss_of(model: nn.Module, step: int) -> Tensor:
        output = model(torch.randn(4, 2, 20))
        return F.cross_entropy((output.transpose(1, 2) if turned else output).reshape(-1, 3), y)

    frames = frames_of(watched_steps(nn.Conv1d(2, 3, 3, padding=1), loss_of, steps=3))
    assert frames.slot(What.OUTPUT, "model").axes == "nup"
    assert frames.plan.models[0].loss_input == (80, 3)


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (F.mse_loss, "mse"),
        (imported_by_name, "mse"),
        (F.l1_loss, "l1"),
        (F.huber_loss, "huber"),
        (nn.SmoothL1Loss(), "smooth_l1"),
        (F.binary_cross_entropy_with_logits, "bce_logits"),
        (F.poisson_nll_loss, "poisson_nll"),
        (F.soft_margin_loss, "soft_margin"),
    ],
)
def test_values_travel_as_the_output_does(
    loss: Callable[[Tensor, Tensor], Tensor], kind: str, frames_of: FramesOf
) -> None:
    y = torch.rand(10, 2)
    frames = frames_of(
        watched_steps(nn.Linear(3, 2), lambda model, _: loss(model(torch.randn(10, 3)), y))
    )
    np.testing.assert_array_equal(frames.held(What.TARGET, "model"), y)
    assert frames.slot(What.TARGET, "model").axes == frames.slot(What.OUTPUT, "model").axes
    assert frames.plan.models[0].loss == kind


def test_a_squeezed_output_has_its_targets_in_its_own_shape(frames_of: FramesOf) -> None:
    y = torch.randn(10)
    frames = frames_of(
        watched_steps(
            nn.Linear(3, 1), lambda model, _: F.mse_loss(model(torch.randn(10, 3)).squeeze(1), y)
        )
    )
    np.testing.assert_array_equal(frames.held(What.TARGET, "model"), y[:, None])
    model = frames.plan.models[0]
    assert (model.loss_input, model.loss_target) == ((10,), (10,))


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_target_that_is_broadcast_keeps_its_own_shape(frames_of: FramesOf) -> None:
    y = torch.randn(10)
    frames = frames_of(
        watched_steps(nn.Linear(3, 1), lambda model, _: F.mse_loss(model(torch.randn(10, 3)), y))
    )
    slot = frames.slot(What.TARGET, "model")
    assert (slot.axes, slot.shape) == ("n", (10,))
    model = frames.plan.models[0]
    assert (model.loss_input, model.loss_target) == ((10, 1), (10,))


def test_the_first_loss_of_the_output_wins_over_other_losses_of_the_step(
    frames_of: FramesOf,
) -> None:
    y, other = torch.randn(10, 2), torch.randn(10, 2)

    def loss_of(model: nn.Module, step: int) -> Tensor:
        output = model(torch.randn(10, 3))
        aside = F.l1_loss(output * 2, other)  # not the output, but as many rows
        return aside + F.mse_loss(output, y) + F.mse_loss(output, other)

    frames = frames_of(watched_steps(nn.Linear(3, 2), loss_of))
    np.testing.assert_array_equal(frames.held(What.TARGET, "model"), y)


def test_a_second_view_that_is_trained_too_is_no_target(frames_of: FramesOf) -> None:
    def views(model: nn.Module, step: int) -> Tensor:
        one, other = (model(torch.randn(32, 8)) for _ in range(2))
        return F.mse_loss(one, other)

    def stopped(model: nn.Module, step: int) -> Tensor:
        one, other = (model(torch.randn(32, 8)) for _ in range(2))
        return F.mse_loss(one, other.detach())

    def swapped(model: nn.Module, step: int) -> Tensor:
        return F.mse_loss(torch.zeros(32, 16), model(torch.randn(32, 8)))

    told = {}
    for loss_of in (views, stopped, swapped):
        frames = frames_of(watched_steps(nn.Linear(8, 16), loss_of))
        targets = [slot for slot in frames.plan.slots if slot.what is What.TARGET]
        told[loss_of] = frames.plan.models[0].target_learns, len(targets)
    assert told == {views: (True, 0), stopped: (False, 1), swapped: (False, 1)}


@pytest.mark.parametrize("stop", [False, True])
def test_views_that_a_cosine_draws_together_are_seen_of_a_model_called_by_its_parts(
    frames_of: FramesOf, *, stop: bool
) -> None:
    def views(model: nn.Module, step: int) -> Tensor:
        assert isinstance(model, nn.ModuleDict)
        one, other = (model["encoder"](torch.randn(32, 8)) for _ in range(2))
        target = other.detach() if stop else other
        return -F.cosine_similarity(model["head"](one), target).mean()

    net = nn.ModuleDict({"encoder": nn.Linear(8, 16), "head": nn.Linear(16, 16)})
    frames = frames_of(watched_steps(net, views))
    assert frames.plan.models[0].loss == "cosine"
    assert frames.plan.models[0].target_learns is not stop


@pytest.mark.parametrize(("dropped", "seen"), [((), False), ((4, 9), False), ((5, 6, 7), True)])
def test_a_stop_of_the_gradient_that_is_lost_in_mid_run_is_seen(
    frames_of: FramesOf, dropped: tuple[int, ...], *, seen: bool
) -> None:
    def views(model: nn.Module, step: int) -> Tensor:
        assert isinstance(model, nn.ModuleDict)
        one, other = (model["encoder"](torch.randn(32, 8)) for _ in range(2))
        target = other if step in dropped else other.detach()
        return -F.cosine_similarity(model["head"](one), target).mean()

    net = nn.ModuleDict({"encoder": nn.Linear(8, 16), "head": nn.Linear(16, 16)})
    frames = frames_of(watched_steps(net, views, steps=12))
    assert frames.plan.models[0].target_learns is seen


@pytest.mark.parametrize("stop", [False, True])
def test_views_that_squares_written_by_hand_draw_together_are_seen(
    frames_of: FramesOf, *, stop: bool
) -> None:
    other = nn.Linear(8, 16)

    def views(model: nn.Module, step: int) -> Tensor:
        x = torch.randn(32, 8)
        target = other(x).detach() if stop else other(x)
        loss: Tensor = ((model(x) - target) ** 2).sum(1).mean()
        return loss

    told = frames_of(watched_steps(nn.Linear(8, 16), views)).plan.models[0]
    assert (told.loss, told.target_learns) == ("mse", not stop)


def test_two_models_have_their_own_targets(frames_of: FramesOf) -> None:
    left, right = nn.Linear(3, 1), nn.Linear(3, 4)
    optimizer = torch.optim.SGD([*left.parameters(), *right.parameters()], lr=0.1)
    watch = deadband.watch({"left": left, "right": right}, optimizer, every=1)
    y, labels = torch.randn(9, 1), torch.randint(0, 4, (9,))
    for _ in range(2):
        x = torch.randn(9, 3)
        one, two = left(x), right(x)
        loss = F.cross_entropy(two, labels) + F.mse_loss(one, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    frames = frames_of(watch)
    np.testing.assert_array_equal(frames.held(What.TARGET, "left"), y)
    np.testing.assert_array_equal(frames.held(What.TARGET, "right"), labels)
    assert [model.loss_target for model in frames.plan.models] == [(9, 1), (9,)]


def test_a_half_precision_output_has_its_target(frames_of: FramesOf) -> None:
    y = torch.randint(0, 3, (10,))

    def loss_of(model: nn.Module, step: int) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return F.cross_entropy(model(torch.randn(10, 8)), y)

    frames = frames_of(watched_steps(nn.Linear(8, 3), loss_of))
    np.testing.assert_array_equal(frames.held(What.TARGET, "model"), y)
    assert frames.slot(What.OUTPUT, "model").dtype == "bfloat16"


def test_batches_of_another_size_keep_the_plan(frames_of: FramesOf) -> None:
    sizes = (16, 16, 5, 16, 7, 16)

    def loss_of(model: nn.Module, step: int) -> Tensor:
        rows = sizes[step - 1]
        return F.cross_entropy(model(torch.randn(rows, 8)), torch.randint(0, 3, (rows,)))

    frames = frames_of(watched_steps(nn.Linear(8, 3), loss_of, steps=6))
    assert frames.plan.id == 1
    shown = [frames.of(What.TARGET, "model", frame) is not None for frame in range(6)]
    assert shown == [True, True, False, True, False, True]


def test_a_closure_is_called_many_times_and_the_first_counts(frames_of: FramesOf) -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    watch = deadband.watch(model, optimizer, every=1)
    x = torch.randn(10, 3)
    targets = [torch.randn(10, 1) for _ in range(50)]
    used: list[Tensor] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        used.append(targets[len(used)])
        loss = F.mse_loss(model(x), used[-1])
        loss.backward()
        return loss

    firsts = []
    for _ in range(3):
        firsts.append(len(used))
        loss = optimizer.step(closure)
        watch.step(loss=loss)
    frames = frames_of(watch)
    for frame, first in enumerate(firsts):
        np.testing.assert_array_equal(frames.of(What.TARGET, "model", frame), targets[first])


# --- Evaluation losses --------------------------------------------------------------------------


def evaluated(model: nn.Module, batches: list[tuple[Tensor, Tensor]], **options: Any) -> float:
    """The exact mean loss of an evaluation pass."""
    model.eval()
    total, rows = 0.0, 0
    for x, y in batches:
        with torch.no_grad():
            output = model(x)
            F.cross_entropy(output, y, **options)
        total -= output.log_softmax(-1)[range(len(y)), y].sum().item()
        rows += len(y)
    model.train()
    return total / rows


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_an_evaluation_pass_is_one_point_of_the_mean_over_its_rows(
    reduction: str, frames_of: FramesOf
) -> None:
    model = nn.Linear(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=4)
    held_out = [(torch.randn(n, 8), torch.randint(0, 3, (n,))) for n in (32, 32, 5)]
    expected = []
    for step in range(1, 14):
        loss = F.cross_entropy(model(torch.randn(16, 8)), torch.randint(0, 3, (16,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
        if step in (3, 5, 6):
            expected.append((step, evaluated(model, held_out, reduction=reduction)))
    frames = frames_of(watch)
    points = [each for header in frames.headers for each in header.scalars.get("eval_loss", [])]
    assert [step for step, _ in points] == [3, 5, 6]
    np.testing.assert_allclose([v for _, v in points], [v for _, v in expected], rtol=1e-5)
    assert [("eval_loss" in header.scalars) for header in frames.headers] == [
        False,
        True,
        True,
        False,
    ]


def test_what_is_no_evaluation_pass_gives_no_evaluation_loss(frames_of: FramesOf) -> None:
    def loss_of(model: nn.Module, step: int) -> Tensor:
        x, y = torch.randn(16, 8), torch.randint(0, 3, (16,))
        with torch.no_grad():
            F.cross_entropy(model(x), y)  # a metric, in training mode
        model.eval()
        with torch.no_grad():
            F.l1_loss(model(x), F.one_hot(y, 3).float())  # another measure than the loss
        model.train()
        return F.cross_entropy(model(x), y)

    frames = frames_of(watched_steps(nn.Linear(8, 3), loss_of, steps=4))
    assert not any("eval_loss" in header.scalars for header in frames.headers)


def test_a_model_that_trains_in_eval_mode_has_no_evaluation_passes(frames_of: FramesOf) -> None:
    model = nn.Linear(8, 3).eval()

    def loss_of(model: nn.Module, step: int) -> Tensor:
        x, y = torch.randn(16, 8), torch.randint(0, 3, (16,))
        with torch.no_grad():
            F.cross_entropy(model(x), y)
        return F.cross_entropy(model(x), y)

    frames = frames_of(watched_steps(model, loss_of, steps=5))
    assert not any("eval_loss" in header.scalars for header in frames.headers)


def test_a_users_own_validation_loss_travels_beside_it(frames_of: FramesOf) -> None:
    model = nn.Linear(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    x, y = torch.randn(16, 8), torch.randint(0, 3, (16,))
    for _ in range(3):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.inference_mode():
            held_out = F.cross_entropy(model(x), y)
        model.train()
        watch.step(loss=loss, val_loss=held_out)
    frames = frames_of(watch)
    assert {"val_loss", "eval_loss"} <= set(frames.headers[-1].scalars)


def test_an_evaluation_after_the_last_step_is_in_the_last_frame(frames_of: FramesOf) -> None:
    model = nn.Linear(8, 3)
    watch = watched_steps(
        model,
        lambda model, _: F.cross_entropy(model(torch.randn(9, 8)), torch.randint(0, 3, (9,))),
        steps=6,
        every=5,
    )
    model.eval()
    with torch.no_grad():
        value = F.cross_entropy(model(torch.ones(4, 8)), torch.ones(4, dtype=torch.long))
    watch.close()
    frames = frames_of(watch)
    assert frames.steps == [1, 6, 6]
    [(step, loss)] = frames.headers[-1].scalars["eval_loss"]
    assert step == 6
    assert loss == pytest.approx(value.item())


# --- The functions themselves -------------------------------------------------------------------


def test_loss_functions_stay_the_objects_they_are() -> None:
    import inspect

    function, blob, told = F.cross_entropy, pickle.dumps(F.cross_entropy), str
    signature, source = told(inspect.signature(function)), inspect.getsource(function)
    code, names = function.__code__, set(vars(F))
    watch = deadband.watch(nn.Linear(2, 2), every=1)
    assert F.cross_entropy is function
    assert pickle.dumps(function) == blob
    assert pickle.loads(blob) is function
    assert (told(inspect.signature(function)), inspect.getsource(function)) == (signature, source)
    inner = deadband.watch(nn.Linear(2, 2), every=1)
    watch.close()
    assert function.__code__ is not code  # the second still listens
    inner.close()
    assert function.__code__ is code
    assert set(vars(F)) == names
    assert not vars(function)


def test_a_function_mode_sees_the_function_itself_and_the_loss_counts_once(
    frames_of: FramesOf,
) -> None:
    seen: list[Any] = []

    class Onlooker(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    model = nn.Linear(8, 3)
    watch = watched_steps(
        model,
        lambda model, _: F.cross_entropy(model(torch.randn(9, 8)), torch.randint(0, 3, (9,))),
        steps=5,
        every=5,
    )
    model.eval()
    with torch.no_grad(), Onlooker():
        F.cross_entropy(model(torch.ones(4, 8)), torch.ones(4, dtype=torch.long))
    assert F.cross_entropy in seen
    assert watch._torch is not None
    assert watch._torch.capture.losses.evaluation._rows == 4


def test_losses_inside_vmap_and_tracing_are_left_alone(frames_of: FramesOf) -> None:
    y = torch.randn(10, 2)

    def loss_of(model: nn.Module, step: int) -> Tensor:
        output = model(torch.randn(10, 3))
        each = torch.func.vmap(F.mse_loss)(output, y)
        torch.fx.symbolic_trace(nn.MSELoss())
        return each.mean()

    frames = frames_of(watched_steps(nn.Linear(3, 2), loss_of))
    assert frames.of(What.TARGET, "model") is None


def test_a_loss_that_raises_raises_its_own_error() -> None:
    model = nn.Linear(3, 2)
    watch = deadband.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), every=1)
    output = model(torch.randn(4, 3))
    with pytest.raises(IndexError):
        F.cross_entropy(output, torch.full((4,), 7))
    F.cross_entropy(output, torch.zeros(4, dtype=torch.long)).backward()
    watch.step()
    assert watch._beat().faults == 0


def test_a_vector_of_as_many_features_as_the_first_layer_takes_is_one_row(
    frames_of: FramesOf,
) -> None:
    def loss_of(model: nn.Module, step: int) -> Tensor:
        return F.mse_loss(model(torch.randn(6)), torch.randn(3))

    frames = frames_of(watched_steps(nn.Sequential(nn.Linear(6, 3), nn.Sigmoid()), loss_of))
    for what, width in ((What.INPUT, 6), (What.OUTPUT, 3), (What.TARGET, 3), (What.OUTPUT_GRAD, 3)):
        slot = frames.slot(what, "model")
        assert (slot.axes, slot.shape) == ("nu", (1, width))


def test_a_vector_of_single_values_is_as_many_rows(frames_of: FramesOf) -> None:
    class Curve(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fit = nn.Linear(1, 1)

        def forward(self, x: Tensor) -> Tensor:
            fitted: Tensor = self.fit(x.unsqueeze(1)).squeeze(1)
            return fitted

    frames = frames_of(
        watched_steps(Curve(), lambda model, _: F.mse_loss(model(torch.randn(6)), torch.randn(6)))
    )
    assert frames.slot(What.INPUT, "model").axes == "n"
