"""The rule on what is fed in. Odd inputs are a note until something goes wrong with them.

What changes for the worse in mid-run is more than a note: the run was fine with what it had.
"""

from __future__ import annotations

import math

from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.feed import CONSTANT, Change, Feed
from deadband_monitor.rules.judges import Judgement, ModelRule, measured
from deadband_monitor.rules.past import ModelPast, Past

OFFSET = 0.02
"""Dependence ratio of an input below which a constant offset or one feature hides the rest."""
LARGE = 100.0
"""Largest absolute input: raw pixels (255) and physical units pass it, standardised data never."""
TINY = 1e-3
"""Input rms below which a bias of usual size drowns it: digits scaled twice by 1/255."""
DUPLICATES = 0.5
"""Share of rows that repeat another of the batch. Truth tables and small grids have as many."""
LASTING_STEPS = 50
"""A batch that is repeated for so long is all that will be learnt."""


def odd_scale(rho: float, largest: float, rms: float) -> str:
    """`offset`, `large`, `tiny` or nothing: what is odd about an input's scale."""
    if math.isfinite(rms) and 0 < rms < TINY:
        return "tiny"
    if math.isfinite(rho) and CONSTANT <= rho < OFFSET:
        return "offset"
    if math.isfinite(largest) and largest > LARGE:
        return "large"
    return ""


class InputAnomaly(ModelRule):
    """Inputs that are all alike, tiny, huge, sorted by label, or changed for the worse."""

    kind = "input-anomaly"
    needs = ("in_variance", "in_rms", "in_repeat", "batch_label_entropy")
    samples_to_open = 1
    """What changes in mid-run was seen three times by `Feed`."""
    SAMPLES = 3
    """Samples in a row that are odd from the start on: one can be an outlier."""

    def __init__(self) -> None:
        super().__init__()
        self._odd: dict[str, int] = {}

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        changed = _changed(seen, past, model)
        if changed is not None:
            return changed
        if model.feed.sorted_since is not None:
            ratio = model.feed.sorted_ratio
            return Judgement(
                active=True,
                clear=False,
                message=f"the batches are sorted by label: each holds {ratio:.0%} of the variety "
                "of labels that a random one would",
                evidence={"batch_label_entropy": ratio},
                onset_step=model.feed.sorted_since,
            )
        judged = _from_the_start(past, model)
        if judged is None or not judged.active:
            self._odd[model.name] = 0
            return judged
        self._odd[model.name] = self._odd.get(model.name, 0) + 1
        if self._odd[model.name] < self.SAMPLES:
            return Judgement(active=False, clear=False)
        return judged


def _changed(seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
    """A run that began well and is fed worse now."""
    feed = model.feed
    if feed.change is None:
        return None
    lasted = seen.step - feed.since
    gone = past.output_gone(model.name) or model.value("out_variance") < CONSTANT
    useless = {Change.REPEATED, Change.CONSTANT, Change.LABELS}
    lost = feed.change in useless and lasted >= LASTING_STEPS
    names = ("in_repeat", "in_variance", "in_rms", "in_constant", "batch_label_entropy")
    evidence = {name: model.value(name) for name in names}
    return Judgement(
        active=True,
        clear=False,
        severity="critical" if gone or lost else "warning",
        message=f"since step {feed.since} {change_in_words(feed)}",
        evidence=measured(evidence),
        onset_step=feed.since,
    )


def change_in_words(feed: Feed) -> str:
    """What happened to the inputs: `every batch is the same one`."""
    return {
        Change.REPEATED: "every batch is the same one",
        Change.CONSTANT: "the inputs are constant",
        Change.NONFINITE: "the inputs hold NaN or infinity",
        Change.RESCALED: f"the inputs are {feed.factor:.3g} times as large as before",
        Change.LABELS: "all labels of a batch are the same",
        Change.TARGETS: f"the targets vary {feed.factor:.3g} times as much as before",
        None: "nothing changed",
    }[feed.change]


def _from_the_start(past: Past, model: ModelPast) -> Judgement | None:
    """What the inputs look like, whatever they were before."""
    layout = past.layout
    assert layout is not None
    index = layout.index_of[model.name]
    rho, rms = model.value("in_variance"), model.value("in_rms")
    largest, twins = model.value("in_max"), model.value("in_duplicates")
    if layout.takes_ids[index]:
        return Judgement(active=False, clear=True)
    if not math.isfinite(rms):
        return None
    constant = (rho < CONSTANT or rms == 0) and not model.value("out_variance") > 1e-3
    odd = odd_scale(rho, largest, rms)
    repeated = twins > DUPLICATES
    severity = "info"
    if constant:
        message = "every input is the same"
        severity = "critical" if model.value("out_variance") < CONSTANT else "warning"
    elif odd == "tiny":
        message = f"the inputs are tiny: rms {rms:.2g}"
    elif odd == "large":
        message = f"the inputs are not scaled: values up to {largest:.3g}"
    elif odd:
        message = f"a constant offset or one feature dominates the inputs (rho {rho:.2g})"
    else:
        message = f"{twins:.0%} of the rows of a batch repeat another row"
    hurts = past.output_gone(model.name) or _harm(past, model.name)
    if (odd or repeated) and not constant and hurts:
        severity = "warning"
    evidence = {
        "in_variance": rho,
        "in_max": largest,
        "in_rms": rms,
        "in_top_share": model.value("in_top_share"),
        "in_duplicates": twins,
    }
    return Judgement(
        active=constant or bool(odd) or repeated,
        clear=not constant and not odd and not twins > 0.8 * DUPLICATES,
        severity=severity,
        message=message,
        evidence=measured(evidence),
    )


def _harm(past: Past, model: str) -> bool:
    kinds = (
        "saturation",
        "dead-units",
        "non-finite",
        "exploding-gradient",
        "loss-divergence",
        "overfitting",
    )
    return any(past.stands(kind, model) for kind in kinds)
