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


def not_seen(model: Model) -> list[Unseen]:
    """What of this model the samples do not hold."""
    found = []
    if model.compiled and not model.eager_samples:
        found.append(
            Unseen(
                what=f"what happens inside {model.name}"
                if not model.compiled_parts
                else f"what happens inside {', '.join(model.compiled_parts)}",
                why="it is compiled, and compiled code is left alone; weights, gradients, inputs,"
                " outputs and losses are seen",
                advice='to see activations too, give watch compiled="eager-samples": sampled steps'
                " then run uncompiled, with other random draws and rounding",
            )
        )
    return found
