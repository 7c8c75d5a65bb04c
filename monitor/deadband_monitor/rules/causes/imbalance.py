"""Classes that come too seldom, or one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deadband_monitor.rules.causes.base import STILL, Case, Suspect, Tier
from deadband_monitor.rules.causes.high_rate import BLOW_UP
from deadband_monitor.rules.causes.rows import STARVED
from deadband_monitor.rules.inputs import answerable
from deadband_monitor.rules.majority import MOSTLY, RULING, UNEVEN, names_one_class
from deadband_monitor.rules.misfit import VALUE_LOSSES

NEARLY_ALL = 0.95
"""Share of the labels that are of one class, from which that alone makes outputs all alike: the
others come by once in twenty rows, and nothing else is learnt."""
OTHERS_ASKED = 3.0
"""Times what a constant answer costs in training that the best evaluation costs, from which other
classes are asked there than are shown: before it knows anything by heart, a model is about as good
as a constant answer to rows like its own."""
SAME_SPREAD = 0.03
"""Relative difference from sqrt(p (1 - p)), the standard deviation of ones at a rate p among zeros,
below which values between 0 and 1 are such."""
_MISSED = frozenset({"constant-predictor", "loss-plateau", "overfitting"})
"""What rows of a class that comes too seldom look like."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Class imbalance, sorted rows."""
    yield from _sorted(case)
    yield from _of_one_class(case)
    yield from _uneven(case)
    yield from _few_of_a_class(case)
    yield from _rare_yes(case)


def _sorted(case: Case) -> Iterator[Suspect]:
    mixture = case.model.feed.mixture
    if mixture.sorted_since is None:
        return
    yield Suspect(
        word="low-data-diversity",
        tier=Tier.EXACT,
        belief=0.95,
        onset=case.start,
        explains=BLOW_UP | STARVED,
        evidence=[f"{mixture.how_sorted}: the data come sorted by label"],
        advice="DataLoader(data, shuffle=True), or x, y = x[p], y[p], p = torch.randperm(len(x))",
    )


def _of_one_class(case: Case) -> Iterator[Suspect]:
    flag, mixture = case.flag("input-anomaly"), case.model.feed.mixture
    if flag is None or "labels_alike" not in flag.evidence:
        return
    yield Suspect(
        word="low-data-diversity",
        belief=0.9,
        onset=case.start,
        explains=STARVED,
        evidence=[
            f"all of the first {mixture.alike} labels were of one class, out of "
            f"{answerable(case.past, case.model)} that the model can answer"
        ],
        advice="torch.bincount(labels) over the data set: a filter, a folder or a label map that "
        "leaves one class; where the others come later, shuffle",
    )


def _uneven(case: Case) -> Iterator[Suspect]:
    model = case.model
    share, said = model.value("majority_share"), model.value("majority_predicted")
    flag = case.flag("constant-predictor")
    # A single sample may hold the one row in a hundred that is said to be of another class: what
    # the rule found in many of them counts.
    found = flag is not None and "majority_share" in flag.evidence
    # Where evaluation asks for the others, that they are not known is told by it first.
    asked = case.flag("overfitting") is not None and model.misses_the_rare
    asked = asked or asks_for_others(case)
    found = found or asked or names_one_class(share, said)
    # Of a few samples it cannot be said yet whether the others are known.
    unsaid = math.isnan(model.value("rare_recall")) and said > share >= MOSTLY
    held = case.flag("overfitting") if unsaid else None
    if not found and held is None:
        return
    telling = model.value("information") > 1e-4
    alone = share >= NEARLY_ALL and not case.facts.seen - _came_of_it(case)
    if not (telling or alone):
        return
    ratio = share / max(1e-6, 1 - share)
    belief = (0.85 if telling else 0.7) if ratio >= 8 else 0.6
    yield Suspect(
        word="class-imbalance",
        belief=belief if found else 0.5,
        onset=case.start if found or held is None else held.onset_step,
        explains=_MISSED | {"output-collapse"} if alone else _MISSED,
        evidence=[
            f"{100 * share:.3g}% of the labels are of one class, {100 * said:.3g}% of the "
            "predictions" + ("; outputs still vary with the input" if telling else "")
        ],
        advice=f"weight the classes (pos_weight = {ratio:.2g} for two, weight = 1 / frequency for "
        "more), or draw evenly with WeightedRandomSampler; report the recall of each class",
    )


def _came_of_it(case: Case) -> frozenset[str]:
    """Units that stopped on the way: pushed one way by all labels, they have no reason to turn."""
    flags = (case.flag("saturation"), case.flag("dead-units"))
    later = all(flag.onset_step > case.start for flag in flags if flag is not None)
    return frozenset({"saturated", "dead"}) if later else frozenset()


def asks_for_others(case: Case) -> bool:
    """Whether one class rules in training, and evaluation is of others from its best pass on."""
    flag, share = case.flag("overfitting"), case.model.latest("majority_share")
    if flag is None or not share >= UNEVEN:
        return False
    constant = case.model.latest("loss_constant")
    return flag.evidence["best_eval_loss"] > OTHERS_ASKED * constant > 0


def _few_of_a_class(case: Case) -> Iterator[Suspect]:
    flag = case.flag("input-anomaly")
    if flag is None or "rare_rows" not in flag.evidence:
        return
    rows, times = flag.evidence["rare_rows"], flag.evidence["outnumbered"]
    yield Suspect(
        word="class-imbalance",
        belief=0.9,
        onset=case.start,
        explains=_MISSED | {"input-anomaly"},
        evidence=[
            f"{rows:.2g} different rows are all that came of a class that another outnumbers "
            f"{times:.0f} times: what is learnt of them holds for them alone"
        ],
        advice="more rows of the rare classes, or judge by their recall on rows that are not "
        "trained on; weights and resampling show the same few rows oftener",
    )


def _yes_or_no(case: Case) -> bool:
    """Whether the targets are ones and zeros, whatever the loss is that compares with them."""
    model = case.model
    if case.build.loss.startswith("bce"):
        return True
    rate, ends = model.value("target_mean"), (model.value("target_min"), model.value("target_max"))
    spread = math.sqrt(rate * (1 - rate)) if 0 < rate < 1 else math.nan
    yes_no = ends == (0.0, 1.0) and abs(model.value("target_sd") / spread - 1) < SAME_SPREAD
    return case.build.loss in VALUE_LOSSES and yes_no


def _rare_yes(case: Case) -> Iterator[Suspect]:
    """Many yes/no answers a row (pixels, tags), hardly one of them yes, and none given."""
    model = case.model
    rate = model.value("target_mean")
    rare = min(rate, 1 - rate)
    if not _yes_or_no(case) or math.isfinite(model.value("majority_share")):
        return
    highest, lowest = model.value("out_max"), model.value("out_min")
    # Below zero they are logits: what makes probabilities of them stands behind the model.
    given = case.build.loss == "bce" or (case.build.loss in VALUE_LOSSES and lowest >= 0)
    half = 0.5 if given else 0.0
    never = highest < half if rate < 0.5 else lowest > half
    if not (0 < rare <= 1 - RULING and never):
        return
    yield Suspect(
        word="class-imbalance",
        belief=0.85,
        onset=case.start,
        explains=STILL,
        evidence=[
            f"{rare:.2%} of the answers are {'yes' if rate < 0.5 else 'no'}, and none that was "
            f"given is (outputs in {lowest:.3g}..{highest:.3g})"
        ],
        advice=f"pos_weight = {(1 - rate) / max(rate, 1e-6):.3g} in binary_cross_entropy_with_"
        "logits, or a loss that weighs the rare ones by itself (dice, focal loss); judge by recall",
    )
