"""A few figures of every slice of a frame: enough to tell ranks apart, at a price for a thousand.

Frames that are laid out alike are measured together, whoever sent them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from deadband.wire import Plan, Slot, What
from deadband_monitor.statistics.values import Doubles, Floats, Mask, RawFrame

CACHED_BYTES = 1 << 20
"""Payload that is measured in one go: what stays in a core's own cache."""
WEIGHTS = frozenset({What.WEIGHT_BEFORE, What.WEIGHT, What.WEIGHT_GRAD})
SIGNALS = frozenset({What.INPUT, What.ACTIVATION, What.OUTPUT})


@dataclass(frozen=True, slots=True)
class Subject:
    """What is compared between ranks: one slice of one layer, or of a model."""

    what: What
    model: str
    layer: str
    shape: tuple[int, ...]
    """Of weights: only equal slices of equal weights can be equal. Empty for what depends on data:
    ranks may have batches of different sizes."""
    row: int
    """Of the layer in order of execution; -1 for a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """One rank at one step. Arrays follow `Form.subjects`."""

    step: int
    here: Mask
    """Which slices were copied."""
    mean: Doubles
    power: Doubles
    """Mean square."""
    loss: float
    """Mean of the finite losses since the frame before; NaN where there are none."""
    bad_loss_step: int
    """First of these steps whose loss is not finite; 0 where all are."""
    varied: float
    """Share of the input's second moment that depends on the sample."""


class Form:
    """How frames of one layout are read. Ranks that run the same network share one."""

    def __init__(self, plan: Plan) -> None:
        chosen = sorted(
            (slot for slot in plan.slots if slot.what in WEIGHTS or slot.what in SIGNALS),
            key=lambda slot: slot.offset,
        )
        self.subjects = tuple(_subject(plan, slot) for slot in chosen)
        self.shards = {model.name: model.shards for model in plan.models}
        self._numbers = [plan.slots.index(slot) for slot in chosen]
        self._sizes = np.array([np.prod(slot.shape) for slot in chosen], np.float64)
        starts = [slot.offset for slot in chosen]
        ends = [slot.offset + int(np.prod(slot.shape)) for slot in chosen]
        # Every other cut begins a slice; what lies between two slices is summed for nothing.
        self._cuts = np.array([at for pair in zip(starts, ends, strict=True) for at in pair])
        self._bytes = max(plan.payload_bytes, 4)
        self._end = plan.payload_bytes // 4
        self._input = next((slot for slot in chosen if slot.what is What.INPUT), None)
        self._input_at = chosen.index(self._input) if self._input is not None else -1
        self._losses = next((slot.offset for slot in plan.slots if slot.what is What.LOSS), 0)

    def measure(self, frames: Sequence[RawFrame]) -> list[Vitals]:
        """The figures of each frame."""
        measured: list[Vitals] = []
        at_once = max(1, CACHED_BYTES // self._bytes)
        with np.errstate(all="ignore"):
            for start in range(0, len(frames), at_once):
                measured += self._measure(frames[start : start + at_once])
        return measured

    def _measure(self, frames: Sequence[RawFrame]) -> list[Vitals]:
        sums = squares = np.zeros((len(frames), 0))
        here: Mask = np.zeros((len(frames), 0), np.bool_)
        varied = np.full(len(frames), np.nan)
        if self._numbers:
            payload = np.stack([frame.payload for frame in frames])
            sums = self._summed(payload)
            if self._input is not None:
                varied = _varied(payload, self._input)
            np.multiply(payload, payload, out=payload)
            squares = self._summed(payload)
            here = _present(frames, self._numbers)
            if self._input is not None:
                varied[~here[:, self._input_at]] = np.nan
        made = []
        for place, frame in enumerate(frames):
            loss, bad_loss_step = _loss(frame, self._losses)
            made.append(
                Vitals(
                    step=frame.header.step,
                    here=here[place],
                    mean=sums[place],
                    power=squares[place],
                    loss=loss,
                    bad_loss_step=bad_loss_step,
                    varied=float(varied[place]),
                )
            )
        return made

    def _summed(self, payload: Floats) -> Doubles:
        cuts = self._cuts
        if cuts[-1] == self._end:  # nothing lies behind the last slice
            cuts = cuts[:-1]
        means: Doubles = np.add.reduceat(payload, cuts, axis=1)[:, ::2] / self._sizes
        return means


class Forms:
    """One form a layout."""

    def __init__(self) -> None:
        self._forms: dict[tuple[object, ...], Form] = {}

    def of(self, plan: Plan) -> Form:
        """The form of the frames of a plan; the same object for plans that are alike."""
        layers = tuple((layer.model, layer.name) for layer in plan.layers)
        models = tuple((model.name, model.shards) for model in plan.models)
        slots = tuple((slot.what, slot.index, slot.offset, slot.shape) for slot in plan.slots)
        key = (layers, models, slots)
        form = self._forms.get(key)
        if form is None:
            form = self._forms[key] = Form(plan)
        return form


def measure_all(
    forms: Iterable[tuple[int, Form, RawFrame]],
) -> Iterable[tuple[int, Form, Vitals]]:
    """Figures of frames of many ranks, those of one form together; ranks in the order they came."""
    by_form: dict[int, tuple[Form, list[int], list[RawFrame]]] = {}
    for rank, form, frame in forms:
        _, ranks, frames = by_form.setdefault(id(form), (form, [], []))
        ranks.append(rank)
        frames.append(frame)
    for form, ranks, frames in by_form.values():
        for rank, vitals in zip(ranks, form.measure(frames), strict=True):
            yield rank, form, vitals


def _subject(plan: Plan, slot: Slot) -> Subject:
    of_model = slot.what in (What.INPUT, What.OUTPUT)
    layer = None if of_model else plan.layers[slot.index]
    return Subject(
        what=slot.what,
        model=plan.models[slot.index].name if layer is None else layer.model,
        layer="" if layer is None else layer.name,
        shape=slot.shape if slot.what in WEIGHTS else (),
        row=-1 if layer is None else slot.index,
    )


def _present(frames: Sequence[RawFrame], numbers: Sequence[int]) -> Mask:
    bits = [np.frombuffer(frame.header.present, np.uint8) for frame in frames]
    here: Mask = np.stack(bits)[:, numbers] != 0
    return here


def _varied(payload: Floats, slot: Slot) -> Doubles:
    """Of the input's second moment, what differs between rows."""
    size = int(np.prod(slot.shape))
    rows = payload[:, slot.offset : slot.offset + size].reshape(len(payload), slot.shape[0], -1)
    if slot.shape[0] < 2:
        return np.full(len(payload), np.nan)
    moment = np.mean(rows * rows, axis=(1, 2), dtype=np.float64)
    share: Doubles = rows.var(axis=1, dtype=np.float64).mean(axis=1) / moment
    return share


def _loss(frame: RawFrame, offset: int) -> tuple[float, int]:
    """Mean of the finite losses, and the first step whose loss is not finite."""
    header = frame.header
    if not header.loss_count:
        return float("nan"), 0
    losses = frame.payload[offset : offset + header.loss_count]
    total = float(losses.sum(dtype=np.float64))
    if total - total == 0:
        return total / header.loss_count, 0
    finite = np.isfinite(losses)
    given = np.frombuffer(header.loss_given, np.uint8) != 0
    mean = float(losses[finite].mean()) if finite.any() else float("nan")
    if len(given) != len(finite) or finite[given].all():
        return mean, 0  # NaN stands for a step that gave none
    return mean, header.loss_first_step + int(np.flatnonzero(~finite & given)[0])
