"""What of a model could not be looked at, why, and how to see it. Pure; for reports and screens."""

from __future__ import annotations

from dataclasses import dataclass

from deadband.wire import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """One kind of thing that is not seen."""

    what: str
    why: str
    advice: str
    short: str
    """The advice for a line of a screen."""


def not_seen(model: Model) -> list[Unseen]:
    """What of this model the samples do not hold."""
    return [*_compiled(model), *_left_out(model)]


def _left_out(model: Model) -> list[Unseen]:
    if not model.left_out:
        return []
    what = f"{model.left_out} layers of {model.name}"
    why = "it has more than can be followed at no cost; those that are seen are spread over it"
    advice = "to see some part of it whole, give watch that part as a model of its own"
    return [Unseen(what=what, why=why, advice=advice, short=advice)]


def _compiled(model: Model) -> list[Unseen]:
    if model.eager_samples or not (model.compiled or model.compiled_parts):
        return []
    if model.hidden:
        what = f"inputs and activations of {model.name}"
        why = "a compiled function of yours calls it; weights, gradients and losses are seen"
    elif model.compiled:
        what = f"activations inside {model.name}"
        why = "it is compiled; weights, gradients, inputs, outputs and losses are seen"
    else:
        what = f"activations inside {', '.join(model.compiled_parts)}"
        why = "compiled; what goes out of it is seen, and all weights and gradients"
    short = 'watch(..., compiled="eager-samples") shows them'
    return [Unseen(what=what, why=why, advice=_ADVICE, short=short)]


_ADVICE = (
    'to see them, give watch compiled="eager-samples" or set DEADBAND_COMPILED=eager-samples:'
    " sampled steps then run uncompiled, with other dropout draws and rounding"
)
