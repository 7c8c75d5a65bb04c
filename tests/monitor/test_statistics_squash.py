"""A penalty on the logits shows in the gradient at them."""

from __future__ import annotations

import numpy as np
import pytest

from deadband_monitor.statistics.labels import Labels, YesNo
from deadband_monitor.statistics.squash import HELD, squashed


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
