"""The budget governor in words: how often a run is sampled, and why. Pure; no judgement."""

from __future__ import annotations

from deadband.wire import Pace

_REASONS = {
    "first steps": "the first steps are always sampled",
    "credit": "the credit of a start, of a flag or of a viewer is not spent",
    "loss jumped": "the loss jumped",
    "named": "as it was asked for",
    "slowest": "the budget asks for less, but no run is left alone for longer",
    "no room": "the hub has no room for more",
}


def in_words(pace: Pace, interval: int) -> str:
    """Such as `every 43rd step: a sample costs 0.2 ms, a step takes 0.4 ms, which keeps ...`."""
    return f"{_often(interval)} was sampled: {_because(pace)}"


def short(pace: Pace, interval: int) -> str:
    """The same for a line of a screen: `every 43 (budget)`."""
    return f"every {interval} ({pace.why})" if interval > 1 else f"every step ({pace.why})"


def asked_for(pace: Pace | None, step: int) -> int:
    """Steps that are still to be sampled because a viewer asked for them."""
    return max(pace.until - step, 0) if pace is not None else 0


def _often(interval: int) -> str:
    return "every step" if interval == 1 else f"one step in {interval}"


def _because(pace: Pace) -> str:
    if pace.why == "budget":
        return (
            f"a sample costs {_time(pace.cost_s)} and a step takes {_time(pace.step_s)},"
            " so the budget allows no more"
        )
    if pace.why == "rate":
        return f"more than {pace.rate:.3g} samples a second nobody needs"
    if pace.why == "asked":
        return f"a viewer asked for each step up to {pace.until}"
    return _REASONS.get(pace.why, pace.why)


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
