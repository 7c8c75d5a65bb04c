"""Labels inferred from outputs and gradients, against the labels that autograd was given."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as fn

from deadband_monitor.statistics.between import Halved, Squared
from deadband_monitor.statistics.factors import yes_no_factor
from deadband_monitor.statistics.labels import (
    Labels,
    Targets,
    YesNo,
    class_labels,
    labels_of_frames,
    squared_targets,
    yes_no_targets,
)
from deadband_monitor.statistics.outputs import softmax
from deadband_monitor.statistics.skill import Shown, Skill, Standing
from deadband_monitor.statistics.squash import bent, over_rows, squashed, squashed_of_frames

ROWS, CLASSES = 48, 7


def logits(spread: float = 2.0, rows: int = ROWS, columns: int = CLASSES) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (spread * torch.randn(rows, columns, generator=generator)).requires_grad_()


def classes(rows: int = ROWS) -> Tensor:
    return torch.randint(0, CLASSES, (rows,), generator=torch.Generator().manual_seed(1))


def gradient(loss: Tensor, output: Tensor) -> np.ndarray:
    (found,) = torch.autograd.grad(loss, output)
    return found.float().numpy()


def numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().numpy()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("spread", [0.0, 1e-4, 2.0, 30.0])
@pytest.mark.parametrize("factor", [1.0, 0.25, 65536.0, 1e-6])
def test_cross_entropy_gives_its_labels_at_any_scale(
    reduction: str, spread: float, factor: float
) -> None:
    z, y = logits(spread), classes()
    loss = factor * fn.cross_entropy(z, y, reduction=reduction)
    found = class_labels(numbers(z), gradient(loss, z), ROWS)
    assert found is not None
    assert found.rows.all()
    assert np.array_equal(found.classes, y.numpy())
    expected = factor / ROWS if reduction == "mean" else factor
    assert found.scale == pytest.approx(expected, rel=0.01)


def test_confident_right_predictions_are_their_own_labels() -> None:
    y = classes()
    z = (200.0 * fn.one_hot(y, CLASSES).float()).requires_grad_()
    z.data[0] *= 0.01  # one row is still unsure, so there is a gradient at all
    found = class_labels(numbers(z), gradient(fn.cross_entropy(z, y), z), ROWS)
    assert found is not None
    assert np.array_equal(found.classes, y.numpy())


def test_confident_wrong_predictions_still_show_the_label() -> None:
    y = classes()
    z = (200.0 * fn.one_hot((y + 1) % CLASSES, CLASSES).float()).requires_grad_()
    found = class_labels(numbers(z), gradient(fn.cross_entropy(z, y), z), ROWS)
    assert found is not None
    assert np.array_equal(found.classes, y.numpy())


def test_class_weights_come_with_the_labels() -> None:
    z, y = logits(), classes()
    weight = torch.linspace(0.2, 3.0, CLASSES)
    found = class_labels(numbers(z), gradient(fn.cross_entropy(z, y, weight), z), ROWS)
    assert found is not None
    assert np.array_equal(found.classes, y.numpy())
    expected = weight[y].numpy() / weight[y].mean().item()
    assert found.weights == pytest.approx(expected, rel=0.01)


def test_rows_with_ignore_index_have_no_label() -> None:
    z, y = logits(), classes()
    y[::3] = -100
    found = class_labels(numbers(z), gradient(fn.cross_entropy(z, y), z), ROWS)
    assert found is not None
    assert np.array_equal(found.rows, y.numpy() >= 0)
    assert np.array_equal(found.classes, y[y >= 0].numpy())


@pytest.mark.parametrize("spread", [0.1, 2.0, 20.0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_smoothed_labels_are_found_with_their_targets(spread: float, reduction: str) -> None:
    z, y = logits(spread), classes()
    loss = fn.cross_entropy(z, y, label_smoothing=0.2, reduction=reduction)
    found = class_labels(numbers(z), gradient(loss, z), ROWS)
    assert found is not None
    assert np.array_equal(found.classes, y.numpy())
    if found.targets is not None:
        smoothed = 0.8 * fn.one_hot(y, CLASSES) + 0.2 / CLASSES
        assert found.targets == pytest.approx(smoothed.numpy(), abs=2e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gradients_are_enough(dtype: torch.dtype) -> None:
    z, y = logits(), classes()
    grad = torch.from_numpy(gradient(fn.cross_entropy(z, y), z)).to(dtype).float().numpy()
    found = class_labels(numbers(z.to(dtype)), grad, ROWS)
    assert found is not None
    assert np.array_equal(found.classes, y.numpy())


@pytest.mark.parametrize("ends_in", ["log_softmax", "softmax", "logits"])
def test_negative_log_likelihood_gives_its_labels_whatever_it_is_fed(ends_in: str) -> None:
    z, y = logits(), classes()
    made = {"log_softmax": z.log_softmax(1), "softmax": z.softmax(1), "logits": z * 1.0}[ends_in]
    found = class_labels(numbers(made), gradient(fn.nll_loss(made, y), made), ROWS)
    assert found is not None
    assert np.array_equal(found.classes, y.numpy())


def test_softmax_before_cross_entropy_changes_nothing() -> None:
    p, y = logits().softmax(1), classes()
    found = class_labels(numbers(p), gradient(fn.cross_entropy(p, y), p), ROWS)
    assert found is not None
    assert np.array_equal(found.classes, y.numpy())


def test_a_second_loss_on_the_same_output_is_given_up() -> None:
    z, y = logits(), classes()
    loss = fn.cross_entropy(z, y) + 0.5 * (z**2).mean()
    assert class_labels(numbers(z), gradient(loss, z), ROWS) is None
    assert class_labels(numbers(z), np.zeros((ROWS, CLASSES), np.float32), ROWS) is None
    noise = np.random.default_rng(0).normal(size=(ROWS, CLASSES)).astype(np.float32)
    assert class_labels(numbers(z), noise, ROWS) is None
    one_column = numbers(z)[:, :1]
    assert class_labels(one_column, one_column, ROWS) is None


@pytest.mark.parametrize("columns", [1, 5])
@pytest.mark.parametrize("factor", [1.0, 65536.0, 1e-5])
@pytest.mark.parametrize("positive_weight", [1.0, 9.0])
def test_yes_no_labels_with_logits(columns: int, factor: float, positive_weight: float) -> None:
    z = logits(3.0, columns=columns)
    y = (torch.rand(ROWS, columns, generator=torch.Generator().manual_seed(2)) < 0.3).float()
    pos_weight = torch.tensor([positive_weight])
    loss = factor * fn.binary_cross_entropy_with_logits(z, y, pos_weight=pos_weight)
    found = yes_no_targets(numbers(z), gradient(loss, z), z.numel(), logits=True)
    assert found is not None
    assert np.array_equal(found.values, y.numpy())
    assert found.positive_weight == pytest.approx(positive_weight, rel=0.02)
    assert found.scale == pytest.approx(factor / z.numel(), rel=0.02)


def test_yes_no_labels_with_probabilities() -> None:
    p = logits(2.0, columns=1).sigmoid()
    y = (torch.rand(ROWS, 1, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    grad = gradient(fn.binary_cross_entropy(p, y), p)
    found = yes_no_targets(numbers(p), grad, p.numel(), logits=False)
    assert found is not None
    assert np.array_equal(found.values, y.numpy())


def test_soft_yes_no_targets_of_an_autoencoder() -> None:
    z = logits(1.0, columns=20)
    y = torch.rand(ROWS, 20, generator=torch.Generator().manual_seed(2))
    grad = gradient(fn.binary_cross_entropy_with_logits(z, y), z)
    found = yes_no_targets(numbers(z), grad, z.numel(), logits=True)
    assert found is not None
    assert found.values == pytest.approx(y.numpy(), abs=1e-3)


def test_yes_no_labels_are_given_up_where_nothing_fits() -> None:
    z = numbers(logits(columns=3))
    noise = np.random.default_rng(0).normal(size=z.shape).astype(np.float32)
    assert yes_no_targets(z, noise, z.size, logits=True) is None
    assert yes_no_targets(z, np.zeros_like(z), z.size, logits=True) is None
    assert yes_no_targets(z, noise, z.size, logits=False) is None


@pytest.mark.parametrize(("reduction", "factor"), [("mean", 1.0), ("sum", 96.0)])
def test_squared_error_gives_its_targets(reduction: str, factor: float) -> None:
    z = logits(1.0, columns=2)
    y = 100 + 0.3 * torch.randn(ROWS, 2, generator=torch.Generator().manual_seed(3))
    loss = fn.mse_loss(z, y, reduction=reduction)
    found = squared_targets(numbers(z), gradient(loss, z), z.numel(), loss.item())
    assert found is not None
    assert found.values == pytest.approx(y.numpy(), rel=1e-4)
    assert found.factor == factor


def test_squared_error_summed_over_the_columns_of_a_row_gives_its_targets() -> None:
    z = logits(1.0, columns=5)
    y = 100 + 0.3 * torch.randn(ROWS, 5, generator=torch.Generator().manual_seed(3))
    loss = ((z - y) ** 2).sum(1).mean()
    grad = gradient(loss, z)
    found = squared_targets(numbers(z), grad, z.numel(), loss.item())
    assert found is not None
    assert found.values == pytest.approx(y.numpy(), rel=1e-4)
    assert found.factor == 5.0
    # Of a part of the batch the loss is a draw, and five may as well be three.
    assert squared_targets(numbers(z)[:32], grad[:32], z.numel(), loss.item()) is None


@pytest.mark.parametrize("power", [10, 11, 20])
def test_a_squared_error_with_a_penalty_beside_it_that_looks_like_a_power_of_two_is_given_up(
    power: int,
) -> None:
    """A weighted sum a row and a VAE's divergence: how much that is, is not known."""
    z = logits(1.0, columns=144)
    y = torch.rand(ROWS, 144, generator=torch.Generator().manual_seed(3))
    weight = 1.4 * 2.0**power / 144
    loss = weight * ((z - y) ** 2).sum(1).mean()
    grad = gradient(loss, z)
    beside = z.numel() ** 2 * float(np.mean(grad**2)) / 4 / 2.0**power - loss.item()
    assert beside > 0
    assert squared_targets(numbers(z), grad, z.numel(), loss.item() + beside) is None


def test_what_looks_like_a_squared_error_now_and_then_is_none() -> None:
    """Beside the critic's stands the actor's loss, which may be anything."""
    squared, found = Squared(), []
    z = torch.randn(ROWS, 1, generator=torch.Generator().manual_seed(1)).requires_grad_()
    y = torch.randn(ROWS, 1, generator=torch.Generator().manual_seed(2))
    for step in range(60):
        loss = ((z - y) ** 2).mean() + 0.5 * math.sin(step)
        known = (numbers(z), gradient(loss, z), z.numel(), loss.item())
        found.append(squared.observe(*known))
    assert all(each is None for each in found[4:])


@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_half_a_squared_error_gives_its_targets_once_it_has_come_three_times(
    penalty: float,
) -> None:
    halved, found = Halved(), []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(ROWS, 3, generator=generator).requires_grad_()
        y = 5 * torch.randn(ROWS, 3, generator=generator)
        loss = 0.5 * ((z - y) ** 2).mean() + penalty
        found.append(halved.observe(numbers(z), gradient(loss, z), z.numel(), loss.item()))
    assert found[:2] == [None, None]
    last = found[-1]
    assert (last is None) == bool(penalty)
    if last is not None:
        assert last.values == pytest.approx(numbers(y), rel=1e-3, abs=1e-3)
        assert last.factor == 0.5


def test_squared_error_from_a_part_of_the_batch() -> None:
    z = logits(1.0, rows=256, columns=1)
    y = torch.randn(256, 1, generator=torch.Generator().manual_seed(3))
    loss = fn.mse_loss(z, y)
    grad = gradient(loss, z)[:64]
    found = squared_targets(numbers(z)[:64], grad, 256, loss.item())
    assert found is not None
    assert found.values == pytest.approx(y[:64].numpy(), abs=1e-4)


def test_squared_error_of_another_scale_or_a_broadcast_is_given_up() -> None:
    z = logits(1.0, columns=1)
    y = torch.randn(ROWS, generator=torch.Generator().manual_seed(3))
    loss = ((z - y) ** 2).mean()  # (48, 1) against (48,): the well-known accident
    assert squared_targets(numbers(z), gradient(loss, z), ROWS, loss.item()) is None
    fair = fn.mse_loss(z[:, 0], y)
    grad = gradient(fair, z)
    assert squared_targets(numbers(z), 3.3 * grad, ROWS, fair.item()) is None
    assert squared_targets(numbers(z), grad, ROWS, float("nan")) is None
    assert squared_targets(numbers(z), 0 * grad, ROWS, fair.item()) is None


def observed(kind: str, z: Tensor, loss: Tensor, times: int = 8, scale: float = 1.0) -> Standing:
    skill = Skill()
    grad = scale * gradient(loss, z)
    for _ in range(times):
        standing = skill.observe(kind, Shown(numbers(z), grad, z.numel(), loss.item()))
    return standing


def test_skill_is_measured_against_the_best_constant_prediction() -> None:
    z, y = logits(0.5), classes()
    shares = torch.bincount(y, minlength=CLASSES) / ROWS
    entropy = -(shares * shares.clamp_min(1e-30).log()).sum().item()
    for reduction in ("mean", "sum"):
        loss = fn.cross_entropy(z, y, reduction=reduction)
        standing = observed("cross_entropy", z, loss)
        whole = entropy * (ROWS if reduction == "sum" else 1)
        assert standing.label_entropy == pytest.approx(entropy, rel=1e-5)
        assert standing.batch_label_entropy == pytest.approx(1.0)
        assert standing.loss_constant == pytest.approx(whole, rel=1e-3)
        assert standing.skill == pytest.approx(1 - loss.item() / whole, rel=1e-3)


@pytest.mark.parametrize("scale", [65536.0, 1 / 65536])
def test_a_gradient_scaler_does_not_shift_the_constant_loss(scale: float) -> None:
    z, y = logits(0.5), classes()
    plain = observed("cross_entropy", z, fn.cross_entropy(z, y))
    scaled = observed("cross_entropy", z, fn.cross_entropy(z, y), scale=scale)
    assert scaled.loss_constant == pytest.approx(plain.loss_constant)
    yes = (y < 3).float()[:, None]
    w = logits(0.5, columns=1)
    plain = observed("bce_logits", w, fn.binary_cross_entropy_with_logits(w, yes))
    scaled = observed("bce_logits", w, fn.binary_cross_entropy_with_logits(w, yes), scale=scale)
    assert scaled.loss_constant == pytest.approx(plain.loss_constant)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_best_constant_logits_have_no_skill(smoothing: float, weighted: bool) -> None:
    y = classes(400)
    weight = torch.linspace(0.5, 4.0, CLASSES) if weighted else None
    if smoothing and weighted:
        pytest.skip("both at once is given up")
    mass = torch.bincount(y, minlength=CLASSES) * (1.0 if weight is None else weight)
    mass = (1 - smoothing) * mass / mass.sum() + smoothing / CLASSES
    z = mass.log().tile(400, 1).requires_grad_()
    loss = fn.cross_entropy(z, y, weight, label_smoothing=smoothing)
    standing = observed("cross_entropy", z, loss)
    assert standing.skill == pytest.approx(0.0, abs=2e-3)


@pytest.mark.parametrize("positive_weight", [1.0, 4.0])
def test_the_best_constant_yes_no_logit_has_no_skill(positive_weight: float) -> None:
    y = (torch.rand(200, 1, generator=torch.Generator().manual_seed(2)) < 0.2).float()
    yes = positive_weight * y.mean()
    z = torch.logit(yes / (yes + 1 - y.mean())).tile(200, 1).requires_grad_()
    weight = torch.tensor([positive_weight])
    loss = fn.binary_cross_entropy_with_logits(z, y, pos_weight=weight)
    standing = observed("bce_logits", z, loss)
    assert standing.skill == pytest.approx(0.0, abs=1e-3)
    rate = y.mean().item()
    entropy = -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)
    assert standing.label_entropy == pytest.approx(entropy, rel=1e-4)


def test_regression_is_judged_by_the_spread_of_its_targets() -> None:
    y = 5 + 0.5 * torch.randn(300, 2, generator=torch.Generator().manual_seed(3))
    z = (0.3 * (y - 5) + 5).requires_grad_()
    loss = fn.mse_loss(z, y)
    standing = observed("mse", z, loss)
    assert standing.sigma_share == pytest.approx(0.3, rel=1e-3)
    assert standing.loss_constant == pytest.approx(y.var(dim=0, correction=0).mean().item(), 1e-3)
    assert standing.skill == pytest.approx(1 - 0.49, abs=1e-2)


def test_sorted_batches_show_against_the_window() -> None:
    skill = Skill()
    for step in range(20):
        y = torch.full((ROWS,), step % CLASSES)
        y[0] = (step + 1) % CLASSES
        z = logits(0.1)
        loss = fn.cross_entropy(z, y)
        standing = skill.observe(
            "cross_entropy", Shown(numbers(z), gradient(loss, z), z.numel(), loss.item())
        )
    assert standing.batch_label_entropy < 0.1
    assert standing.label_entropy > 0.8 * np.log(CLASSES)


def test_a_handful_of_labels_of_a_batch_says_nothing_of_its_mixture() -> None:
    """Of very many classes, a slice shows the labels of the few rows that are of the first ones."""
    skill = Skill()
    z = logits(0.1)
    shown = Shown(numbers(z), None, z.numel(), 2.0)
    for step in range(40):
        rows, two = np.arange(ROWS) < 2, np.array([step % CLASSES] * 2)
        few = Labels(classes=two, rows=rows, weights=np.ones(2), scale=1.0)
        standing = skill.observe("cross_entropy", replace(shown, given=few))
    assert standing.label_entropy > 0.8 * np.log(CLASSES)
    assert np.isnan(standing.batch_label_entropy)


def test_a_single_row_of_answers_says_nothing_of_the_mixture_of_a_batch() -> None:
    """A series of yes and no answers, one a step."""
    skill = Skill()
    for step in range(60):
        y = np.random.default_rng(step).random((1, 24)) < 0.3
        given = YesNo(values=y.astype(np.float64), scale=1.0, positive_weight=1.0)
        shown = Shown(np.zeros((1, 24), np.float32), None, 24, 0.7, given)
        standing = skill.observe("bce_logits", shown)
    assert standing.label_entropy > 0.5
    assert np.isnan(standing.batch_label_entropy)


def test_labels_of_the_window_stand_in_for_a_while_when_a_step_is_silent() -> None:
    z, y = logits(0.5), classes()
    loss = fn.cross_entropy(z, y)
    skill = Skill()
    shown = Shown(numbers(z), gradient(loss, z), z.numel(), loss.item())
    known = skill.observe("cross_entropy", shown)
    silent = [
        skill.observe("cross_entropy", Shown(numbers(z), None, z.numel(), loss.item()))
        for _ in range(30)
    ]
    assert silent[0].loss_constant == known.loss_constant
    assert np.isnan(silent[0].batch_label_entropy)
    assert np.isnan(silent[-1].loss_constant)


def test_windows_forget_old_labels() -> None:
    skill = Skill()
    z = logits(0.1, rows=400)
    for label in [0] * 10 + [1, 2] * 10:
        y = torch.full((400,), label)
        loss = fn.cross_entropy(z, y)
        standing = skill.observe(
            "cross_entropy", Shown(numbers(z), gradient(loss, z), z.numel(), loss.item())
        )
    assert standing.label_entropy == pytest.approx(np.log(2), abs=0.03)


def test_labels_that_are_all_the_same_leave_nothing_to_be_skilled_at() -> None:
    z = logits(0.1)
    standing = observed("cross_entropy", z, fn.cross_entropy(z, torch.zeros(ROWS).long()))
    assert standing.label_entropy == 0.0
    assert np.isnan(standing.skill)


def test_an_unknown_loss_says_nothing_of_labels() -> None:
    z = logits()
    standing = observed("huber", z, fn.huber_loss(z, torch.zeros_like(z)))
    assert np.isnan(standing.label_entropy)
    assert np.isnan(standing.skill)


def test_a_recorded_loss_that_the_output_does_not_explain_has_no_constant_to_beat() -> None:
    z, y = logits(0.5), classes()
    loss = fn.cross_entropy(z, y)
    grad, skill = gradient(loss, z), Skill()
    for _ in range(20):
        standing = skill.observe(
            "cross_entropy", Shown(numbers(z), grad, z.numel(), 4 * loss.item())
        )
    assert np.isnan(standing.loss_constant)
    assert standing.skill == pytest.approx(1 - loss.item() / standing.label_entropy, rel=1e-3)


def test_what_is_added_to_the_loss_function_is_no_lack_of_skill() -> None:
    z, y = logits(0.5), classes()
    plain = observed("cross_entropy", z, fn.cross_entropy(z, y), times=12)
    assert np.isnan(plain.further_loss)
    for penalty in (1.5, 20.0):
        standing = observed("cross_entropy", z, fn.cross_entropy(z, y) + penalty, times=80)
        assert standing.further_loss == pytest.approx(penalty, rel=1e-3)
        assert standing.skill == pytest.approx(plain.skill, abs=1e-3)
    yes = (y < 3).float()[:, None]
    w = logits(0.5, columns=1)
    binary = fn.binary_cross_entropy_with_logits
    plain = observed("bce_logits", w, binary(w, yes), times=12)
    standing = observed("bce_logits", w, binary(w, yes) + 0.5, times=80)
    assert standing.skill == pytest.approx(plain.skill, abs=1e-3)


@pytest.mark.parametrize("penalty", [0.0, 20.0])
def test_what_is_added_to_an_absolute_error_makes_no_sum_of_it(penalty: float) -> None:
    """32 rows: at 20 the recorded loss is nearer to the sum of them than to their mean."""
    z = logits(0.5, rows=32, columns=1)
    y = torch.randn(32, 1, generator=torch.Generator().manual_seed(3))
    loss, skill = fn.l1_loss(z, y) + penalty, Skill()
    grad, given = gradient(loss, z), Targets(numbers(y).astype(np.float64), np.nan)
    for _ in range(20):
        standing = skill.observe("l1", Shown(numbers(z), grad, 32, loss.item(), given))
    own = fn.l1_loss(z, y).item()
    assert standing.skill == pytest.approx(1 - own / (y - y.median()).abs().mean().item(), abs=0.05)
    assert standing.further_loss == pytest.approx(penalty, rel=1e-3) if penalty else True


@pytest.mark.parametrize(("penalty", "found"), [(0.0, False), (0.5, True)])
def test_slices_without_rows_of_a_rare_class_are_no_sign_of_a_penalty(
    penalty: float, found: bool
) -> None:
    """Of 640 rows 64 are copied; one row in a hundred is of the other class, and costs much."""
    draws, skill, added = torch.Generator().manual_seed(2), Skill(), []
    for _ in range(200):
        rare = (torch.rand(640, generator=draws) < 0.01).long()
        z = torch.tensor([[4.6, 0.0]]).repeat(640, 1).requires_grad_()
        loss = fn.cross_entropy(z, rare) + penalty
        shown = Shown(numbers(z[:64]), gradient(loss, z)[:64], z.numel(), loss.item())
        added.append(skill.observe("cross_entropy", shown).further_loss)
    assert bool(np.isfinite(added).any()) is found


@pytest.mark.parametrize(("calls", "found"), [(2, False), (1, True)])
def test_the_loss_of_two_batches_is_a_draw_about_that_of_one(calls: int, found: bool) -> None:
    """Ten of these batches in a row held fewer rare rows than the other half of their step."""
    skill, added = Skill(), []
    for batch in range(40):
        rare = (torch.arange(64) < 4 + (batch % 3 == 0)).long()
        z = torch.tensor([[2.6, 0.0]]).repeat(64, 1).requires_grad_()
        loss = fn.cross_entropy(z, rare)
        shown = Shown(numbers(z), gradient(loss, z), z.numel(), loss.item() + 0.03, calls=calls)
        added.append(skill.observe("cross_entropy", shown).further_loss)
    assert bool(np.isfinite(added).any()) is found


def test_a_sum_over_the_rows_has_nothing_added() -> None:
    z, y = logits(0.5), classes()
    standing = observed("cross_entropy", z, fn.cross_entropy(z, y, reduction="sum"), times=20)
    assert np.isnan(standing.further_loss)


def test_a_softmax_over_the_batch_or_twice_shows_in_the_gradient() -> None:
    z, y = logits(2.0), classes()
    everywhere = np.ones(ROWS, dtype=np.bool_)
    found = Labels(y.numpy(), everywhere, np.ones(ROWS), 1.0)

    def told(loss: Tensor, *, whole: bool = True) -> float:
        return squashed(numbers(z), gradient(loss, z), found, whole=whole)

    assert told(fn.cross_entropy(z, y)) == 0.0
    assert told(fn.cross_entropy(z.softmax(1), y)) == 1.0
    assert told(fn.nll_loss(z.log_softmax(0), y)) == 2.0
    assert told(fn.nll_loss(z.log_softmax(0), y), whole=False) == 0.0


@pytest.mark.parametrize("factor", [1.0, 1e-3, 64.0])
@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0])
def test_a_softmax_over_the_batch_is_told_without_labels(spread: float, factor: float) -> None:
    z, y, few = logits(spread), classes(), logits(spread, rows=CLASSES)

    def told(loss: Tensor, of: Tensor = z) -> bool:
        return over_rows(numbers(of), gradient(factor * loss, of))

    def by_hand() -> Tensor:
        return -z.log_softmax(0).gather(1, y[:, None])

    assert told(by_hand().mean())
    assert told(by_hand().sum())
    for loss in (
        fn.cross_entropy(z, y), fn.cross_entropy(z.softmax(1), y), fn.nll_loss(z, y),
        fn.multi_margin_loss(z, y), by_hand().mean() + fn.cross_entropy(z, y), z.square().mean(),
        fn.binary_cross_entropy_with_logits(z, fn.one_hot(y, CLASSES).float()), 0 * z.sum(),
    ):  # fmt: skip
        assert not told(loss)
    # Which picture goes with a text is asked the other way round.
    assert not told(fn.cross_entropy(few.T, torch.arange(CLASSES)), few)


def test_frames_looked_at_together_say_what_each_says_alone() -> None:
    z, y = logits(2.0), classes()
    masked = torch.where(torch.arange(ROWS) % 3 == 0, -100, y)
    losses = [
        fn.cross_entropy(z, y),
        fn.cross_entropy(z.softmax(1), y),
        fn.cross_entropy(z, masked),
        fn.cross_entropy(z, y, label_smoothing=0.1),
        fn.nll_loss(z.log_softmax(0), y),
        fn.nll_loss(z, y),
        z.square().sum(),
        0 * z.sum(),
    ]
    grads = np.stack([gradient(loss, z) for loss in losses])
    outputs = np.stack([numbers(z)] * len(losses))
    p, every = softmax(outputs), np.ones(len(losses), np.bool_)
    together = labels_of_frames(grads, p, ROWS, every)
    alone = [class_labels(numbers(z), grad, ROWS) for grad in grads]
    assert [found is None for found in together] == [found is None for found in alone]
    assert sum(found is not None for found in alone) >= 4
    for found, own in zip(together, alone, strict=True):
        if found is not None and own is not None:
            assert np.array_equal(found.classes, own.classes)
            assert np.array_equal(found.rows, own.rows)
            assert np.array_equal(found.weights, own.weights, equal_nan=True)
            assert found.scale == own.scale
    kept = np.arange(ROWS) % 2 == 0
    meant = [Labels(y.numpy(), np.ones(ROWS, np.bool_), np.ones(ROWS), 1.0)] * len(losses)
    meant[1] = Labels(y.numpy()[kept], kept, np.ones(int(kept.sum())), 1.0)
    told = squashed_of_frames(outputs, grads, meant, p, every, whole=True)
    own_words = [
        squashed(numbers(z), grad, each, whole=True)
        for grad, each in zip(grads, meant, strict=True)
    ]
    assert {0.0, 1.0, 2.0} <= set(told)
    assert np.array_equal(told, own_words, equal_nan=True)


def test_what_a_divergence_was_given_shows_in_the_gradient() -> None:
    z, y = logits(2.0), classes()
    shares = 0.9 * fn.one_hot(y, CLASSES).float() + 0.1 / CLASSES
    found = Targets(shares.double().numpy(), np.nan)

    def told(given: Tensor) -> float:
        loss = fn.kl_div(given, shares, reduction="batchmean")
        return bent("kl_div", numbers(z), gradient(loss, z), found)

    assert told(z.log_softmax(1)) == 0.0
    assert told(z * 1.0) == 3.0
    assert told(z.softmax(1)) == 4.0


def test_a_squared_error_of_a_softmax_is_judged_as_one() -> None:
    z, y = logits(0.5), classes()
    hot = fn.one_hot(y, CLASSES).float()
    given = Targets(hot.double().numpy(), np.nan)
    skill = Skill()
    for _ in range(8):
        loss = fn.mse_loss(z.softmax(1), hot)
        grad = gradient(loss, z)
        shown = Shown(numbers(z), grad, z.numel(), loss.item(), given)
        standing = skill.observe("mse", shown)
    assert bent("mse", numbers(z), grad, given) == 5.0
    best = hot.var(dim=0, unbiased=False).mean().item()
    assert standing.skill == pytest.approx(1 - loss.item() / best, abs=1e-3)
    plain = gradient(fn.mse_loss(z, hot), z)
    assert np.isnan(bent("mse", numbers(z), plain, given))


def test_a_mean_stays_one_where_batches_are_larger_than_the_first() -> None:
    generator, factor, known = torch.Generator().manual_seed(2), 1.0, set()
    for _ in range(40):  # what the plan's batch of 11 rows holds of batches of 32
        z = (6.0 * torch.randn(32, 1, generator=generator)).requires_grad_()
        y = (z + torch.randn(32, 1, generator=generator) > 0).float()
        loss = fn.binary_cross_entropy_with_logits(z, y)
        found = yes_no_targets(numbers(z)[:11], gradient(loss, z)[:11], 11, logits=True)
        assert found is not None
        of_slice = fn.binary_cross_entropy_with_logits(z[:11], y[:11]).item()
        factor = yes_no_factor(found, of_slice, 11, loss.item(), factor)
        known.add(factor)
    assert known == {1.0}


def test_a_batch_of_targets_that_are_all_one_figure_holds_no_entropy() -> None:
    skill = Skill()

    def shown(y: Tensor) -> Standing:
        z = logits(0.5)[:, :1]
        given = Targets(numbers(y).astype(np.float64), float("nan"))
        loss = fn.mse_loss(z, y)
        return skill.observe("mse", Shown(numbers(z), None, z.numel(), loss.item(), given))

    for seed in range(8):
        y = torch.randn(ROWS, 1, generator=torch.Generator().manual_seed(seed))
        assert np.isnan(shown(y).batch_label_entropy)
    assert shown(torch.full((ROWS, 1), -3.0)).batch_label_entropy == 0.0


@pytest.mark.parametrize("divided", [1, 16])
@pytest.mark.parametrize("told", [0.0, 0.6, 0.99])
def test_what_grey_pixels_leave_open_is_no_lack_of_skill(told: float, divided: int) -> None:
    """The usual loss of a variational autoencoder: summed, and divided by the rows or not."""
    grey = 0.05 + 0.9 * torch.rand(16, 40, generator=torch.Generator().manual_seed(1))
    mean = grey.mean(0).expand_as(grey)
    binary, skill = fn.binary_cross_entropy_with_logits, Skill()
    z = torch.logit(torch.lerp(mean, grey, told)).requires_grad_()
    loss = binary(z, grey, reduction="sum") / divided
    given, grad = YesNo(grey.double().numpy(), np.nan, np.nan), gradient(loss, z)
    for _ in range(30):
        shown = Shown(numbers(z), grad, z.numel(), loss.item(), given)
        standing = skill.observe("bce_logits", shown)
    least, most = (binary(torch.logit(each), grey).item() for each in (grey, mean))
    assert standing.loss_constant == pytest.approx(most * grey.numel() / divided, rel=1e-3)
    assert standing.open_share == pytest.approx(least / most, rel=1e-3)
    own = binary(z, grey).item()
    assert standing.skill == pytest.approx((most - own) / (most - least), abs=1e-3)
