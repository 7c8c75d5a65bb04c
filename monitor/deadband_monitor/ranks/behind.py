"""A rank that stopped, or falls behind the others; judged by what they say of themselves."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from deadband_monitor.ranks.rounds import Divergence, named

MUTE_S = 30.0
"""The sender's thread beats every second whatever training does: half a minute of nothing is a
process that was stopped, or one call that holds the interpreter for as long."""
HEARD_S = 5.0
WINDOW_S = 60.0
SLOW = 0.5
"""Steps taken in the window over those that the others took."""
FEWEST_STEPS = 40
"""Steps that the others took in it: beats come once a second and not at the same moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One rank that has not ended."""

    rank: int
    step: int
    mute_s: float
    """Seconds since its last word."""


class Behind:
    """Follows the steps of the ranks over a minute."""

    def __init__(self, mute_s: float = MUTE_S, window_s: float = WINDOW_S) -> None:
        self._mute_s, self._window_s = mute_s, window_s
        self._past: deque[tuple[float, dict[int, int]]] = deque()

    def judge(self, now: float, standings: Sequence[Standing]) -> Divergence | None:
        """Who stopped or lags, if not all do."""
        steps = {each.rank: each.step for each in standings}
        while self._past and now - self._past[0][0] > self._window_s:
            then, before = self._past.popleft()
            if self._past and now - self._past[0][0] >= self._window_s:
                continue
            self._past.appendleft((then, before))
            break
        if not self._past or now - self._past[-1][0] >= self._window_s / 16:
            self._past.append((now, steps))
        mute = [each.rank for each in standings if each.mute_s > self._mute_s]
        if mute and any(each.mute_s < HEARD_S for each in standings):
            return _mute(mute, steps, self._wait(now, set(steps) - set(mute), steps))
        began, before = self._past[0]
        if now - began < self._window_s:
            return None
        taken = {rank: step - before[rank] for rank, step in steps.items() if rank in before}
        usual = sorted(taken.values())[len(taken) // 2] if taken else 0
        slow = [rank for rank, count in taken.items() if count < SLOW * usual]
        if usual < FEWEST_STEPS or not slow:
            return None
        return _slow(slow, steps, taken, usual, now - began)

    def _wait(self, now: float, rest: set[int], steps: dict[int, int]) -> bool:
        """Whether the others have stood still as well, for as long as it takes to be sure."""
        long_ago = (past for then, past in reversed(self._past) if now - then >= self._mute_s / 2)
        before = next(long_ago, steps)
        return all(steps[rank] == before.get(rank) for rank in rest)


def _mute(mute: list[int], steps: dict[int, int], waited_for: bool) -> Divergence:
    onset = min(steps[rank] for rank in mute)
    rest = [step for rank, step in steps.items() if rank not in mute]
    waits = "the others wait for it" if waited_for else "the others go on"
    return Divergence(
        reason="behind",
        ranks=tuple(mute),
        severity="warning",
        onset_step=max(onset, 1),
        message=f"{named(mute)} stopped at step {onset}: not a word from that process; {waits}:"
        " look at it with py-spy dump, and at its host",
        evidence={"step": float(onset), "step_others": float(max(rest))},
    )


def _slow(
    slow: list[int], steps: dict[int, int], taken: dict[int, int], usual: int, seconds: float
) -> Divergence:
    worst = min(slow, key=lambda rank: taken[rank])
    still = taken[worst] == 0
    what = "stands still" if still else f"took {taken[worst]:,} steps"
    return Divergence(
        reason="behind",
        ranks=tuple(slow),
        # A rank whose data has run out may well wait for the others to end (DDP's join).
        severity="info" if still else "warning",
        onset_step=max(steps[worst], 1),
        message=f"{named(slow)} falls behind: {what} in {seconds:.0f} s, the others {usual:,}: the"
        " ranks do not wait for each other",
        evidence={"steps": float(taken[worst]), "steps_others": float(usual)},
    )
