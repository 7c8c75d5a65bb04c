"""An activation between the model and a loss of values shows in the loss's gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as fn

from deadband_monitor.statistics.between import (
    CLAMP,
    HARD_TANH,
    RELU,
    SIGMOID,
    SOFTMAX,
    TANH,
    WrittenOut,
    between,
    turned_targets,
)
from deadband_monitor.statistics.labels import Targets
from deadband_monitor.statistics.squash import TURNED

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": fn.mse_loss,
    "l1": fn.l1_loss,
    "smooth_l1": fn.smooth_l1_loss,
    "huber": fn.huber_loss,
}


def told(
    kind: str, bend: Callable[[Tensor], Tensor], shift: float = 0.0, columns: int = 1
) -> float:
    torch.manual_seed(0)
    z = (1.5 * torch.randn(48, columns) + shift).requires_grad_()
    target = 2 * torch.randn(48, columns)
    (gradient,) = torch.autograd.grad(LOSSES[kind](bend(z), target), z)
    given = Targets(target.double().numpy(), 1.0)
    return between(kind, z.detach().numpy(), gradient.numpy(), given)


@pytest.mark.parametrize("columns", [1, 5])
@pytest.mark.parametrize("kind", LOSSES)
def test_a_bend_behind_the_model_is_told_by_its_gradient(kind: str, columns: int) -> None:
    assert told(kind, torch.relu, columns=columns) == RELU
    assert told(kind, torch.sigmoid, columns=columns) == SIGMOID
    assert told(kind, torch.tanh, columns=columns) == TANH
    assert told(kind, lambda z: z.clamp(0, 1), columns=columns) == CLAMP
    assert told(kind, fn.hardtanh, columns=columns) == HARD_TANH


@pytest.mark.parametrize("kind", LOSSES)
def test_a_softmax_behind_the_model_is_told_where_there_are_columns(kind: str) -> None:
    assert told(kind, lambda z: z.softmax(1), columns=5) == SOFTMAX
    assert np.isnan(told(kind, lambda z: z.softmax(0), columns=5))
    assert np.isnan(told(kind, lambda z: z.log_softmax(1), columns=5))
    assert np.isnan(told(kind, lambda z: z, columns=5))


@pytest.mark.parametrize("kind", LOSSES)
def test_a_plain_output_and_other_bends_are_none_of_these(kind: str) -> None:
    assert np.isnan(told(kind, lambda z: z))
    assert np.isnan(told(kind, lambda z: 3 * z))
    assert np.isnan(told(kind, fn.softplus))
    assert np.isnan(told(kind, torch.sin))


@pytest.mark.parametrize("columns", [1, 5])
@pytest.mark.parametrize("kind", LOSSES)
def test_a_sign_that_is_turned_is_told_by_its_gradient(kind: str, columns: int) -> None:
    torch.manual_seed(0)
    z = torch.randn(48, columns).requires_grad_()
    target = 2 * torch.randn(48, columns)
    away = -LOSSES[kind](z, target)

    def way(loss: Tensor, rows: int = 48) -> float:
        (gradient,) = torch.autograd.grad(loss, z, retain_graph=True)
        given = Targets(target[:rows].double().numpy(), 1.0)
        return between(kind, z.detach().numpy()[:rows], gradient.numpy()[:rows], given)

    assert way(away) == TURNED
    assert np.isnan(way(away + z.square().mean()))  # a term beside it
    assert np.isnan(way(away, rows=1))  # of a few numbers any other term may pull so


def test_a_pull_on_all_outputs_alike_is_no_turned_sign() -> None:
    """All lie far below their targets, and something draws them down."""
    z = np.random.default_rng(0).normal(size=(32, 1)).astype(np.float32)
    below = Targets(z + 1000.0 + np.linspace(0, 1, 32)[:, None], 1.0)
    assert np.isnan(between("mse", z, np.full_like(z, 0.1), below))


def test_minus_a_squared_error_that_was_written_out_tells_its_targets() -> None:
    torch.manual_seed(0)
    z, y = torch.randn(32, 2).requires_grad_(), 1.3 * torch.randn(32, 2)
    loss = -(z - y).square().mean()
    (gradient,) = torch.autograd.grad(loss, z)
    shown, grad = z.detach().numpy(), gradient.numpy()
    targets = turned_targets(shown, grad, z.numel(), loss.item())
    assert targets is not None
    assert targets.values == pytest.approx(y.double().numpy(), abs=1e-5)
    assert turned_targets(shown, grad, z.numel(), 1.01 * loss.item()) is None
    assert turned_targets(shown, -grad, z.numel(), -loss.item()) is None
    assert turned_targets(shown, grad, 2 * z.numel(), loss.item()) is None  # half a batch


def test_outputs_that_a_relu_shuts_altogether_have_no_gradient_at_all() -> None:
    assert told("mse", torch.relu, shift=-9.0) == RELU
    assert np.isnan(told("mse", lambda z: 0 * z, shift=9.0))


def test_a_loss_of_another_kind_says_nothing() -> None:
    z = np.ones((4, 1), np.float32)
    assert np.isnan(between("bce", z, z, Targets(np.zeros((4, 1)), 1.0)))
    assert np.isnan(between("mse", z, z, None))


@pytest.mark.parametrize(
    ("bend", "times", "found"),
    [
        (torch.sigmoid, 1.0, SIGMOID),
        (torch.tanh, 1.0, TANH),
        (lambda z: z.clamp(0, 1), 1.0, CLAMP),
        (lambda z: z.clamp(-1, 1), 1.0, HARD_TANH),
        (lambda z: z.clamp(-0.5, 1), 1.0, np.nan),
        (torch.sigmoid, 0.5, np.nan),
        (torch.sin, 1.0, np.nan),
        (lambda z: 2 * z, 1.0, np.nan),
    ],
    ids=[
        "sigmoid",
        "tanh",
        "clamp",
        "hard tanh",
        "another clamp",
        "half of two batches",
        "another bend",
        "a factor",
    ],
)
def test_a_squared_error_that_was_written_out_tells_its_bend_and_its_targets(
    bend: Callable[[Tensor], Tensor], times: float, found: float
) -> None:
    torch.manual_seed(0)
    own, targets = WrittenOut(), None
    for sample in range(5):
        z = torch.randn(32, 2).requires_grad_()
        y = 1.3 * torch.randn(32, 2)
        loss = (bend(z) - y).square().mean()
        (gradient,) = torch.autograd.grad(times * loss, z)
        targets = own.observe(z.detach().numpy(), gradient.numpy(), z.numel(), loss.item())
        assert (targets is not None) == (found > 0 and sample >= 2)  # once may be chance
    assert own.way == pytest.approx(found, nan_ok=True)
    if targets is not None:
        told = gradient.all(dim=1)  # a clamp's flat ends tell of no target
        assert targets.values == pytest.approx(y[told].double().numpy(), abs=1e-3)
        values = own.compared(z.detach().numpy())
        assert values == pytest.approx(bend(z).detach().numpy(), abs=1e-6)
