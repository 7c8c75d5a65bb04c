"""A model of very many layers is followed in part, and that is said."""

from __future__ import annotations

from collections.abc import Callable

import torch
from frames import Frames
from torch import nn

import deadband
from deadband.layers import MOST_LAYERS
from deadband.watching import Watch
from deadband.wire import What

FramesOf = Callable[[Watch], Frames]


def test_of_too_many_layers_some_are_seen_from_the_first_to_the_last(frames_of: FramesOf) -> None:
    count = MOST_LAYERS + 500
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(count)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(2):
        optimizer.zero_grad()
        loss = model(torch.ones(3, 2)).sum()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    frames = frames_of(watch)
    assert len(frames.layers) == MOST_LAYERS
    assert frames.layers[0] == "0"
    assert frames.layers[-1] == str(count - 1)
    assert frames.plan.models[0].left_out == 500
    assert frames.held(What.ACTIVATION, str(count - 1)).shape == (3, 2)
    assert frames.steps == [1, 2]
    watch.close()
