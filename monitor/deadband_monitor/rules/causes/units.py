"""Units that are stuck by themselves: saturated from the start, or dead ReLUs."""

from __future__ import annotations

from collections.abc import Iterator

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.activations import Saturation
from deadband_monitor.rules.causes.base import Case, Suspect
from deadband_monitor.rules.causes.facts import LARGE_WEIGHTS
from deadband_monitor.rules.causes.words import LARGE_BIAS, feeder


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
            explains=frozenset(
                {
                    "saturation",
                    "output-collapse",
                    "constant-predictor",
                    "vanishing-gradient",
                    "representation-collapse",
                    "loss-plateau",
                }
            ),
            evidence=_stuck_lines(case, stuck.layer),
            advice=_loosen(case, stuck.layer),
            layer=stuck.layer,
        )
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
