"""Real processes over real sockets: a scripted training process, its hub, viewers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import RUN, ScriptedTraining, end_hubs

from deadband_monitor.source.live import LiveSource


@pytest.fixture
def trainings(home: Path) -> Iterator[Callable[..., ScriptedTraining]]:
    """Makes training processes; ends them and their hubs when the test is over."""
    made: list[ScriptedTraining] = []

    def make(run: str = RUN, rank: int = 0) -> ScriptedTraining:
        made.append(ScriptedTraining(run, rank))
        return made[-1]

    yield make
    for training in made:
        training.close()
    end_hubs()


@pytest.fixture
def training(trainings: Callable[..., ScriptedTraining]) -> ScriptedTraining:
    return trainings()


@pytest.fixture
def viewers(home: Path) -> Iterator[Callable[..., LiveSource]]:
    made: list[LiveSource] = []

    def make(run: str = RUN) -> LiveSource:
        made.append(LiveSource(run))
        return made[-1]

    yield make
    for source in made:
        source.close()
