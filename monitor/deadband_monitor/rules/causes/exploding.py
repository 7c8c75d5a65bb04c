"""A signal that is blown up on its way before anything was learnt: by layers, or in a loop."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.born import grown_back
from deadband_monitor.rules.causes.base import Case, Suspect
from deadband_monitor.rules.causes.facts import DEEP, LARGE_WEIGHTS
from deadband_monitor.rules.causes.high_rate import BLOW_UP
from deadband_monitor.rules.structure import called_on
from deadband_monitor.statistics.values import Floats

GROWS = 100.0
"""Growth of the outputs from the first weight layer to the last, before anything was learnt. He's
initialisation keeps them within 3 over twenty layers, residual sums without normalisation and
PyTorch's default lie below 30; thirty blocks that double give 1e9."""

FAIR = 3.0
"""Growth that layers of any usual initialisation come to, as above."""

_OUT = ("out_rms", "out_variance")


def suspects(case: Case) -> Iterator[Suspect]:
    """Depth that explodes."""
    yield from _by_layers(case)
    yield from _through_time(case)


def _by_layers(case: Case) -> Iterator[Suspect]:
    """Each layer enlarges what it gets, and none is to blame alone."""
    layout = case.layout
    matrices = layout.weighted(case.model.name)
    sizes = watched = _varying(*(case.past.first[matrices, LAYER_COLUMN[name]] for name in _OUT))
    if called_on(layout, matrices.tolist()):
        # The last calls of a layer are not watched, and what comes out behind them is.
        last = _varying(*(np.array([case.model.start(name)]) for name in _OUT))
        sizes = np.append(sizes, last)
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if len(sizes) < DEEP:
        yield from _in_between(case)
        return
    grown, what = float(sizes[-2:].max() / sizes[0]), "outputs"
    way = f"from the first of {len(sizes)} weight layers to the last"
    if not grown > GROWS:
        # Flat ends keep the outputs in bounds, and not the gradient.
        grown, what = grown_back(case.past, case.model)[1], "gradients"
        way = f"from the last of {len(sizes)} weight layers to the first"
    elif _at_one_place(watched, grown):
        yield from _in_between(case)
        return
    if not grown > GROWS:
        return
    each = grown ** (1 / (len(sizes) - 1))
    typical = float(np.median(case.facts.spreads)) if case.facts.spreads else math.nan
    # Weights that are each too wide for their fan-in are rather a scale than a product of fair
    # ones: their own suspect has the table's odds, and depth is what to think of next.
    wide = len(case.facts.spreads) > 0 and np.median(case.facts.spreads) > LARGE_WEIGHTS
    yield Suspect(
        word="depth-exploding",
        belief=0.93 if wide else 0.95,
        onset=case.start,
        explains=BLOW_UP,
        evidence=[
            f"first sample, before any step: {what} grow {grown:.2g}-fold {way}, "
            f"{each:.2g}-fold a layer"
        ],
        advice=f"divide the spread of the weights by {each:.2g} (they have {typical:.2g} times "
        "PyTorch's default; nn.init.kaiming_uniform_ has 2.45), or put nn.LayerNorm in front of "
        "each block; scale the last layer of each residual block by 1 / sqrt(blocks); "
        "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
    )


def _at_one_place(sizes: Floats, grown: float) -> bool:
    """Whether all growth is between two layers: an exp there, say, and no product of many."""
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    return len(sizes) > 1 and bool(grown < FAIR * (sizes[1:] / sizes[:-1]).max())


def _varying(size: Floats, share: Floats) -> Floats:
    """Root mean square of what differs from row to row, which is a share of the second moment.

    A bias of 30 gives an output of 30, whatever comes before it.
    """
    return size * np.where(np.isfinite(share), np.sqrt(share), 1.0)


def _in_between(case: Case) -> Iterator[Suspect]:
    """Between two layers the outputs grow as their weights do not make them, and gradients back.

    A loop written by hand, say over the steps of a series, runs there; no factor is as large.
    """
    rows = case.layout.rows(case.model.name)
    rows = rows[case.layout.weights[rows]]
    sizes, grads = (case.past.first[rows, LAYER_COLUMN[n]] for n in ("out_rms", "out_grad_rms"))
    if "large_weights" in case.facts.seen or case.facts.input_kind:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        forth, back = sizes[1:] / sizes[:-1], grads[:-1] / grads[1:]
    for at in np.flatnonzero((forth > GROWS**2) & (back > GROWS)):
        one, other = (case.layout.layers[row].name for row in rows[at : at + 2])
        yield Suspect(
            word="depth-exploding",
            belief=0.9,
            onset=case.start,
            explains=BLOW_UP,
            evidence=[
                f"first sample, before any step: outputs grow {forth[at]:.2g}-fold from {one} to "
                f"{other} and the gradient {back[at]:.2g}-fold on its way back, with weights of "
                "the usual size: what runs between them multiplies again and again"
            ],
            advice="keep the factor of each step below 1 (a sigmoid of a parameter, "
            "exp(-softplus)), or normalise the state at each step; "
            "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
            layer=other,
        )
        return


def _through_time(case: Case) -> Iterator[Suspect]:
    """A recurrent layer that enlarges what it gets a hundredfold does so by its recurrence.

    Weights between inputs and units are judged by their spread; those from step to step multiply
    the state by themselves, four times a step in twenty steps is 1e12.
    """
    layout = case.layout
    first = case.past.first[:, LAYER_COLUMN["out_rms"]]
    given = case.model.start("in_rms")
    for row in layout.rows(case.model.name).tolist():
        layer = layout.layers[row]
        size = float(first[row])
        if layer.kind.startswith("RNN") and size > GROWS * given:
            yield Suspect(
                word="depth-exploding",
                belief=0.93,
                onset=case.start,
                explains=BLOW_UP,
                evidence=[
                    f"first sample, before any step: {layer.name} puts out {size:.2g}, it was "
                    f"given {given:.2g}: its state grows from step to step"
                ],
                advice=f"draw the recurrent weights so that they keep a state's length: "
                f"nn.init.orthogonal_({layer.name}.weight_hh_l0); "
                "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0); or take nn.LSTM or "
                "nn.GRU",
                layer=layer.name,
            )
            return
        if math.isfinite(size):
            given = size
