"""Is a loss far above a constant answer's on its way down, or will it stay there for long?

Part of `constant-predictor`. Every loss is known, so the losses tell, and not the samples.
"""

from __future__ import annotations

import math
from statistics import median

from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.misfit import CLASS_LOSSES, VALUE_LOSSES
from deadband_monitor.rules.past import ModelPast, Past

ABOVE = 1.5
"""Times a constant answer's loss. Of 600 healthy runs whose labels are known two were above it
after a hundred steps, both with targets far from zero."""
WORSE_STEPS = 150
"""Steps until a loss above that of answers of zero must be seen to come down: no network drawn as
usual begins there."""
CRAWL_STEPS = 250
"""A loss may begin far above a constant answer's, where the targets lie far from zero."""
CRAWL = 3
"""Times the steps so far that the way to a constant answer's loss still takes."""
STILL, NEVER = 0.8, 10
"""Share of its first quarter's level that a loss has hardly come down from, and the times that it
still takes, before `CRAWL_STEPS`: an output that grows with the steps squared has a hundredth of
its way behind it then. A loss that went down by decades first and slackened is given the time."""
STEADY = 0.5
"""Share of the pace of the first half from which that of the second is as steady."""
LATE = math.log(0.875 / 0.625)
"""From the middle of the third quarter to that of the last, in the logarithm of the steps."""
FAR = 10.0
"""Losses above so many times a constant answer's fall by decades, not by steps of one size."""
ASTRAY = 1000.0
"""Times a constant answer's loss: answers some thirty of the targets' standard deviations off. To
come down from there by as many steps again is no plan: of 800 healthy runs the highest was at 59
after 250 steps (targets about a hundred, of standard deviation one)."""
LARGE_TARGETS = 10.0
"""Standard deviation of targets from which an output has to grow to them."""
GROW = 2
"""Times the steps so far that the growth still takes."""

OFF = math.log(2)
"""How far below the logarithm of the mean count all answers lie that leave out half of it."""

Quarters = tuple[float, float, float, float]


def crawls(seen: Observation, past: Past, model: ModelPast, skill: float) -> bool:
    """Far worse than a constant answer, and getting there would take several times as long."""
    levels, age = _levels(past, model), seen.step - model.born
    if levels is not None and min(levels) > ABOVE and age >= WORSE_STEPS:
        return _stays_above(levels, past, model, age)
    if seen.step < CRAWL_STEPS:
        return False
    if not skill < -0.5:
        return skill < 0.2 and _far_to_grow(seen, model)
    return _by_skill(seen, model)


def counts_crawl(past: Past, model: ModelPast, age: int) -> bool:
    """Rates that all lie below half of the mean count, and would take long to get there.

    Of a mean count m, a constant answer's Poisson loss is m (1 - log m), and it lies
    about variance / 2m above the best there is. With `full` a loss is higher, whatever the answers:
    it is they that tell where they are. Without `log_input` they are rates, and above their
    logarithms.
    """
    assert past.layout is not None
    quarters, mean = past.loss.course.quarters, model.latest("target_mean")
    if past.layout.model(model.name).loss != "poisson_nll" or not mean > 0 or quarters is None:
        return False
    if age < CRAWL_STEPS or model.lr_rising or not past.loss_is_all_of(model):
        return False
    if not model.latest("out_max") < math.log(mean) - OFF:
        return False
    unit = model.latest("target_sd") ** 2 / (2 * mean)
    if not unit > 0:
        return False
    least = mean * (1 - math.log(mean)) - unit
    first, second, third, last = ((loss - least) / unit for loss in quarters)
    levels = first, second, third, last
    return min(levels) > ABOVE and _left(levels, squared=False) > CRAWL


def _levels(past: Past, model: ModelPast) -> Quarters | None:
    """The losses in the quarters of the run, in those of a constant answer."""
    constant, quarters = model.latest("loss_constant"), past.loss.course.quarters
    if quarters is None or not (past.loss_is_all_of(model) and constant > 0):
        return None
    first, second, third, last = quarters
    return first / constant, second / constant, third / constant, last / constant


def _stays_above(levels: Quarters, past: Past, model: ModelPast, age: int) -> bool:
    """All of the run was above a constant answer's loss, and the way there is still long.

    Where answers of zero would do better still, it is for no offset of the targets, and a fall that
    slackens is held to go on as it does: by a power of the steps. Down from an offset the steps may
    be of one size once the rest has settled, and only a pace too slow even by that tells, or one of
    hardly a decade.
    """
    shrinks = _squared(past, model)
    if min(levels) > ABOVE * _nothing_answered(past, model):
        return _left(levels, shrinks) > CRAWL
    if age < CRAWL_STEPS:
        return levels[3] > STILL * levels[0] and _left(levels, shrinks) > NEVER
    if min(levels[2:]) > ASTRAY:
        # What lifted the outputs was, for the most part, inputs: rows now differ by what was to be
        # the same for all, and that is unlearnt far more slowly than it was learnt.
        return True
    now = _height(levels[2], shrinks) - _height(levels[3], shrinks)
    if _height(levels[3], shrinks) > 4 * CRAWL * max(now, 0.0):
        return True
    # Of decades it went down so many from one half to the other.
    first, second, third, last = (math.log(level) for level in levels)
    decades = (first + second - third - last) / 2
    return last > 2 * CRAWL * max(decades, 0.0)


def _left(levels: Quarters, squared: bool) -> float:
    """Times the steps so far that the way down will take."""
    soonest = math.inf
    for heights in (
        [_height(level, squared) for level in levels],
        [math.log(level) for level in levels],
    ):
        before, now = heights[0] - heights[1], heights[2] - heights[3]
        if now > 0 and now >= STEADY * before:
            soonest = min(soonest, heights[3] / now / 4)
    power = math.log(levels[2] / levels[3]) / LATE
    if power > 0:
        soonest = min(soonest, math.expm1(min(50.0, math.log(levels[3]) / power)))
    return soonest


def _height(level: float, squared: bool) -> float:
    """How far the answers are from where a constant one is; an optimiser moves them at a pace."""
    return math.sqrt(level) - 1 if squared else level - 1


def _squared(past: Past, model: ModelPast) -> bool:
    assert past.layout is not None
    loss = past.layout.model(model.name).loss
    return math.isfinite(model.latest("target_sd")) and loss not in VALUE_LOSSES - {"mse"}


def _nothing_answered(past: Past, model: ModelPast) -> float:
    """What answers of zero cost, in the loss of a constant answer; infinite where not known."""
    assert past.layout is not None
    told = past.layout.model(model.name)
    mean, sd = model.latest("target_mean"), model.latest("target_sd")
    classes = math.nan
    if told.loss in CLASS_LOSSES and len(told.loss_input) > 1:
        classes = math.log(told.loss_input[1])
    elif told.loss.startswith("bce"):
        classes = math.log(2)
    elif sd > 0 and math.isnan(model.latest("information")):
        return 1 + (mean / sd) ** 2
    known = classes / model.latest("loss_constant")
    return max(1.0, known) if math.isfinite(known) else math.inf


def _by_skill(seen: Observation, model: ModelPast) -> bool:
    """The same by the skill of the samples, where a loss of its own is not known.

    The way left is put too short: a quadratic loss falls the slower the nearer it comes.
    """
    older, newer = model.skill.halves(seen.step)
    if len(older) < 3 or len(newer) < 3:
        return False
    if not median(newer) < -0.5:
        return False
    if median(newer) < -FAR:
        # So far away what remains is a share of what there was: it goes down by decades.
        rate = (math.log(max(-median(older), 1.0)) - math.log(-median(newer))) / (seen.step / 2)
        return math.log(-median(newer)) > CRAWL * seen.step * max(rate, 0.0)
    pace = (median(newer) - median(older)) / (seen.step / 2)
    return -median(newer) > CRAWL * seen.step * max(pace, 0.0)


def _far_to_grow(seen: Observation, model: ModelPast) -> bool:
    """The output is to spread over large targets, and at this pace it will not for long.

    An adaptive optimiser moves it by as much a step whatever the targets' scale. The spread of good
    answers is at least what neighbours' targets have in common; half of that would do.
    """
    wanted = model.value("neighbour_agreement") / 2
    older, newer = model.sigma_share.halves(seen.step)
    if not model.value("target_sd") > LARGE_TARGETS or len(older) < 3 or len(newer) < 3:
        return False
    now = median(newer)
    pace = (now - median(older)) / (seen.step / 2)
    # A fraction of the spread with no skill to show for it is a mean that wanders.
    return wanted > 0.1 and now < wanted / 2 and wanted - now > GROW * seen.step * max(pace, 0.0)


__all__ = ["counts_crawl", "crawls"]
