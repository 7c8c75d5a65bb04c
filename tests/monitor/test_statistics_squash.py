"""A penalty on the logits shows in the gradient at them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as fn

from deadband_monitor.statistics.labels import Labels, YesNo
from deadband_monitor.statistics.skill import Shown, Skill
from deadband_monitor.statistics.squash import HELD, TURNED, squashed


def gradient(p: float, classes: int = 10) -> float:
    """What a cross entropy with `p` times half the sum of squares of the logits says."""
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(32, classes)), rng.integers(0, classes, 32)
    plain = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    plain[np.arange(32), y] -= 1
    found = Labels(y, np.ones(32, np.bool_), np.ones(32), np.nan)
    return squashed(z.astype(np.float32), ((plain + p * z) / 32).astype(np.float32), found)


@pytest.mark.parametrize(("penalty", "told"), [(10.0, HELD), (2.0, HELD), (0.3, 0.0), (0.0, 0.0)])
def test_a_penalty_that_keeps_logits_within_1_is_told(penalty: float, told: float) -> None:
    assert gradient(penalty) == told


@pytest.mark.parametrize(("penalty", "told"), [(5.0, HELD), (0.3, 0.0)])
def test_so_is_one_on_yes_and_no(penalty: float, told: float) -> None:
    rng = np.random.default_rng(1)
    z, y = rng.normal(size=(32, 4)), (rng.random((32, 4)) < 0.4).astype(float)
    grad = (1 / (1 + np.exp(-z)) - y + penalty * z) / 128
    assert squashed(z.astype(np.float32), grad.astype(np.float32), YesNo(y, 1.0, 1.0)) == told


def test_smoothed_labels_and_weighted_classes_are_no_penalty() -> None:
    rng = np.random.default_rng(2)
    z, y = 0.2 * rng.normal(size=(32, 10)), rng.integers(0, 10, 32)
    plain = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    plain[np.arange(32), y] -= 1
    found = Labels(y, np.ones(32, np.bool_), np.ones(32), np.nan)
    smoothed = plain + 0.2 * (np.eye(10)[y] - 0.1)
    weighted = plain * (1 + 4 * (y % 2))[:, None]
    for bent in (smoothed, weighted):
        assert squashed(z.astype(np.float32), bent.astype(np.float32), found) != HELD


@pytest.mark.parametrize("loss", ["cross_entropy", "bce_logits"])
def test_a_sign_that_is_turned_is_told(loss: str) -> None:
    torch.manual_seed(0)
    z = torch.randn(32, 1 if loss == "bce_logits" else 4).requires_grad_()
    found: Labels | YesNo
    if loss == "bce_logits":
        y = torch.randint(0, 2, (32, 1)).float()
        value, found = (
            fn.binary_cross_entropy_with_logits(z, y),
            YesNo(y.double().numpy(), 1.0, 1.0),
        )
    else:
        classes = torch.randint(0, 4, (32,))
        value = fn.cross_entropy(z, classes)
        found = Labels(classes.numpy(), np.ones(32, np.bool_), np.ones(32), np.nan)

    def told(loss: torch.Tensor) -> float:
        (gradient,) = torch.autograd.grad(loss, z, retain_graph=True)
        return squashed(z.detach().numpy(), gradient.numpy(), found)

    assert told(-value) == TURNED
    assert told(value) != TURNED
    assert told(z.square().mean() - value) != TURNED


@pytest.mark.parametrize("sign", [1, -1])
def test_so_is_one_before_yes_and_no_that_were_written_out(sign: int) -> None:
    torch.manual_seed(0)
    z, y = torch.randn(32, 1).requires_grad_(), torch.randint(0, 2, (32, 1)).float()
    p = z.sigmoid()
    loss = -sign * (y * p.log() + (1 - y) * (1 - p).log()).mean()
    (gradient,) = torch.autograd.grad(loss, z)
    shown = Shown(z.detach().numpy(), gradient.numpy(), 32, loss.item())
    standing = Skill().observe("bce_logits", shown)
    assert (standing.way == TURNED) == (sign < 0)
    assert isinstance(standing.found, YesNo)
    assert standing.found.values == pytest.approx(y.numpy())
