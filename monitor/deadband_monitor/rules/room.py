"""Whether a network has room for its task: something that bends, width, and weights that learn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from deadband.wire import Layer
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.inputs import RECURRENT
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.rules.structure import among_experts
from deadband_monitor.state.series import Floats

LINEAR = (
    "linear",
    "conv",
    "identity",
    "flatten",
    "dropout",
    "batchnorm",
    "avgpool",
    "sequential",
)
"""Beginnings of the kinds of layers that two of make one again."""


@lru_cache(maxsize=16)
def is_linear(layout: Layout, model: str) -> bool:
    """Nothing that bends lies before the last weight layer.

    What the forward pass makes of a weight of its own (a pace, a centre) is not known to be linear.
    """
    layers, weighted = layout.layers, _weighted(layout, model)
    if not weighted or any(_stands_alone(layout, row) for row in layout.rows(model).tolist()):
        return False
    return all(
        not layer.activation and layer.kind.lower().startswith(LINEAR)
        for layer in layers[: weighted[-1]]
        if layer.model == model
    )


@lru_cache(maxsize=16)
def is_shallow(layout: Layout, model: str) -> bool:
    """One weight layer at most, and no table of embeddings: no products that start slowly."""
    rows = layout.rows(model)
    return len(_weighted(layout, model)) <= 1 and not layout.embedding[rows].any()


def _stands_alone(layout: Layout, row: int) -> bool:
    """A trained parameter of the model itself, and none of the further weights of a layer."""
    layer = layout.layers[row]
    owner = (layer.model, layer.name.rpartition(".")[0])
    return layer.kind == "Parameter" and bool(layout.learns[row]) and owner not in layout.row_of


UNLIKE = 1.5
"""Factor by which a spread differs from what a straight line makes of it; a step between the
forward pass and the look at a weight changes it by less than 0.3."""


def bends(past: Past, layout: Layout, model: str) -> bool:
    """Something between two layers is no straight line, and no layer bends.

    A line makes of the spread of one unit that of the next layer, times the weight; a sine or a
    square that the forward pass calls as a function does not. Nor is that a line which keeps within
    -1..1 what the last layer spreads wider; what lies within 0..1 are shares, and each follows its
    own sum. The gradient tells of wider layers.
    """
    index, weighted = layout.index_of[model], _weighted(layout, model)
    last, found = layout.output_of[index], past.models[model]
    if last in weighted and -1 <= found.value("out_min") < 0:
        given, put = float(past.newest[last, LAYER_COLUMN["out_rms"]]), found.value("out_rms")
        if found.value("out_max") <= 1 and given > UNLIKE * put > 0:
            return True
    for row, following in pairwise(weighted):
        if layout.layers[row].units != 1 or layout.layers[following].fan_in != 1:
            continue
        given, put = (_spread(past.newest, each) for each in (row, following))
        line = given * float(past.newest[following, LAYER_COLUMN["weight_rms"]])
        if put > UNLIKE * line > 0 or line > UNLIKE * put > 0:
            return True
    return any(_grows_beyond(past.newest, layout, *pair) for pair in pairwise(weighted))


def _grows_beyond(values: Floats, layout: Layout, row: int, following: int) -> bool:
    """Whether the gradient between two linear layers grows as no matrix makes it.

    By Cauchy and Schwarz that of the first one's output is at most units times the root mean square
    of the second one's weight times that of its output. A sine of thirty times its input goes past
    that; small weights make up for it.
    """
    one, other = layout.layers[row], layout.layers[following]
    if one.kind != "Linear" or other.kind != "Linear" or one.units != other.fan_in:
        return False
    before, behind = (
        float(values[each, LAYER_COLUMN["out_grad_rms"]]) for each in (row, following)
    )
    most = other.units * float(values[following, LAYER_COLUMN["weight_rms"]]) * behind
    return before > UNLIKE * most > 0


def _spread(values: Floats, row: int) -> float:
    """Standard deviation of a layer's outputs over the samples."""
    share, rms = (float(values[row, LAYER_COLUMN[name]]) for name in ("out_variance", "out_rms"))
    return math.sqrt(share) * rms if share > 0 else math.nan


@lru_cache(maxsize=16)
def bottleneck(layout: Layout, model: str) -> tuple[str, int, bool] | None:
    """The first hidden layer of one or two units, through which everything has to pass.

    What follows takes in nothing else: a gate or a score of one unit has the whole width beside it,
    and so have experts and towers, of which others of the same shape take the same inputs. Experts
    as wide at their end as what they are given look like one behind the other, but for the router.
    The last value tells whether it is narrower than what it is given: one that has as many units as
    inputs loses nothing by its width.
    """
    rows = _weighted(layout, model)
    layers = [layout.layers[row] for row in rows]
    apart = among_experts(layout, layout.index_of[model])
    for row, next_row in pairwise(rows):
        layer, wanted = layout.layers[row], layout.layers[next_row].fan_in
        narrow = wanted in {1, 2} and wanted == _handed_on(layout, row, next_row)
        if narrow and row not in apart and not _has_twins(layer, layers):
            # A recurrent layer has to keep a whole series in what it has for one step of it.
            series = layer.kind.startswith(RECURRENT)
            return layer.name, wanted, series or wanted < layer.fan_in
    return None


def _handed_on(layout: Layout, row: int, next_row: int) -> int:
    """Units that a layer gives to the next one: half of them where the other half is their gate."""
    units = layout.layers[row].units
    gated = any(
        between.activation and 2 * between.units == units
        for between in layout.layers[row + 1 : next_row]
    )
    return units // 2 if gated else units


def only_ranks(past: Past, model: ModelPast) -> bool:
    """Whether three answers or more hang on a single number: they lie on a curve, by rank."""
    assert past.layout is not None
    narrow, told = bottleneck(past.layout, model.name), past.layout.model(model.name)
    if narrow is None or narrow[1] > 1:
        return False
    columns = told.loss_input[-1] if len(told.loss_input) > 1 else 1
    return (told.loss.startswith("bce") and columns > 2) or several_classes(model)


def several_classes(model: ModelPast) -> bool:
    """Whether the labels are of three classes or more."""
    return model.value("label_entropy") > math.log(2.5)


def _has_twins(layer: Layer, layers: Sequence[Layer]) -> bool:
    """Whether another of its shape takes in something else than what the one before it gives."""
    return any(
        other is not layer
        and (other.fan_in, other.units) == (layer.fan_in, layer.units)
        and not _takes(other, before)
        for before, other in pairwise(layers)
    )


def _takes(layer: Layer, before: Layer) -> bool:
    """Whether a layer may take in what the one before it gives; a kernel has several places."""
    if layer.kind.startswith("Conv"):
        return before.units > 0 and layer.fan_in % before.units == 0
    return layer.fan_in == before.units


def spectators(past: Past, layout: Layout, model: str) -> tuple[str, ...]:
    """All weight matrices, where none of them was ever run and something else is trained."""
    rows = layout.rows(model)
    matrices = layout.weighted(model)
    ran = np.isfinite(past.first[rows, LAYER_COLUMN["out_rms"]])
    moved = past.newest[rows, LAYER_COLUMN["update_ratio"]] > 0
    if not len(matrices) or np.isfinite(past.first[matrices, LAYER_COLUMN["out_rms"]]).any():
        return ()
    return tuple(layout.layers[row].name for row in matrices) if (ran & moved).any() else ()


AS_DRAWN = 0.04
"""Relative difference of a weight's spread from what an initialiser gives: 256 draws leave 0.03."""
DRAWN_BY_CHANCE = 1.35
"""Three standard errors of the spread of that many even draws, sqrt(0.2 / n)."""


def left_as_drawn(past: Past, model: str) -> tuple[str, ...]:
    """Layers that are not trained though nothing was learnt in them before either.

    Empty unless they hold half of the weights or are half of the layers: an encoder, say. A
    backbone that was trained elsewhere has another spread than any initialiser gives.
    """
    layout = past.layout
    assert layout is not None
    rows = layout.weighted(model)
    if layout.learns[rows].all():
        return ()
    spreads = past.first[rows, LAYER_COLUMN["weight_spread"]]
    drawn = np.array(
        [_is_drawn(layout.layers[row], spread) for row, spread in zip(rows, spreads, strict=True)],
        dtype=np.bool_,
    )
    resting = ~layout.learns[rows] & drawn
    weights = np.array([layout.layers[row].parameters for row in rows], dtype=np.float64)
    if 2 * weights[resting].sum() < weights.sum() and 2 * resting.sum() < len(rows):
        return ()
    return tuple(layout.layers[row].name for row in rows[resting])


def untrained(past: Past, model: str) -> tuple[str, ...]:
    """The same, or layers that torch was never told of."""
    assert past.layout is not None
    return past.layout.model(model).unregistered or left_as_drawn(past, model)


def _is_drawn(layer: Layer, spread: float) -> bool:
    """Whether torch's, He's, Glorot's or a recurrent layer's initialiser gives such a spread."""
    inputs, units, kind = layer.fan_in, max(layer.units, 1), layer.kind.lower()
    usual = [1.0, math.sqrt(6.0), math.sqrt(6.0 * inputs / (inputs + units))]
    if "attention" in kind:  # query, key and value in one
        usual.append(math.sqrt(6.0 * inputs / (inputs + 3 * units)))
    if kind.startswith(("lstm", "gru", "rnn")):
        usual.append(math.sqrt(inputs / units))
    within = max(AS_DRAWN, DRAWN_BY_CHANCE / math.sqrt(max(1, inputs * units)))
    return any(abs(spread - each) <= within * each for each in usual)


@lru_cache(maxsize=16)
def _weighted(layout: Layout, model: str) -> tuple[int, ...]:
    """Rows of the weight layers; with a single input too, unlike a gain of a normalisation."""
    return tuple(
        row
        for row, layer in enumerate(layout.layers)
        if layer.model == model and layout.weights[row] and layer.kind != "Parameter"
    )
