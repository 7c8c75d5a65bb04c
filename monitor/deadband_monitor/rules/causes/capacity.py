"""Too little room for the task, too much of it, or stuck on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deadband_monitor.rules.causes.base import STILL, Case, Suspect, Tier
from deadband_monitor.rules.causes.imbalance import asks_for_others
from deadband_monitor.rules.causes.normalisation import lags
from deadband_monitor.rules.handful import ANY_LABELS
from deadband_monitor.rules.majority import names_one_class
from deadband_monitor.rules.plateau import few_inputs
from deadband_monitor.rules.room import (
    bends,
    bottleneck,
    is_linear,
    left_as_drawn,
    only_ranks,
    spectators,
)
from deadband_monitor.rules.unrelated import told_by_chance

TELLS = 0.5
"""Agreement of nearest neighbours from which the inputs plainly tell the answer; noise gives 0."""
AS_WIDE = 0.5
"""Belief in a lack of room where a layer has as many units as inputs: one sine can follow a tone,
two units can tell exclusive or, if they find it; they cannot part a ring from its core."""
SHORT = 0.6
AS_DRAWN = 0.95
"""The same where the narrow layer is not trained, above that in what was left untrained."""
SETTLED_STEPS = 100
"""Steps from answers that say nothing to answers that are one: exclusive or (SGD at 0.1) took
250, what a blow wipes out takes a few."""
NOISE = 0.1
"""Agreement below which labels may as well be random."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Insufficient capacity, overfitting, a local minimum."""
    yield from _too_little(case)
    yield from _left_out(case)
    if case.flag("overfitting") is not None:
        yield _by_heart(case)
    skill = case.past.skill(case.model.name)
    # A floor under the loss is the objective's doing, not a place to be stuck in.
    floor = case.model.objective.clash is not None
    # Of a model that answers the same to all it must be known that there is something to find.
    tells = case.model.latest("neighbour_agreement") >= TELLS or few_inputs(case.past, case.model)
    narrow = bottleneck(case.layout, case.model.name)
    few = narrow is not None and not narrow[2]
    stuck = case.flag("loss-plateau") is not None and (few or skill >= 0.05) and skill < 0.9
    # What was known and got lost is no place that training could not get out of.
    known = case.past.loss.best < min(case.past.loss.first, case.model.latest("loss_constant"))
    lost = case.flag("loss-divergence") is not None and known
    nothing = case.flag("constant-predictor") is not None and tells and not lost
    # Inputs that are out of scale are a reason, and no place.
    nothing = nothing and not case.facts.input_kind
    if (stuck or nothing) and not floor:
        yield Suspect(
            word="local-minimum",
            # So few units must find the one place that serves, and often do not.
            tier=Tier.PATTERN if few else Tier.RESIDUAL,
            belief=0.52 if few else 0.45,
            onset=case.start,
            explains=STILL,
            evidence=[
                f"skill {skill:.2g} and no longer rising, nothing else found"
                + _count(" classes are ever answered", case.model.value("distinct_predictions"))
            ],
            advice="train again with another seed; if that ends elsewhere: more width, Adam or "
            "momentum 0.9, or a higher rate for a while",
        )


def _too_little(case: Case) -> Iterator[Suspect]:
    name = case.model.name
    linear, narrow = is_linear(case.layout, name), bottleneck(case.layout, name)
    # A line tells inputs apart, however badly: where nothing does, something else has happened. But
    # where its best answer is a constant (exclusive or) it comes to that, slowly.
    linear = linear and not bends(case.past, case.layout, name)
    settled = _settled(case)
    linear = linear and (case.flag("output-collapse") is None or settled)
    if not linear and narrow is None:
        return
    agreement = case.model.latest("neighbour_agreement")
    belief = 0.65
    evidence = []
    if agreement >= TELLS:
        belief = 0.9
        evidence.append(
            f"similar inputs have the same answer ({agreement:.2g}; 0 is chance, 1 always), so "
            "there is something to learn"
        )
    elif few_inputs(case.past, case.model):
        belief = 0.85
        evidence.append("there are so few different inputs that all can be told apart")
    elif math.isnan(agreement) and not linear and only_ranks(case.past, case.model):
        belief = 0.85
        evidence.append("three answers or more hang on one number, which can only rank them")
    elif agreement < NOISE:
        belief = 0.3  # no better answer may exist
    if case.facts.input_kind:
        belief /= 3  # what drowns in one feature, or in an offset, was not tried for room
    if linear:
        evidence.insert(0, "no nonlinearity lies between the layers: the model is a linear one")
        advice = "put a hidden layer in front: nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), ...)"
        layer = ""
    else:
        assert narrow is not None
        layer, units, narrows = narrow
        # Two units are few, and enough for two classes if they find the right places.
        belief -= 0.05 if units == 1 else 0.2
        if not narrows:
            # Of two units for many rows (rings, spirals) it is rather the room that lacks.
            enough = units == 1 or few_inputs(case.past, case.model)
            belief = min(belief, AS_WIDE if enough else SHORT)
        if layer in left_as_drawn(case.past, name):
            # Wide layers serve as they were drawn (random features): what one lacks is the width.
            belief = max(belief, AS_DRAWN)
        evidence.insert(0, f"everything passes through {units} unit{'s' * (units > 1)} of {layer}")
        advice = f"widen {layer} from {units} to 32 or more units"
    yield Suspect(
        word="insufficient-capacity",
        belief=belief,
        onset=case.start,
        explains=STILL | {"output-collapse"} if settled or _shut(case) else STILL,
        evidence=evidence,
        advice=f"{advice}; make sure that it can fit 32 samples to zero loss",
        layer=layer,
    )


def _shut(case: Case) -> bool:
    """The answers were one from the first sample on: what all has to pass did not let it."""
    gone = case.flag("output-collapse")
    return gone is not None and gone.onset_step <= case.start


def _settled(case: Case) -> bool:
    """The answers became one long after they had stopped to say anything, and no step was large."""
    gone, said = case.flag("output-collapse"), case.flag("constant-predictor")
    if gone is None or said is None or case.model.large_update_step is not None:
        return False
    return gone.raised_step > said.raised_step + SETTLED_STEPS


def _left_out(case: Case) -> Iterator[Suspect]:
    """The layers that could tell more are there, and the forward pass goes round them."""
    names = spectators(case.past, case.layout, case.model.name)
    if not names:
        return
    yield Suspect(
        word="insufficient-capacity",
        belief=0.6,
        onset=case.start,
        explains=frozenset({"frozen-weights", "constant-predictor", "loss-plateau"}),
        evidence=[
            f"{', '.join(names[:4])} were never run: no hidden layer stands between input and "
            "output, and what is trained can only add up what each input says by itself"
        ],
        advice=f"call {names[0]} in forward() and use its result, or put hidden layers into the "
        "part that runs",
        layer=names[0],
    )


def _by_heart(case: Case) -> Suspect:
    flag = case.flag("overfitting")
    assert flag is not None
    kinds = {group.optimizer: group.weight_decay for group in case.layout.table.optimizers}
    decay, dropout = max(kinds.values(), default=0.0), case.build.dropout
    lines = []
    distinct = case.model.value("in_distinct")
    if distinct < 0.5:
        lines.append(f"only {distinct:.0%} of the last 2000 training rows are different rows")
    weights = sum(layer.parameters for layer in case.layout.layers)
    if weights:
        lines.append(f"{weights} weights; weight decay {decay:g}, dropout {dropout:g}")
    best = flag.evidence.get("best_eval_loss", math.nan)
    advice = [
        f"keep the weights of step {flag.onset_step} (evaluation loss {best:.3g}) and stop there"
    ]
    if decay < 1e-4:
        advice.append("weight_decay=1e-4" if "SGD" in kinds else "AdamW with weight_decay=1e-2")
    if dropout < 0.1:
        advice.append("nn.Dropout(0.3)")
    advice.append("more data or augmentation")
    # What running averages make of the weights in evaluation says nothing of the weights; nor does
    # the price of one and the same answer where the other rows are of other classes.
    elsewhere = case.flag("batchnorm-mismatch") is not None or lags(case) is not None
    share, said = (case.model.value(f"majority_{each}") for each in ("share", "predicted"))
    # Of labels that have nothing to do with the inputs there is nothing to learn but by heart.
    guessed = case.flag("constant-predictor")
    random = guessed is not None and "neighbour_agreement" in guessed.evidence
    uneven = names_one_class(share, said) or case.model.misses_the_rare or asks_for_others(case)
    other = elsewhere or random or uneven
    # Of fewer rows than dimensions none is near another, and any labels can be learnt by heart.
    chance = told_by_chance(case.model) and not case.model.value("in_per_feature") < ANY_LABELS
    return Suspect(
        word="overfitting",
        belief=0.1 if other else 0.5 if chance else 0.95,
        onset=flag.onset_step,
        explains=frozenset({"overfitting"}),
        evidence=lines,
        advice="; ".join(advice),
    )


def _count(what: str, number: float) -> str:
    return f"; {number:.0f}{what}" if math.isfinite(number) else ""
