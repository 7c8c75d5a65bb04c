"""Units that are stuck by themselves: saturated from the start, or dead ReLUs."""

from __future__ import annotations

from collections.abc import Iterator

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.activations import Saturation
from deadband_monitor.rules.causes.base import Case, Suspect
from deadband_monitor.rules.causes.facts import LARGE_BIAS, LARGE_WEIGHTS
from deadband_monitor.rules.causes.words import feeder

GATES = {"LSTM": 4, "GRU": 3}
SHUT = 8.0
"""Bias of a gate from which a sigmoid leaves a thousandth of its slope."""

SHARERS = 16
"""Units of a softmax from which what each of them says is next to nothing."""

STOPPED = frozenset(
    {
        "output-collapse",
        "constant-predictor",
        "vanishing-gradient",
        "representation-collapse",
        "loss-plateau",
    }
)
"""What units on a flat end bring about."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Saturating activation, dying ReLU: consequences, where something else came first."""
    stuck, dead = case.flag("saturation"), case.flag("dead-units")
    if stuck is not None:
        yield Suspect(
            word="saturating-activation",
            row="saturating-activation",
            onset=case.start if _born_flat(case, stuck.layer) else stuck.onset_step,
            phase=1,
            root=False,
            explains=STOPPED | {"saturation"},
            evidence=_stuck_lines(case, stuck.layer),
            advice=_loosen(case, stuck.layer),
            layer=stuck.layer,
        )
    yield from _shut_gates(case)
    yield from _shares_of_one(case)
    if dead is not None:
        large = case.model.large_update_step is not None
        yield Suspect(
            word="dying-relu",
            row="dying-relu",
            onset=dead.onset_step,
            phase=1,
            root=False,
            explains=frozenset(
                {
                    "dead-units",
                    "output-collapse",
                    "constant-predictor",
                    "vanishing-gradient",
                    "representation-collapse",
                    "loss-plateau",
                    "frozen-weights",
                }
            ),
            evidence=[] if large else [_what_came_before(case)],
            advice=_revive(case, dead.layer),
            layer=dead.layer,
        )


def _shut_gates(case: Case) -> Iterator[Suspect]:
    """A recurrent layer whose gates cannot open, nor learn to: their biases hold them at one end.

    The mean over all gates is what is known: one gate at 15 of three makes 5. Biases that are meant
    to hold a state for long stay below it: 1 in one gate of four, or the logarithm of the steps.
    """
    layout, first = case.layout, case.past.first
    for row in layout.rows(case.model.name).tolist():
        layer = layout.layers[row]
        gates = GATES.get(layer.kind.removesuffix("Cell"), 0)
        bias = float(first[row, LAYER_COLUMN["bias_mean"]])
        if not gates * abs(bias) > SHUT:
            continue
        yield Suspect(
            word="saturating-activation",
            belief=0.85,
            onset=case.start,
            explains=STOPPED,
            evidence=[
                f"first sample: the biases of {layer.name} average {bias:.2g} over its {gates} "
                f"gates, up to {gates * bias:.2g} in one: a sigmoid is flat there, and what it "
                "weighs never passes"
            ],
            advice=f"start the biases of {layer.name} at 0 (nn.init.zeros_), at most a forget gate "
            "at 1",
            layer=layer.name,
        )
        return


def _shares_of_one(case: Case) -> Iterator[Suspect]:
    """A softmax as the activation between two layers: n units share 1, and their slope is 1 / n.

    That of a mixture or of attention weighs other things; its units are not what comes next.
    """
    layers = [case.layout.layers[row] for row in case.layout.rows(case.model.name).tolist()]
    for before, layer, after in zip(layers, layers[1:], layers[2:], strict=False):
        if layer.activation != "softmax" or layer.units < SHARERS:
            continue
        if before.kind == after.kind == "Linear" and before.units == layer.units == after.fan_in:
            yield Suspect(
                word="saturating-activation",
                belief=0.85,
                onset=case.start,
                explains=STOPPED,
                evidence=[
                    f"{layer.name} is a softmax between {before.name} and {after.name}: its "
                    f"{layer.units} units share 1 among them, so each says about "
                    f"{1 / layer.units:.2g} and passes on as much of its gradient"
                ],
                advice=f"nn.ReLU or nn.GELU in place of {layer.name}; a softmax belongs behind the "
                "last layer, where the loss takes it itself",
                layer=layer.name,
            )
            return


def _what_came_before(case: Case) -> str:
    if case.build.late:
        return "they were dead when the watch began; what killed them was not seen"
    return f"no large update came before (peak {case.model.peak_update:.2g} of the weights)"


def _born_flat(case: Case, layer: str) -> bool:
    """Whether it lay on the flat ends at the first sample, which no update came before.

    The flag may open later: units that swing from end to end count only while nothing is learnt.
    """
    row = case.layout.row_of.get((case.model.name, layer), -1)
    return row >= 0 and bool(case.past.first[row, LAYER_COLUMN["saturation"]] >= Saturation.FLAT)


def _stuck_lines(case: Case, layer: str) -> list[str]:
    lines = []
    before, bias = feeder(case, layer)
    if abs(bias) > LARGE_BIAS:
        lines.append(f"first sample: the biases of {before} average {bias:.2g}")
    widest = max(case.facts.spreads, default=0.0)
    if widest > LARGE_WEIGHTS:
        lines.append(f"first sample: weights {widest:.2g} times PyTorch's default spread")
    return lines


def _loosen(case: Case, layer: str) -> str:
    before, bias = feeder(case, layer)
    mend = []
    if abs(bias) > LARGE_BIAS:
        mend.append(f"start the biases of {before} at 0 (nn.init.zeros_), they began at {bias:.2g}")
    widest = max(case.facts.spreads, default=0.0)
    if widest > LARGE_WEIGHTS:
        mend.append(
            f"draw the weights with nn.init.xavier_uniform_, they began {widest:.2g} times too wide"
        )
    if not mend:
        mend.append(f"smaller weights and zero biases in {before} (nn.init.xavier_uniform_)")
    return f"{'; '.join(mend)}; or put nn.LayerNorm before {layer}, or nn.ReLU in its place"


def _revive(case: Case, layer: str) -> str:
    lr = case.model.latest("lr")
    if case.build.late and lr > 0:
        return (
            "units that are dead stay dead: go back to a checkpoint from before, with a lower "
            f"rate (lr {lr:.3g} -> {lr / 10:.2g}), or use nn.LeakyReLU(0.01), nn.ELU or nn.GELU"
        )
    before, bias = feeder(case, layer)
    began = f", they began at {bias:.2g}" if bias < -1 else ""
    return (
        f"start the biases of {before} at 0 (nn.init.zeros_){began}; initialise its weights with "
        "nn.init.kaiming_uniform_, or use nn.LeakyReLU(0.01), nn.ELU or nn.GELU"
    )
