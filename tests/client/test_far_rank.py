"""A far rank sends summaries, and whole frames while the hub asks for them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deadband
from deadband import wire
from deadband.arena import FAR_PAYLOAD_BYTES


def slices(watch: deadband.Watch) -> dict[str, tuple[int, ...]]:
    plan = watch._recorder.plan
    assert plan is not None
    return {slot.what.value: slot.shape for slot in plan.slots if slot.index == 0}


def test_a_far_rank_sends_small_slices_until_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", "9")
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    monkeypatch.setenv("DEADBAND_HUB", "off")
    model = nn.Sequential(*[nn.Linear(256, 256) for _ in range(8)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with deadband.watch(model, optimizer, every=1) as watch:

        def step() -> None:
            optimizer.zero_grad()
            loss = model(torch.randn(32, 256)).pow(2).mean()
            loss.backward()
            optimizer.step()
            watch.step(loss=loss)

        step()
        step()
        small = slices(watch)
        plan = watch._recorder.plan
        assert plan is not None
        assert plan.payload_bytes <= FAR_PAYLOAD_BYTES + 4 * wire.LOSS_CAPACITY
        watch._deliver(wire.Detail(whole=True))
        step()
        step()
        assert slices(watch)["weight"] == (64, 64)
        assert slices(watch)["activation"] == (32, 256)
        watch._deliver(wire.Detail(whole=False))
        step()
        step()
        assert slices(watch) == small
        assert watch._beat().fault == ""
        assert watch._recorder.samples == 6
