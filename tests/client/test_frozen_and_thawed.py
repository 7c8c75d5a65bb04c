"""Weights that are frozen or thawed in mid-run: the plan says so, and every frame stays whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from frames import Frames
from torch import nn

import deadband
from deadband.watching import Watch
from deadband.wire import What

FramesOf = Callable[[Watch], Frames]


@pytest.mark.parametrize("change_at", [1, 5, 9])
@pytest.mark.parametrize("frozen_first", [True, False])
def test_what_is_frozen_in_mid_run_is_said_so(
    frozen_first: bool, change_at: int, frames_of: FramesOf
) -> None:
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    watch = deadband.watch(model, optimizer, every=1)
    for k in range(12):
        thaws = (k >= change_at) == frozen_first
        for each in model[0].parameters():
            each.requires_grad_(thaws)
            if not thaws:
                each.grad = None
        loss = F.cross_entropy(model(torch.randn(20, 8)), torch.randint(0, 3, (20,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    frames = frames_of(watch)
    assert frames.plan.layers[0].trainable is frozen_first
    last = len(frames.steps) - 1
    assert frames.steps[-1] == 12
    weight = frames.of(What.WEIGHT, "2", last)
    assert weight is not None
    assert weight.any()
    assert (frames.of(What.WEIGHT_GRAD, "0", last) is not None) is frozen_first
