"""Steps that are too large for the weights, when they are measured and when they are not."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import Case, Suspect
from deadband_monitor.rules.causes.facts import LEARNT, made_good
from deadband_monitor.rules.causes.words import rounded
from deadband_monitor.rules.known import known_max
from deadband_monitor.rules.model_past import RAISED

HEALTHY_UPDATE = 0.01
"""First-step update that repaired ten of ten learning rates; 0.003 to 0.03 is usable."""
BLOW_UP = frozenset(
    {
        "update-too-large",
        "output-collapse",
        "dead-units",
        "saturation",
        "constant-predictor",
        "vanishing-gradient",
        "exploding-gradient",
        "non-finite",
        "loss-divergence",
        "weight-divergence",
        "representation-collapse",
        "frozen-weights",
        "loss-plateau",
        "attention-collapse",
    }
)
"""What steps that are too large for the weights can bring about, whatever made them so."""
LOOK_BACK = 20
"""Steps before a break within which a rate that was raised can be its reason."""
CLIMBS = 0.9
"""Rate at three quarters of the steps over that at the last of them, below which it climbs still: a
straight rise has 0.75, a warm-up that is over 1."""
RUNAWAY = 10.0
"""Loss over that of the start, or of a constant answer, from which a run has left for good: a
catapult that comes back may pass it for a step."""
RUNAWAY_STEPS = 2
LEAP = 100.0
"""Growth of a weight that no training brings about: those that work were seen up to 10 times as
large as they began."""
CARRIED = 10.0
"""lr / (1 - momentum), by which the noise of SGD goes (Mandt et al., arXiv:1704.04289), from which
momentum is too high: 0.1 at 0.9 is 1, a one-cycle's peak of 1.5 at 0.85, which trains, is 10."""
ALIVE = 0.05
"""Dependence ratio of a layer that tells the inputs apart, as drawn."""
_VARIANCE = LAYER_COLUMN["out_variance"]

START_AGAIN = "clip the gradient norm at 1.0; start again, a ruined network does not recover"

_STUCK = ("dead-units", "saturation", "output-collapse", "loss-divergence")
"""What a rate that is too high leaves behind, the likeliest first."""

_TOLD_BY_LOSSES = frozenset({"loss-divergence", "non-finite"})


def suspects(case: Case) -> Iterator[Suspect]:
    """Learning rate too high."""
    model = case.model
    if model.large_update_step is None or made_good(case.past, model):
        yield from _killed(case)
        yield from _broke_after_rise(case)
        yield from _ran_away(case)
        yield from _carried_away(case)
        yield from _leapt(case)
        yield from _left_after_rise(case)
        yield from _lost_at_once(case)
        return
    since = _at_work_since(case)
    yield Suspect(
        word="learning-rate-too-high",
        row="learning-rate-too-high",
        onset=since,
        # An update between two samples was before the second one's forward pass.
        phase=2 if model.large_update_seen and since == model.large_update_from else 0,
        explains=BLOW_UP,
        evidence=_large_lines(case),
        advice=_lower(case),
    )


def _at_work_since(case: Case) -> int:
    """Where a rate climbs, its steps were nearly as large before one of them passed the mark.

    What stopped meanwhile, at half of that rate or more, was alive until then.
    """
    model = case.model
    # Of the steps between two samples the losses are known: the first that broke was the next one.
    broke = [flag.onset_step for flag in case.flags if flag.kind in _TOLD_BY_LOSSES]
    if broke and model.large_update_from < min(broke) <= (model.large_update_step or 0):
        return min(broke) - 1
    stuck = case.flag(*_STUCK)
    if stuck is None or not case.start < stuck.onset_step < model.large_update_from:
        return model.large_update_from
    then = model.rates.at(stuck.onset_step)
    climbs = then < model.large_update_lr <= RAISED * then
    return stuck.onset_step if climbs else model.large_update_from


def _killed(case: Case) -> Iterator[Suspect]:
    """Units that served and then died or stuck, or answers that were lost, at a raised rate.

    No single step need be large: at a rate that climbs, the net bounces ever wider until its units
    are thrown off, or its loss leaves for good. Units that are dead by their start never learnt
    anything.
    """
    model = case.model
    stuck = case.flag(*_STUCK)
    if stuck is None:
        return
    before, what = model.skill.best_before(stuck.onset_step), "skill"
    if before is None or before[1] < LEARNT:
        # Thrown from side to side, answers that tell the labels may cost as much as a constant one.
        before, what = model.information.best_before(stuck.onset_step), "information"
        if before is None or model.peak_information < LEARNT:
            return
    step, known = before
    now = model.rates.at(stuck.onset_step)
    rates = [(step, known, model.rates.at(step))]
    if model.rates.at(stuck.onset_step * 3 // 4) < CLIMBS * now and what == "skill":
        # What was best may be shortly before the end, where the rate never ceased to climb.
        learnt = model.skill.first_from(LEARNT)
        rates += [] if learnt is None else [(learnt, LEARNT, model.rates.at(learnt))]
    raised = next((each for each in rates if now > RAISED * each[2] > 0), None)
    if raised is None:
        return
    step, known, then = raised
    yield _too_high(
        step + 1,
        f"the {what} was {known:.2g} at step {step}, at a learning rate of {then:.2g}; at step "
        f"{stuck.onset_step}, when {stuck.layer or 'the output'} stopped, it was {now:.2g}",
        advice=f"lr {now:.2g} -> {rounded(then)}, that of step {step}, at the most: check the "
        f"schedule; reload a checkpoint from before step {stuck.onset_step}",
    )


def _broke_after_rise(case: Case) -> Iterator[Suspect]:
    """The rate was raised between the last sound samples and the first broken one.

    Where samples are far apart, the updates that broke the weights were never measured.
    """
    model = case.model
    broken = model.broken.step
    if broken is None or model.broken.sound_outside or case.flag("non-finite") is None:
        return
    before = model.rates.at(broken - max(LOOK_BACK, 2 * case.past.sample_interval))
    now = model.rates.at(broken)
    if not now > RAISED * before > 0:
        return
    onset = max(case.start, broken - case.past.sample_interval)
    yield _raised(case, before, now, onset, f"before the weights broke at step {broken}")


def ran_away(case: Case) -> int | None:
    """Since when the loss stood far above its start before something was not finite.

    Steps that overshoot make the next ones longer; what overflows by itself, an exponential or a
    division, does so in one step, from a loss like any other.
    """
    broken = case.model.broken.step
    since, _ = _far_above_start(case)
    if broken is None or case.layout.several_models:
        return None
    return since if since is not None and broken - since >= RUNAWAY_STEPS else None


def _far_above_start(case: Case) -> tuple[int | None, float]:
    """Since when the loss stands so far above its start for good, and above what."""
    level = RUNAWAY * known_max(case.past.loss.first, case.model.latest("loss_constant"))
    return (case.past.loss.above_since(level) if level > 0 else None), level


def _ran_away(case: Case) -> Iterator[Suspect]:
    """The steps that led there may lie between two samples, or each be less than large."""
    since = ran_away(case)
    if since is None or case.flag("non-finite") is None or case.model.broken.sound_outside:
        return
    loss = case.past.loss
    momentum = max((group.momentum for group in case.layout.table.optimizers), default=0.0)
    yield _too_high(
        max(case.start, since - 1),
        f"the loss went from {loss.first:.3g} to {loss.highest:.3g} in the "
        f"{(case.model.broken.step or since) - since} steps before the first value that is not "
        "finite: each step made the next one larger",
        belief=0.8,
        phase=2,
        advice=_a_tenth(case)
        + (
            f"; with momentum {momentum:g} a step goes {1 / (1 - momentum):.0f} times as far as "
            "the rate says"
            if 0.5 <= momentum < 1
            else ""
        )
        + f"; {START_AGAIN}",
    )


def _leapt(case: Case) -> Iterator[Suspect]:
    """Weights that leapt, and the loss with them, though no step was measured that did it.

    It lies between two samples, or is the sum of many: a step that makes the next one as large, as
    values do that are drawn to their own later values. What is left behind may be silent, units
    shut and gradients gone, and the loss that of a constant answer again.
    """
    flag = min(case.flags, key=lambda each: each.onset_step)
    interval, model, loss = case.past.sample_interval, case.model, case.past.loss
    _, level = _far_above_start(case)
    ruined = case.facts.grown > LEAP and loss.highest > level > 0
    if model.broken.step is not None or not ruined:
        return
    by = f"the steps that did it lie between two samples, {interval} steps apart"
    if interval <= 1:
        by = f"by steps of up to {model.peak_update:.2g} of a weight, one after the other"
    yield _too_high(
        max(case.start, flag.onset_step - interval),
        f"a weight is {case.facts.grown:.2g} times as large as it began, and the loss has been "
        f"{loss.highest:.3g} ({loss.first:.3g} at first): {by}",
        belief=0.8 if interval > 1 else 0.6,
        # Gradients that pile up, or inputs of another scale, make such steps too.
        root=False,
        advice=f"{_a_tenth(case)}; a loss that is a sum over the batch makes steps as many times "
        f"as long: take its mean; {START_AGAIN}",
    )


def _carried_away(case: Case) -> Iterator[Suspect]:
    """Momentum adds up steps none of which is large by itself, and the weights swing ever wider."""
    flag = case.flag("weight-divergence", "loss-divergence")
    group = max(case.layout.table.optimizers, key=lambda each: each.momentum, default=None)
    if flag is None or group is None or group.optimizer != "SGD" or not group.momentum < 1:
        return
    far = group.lr / (1 - group.momentum)
    if not far > CARRIED:
        return
    yield _too_high(
        flag.onset_step,
        f"momentum {group.momentum:g} makes a gradient act {1 / (1 - group.momentum):.0f} "
        f"times, so that lr {group.lr:g} goes as far as {far:.3g} without",
        advice=f"momentum {group.momentum:g} -> 0.9, or lr {group.lr:g} -> "
        f"{rounded(1 - group.momentum)}; start again, a ruined network does not recover",
    )


def _left_after_rise(case: Case) -> Iterator[Suspect]:
    """The loss left for good, and all it kept, when the rate was raised between two samples."""
    model, flag = case.model, case.flag("loss-divergence")
    since, level = _far_above_start(case)
    if flag is None or since is None or case.layout.several_models:
        return
    interval = case.past.sample_interval
    before, now = (model.rates.at(since + way * max(LOOK_BACK, 2 * interval)) for way in (-1, 1))
    if not now > RAISED * before > 0:
        return
    yield _raised(
        case,
        before,
        now,
        flag.onset_step,
        f"about step {since}, from which the loss stood above {level:.3g}",
    )


def _lost_at_once(case: Case) -> Iterator[Suspect]:
    """What told the inputs apart as drawn no longer did after some steps of ten times the usual."""
    model, layout = case.model, case.layout
    lost = case.flag("output-collapse", "representation-collapse")
    if lost is None or layout.several_models:
        return  # a generator that has lost its modes has another reason
    if not case.start < lost.onset_step <= case.start + LOOK_BACK:
        return
    row = layout.row_of.get((model.name, lost.layer or case.last_layer), -1)
    alive = row >= 0 and case.past.first[row, _VARIANCE] > ALIVE
    if case.build.late or not alive or not model.peak_update > 10 * HEALTHY_UPDATE:
        return
    yield _too_high(
        case.start,
        f"{lost.layer or 'the output'} told the inputs apart at the first sample, and from step "
        f"{lost.onset_step} no more: a step changed a weight by up to "
        f"{model.peak_update:.2g} of itself, healthy starts near {HEALTHY_UPDATE:g}",
        belief=0.7,
        phase=2,
        advice=f"{_a_tenth(case)} with a warm-up over the first hundred steps; {START_AGAIN}",
    )


def _raised(case: Case, before: float, now: float, onset: int, when: str) -> Suspect:
    return _too_high(
        onset,
        f"the learning rate went from {before:g} to {now:g} {when}",
        advice=f"lr {now:g} -> {before:g}, as it was: check the schedule, reload a checkpoint from "
        f"before step {max(1, onset)}; clip the gradient norm at 1.0",
    )


def _too_high(
    onset: int,
    line: str,
    *,
    advice: str,
    belief: float = 0.85,
    phase: int = 0,
    root: bool = True,
) -> Suspect:
    """Steps that were not measured, by what they did."""
    return Suspect(
        word="learning-rate-too-high",
        belief=belief,
        onset=onset,
        phase=phase,
        root=root,
        explains=BLOW_UP,
        evidence=[line],
        advice=advice,
    )


def _a_tenth(case: Case) -> str:
    lr = case.model.latest("lr")
    return f"lr {lr:g} -> about {rounded(lr / 10)}" if lr > 0 else "a tenth of the rate"


def _lower(case: Case) -> str:
    model = case.model
    ratio, lr = model.large_update, model.large_update_lr
    scale = HEALTHY_UPDATE / ratio
    start = (model.large_update_step or 0) <= 10
    updates = "the first updates were" if start else "one step's update was"
    if not start and model.usual_lr > 0 and lr > 2 * model.usual_lr:
        # What trained until then is known to be right; a rate worked out from one update is not.
        return (
            f"lr {lr:g} -> {model.usual_lr:g}, as it was until step {model.large_update_step}: "
            f"check the schedule and reload a checkpoint from before it; {updates} {ratio:.2g} of "
            f"the weights, healthy starts near {HEALTHY_UPDATE:g}"
        )
    if math.isfinite(lr) and lr > 0:
        new = lr * scale
        text = (
            f"lr {lr:g} -> about {rounded(new)} ({rounded(0.3 * new)}-{rounded(3 * new)}): "
            f"{updates} {ratio:.2g} of the weights, healthy starts near {HEALTHY_UPDATE:g}"
        )
    else:
        text = (
            f"divide the learning rate by about {rounded(1 / scale)}: {updates} {ratio:.2g} of "
            f"the weights, healthy starts near {HEALTHY_UPDATE:g}"
        )
    if start:
        return text + "; start again, a ruined network does not recover"
    return text + (
        f"; reload a checkpoint from before step {model.large_update_step}, check the schedule, "
        "clip the gradient norm at 1.0"
    )


def _large_lines(case: Case) -> list[str]:
    model, loss = case.model, case.past.loss
    lines = [
        f"step {model.large_update_step}: one update changed a weight by "
        f"{model.large_update:.2g} of itself (peak {model.peak_update:.2g}; above 0.3 is large, "
        "healthy starts near 0.01)"
    ]
    if case.facts.grown >= 3:
        lines.append(f"weights grew {case.facts.grown:.3g}-fold")
    if case.past.loss_was_high:
        lines.append(
            f"the loss went from {loss.first:.3g} to {loss.highest:.3g}, above a constant answer's"
        )
    return lines
