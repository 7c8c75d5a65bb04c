"""Labels and targets as the loss was given them: the same as inferred ones, and more losses."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
import torch
from statistics_frames import Bench, grad_of, of_model
from torch import Tensor
from torch.nn import functional as fn

from deadband.wire import Slot, What
from deadband_monitor.statistics import Measured, Statistician
from deadband_monitor.statistics.constants import best_constant, pointwise
from deadband_monitor.statistics.given import given_targets
from deadband_monitor.statistics.labels import Labels, Targets, YesNo
from deadband_monitor.statistics.model_outputs import FOR_ALL
from deadband_monitor.statistics.windows import TargetWindow

ROWS = 48
RNG = np.random.default_rng(0)
OF_LABELS = (
    "label_entropy", "batch_label_entropy", "loss_constant", "sigma_share", "skill",
    "majority_share", "majority_predicted", "target_mean", "target_sd", "target_kurtosis",
    "target_min", "target_max",
)  # fmt: skip


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def measured(
    loss_name: str,
    output: Tensor,
    loss: Tensor,
    target: Tensor | None,
    *,
    axes: str = "nu",
    target_axes: str = "",
    gradient: bool = True,
    times: int = 8,
    recorded: float | None = None,
    read_as: tuple[int, ...] = (),
) -> Measured:
    """The last of some equal samples, with or without TARGET and OUTPUT_GRAD."""
    output.grad = None
    loss.backward(retain_graph=True)
    bench = Bench([], loss_name)
    bench.models = (msgspec.structs.replace(bench.models[0], loss_input=read_as),)
    bench.add(What.OUTPUT, 0, tuple(output.shape), axes)
    bench.add(What.OUTPUT_GRAD, 0, tuple(output.shape), axes)
    values = {(What.OUTPUT, 0): output.detach().numpy()}
    if gradient:
        values[What.OUTPUT_GRAD, 0] = grad_of(output).numpy()
    if target is not None:
        dtype = "float32" if target.is_floating_point() else "int64"
        bench.add(What.TARGET, 0, tuple(target.shape), target_axes or axes, dtype=dtype)
        values[What.TARGET, 0] = target.detach().float().numpy()
    value = loss.item() if recorded is None else recorded
    frames = [bench.frame(step, values, [value]) for step in range(1, times + 1)]
    statistician = Statistician()
    statistician.adopt(bench.plan())
    return statistician.measure(frames)[-1]


def same(one: Measured, other: Measured, but: tuple[str, ...] = ()) -> None:
    for metric in OF_LABELS:
        if metric not in but:
            expected = of_model(other, metric)
            assert of_model(one, metric) == pytest.approx(expected, rel=1e-4, nan_ok=True), metric


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_given_class_labels_say_what_inferred_ones_say(
    reduction: str, smoothing: float, weighted: bool
) -> None:
    if smoothing and weighted:
        pytest.skip("both at once cannot be inferred")
    z, y = drawn(ROWS, 7), torch.arange(ROWS) % 5
    weight = torch.linspace(0.2, 3.0, 7) if weighted else None
    loss = fn.cross_entropy(z, y, weight, label_smoothing=smoothing, reduction=reduction)
    inferred = measured("cross_entropy", z, loss, None)
    given = measured("cross_entropy", z, loss, y, target_axes="n")
    assert np.isfinite(of_model(given, "skill"))
    same(given, inferred)


def test_given_labels_need_no_gradient() -> None:
    z, y = drawn(ROWS, 7), torch.arange(ROWS) % 5
    loss = fn.cross_entropy(z, y)
    given = measured("cross_entropy", z, loss, y, target_axes="n", gradient=False)
    same(given, measured("cross_entropy", z, loss, None))
    assert np.isnan(of_model(measured("cross_entropy", z, loss, None, gradient=False), "skill"))


def test_given_labels_hold_where_a_second_loss_bends_the_gradient() -> None:
    z, y = drawn(ROWS, 7), torch.arange(ROWS) % 5
    loss = fn.cross_entropy(z, y) + 0.01 * (z**2).sum()
    assert np.isnan(of_model(measured("cross_entropy", z, loss, None), "label_entropy"))
    given = measured("cross_entropy", z, loss, y, target_axes="n")
    assert of_model(given, "label_entropy") == pytest.approx(np.log(5), abs=1e-2)


@pytest.mark.parametrize("ignored", [-100, -1])
def test_rows_that_the_loss_ignores_are_no_labels(ignored: int) -> None:
    z, y = drawn(ROWS, 7), torch.arange(ROWS) % 5
    y[::3] = ignored
    loss = fn.cross_entropy(z, y, ignore_index=ignored)
    given = measured("cross_entropy", z, loss, y, target_axes="n")
    shares = np.bincount(y[y >= 0].numpy()) / int((y >= 0).sum())
    entropy = float(-(shares * np.log(shares)).sum())
    assert of_model(given, "label_entropy") == pytest.approx(entropy, rel=1e-4)
    assert of_model(given, "loss_constant") == pytest.approx(entropy, rel=1e-4)
    same(given, measured("cross_entropy", z, loss, None))


def test_a_padding_class_that_is_ignored_is_seen_in_the_gradient() -> None:
    z, y = drawn(ROWS, 7), torch.arange(ROWS) % 5
    y[:20] = 0
    loss = fn.cross_entropy(z, y, ignore_index=0)
    given = measured("cross_entropy", z, loss, y, target_axes="n")
    assert of_model(given, "majority_share") < 0.3
    same(given, measured("cross_entropy", z, loss, None))


@pytest.mark.parametrize("axes", ["nup", "npu"])
def test_labels_of_pixels_and_positions(axes: str) -> None:
    z = drawn(6, 5, 9) if axes == "nup" else drawn(6, 9, 5)
    y = torch.arange(54).reshape(6, 9) % 4
    logits = z if axes == "nup" else z.swapaxes(1, 2)
    loss = fn.cross_entropy(logits, y)
    given = measured("cross_entropy", z, loss, y, axes=axes, target_axes="np")
    assert of_model(given, "majority_share") == pytest.approx(14 / 54)
    same(given, measured("cross_entropy", z, loss, None, axes=axes))


def test_target_distributions_are_given_as_they_are() -> None:
    z, t = drawn(ROWS, 5), drawn(ROWS, 5, seed=1).detach().softmax(1)
    loss = fn.cross_entropy(z, t)
    given = measured("cross_entropy", z, loss, t)
    mean = t.mean(0)
    assert of_model(given, "loss_constant") == pytest.approx(
        -(mean * mean.log()).sum().item(), 1e-4
    )


@pytest.mark.parametrize("columns", [1, 4])
@pytest.mark.parametrize("positive_weight", [1.0, 6.0])
def test_given_yes_no_targets_say_what_inferred_ones_say(
    columns: int, positive_weight: float
) -> None:
    z = drawn(ROWS, columns)
    y = (torch.rand(ROWS, columns, generator=torch.Generator().manual_seed(2)) < 0.3).float()
    weight = torch.tensor([positive_weight])
    loss = fn.binary_cross_entropy_with_logits(z, y, pos_weight=weight)
    given = measured("bce_logits", z, loss, y)
    same(given, measured("bce_logits", z, loss, None))
    assert of_model(given, "target_mean") == pytest.approx(y.mean().item(), rel=1e-5)
    share = of_model(given, "majority_share")
    assert np.isnan(share) if columns > 1 else share == pytest.approx(1 - y.mean().item())


def test_yes_no_targets_outside_their_range_are_shown_and_not_judged() -> None:
    z = drawn(ROWS, 1)
    y = torch.where(torch.arange(ROWS) % 2 == 0, 1.0, -1.0)[:, None]
    loss = fn.binary_cross_entropy_with_logits(z, y)
    given = measured("bce_logits", z, loss, y)
    assert (of_model(given, "target_min"), of_model(given, "target_max")) == (-1.0, 1.0)
    assert np.isnan(of_model(given, "skill"))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_given_values_say_what_inferred_ones_say(reduction: str) -> None:
    z, y = drawn(ROWS, 2), 3.0 + 0.5 * drawn(ROWS, 2, seed=1).detach()
    loss = fn.mse_loss(z, y, reduction=reduction)
    given = measured("mse", z, loss, y)
    same(given, measured("mse", z, loss, None))
    assert of_model(given, "target_sd") == pytest.approx(
        y.var(0, correction=0).mean().sqrt().item()
    )
    assert of_model(given, "target_min") == pytest.approx(y.min().item())
    assert of_model(given, "target_max") == pytest.approx(y.max().item())


LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": fn.mse_loss,
    "l1": fn.l1_loss,
    "smooth_l1": fn.smooth_l1_loss,
    "huber": fn.huber_loss,
}


@pytest.mark.parametrize("kind", list(LOSSES))
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_best_constant_of_every_regression_loss_has_no_skill(kind: str, reduction: str) -> None:
    y = (2.0 * drawn(64, 1, seed=1).detach()).exp()  # skewed: mean and median are far apart
    values = y.numpy().astype(np.float64)
    tried = np.linspace(values.min(), values.max(), 20001)
    losses = [pointwise(kind, values - constant).mean() for constant in tried]
    best = float(tried[int(np.argmin(losses))])
    z = torch.full((64, 1), best).requires_grad_()
    loss = LOSSES[kind](z, y, reduction=reduction)
    given = measured(kind, z, loss, y, times=12)
    assert of_model(given, "skill") == pytest.approx(0.0, abs=2e-3)
    assert of_model(given, "loss_constant") == pytest.approx(loss.item(), rel=2e-3)
    assert of_model(given, "sigma_share") == 0.0
    half = y.clone().mul_(0.5).add_(0.5 * best).requires_grad_()
    better = measured(kind, half, LOSSES[kind](half, y, reduction=reduction), y)
    assert of_model(better, "skill") > 0.3
    assert of_model(better, "sigma_share") == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("times", [30.0, 64.0, 128.0])
def test_a_penalty_as_many_times_the_loss_as_it_has_rows_makes_no_sum_of_it(times: float) -> None:
    z, y = drawn(64, 2), drawn(64, 2, seed=1).detach()
    own = fn.mse_loss(z, y)
    given = measured("mse", z, own + (times - 1) * own.detach(), y, times=12)
    variance = y.var(0, correction=0).mean().item()
    assert of_model(given, "skill") == pytest.approx(1 - own.item() / variance, rel=1e-3)
    assert of_model(given, "further_loss") == pytest.approx((times - 1) * own.item(), rel=1e-3)


@pytest.mark.parametrize("weight", [1e-4, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("scaled", [1.0, 1024.0])
def test_a_loss_that_is_weighed_is_judged_by_its_weight(weight: float, scaled: float) -> None:
    """Its gradient is weighed too, and a GradScaler's besides."""
    z, y = drawn(64, 2), drawn(64, 2, seed=1).detach()
    own = fn.mse_loss(z, y)
    given = measured("mse", z, scaled * weight * own, y, times=12, recorded=weight * own.item())
    variance = y.var(0, correction=0).mean().item()
    if scaled > 1 and weight < 1:
        assert np.isnan(of_model(given, "skill"))  # neither's number is known
        return
    if scaled == 1:
        assert of_model(given, "loss_constant") == pytest.approx(weight * variance, rel=1e-4)
    assert of_model(given, "skill") == pytest.approx(1 - own.item() / variance, rel=1e-3)


def test_a_column_against_a_row_of_targets_is_judged_by_their_variance() -> None:
    z, y = drawn(64, 1), 3.0 + 0.5 * drawn(64, seed=1).detach()
    loss = ((z - y) ** 2).mean()  # (64, 1) against (64,): the well-known accident
    given = measured("mse", z, loss, y, target_axes="n")
    variance = y.var(correction=0).item()
    assert of_model(given, "loss_constant") == pytest.approx(variance, rel=1e-4)
    assert of_model(given, "skill") == pytest.approx(1 - loss.item() / variance, rel=1e-3)
    share = z.std(correction=0).item() / y.std(correction=0).item()
    assert of_model(given, "sigma_share") == pytest.approx(share, rel=1e-4)
    assert of_model(given, "coupling") == pytest.approx(1.0, abs=1e-5)
    fair = fn.mse_loss(z[:, 0], y)
    assert of_model(measured("mse", z, fair, y, target_axes="n"), "coupling") < 0.99


def test_targets_without_an_output_say_nothing() -> None:
    bench = Bench([], "mse")
    bench.add(What.OUTPUT, 0, (4, 1), "nu")
    bench.add(What.TARGET, 0, (4, 1), "nu")
    statistician = Statistician()
    statistician.adopt(bench.plan())
    frame = bench.frame(1, {(What.TARGET, 0): np.ones((4, 1), dtype=np.float32)}, [1.0])
    (one,) = statistician.measure([frame])
    for metric in OF_LABELS:
        assert np.isnan(of_model(one, metric))


def slot(shape: tuple[int, ...], axes: str, dtype: str = "float32") -> Slot:
    return Slot(what=What.TARGET, index=0, offset=0, shape=shape, axes=axes, dtype=dtype)


def test_targets_that_do_not_fit_the_output_are_left_alone() -> None:
    ids = np.zeros(5, dtype=np.float32)
    assert given_targets("cross_entropy", ids, slot((5,), "n"), (6, 3)) is None
    assert given_targets("cross_entropy", ids - 100, slot((5,), "n"), (5, 3)) is None
    assert given_targets("mse", ids, slot((5,), "n"), (5, 2)) is None
    assert given_targets("mse", ids + np.nan, slot((5,), "n"), (5, 1)) is None
    rows = np.ones((5, 3), dtype=np.float32)
    assert given_targets("cross_entropy", rows, slot((5, 3), "nu"), (5, 3)) is None
    assert isinstance(given_targets("cross_entropy", ids, slot((5,), "n"), (5, 3)), Labels)
    assert isinstance(given_targets("huber", ids, slot((5,), "n"), (5, 1)), Targets)
    assert isinstance(given_targets("bce", ids, slot((5,), "n"), (5, 1)), YesNo)


@pytest.mark.parametrize("batch", [1, 7, 31, 64, 3000])
def test_a_window_of_targets_has_the_moments_of_its_rows(batch: int) -> None:
    window, rows = (
        TargetWindow(),
        RNG.standard_t(4, size=(6000, 3)) * [1.0, 5.0, 0.1] + [0, 1e4, -3],
    )
    for start in range(0, 6000, batch):
        window.add(rows[start : start + batch])
        kept = rows[: start + batch][-window.size :]
        if start % 13 == 0 or batch > 30:
            found = window.moments()
            off = kept - kept.mean(axis=0)
            assert found.mean == pytest.approx(kept.mean(axis=0))
            assert found.variance == pytest.approx(kept.var(axis=0), rel=1e-6, abs=1e-20)
            assert (found.low, found.high) == (kept.min(), kept.max())
            if len(kept) > 1:
                kurtosis = (off**4).mean() / (off**2).mean() ** 2
                assert found.kurtosis == pytest.approx(kurtosis, rel=1e-6)
    assert 2000 <= window.size < 2000 + batch + 32


def test_the_constant_of_least_loss_is_found_for_every_column() -> None:
    values = np.exp(RNG.normal(size=(500, 3))) * [1.0, 4.0, 0.2]
    for kind in ("mse", "l1", "huber"):
        constant = None
        for _ in range(6):
            constant = best_constant(kind, values, constant)
        assert constant is not None
        least = pointwise(kind, values - constant).mean(axis=0)
        for nudge in (0.99, 1.01):
            assert (pointwise(kind, values - nudge * constant).mean(axis=0) >= least - 1e-9).all()


@pytest.mark.parametrize("kind", ["mse", "half mse", "summed bce", "bce", "other"])
def test_a_loop_without_autograd_is_judged_by_the_loss_that_fits(kind: str) -> None:
    rng = np.random.default_rng(0)
    bench = Bench([])
    bench.add(What.OUTPUT, 0, (3, 1), "nu")
    bench.add(What.TARGET, 0, (3, 1), "nu")
    statistician = Statistician()
    statistician.adopt(bench.plan())
    frames, seen, values = [], [], []
    for step in range(1, 41):
        p, y = rng.uniform(0.05, 0.95, (3, 1)), rng.integers(0, 2, (3, 1)).astype(float)
        square = ((p - y) ** 2).mean()
        entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
        loss = {
            "mse": square, "half mse": square / 2, "bce": entropy, "summed bce": 3 * entropy,
            "other": np.abs(p - y).mean(),
        }[kind]  # fmt: skip
        held = {(What.OUTPUT, 0): p.astype(np.float32), (What.TARGET, 0): y.astype(np.float32)}
        frames.append(bench.frame(step, held, [loss]))
        seen.append(y)
        values.append(loss)
    one = statistician.measure(frames)[-1]
    # The window begins anew with the third sample, at which the loss is known.
    rate = np.concatenate(seen[2:]).mean()
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    variance = rate * (1 - rate)
    expected = {
        "mse": variance, "half mse": variance / 2, "bce": entropy, "summed bce": 3 * entropy,
        "other": np.nan,
    }[kind]  # fmt: skip
    assert of_model(one, "loss_constant") == pytest.approx(expected, rel=1e-5, nan_ok=True)
    assert np.isfinite(of_model(one, "skill")) == (kind != "other")
    assert np.isfinite(of_model(one, "target_mean"))


@pytest.mark.parametrize("rows", [48, 400])
@pytest.mark.parametrize("shows", ["logits", "probabilities", "one-hot targets"])
@pytest.mark.parametrize("loss", ["mean", "sum", "other"])
def test_a_loop_without_autograd_that_answers_with_classes_is_judged_by_its_cross_entropy(
    loss: str, shows: str, rows: int
) -> None:
    """A softmax classifier in numpy; of large batches 48 rows are copied."""
    rng, skill = np.random.default_rng(0), 0.4
    bench = Bench([])
    one_hot = shows == "one-hot targets"
    bench.add(What.OUTPUT, 0, (48, 5), "nu", source=(rows, 5))
    if one_hot:
        bench.add(What.TARGET, 0, (48, 5), "nu", source=(rows, 5))
    else:
        bench.add(What.TARGET, 0, (48,), "n", source=(rows,), dtype="int64")
    frames = []
    for step in range(1, 41):
        y = rng.integers(0, 5, rows)
        target = np.eye(5)[y]
        z = 1.5 * target + rng.normal(size=(rows, 5))
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        own = -np.log(p[np.arange(rows), y])
        value = {"mean": own.mean(), "sum": own.sum(), "other": ((p - target) ** 2).sum()}[loss]
        held = {
            (What.OUTPUT, 0): (p if shows == "probabilities" else z)[:48].astype(np.float32),
            (What.TARGET, 0): (target if one_hot else y)[:48].astype(np.float32),
        }
        frames.append(bench.frame(step, held, [value]))
        skill += (1 - own.mean() / np.log(5) - skill) / 5
    statistician = Statistician()
    statistician.adopt(bench.plan())
    ones = [one for frame in frames for one in statistician.measure([frame])]
    if loss == "other":
        assert np.isnan(of_model(ones[-1], "label_entropy"))
        return
    assert of_model(ones[-1], "label_entropy") == pytest.approx(np.log(5), rel=0.01)
    assert of_model(ones[-1], "skill") == pytest.approx(skill, abs=0.03)
    assert 0.1 < of_model(ones[-1], "information") < 1


@pytest.mark.parametrize("width", [0.2, 3.0])
@pytest.mark.parametrize("kind", ["huber", "smooth_l1"])
def test_the_width_of_a_huber_loss_is_found_in_its_gradient(kind: str, width: float) -> None:
    y = (2.0 * drawn(64, 1, seed=1).detach()).exp()
    z = torch.zeros(64, 1).requires_grad_()
    loss = (
        fn.huber_loss(z, y, delta=width) if kind == "huber" else fn.smooth_l1_loss(z, y, beta=width)
    )
    given = measured(kind, z, loss, y, times=12)
    tried = np.linspace(0, float(y.max()), 5001)
    least = min(pointwise(kind, y.numpy() - constant, width).mean() for constant in tried)
    assert of_model(given, "loss_constant") == pytest.approx(least, rel=2e-3)


def test_a_sigmoid_between_model_and_loss_is_seen() -> None:
    z = (3 * drawn(ROWS, 1).detach()).requires_grad_()
    y = (torch.arange(ROWS) % 3 == 0).float()[:, None]
    loss = fn.binary_cross_entropy(z.sigmoid(), y, reduction="sum")
    given = measured("bce", z, loss, y)
    entropy = -(np.log(1 / 3) / 3 + 2 * np.log(2 / 3) / 3)
    assert of_model(given, "loss_constant") == pytest.approx(ROWS * entropy, rel=1e-4)
    same(given, measured("bce", z, loss, None))


@pytest.mark.parametrize("calls", [1, 2])
def test_class_numbers_for_every_column_are_told_in_the_mean_of_several_calls(calls: int) -> None:
    z, y = drawn(ROWS, 4), torch.arange(ROWS)[:, None] % 4
    ((z - y).square().mean() / calls).backward()
    bench = Bench([], "mse")
    bench.add(What.OUTPUT, 0, (ROWS, 4), "nu")
    bench.add(What.OUTPUT_GRAD, 0, (ROWS, 4), "nu")
    values = {(What.OUTPUT, 0): z.detach().numpy(), (What.OUTPUT_GRAD, 0): grad_of(z).numpy()}
    plan = bench.plan()
    model = msgspec.structs.replace(plan.models[0], calls=calls)
    statistician = Statistician()
    statistician.adopt(msgspec.structs.replace(plan, models=(model,)))
    (one,) = statistician.measure([bench.frame(1, values, [3.3])])
    assert of_model(one, "squashed") == FOR_ALL


def test_a_model_whose_loss_is_anothers_is_not_read_as_its_argument() -> None:
    z = drawn(ROWS, 2)
    (z.sigmoid() ** 2).mean().backward()
    bench = Bench([], "bce_logits", models=2)
    for index in (0, 1):
        bench.add(What.OUTPUT, index, (ROWS, 2), "nu")
        bench.add(What.OUTPUT_GRAD, index, (ROWS, 2), "nu")
    values = {(What.OUTPUT, 0): z.detach().numpy(), (What.OUTPUT_GRAD, 0): grad_of(z).numpy()}
    plan = bench.plan()
    heard = msgspec.structs.replace(plan.models[1], loss_input=(ROWS, 2))
    for models, read in ((plan.models, True), ((plan.models[0], heard), False)):
        statistician = Statistician()
        statistician.adopt(msgspec.structs.replace(plan, models=models))
        (one,) = statistician.measure([bench.frame(1, values, [1.0])])
        assert np.isfinite(of_model(one, "label_entropy")) == read
        assert np.isfinite(of_model(one, "information")) == read


def test_a_first_call_with_labels_of_one_kind_is_not_the_whole_step() -> None:
    z, y = drawn(ROWS, 1), torch.ones(ROWS, 1)
    bench = Bench([], "bce_logits")
    bench.add(What.OUTPUT, 0, (ROWS, 1), "nu")
    bench.add(What.TARGET, 0, (ROWS, 1), "nu")
    values = {(What.OUTPUT, 0): z.detach().numpy(), (What.TARGET, 0): y.numpy()}
    plan = bench.plan()
    for calls in (1, 2):
        model = msgspec.structs.replace(plan.models[0], calls=calls)
        statistician = Statistician()
        statistician.adopt(msgspec.structs.replace(plan, models=(model,)))
        (one,) = statistician.measure([bench.frame(1, values, [1.0])])
        expected = 1.0 if calls == 1 else np.nan
        assert of_model(one, "majority_share") == pytest.approx(expected, nan_ok=True)


def test_a_softmax_over_one_unit_is_far_worse_than_the_base_rate() -> None:
    z = drawn(ROWS, 1)
    y = (torch.arange(ROWS) % 2 == 0).float()[:, None]
    p = z.softmax(1)
    p.retain_grad()
    loss = fn.binary_cross_entropy(p, y)
    assert loss.item() == pytest.approx(50.0)
    given = measured("bce", p, loss, y)
    assert of_model(given, "loss_constant") == pytest.approx(np.log(2))
    assert of_model(given, "skill") == pytest.approx(1 - 50 / np.log(2), rel=1e-5)
    assert of_model(given, "row_sum_error") == 0.0
    assert of_model(given, "prediction_entropy") == 0.0


def test_of_many_positions_and_classes_some_rows_are_read() -> None:
    z, y = drawn(16, 30, 1000), torch.arange(480).reshape(16, 30) % 25
    y[:, 7] = -100
    loss = fn.cross_entropy(z.reshape(-1, 1000), y.reshape(-1))
    both = measured("cross_entropy", z, loss, y, axes="npu", target_axes="np", times=4)
    same(both, measured("cross_entropy", z, loss, None, axes="npu", times=4))
    alone = measured(
        "cross_entropy", z, loss, y, axes="npu", target_axes="np", times=4, gradient=False
    )
    same(alone, both)
    assert of_model(both, "label_entropy") > 0.6 * np.log(25)
    assert of_model(both, "distinct_predictions") <= 65


@pytest.mark.parametrize("turned", [False, True])
def test_classes_that_are_viewed_where_they_should_be_turned_show_in_the_gradient(
    *, turned: bool
) -> None:
    z = drawn(32, 24, 26)
    y = torch.randint(0, 26, (32, 24), generator=torch.Generator().manual_seed(2))
    by_class = z.transpose(1, 2) if turned else z.reshape(32, 26, 24)
    # A second loss bends the gradient, so that no labels can be read off it.
    loss = fn.cross_entropy(by_class, y) + 1e-3 * z.logsumexp(2).square().mean()
    found = measured(
        "cross_entropy", z, loss, y, axes="npu", target_axes="np", read_as=(32, 26, 24)
    )
    assert (of_model(found, "squashed") == 9.0) is not turned


@pytest.mark.parametrize("turned", [False, True])
def test_axes_stay_mixed_up_once_the_frequencies_of_the_classes_are_learnt(*, turned: bool) -> None:
    # Most rows hold classes that hardly occur, and are given next to no gradient.
    y = torch.randint(0, 4, (32, 24), generator=torch.Generator().manual_seed(2))
    by_class = 0.3 * drawn(32, 26, 24).detach() - 9.0 * (torch.arange(26) >= 4)[:, None]
    z = by_class.transpose(1, 2) if turned else by_class.reshape(32, 24, 26)
    z = z.contiguous().requires_grad_()
    read = z.transpose(1, 2) if turned else z.reshape(32, 26, 24)
    loss = fn.cross_entropy(read, y) + 1e-3 * z.logsumexp(2).square().mean()
    found = measured(
        "cross_entropy", z, loss, y, axes="npu", target_axes="np", read_as=(32, 26, 24)
    )
    assert (of_model(found, "squashed") == 9.0) is not turned


@pytest.mark.parametrize("turned", [False, True])
def test_channels_made_rows_of_positions_are_turned_or_mixed(*, turned: bool) -> None:
    z = drawn(32, 5, 16)
    y = torch.randint(0, 5, (32 * 16,), generator=torch.Generator().manual_seed(2))
    rows = z.transpose(1, 2).reshape(-1, 5) if turned else z.reshape(-1, 5)
    loss = fn.cross_entropy(rows, y)
    found = measured("cross_entropy", z, loss, None, axes="nup", read_as=(512, 5))
    assert (of_model(found, "squashed") == 9.0) is not turned
    assert np.isfinite(of_model(found, "skill")) == turned


def test_scores_of_a_list_without_their_last_axis_have_no_positions_to_mix_up() -> None:
    z = drawn(16, 12, 1)
    wanted = fn.softmax(3 * drawn(16, 12), dim=-1)
    loss = fn.cross_entropy(z[..., 0], wanted)
    found = measured("cross_entropy", z, loss, None, axes="npu", read_as=(16, 12))
    assert of_model(found, "squashed") != 9.0


@pytest.mark.parametrize("given", [True, False])
def test_targets_that_are_one_for_all_rows_leave_nothing_to_be_told(*, given: bool) -> None:
    # A centre that all rows are drawn to (Deep SVDD): what rounding leaves is no spread.
    output = (0.3 * drawn(ROWS, 4)).detach().requires_grad_()
    centre = torch.tensor([0.1, -0.3, 0.7, 0.2])
    loss = ((output - centre) ** 2).mean()
    now = measured("mse", output, loss, centre.expand(ROWS, 4) if given else None)
    assert of_model(now, "target_sd") == 0
    assert of_model(now, "target_mean") == pytest.approx(0.175, rel=1e-4)
    for metric in ("loss_constant", "skill", "sigma_share", "target_kurtosis"):
        assert np.isnan(of_model(now, metric)), metric
