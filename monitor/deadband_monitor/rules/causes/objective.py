"""A loss that does not fit what it is given: squashed twice, spread out, out of reach or scale."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deadband_monitor.rules.causes import descent
from deadband_monitor.rules.causes.base import Case, Suspect, Tier
from deadband_monitor.rules.causes.descent import (
    AFTERMATH,
    BLIND,
    RUNAWAY,
    SIGN_ADVICE,
    SLOW,
)
from deadband_monitor.rules.causes.high_rate import BLOW_UP
from deadband_monitor.rules.causes.words import rounded
from deadband_monitor.rules.clashes import BOTTOMLESS, BOUNDED, SHUT_OUT, Clash, floor
from deadband_monitor.rules.losses import fell_since, is_below_zero, is_far_below_zero
from deadband_monitor.rules.mean_skill import HEAVY_TAILS, tails
from deadband_monitor.rules.misfit import (
    CLASS_LOSSES,
    OF_SOFTMAX,
    POSITIVE,
    VALUE_LOSSES,
    WAYS_OF_VALUES,
)
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

_EXPLAINS: dict[Clash, frozenset[str]] = {
    Clash.SOFTMAX_CE: SLOW,
    Clash.SIGMOID_CE: SLOW,
    Clash.TANH_CE: SLOW,
    Clash.RELU_CE: SLOW | {"output-collapse", "dead-units"},
    Clash.SIGMOID_LOGITS: SLOW,
    Clash.SIGMOID_TWICE: SLOW,
    Clash.SOFTMAX_TWICE: SLOW,
    Clash.TANH_LOGITS: SLOW,
    Clash.RELU_LOGITS: SLOW | {"output-collapse", "dead-units"},
    Clash.ONE_LOGIT: BLIND,
    Clash.ONE_SOFTMAX: BLIND,
    Clash.NLL_LOGITS: BLIND | RUNAWAY | {"update-too-large", "saturation", "dead-units"},
    Clash.NLL_PROBABILITIES: SLOW | RUNAWAY,
    Clash.WRONG_AXIS: BLIND,
    Clash.BROADCAST: BLIND,
    Clash.COUPLED: BLIND,
    Clash.BCE_TARGETS: BLIND | RUNAWAY | {"update-too-large", "saturation"},
    Clash.RELU_TARGETS: BLIND | {"dead-units"},
    Clash.SIGMOID_TARGETS: BLIND | {"saturation"},
    Clash.TANH_TARGETS: BLIND | {"saturation"},
    Clash.SOFTMAX_TARGETS: BLIND | {"saturation"},
    Clash.CLASS_NUMBERS: SLOW,
    Clash.STRETCHED: SLOW,
    Clash.KL_LOGITS: BLIND | RUNAWAY | {"update-too-large", "saturation", "dead-units"},
    Clash.KL_PROBABILITIES: SLOW,
    Clash.MARGIN_TARGETS: BLIND | {"saturation"},
    Clash.MIXED_AXES: SLOW,
    Clash.SHARED_WHOLE: SLOW,
    Clash.SILENT: BLIND,
    Clash.REVERSED: BLIND | RUNAWAY | AFTERMATH,
    Clash.UNBOUNDED: BLIND | RUNAWAY | AFTERMATH,
}

_BELIEF = {
    Clash.COUPLED: 0.85,
    Clash.CLASS_NUMBERS: 0.85,
    Clash.STRETCHED: 0.85,
    Clash.SIGMOID_TWICE: 0.93,
    Clash.SOFTMAX_TWICE: 0.93,
    Clash.SILENT: 0.75,
    Clash.UNBOUNDED: 0.85,
}
"""Of the tests that do not settle the matter by themselves."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Loss mismatch, output activation mismatch, unscaled targets."""
    clash = case.model.objective.clash
    if clash is not None:
        exact = clash not in _BELIEF and not _by_range(case, clash)
        yield Suspect(
            word="output-activation-mismatch" if clash in SHUT_OUT else "loss-mismatch",
            tier=Tier.EXACT if exact else Tier.PATTERN,
            belief=0.99 if exact else _BELIEF.get(clash, 0.85),
            onset=fell_since(case.past, case.model)
            if clash in BOTTOMLESS
            else case.model.objective.since,
            phase=0,
            explains=_EXPLAINS[clash],
            evidence=_evidence(case, clash),
            advice=_advice(case, clash),
            layer=_last_layer(case),
        )
    elif _below_zero(case):
        yield _subtracted(case)
    elif (flag := case.flag("loss-divergence")) is not None and "coupling" in flag.evidence:
        yield Suspect(
            word="loss-mismatch",
            belief=0.93,
            onset=flag.onset_step,
            explains=SLOW | RUNAWAY | AFTERMATH,
            evidence=[
                f"the outputs spread {flag.evidence['sigma_share']:.2g} times as wide as the "
                "targets, and the loss's gradient drives them further apart (correlation "
                f"{flag.evidence['coupling']:.2g}; that of an error is above zero)"
            ],
            advice=f"loss = {case.build.loss}(...) without a minus before it or a factor below "
            "zero",
        )
    else:
        yield from descent.suspects(case)
    if clash is None:
        yield from _shut_output(case)
    if case.model.objective.way == OF_SOFTMAX:
        classes = case.model.objective.classes
        yield Suspect(
            word="loss-mismatch",
            # Ten classes are learnt by it all the same.
            belief=0.8 if classes >= 20 else 0.5,
            onset=case.start,
            explains=SLOW,
            evidence=[
                f"a squared error of a softmax over {classes} classes: it is flat where the answer "
                "is sure and wrong, and each class counts 1 in as many"
            ],
            advice="F.cross_entropy(logits, labels) in place of mse_loss(softmax(logits), one_hot)",
        )
    if _softmax_into_bce(case):
        yield Suspect(
            word="loss-mismatch",
            belief=0.35,
            onset=case.start,
            explains=SLOW,
            evidence=["the output rows sum to 1, the loss judges each column by itself"],
            advice="drop the softmax and use binary_cross_entropy_with_logits for yes/no labels, "
            "or cross_entropy with class ids",
        )
    yield from _scale(case)
    yield from _far_from_targets(case)
    yield from _outweighed(case)


def _by_range(case: Case, clash: Clash) -> bool:
    """No activation that is known holds the output above zero: it never went below, that is all."""
    last = case.layout.output_layer(case.model.name)
    if clash is not Clash.RELU_TARGETS or last is None or case.model.objective.behind:
        return False
    return last.activation not in POSITIVE


def _scale(case: Case) -> Iterator[Suspect]:
    model = case.model
    mean, sd = model.start("target_mean"), model.start("target_sd")
    if case.build.loss not in VALUE_LOSSES or not sd > 0 or not math.isfinite(mean):
        return
    if model.makes_its_targets:
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
        explains=frozenset({"constant-predictor", "loss-plateau"})
        if slow
        else BLOW_UP | {"loss-plateau"},
        evidence=[
            f"the targets have mean {mean:.3g} and standard deviation {sd:.3g}; weights and rates "
            "are made for 0 and 1"
        ],
        advice=f"train on y = (y - {mean:.4g}) / {sd:.4g} and scale the predictions back, or begin "
        f"the last bias at {mean:.4g} (nn.init.constant_(last.bias, {mean:.4g}))",
        layer=_last_layer(case),
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
            layer=_last_layer(case),
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
        layer=_last_layer(case),
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


def _below_zero(case: Case) -> bool:
    return is_below_zero(case.past, case.model)


def _subtracted(case: Case) -> Suspect:
    """The loss is below what its function can give: a minus, before all of it or a part of it."""
    flag, loss = case.flag("loss-divergence"), case.past.loss
    why = "a term with a minus outweighs it"
    advice = (
        "print the parts of the loss one by one: a penalty or balance that enters with a "
        "minus grows without end; give it a plus, or a bound (clamp) and a factor of 0.01"
    )
    if loss.first < 0:
        why = f"it began at {loss.first:.3g}, so the sign of the whole may be turned"
        advice = (
            f"loss = {case.build.loss}(...) without a minus before it; for distributions, give "
            "logarithms first and probabilities that sum to 1 second"
        )
    if case.build.loss == "ctc":
        why = "what it was given are no logarithms of probabilities"
        advice = "F.ctc_loss(F.log_softmax(output, dim=-1), ...): it takes log-probabilities"
    since, large = loss.below_since(0.0), case.model.large_update_step
    # No step, however large, takes a loss below its least value: those that follow are made by it.
    turned = large is not None and case.start < (since or 0) <= large
    far = is_far_below_zero(case.past, case.model)
    return Suspect(
        word="loss-mismatch",
        # What it does to rows that are held back, or to the network, follows from it.
        tier=Tier.EXACT if far else Tier.PATTERN,
        belief=0.93 if far else 0.9 if turned else 0.8 if loss.first < 0 else 0.6,
        onset=flag.onset_step if flag else since if turned and since else case.start,
        explains=SLOW | RUNAWAY | AFTERMATH,
        evidence=[f"the loss is {loss.fresh:.3g}, and {case.build.loss} is never negative: {why}"],
        advice=advice,
    )


def _shut_output(case: Case) -> Iterator[Suspect]:
    """The ReLU that died makes the output: the loss drew it to where it cannot go."""
    flag, last = case.flag("dead-units"), case.layout.output_layer(case.model.name)
    if flag is None or last is None or case.model.large_update_step is not None:
        return
    within = case.model.latest("target_min") >= 0
    born = flag.onset_step <= case.start
    if last.name != flag.layer or last.activation not in {"relu", "relu6"} or within or born:
        return
    if case.build.loss not in VALUE_LOSSES or not case.past.loss.fresh > 0:
        return
    yield Suspect(
        word="output-activation-mismatch",
        belief=0.85,
        onset=case.start,
        explains=BLIND | {"dead-units"},
        evidence=[
            f"{last.name} makes the output, and all of it was driven to zero by step "
            f"{flag.onset_step} in small steps: {case.build.loss} of zeros is still "
            f"{case.past.loss.fresh:.3g}, so the targets lie below what a ReLU can give"
        ],
        advice=f"remove {last.name} from the end of the model: values need a linear output; "
        "softplus where they must be positive",
        layer=last.name,
    )


def _softmax_into_bce(case: Case) -> bool:
    return (
        case.build.loss == "bce"
        and case.model.objective.classes >= 2
        and case.model.value("row_sum_error") <= 1e-3
    )


def _last_layer(case: Case) -> str:
    last = case.layout.output_layer(case.model.name)
    return "" if last is None else last.name


def _evidence(case: Case, clash: Clash) -> list[str]:
    model = case.model
    shapes = case.build
    low, high = model.value("out_min"), model.value("out_max")
    if clash is Clash.BROADCAST:
        return [
            f"the loss is given {_shape(shapes.loss_input)} and {_shape(shapes.loss_target)}: "
            f"spread against each other they hold more elements than either"
        ]
    if clash is Clash.COUPLED:
        return [
            "the loss gradient follows from the output alone (coupling "
            f"{model.latest('coupling'):.5f}): no row is drawn to a target of its own"
        ]
    if clash is Clash.ONE_LOGIT:
        return ["cross_entropy over one class is 0 whatever the logit, and so is its gradient"]
    if clash is Clash.STRETCHED:
        told = f"the loss is given {_shape(shapes.loss_input)} and {_shape(shapes.loss_target)}: "
        drawn = "every unit of a row is drawn to the same number"
        return [told + drawn if shapes.loss_input else drawn]
    if clash in {Clash.KL_LOGITS, Clash.KL_PROBABILITIES}:
        return [
            "the loss gradient is that of kl_div on "
            + ("the raw output" if clash is Clash.KL_LOGITS else "a softmax of the output")
            + ": no log_softmax lies between"
        ]
    if clash is Clash.MARGIN_TARGETS:
        return ["the targets are 0 and 1; a margin loss multiplies them: rows of 0 teach nothing"]
    if clash is Clash.MIXED_AXES:
        given = _shape(shapes.loss_input)
        return [
            f"the loss is given {given}, and its gradient lifts the classes of a row as a whole"
        ]
    if clash is Clash.SHARED_WHOLE:
        labels = model.value("target_mean") * model.objective.classes
        return [
            f"the output rows sum to 1, the targets of a row to {labels:.2g} on average: each "
            "column is a label of its own"
        ]
    if clash is Clash.SILENT:
        return [
            f"the loss stands at {model.value('loss'):.3g} and its gradient at the output is "
            "exactly zero in every row, though the outputs are not far out"
        ]
    if clash in BOTTOMLESS:
        return _bottomless(case, clash)
    if clash is Clash.CLASS_NUMBERS:
        return [
            f"the targets are whole numbers of {model.value('target_min'):g}.."
            f"{model.value('target_max'):g} that near inputs share",
            "the nearest input with another number seldom has the next one "
            f"({model.value('class_numbers'):.2g}; 0 is in order, 1 chance): they name kinds",
        ]
    lines = [f"output in {low:.3g}..{high:.3g}"]
    if clash in BOUNDED and model.objective.behind:
        between = WAYS_OF_VALUES.get(model.objective.way, "an activation")
        lines[0] = f"the loss gradient is that of a {between} behind the output"
    elif model.objective.behind:
        lines[0] += ", and the loss gradient is that of logits squashed once more"
    elif clash in {Clash.SOFTMAX_CE, Clash.NLL_PROBABILITIES}:
        lines[0] += f", rows sum to 1 within {model.value('row_sum_error'):.1g}"
    if clash in {Clash.SIGMOID_TWICE, Clash.SOFTMAX_TWICE}:
        lines[0] += f", at both ends of what a {clash.value} can give and never beyond"
    if clash is Clash.WRONG_AXIS:
        lines[0] += f", rows miss 1 by {model.value('row_sum_error'):.2g}"
    if clash in BOUNDED or clash is Clash.BCE_TARGETS:
        lines[0] += f", targets in {model.value('target_min'):.3g}..{model.value('target_max'):.3g}"
    if clash is Clash.RELU_CE:
        lines[0] += ": some classes that occur have a unit that never rises above zero"
    least = floor(clash, model.objective.classes, model.value("target_mean"))
    if math.isfinite(least):
        constant = model.value("loss_constant")
        line = f"so squashed, the loss cannot fall below {least:.3f}"
        if constant > 0:
            line += f" (a constant answer gives {constant:.3f})"
        lines.append(line)
    if clash is Clash.NLL_LOGITS:
        lines.append("the loss is negative, which minus a log-probability never is")
    return lines


def _bottomless(case: Case, clash: Clash) -> list[str]:
    loss, first = case.past.loss, case.model.start("out_rms")
    lines = [f"the loss went from {loss.first:.3g} to {loss.fresh:.3g} and never was above zero"]
    if loss.first > 0:
        lines = [f"the loss went from {loss.first:.3g} to {loss.fresh:.3g}"]
    if clash is Clash.REVERSED:
        lines.append(f"{case.build.loss} is never negative: minus it is what is made small")
    else:
        lines[0] = f"the loss went from {loss.first:.3g} to {loss.fresh:.3g}, faster and faster"
    lines.append(f"the outputs went from rms {first:.3g} to {case.model.latest('out_rms'):.3g}")
    return lines


def _advice(case: Case, clash: Clash) -> str:
    last = _last_layer(case)
    at = f" at the end of the model ({last})" if last else " at the end of the model"
    if case.model.objective.behind:
        at = " between the model and the loss"
    if clash in {Clash.SOFTMAX_CE, Clash.SIGMOID_CE, Clash.TANH_CE, Clash.RELU_CE}:
        what = clash.value.split(" ", 1)[0]
        return (
            f"remove the {what}{at}: cross_entropy takes raw logits and applies log_softmax itself"
        )
    if clash in {Clash.SIGMOID_LOGITS, Clash.TANH_LOGITS, Clash.RELU_LOGITS}:
        what = clash.value.split(" ", 1)[0]
        other = ", or keep it and use nn.BCELoss" if clash is Clash.SIGMOID_LOGITS else ""
        return f"remove the {what}{at}: this loss takes raw logits{other}"
    if clash is Clash.BROADCAST:
        return _same_shape(case)
    if clash in BOUNDED:
        low, high = case.model.value("target_min"), case.model.value("target_max")
        return (
            f"remove the activation{at}, so that it can reach targets of "
            f"{rounded(low)}..{rounded(high)}, or scale the targets into its range"
        )
    if clash in {Clash.CLASS_NUMBERS, Clash.STRETCHED}:
        highest = case.model.value("target_max")
        count = case.build.loss_input[-1] if case.build.loss_input else 1
        if math.isfinite(highest):
            count = max(count, round(highest) + 1)
        return (
            f"class numbers: {count} output units and F.cross_entropy(output, y.view(-1).long()); "
            "if they are amounts, keep the loss and give prediction and target the same shape"
        )
    return {
        Clash.REVERSED: f"loss = +{case.build.loss}(output, target): drop the minus (or the factor "
        "below zero) in front of it; backward() and step() make the loss small",
        Clash.UNBOUNDED: SIGN_ADVICE,
        Clash.COUPLED: "print(prediction.shape, target.shape) before the loss: one of them lacks "
        "an axis; target.view_as(prediction) mends it",
        Clash.ONE_LOGIT: "one logit: F.binary_cross_entropy_with_logits(o.squeeze(1), y.float()), "
        "or two output units with cross_entropy",
        Clash.ONE_SOFTMAX: f"remove the softmax over one unit{at}, which is always 1: use "
        "binary_cross_entropy_with_logits on the logit, or two units with cross_entropy",
        Clash.KL_LOGITS: "F.kl_div(F.log_softmax(output, dim=-1), target, reduction='batchmean'): "
        "its first argument are logarithms of probabilities",
        Clash.KL_PROBABILITIES: "F.log_softmax in place of F.softmax in the first argument of "
        "kl_div: it takes logarithms of probabilities",
        Clash.MARGIN_TARGETS: "y = 2 * y - 1: a margin loss wants -1 and 1; or "
        "binary_cross_entropy_with_logits for 0 and 1",
        Clash.MIXED_AXES: "output.transpose(1, 2) before cross_entropy, not view or reshape: those "
        "leave the numbers in their order, and each class gets those of other positions",
        Clash.SHARED_WHOLE: f"remove the softmax{at} and use binary_cross_entropy_with_logits: one "
        "yes or no for each label",
        Clash.SILENT: "look between the output and the loss for a clamp, a softmax over one unit, "
        "rounding, or targets of 0 that the output is multiplied with (a hinge wants -1 and 1)",
        Clash.SIGMOID_TWICE: f"one sigmoid{at}, not two; or none, and "
        "binary_cross_entropy_with_logits",
        Clash.SOFTMAX_TWICE: f"log_softmax of the raw logits{at}, with no softmax before it; or "
        "the logits and cross_entropy",
        Clash.NLL_LOGITS: "put log_softmax(logits, dim=1) before nll_loss, or use cross_entropy",
        Clash.NLL_PROBABILITIES: f"replace the softmax{at} by log_softmax(dim=1), or "
        "remove it and use cross_entropy",
        Clash.WRONG_AXIS: f"softmax over the classes, dim=-1{at}, not over the batch; with "
        "cross_entropy leave it out altogether",
        Clash.BCE_TARGETS: f"binary cross entropy wants targets of 0..1, these are "
        f"{case.model.value('target_min'):g}..{case.model.value('target_max'):g}: "
        "y = (y - y.min()) / (y.max() - y.min()) for two classes, cross_entropy for more",
    }[clash]


def _same_shape(case: Case) -> str:
    given, wanted = case.build.loss_input, case.build.loss_target
    if len(given) == len(wanted) + 1 and given[-1] == 1:
        return "criterion(prediction.squeeze(-1), target): both " + _shape(wanted)
    if len(wanted) == len(given) + 1 and wanted[-1] == 1:
        return "criterion(prediction, target.squeeze(-1)): both " + _shape(given)
    return f"criterion(prediction, target.view_as(prediction)): both {_shape(given)}"


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(str(size) for size in shape) + ("," if len(shape) == 1 else "") + ")"
