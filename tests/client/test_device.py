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
    for _ in range(12):
        x = torch.randn(20, 8, device="cuda")
        y = torch.randint(0, 3, (20,), device="cuda")
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        torch.cuda.set_sync_debug_mode("error")  # from the very first, which makes the plan
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


def test_a_captured_graph_replays_what_was_captured_and_nothing_of_ours() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(4, 8, device="cuda")
    watch = deadband.watch(model, optimizer, every=1)

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        model(x).square().mean().backward()
        optimizer.step()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
            watch.step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    before = model[0].weight.detach().clone()  # type: ignore[operator]
    for _ in range(3):
        graph.replay()
        watch.step()
    assert not torch.equal(before, model[0].weight)  # type: ignore[arg-type]
    assert watch._beat().faults == 0
    watch.close()


def test_amp_with_a_scaler_waits_for_nothing_either() -> None:
    model = nn.Sequential(nn.Linear(8, 40), nn.Tanh(), nn.Linear(40, 3)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cuda")
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(6):
        x = torch.randn(20, 8, device="cuda")
        y = torch.randint(0, 3, (20,), device="cuda")
        torch.cuda.set_sync_debug_mode("error")
        with torch.autocast("cuda"):
            loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        torch.cuda.set_sync_debug_mode("default")  # the scaler itself waits for its own figure
        scaler.step(optimizer)
        scaler.update()
        torch.cuda.set_sync_debug_mode("error")
        watch.step(loss=loss)
        torch.cuda.set_sync_debug_mode("default")
    assert watch._beat().faults == 0
    watch.close()
