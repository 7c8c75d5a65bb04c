"""Trains a kind bare, watched, and under the slow look, and compares what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from frames import Frames
from torch import Tensor

import deadband
from deadband import wire
from deadband.sender import NoLink
from deadband.wire import Plan, Slot, What
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.statistics.statistician import Statistician
from deadband_monitor.statistics.values import Measured, RawFrame
from matrix import slow
from matrix.kit import Kit
from matrix.slow import Look, Moved, SlowLook

STEPS = 10
CLOSE = 2e-3
"""What float32 and other orders of summing may make of a figure."""


@dataclass
class Ended:
    """How a run of ten steps ended."""

    weights: list[Tensor]
    losses: list[float]
    randomness: Tensor


def bare(make: Callable[[], Kit]) -> Ended:
    torch.manual_seed(5)
    kit = make()
    return _ended(kit, [kit.step().detach().item() for _ in range(STEPS)])


def slowly(make: Callable[[], Kit]) -> tuple[Ended, list[Look], Kit]:
    torch.manual_seed(5)
    kit = make()
    look = SlowLook(kit)
    losses = []
    for _ in range(STEPS):
        look.begin()
        losses.append(kit.step().detach().item())
        look.end()
    return _ended(kit, losses), look.steps, kit


class Tape(NoLink):
    """Keeps the plans that a hub would be sent."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []

    def post(self, message: wire.ToHub) -> None:
        if isinstance(message, Plan):
            self.plans.append(message)


@dataclass
class Seen:
    """What hub statistics make of the frames of a watched run."""

    plans: list[Plan]
    measured: list[tuple[Plan, Frames, int, Measured]] = field(default_factory=list)
    """One a step: its plan, the frames, which of them, and the statistics."""
    losses: list[tuple[int, float]] = field(default_factory=list)

    @property
    def last(self) -> Plan:
        return self.plans[-1]


def watched(make: Callable[[], Kit]) -> tuple[Ended, Seen]:
    torch.manual_seed(5)
    kit = make()
    watch = deadband.watch(kit.models, kit.optimizers, every=1)
    tape = Tape()
    watch._link = tape
    losses = []
    for _ in range(STEPS):
        loss = kit.step()
        watch.step(loss=loss)
        losses.append(loss.detach().item())
    beat = watch._beat()
    assert (beat.faults, beat.fault, beat.samples) == (0, "", STEPS)
    ended = _ended(kit, losses)
    seen = Seen(tape.plans)
    statistician = Statistician()
    for plan in tape.plans:
        frames = Frames(plan)
        statistician.adopt(plan)
        raw = [
            RawFrame(header, payload)
            for header, payload in zip(frames.headers, frames.payloads, strict=True)
        ]
        seen.losses += frames.losses()
        seen.measured += [
            (plan, frames, place, each) for place, each in enumerate(statistician.measure(raw))
        ]
    watch.close()
    return ended, seen


def _ended(kit: Kit, losses: list[float]) -> Ended:
    weights = [
        each.detach().clone()
        for model in kit.models.values()
        for each in model.state_dict().values()
        if isinstance(each, Tensor)
    ]
    return Ended(weights, losses, torch.get_rng_state())


def same(one: Ended, other: Ended) -> bool:
    """Whether two runs agree bit for bit."""
    return (
        len(one.weights) == len(other.weights)
        and all(_equal(a, b) for a, b in zip(one.weights, other.weights, strict=True))
        and all(a == b or a != a for a, b in zip(one.losses, other.losses, strict=True))
        and torch.equal(one.randomness, other.randomness)
    )


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return a.is_meta or torch.equal(a, b)


# --- What is seen against what a slow look shows -------------------------------------------------


@dataclass
class Tally:
    """What was compared, and what does not agree."""

    layers: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    figures: int = 0
    left_out: int = 0
    """Outputs of other shapes than the plan's."""
    missing: dict[str, str] = field(default_factory=dict)
    """Layer -> what of it is not seen."""
    wrong: list[str] = field(default_factory=list)

    def check(self, where: str, metric: str, got: float, wanted: float | None) -> None:
        if wanted is None or math.isnan(wanted):
            return
        self.figures += 1
        if math.isnan(got):
            self.missing.setdefault(where, metric)
        elif abs(got - wanted) > CLOSE * max(abs(got), abs(wanted)) + 1e-9:
            self.wrong.append(f"{where} {metric}: {got:.6g} for {wanted:.6g}")


def compare(seen: Seen, looks: list[Look], kit: Kit) -> Tally:
    """Every layer, every step, every statistic of the first look."""
    tally = Tally()
    alive: dict[tuple[str, str], list[Tensor]] = {}
    steps = {each.step: (plan, frames, place, each) for plan, frames, place, each in seen.measured}
    for number, look in enumerate(looks, start=1):
        plan, frames, place, measured = steps[number]
        rows = {(layer.model, layer.name): row for row, layer in enumerate(plan.layers)}
        for key, shown in look.shown.items():
            (tally.functions if ":" in shown.name else tally.layers).add(shown.name)
            if key not in rows:
                tally.missing.setdefault(shown.name, "layer")
                continue
            row = rows[key]
            figures = measured.layers[row]
            slot = _slot(plan, What.ACTIVATION, row)
            if slot is None:
                tally.missing.setdefault(shown.name, "output")
                continue
            x = slow.part_of(shown.output, slot.axes, kit.batch)[: _rows(slot)]
            g = None
            if shown.gradient is not None:
                g = slow.part_of(shown.gradient, slot.axes, kit.batch)[: _rows(slot)]
            if len(x) < _rows(slot) or not frames.has(slot, place):
                tally.left_out += 1
                continue
            layer = plan.layers[row]
            wanted = {
                "out_rms": slow.rms(x),
                "zero_share": float((x == 0).double().mean()),
                "saturation": slow.saturated(x, layer.activation),
                "out_grad_rms": None if g is None else slow.rms(g),
            }
            if layer.activation in ("relu", "relu6", "threshold"):
                on = _by_unit(x, slot)
                alive.setdefault(key, []).append((on > 0).any(0))
                if len(alive[key]) >= 10:
                    ever = torch.stack(alive[key][-10:]).any(0)
                    wanted["dead_units"] = float((~ever).double().mean())
            for metric, value in wanted.items():
                tally.check(shown.name, metric, float(figures[LAYER_COLUMN[metric]]), value)
        _compare_weights(tally, plan, rows, measured, look, kit)
        for index, model in enumerate(plan.models):
            if model.name in look.outputs:
                slot = _slot(plan, What.OUTPUT, index)
                output = look.outputs[model.name]
                if slot is None and output.is_floating_point():
                    tally.missing.setdefault(model.name, "output of the model")
    return tally


def _compare_weights(
    tally: Tally,
    plan: Plan,
    rows: dict[tuple[str, str], int],
    measured: Measured,
    look: Look,
    kit: Kit,
) -> None:
    for (model, name), moved in look.moved.items():
        if moved.before.ndim < 2 or moved.before.numel() == len(moved.before):
            continue
        path = name.rpartition(".")[0]
        owner = path.partition("parametrizations")[0].rstrip(".")
        places = [rows[model, each] for each in (name, owner) if (model, each) in rows]
        place = next((each for each in places if _is_weight(plan, each, moved)), None)
        if place is None:
            tally.missing.setdefault(name, "weight")
            continue
        layer = plan.layers[place]
        transposed = "ConvTranspose" in layer.kind
        figures = measured.layers[place]
        wanted = {
            "weight_rms": slow.rms(slow.corner(moved.after, transposed=transposed)),
            "grad_rms": None
            if moved.gradient is None
            else slow.rms(slow.corner(moved.gradient, transposed=transposed)),
        }
        if (
            moved.held
            and layer.fan_in
            and "Embedding" not in layer.kind
            and "Norm" not in layer.kind
        ):
            wanted["update_ratio"] = slow.update_ratio(moved, layer.fan_in, transposed=transposed)
        for metric, value in wanted.items():
            tally.check(name, metric, float(figures[LAYER_COLUMN[metric]]), value)


def _is_weight(plan: Plan, row: int, moved: Moved) -> bool:
    slot = _slot(plan, What.WEIGHT, row)
    return slot is not None and slot.source == tuple(moved.before.shape)


def _slot(plan: Plan, what: What, index: int) -> Slot | None:
    return next((each for each in plan.slots if each.what is what and each.index == index), None)


def _rows(slot: Slot) -> int:
    return slot.shape[0] if slot.axes.startswith("n") else 1


def _by_unit(x: Tensor, slot: Slot) -> Tensor:
    """(samples, columns) -> (rows, units)."""
    if slot.axes == "nup":
        return x.reshape(slot.shape).movedim(1, -1).flatten(0, -2)
    return x.reshape(-1, slot.shape[-1])
