"""Learning rates: steps that are too large for the weights, or too small to get anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import Case, Suspect, Tier
from deadband_monitor.rules.causes.words import rounded
from deadband_monitor.rules.known import known_max
from deadband_monitor.rules.misfit import OF_SOFTMAX
from deadband_monitor.rules.model_past import RAISED, SMALL_UPDATE
from deadband_monitor.rules.plateau import NEIGHBOURS_KNOW

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


UNMOVED = 0.03
"""Largest way of a hidden weight from where it began, as a share of itself, after hundreds of
steps: an autoencoder of sigmoids under SGD at 0.05 came to 0.02 in 1400 steps and gave the mean,
under Adam it learns; networks that learn are past 0.1 within 300."""
CLIPPED_UPDATE = HEALTHY_UPDATE / 10
"""Largest update of a run whose gradients are clipped to next to nothing; clipped to what is usual,
at 1.0, its updates are as large as any."""
SAME_NORM = 0.04
"""Decades by which a gradient norm scatters that is cut to one length: 0.02 where only a part of it
was measured. In 169 healthy runs it was 0.12 in the middle, in one of fifteen below this."""
UNMOVED_FROM = 150
"""Steps from which it is asked. Before step 300 the way is to be as short for the steps so far:
`SMALL_UPDATE` at each. Adagrad's first step may be longer, those after it are ever shorter."""

UNDONE = 2.0
"""Way from the start, in steps, of weights that are written back after each."""
UNDONE_STEPS = 100
STRAIGHT = 0.5
"""Cosine of consecutive steps from which they do not cancel each other: n of them whose directions
are forgotten at that pace go sqrt(n (1 + c) / (1 - c)) steps far, by chance alone."""
STRAIGHTEST = 0.9
"""As far as that is counted: momentum swings to and fro in valleys that its steps go along."""
IN_PART_STEPS = 300
SHORTFALL = 0.1
"""Share of that way which tells of weights that are written back in part: an average that is copied
into the model after each step (decay 0.99) left 0.07 of it after 900 steps."""

LEARNT = 0.3
"""Skill from which units have served."""
LOOK_BACK = 20
"""Steps before a break within which a rate that was raised can be its reason."""
RUNAWAY = 10.0
"""Loss over that of the start, or of a constant answer, from which a run has left for good: a
catapult that comes back may pass it for a step."""
RUNAWAY_STEPS = 2
CARRIED = 10.0
"""lr / (1 - momentum), by which the noise of SGD goes (Mandt et al., arXiv:1704.04289), from which
momentum is too high: 0.1 at 0.9 is 1, a one-cycle's peak of 1.5 at 0.85, which trains, is 10."""

STUCK = frozenset({"constant-predictor", "frozen-weights", "loss-plateau"})
"""What steps that are too small can bring about."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Learning rate too high, too low."""
    model = case.model
    if "tiny_updates" in case.facts.seen:
        reason, advice = _why_tiny(case)
        # A squared error of a softmax over many classes has faint gradients by itself.
        faint = model.objective.way == OF_SOFTMAX
        yield Suspect(
            word="learning-rate-too-low",
            row="" if faint else "learning-rate-too-low",
            belief=0.5 if faint else 0.0,
            onset=case.start,
            phase=2,
            explains=STUCK,
            evidence=[
                f"the largest update so far was {model.peak_update:.1e} of the weights, healthy "
                f"starts near {HEALTHY_UPDATE:g}",
                *([reason] if reason else []),
            ],
            advice=advice,
        )
    elif math.isfinite(norm := clipped_to(case)) and model.peak_update < CLIPPED_UPDATE:
        reason, advice = _of_clipping(case, norm)
        yield Suspect(
            word="learning-rate-too-low",
            belief=0.85,
            onset=case.start,
            phase=2,
            explains=STUCK,
            evidence=[
                f"the largest update so far was {model.peak_update:.1e} of the weights, healthy "
                f"starts near {HEALTHY_UPDATE:g}",
                reason,
            ],
            advice=advice,
        )
    elif model.run_out_step is not None and not case.past.skill(model.name) >= 0.5:
        lr = model.value("lr")
        yield Suspect(
            word="learning-rate-too-low",
            # By value: steps of a hundredth of what they were do not train. An exact zero beside
            # weights that stand still is proof.
            tier=Tier.EXACT if lr == 0 and case.flag("frozen-weights") else Tier.PATTERN,
            belief=0.97 if lr == 0 and case.flag("frozen-weights") else 0.85,
            onset=model.run_out_step,
            explains=STUCK,
            evidence=[
                f"the learning rate fell from {model.peak_lr:g} below a hundredth of it at step "
                f"{model.run_out_step} and is {lr:g} now, at a skill of "
                f"{case.past.skill(model.name):.2g}"
            ],
            advice=f"let the schedule run over all steps: it ended at step {model.run_out_step}; a "
            "scheduler that counts epochs belongs behind the epoch, not behind each batch "
            f"(T_max, step_size in the unit of scheduler.step); go on from lr {model.peak_lr:g}",
        )
    elif _undone(case):
        pass  # `plumbing` speaks of it
    elif _unmoved(case) < min(UNMOVED, SMALL_UPDATE * case.past.step) and (
        case.past.step >= UNMOVED_FROM
    ):
        yield Suspect(
            word="learning-rate-too-low",
            belief=0.6,
            onset=case.start,
            # What stops units makes steps small; where none is stopped, the rate was there first.
            phase=2 if case.facts.seen else 0,
            explains=STUCK,
            evidence=[
                f"after {case.past.step} steps the hidden weights lie {_unmoved(case):.1%} of "
                "themselves from where they began: only the last layer was trained"
            ],
            advice="Adam at 1e-3, whose steps are of a size in all layers, or a rate ten to a "
            "hundred times as high; ReLU or tanh for sigmoid let more of the gradient through",
        )
    if model.large_update_step is None:
        yield from _killed(case)
        yield from _broke_after_rise(case)
        yield from _ran_away(case)
        yield from _carried_away(case)
        yield from _left_after_rise(case)
    else:
        yield Suspect(
            word="learning-rate-too-high",
            row="learning-rate-too-high",
            onset=model.large_update_from,
            # An update between two samples was before the second one's forward pass.
            phase=2 if model.large_update_seen else 0,
            explains=BLOW_UP,
            evidence=_large_lines(case),
            advice=_lower(case),
        )


def _unmoved(case: Case) -> float:
    """The furthest that any hidden weight is from its start; infinite where that says nothing.

    Where neighbours do not tell the answer, there may be nothing to move for; where they cannot be
    asked, a loss that still sinks towards a constant answer's says that there is.
    """
    layout, name = case.layout, case.model.name
    rows = layout.rows(name)
    rows = rows[(layout.matrix & layout.learns & ~layout.head)[rows]]
    drift = case.past.newest[rows, LAYER_COLUMN["weight_drift"]]
    drift = drift[np.isfinite(drift)]
    agreement = case.model.latest("neighbour_agreement")
    on_its_way = case.past.skill(name) < 0 and case.past.loss.falling is True
    tells = agreement >= NEIGHBOURS_KNOW or (math.isnan(agreement) and on_its_way)
    return float(drift.max()) if len(drift) and tells else math.inf


def _undone(case: Case) -> bool:
    """Every step moves the weights, and after hundreds they lie one step from where they began."""
    return undone(case) is not None


def undone(case: Case) -> tuple[float, float] | None:
    """How far a step goes and how far the weights got, where that is the same after many steps.

    Steps that cancel each other by chance leave their number's root: after 100 steps ten of them.
    """
    layout, name = case.layout, case.model.name
    rows = layout.rows(name)
    rows = rows[(layout.matrix & layout.learns)[rows]]
    drift = case.past.newest[rows, LAYER_COLUMN["weight_drift"]]
    step = case.past.newest[rows, LAYER_COLUMN["update_ratio"]]
    known = np.isfinite(drift) & (step > 0)
    if known.sum() < 2 or case.past.step - case.start < UNDONE_STEPS:
        return None
    way = UNDONE * step[known]
    turns = case.past.newest[rows, LAYER_COLUMN["update_cosine"]][known]
    steps = case.past.step - case.start
    if steps >= IN_PART_STEPS and (turns > STRAIGHT).all():
        # Steps that have only just become as large have not gone far yet.
        usual = np.minimum(step, case.past.first[rows, LAYER_COLUMN["update_ratio"]])[known]
        walked = np.sqrt(steps * (1 + turns) / (1 - np.minimum(turns, STRAIGHTEST)))
        way = np.fmax(way, SHORTFALL * walked * usual)
    if not bool((drift[known] <= way).all()):
        return None
    return float(np.median(step[known])), float(np.median(drift[known]))


def _killed(case: Case) -> Iterator[Suspect]:
    """Units that served and then died or stuck, or answers that were lost, at a raised rate.

    No single step need be large: at a rate that climbs, the net bounces ever wider until its units
    are thrown off. Units that are dead by their start never learnt anything.
    """
    model = case.model
    stuck = case.flag("dead-units") or case.flag("saturation") or case.flag("output-collapse")
    if stuck is None:
        return
    before = model.skill.best_before(stuck.onset_step)
    if before is None or before[1] < LEARNT:
        return
    step, skill = before
    then = model.rates.at(step)
    now = model.rates.at(stuck.onset_step)
    if not now > RAISED * then > 0:
        return
    yield Suspect(
        word="learning-rate-too-high",
        belief=0.85,
        onset=step + 1,
        explains=BLOW_UP,
        evidence=[
            f"the skill was {skill:.2g} at step {step}, at a learning rate of {then:.2g}; at step "
            f"{stuck.onset_step}, when {stuck.layer or 'the output'} stopped, it was {now:.2g}"
        ],
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
    onset = broken - case.past.sample_interval
    yield Suspect(
        word="learning-rate-too-high",
        belief=0.85,
        onset=max(case.start, onset),
        explains=BLOW_UP,
        evidence=[
            f"the learning rate went from {before:g} to {now:g} before the weights broke at step "
            f"{broken}"
        ],
        advice=f"lr {now:g} -> {before:g}, as it was: check the schedule, reload a checkpoint from "
        f"before step {max(1, onset)}; clip the gradient norm at 1.0",
    )


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
    loss, lr = case.past.loss, case.model.latest("lr")
    momentum = max((group.momentum for group in case.layout.table.optimizers), default=0.0)
    yield Suspect(
        word="learning-rate-too-high",
        belief=0.8,
        onset=max(case.start, since - 1),
        phase=2,
        explains=BLOW_UP,
        evidence=[
            f"the loss went from {loss.first:.3g} to {loss.highest:.3g} in the "
            f"{(case.model.broken.step or since) - since} steps before the first value that is not "
            "finite: each step made the next one larger"
        ],
        advice=(f"lr {lr:g} -> about {rounded(lr / 10)}" if lr > 0 else "a tenth of the rate")
        + (
            f"; with momentum {momentum:g} a step goes {1 / (1 - momentum):.0f} times as far as "
            "the rate says"
            if 0.5 <= momentum < 1
            else ""
        )
        + "; clip the gradient norm at 1.0; start again, a ruined network does not recover",
    )


def _carried_away(case: Case) -> Iterator[Suspect]:
    """Momentum adds up steps none of which is large by itself, and the weights swing ever wider."""
    flag = case.flag("weight-divergence") or case.flag("loss-divergence")
    group = max(case.layout.table.optimizers, key=lambda each: each.momentum, default=None)
    if flag is None or group is None or group.optimizer != "SGD" or not group.momentum < 1:
        return
    far = group.lr / (1 - group.momentum)
    if not far > CARRIED:
        return
    yield Suspect(
        word="learning-rate-too-high",
        belief=0.85,
        onset=flag.onset_step,
        explains=BLOW_UP,
        evidence=[
            f"momentum {group.momentum:g} makes a gradient act {1 / (1 - group.momentum):.0f} "
            f"times, so that lr {group.lr:g} goes as far as {far:.3g} without"
        ],
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
    yield Suspect(
        word="learning-rate-too-high",
        belief=0.85,
        onset=flag.onset_step,
        explains=BLOW_UP,
        evidence=[
            f"the learning rate went from {before:g} to {now:g} about step {since}, from which the "
            f"loss stood above {level:.3g}"
        ],
        advice=f"lr {now:g} -> {before:g}, as it was: check the schedule, reload a checkpoint from "
        f"before step {flag.onset_step}; clip the gradient norm at 1.0",
    )


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


def _why_tiny(case: Case) -> tuple[str, str]:
    """What makes the updates so small, and what to change: the rate is not always to blame."""
    model = case.model
    group = next(iter(case.layout.table.optimizers), None)
    grads = case.past.highest[:, LAYER_COLUMN["grad_rms"]]
    grads = grads[case.layout.matrix & np.isfinite(grads)]
    largest = float(grads.max()) if len(grads) else math.nan
    if group is not None and group.eps > 10 * largest > 0:
        return (
            f"eps is {group.eps:g}, the largest gradient {largest:.1e}: the division by "
            "sqrt(v) + eps takes the step away",
            f"eps {group.eps:g} -> 1e-8",
        )
    norm = clipped_to(case)
    if math.isfinite(norm):
        return _of_clipping(case, norm)
    if model.lr_climbs:
        return (
            f"the learning rate still rises, at {model.value('lr'):.1e} after {case.past.step} "
            "steps",
            "end the warm-up after a few hundred to a few thousand steps: at this rate of rise the "
            f"updates need {_steps_to_go(case)} steps to reach {HEALTHY_UPDATE:g} of the weights",
        )
    return "", _raise(case)


def clipped_to(case: Case) -> float:
    """A small norm that the gradient has at every step, where it makes the steps; or NaN.

    Tables give gradients to the rows that were looked up alone, of which not all are measured.
    """
    norms = np.log10([norm for norm in case.model.norms if norm > 0])
    group = next(iter(case.layout.table.optimizers), None)
    rescales = group is not None and any(group.betas)
    if len(norms) >= 10 and norms.std() < SAME_NORM and norms.mean() < -2 and not rescales:
        return 10 ** float(norms.mean())
    return math.nan


def _of_clipping(case: Case, norm: float) -> tuple[str, str]:
    new = norm * HEALTHY_UPDATE / case.model.peak_update
    return (
        f"the gradient norm is {norm:.1e} at every step: it is clipped",
        f"max_norm {norm:.1g} -> 1.0 (about {rounded(min(new, 10.0))} or more)",
    )


def _steps_to_go(case: Case) -> str:
    return rounded(case.past.step * HEALTHY_UPDATE / case.model.peak_update)


def _raise(case: Case) -> str:
    scale, lr = HEALTHY_UPDATE / case.model.peak_update, case.model.value("lr")
    if lr > 0:
        new = lr * scale
        return f"lr {lr:g} -> about {rounded(new)} ({rounded(0.3 * new)}-{rounded(3 * new)})"
    return f"multiply the learning rate by about {rounded(scale)}"
