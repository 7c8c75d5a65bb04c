"""The rule on NaN and infinity."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.rules.base import Finding, Observation, Words
from deadband_monitor.rules.judges import column
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.state.series import Floats


class NonFinite:
    """NaN or infinity in weights, activations, gradients or the loss."""

    kind = "non-finite"
    samples_to_open = 1
    samples_to_close = 3
    backward = False
    needs = ("nonfinite",)
    grace_steps = 0

    SKIPS_ALLOWED = 3
    """Steps in a row that a gradient scaler may leave out once it has settled."""
    SETTLING_STEPS = 20
    """It starts at 2^16 and halves at each overflow: a dozen skips at the start are normal."""

    def __init__(self) -> None:
        self._skips: dict[str, int] = {}
        self._flagged: set[tuple[str, str]] = set()
        self._clean: set[str] = set()
        """Models whose output has been finite once."""

    def judge(self, seen: Observation, past: Past) -> Iterator[Finding]:
        """See `Rule`."""
        layout = past.layout
        assert layout is not None
        share = column(seen, "nonfinite")
        some = np.count_nonzero(share > 0) > 0
        infinite = any(map(math.isinf, past.losses))
        for index, model in enumerate(layout.models):
            rows = layout.rows_of[index]
            bad = rows[share[rows] > 0] if some else rows[:0]
            mine = past.models[model.name]
            outside = mine.value("nonfinite") > 0 or (infinite and not layout.several_models)
            wrong = len(bad) > 0 or outside
            if not wrong:
                self._clean.add(model.name)
                self._skips[model.name] = 0
                if self._flagged:
                    yield from self._clear(model.name)
                continue
            if self._tolerable(seen, mine, bad, outside):
                continue
            yield from self._found(seen, layout, mine, bad, share)

    def _found(
        self,
        seen: Observation,
        layout: Layout,
        model: ModelPast,
        bad: NDArray[np.int64],
        share: Floats,
    ) -> Iterator[Finding]:
        names = [layout.layers[row].name for row in bad.tolist()] or [""]
        shares = share[bad].tolist() or [model.value("nonfinite")]

        def told(row: int) -> Words:
            name = names[row]
            where = f"in {name}" if name else "in the model's input, output or loss"
            return Words(f"NaN or infinity {where}", {"nonfinite": float(shares[row])})

        for row, name in enumerate(names):
            self._flagged.add((model.name, name))
            yield Finding(
                kind=self.kind,
                model=model.name,
                layer=name,
                severity="critical",
                told=told,
                row=row,
                onset_step=seen.step,
            )

    def _clear(self, model: str) -> Iterator[Finding]:
        for flagged in sorted(key for key in self._flagged if key[0] == model):
            yield Finding(kind=self.kind, model=model, layer=flagged[1], active=False)

    def _tolerable(
        self,
        seen: Observation,
        model: ModelPast,
        bad: NDArray[np.int64],
        outside: bool,
    ) -> bool:
        """Non-finite values that a healthy run may show."""
        weights = column(seen, "weight_rms")[bad]
        outputs = column(seen, "out_rms")[bad]
        updates = column(seen, "update_ratio")[bad]
        if not outside and len(bad):
            # A gradient scaler leaves the step out: gradients overflow, nothing else moves.
            skipped = (
                not np.isnan(weights).any()
                and not np.isinf(outputs).any()
                and not (updates > 0).any()
                and bool(np.isfinite(weights).any())
            )
            if skipped:
                self._skips[model.name] = self._skips.get(model.name, 0) + 1
                allowed = self.SKIPS_ALLOWED
                return seen.step <= self.SETTLING_STEPS or self._skips[model.name] <= allowed
        # Masked logits are minus infinity from the first sample on, with a finite loss.
        losses_fine = len(seen.losses) > 0 and bool(np.isfinite(seen.losses).all())
        return model.name not in self._clean and losses_fine and model.value("grad_norm") > 0
