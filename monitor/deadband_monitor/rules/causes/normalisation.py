"""Misuse of batch normalisation: in evaluation, with too few rows, with figures that lag."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from deadband.wire import Flag, Layer
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import STUCK, Case, Suspect, Tier
from deadband_monitor.rules.causes.high_rate import BLOW_UP
from deadband_monitor.rules.normalisation import (
    FEWEST_KEPT,
    FEWEST_VALUES,
    SMALLEST_MOMENTUM,
    batches_kept,
)

SAME_FIGURES = 1e-3
"""Of a batch of 64 values, mean and variance lie 0.1 from any other's; float32 rounds at 1e-6."""
UNCHANGED = 0.05
"""What the first steps of gain and offset may have made of an output."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Misuse of batch normalisation."""
    flag = case.flag("batchnorm-mismatch")
    yield from _of_one_value(case)
    yield from _in_evaluation(case)
    if flag is not None:
        yield from _norm(case, flag)
    elif case.flag("overfitting") is not None:
        yield from _lagging(case)


def _of_one_value(case: Case) -> Iterator[Suspect]:
    """A layer norm over a single feature: less its own mean nothing is left of it."""
    layers = [case.layout.layers[row] for row in case.layout.rows(case.model.name).tolist()]
    blind = next((it for it in layers if it.kind == "LayerNorm" and it.units == 1), None)
    if blind is None:
        return
    yield Suspect(
        word="batchnorm-misuse",
        tier=Tier.EXACT,
        belief=0.97,
        onset=case.start,
        explains=BLOW_UP | {"constant-predictor", "vanishing-gradient", "loss-plateau"},
        evidence=[
            f"{blind.name} normalises one value at a time: less its own mean that is 0, so what "
            "comes out is its offset, whatever comes in, and no gradient goes back"
        ],
        advice=f"make the model wider in front of {blind.name} (nn.Linear(1, 32), d_model=32): a "
        "layer norm needs many features in a row",
        layer=blind.name,
    )


def _in_evaluation(case: Case) -> Iterator[Suspect]:
    """Training steps whose norms use their running figures, and these are as they were made.

    A normalisation by anything else than the running figures has other figures than theirs. Frozen
    norms of a trained model have figures of their own; mean 0 and variance 1 change nothing.
    """
    layout = case.layout
    rows = layout.rows(case.model.name)
    norms = [r for r in rows.tolist() if layout.layers[r].kind.startswith("BatchNorm") and r > 0]
    if not norms:
        return
    first = case.past.first[norms]
    ratio, shift, size = (LAYER_COLUMN[n] for n in ("norm_ratio", "norm_shift", "out_rms"))
    exact = np.abs(first[:, ratio] - 1) < SAME_FIGURES
    exact &= first[:, shift] < SAME_FIGURES
    fed = case.past.first[[row - 1 for row in norms], size]
    idle = np.abs(first[:, size] / fed - 1) < UNCHANGED
    # Not by the newest sample: of values that outgrew their format it has none.
    lowest, highest = case.past.lowest[norms, ratio], case.past.highest[norms, ratio]
    still = (lowest > 1 - SAME_FIGURES) & (highest < 1 + SAME_FIGURES)
    if not (exact.all() and idle.mean() > 0.5 and still.mean() >= 0.5):
        return
    name = layout.layers[norms[0]].name
    yield Suspect(
        word="batchnorm-misuse",
        tier=Tier.EXACT,
        belief=0.93,
        onset=case.start,
        explains=BLOW_UP | {"overfitting", "batchnorm-mismatch"},
        evidence=[
            f"{name} and {len(norms) - 1} more put out what they are given: they normalise by "
            "running figures that are as they were made (mean 0, variance 1), not by the batch"
        ],
        advice="model.train() before the training loop, and again after each evaluation: "
        "model.eval() is still in force",
        layer=name,
    )


def lags(case: Case) -> Layer | None:
    """A batch normalisation whose running figures cannot have arrived yet, by how it was built."""
    for layer in case.layout.layers:
        momentum = layer.options.get("momentum", math.nan)
        norm = layer.model == case.model.name and layer.kind.startswith("BatchNorm")
        if norm and 0 <= momentum < SMALLEST_MOMENTUM and momentum * case.past.step < 1:
            return layer
    return None


def _lagging(case: Case) -> Iterator[Suspect]:
    """Measured too seldom for the rule on its figures; how the layer was built says it."""
    layer, flag = lags(case), case.flag("overfitting")
    if layer is None or flag is None:
        return
    momentum = layer.options["momentum"]
    yield Suspect(
        word="batchnorm-misuse",
        belief=0.93,
        onset=case.start,
        explains=frozenset({"overfitting", "batchnorm-mismatch"}),
        evidence=[
            f"{layer.name}: momentum {momentum:g}: after {case.past.step} steps its running "
            f"figures hold {min(1.0, momentum * case.past.step):.1%} of what training saw, and "
            "evaluation uses them"
        ],
        advice=f"{layer.kind}(..., momentum=0.1): it is the share of the new batch, what Keras and "
        "TensorFlow call 1 - momentum; for this run, set it and run a few hundred batches in "
        "train() under torch.no_grad() before evaluating",
        layer=layer.name,
    )


def _norm(case: Case, flag: Flag) -> Iterator[Suspect]:
    layer = next((x for x in case.layout.layers if x.name == flag.layer), None)
    momentum = layer.options.get("momentum", math.nan) if layer is not None else math.nan
    kind = layer.kind if layer is not None else "BatchNorm"
    figures = flag.evidence
    explains = STUCK | {"batchnorm-mismatch", "overfitting"}
    lines = []
    if "norm_ratio" in figures:
        lines.append(
            f"{flag.layer}: batch variance {figures['norm_ratio']:.2g} times the running one"
        )
    apart = case.flag("overfitting")
    train, held = case.past.loss.fresh, case.model.value("eval_loss")
    if held > 2 * train > 0:
        lines.append(f"the loss is {held:.3g} in evaluation, {train:.3g} in training")
    if "norm_test_shift" in figures:
        yield Suspect(
            word="batchnorm-misuse",
            belief=0.9,
            onset=flag.onset_step,
            explains=explains,
            evidence=[
                f"{flag.layer}: forwards under torch.no_grad() in training mode: their batches lie "
                f"{figures['norm_test_shift'] ** 0.5:.2g} running sd from training's and are "
                "normalised by their own mean and variance, which move the running figures too"
            ],
            advice="model.eval() before the evaluation loop and model.train() behind it: answers "
            "must not depend on which rows share a batch",
            layer=flag.layer,
        )
    elif figures.get("norm_values", math.inf) <= FEWEST_VALUES:
        yield Suspect(
            word="batchnorm-misuse",
            belief=0.93,
            onset=flag.onset_step,
            explains=explains,
            evidence=[f"{flag.layer} normalises {figures['norm_values']:.0f} values at a time"],
            advice=(
                f"batches of 16 and more, or nn.LayerNorm / nn.GroupNorm in place of {kind}; "
                "drop_last=True in the loader if only the last batch is so small"
            ),
            layer=flag.layer,
        )
    elif figures.get("norm_values", math.inf) * batches_kept(momentum) < FEWEST_KEPT:
        values = figures["norm_values"]
        yield Suspect(
            word="batchnorm-misuse",
            belief=0.93,
            onset=case.start,
            explains=explains,
            evidence=[
                f"{flag.layer}: {values:.0f} values are normalised together and momentum is "
                f"{momentum:g}: its running figures are those of the last "
                f"{values * batches_kept(momentum):.0f} values, and evaluation uses them"
            ],
            advice=f"{kind}(..., momentum=0.1), the share of the new batch, and batches of 16 and "
            "more; for this run, recompute the running figures "
            "(torch.optim.swa_utils.update_bn(loader, model)) before evaluating",
            layer=flag.layer,
        )
    elif momentum < SMALLEST_MOMENTUM:
        yield Suspect(
            word="batchnorm-misuse",
            belief=0.93,
            onset=flag.onset_step,
            explains=explains,
            evidence=[
                f"{flag.layer}: momentum {momentum:g}, its running figures need "
                + (f"{3 / momentum:.0f} steps to arrive" if momentum > 0 else "for ever to arrive"),
                *lines,
            ],
            advice=(
                f"{kind}(..., momentum=0.1): it is the share of the new batch, what Keras and "
                f"TensorFlow call 1 - momentum; for this run, set it and run a few hundred batches "
                "in train() under torch.no_grad() before evaluating"
            ),
            layer=flag.layer,
        )
    elif case.model.large_update_step is None:
        yield Suspect(
            word="batchnorm-misuse",
            # An evaluation that is far from training is what these figures lead to.
            belief=0.85 if apart is not None else 0.6,
            onset=flag.onset_step if apart is None else min(flag.onset_step, apart.onset_step),
            explains=explains,
            evidence=lines,
            advice=(
                "evaluation will not see what training saw: shuffle the batches, keep different "
                "sources of data out of one normalisation, and recompute the running figures "
                "(torch.optim.swa_utils.update_bn(loader, model)) before evaluating"
            ),
            layer=flag.layer,
        )
