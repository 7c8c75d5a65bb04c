"""Does the gradient follow from the output alone? Against losses written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deadband_monitor.statistics.coupled import counts_targets, coupling
from deadband_monitor.statistics.values import Reals

RNG = np.random.default_rng(11)
TARGETS = RNG.normal(size=48)


def pulls(loss: str, error: Reals) -> Reals:
    """Derivative of the loss at each error."""
    return np.asarray(np.sign(error) if loss == "l1" else np.clip(error, -1, 1))


@pytest.mark.parametrize("loss", ["l1", "huber"])
def test_one_against_all_targets_is_a_function_of_the_output(loss: str) -> None:
    out = RNG.normal(size=(48, 1)) * 0.4
    all_with_all = pulls(loss, out - TARGETS[None]).mean(axis=1, keepdims=True)
    assert coupling(loss, out, all_with_all.astype(np.float32)) == 1.0
    each_with_its_own = pulls(loss, out - TARGETS[:, None])
    assert coupling(loss, out, each_with_its_own) < 0.99


def test_outputs_between_two_targets_tell_nothing() -> None:
    targets = np.sort(TARGETS)
    out = np.linspace(targets[20], targets[21], 34)[1:-1, None]
    grad = pulls("l1", out - targets[None]).mean(axis=1, keepdims=True)
    assert np.isnan(coupling("l1", out, grad))


def test_two_pulls_that_happen_to_part_the_rows_by_height_are_no_proof() -> None:
    out = np.arange(12.0)[:, None]
    assert np.isnan(coupling("l1", out, np.sign(out - 5.5) / 12))


def test_a_square_is_judged_by_its_correlation() -> None:
    out = RNG.normal(size=(20, 1))
    assert coupling("mse", out, out**3) < 0.99
    assert coupling("mse", out, 3 * out - 1) == pytest.approx(1.0)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("seed", range(20))
def test_what_rounding_to_a_half_type_bends_is_straight(half: torch.dtype, seed: int) -> None:
    """Under autocast the gradient of an output comes back in the output's own type."""
    made = torch.Generator().manual_seed(seed)
    out = (0.02 + 0.006 * torch.randn(64, 1, generator=made)).to(half)
    targets = torch.randn(64, generator=made)
    all_with_all = (out.float() - targets).mean(dim=1, keepdim=True).to(half).float().numpy()
    assert coupling("mse", out.float().numpy(), all_with_all) == 1.0
    each = (out.float() - targets[:, None]).to(half).float().numpy()
    assert coupling("mse", out.float().numpy(), each) < 0.9


@pytest.mark.parametrize("quantile", [0.5, 0.9])
def test_a_tilted_error_against_all_targets_counts_them(quantile: float) -> None:
    out = RNG.normal(size=(48, 1)) * 0.4
    above = out > TARGETS[None]
    all_with_all = np.where(above, 1 - quantile, -quantile).mean(axis=1, keepdims=True) / 48
    assert counts_targets(out, all_with_all.astype(np.float32)) == 1.0
    its_own = np.where(out > TARGETS[:, None], 1 - quantile, -quantile) / 48
    assert counts_targets(out, its_own) == 0.0


@pytest.mark.parametrize("seed", range(40))
def test_one_target_for_all_rows_is_not_counted(seed: int) -> None:
    out = np.random.default_rng(seed).normal(size=(48, 1))
    for pull in (2 * out, np.clip(out, -1, 1), out**3):
        assert counts_targets(out, pull / 48) == 0.0
    assert np.isnan(counts_targets(out, np.sign(out) / 48))
