"""What a layer table tells of a model's build: latents, routers, encoders that run twice.

Read once a layer table, from shapes and order of execution; names only where shapes leave doubt.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deadband.wire import MOST_CALLS, Layer
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.layout import Layout

_NUMBER = re.compile(r"\d+")
_ROUTER = re.compile(r"gat(e|ing)|rout|switch|moe|expert", re.IGNORECASE)

WIDE_ENOUGH = 8
"""Units from which an output is an embedding, not a few scores: with fewer, the cosine of two
outputs is near 1 or -1 by nature."""


@dataclass(frozen=True, slots=True)
class Latent:
    """The mean (and log-variance) of a latent that a decoder draws noise around."""

    mean: int
    """Row of the layer that gives the mean; of both where one layer gives both."""
    spread: int
    """Row of the layer that gives the log-variance; the same row where one gives both."""
    decoder: int
    """Row of the first weight of the decoder."""
    units: int


SMALL_MEANS = 0.4
"""Rms of a latent's means below which they make up less than the quarter that `draws` asks for."""


@lru_cache(maxsize=16)
def latents(layout: Layout, index: int) -> list[Latent]:
    """Latents of one model.

    Two linear layers of the same shape run one after the other, or one of twice the width, narrower
    than what they are given, and the next weight takes exactly as many inputs as one of them gives.
    Three of a shape are the query, key and value of an attention.
    """
    rows = [row for row in layout.rows_of[index].tolist() if _linear(layout.layers[row])]
    found = []
    for place, row in enumerate(rows[:-1]):
        layer = layout.layers[row]
        after = layout.layers[rows[place + 1]]
        if _same(layer, after):
            third = layout.layers[rows[place + 2]] if place + 2 < len(rows) else None
            before = layout.layers[rows[place - 1]] if place else None
            alone = not (third and _same(layer, third)) and not (before and _same(layer, before))
            if alone and third and layer.units < layer.fan_in and _feeds(layer.units, third):
                found.append(Latent(row, rows[place + 1], rows[place + 2], layer.units))
        elif layer.units % 2 == 0 and after.fan_in == layer.units // 2 < layer.fan_in:
            # Of two towers side by side the second begins as the first did, and ends as wide.
            if (
                _same(layout.layers[rows[0]], after)
                and layout.layers[rows[-1]].units == layer.units
            ):
                continue
            found.append(Latent(row, row, rows[place + 1], layer.units // 2))
    return found


def draws(layers: NDArray[np.float32], latent: Latent) -> bool:
    """Whether noise was added: the decoder's first outputs vary more than the means can make them.

    With weights of rms w over k latents of mean square m^2 they vary by k w^2 m^2 without noise, by
    k w^2 (m^2 + 1) with the noise of the prior; a quarter of that is asked for.
    """
    rho, rms, weight = (
        float(layers[latent.decoder, LAYER_COLUMN[name]])
        for name in ("out_variance", "out_rms", "weight_rms")
    )
    return rho * rms**2 > 0.25 * latent.units * weight**2


def drew(first: NDArray[np.float32], layout: Layout, model: str) -> bool:
    """Whether noise was drawn about a latent from the start, where means are small and hide none.

    Then how far it is from its prior is a part of the loss, if not always one that can be seen: a
    sum over the batch that is added to and divided hides it.
    """
    rms = first[:, LAYER_COLUMN["out_rms"]]
    return any(
        draws(first, latent) and rms[latent.mean] < SMALL_MEANS
        for latent in latents(layout, layout.index_of[model])
    )


def routers(layout: Layout, index: int) -> list[int]:
    """Rows of softmax layers that choose among experts.

    Either they are called so, or the model holds exactly as many layers of one shape as the softmax
    has units, numbered one after the other in a list.
    """
    rows = layout.rows_of[index].tolist()
    softmaxes = [row for row in rows if layout.layers[row].activation == "softmax"]
    if not softmaxes:
        return []
    lists = {len(numbered) for numbered in _numbered(layout, rows)}
    return [
        row
        for row in softmaxes
        if layout.layers[row].units >= 2
        and (_ROUTER.search(layout.layers[row].name) or layout.layers[row].units in lists)
        and not layout.last_row[row]
    ]


def experts(layout: Layout, index: int, units: int) -> list[list[int]]:
    """Rows of the weights of each of `units` experts that are numbered in a list.

    Empty where there is no such list: experts may be slices of one tensor.
    """
    found: list[list[int]] = [[] for _ in range(units)]
    for numbered in _numbered(layout, layout.rows_of[index].tolist()):
        if len(numbered) == units:
            for number, row in numbered.items():
                found[number].append(row)
    return found if found[0] else []


def among_experts(layout: Layout, index: int) -> frozenset[int]:
    """Rows of weights that a router chooses among: each is one way out of several."""
    widths = {layout.layers[row].units for row in routers(layout, index)}
    return frozenset(
        row for units in widths for expert in experts(layout, index, units) for row in expert
    )


def called_on(layout: Layout, rows: Sequence[int]) -> list[int]:
    """Those of these rows behind which the same weights may be called again, unseen.

    Of the last call that is followed nobody knows how far before what comes next it lies.
    """
    calls: dict[str, int] = defaultdict(int)
    found, last = [], False
    for row in rows:
        if layout.matrix[row]:
            base = _base(layout.layers[row].name)
            calls[base] += 1
            last = calls[base] == MOST_CALLS
        if last:
            found.append(row)
    return found


def embeddings(layout: Layout, index: int) -> list[int]:
    """Rows whose output may be the embedding of a model that runs several times in one step.

    Two views go through one encoder: the model was called twice, or a weight in it was. A model
    that ends in a score, as a discriminator does, is called for made and real samples, not views.
    """
    rows = _matrices(layout, index)
    twice = {_base(layout.layers[row].name) for row in rows if "@" in layout.layers[row].name}
    model = layout.models[index]
    # Called by its parts: how often is not counted, but the loss has shown a second view.
    whole = model.calls >= 2 or model.target_learns
    return [
        row
        for row in perhaps_embeddings(layout, index)
        if whole or layout.layers[row].name in twice
    ]


def perhaps_embeddings(layout: Layout, index: int) -> list[int]:
    """The same of a model of which it is not known that it runs several times."""
    if judges_others(layout, index):
        return []
    return [
        row
        for row in _matrices(layout, index)
        if layout.learns[row]
        and layout.units[row] >= WIDE_ENOUGH
        and "@" not in layout.layers[row].name
    ]


def embedding(layout: Layout, rows: NDArray[np.int64]) -> int:
    """That of a model's matrices whose output a loss compares with what is predicted of it.

    A prediction is as wide as its embedding, and through no activation goes either: where nothing
    before the last matrix is so, there is no predictor.
    """

    def hidden(row: int) -> bool:
        behind = layout.rows(layout.layers[row].model)
        after = (i for i in behind[behind > row].tolist())
        next_row = next((i for i in after if layout.matrix[i] or layout.layers[i].activation), row)
        return bool(layout.layers[next_row].activation) and not layout.matrix[next_row]

    last = int(rows[-1])
    before = reversed(rows[:-1].tolist())
    alike = (i for i in before if layout.units[i] == layout.units[last] and not hidden(i))
    return next(alike, last)


def judges_others(layout: Layout, index: int) -> bool:
    """Whether a model ends in one score or two, as a discriminator does."""
    rows = _matrices(layout, index)
    return bool(rows) and 1 <= layout.layers[rows[-1]].units <= 2


def _matrices(layout: Layout, index: int) -> list[int]:
    rows = layout.rows_of[index].tolist()
    return [row for row in rows if layout.matrix[row] and _gives(layout.layers[row])]


def _linear(layer: Layer) -> bool:
    return layer.fan_in >= 2 and layer.units >= 1 and "@" not in layer.name and _gives(layer)


def _gives(layer: Layer) -> bool:
    """Whether it has an output; a parameter beside the layers has none."""
    return layer.kind != "Parameter"


def _same(one: Layer, other: Layer) -> bool:
    return (one.kind, one.fan_in, one.units) == (other.kind, other.fan_in, other.units)


def _feeds(units: int, layer: Layer) -> bool:
    """Whether a layer takes `units` inputs, at each of the positions of its kernel."""
    if "Conv" in layer.kind:
        return layer.fan_in % units == 0
    return layer.fan_in == units


def _base(name: str) -> str:
    return name.split("@", 1)[0]


def _numbered(layout: Layout, rows: list[int]) -> list[dict[int, int]]:
    """Lists of equal weights whose names differ in one number, 0, 1, 2, ...: number -> row."""
    groups: dict[tuple[str, str, int, int], dict[int, int]] = defaultdict(dict)
    for row in rows:
        layer = layout.layers[row]
        if not _linear(layer):
            continue
        for number in _NUMBER.finditer(layer.name):
            stem = f"{layer.name[: number.start()]}*{layer.name[number.end() :]}"
            groups[stem, layer.kind, layer.fan_in, layer.units][int(number.group())] = row
    return [found for found in groups.values() if set(found) == set(range(len(found)))]
