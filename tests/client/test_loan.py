"""Memory of the first sample: bounded for large models, and given back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import deadband
from deadband.loan import LEAST_BYTES, LOAN, Loan


def test_arrays_are_zeroed_and_counted_whatever_their_size() -> None:
    loan = Loan()
    small, large = loan.array((2, 3)), loan.array((64, LEAST_BYTES // 64))
    assert small.shape == (2, 3)
    assert not small.any()
    assert not large.any()
    large[...] = 1.0
    assert large.dtype == np.float32
    assert loan.lent_bytes == small.nbytes + large.nbytes


def test_a_large_model_is_cut_to_size_while_its_first_sample_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most = 256 * 2**10
    monkeypatch.setattr("deadband.recorder.MOST_PAYLOAD_BYTES", most)
    lent: list[int] = []
    array = Loan.array

    def counted(self: Loan, shape: tuple[int, ...]) -> NDArray[np.float32]:
        made = array(self, shape)
        lent.append(LOAN.lent_bytes)
        return made

    monkeypatch.setattr(Loan, "array", counted)
    layers = 40
    model = nn.Sequential(*[nn.Linear(64, 64) for _ in range(layers)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    watch = deadband.watch(model, optimizer, every=1)
    loss = model(torch.randn(32, 64)).square().mean()
    loss.backward()
    forward = max(lent[: 2 * layers])
    assert forward < 2 * most < 2 * layers * 32 * 64 * 4
    optimizer.step()
    watch.step(loss=loss)
    assert watch._recorder.plan is not None
    assert watch._torch is not None
    assert watch._torch.capture.faults == 0
    watch.close()
