"""Regularisation that is stronger than the data: weights, or signals, driven to zero."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import Case, Suspect, Tier
from deadband_monitor.rules.causes.high_rate import BLOW_UP
from deadband_monitor.rules.causes.words import rounded
from deadband_monitor.rules.clipping import held_back
from deadband_monitor.rules.misfit import HELD_WITHIN
from deadband_monitor.rules.model_past import RAISED
from deadband_monitor.rules.weights import GONE

STARVED = frozenset(
    {
        "weight-collapse",
        "output-collapse",
        "constant-predictor",
        "vanishing-gradient",
        "representation-collapse",
        "loss-plateau",
        # Weights that are forgotten within some steps are the last gradients, and those are alike.
        "duplicate-units",
    }
)
"""What too much of it can bring about."""

PULL = 0.5
"""Cosine of updates and minus the weights from which most of a step only shrinks them."""
KEPT, KEPT_STEPS = 0.98, 50
"""Share of their size that weights have after so many steps, where the pull to zero is no rule over
them: nothing else moves them, a gradient that was clipped away or never came, and decay is what is
left of the step."""
SOON_STEPS, SOON_SAMPLES = 20, 2
"""Steps within which momentum has turned to what a penalty asks for; so many samples, where they
lie farther apart."""
DROPPED = 0.8
"""Dropout above it leaves a unit fewer than one input in five; 0.5 is the usual most."""
OUTWEIGHS = 5.0
"""Times the loss function's own value, from which what is added to it is what is trained."""
GONE_STEPS = 20.0
"""Half-life below which no gradient can keep a weight: each step takes 3 % and more of it."""
DRAWN, SHRUNK = 0.3, 0.9
"""Cosine of updates and minus the weights, and share of their size that is left of these, which are
worth saying: without a penalty the one is -0.3 to 0.2, and weights grow."""
LESS = 0.5
"""Share of a penalty that a loss must lie below to be one without it."""
HALF_LIFE_STEPS = 200
"""Half-life of a weight without gradients, ln 2 / (lr x decay), below which decay rules the run:
AdamW at 1e-3 with 0.1 has 7000 steps, SGD at 0.1 with 5e-4 14 000."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Over-regularisation: by decay or a penalty, seen in the weights, or by dropout."""
    shrinking = case.flag("weight-collapse")
    if (stronger := _decay_raised(case) or _added_late(case)) is not None:
        yield stronger
    elif (begun := _begun(case)) is not None:
        yield begun
    elif _said_nothing_before(case):
        pass
    elif shrinking is not None:
        yield Suspect(
            word="over-regularisation",
            row="over-regularisation",
            onset=shrinking.onset_step,
            phase=2,
            explains=STARVED,
            evidence=[
                "weight matrices shrink until nothing is left of them"
                if shrinking.evidence.get("weight_growth", 1.0) < GONE
                else "all weight matrices shrink together",
                *_lines(case),
            ],
            advice=_weaken(case),
        )
    elif _silences(case):
        yield Suspect(
            word="over-regularisation",
            belief=0.85,
            onset=case.start,
            explains=STARVED | {"dead-units"},
            evidence=_lines(case),
            advice="divide what is added to the loss by 100: units that are silent cost least",
        )
    elif _pulls(case) or (_rules(case) and _shrunk(case) < SHRUNK):
        both = case.model.pull > PULL and _shrunk(case) < SHRUNK
        model = case.model
        raised = model.large_update_lr > RAISED * model.usual_lr > 0
        # Decay works by the rate: where a rise of it made it strong, it began with that rise.
        since = model.large_update_step if raised else None
        yield Suspect(
            word="over-regularisation",
            belief=0.9 if both else 0.75,
            onset=case.start if since is None else since,
            phase=2,
            explains=STARVED,
            evidence=_lines(case),
            advice=_weaken(case),
        )
    if case.model.objective.way == HELD_WITHIN:
        yield Suspect(
            word="over-regularisation",
            belief=0.93,
            onset=case.start,
            phase=2,
            explains=STARVED,
            evidence=[
                "the gradient at the outputs is that of the loss and of a penalty on their "
                "squares, so strong that no logit gets beyond 1: all classes stay about as likely"
            ],
            advice="divide what is added to the loss for large logits by 100: 1e-4 of their "
            "squares is usual",
        )
    if case.build.dropout >= DROPPED:
        yield _dropped(case)


def _dropped(case: Case) -> Suspect:
    dropout, rise = case.build.dropout, case.past.settings[case.model.name].dropout
    lines = [
        f"dropout {dropout:g}: of {1 / (1 - dropout):.0f} units one is left"
        if dropout < 1
        else "dropout 1: no unit is left"
    ]
    if rise.step is not None:
        lines.append(
            f"it was {rise.before:g} until it was raised, at step {rise.step} or soon after"
        )
    strong = dropout >= 0.9 or rise.step is not None
    return Suspect(
        word="over-regularisation",
        belief=0.9 if dropout >= 0.9 else 0.75,
        onset=case.start if rise.step is None else rise.step,
        # What is left is scaled up by as much: with one unit in twenty the steps are ruinous. What
        # was learnt with more units is worth little with so few.
        explains=STARVED | (BLOW_UP if strong else frozenset()),
        evidence=lines,
        advice=f"dropout {dropout:g} -> {rise.before:g}, as it was"
        if rise.step is not None
        else f"dropout {dropout:g} -> 0.5 or less (0.1-0.3 in narrow layers)",
    )


def _decay_raised(case: Case) -> Suspect | None:
    """Weight decay was raised in mid-run, to where it decides what becomes of the weights."""
    rise, half = case.past.settings[case.model.name].decay, _half_life(case)
    if rise.step is None or half >= HALF_LIFE_STEPS:
        return None
    return Suspect(
        word="over-regularisation",
        tier=Tier.EXACT if half < GONE_STEPS else Tier.PATTERN,
        belief=0.95 if half < GONE_STEPS else 0.9,
        onset=rise.step,
        explains=STARVED | BLOW_UP,
        evidence=[
            f"weight_decay went from {rise.before:g} to {rise.now:g} at step {rise.step} or soon "
            "after",
            *_lines(case),
        ],
        advice=f"weight_decay {rise.now:g} -> {rise.before:g}, as it was",
    )


def _said_nothing_before(case: Case) -> bool:
    """The output was the same for every input before the first update, by weights that were there.

    No decay had touched them yet. Of what gets no gradient for its inputs it is what is left.
    """
    flag = case.flag("output-collapse")
    if flag is None or flag.onset_step > 1 or flag.evidence.get("out_variance") != 0:
        return False
    row = case.layout.row_of.get((case.model.name, case.last_layer), -1)
    return row >= 0 and bool(case.past.first[row, LAYER_COLUMN["weight_rms"]] > 0)


def _added_late(case: Case) -> Suspect | None:
    """A penalty that outweighs the loss came to it in mid-run: the loss rose by it, and then all.

    It was not there when the loss began, for that was less than the penalty alone.
    """
    loss, model = case.past.loss, case.model
    jumped, large = loss.jumped, model.large_update_step
    added = model.start("further_loss")
    if jumped is None or case.layout.several_models or (large is not None and large < jumped):
        return None
    if not (_added(case) > OUTWEIGHS and loss.first < LESS * added):
        return None
    if not (model.pull > DRAWN or _shrunk(case) < SHRUNK):
        return None  # another task, perhaps
    return Suspect(
        word="over-regularisation",
        tier=Tier.EXACT,
        belief=0.93,
        onset=jumped,
        explains=STARVED | BLOW_UP,
        evidence=[
            f"the loss went from {loss.best:.3g} up at step {jumped}, and {added:.3g} of it is "
            f"what was added to {case.build.loss}'s own value",
            *_lines(case),
        ],
        advice="look at what is added to the loss from that step on: a mean of the squares in "
        "place of their sum, or a factor of a thousandth",
    )


def _pulls(case: Case) -> bool:
    """Most of what a step does is to shrink the weights, and they do shrink.

    Of a gradient that is clipped to next to nothing decay is what is left, whatever its strength.
    """
    if held_back(case.past, case.model):
        return False
    kept = _shrunk(case) > KEPT and case.past.step - case.start >= KEPT_STEPS
    return case.model.pull > PULL and not kept


def _silences(case: Case) -> bool:
    """A penalty on what units say, that outweighs the loss: they fall silent one after the other.

    None of them was dead at the start, and no large step killed them.
    """
    dead = case.flag("dead-units")
    if dead is None or dead.onset_step <= case.start + SOON_STEPS or case.layout.several_models:
        return False
    return case.model.large_update_step is None and _added(case) > OUTWEIGHS


def _begun(case: Case) -> Suspect | None:
    """A penalty that sets in: the loss jumps by what is added, and all steps turn to zero weights.

    Rows or labels that change make a loss jump too, and no step towards zero; a step that is too
    large is measured. Of two that play against each other the loss is not this one's alone. Of
    units that died with the jump decay is all that is left.
    """
    if case.layout.several_models:
        return None
    loss, model = case.past.loss, case.model
    jumped, pulled, large = loss.jumped, model.pulled_since, model.large_update_step
    if jumped is None or pulled is None or (large is not None and large <= pulled):
        return None
    dead = case.flag("dead-units")
    if dead is not None and dead.onset_step <= jumped + 1:
        return None
    samples = case.past.samples_at(pulled) - case.past.samples_at(jumped)
    if pulled < jumped or (pulled - jumped > SOON_STEPS and samples > SOON_SAMPLES):
        return None
    return Suspect(
        word="over-regularisation",
        belief=0.9,
        onset=jumped,
        explains=STARVED | {"loss-divergence", "exploding-gradient"},
        evidence=[
            f"the loss went from {loss.best:.3g} up at step {jumped}, and from step {pulled} on "
            "nearly all of each step is towards zero weights, in most matrices at once",
            *_lines(case),
        ],
        advice="look at what is added to the loss from that step on: a mean of the squares in "
        "place of their sum, or a factor of a thousandth",
    )


def _decay(case: Case) -> tuple[float, float, str]:
    """Strongest weight decay, its learning rate, and the optimiser."""
    groups = case.layout.table.optimizers
    if not groups:
        return 0.0, 0.0, ""
    group = max(groups, key=lambda group: group.weight_decay)
    lr = case.model.value("lr") if len(groups) == 1 else group.lr
    return group.weight_decay, lr if lr > 0 else group.lr, group.optimizer


def _half_life(case: Case) -> float:
    """Steps in which decay alone halves a weight; infinite where that is not how it works."""
    decay, lr, optimizer = _decay(case)
    if not decay * lr > 0 or optimizer in {"Adam", "RMSprop", "Adagrad", "Adadelta", "NAdam"}:
        return math.inf  # divided by the gradient's size, decay pulls by the step, not by a share
    return math.log(2) / (decay * lr)


def _rules(case: Case) -> bool:
    """Decay, or what is added to the loss, decides where the weights go."""
    return _half_life(case) < HALF_LIFE_STEPS or _added(case) > OUTWEIGHS


def _added(case: Case) -> float:
    """What was added to the loss function's own value, over that, at the start; NaN where nothing.

    A penalty that rules is what training takes away first: the first loss of all may lie far above
    those by which the share of each was told. What a constant answer costs stays the same.
    """
    added, skill = case.model.start("further_loss"), case.model.value("skill")
    own = case.past.loss.fresh - case.model.latest("further_loss")
    constant = own / (1 - skill) if skill < 1 else math.nan
    if not constant > 0:
        constant = case.past.loss.first - added
    return added / constant if constant > 0 else math.nan


def _shrunk(case: Case) -> float:
    """Median growth of the weight matrices."""
    layout, table = case.layout, case.past.lowest
    rows = layout.rows(case.model.name)
    rows = rows[(layout.weights & layout.learns)[rows]]
    growth = table[rows, LAYER_COLUMN["weight_growth"]]
    growth = growth[np.isfinite(growth)]
    return float(np.median(growth)) if len(growth) else 1.0


def _lines(case: Case) -> list[str]:
    decay, lr, _ = _decay(case)
    lines = []
    if decay > 0:
        lines.append(f"weight_decay {decay:g} at lr {lr:g}")
        if math.isfinite(_half_life(case)):
            lines[-1] += f": decay alone halves a weight in {_half_life(case):.0f} steps"
    if _added(case) > OUTWEIGHS:
        lines.append(f"what is added to the loss was {_added(case):.2g} times the loss at first")
    if case.model.pull > DRAWN:
        lines.append(f"{case.model.pull:.0%} of the direction of a step is towards zero weights")
    if _shrunk(case) < SHRUNK:
        lines.append(f"the weights shrank to {_shrunk(case):.2g} of their start")
    return lines


def _weaken(case: Case) -> str:
    decay, _, _ = _decay(case)
    if decay > 0:
        text = f"weight_decay {decay:g} -> {decay / 10:g} or less"
        half = _half_life(case)
        if math.isfinite(half):
            text += f": half-life of a weight is {rounded(half)} steps now, thousands are usual"
        return text
    return "divide the L1/L2 penalty by 10 until the weights stop shrinking"
