"""What is said of a loss and an output that do not fit: the evidence, and what to type in."""

from __future__ import annotations

import math

from deadband_monitor.rules.causes.base import Case
from deadband_monitor.rules.causes.descent import SIGN_ADVICE
from deadband_monitor.rules.causes.words import rounded
from deadband_monitor.rules.clashes import BOTTOMLESS, BOUNDED, Clash, floor
from deadband_monitor.rules.misfit import WAYS_OF_VALUES


def evidence(case: Case, clash: Clash) -> list[str]:
    """The figures that speak for it, a line each."""
    model = case.model
    shapes = case.build
    low, high = model.latest("out_min"), model.latest("out_max")
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
        labels = model.latest("target_mean") * model.objective.classes
        return [
            f"the output rows sum to 1, the targets of a row to {labels:.2g} on average: each "
            "column is a label of its own"
        ]
    if clash is Clash.SILENT:
        return [
            f"the loss stands at {model.latest('loss'):.3g} and its gradient at the output is "
            "exactly zero in every row, though the outputs are not far out"
        ]
    if clash in BOTTOMLESS:
        return _bottomless(case, clash)
    if clash is Clash.CLASS_NUMBERS:
        return [
            f"the targets are whole numbers of {model.latest('target_min'):g}.."
            f"{model.latest('target_max'):g} that near inputs share",
            "the nearest input with another number seldom has the next one "
            f"({model.latest('class_numbers'):.2g}; 0 is in order, 1 chance): they name kinds",
        ]
    lines = [f"output in {low:.3g}..{high:.3g}"]
    if clash in BOUNDED and model.objective.behind:
        between = WAYS_OF_VALUES.get(model.objective.way, "an activation")
        lines[0] = f"the loss gradient is that of a {between} behind the output"
    elif model.objective.behind:
        lines[0] += ", and the loss gradient is that of logits squashed once more"
    elif clash in {Clash.SOFTMAX_CE, Clash.NLL_PROBABILITIES}:
        lines[0] += f", rows sum to 1 within {model.latest('row_sum_error'):.1g}"
    if clash in {Clash.SIGMOID_TWICE, Clash.SOFTMAX_TWICE}:
        lines[0] += f", at both ends of what a {clash.value} can give and never beyond"
    if clash is Clash.WRONG_AXIS:
        lines[0] += f", rows miss 1 by {model.latest('row_sum_error'):.2g}"
    if clash in BOUNDED or clash is Clash.BCE_TARGETS:
        lines[0] += (
            f", targets in {model.latest('target_min'):.3g}..{model.latest('target_max'):.3g}"
        )
    if clash is Clash.RELU_CE:
        lines[0] += ": some classes that occur have a unit that never rises above zero"
    least = floor(clash, model.objective.classes, model.latest("target_mean"))
    if math.isfinite(least):
        constant = model.latest("loss_constant")
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


def advice(case: Case, clash: Clash) -> str:
    """What to type in instead."""
    last = case.last_layer
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
    if clash is Clash.RELU_SIGMOID:
        return (
            f"remove the ReLU before {last}: a sigmoid takes any value, and of what is never "
            "negative it says one half at the least"
        )
    if clash is Clash.BROADCAST:
        return _same_shape(case)
    if clash in BOUNDED:
        low, high = case.model.latest("target_min"), case.model.latest("target_max")
        return (
            f"remove the activation{at}, so that it can reach targets of "
            f"{rounded(low)}..{rounded(high)}, or scale the targets into its range"
        )
    if clash in {Clash.CLASS_NUMBERS, Clash.STRETCHED}:
        highest = case.model.latest("target_max")
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
        f"{case.model.latest('target_min'):g}..{case.model.latest('target_max'):g}: "
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
