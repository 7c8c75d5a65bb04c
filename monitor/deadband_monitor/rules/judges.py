"""The two shapes of a rule: one judges all layers at once as arrays, one judges a model at a time.

Both remember since when a subject has been out of its healthy band, which is the onset they report.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Finding, Observation, Words
from deadband_monitor.rules.layout import Layout, Mask
from deadband_monitor.rules.past import ModelPast, Past, carried
from deadband_monitor.state.series import Floats


def column(seen: Observation, name: str) -> Floats:
    """One statistic of all layers."""
    values: Floats = seen.layers[:, LAYER_COLUMN[name]]
    return values


def columns(seen: Observation, *names: str) -> list[Floats]:
    """Statistics of all layers, copied: they may be kept while the sample is let go."""
    return list(seen.layers[:, [LAYER_COLUMN[name] for name in names]].T)


def per_model(
    rows: Sequence[int], layout: Layout, severity: Callable[[str], str]
) -> dict[str, str]:
    """What is as bad in all layers of a model, for the models of these rows."""
    return {model: severity(model) for model in layout.models_of(rows)}


def measured(evidence: dict[str, float]) -> dict[str, float]:
    """The figures that were measured: evidence never shows a NaN."""
    return {name: value for name, value in evidence.items() if math.isfinite(value)}


class LayerView(msgspec.Struct, frozen=True, kw_only=True):
    """What a layer rule holds of all rows at one sample."""

    active: Mask
    clear: Mask
    known: Mask
    """Rows that this sample says something about."""
    quiet: bool = False
    """No row is active, and none anything but clear: so it is in nearly all samples."""

    @classmethod
    def of_none(cls, known: Mask) -> LayerView:
        """No row shows anything."""
        none = np.zeros(len(known), bool)
        return cls(active=none, clear=~none, known=known, quiet=True)


class _Telling:
    """The words of rows that show the same for some samples: those of the newest of these."""

    def __init__(self, words: Callable[[int], Words]) -> None:
        self.words = words

    def __call__(self, row: int) -> Words:
        return self.words(row)


class LayerRule(ABC):
    """Judges every layer of a sample by array arithmetic; makes objects only for what shows."""

    kind: str
    samples_to_open = 3
    samples_to_close = 3
    backward = False
    needs: tuple[str, ...] = ()
    grace_steps = 0
    alone = True
    """No other rule speaks of the same symptom: what was said of a row stands until it changes."""

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._said: tuple[list[int], list[str], list[int]] | None = None
        """Rows, severities and onsets of what was told last."""
        self._times = 0
        """So many samples in a row."""
        self._telling: _Telling | None = None
        self._out_since: NDArray[np.int64] = np.zeros(0, np.int64)
        self._strays = False
        """Some row is out of its healthy band."""
        self._echo: NDArray[np.int64] = np.zeros(0, np.int64)
        self._echoes = False
        """Some row that was active is still to be told of."""

    @abstractmethod
    def view(self, seen: Observation, past: Past, layout: Layout) -> LayerView | None:
        """Which rows show the symptom; None where the sample says nothing."""

    def severities(
        self, rows: Sequence[int], seen: Observation, past: Past, layout: Layout
    ) -> Sequence[str]:
        """How bad it is in each of these active rows."""
        return ["warning"] * len(rows)

    @abstractmethod
    def teller(self, seen: Observation, past: Past, layout: Layout) -> Callable[[int], Words]:
        """Makes the words and the figures of an active row of this sample, now or later.

        It keeps a copy of the columns that it needs, for it may outlive the sample.
        """

    def adopt(self, layout: Layout) -> None:
        """Rows change; what is known of a layer stays with its name."""
        old, self._layout = self._layout, layout
        self._said = None
        carry = layout.carry(old) if old is not None else np.full(len(layout.keys), -1)
        self._out_since = _carried(self._out_since, carry, -1)
        self._echo = _carried(self._echo, carry, 0)

    def judge(self, seen: Observation, past: Past) -> Iterator[Finding]:
        """See `Rule`."""
        layout = past.layout
        assert layout is not None
        if layout is not self._layout:
            self.adopt(layout)
        view = self.view(seen, past, layout)
        if view is None:
            return
        if view.quiet and not (self._strays or self._echoes):
            self._said = None
            return
        self._note_band(view, seen.step)
        some = np.count_nonzero(view.active) > 0  # of few rows ten times as fast as `any`
        if not some:
            self._said = None
            if not self._echoes:
                return
        else:
            yield from self._showing(view, seen, past, layout)
        echoing = (self._echo > 0) & view.known & ~view.active & layout.judged
        for row in np.flatnonzero(echoing).tolist():
            model, layer = layout.keys[row]
            yield Finding(
                kind=self.kind,
                model=model,
                layer=layer,
                active=False,
                clear=bool(view.clear[row]),
            )
        if some:
            self._echo[view.active] = self.samples_to_close
        self._echo[view.known & view.clear & ~view.active] -= 1
        self._echoes = bool((self._echo > 0).any())

    def _showing(
        self, view: LayerView, seen: Observation, past: Past, layout: Layout
    ) -> Iterator[Finding]:
        shown = np.flatnonzero(view.active & layout.judged)
        if not len(shown):
            self._said = None
            return
        rows = shown.tolist()
        severities = list(self.severities(rows, seen, past, layout))
        onsets = self._out_since[shown].tolist()
        told, kind = self.teller(seen, past, layout), self.kind
        said = (rows, severities, onsets)
        if said == self._said and self._telling is not None:
            self._telling.words = told
            self._times += 1
            if self.alone and self._times > self.samples_to_open:
                for model in layout.models_of(rows):
                    yield Finding(kind=kind, model=model, still=True)
                return
        else:
            self._said, self._times, self._telling = said, 1, _Telling(told)
        for row, severity, onset in zip(rows, severities, onsets, strict=True):
            model, layer = layout.keys[row]
            yield Finding(
                kind=kind,
                model=model,
                layer=layer,
                severity=severity,
                onset_step=onset,
                told=self._telling,
                row=row,
            )

    def _note_band(self, view: LayerView, step: int) -> None:
        """Follow which rows are out of the healthy band; in most samples none is, nor was."""
        outside = view.known & ~view.clear
        if np.count_nonzero(outside):
            self._out_since[outside & (self._out_since < 0)] = step
        elif not self._strays:
            return
        self._out_since[view.known & view.clear] = -1
        self._strays = bool((self._out_since >= 0).any())


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What a model rule holds of one model at one sample."""

    active: bool
    clear: bool
    severity: str = "warning"
    message: str = ""
    layer: str = ""
    evidence: dict[str, float] = {}
    onset_step: int | None = None


class ModelRule(ABC):
    """Judges one model at a time."""

    kind: str
    samples_to_open = 3
    samples_to_close = 3
    backward = False
    needs: tuple[str, ...] = ()
    grace_steps = 0

    one_subject = False
    """What is told of one layer is taken back as soon as no layer shows it."""

    def __init__(self) -> None:
        self._out_since: dict[str, int] = {}
        self._named: dict[str, tuple[str, int]] = {}
        """The layer that a model's symptom was told of, and for how many clear samples it is kept:
        which layer is worst may change, and what was said of one is taken back of the same."""

    @abstractmethod
    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """What this sample says of `model`; None where it says nothing."""

    def concerns(self, past: Past, model: str) -> bool:
        """Whether a model that no optimiser holds is judged all the same."""
        return False

    def judge(self, seen: Observation, past: Past) -> Iterable[Finding]:
        """See `Rule`."""
        layout = past.layout
        assert layout is not None
        for index, model in enumerate(layout.models):
            if not (layout.model_learns[index] or self.concerns(past, model.name)):
                continue  # a frozen teacher or target network is not trained: nothing to judge
            judged = self.verdict(seen, past, past.models[model.name])
            if judged is None:
                continue
            if judged.clear:
                self._out_since.pop(model.name, None)
            else:
                self._out_since.setdefault(model.name, seen.step)
            layer, left = judged.layer, 0
            if self.one_subject:
                layer, left = self._named.get(model.name, (layer, 0))
            if not judged.active:
                if judged.clear and left > 0:
                    self._named[model.name] = layer, left - 1
                elif judged.clear:
                    self._named.pop(model.name, None)
                yield _idle(self.kind, model.name, layer, judged.clear)
                continue
            self._named[model.name] = layer, self.samples_to_close
            onset = judged.onset_step
            yield Finding(
                kind=self.kind,
                model=model.name,
                layer=layer,
                severity=judged.severity,
                clear=judged.clear,
                evidence=judged.evidence,
                message=judged.message,
                onset_step=self._out_since.get(model.name, seen.step) if onset is None else onset,
            )


@cache
def _idle(kind: str, model: str, layer: str, clear: bool) -> Finding:
    """That a symptom does not show: nearly always the same few."""
    return Finding(kind=kind, model=model, layer=layer, active=False, clear=clear)


def _carried(values: NDArray[np.int64], carry: NDArray[np.int64], new: int) -> NDArray[np.int64]:
    moved = np.full(len(carry), new, np.int64)
    known = carry >= 0
    moved[known] = values[carry[known]]
    return moved


__all__ = [
    "Judgement",
    "LayerRule",
    "LayerView",
    "ModelRule",
    "carried",
    "column",
    "columns",
    "measured",
    "per_model",
]
