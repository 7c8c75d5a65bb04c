"""What `watch` was asked for, from its arguments and the environment, checked once.

The environment wins where it is set: it is how `deadband run` and CI speak to scripts that call
`watch` themselves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

SEVERITIES = ("info", "warning", "critical")
LOSSES = (
    "cross_entropy", "nll", "bce", "bce_logits", "mse", "l1", "smooth_l1", "huber", "kl_div",
    "poisson_nll", "gaussian_nll", "cosine",
)  # fmt: skip
"""Kinds of losses that `watch` can be told of."""
AS_IS = "as-is"
EAGER_SAMPLES = "eager-samples"
COMPILED = (AS_IS, EAGER_SAMPLES)
"""Compiled code is left alone; or sampled steps run uncompiled, so that its inside is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How often to measure, what to spend, and when to stop."""

    every: int | None = None
    """Measure every so many steps exactly; None leaves it to the budget."""
    budget: float | None = 0.01
    """Share of training time that capture may cost; None: no bound."""
    credit_s: float = 1.0
    """Capture time spent on every step at the start, before the budget rules."""
    stop_on: str | None = None
    """Severity at which `Collapsed` is raised."""
    enabled: bool = True
    """False: `watch` does nothing."""
    hub: bool = True
    """False: no hub is started, frames stay in the arena."""
    compiled: str = AS_IS
    """What to do about compiled models: one of `COMPILED`."""

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise ValueError(f"every must be at least 1 step, not {self.every}")
        if self.budget is not None and not 0 < self.budget <= 1:
            raise ValueError(f"budget must be a share between 0 and 1, not {self.budget}")
        if not self.credit_s >= 0:
            raise ValueError(f"credit_s must not be negative, but is {self.credit_s}")
        if self.stop_on is not None and self.stop_on not in SEVERITIES:
            raise ValueError(
                f"stop_on must be one of {', '.join(SEVERITIES)}, not {self.stop_on!r}"
            )
        if self.compiled not in COMPILED:
            raise ValueError(
                f"compiled must be one of {', '.join(COMPILED)}, not {self.compiled!r}"
            )


def from_environment(
    *,
    every: int | None = None,
    budget: float | None = 0.01,
    credit_s: float = 1.0,
    stop_on: str | None = None,
    compiled: str = AS_IS,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """The arguments of `watch`, overridden by the environment.

    $DEADBAND_EVERY, _BUDGET, _CREDIT_S, _COMPILED say the same; $DEADBAND=off and _HUB=off switch
    all of it off, or the hub.

    Raises:
        ValueError: a setting has no sense; the text names it.
    """
    given_every = _number(environ, "DEADBAND_EVERY", whole=True)
    given_budget = _number(environ, "DEADBAND_BUDGET")
    given_credit_s = _number(environ, "DEADBAND_CREDIT_S")
    return Settings(
        every=every if given_every is None else int(given_every),
        budget=budget if given_budget is None else given_budget,
        credit_s=credit_s if given_credit_s is None else given_credit_s,
        stop_on=stop_on,
        enabled=is_enabled(environ),
        compiled=environ.get("DEADBAND_COMPILED") or compiled,
        hub=environ.get("DEADBAND_HUB", "").lower() != "off",
    )


def is_enabled(environ: Mapping[str, str] = os.environ) -> bool:
    """False where $DEADBAND says `off`."""
    return environ.get("DEADBAND", "").lower() not in ("off", "0", "no", "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the parent, `deadband run`, has chosen for the first watch of this process."""

    run: str = ""
    name: str = ""


_claimed: list[Claim] = []


def claim(environ: MutableMapping[str, str] = os.environ) -> None:
    """Take run id and name out of the environment, so that grandchildren do not take them too."""
    found = Claim(run=environ.pop("DEADBAND_RUN", ""), name=environ.pop("DEADBAND_NAME", ""))
    if found != Claim():
        _claimed.append(found)


def claim_as(chosen: Claim) -> None:
    """Somebody outside has chosen for the next watch of this process."""
    _claimed.insert(0, chosen)


def take_claim() -> Claim:
    """What was chosen for this process; the second watch gets nothing."""
    claim()
    return _claimed.pop(0) if _claimed else Claim()


def _number(environ: Mapping[str, str], name: str, *, whole: bool = False) -> float | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    try:
        return int(text) if whole else float(text)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{name} must be {kind}, not {text!r}") from None
