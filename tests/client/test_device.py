"""Models on a CUDA device: the same frames, and no synchronisation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from frames import Frames
from torch import nn

import deadband
from deadband.watching import Watch
from deadband.wire import What

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_frames_of_a_device_land_without_a_synchronisation(
    frames_of: Callable[[Watch], Frames],
) -> None:
    model = nn.Sequential(nn.Linear(8, 40), nn.Tanh(), nn.Linear(40, 3)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    inputs, losses = [], []
    for step in range(12):
        x = torch.randn(20, 8, device="cuda")
        y = torch.randint(0, 3, (20,), device="cuda")
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        if step:  # the first frame makes the plan, and may wait
            torch.cuda.set_sync_debug_mode("error")
        optimizer.step()
        watch.step(loss=loss)
        torch.cuda.set_sync_debug_mode("default")
        inputs.append(x)
        losses.append(loss)
    watch._recorder.land(wait=True)
    frames = frames_of(watch)
    assert frames.steps[0] == 1
    for frame, step in enumerate(frames.steps):
        np.testing.assert_allclose(
            frames.held(What.INPUT, "model", frame), inputs[step - 1].cpu(), rtol=1e-6
        )
        assert frames.of(What.ACTIVATION_GRAD, "0", frame) is not None
    for step, value in frames.losses():
        assert value == pytest.approx(losses[step - 1].item(), rel=1e-5)
