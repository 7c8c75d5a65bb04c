"""Overflow: a value that is not finite, and no other cause before it."""

from __future__ import annotations

from collections.abc import Iterator

from deadband_monitor.rules.causes.base import Case, Suspect, Tier


def suspects(case: Case) -> Iterator[Suspect]:
    """Numerical overflow."""
    overflow = case.flag("non-finite")
    if overflow is not None:
        where = f" in {overflow.layer}" if overflow.layer else ""
        yield Suspect(
            word="numerical-overflow",
            tier=Tier.RESIDUAL,
            belief=0.5,
            onset=overflow.onset_step,
            phase=1,
            root=False,
            explains=frozenset({"non-finite"}),
            advice=f"find the first operation that overflows{where} with "
            "torch.autograd.set_detect_anomaly(True): log or division of 0, exp of a large value, "
            "half precision; clip gradients, use bfloat16",
            layer=overflow.layer,
        )
