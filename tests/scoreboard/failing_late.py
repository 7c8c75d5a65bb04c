"""Runs that were healthy until the data went wrong under them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scoreboard.data import Batch, sampler, scaled, text, text_sampler
from scoreboard.faults import shuffled, targets
from scoreboard.loops import fit, text_fit
from scoreboard.nets import CharTransformer, Cnn, mlp
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)

BAD = "bad-data"
NEVER = 10**9


@dataclass
class Loader:
    """Draws batches, and breaks at a step."""

    draw: Callable[[], Batch]
    breaks_at: int
    spoil: Callable[[Batch], Batch]
    drawn: int = 0

    def __call__(self) -> Batch:
        self.drawn += 1
        batch = self.draw()
        return self.spoil(batch) if self.drawn >= self.breaks_at else batch


def repeat_one() -> Callable[[Batch], Batch]:
    """From now on the same batch for ever."""
    kept: list[Batch] = []

    def spoil(batch: Batch) -> Batch:
        kept.append(batch)
        return kept[0]

    return spoil


def blank(batch: Batch) -> Batch:
    """Inputs all zero."""
    return torch.zeros_like(batch[0]), batch[1]


def one_row(batch: Batch) -> Batch:
    """The first input for all targets."""
    return batch[0][:1].expand_as(batch[0]), batch[1]


def not_finite(batch: Batch) -> Batch:
    """One value is not a number."""
    x = batch[0].clone()
    x[0, 0] = float("nan")
    return x, batch[1]


def scrambled(batch: Batch) -> Batch:
    """Inputs and targets of different rows."""
    return batch[0], batch[1].roll(1, 0)


def in_other_units(factor: float) -> Callable[[Batch], Batch]:
    """Inputs in thousandths."""
    return lambda batch: (batch[0] * factor, batch[1])


def other_targets(factor: float) -> Callable[[Batch], Batch]:
    """Targets in other units."""
    return lambda batch: (batch[0], batch[1] * factor)


def one_target(batch: Batch) -> Batch:
    """One label for all."""
    return batch[0], torch.zeros_like(batch[1])


def late(
    name: str,
    spoil: Callable[[], Callable[[Batch], Batch]],
    make: Callable[[Callable[[], Batch]], Training],
    draw: Callable[[], Callable[[], Batch]],
    at: int,
    more: int = 200,
    sudden: bool = True,
) -> None:
    RUNS.broken(
        name,
        BAD,
        lambda breaks_at: make(Loader(draw(), breaks_at, spoil())),
        at,
        NEVER,
        steps=at + more,
        onset=at,
        sudden=sudden,
    )


def rows(name: str, batch: int = 64) -> Callable[[], Callable[[], Batch]]:
    return lambda: sampler(*scaled(name), batch)


def letters(draw: Callable[[], Batch]) -> Training:
    return text_fit(CharTransformer(text()[1]), draw=draw, opt="adam", lr=3e-3)


def unknown(batch: Batch) -> Batch:
    """All ids are the one for what is not known."""
    ids: Tensor = torch.zeros_like(batch[0])
    return ids, batch[1]


late(
    "one batch from 1000 diabetes",
    repeat_one,
    lambda draw: fit(mlp(10, 1), "diabetes", opt="momentum", lr=0.02, draw=draw),
    rows("diabetes", 8),
    1000,
    400,
)
late(
    "one batch from 300 noisy digits",
    repeat_one,
    lambda draw: fit(mlp(64, 10, activation="tanh"), "digits", opt="adam", lr=1e-2, draw=draw),
    lambda: sampler(*shuffled("digits", 0.3), 16),
    300,
    400,
)
late(
    "one batch from 250 noisy friedman",
    repeat_one,
    lambda draw: fit(mlp(10, 1), "friedman", opt="adam", lr=1e-2, draw=draw),
    lambda: sampler(*shuffled("friedman", 0.3), 8),
    250,
    400,
)
late(
    "one image for all from 200 cnn",
    lambda: one_row,
    lambda draw: fit(Cnn(), "digits", opt="adam", lr=3e-3, draw=draw),
    rows("digits"),
    200,
)
late(
    "blank inputs from 1000 diabetes",
    lambda: blank,
    lambda draw: fit(
        mlp(10, 1, activation="tanh"), targets("diabetes", 1, 2), opt="adam", lr=1e-2, draw=draw
    ),
    lambda: sampler(*targets("diabetes", 1, 2), 16),
    1000,
    300,
)
late(
    "unknown ids from 250",
    lambda: unknown,
    letters,
    lambda: text_sampler(32, 32),
    250,
    100,
)
late(
    "nan in a batch at 100",
    lambda: not_finite,
    lambda draw: fit(mlp(64, 10), "digits", draw=draw),
    rows("digits"),
    100,
    150,
)
late(
    "nan in a batch at 150 wine adam",
    lambda: not_finite,
    lambda draw: fit(mlp(13, 3, activation="tanh"), "wine", opt="adam", lr=3e-3, draw=draw),
    rows("wine"),
    150,
    150,
)
late(
    "inputs in thousandths from 200",
    lambda: in_other_units(1000.0),
    lambda draw: fit(mlp(64, 10), "digits", draw=draw),
    rows("digits"),
    200,
)
late(
    "inputs in other units from 300 diabetes",
    lambda: in_other_units(300.0),
    lambda draw: fit(mlp(10, 1), "diabetes", opt="adam", lr=3e-3, draw=draw),
    rows("diabetes"),
    300,
)
late(
    "targets in other units from 200 friedman",
    lambda: other_targets(1000.0),
    lambda draw: fit(mlp(10, 1), "friedman", opt="adam", lr=3e-3, draw=draw),
    rows("friedman"),
    200,
)
late(
    "labels of other rows from 300",
    lambda: scrambled,
    lambda draw: fit(mlp(64, 10), "digits", opt="adam", lr=3e-3, draw=draw),
    rows("digits"),
    300,
)
late(
    "one label from 250 blobs",
    lambda: one_target,
    lambda draw: fit(mlp(30, 4), "blobs", opt="adam", lr=3e-3, draw=draw),
    rows("blobs"),
    250,
)
