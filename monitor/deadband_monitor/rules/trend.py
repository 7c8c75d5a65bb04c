"""Is it rising, falling, or has its level shifted? Bounded memory, no clock."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from statistics import fmean, median, stdev

from deadband_monitor.rules.course import Course

MIN_POINTS = 6
"""Fewer points than this say nothing about a trend (median of three against median of three)."""
DENSE_STEPS = 10
"""Clients sample every one of the first steps whatever the cadence: beside a sample every fiftieth
step those ten would outvote the two hundred that follow."""


class History:
    """A thinned series over the run so far, at most `capacity` points.

    One for each hundredth of it lately, fewer further back, always the first and the newest.
    """

    def __init__(self, capacity: int = 240) -> None:
        self._capacity = capacity
        self._steps: deque[int] = deque()
        self._values: deque[float] = deque()

    def add(self, step: int, value: float) -> None:
        """Take a value; one that is not finite is ignored."""
        if not math.isfinite(value):
            return
        gap = max(1, step // 100)
        if len(self._steps) > 1 and step - self._steps[-2] < gap:
            self._steps[-1], self._values[-1] = step, value
            return
        if len(self._steps) == self._capacity:
            self._thin()
        self._steps.append(step)
        self._values.append(value)

    def _thin(self) -> None:
        """Half the points of the older half: how a run stood before it broke stays known.

        By their distance, so that the one at which it went on after a gap is kept.
        """
        steps, values = list(self._steps), list(self._values)
        half = self._capacity // 2
        apart = 2 * (steps[half] - steps[0]) / half
        kept = [0]
        for place in range(1, half):
            if steps[place] >= steps[kept[-1]] + apart:
                kept.append(place)
        kept += range(half, len(steps))
        self._steps = deque(steps[place] for place in kept)
        self._values = deque(values[place] for place in kept)

    def best_before(self, step: int) -> tuple[int, float] | None:
        """The highest value before `step`, with its step; None where there is none."""
        known = [
            (value, at) for at, value in zip(self._steps, self._values, strict=True) if at < step
        ]
        if not known:
            return None
        value, at = max(known)
        return at, value

    def first_from(self, level: float) -> int | None:
        """The first step with a value of `level` or more; None without one."""
        pairs = zip(self._steps, self._values, strict=True)
        return next((at for at, value in pairs if value >= level), None)

    def at(self, step: int) -> float:
        """The last value up to `step`; NaN before the first."""
        found = math.nan
        for taken, value in zip(self._steps, self._values, strict=True):
            if taken > step:
                break
            found = value
        return found

    def __len__(self) -> int:
        return len(self._steps)

    def halves(self, window_steps: int) -> tuple[list[float], list[float]]:
        """Values in the older and the newer half of the last `window_steps` steps."""
        if not self._steps:
            return [], []
        end = self._steps[-1]
        middle, start = end - window_steps / 2, end - window_steps
        steps, values = list(self._steps), list(self._values)
        second = bisect_right(steps, middle)
        first = bisect_right(steps, start, 0, second)
        past_dense = bisect_right(steps, DENSE_STEPS, first, second)
        if second - past_dense >= MIN_POINTS // 2:
            first = past_dense
        return values[first:second], values[second:]

    def rising(self, window_steps: int, goal: float) -> bool | None:
        """Whether the growth from the older half to the newer leads to `goal` in good time.

        Slow starts grow by a steady factor (a deep sigmoid network from 1e-5 to 0.01 in 1500
        steps); dust that grows does not count. None: cannot tell.
        """
        older, newer = self.halves(window_steps)
        if len(older) < MIN_POINTS // 2 or len(newer) < MIN_POINTS // 2:
            return True if self._doubles() else None
        before, now = median(older), median(newer)
        if now <= 1.1 * before or now <= 0 or before >= goal:
            return False
        if before <= 0 or now >= goal:
            return _shift(older, newer) > 0
        if min(older) > 0 and min(newer) > 0:
            # A steady factor is seen against its noise in the logarithm.
            grown = _shift([math.log(v) for v in older], [math.log(v) for v in newer]) > 0
        else:
            grown = _shift(older, newer) > 0
        if not grown:
            return False
        halves_to_go = math.log(goal / now) / math.log(now / before)
        return halves_to_go * window_steps / 2 <= max(2000, 5 * self._steps[-1])

    def rising_lately(self, window_steps: int, run_steps: int, goal: float) -> bool | None:
        """As `rising`; behind a gap in the samples by all of the run."""
        verdict = self.rising(window_steps, goal)
        return self.rising(run_steps, goal) if verdict is None else verdict

    def _doubles(self) -> bool:
        """Each of the last three values is twice the one before: few, but no chance.

        Nor does the factor fall: dust that was blown up seven-fold and then three-fold goes on to
        nothing (a straight line between two circles).
        """
        last = list(self._values)[-3:]
        if len(last) < 3 or self._steps[-3] <= DENSE_STEPS or not last[0] > 0:
            return False
        return 2 * last[0] <= last[1] <= last[2] / 2 and last[1] ** 2 <= 2 * last[0] * last[2]

    def fading(self, window_steps: int) -> bool:
        """Whether the newer half lies below the older by a tenth, and by more than its noise."""
        older, newer = self.halves(window_steps)
        if len(older) < MIN_POINTS // 2 or len(newer) < MIN_POINTS // 2:
            return False
        return median(newer) < 0.9 * median(older) and _shift(newer, older) > 0

    def climbing(self, window_steps: int, least: float = 0.0) -> bool | None:
        """Whether the newer half lies above the older by more than its own noise, and `least`."""
        older, newer = self.halves(window_steps)
        if len(older) < MIN_POINTS // 2 or len(newer) < MIN_POINTS // 2:
            return None
        return _shift(older, newer) > 0 and median(newer) - median(older) > least


def _shift(older: list[float], newer: list[float]) -> float:
    """How far the newer median lies above the older, less twice its standard error.

    The standard error of a median is about 1.25 sd / sqrt(n); two of them keep a flat, noisy
    series from counting as a trend more than about one time in forty.
    """
    return median(newer) - median(older) - 2 * _error_of_shift(older, newer)


def _error_of_shift(older: list[float], newer: list[float]) -> float:
    squared = _variance(older) / len(older) + _variance(newer) / len(newer)
    return 1.25 * math.sqrt(squared)


def _variance(values: list[float]) -> float:
    # Of a few dozen plain numbers: an array of them would cost as much as its own variance.
    mean = fmean(values)
    return sum([(value - mean) * (value - mean) for value in values]) / len(values)


class LossTrend:
    """Every loss of the run, boiled down: where it began, its best, where it is, does it fall."""

    WINDOW = 200
    """Losses that the trend is read from, the older half against the newer."""
    LONG = 8
    """Losses in a row above the usual ones that make a jump; single batches come alone."""
    STEADY = 20
    """Losses whose median counts as a level that was reached."""

    def __init__(self) -> None:
        self._recent: list[float] = []
        self._steps: list[int] = []
        self._falling: bool | None = None
        self._judged = False
        self.course = Course()
        self.first = math.nan
        """The first loss alone: a ruinous first step shows in the second."""
        self.fresh = math.nan
        """Median of the last eight losses: one wild batch does not move it."""
        self.highest = -math.inf
        self.lowest = math.inf
        self.negative_since: int | None = None
        """Step of the first loss below zero since the last one that was not."""
        self.infinite = False
        """The first loss that was not finite was infinity, not NaN: it broke, and nothing before it
        did."""
        self.broken: int | None = None
        """Step of that loss; 0 where steps are not known."""
        self.jumped: int | None = None
        """Where the losses first rose above what single batches used to give, for `LONG` of them.
        """
        self.best = math.inf
        """The lowest level that was reached and held for twenty steps."""
        self.usual_high = math.inf
        """What one loss in twenty exceeded when the best level was reached: the noise of single
        batches."""

    def add(self, losses: Sequence[float], steps: Sequence[int] = ()) -> None:
        """Take the losses since the last sample, in order, with their steps."""
        if len(steps) != len(losses):
            steps = [0] * len(losses)  # not known
        places = [place for place, loss in enumerate(losses) if math.isfinite(loss)]
        finite = [losses[place] for place in places]
        if len(finite) < len(losses) and self.broken is None:
            bad = next(place for place, loss in enumerate(losses) if not math.isfinite(loss))
            self.infinite = math.isinf(losses[bad])
            self.broken = steps[bad]
        if not finite:
            return
        if math.isnan(self.first):
            self.first = finite[0]
        self._steps += [steps[place] for place in places]
        self._recent += finite
        for place in places:
            if not losses[place] < 0:
                self.negative_since = None
            elif self.negative_since is None:
                self.negative_since = steps[place]
        self._note_jump(len(finite))
        del self._steps[: -self.WINDOW], self._recent[: -self.WINDOW]
        self.course.add(finite)
        self.highest = max(self.highest, *finite)
        self.lowest = min(self.lowest, *finite)
        last = sorted(self._recent[-8:])
        self.fresh = (last[len(last) // 2] + last[(len(last) - 1) // 2]) / 2
        self._note_best(len(finite))
        self._judged = False

    def _note_best(self, new: int) -> None:
        """Look at the level after the new losses, and between them where they are many."""
        if len(self._recent) < self.STEADY:
            return
        ends = range(len(self._recent), max(self.STEADY, len(self._recent) - new + 1) - 1, -10)
        for end in ends:
            level = sorted(self._recent[end - self.STEADY : end])[self.STEADY // 2]
            if level < self.best:
                self.best = level
                ranked = sorted(self._recent[max(0, end - 100) : end])
                self.usual_high = ranked[int(0.95 * (len(ranked) - 1))]

    def _note_jump(self, new: int) -> None:
        """Look for a row of losses above the usual ones that ends in the new ones."""
        usual = self.lost_level
        if self.jumped is not None or not max(self._recent[-new:]) > usual:
            return
        first = max(0, len(self._recent) - new - self.LONG + 1)
        row = 0
        for place in range(first, len(self._recent)):
            row = row + 1 if self._recent[place] > usual else 0
            if row == self.LONG:
                self.jumped = self._steps[place - self.LONG + 1]
                return

    @property
    def lost_level(self) -> float:
        """The loss above which what was learnt is lost; of many classes chance is near the best."""
        back = self.best + 0.8 * max(0.0, self.first - self.best)
        return max(self.usual_high, min(2 * self.best, back))

    def setback(self, level: float, share: float) -> float:
        """The loss above which `share` of the way from `level` to the best one is lost again.

        At least three times the best, and above what single batches used to give: batches of one
        swing over that way every few steps.
        """
        if not self.best < level:
            return math.inf
        return max(3 * self.best, self.best + share * (level - self.best), self.usual_high)

    def begin_anew(self) -> None:
        """What is asked from here on is another question: the levels before say nothing of it."""
        self.best = self.usual_high = math.inf
        self.jumped = None
        self.course = Course()
        self._recent, self._steps = self._recent[-1:], self._steps[-1:]
        self._judged = False

    @property
    def level(self) -> float:
        """Median of the last thirty-two losses: the level of training, without single batches."""
        return median(self._recent[-32:]) if self._recent else math.nan

    def mean(self, count: int) -> float:
        """Mean of the last `count` losses; NaN before there are as many."""
        return fmean(self._recent[-count:]) if len(self._recent) >= count else math.nan

    def error(self, count: int) -> float:
        """Standard error of that mean."""
        last = self._recent[-count:]
        return stdev(last) / math.sqrt(count) if len(last) >= count > 1 else math.nan

    def means(self, count: int) -> tuple[float, float]:
        """Means of the older and the newer half of the last `count` losses, at most two hundred.

        Where one batch in two holds a row of a rare class, the losses have two levels: their median
        is that of the batches without one, and looks as if the rare rows were learnt.
        """
        last = self._recent[-max(2, count) :]
        half = len(last) // 2
        if not half:
            return math.nan, math.nan
        return fmean(last[:half]), fmean(last[half:])

    def after(self, step: int, steps: int) -> list[float]:
        """The losses of the first `steps` steps after `step`, as far as they are remembered."""
        losses = zip(self._recent, self._steps, strict=True)
        return [loss for loss, at in losses if step < at <= step + steps]

    def above(self, level: float, count: int, of: int) -> bool:
        """Whether at least `count` of the last `of` losses exceed `level`."""
        return sum(map(float(level).__lt__, self._recent[-of:])) >= count

    def above_since(self, level: float) -> int | None:
        """Step of the first loss above `level` since two in a row were not; at least `jumped`."""
        calm = 0
        since = None
        for loss, step in zip(reversed(self._recent), reversed(self._steps), strict=True):
            if loss > level:
                since, calm = step, 0
            else:
                calm += 1
                if calm == 2:
                    return since
        return self.jumped if since is not None and self.jumped is not None else since

    @property
    def falling(self) -> bool | None:
        """Whether the newer losses lie below the older ones by more than noise and 0.5 %."""
        if not self._judged:
            self._falling, self._judged = self._read_trend(), True
        return self._falling

    def _read_trend(self) -> bool | None:
        if len(self._recent) < 40:
            return None
        half = len(self._recent) // 2
        older, newer = self._recent[:half], self._recent[half:]
        before = median(older)
        drop = before - median(newer)
        return drop > 2 * _error_of_shift(older, newer) and drop > 0.005 * abs(before)


class LevelShift:
    """CUSUM on a logarithmic series: has its level risen for good?

    k = 1 and h = 10 on residuals clipped at 8: over 8800 healthy steps of six set-ups this gave no
    alarm on the gradient norm, where the textbook k = 0.5, h = 5 gave 2.3 in 1000 steps, because
    training series have heavier tails than a Gaussian.
    """

    SLACK = 1.0
    LIMIT = 10.0
    CLIP = 8.0
    FLOOR = 0.05
    """Decades. Full-batch training has almost no noise; its smooth drift is no shift."""

    def __init__(self, warm_up: int = 10) -> None:
        self._warm_up = warm_up
        self._seen = 0
        self._spread: deque[float] = deque(maxlen=50)
        self._noise = 0.0
        self.level = math.nan
        """The baseline, in decades."""
        self.sum = 0.0

    def add(self, value: float) -> bool:
        """Take the decimal logarithm of the next value; True while the level stands shifted."""
        self._seen += 1
        if math.isnan(self.level):
            self.level = value
        residual = value - self.level
        if self._seen > self._warm_up:
            if self._spread and (self._noise == 0.0 or self._seen % 5 == 0):
                self._noise = 1.4826 * median(map(abs, self._spread))
            score = min(self.CLIP, residual / max(self._noise, self.FLOOR)) - self.SLACK
            self.sum = min(5 * self.LIMIT, max(0.0, self.sum + score))
        if self.sum <= self.LIMIT / 2:
            self._spread.append(residual)
            self.level += (0.2 if self._seen <= self._warm_up else 0.05) * residual
        return self.sum > self.LIMIT
