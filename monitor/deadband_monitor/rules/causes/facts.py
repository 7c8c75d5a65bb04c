"""What speaks for which cause in one model: facts with their step, read from the memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.born import lost_in_depth
from deadband_monitor.rules.feed import CONSTANT
from deadband_monitor.rules.inputs import odd_scale
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.model_past import PULLED
from deadband_monitor.rules.past import EARLY_STEPS, SMALL_UPDATE, ModelPast, Past
from deadband_monitor.rules.structure import called_on
from deadband_monitor.rules.weights import all_of_one_number, of_one_number
from deadband_monitor.state.series import Floats

SMALL_WEIGHTS = 0.1
LARGE_WEIGHTS = 6.0
"""Spread times sqrt(3 fan_in): 1 is PyTorch's default, 2.45 He's; below 0.1 and above 6 hurt."""
NARROW, FADED = 0.5, 1e-2
"""Weights less narrow than that hurt together: four layers of 0.28 (64 ELU units, sd 0.02) leave
4e-3 of what the first one puts out, and learn nothing for 400 steps. Behind normalisations, where
transformers draw theirs so, nothing fades."""
WIDE = 4.0
"""Weights less wide than `LARGE_WEIGHTS` hurt together, where most of what they give lies on a flat
end at the first sample: twice He's spread in residual blocks of tanh."""
FAR_TOO_WIDE = 30.0
"""The same for a single layer among sound ones: sines over raw coordinates begin near 20."""
SHUT_BIAS = -1.0
"""Mean bias from which a layer that is dead is so by its bias: weights of the usual spread give
sums of 0.3 to 1.5 from standardised inputs."""
SWALLOWS = 10.0
"""Adam's eps over the largest gradient from which the division by sqrt(v) + eps leaves no step."""
TURNED = 0.5
"""Drift in the first step from which the weights show what that step made of them."""
WHOLE, STRONG = 0.01, 0.1
"""Share of variance, and standard deviation, that are far from lost: a few sigmoids leave 1e-4 of
the one, 0.005 of the other."""
LARGE_BIAS = 5.0
"""A sigmoid's slope there is below 3 % of its largest."""
ROUNDING = 1e-12
"""Share of variance that float32 makes of equal values: its last digit squared is 1.4e-14."""
FLAT = 0.5
"""Share of what a layer's activations were given that lay on their flat ends."""
LEARNT = 0.3
"""Skill, or information, from which units have served."""
LOST_DECADES = 8
"""By which the gradient falls from the last layer to the first: next to nothing is left."""
DEEP = 5
"""Weight matrices from which a signal can be lost in depth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The evidence about one model."""

    seen: frozenset[str]
    """Members of `likelihood.EVIDENCE`."""
    input_kind: str
    """`offset`, `large`, `tiny`, `constant` or empty, at the first sample."""
    zero_weights: bool
    """Every hidden weight was zero at the start."""
    empty: tuple[str, ...]
    """Weights that began at zero, and stay there for want of a gradient: two or more."""
    twin_layers: tuple[str, ...]
    """Layers whose units were twins at the start."""
    spreads: tuple[float, ...]
    """Initial spread of every hidden weight matrix, or what it counts as to one side of zero."""
    one_sided: bool
    """Most hidden weights began to one side of zero."""
    first_signal: float
    last_signal: float
    """Dependence ratio after the first and the last hidden layer, before the first step."""
    lost_decades: float
    """By which the gradient fell on its way back; 0 where it was not lost."""
    grown: float
    """Largest growth of a weight."""
    shut: int | None
    """Row of the first layer that was dead before the first step, by the bias that feeds it."""


def gather(past: Past, model: ModelPast) -> Facts:
    """Read the evidence about `model` from the memory."""
    layout = past.layout
    assert layout is not None
    late = layout.model(model.name).late
    rows = layout.rows(model.name)
    matrices = rows[(layout.matrix & layout.learns)[rows]]
    hidden = matrices[~layout.head[matrices]]
    # The first sample shows the weights after the first step; growth leads back to before it, and
    # is undefined where the weights began at zero.
    rms = _column(past.first, "weight_rms")[hidden]
    began = _column(past.first, "weight_growth")[hidden]
    spread = _column(past.first, "weight_spread")[hidden]
    # A first step that dwarfs the weights can turn them all one way; those began around zero.
    moved = _column(past.first, "weight_drift")[hidden] > TURNED
    leaning = _leaning(rms, spread, layout.fan_in[hidden].astype(np.float32))
    leaning[moved] = np.nan
    wide: Floats = np.fmax(spread, leaning)
    spreads = _finite(wide / began)
    # It is undefined too before the first step; weights that stand where they stood are not zero.
    stood = (rms > 0) & (_column(past.newest, "weight_rms")[hidden] == rms)
    zero = len(rms) > 0 and bool((np.isnan(began) & np.isfinite(rms) & ~stood).all())
    if late:  # what is seen first is what training has made of it
        spreads, leaning, zero = spreads[:0], leaning[:0], False
    one_sided = len(leaning) > 0 and _most(np.isfinite(leaning))
    tables = rows[(layout.embedding & layout.learns)[rows]]
    twins = _twins(past, layout, hidden) or _one_unit_heads(past, layout, rows)
    if not late:
        filled = rows[all_of_one_number(past, layout)[rows]]
        twins += tuple(layout.layers[row].name for row in filled)
    twins += _alike(past, layout, tables)
    kind = odd_scale(model.start("in_variance"), model.start("in_max"), model.start("in_rms"))
    if model.start("in_variance") < CONSTANT or past.stands("input-anomaly", model.name):
        kind = kind or ("constant" if model.value("in_variance") < CONSTANT else "")
    shut = None if late else _shut(past, layout, rows)
    # What a bias shuts is not lost in depth: only the layers before it tell.
    sound = rows if shut is None else rows[rows < shut - 1]
    first, last = (math.nan, math.nan) if late else _signals(past, layout, sound)
    lost = _lost_on_the_way_back(past, sound)
    grown = _finite(_column(past.highest, "weight_growth")[matrices])
    growth = float(grown.max()) if len(grown) else 1.0
    seen = {
        "large_update": model.large_update_step is not None and not made_good(past, model),
        "loss_above_constant": past.loss_was_high,
        "weights_tripled": growth >= 3,
        "gradient_tenfold": model.gradient_rose,
        "saturated": past.stands("saturation", model.name),
        "dead": past.stands("dead-units", model.name),
        "faint_depth": max(len(matrices), len(layout.weighted(model.name))) >= DEEP
        and (
            _lost_in_depth(past, model.name, first, last)
            or lost > 0
            or _lost_both_ways(past, model)
        )
        and not (twins or lost_at_once(past, layout, sound) is not None),
        "input_scale": kind in {"offset", "large"},
        "input_tiny": kind == "tiny",
        "input_constant": kind == "constant",
        "twins": bool(twins),
        "small_weights": zero
        or (
            len(spreads) > 0
            and not twins
            and (
                _most(spreads < SMALL_WEIGHTS) or (_most(spreads < NARROW) and _fades(past, hidden))
            )
        ),
        "large_weights": len(spreads) > 0
        and (
            _most(spreads > LARGE_WEIGHTS)
            or bool((spreads > FAR_TOO_WIDE).any())
            or (one_sided and bool((spreads > LARGE_WEIGHTS).any()))
            or (_most(spreads > WIDE) and _born_flat(past, rows))
        ),
        "tiny_updates": 0 < model.peak_update < SMALL_UPDATE
        # What moves the weights is decay alone, and not because Adam divides the rest away.
        and not _gradless(past, matrices)
        and (not model.pull > PULLED or divided_away(past, layout)),
        "shrinking": past.stands("weight-collapse", model.name),
    }
    return Facts(
        seen=frozenset(name for name, present in seen.items() if present),
        input_kind=kind,
        zero_weights=zero,
        empty=() if late else _empty(past, layout, rows),
        twin_layers=twins,
        spreads=tuple(float(value) for value in spreads),
        one_sided=one_sided,
        first_signal=first,
        last_signal=last,
        lost_decades=lost,
        grown=growth,
        shut=shut,
    )


def made_good(past: Past, model: ModelPast) -> bool:
    """Whether so much was learnt between the large step and all that stands that it did no harm."""
    large = model.large_update_step
    onsets = [
        onset
        for (_, name), (severity, onset, _) in past.standing.items()
        if name == model.name and severity != "info"
    ]
    # What it drove to flat ends may be told late: the rest can learn all the same. And weights that
    # grow without end are moved by steps as long as the first.
    harms = ("update-too-large", "saturation", "weight-divergence")
    harmed = any((kind, model.name) in past.standing for kind in harms)
    if large is None or not onsets or harmed or _lost_again(past, model):
        return False
    best = model.skill.best_before(min(onsets))
    return best is not None and best[0] > large and best[1] >= LEARNT


def _lost_again(past: Past, model: ModelPast) -> bool:
    """What was learnt is gone, and all the while the rate was that of the large step.

    A post-LN encoder at 0.03 under AdamW began with a step of 0.4, learnt for 300 more, and then
    lost all in a few dozen.
    """
    gone = past.standing.get(("output-collapse", model.name))
    if past.stands("dead-units", model.name):
        return False  # units that died tell by themselves how it went
    return gone is not None and model.rates.at(gone[1]) >= model.large_update_lr > 0


def divided_away(past: Past, layout: Layout) -> tuple[float, float] | None:
    """Adam's eps and the largest gradient, where the one is far above the other."""
    group = next(iter(layout.table.optimizers), None)
    grads = _finite(_column(past.highest, "grad_rms")[layout.matrix])
    largest = float(grads.max()) if len(grads) else math.nan
    if group is None or not group.eps > SWALLOWS * largest > 0:
        return None
    return group.eps, largest


def _gradless(past: Past, matrices: NDArray[np.int64]) -> bool:
    """Every gradient was exactly zero at every sample."""
    grads = _column(past.highest, "grad_rms")[matrices]
    return len(grads) > 0 and bool((grads == 0).all())


def _empty(past: Past, layout: Layout, rows: NDArray[np.int64]) -> tuple[str, ...]:
    """Weights of zero that meet in a product have no gradient: each waits for the other."""
    began, now = (_column(each, "weight_rms")[rows] for each in (past.first, past.newest))
    grads = _column(past.highest, "grad_rms")[rows]
    stuck = (began == 0) & (now == 0) & (grads == 0) & layout.learns[rows]
    stuck &= (layout.matrix | layout.embedding)[rows]
    return tuple(layout.layers[row].name for row in rows[stuck]) if stuck.sum() >= 2 else ()


def _twins(past: Past, layout: Layout, hidden: NDArray[np.int64]) -> tuple[str, ...]:
    gated = hidden[(layout.fan_in[hidden] >= 8) & (layout.units[hidden] >= 4)]
    share = _column(past.first, "duplicate_units")[gated]
    # A first step that dwarfs the weights can turn them all one way; those were no twins at birth.
    # But it makes no one number of weights that were drawn.
    turned = _column(past.first, "weight_drift")[gated] > TURNED
    born = (share >= 0.9) & (~turned | of_one_number(past, layout)[gated])
    return tuple(layout.layers[row].name for row in gated[born].tolist())


def _one_unit_heads(past: Past, layout: Layout, rows: NDArray[np.int64]) -> tuple[str, ...]:
    """Heads that were born alike and stayed so: a tied autoencoder's only matrix is its head."""
    heads = rows[(layout.matrix & layout.learns & layout.head)[rows]]
    stayed = _column(past.newest, "duplicate_units")[heads] >= 0.9
    stayed &= _column(past.newest, "duplicate_grads")[heads] >= 0.9
    return _twins(past, layout, heads[stayed]) if past.step > EARLY_STEPS else ()


def _alike(past: Past, layout: Layout, tables: NDArray[np.int64]) -> tuple[str, ...]:
    """Embeddings that began with one and the same row for all ids, and not with zeros."""
    share = _column(past.first, "duplicate_units")[tables]
    alike = (share >= 0.9) & (_column(past.first, "weight_rms")[tables] > 0)
    alike &= layout.fan_in[tables] >= 8
    # From zero, the first step alone gives rows a direction each; these have theirs from the start.
    alike &= _column(past.first, "weight_growth")[tables] < 2
    return tuple(layout.layers[row].name for row in tables[alike].tolist())


def _shut(past: Past, layout: Layout, rows: NDArray[np.int64]) -> int | None:
    """The first layer that gave nothing at the first sample, behind a bias far from zero."""
    dead, bias = _column(past.first, "dead_units"), _column(past.first, "bias_mean")
    zero, flat = _column(past.first, "zero_share"), _column(past.first, "saturation")
    fed = math.nan
    for row in rows.tolist():
        if layout.matrix[row] and layout.layers[row].kind != "Parameter":
            fed = float(bias[row])
        elif (fed < SHUT_BIAS and (dead[row] >= 0.9 or zero[row] >= 0.97)) or (
            abs(fed) > LARGE_BIAS and flat[row] >= 0.9
        ):
            return int(row)
    return None


def _signals(past: Past, layout: Layout, rows: NDArray[np.int64]) -> tuple[float, float]:
    values = _column(past.first, "out_variance")[rows]
    body = values[np.isfinite(values) & ~layout.head[rows]]
    if len(body) < 2:
        return math.nan, math.nan
    return float(body[0]), float(body[-1])


def _lost_in_depth(past: Past, model: str, first: float, last: float) -> bool:
    """The first layer hands the input on, the last gets nothing of it, before anything was learnt.

    Ten default-initialised ReLU layers leave 4e-6 of the variance, twenty 2e-14; He's
    initialisation leaves 0.06 after twenty.
    """
    fades = first > 1e-3 and last < 1e-5 * first
    standing = past.standing.get(("vanishing-gradient", model))
    return fades or (standing is not None and standing[0] != "info" and last < 1e-3 * first)


def _lost_both_ways(past: Past, model: ModelPast) -> bool:
    still = any(past.stands(kind, model.name) for kind in ("loss-plateau", "constant-predictor"))
    return still and lost_in_depth(past, model) > 0


def _lost_on_the_way_back(past: Past, rows: NDArray[np.int64]) -> float:
    """Decades that the gradient fell by from the last layer to the first at the first sample.

    0 where some of it arrived.

    Nodes of a graph or positions may differ by what is mixed in at each layer, so that the way
    there does not tell. As PyTorch draws them each layer leaves 1 / sqrt(3) of it times the slope's
    root mean square: twenty ReLU layers 1.6e-8, six sigmoid ones 9e-6.
    """
    layout = past.layout
    assert layout is not None
    grads = _column(past.first, "out_grad_rms")[rows]
    body = np.log10(grads[grads > 0])
    if len(body) < 2 or body[-1] - body[0] < LOST_DECADES:
        return 0.0
    # A branch beside the others, say a router, is left out at once and not little by little; how
    # many calls lie behind the last that is watched nobody knows.
    known = rows[grads > 0]
    watched = ~np.isin(known[:-1], called_on(layout, known.tolist()))
    steps = np.diff(body)[watched]
    return float(body[-1] - body[0]) if steps.max(initial=0.0) < LOST_DECADES / 2 else 0.0


def lost_at_once(past: Past, layout: Layout, rows: NDArray[np.int64]) -> int | None:
    """The row of the layer behind which, at the first sample, all inputs are one.

    One layer leaves nothing of a signal that was whole before it: that is no matter of depth.
    """
    shares, sizes = (_column(past.first, name)[rows] for name in ("out_variance", "out_rms"))
    known = np.isfinite(shares) & ~layout.head[rows]
    shares, sizes = shares[known], sizes[known]
    gone = np.flatnonzero(shares < ROUNDING)
    if not (len(gone) and gone[0]):
        return None
    share, size = float(shares[gone[0] - 1]), float(sizes[gone[0] - 1])
    # Beside a large bias what varies is a small share, and all there.
    whole = share > WHOLE or math.sqrt(share) * size > STRONG
    return int(rows[known][gone[0]]) if whole else None


def _column(values: Floats, name: str) -> Floats:
    picked: Floats = values[:, LAYER_COLUMN[name]]
    return picked


def _leaning(rms: Floats, spread: Floats, fan_in: Floats) -> Floats:
    """As what spread weights count that lie to one side of zero; NaN of those that do not.

    What n inputs have in common comes out times n and their mean, where weights around zero leave
    the root of n times their spread: 64 inputs of torch.rand count as 55, and all units say the
    same. Of 707 healthy runs one had such weights, a single matrix. Twins are another fault.
    """
    variance = spread**2 / (3 * fan_in)
    mean = np.sqrt(np.maximum(rms**2 - variance, 0))
    leans = (spread > SMALL_WEIGHTS) & (mean**2 > variance)
    return np.where(leans, np.float32(math.sqrt(3)) * fan_in * mean, np.float32(np.nan))


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _fades(past: Past, hidden: NDArray[np.int64]) -> bool:
    """The first outputs get smaller from layer to layer, to next to nothing."""
    sizes = _finite(_column(past.first, "out_rms")[hidden])
    return len(sizes) >= 2 and bool(sizes[-1] < FADED * sizes[0])


def _born_flat(past: Past, rows: NDArray[np.int64]) -> bool:
    """Most activations lay on their flat ends for most of what they were given at first."""
    flat = _finite(_column(past.first, "saturation")[rows])
    return len(flat) > 0 and _most(flat > FLAT)


def _most(mask: NDArray[np.bool_]) -> bool:
    return bool(mask.mean() > 0.5)
