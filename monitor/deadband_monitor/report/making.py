"""From the state of a run, live or recorded, to its report."""

from __future__ import annotations

from deadband.wire import Cause, Flag
from deadband_monitor.errors import MonitorError
from deadband_monitor.report.parts import (
    SCHEMA,
    CausePart,
    FlagPart,
    NotePart,
    RankPart,
    Report,
    RunPart,
    UnseenPart,
)
from deadband_monitor.state.run_state import ENDED, RunState
from deadband_monitor.unseen import not_seen


def make_report(state: RunState) -> Report:
    """What is known of a run now.

    Raises:
        MonitorError: nothing at all is known of the run yet.
    """
    if state.info is None:
        raise MonitorError("nothing is known of this run: it ended before it said who it is")
    hello, status = state.info.hello, state.status
    word = status.status if status and status.status in ENDED else "running"
    seen = state.latest.time if state.latest else hello.started
    last = max(seen, status.time) if status else seen
    return Report(
        schema=SCHEMA,
        run=RunPart(
            name=hello.name,
            id=hello.run,
            started=hello.started,
            ended=last if word in ENDED else None,
            status=word,
            steps=state.step,
            samples=state.samples,
            dropped=status.dropped if status else 0,
            overhead=status.overhead if status else 0.0,
            interval=status.interval if status else 1,
            pace=status.pace if status else None,
            error=status.error if status else "",
        ),
        verdict=state.verdict,
        flags=[_flag_part(flag) for flag in _ranked_flags(state)],
        causes=[_cause_part(cause) for cause in state.causes],
        coverage=list(state.coverage),
        ranks=_rank_parts(state),
        unseen=[
            UnseenPart(model=model.name, what=unseen.what, why=unseen.why, advice=unseen.advice)
            for model in (state.table.models if state.table else ())
            for unseen in not_seen(model)
        ],
        notes=[
            NotePart(step=note.step, time=note.time, text=note.text)
            for note in sorted(state.notes, key=lambda note: (note.step, note.seq))
        ],
    )


def _ranked_flags(state: RunState) -> list[Flag]:
    """Flags that stand, worst first, then those that were resolved, by onset."""
    resolved = [flag for flag in state.flags.values() if flag.resolved_step is not None]
    return state.open_flags + sorted(resolved, key=lambda flag: (flag.onset_step, flag.id))


def _flag_part(flag: Flag) -> FlagPart:
    return FlagPart(
        kind=flag.kind,
        severity=flag.severity,
        model=flag.model,
        layer=flag.layer,
        onset_step=flag.onset_step,
        raised_step=flag.raised_step,
        resolved_step=flag.resolved_step,
        evidence={
            name: value if abs(value) < float("inf") else None
            for name, value in flag.evidence.items()
        },
        message=flag.message,
        ranks=list(flag.ranks),
    )


def _cause_part(cause: Cause) -> CausePart:
    return CausePart(
        cause=cause.cause,
        confidence=cause.confidence,
        evidence=list(cause.evidence),
        advice=cause.advice,
        rank=cause.rank,
    )


def _rank_parts(state: RunState) -> list[RankPart]:
    if state.status is None:
        return []
    parts = []
    for rank in state.status.ranks:
        known = state if rank.rank == state.lead else state.others.get(rank.rank)
        last = known.last_scalar if known else {}
        loss = last.get("loss", float("nan"))
        parts.append(
            RankPart(
                rank=rank.rank,
                pid=rank.pid,
                host=rank.host,
                status=rank.status,
                steps=rank.step,
                samples=rank.samples,
                dropped=rank.dropped,
                overhead=rank.overhead,
                loss=loss if abs(loss) < float("inf") else None,
                error=rank.error,
            )
        )
    return parts
