"""The state line: what is looked at, how it is, and what the rules say of it.

Also the one line that stands for everything in a terminal too small for the dashboard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deadband.wire import Flag
from deadband_monitor.tui.draw.text import Row, clean, count, cut_middle, duration, spread

VERDICTS = {
    "healthy": (" healthy ", "badge.ok"),
    "warning": (" ! WARNING ", "badge.warn"),
    "failing": (" ▼ FAILING ", "badge.crit"),
}
"""The verdict's words and look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a run stands, in the words of the screen."""

    sign: str
    word: str
    style: str
    detail: str = ""
    urgent: bool = False
    """The detail comes before where the run is and how far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the state line says."""

    name: str
    standing: Standing
    step: int = 0
    last_step: int | None = None
    """Of a recording: where it ends."""
    rate: float = float("nan")
    """Steps a second."""
    age_s: float = float("nan")
    """Since the last word of a live run."""
    where: str = ""
    """Its host and how that is reached, where it is another one."""
    behind: int | None = None
    """Steps that the live run is ahead of what is shown; None where now is shown."""
    every: int = 1
    dense_steps: int = 0
    """Steps that are still to be sampled because a viewer asked for them."""
    verdict: str = "healthy"
    flags: Sequence[Flag] = ()
    frozen_steps: int | None = None
    """Steps that went by since the picture was frozen; None while it moves."""
    slow_link: bool = False
    judged: bool = True
    """Whether there was anything to judge yet."""


def standing(
    *,
    link: str,
    status: str,
    error: str,
    quiet_s: float,
    sampled: bool,
    known: bool,
    broken: str,
    heard: str = "",
    age_s: float = float("nan"),
    where: str = "",
    trouble: str = "",
    retry_key: str = "",
) -> Standing:
    """Words for the state of a run and of the way to it.

    Args:
        link: `Source.link`.
        status: the newest `Status.status`, empty before the first.
        error: the exception that ended the run, or what keeps a hub from its work.
        quiet_s: time since the training was last seen at work.
        sampled: whether a sample has come.
        known: whether anything has come.
        broken: why the source cannot be read any more.
        heard: time of day of the last word, for a picture that is no longer of now.
        age_s: time since then.
        where: the host of the run, where it is another one.
        trouble: why it does not answer, and when it is tried again.
        retry_key: what to press for that to be now.
    """
    if broken:
        return Standing(sign="✗", word="UNREADABLE", style="crit", detail=broken)
    if status == "failed":
        return Standing(sign="✗", word="FAILED", style="crit", detail=error)
    if status == "killed":
        return Standing(sign="✗", word="KILLED", style="crit", detail=error)
    if status == "lost":
        return Standing(
            sign="✗", word="LOST", style="crit", detail="the hub died before the run ended"
        )
    if status == "finished":
        return _well(sign="✓", word="FINISHED", trouble=error)
    if link == "lost":
        # What can be done comes before the reason, which may be long.
        why, _, when = trouble.rpartition("; ")
        hint = f", {retry_key} now" if retry_key and when.startswith("retry in") else ""
        age = f" {duration(age_s)}" if age_s == age_s else ""
        return Standing(
            sign="✗",
            word=f"{'LINK' if where else 'HUB'} LOST{age}",
            style="warn",
            detail=f"{when or 'trying again'}{hint}, as of {heard}" + (f": {why}" if why else ""),
            urgent=True,
        )
    if link == "ended":
        return Standing(sign="✗", word="HUB GONE", style="crit", detail="no last word of the run")
    if not known:
        return Standing(sign="◌", word="WAITING", style="info", detail="for the run to report")
    if not sampled:
        return Standing(sign="◌", word="WAITING", style="info", detail="for the first sample")
    if status == "silent":
        return Standing(sign="◌", word=f"SILENT {duration(quiet_s)}", style="warn", detail=error)
    return _well(sign="●", word="LIVE", trouble=error)


def _well(*, sign: str, word: str, trouble: str) -> Standing:
    """Training is well; what measuring or recording it met is said all the same."""
    return Standing(sign=sign, word=word, style="warn" if trouble else "strong", detail=trouble)


def state_line(head: Head, width: int) -> Row:
    """The line in `width` cells: the state at the left, the verdict at the right."""
    roomy = width >= 100
    state = head.standing
    row: Row = [(" deadband ", "title")] if roomy else [(" ", "")]
    row += [
        (f" {state.sign} {state.word} " if roomy else f"{state.sign} {state.word} ", state.style)
    ]
    if head.frozen_steps is not None:
        row.append((f" ❚❚ FROZEN +{count(head.frozen_steps)} ", "badge.info"))
    row.append((f" {cut_middle(head.name, 32 if roomy else 20)}", "title"))
    detail: Row = [(f"  {clean(state.detail)}", state.style)] if state.detail else []
    if state.urgent:
        row += detail
    if head.where and (roomy or not (detail or head.behind is not None)):
        row.append((f"  {cut_middle(head.where, 26 if roomy else 14)}", "dim"))
    if head.step:
        end = f"/{count(head.last_step)}" if head.last_step is not None else ""
        row.append((f"  step {count(head.step)}{end}", "text"))
    if head.behind is not None:
        row.append((f"  live is {count(head.behind)} steps ahead", "info"))
    if not state.urgent:
        row += detail
    if head.dense_steps:
        more = f"  dense for {count(head.dense_steps)} more steps"
        row.append((more + (", asked by a viewer" if roomy else ""), "info"))
    if head.rate == head.rate:
        row.append(
            (f"  {head.rate:,.3g}/s" if head.rate < 1000 else f"  {head.rate:,.0f}/s", "dim")
        )
    if roomy:
        if head.age_s == head.age_s:
            row.append((f"  heard {duration(head.age_s)} ago", "dim"))
        if head.every > 1:
            row.append((f"  sampled every {head.every}", "dim"))
    if head.slow_link:
        row.append(("  slow terminal", "warn"))
    return spread(row, verdict(head), width)


def verdict(head: Head) -> Row:
    """Flags that stand and the verdict, as a badge."""
    row: Row = []
    for severity, sign, style in (("critical", "▼", "crit"), ("warning", "!", "warn")):
        number = sum(flag.severity == severity for flag in head.flags)
        if number:
            row.append((f" {sign}{number}", style))
    if not head.judged:
        return row
    text, style = VERDICTS.get(head.verdict, VERDICTS["healthy"])
    if style == "badge.ok" and head.standing.style == "crit":
        text = f" was{text}"  # the network, as long as there was one
    return [*row, (" ", ""), (text, style), (" ", "")]


def one_line(head: Head, width: int) -> Row:
    """Everything that fits where nothing else does."""
    state = head.standing
    left: Row = [
        (f"{state.sign} {state.word} ", state.style),
        (f"{cut_middle(head.name, 16)} {count(head.step)}", "text"),
    ]
    return spread(left, verdict(head), width)
