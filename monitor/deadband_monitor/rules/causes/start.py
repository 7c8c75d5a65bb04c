"""How the weights were drawn: alike, zero, too wide or narrow, or too faint for the depth."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deadband_monitor.rules.causes.base import Case, Suspect


def suspects(case: Case) -> Iterator[Suspect]:
    """Constant initialisation, a bad scale, a signal lost with depth."""
    facts = case.facts
    if facts.zero_weights or facts.twin_layers:
        yield Suspect(
            word="constant-initialisation",
            row="constant-initialisation (zero)"
            if facts.zero_weights
            else "constant-initialisation",
            onset=case.start,
            explains=frozenset(
                {
                    "duplicate-units",
                    "output-collapse",
                    "constant-predictor",
                    "vanishing-gradient",
                    "dead-units",
                    "representation-collapse",
                    "loss-plateau",
                    "frozen-weights",
                }
            ),
            evidence=_alike(case),
            advice=_draw(case),
            layer=case.layer_of("duplicate-units"),
        )
    elif {"small_weights", "large_weights"} & facts.seen:
        small = "small_weights" in facts.seen
        typical = sorted(facts.spreads)[len(facts.spreads) // 2] if facts.spreads else math.nan
        yield Suspect(
            word="bad-initialisation-scale",
            row=f"bad-initialisation-scale ({'small' if small else 'large'})",
            onset=case.start,
            explains=frozenset(
                {
                    "saturation",
                    "output-collapse",
                    "constant-predictor",
                    "vanishing-gradient",
                    "exploding-gradient",
                    "non-finite",
                    "loss-divergence",
                    "representation-collapse",
                    "dead-units",
                    "loss-plateau",
                    "frozen-weights",
                }
            ),
            evidence=[
                f"first sample: weights {typical:.2g} times PyTorch's default spread (He: 2.45)"
            ],
            advice="initialise with nn.init.kaiming_uniform_ (sd sqrt(2 / fan_in)) for ReLU, "
            "nn.init.xavier_uniform_ for tanh and sigmoid",
        )
    if "faint_depth" in facts.seen:
        yield Suspect(
            word="depth-vanishing",
            row="depth-vanishing",
            onset=case.start,
            explains=frozenset(
                {
                    "vanishing-gradient",
                    "output-collapse",
                    "constant-predictor",
                    "representation-collapse",
                    "loss-plateau",
                    "frozen-weights",
                }
            ),
            evidence=[
                f"at the start the first hidden layer passes {facts.first_signal:.2g} of its "
                f"variance on, the last {facts.last_signal:.1g}"
            ],
            advice="initialise with nn.init.kaiming_uniform_ (ReLU) or xavier_uniform_ (tanh), "
            "replace sigmoid by ReLU, add residual connections or normalisation, or take fewer "
            "layers",
            layer=case.layer_of("vanishing-gradient"),
        )


def _draw(case: Case) -> str:
    twins = case.facts.twin_layers
    return (
        f"draw the weights at random: remove the constant fill of "
        f"{twins[0] if twins else 'each hidden layer'}, or call "
        "nn.init.kaiming_uniform_(layer.weight) (ReLU) or nn.init.xavier_uniform_ (tanh, sigmoid)"
    )


def _alike(case: Case) -> list[str]:
    if case.facts.zero_weights:
        return ["first sample: every hidden weight is zero"]
    layers = ", ".join(case.facts.twin_layers[:4])
    return [f"first sample: the units of {layers} have the same weights"]
