"""Targets, or a part of the loss, of a size that usual weights and rates do not suit."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deadband_monitor.rules.causes.base import STILL, Case, Suspect
from deadband_monitor.rules.causes.high_rate import BLOW_UP
from deadband_monitor.rules.causes.words import rounded
from deadband_monitor.rules.clashes import Clash
from deadband_monitor.rules.mean_skill import HEAVY_TAILS, tails
from deadband_monitor.rules.misfit import CLASS_LOSSES, VALUE_LOSSES
from deadband_monitor.rules.outputs import washed_out

FAR = 5.0
"""Standard deviations that the mean of the targets may lie from zero: an output that begins at zero
has then 25 times the targets' variance to learn before anything else."""
WIDE = (0.1, 10.0)
"""Standard deviation of targets that usual weights and rates suit."""
ONE_WAY = 0.95
"""Cosine of successive gradients that differ in next to nothing: 1.00 at each of 600 steps towards
targets of a hundred times the outputs; single batches of targets at their scale leave 0.3."""
DROWNS = 1000.0
"""Times the loss of a constant answer that another part of the loss costs, from which its gradient
leaves a thousandth to the task."""
GROWN = 3.0
"""Growth of a weight that is no matter of usual training: `weights_tripled`."""

_NUMBERS = frozenset({Clash.CLASS_NUMBERS, Clash.STRETCHED})
"""What is compared are the numbers of classes: scaled, they stay what they are."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Unscaled targets."""
    yield from _scale(case)
    yield from _far_from_targets(case)
    yield from _outweighed(case)


def _scale(case: Case) -> Iterator[Suspect]:
    model = case.model
    mean, sd = model.start("target_mean"), model.start("target_sd")
    if case.build.loss not in VALUE_LOSSES or not sd > 0 or not math.isfinite(mean):
        return
    if model.makes_its_targets or model.objective.clash in _NUMBERS:
        return  # they have no scale of their own
    far, odd = abs(mean) > FAR * sd, not WIDE[0] <= sd <= WIDE[1]
    offset = abs(mean) > WIDE[1]
    if not (far or odd or offset):
        return
    # Small targets are learnt slowly, if at all; large ones blow the first steps up.
    slow = sd < WIDE[0] and not offset and not far
    # Of a few targets far out the standard deviation is theirs, not the scale of the rest.
    ruled = tails(model) > HEAVY_TAILS and abs(mean) < sd
    yield Suspect(
        word="unscaled-targets",
        belief=0.4 if ruled else 0.6 if slow else 0.95,
        onset=case.start,
        explains=STILL if slow else BLOW_UP | {"loss-plateau"},
        evidence=[
            f"the targets have mean {mean:.3g} and standard deviation {sd:.3g}; weights and rates "
            "are made for 0 and 1"
        ],
        advice=f"train on y = (y - {mean:.4g}) / {sd:.4g} and scale the predictions back, or begin "
        f"the last bias at {mean:.4g} (nn.init.constant_(last.bias, {mean:.4g}))",
        layer=case.last_layer,
    )


def _far_from_targets(case: Case) -> Iterator[Suspect]:
    """Of an output that a loss gets a part of (one action's value) the targets are not known.

    But the root of a squared error is how far they lie from it.
    """
    model = case.model
    began, now = (size("out_rms") for size in (model.start, model.latest))
    one_way = model.latest("cosine") > ONE_WAY and now > WIDE[1] * max(1.0, began)
    if one_way and case.flag("output-collapse") and washed_out(case.past, model):
        yield _unscaled(
            case,
            f"every step raises or lowers all outputs alike: they began at rms {began:.2g}, are at "
            f"{now:.3g}, and the loss hardly changes, so far off lies what they are to be",
            advice="divide the targets by their standard deviation, after their mean was taken "
            "off, and scale the predictions back",
            layer=case.last_layer,
        )
        return
    if case.build.loss != "mse" or math.isfinite(model.start("target_sd")):
        return
    first, size = case.past.loss.first, max(1.0, model.start("out_rms"))
    if not (case.past.loss_is_all_of(model) and first > (WIDE[1] * size) ** 2):
        return
    yield _unscaled(
        case,
        f"the outputs began at rms {model.start('out_rms'):.2g}, and the root of the squared "
        f"error was {math.sqrt(first):.3g}: so far off lie the targets",
        advice=f"divide targets (or rewards) by about {rounded(math.sqrt(first))} and scale the "
        "predictions back; or nn.HuberLoss, whose slope ends at 1",
        layer=case.last_layer,
    )


def _outweighed(case: Case) -> Iterator[Suspect]:
    """Another task's part of the loss is all that is trained, and the weights grow to meet it.

    A penalty that outweighs the loss makes them shrink.
    """
    model = case.model
    if not (case.build.loss in CLASS_LOSSES or case.build.loss.startswith("bce")):
        return
    # What was not there in the first loss of all came of the steps; and how much of a sum of 32
    # bits is the own part is chance beside something so large.
    further = min(model.start("further_loss"), case.past.loss.first)
    own = model.value("label_entropy")
    outweighs = further > DROWNS * own > 0
    if not outweighs or not case.facts.grown >= GROWN or case.flag("weight-collapse"):
        return
    yield _unscaled(
        case,
        f"what is added to {case.build.loss} was {further / own:.2g} times what a constant "
        f"answer to it costs, and weights grew {case.facts.grown:.3g}-fold to meet that: "
        "nothing else is trained",
        advice="print the parts of the loss one by one; standardise the targets of the largest, "
        "or weigh the parts so that they begin alike",
    )


def _unscaled(case: Case, line: str, *, advice: str, layer: str = "") -> Suspect:
    """Targets whose scale is not known itself, by what it does to the loss."""
    return Suspect(
        word="unscaled-targets",
        belief=0.85,
        onset=case.start,
        explains=BLOW_UP | {"loss-plateau"},
        evidence=[line],
        advice=advice,
        layer=layer,
    )
