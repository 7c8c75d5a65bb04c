"""Training that goes on while nobody says that a step is over."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deadband
from deadband.watching import Watch


class Loop:
    def __init__(self, optimizer: str = "SGD") -> None:
        self.model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        kind = getattr(torch.optim, optimizer)
        self.optimizer: torch.optim.Optimizer = kind(self.model.parameters(), lr=0.01)
        self.watch: Watch = deadband.watch(self.model, self.optimizer)

    def train(self, steps: int, *, said: bool, updates: int = 1) -> Loop:
        for _ in range(steps):
            for _ in range(updates):
                self.optimizer.zero_grad()
                loss = self.model(torch.randn(6, 4)).square().mean()
                loss.backward()
                self.optimizer.step()
            if said:
                self.watch.step(loss=loss)
        return self

    @property
    def line(self) -> str:
        return self.watch._beat().unsaid


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW", "Adam"])
def test_a_loop_that_no_longer_tells_of_its_steps_is_told_so(optimizer: str) -> None:
    loop = Loop(optimizer)
    assert loop.line == ""
    assert loop.train(12, said=True).line == ""
    assert loop.train(60, said=False).line.startswith(
        "training goes on, but watch.step() has not been called since step 12: call it"
    )
    assert loop.train(1, said=True).line == ""
    loop.watch.close()


def test_steps_that_the_optimiser_counts_are_said() -> None:
    loop = Loop()
    assert loop.line == ""
    assert loop.train(150, said=False).line == ""
    assert loop.watch.steps == 150
    loop.watch.close()


def test_many_updates_a_step_and_a_long_evaluation_are_as_they_should_be() -> None:
    loop = Loop()
    assert loop.line == ""
    assert loop.train(3, said=True, updates=5).line == ""
    assert loop.train(5, said=False).line == ""
    with torch.no_grad():
        for _ in range(50):
            loop.model(torch.randn(6, 4))
    assert loop.line == ""
    loop.watch.close()


def test_weights_that_torch_keeps_no_count_of_are_passed_over() -> None:
    with torch.inference_mode():
        model = nn.Linear(2, 2)
    watch = deadband.watch(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert watch._beat().unsaid == ""
    watch.close()
