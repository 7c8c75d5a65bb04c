"""Drawn faults of the data: inputs and targets of another size, batches gone bad, few rows."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import torch
from torch import Tensor

from scoreboard.crossed.bench import Bench
from scoreboard.crossed.cross import Cross
from scoreboard.crossed.faults import Injection, all_of, asks, fault, late
from scoreboard.data import Batch

INPUTS, TARGETS, BAD = "unnormalised-inputs", "unscaled-targets", "bad-data"
SAME, NOISE, RARE = "low-data-diversity", "label-noise", "class-imbalance"


def raw(cross: Cross) -> bool:
    """Its first layer feels the size of its inputs, which are no answers at the same time."""
    return cross.numbers and cross.task != "code"


def table_of(cross: Cross) -> bool:
    """It has columns that could have their own units."""
    return cross.of.shape == "row" and cross.task not in {"code", "moons", "circles"}


# --- inputs
@fault(INPUTS, when=lambda cross: raw(cross) and not cross.norm)
def loud(rng: random.Random, cross: Cross) -> Injection:
    """Inputs in a small unit."""
    by = rng.choice((300.0, 1000.0, 3000.0))
    return Injection(says=f"inputs times {by:g}", put=lambda b: b.rows(lambda x: x * by))


@fault(INPUTS, when=lambda cross: raw(cross) and not cross.norm)
def far_off(rng: random.Random, cross: Cross) -> Injection:
    """Inputs far from nought."""
    by = rng.choice((100.0, 300.0, -200.0))
    return Injection(says=f"inputs {by:+g}", put=lambda b: b.rows(lambda x: x + by))


@fault(INPUTS, when=lambda cross: raw(cross) and not cross.norm)
def faint(rng: random.Random, cross: Cross) -> Injection:
    """Inputs scaled down twice."""
    by = rng.choice((1e-4, 1e-5))
    return Injection(says=f"inputs times {by:g}", put=lambda b: b.rows(lambda x: x * by))


@fault(INPUTS, when=table_of)
def one_column_large(rng: random.Random, cross: Cross) -> Injection:
    """A column in pence beside ratios."""
    by, at = rng.choice((1e3, 3e3, 1e4)), rng.randrange(cross.of.inputs)

    def change(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, at] = by * (1 + 0.3 * x[:, at])
        return x

    return Injection(says=f"column {at} in {by:g}", put=lambda b: b.rows(change))


@fault(INPUTS, when=table_of)
def own_units(rng: random.Random, cross: Cross) -> Injection:
    """Every column in a unit of its own."""
    g = torch.Generator().manual_seed(rng.randrange(10**6))
    size = 10 ** (torch.rand(cross.of.inputs, generator=g) * 4)
    offset = size * torch.randint(0, 4, size.shape, generator=g)
    return Injection(
        says="columns in their own units", put=lambda b: b.rows(lambda x: x * size + offset)
    )


# --- targets
@fault(TARGETS, when=all_of(asks("values"), lambda cross: cross.task != "code"))
def in_pence(rng: random.Random, cross: Cross) -> Injection:
    """Targets in a small unit."""
    by, offset = rng.choice(((1e3, 0.0), (300.0, 5e3), (3e3, 1e4), (1e5, 3e5)))
    return Injection(
        says=f"targets times {by:g} plus {offset:g}",
        put=lambda b: b.targets(lambda y: y * by + offset),
    )


@fault(TARGETS, when=all_of(asks("values"), lambda cross: cross.task != "code"))
def years(rng: random.Random, cross: Cross) -> Injection:
    """Targets that hardly differ beside what they measure."""
    offset = rng.choice((300.0, 1000.0, 2000.0))
    return Injection(says=f"targets plus {offset:g}", put=lambda b: b.targets(lambda y: y + offset))


@fault(
    TARGETS,
    when=lambda cross: cross.task == "arm",
)
def one_answer_in_pence(rng: random.Random, cross: Cross) -> Injection:
    """One of several answers in another unit."""
    by = rng.choice((300.0, 1000.0))

    def change(y: Tensor) -> Tensor:
        return y * torch.tensor([by, 1.0, by]) + torch.tensor([by, 0.0, 5 * by])

    return Injection(says=f"two answers times {by:g}", put=lambda b: b.targets(change))


# --- batches gone bad in mid-run
def _from(
    rng: random.Random, cross: Cross, says: str, change: Callable[[Batch], Batch]
) -> Injection:
    at = late(rng, cross)
    return Injection(
        says=f"{says} from {at}",
        put=lambda bench: bench.batches(lambda _, rows: change(rows), at),
        onset=at,
    )


@fault(BAD, "numerical-overflow", when=lambda cross: cross.numbers)
def not_a_number(rng: random.Random, cross: Cross) -> Injection:
    """A missing reading in each batch."""

    def change(rows: Batch) -> Batch:
        x = rows[0].clone()
        x.view(-1)[0] = math.nan
        return x, rows[1]

    return _from(rng, cross, "a reading that is no number", change)


@fault(BAD, when=lambda cross: cross.numbers)
def all_nought(rng: random.Random, cross: Cross) -> Injection:
    """The source gives out."""
    return _from(rng, cross, "inputs all nought", lambda rows: (rows[0] * 0, rows[1]))


@fault(BAD, "unnormalised-inputs", when=lambda cross: raw(cross) and cross.norm != "batch")
def loud_from_now_on(rng: random.Random, cross: Cross) -> Injection:
    """A worker that does not scale."""
    by = rng.choice((100.0, 300.0, 1000.0))
    return _from(rng, cross, f"inputs times {by:g}", lambda rows: (rows[0] * by, rows[1]))


@fault(BAD, "label-noise", when=lambda cross: cross.task != "code")
def labels_of_others(rng: random.Random, cross: Cross) -> Injection:
    """Labels no longer belong to their rows."""
    return _from(rng, cross, "labels of other rows", lambda rows: (rows[0], rows[1].roll(1, 0)))


@fault(BAD, when=asks("classes", "yes"))
def labels_all_one(rng: random.Random, cross: Cross) -> Injection:
    """A query that returns one kind."""
    return _from(rng, cross, "labels all nought", lambda rows: (rows[0], rows[1] * 0))


@fault(BAD, "unscaled-targets", when=all_of(asks("values"), lambda cross: cross.task != "code"))
def answers_in_pence(rng: random.Random, cross: Cross) -> Injection:
    """Another currency."""
    by = rng.choice((100.0, 1000.0))
    return _from(rng, cross, f"targets times {by:g}", lambda rows: (rows[0], rows[1] * by + by))


@fault(BAD, "low-data-diversity", "overfitting")
def stuck_loader(rng: random.Random, cross: Cross) -> Injection:
    """The loader hands out the same few rows for ever."""
    at, count = rng.randrange(cross.steps // 5, cross.steps // 3), rng.choice((4, 8))
    kept: list[Batch] = []

    def put(bench: Bench) -> None:
        kept.clear()

        def change(_: int, rows: Batch) -> Batch:
            kept.append((rows[0][:count], rows[1][:count]))
            return kept[0]

        bench.batches(change, at)

    return Injection(says=f"the same {count} rows from {at}", put=put, onset=at)


@fault(BAD, NOISE, when=lambda cross: not cross.numbers)
def other_ids(rng: random.Random, cross: Cross) -> Injection:
    """Ids come by a dictionary that is made anew for every batch."""

    def change(rows: Batch) -> Batch:
        return torch.randperm(cross.of.inputs)[rows[0]], rows[1]

    return _from(rng, cross, "ids by another dictionary", change)


# --- few of a kind
@fault(SAME, "overfitting")
def one_batch(rng: random.Random, cross: Cross) -> Injection:
    """A new iterator for each step."""
    count = rng.choice((1, 1, 2))

    def put(bench: Bench) -> None:
        size = min(cross.batch, 16)
        x, y = bench.train[0][: count * size], bench.train[1][: count * size]
        bench.take = lambda k: (
            x[k % count * size : (k % count + 1) * size],
            y[k % count * size : (k % count + 1) * size],
        )

    return Injection(
        says=f"always the same {'batch' if count == 1 else 'two batches'}", put=put, sudden=False
    )


@fault(SAME, when=lambda cross: cross.of.question == "classes" and not cross.of.each)
def in_order(rng: random.Random, cross: Cross) -> Injection:
    """Rows sorted by class and never shuffled."""

    def put(bench: Bench) -> None:
        x, y = bench.train
        order = y.argsort(stable=True)
        size = min(cross.batch, 32)

        def take(k: int) -> Batch:
            index = order[torch.arange(k * size, (k + 1) * size) % len(y)]
            return x[index], y[index]

        bench.take = take

    return Injection(says="rows in order of class", put=put)


@fault(SAME, "overfitting")
def few_rows(rng: random.Random, cross: Cross) -> Injection:
    """A subset from a trial was left in."""
    count = rng.choice((2, 4, 6))

    def put(bench: Bench) -> None:
        bench.train = bench.train[0][:count], bench.train[1][:count]

    return Injection(says=f"{count} rows", put=put, sudden=False)


@fault(
    SAME, "class-imbalance", when=lambda cross: cross.of.question == "classes" and not cross.of.each
)
def one_class_alone(rng: random.Random, cross: Cross) -> Injection:
    """A folder of which only one class was read."""
    which = rng.randrange(cross.of.outputs)

    def put(bench: Bench) -> None:
        x, y = bench.train
        mine = y == which
        bench.train = x[mine], y[mine]

    return Injection(says=f"class {which} alone", put=put)


@fault(SAME, BAD, when=asks("classes", "yes"))
def wiped_out(rng: random.Random, cross: Cross) -> Injection:
    """Augmentation leaves nothing of the rows."""

    def change(_: int, rows: Batch) -> Batch:
        return rows[0] * 0, rows[1]

    return Injection(says="rows wiped out by augmentation", put=lambda b: b.batches(change))


# --- labels
@fault(NOISE, when=lambda cross: cross.task != "code")
def dealt_anew(rng: random.Random, cross: Cross) -> Injection:
    """Labels shuffled among the rows."""

    def put(bench: Bench) -> None:
        x, y = bench.train
        bench.train = x, y[torch.randperm(len(y), generator=bench.dice)]

    return Injection(says="labels shuffled", put=put)


@fault(NOISE, when=lambda cross: cross.task != "code" and not cross.of.each)
def one_row_late(rng: random.Random, cross: Cross) -> Injection:
    """Labels moved by some rows."""
    by = rng.choice((1, 1, 3))

    def put(bench: Bench) -> None:
        bench.train = bench.train[0], bench.train[1].roll(by, 0)

    return Injection(says=f"labels {by} rows late", put=put)


@fault(NOISE, when=lambda cross: cross.task != "code" and not cross.of.each)
def sorted_apart(rng: random.Random, cross: Cross) -> Injection:
    """The labels were sorted, their rows were not."""

    def put(bench: Bench) -> None:
        x, y = bench.train
        bench.train = x, y.sort(0).values

    return Injection(says="labels sorted without their rows", put=put)


@fault(NOISE, when=lambda cross: cross.of.question != "values")
def guessed(rng: random.Random, cross: Cross) -> Injection:
    """Nearly all labels dealt."""
    share = rng.choice((0.9, 0.95))

    def put(bench: Bench) -> None:
        x, y = bench.train
        wrong = torch.rand(y.shape, generator=bench.dice) < share
        other = y.flatten()[torch.randperm(y.numel(), generator=bench.dice)].view_as(y)
        bench.train = x, torch.where(wrong, other, y)

    return Injection(says=f"{share:.0%} of the labels guessed", put=put)


@fault(
    NOISE,
    BAD,
    when=lambda cross: (
        cross.of.question == "values" and cross.task != "code" and cross.criterion == "mse"
    ),
)
def slips_of_the_comma(rng: random.Random, cross: Cross) -> Injection:
    """A few targets a hundred times too large."""
    share, by = rng.choice((0.02, 0.04)), rng.choice((100.0, 300.0))

    def put(bench: Bench) -> None:
        x, y = bench.train
        wrong = torch.rand(len(y), 1, generator=bench.dice) < share
        bench.train = x, torch.where(wrong, by * y, y)

    return Injection(says=f"{share:.0%} of the targets times {by:g}", put=put)


# --- rare
@fault(RARE, when=lambda cross: cross.task in {"cancer", "circles", "clicks", "ranking"})
def rare_yes(rng: random.Random, cross: Cross) -> Injection:
    """One yes in a hundred."""
    share = rng.choice((0.01, 0.015, 0.03))

    def put(bench: Bench) -> None:
        x, y = bench.train
        kept = (y[:, 0] < 0.5) | (torch.rand(len(y), generator=bench.dice) < share)
        kept[(y[:, 0] > 0.5).nonzero()[:3, 0]] = True
        bench.train = x[kept], y[kept]

    return Injection(says=f"{share:.1%} of the yes kept", put=put, sudden=False)


@fault(
    RARE,
    when=lambda cross: (
        cross.task in {"digits", "blobs", "pictures", "gratings", "strips", "tones", "topics"}
    ),
)
def one_class_reigns(rng: random.Random, cross: Cross) -> Injection:
    """Nearly all rows are of one class."""
    share = rng.choice((0.004, 0.008, 0.015))
    reigns = rng.randrange(cross.of.outputs)

    def put(bench: Bench) -> None:
        x, y = bench.train
        kept = (y == reigns) | (torch.rand(len(y), generator=bench.dice) < share)
        for kind in y.unique():
            kept[(y == kind).nonzero()[:1, 0]] = True
        bench.train = x[kept], y[kept]

    return Injection(says=f"{share:.1%} of the others kept", put=put, sudden=False)
