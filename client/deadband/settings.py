"""What `watch` was asked for, from its arguments and the environment, checked once.

The environment wins where it is set: it is how `deadband run` and CI speak to scripts that call
`watch` themselves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

SEVERITIES = ("info", "warning", "critical")


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


def from_environment(
    *,
    every: int | None,
    budget: float | None,
    credit_s: float,
    stop_on: str | None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """The arguments of `watch`, overridden by $DEADBAND_EVERY, _BUDGET, _CREDIT_S, DEADBAND, _HUB.

    Raises:
        ValueError: a setting has no sense; the text names it.
    """
    return Settings(
        every=_number(environ, "DEADBAND_EVERY", int, every),
        budget=_number(environ, "DEADBAND_BUDGET", float, budget),
        credit_s=_number(environ, "DEADBAND_CREDIT_S", float, credit_s) or 0.0,
        stop_on=stop_on,
        enabled=environ.get("DEADBAND", "").lower() not in ("off", "0", "no", "false"),
        hub=environ.get("DEADBAND_HUB", "").lower() != "off",
    )


def _number(
    environ: Mapping[str, str], name: str, kind: type[int] | type[float], otherwise: float | None
) -> int | None:
    # Typed as int for `every`; floats pass through the same door and mypy sees int as float.
    text = environ.get(name, "").strip()
    if not text:
        return otherwise  # type: ignore[return-value]
    try:
        return kind(text)  # type: ignore[return-value]
    except ValueError:
        raise ValueError(
            f"{name} must be {'a whole number' if kind is int else 'a number'}, not {text!r}"
        ) from None
