"""The words for a cause: the figures that speak for it, and what to type in instead."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from deadband.wire import Flag
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.facts import LARGE_WEIGHTS, Facts
from deadband_monitor.rules.past import ModelPast, Past

HEALTHY_UPDATE = 0.01
"""First-step update that repaired ten of ten learning rates; 0.003 to 0.03 is usable."""

LARGE_BIAS = 5.0
"""A sigmoid's slope there is below 3 % of its largest."""

Words = Callable[[Past, ModelPast, Facts, Sequence[Flag]], str]
Lines = Callable[[Past, ModelPast, Facts, Sequence[Flag]], list[str]]


def advise(row: str, past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> str:
    """What to do about the cause, concrete enough to type in."""
    return _ADVICE[row](past, model, facts, flags)


def explain(
    row: str, past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]
) -> list[str]:
    """The evidence for the cause, one line each, with its figures."""
    lines = _EVIDENCE[row](past, model, facts, flags)
    for flag in sorted(flags, key=lambda flag: flag.onset_step)[:3]:
        where = f" in {flag.layer}" if flag.layer else ""
        lines.append(f"step {flag.onset_step}: {flag.kind}{where}: {flag.message}")
    return lines


def rounded(value: float) -> str:
    """One significant figure and a half: 0.08, 0.25, 12."""
    if value <= 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 1 - math.floor(math.log10(value))
    return f"{round(value, digits):.12g}"


def _lr_advice(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> str:
    ratio, lr = model.large_update, model.large_update_lr
    scale = HEALTHY_UPDATE / ratio
    start = (model.large_update_step or 0) <= 10
    updates = "the first updates were" if start else "one step's update was"
    if math.isfinite(lr) and lr > 0:
        new = lr * scale
        text = (
            f"lr {lr:g} -> about {rounded(new)} ({rounded(0.3 * new)}-{rounded(3 * new)}): "
            f"{updates} {ratio:.2g} of the weights, healthy starts near {HEALTHY_UPDATE:g}"
        )
    else:
        text = (
            f"divide the learning rate by about {rounded(1 / scale)}: {updates} {ratio:.2g} of "
            f"the weights, healthy starts near {HEALTHY_UPDATE:g}"
        )
    if start:
        return text + "; start again, a ruined network does not recover"
    if model.usual_lr > 0 and lr > 2 * model.usual_lr:
        text += f"; it was {model.usual_lr:g} just before"
    return text + (
        f"; reload a checkpoint from before step {model.large_update_step}, check the schedule, "
        "clip the gradient norm at 1.0"
    )


def _lr_lines(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> list[str]:
    lines = [
        f"step {model.large_update_step}: one update changed a weight by "
        f"{model.large_update:.2g} of itself (peak {model.peak_update:.2g}; above 0.3 is large, "
        "healthy starts near 0.01)"
    ]
    if facts.grown >= 3:
        lines.append(f"weights grew {facts.grown:.3g}-fold")
    if past.loss_was_high:
        lines.append(
            f"the loss went from {past.loss.first:.3g} to {past.loss.highest:.3g}, above a constant"
            " answer's"
        )
    return lines


def _input_advice(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> str:
    if facts.input_kind == "tiny":
        return (
            "scale the inputs to unit variance once, x = (x - x.mean(0)) / x.std(0): they have rms "
            f"{model.start('in_rms'):.2g}, so look for a scaling that is applied twice"
        )
    return (
        "standardise each feature, x = (x - x.mean(0)) / (x.std(0) + 1e-8) with the training set's "
        f"figures (values reach {model.start('in_max'):.3g} now), or put nn.BatchNorm1d first; a "
        "lower learning rate does not cure this"
    )


def _input_lines(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> list[str]:
    line = (
        f"first sample, before any step: input rms {model.start('in_rms'):.3g}, largest value "
        f"{model.start('in_max'):.3g}, share of variance {model.start('in_variance'):.2g}"
    )
    top = model.start("in_top_share")
    if math.isfinite(top) and top > 0.5:
        line += f", one feature holds {top:.0%} of the second moment"
    return [line]


def _constant_input_lines(
    past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]
) -> list[str]:
    return [
        f"the inputs of a batch are all the same (share of variance "
        f"{model.value('in_variance'):.1g})"
    ]


def _constant_advice(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> str:
    layer = facts.twin_layers[0] if facts.twin_layers else "each hidden layer"
    return (
        f"draw the weights at random: remove the constant fill of {layer}, or call "
        "nn.init.kaiming_uniform_(layer.weight) (ReLU) or nn.init.xavier_uniform_ (tanh, sigmoid)"
    )


def _constant_lines(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> list[str]:
    if facts.zero_weights:
        return ["first sample: every hidden weight is zero"]
    layers = ", ".join(facts.twin_layers[:4])
    return [f"first sample: the units of {layers} have the same weights"]


def _scale_advice(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> str:
    return (
        "initialise with nn.init.kaiming_uniform_ (sd sqrt(2 / fan_in)) for ReLU, "
        "nn.init.xavier_uniform_ for tanh and sigmoid"
    )


def _scale_lines(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> list[str]:
    typical = sorted(facts.spreads)[len(facts.spreads) // 2] if facts.spreads else math.nan
    return [f"first sample: weights {typical:.2g} times PyTorch's default spread (He: 2.45)"]


def _before(past: Past, model: ModelPast, layer: str) -> tuple[str, float]:
    """The weight layer that feeds `layer`, and the mean of its bias at the first sample."""
    layout = past.layout
    assert layout is not None
    row = layout.row_of.get((model.name, layer), -1)
    for before in range(row, -1, -1):
        if layout.matrix[before] and layout.layers[before].model == model.name:
            bias = float(past.first[before, LAYER_COLUMN["bias_mean"]])
            return layout.layers[before].name, bias
    return "the layer before it", math.nan


def _saturation_advice(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> str:
    layer = next((flag.layer for flag in flags if flag.kind == "saturation"), "the layer")
    feeder, bias = _before(past, model, layer)
    mend = []
    if abs(bias) > LARGE_BIAS:
        mend.append(f"start the biases of {feeder} at 0 (nn.init.zeros_), they began at {bias:.2g}")
    if facts.spreads and max(facts.spreads) > LARGE_WEIGHTS:
        mend.append(
            f"draw the weights with nn.init.xavier_uniform_, they began {max(facts.spreads):.2g} "
            "times too wide"
        )
    if not mend:
        mend.append(f"smaller weights and zero biases in {feeder} (nn.init.xavier_uniform_)")
    return f"{'; '.join(mend)}; or put nn.LayerNorm before {layer}, or nn.ReLU in its place"


def _saturation_lines(
    past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]
) -> list[str]:
    lines = []
    layer = next((flag.layer for flag in flags if flag.kind == "saturation"), "")
    feeder, bias = _before(past, model, layer)
    if abs(bias) > LARGE_BIAS:
        lines.append(f"first sample: the biases of {feeder} average {bias:.2g}")
    if facts.spreads and max(facts.spreads) > LARGE_WEIGHTS:
        lines.append(
            f"first sample: weights {max(facts.spreads):.2g} times PyTorch's default spread"
        )
    return lines


def _depth_advice(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> str:
    return (
        "initialise with nn.init.kaiming_uniform_ (ReLU) or xavier_uniform_ (tanh), replace "
        "sigmoid by ReLU, add residual connections or normalisation, or take fewer layers"
    )


def _depth_lines(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> list[str]:
    return [
        f"at the start the first hidden layer passes {facts.first_signal:.2g} of its variance on, "
        f"the last {facts.last_signal:.1g}"
    ]


def _relu_advice(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> str:
    layer = next((flag.layer for flag in flags if flag.kind == "dead-units"), "the layer")
    feeder, bias = _before(past, model, layer)
    began = f", they began at {bias:.2g}" if bias < -1 else ""
    return (
        f"start the biases of {feeder} at 0 (nn.init.zeros_){began}; initialise its weights with "
        "nn.init.kaiming_uniform_, or use nn.LeakyReLU(0.01), nn.ELU or nn.GELU"
    )


def _relu_lines(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> list[str]:
    if model.large_update_step is None:
        return [f"no large update came before (peak {model.peak_update:.2g} of the weights)"]
    return []


def _decay_advice(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> str:
    decay = (
        max((g.weight_decay for g in past.layout.table.optimizers), default=0.0)
        if (past.layout)
        else 0.0
    )
    if decay > 0:
        return f"weight_decay {decay:g} -> {decay / 10:g} or less, until the weights stop shrinking"
    return "divide the L1/L2 penalty by 10 until the weights stop shrinking"


def _decay_lines(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> list[str]:
    return ["all weight matrices shrink together"]


def _overflow_advice(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> str:
    layer = next((flag.layer for flag in flags if flag.kind == "non-finite"), "")
    where = f" in {layer}" if layer else ""
    return (
        f"find the first operation that overflows{where} with "
        "torch.autograd.set_detect_anomaly(True): log or division of 0, exp of a large value, half "
        "precision; clip gradients, use bfloat16"
    )


def _low_advice(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> str:
    scale, lr = HEALTHY_UPDATE / model.peak_update, model.value("lr")
    if lr > 0:
        new = lr * scale
        return f"lr {lr:g} -> about {rounded(new)} ({rounded(0.3 * new)}-{rounded(3 * new)})"
    return f"multiply the learning rate by about {rounded(scale)}"


def _low_lines(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> list[str]:
    return [
        f"the largest update so far was {model.peak_update:.1e} of the weights, healthy starts "
        f"near {HEALTHY_UPDATE:g}"
    ]


def _nothing(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> list[str]:
    return []


def _data_advice(past: Past, model: ModelPast, facts: Facts, flags: Sequence[Flag]) -> str:
    return "look at a batch as the model gets it: loader, collate, masks, padding, augmentation"


_ADVICE: dict[str, Words] = {
    "learning-rate-too-high": _lr_advice,
    "unnormalised-inputs": _input_advice,
    "unnormalised-inputs (tiny)": _input_advice,
    "low-data-diversity": _data_advice,
    "constant-initialisation": _constant_advice,
    "constant-initialisation (zero)": _constant_advice,
    "bad-initialisation-scale (small)": _scale_advice,
    "bad-initialisation-scale (large)": _scale_advice,
    "saturating-activation": _saturation_advice,
    "depth-vanishing": _depth_advice,
    "dying-relu": _relu_advice,
    "learning-rate-too-low": _low_advice,
    "over-regularisation": _decay_advice,
    "numerical-overflow": _overflow_advice,
}
_EVIDENCE: dict[str, Lines] = {
    "learning-rate-too-high": _lr_lines,
    "unnormalised-inputs": _input_lines,
    "unnormalised-inputs (tiny)": _input_lines,
    "low-data-diversity": _constant_input_lines,
    "constant-initialisation": _constant_lines,
    "constant-initialisation (zero)": _constant_lines,
    "bad-initialisation-scale (small)": _scale_lines,
    "bad-initialisation-scale (large)": _scale_lines,
    "saturating-activation": _saturation_lines,
    "depth-vanishing": _depth_lines,
    "dying-relu": _relu_lines,
    "learning-rate-too-low": _low_lines,
    "over-regularisation": _decay_lines,
    "numerical-overflow": _nothing,
}
