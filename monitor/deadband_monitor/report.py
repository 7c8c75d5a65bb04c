"""A run in words: the report by contract, as text, JSON or markdown. Pure functions of values.

`make_report` reads a `RunState`, live or recorded. The JSON is a contract with CI jobs and other
programs: its keys stay; `SCHEMA` is raised if one must change its meaning.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone

import msgspec

from deadband.wire import Cause, Coverage, Flag, Pace
from deadband_monitor.errors import MonitorError
from deadband_monitor.pace import in_words
from deadband_monitor.state.run_state import RunState
from deadband_monitor.unseen import not_seen

SCHEMA = 1
FORMATS = ("text", "json", "markdown")
EXIT_STATUS = {"healthy": 0, "warning": 1, "failing": 3}
"""By verdict; 2 is left for usage, as shells and argparse have it."""
WIDTH = 92
ENDED = ("finished", "failed", "killed", "lost")


class RunPart(msgspec.Struct, frozen=True, kw_only=True):
    """Which run it is, and how much of it was seen."""

    name: str
    id: str
    started: float
    """Seconds since the epoch."""
    ended: float | None
    """None while it goes on."""
    status: str
    """`running`, `finished`, `failed`, `killed`, `lost` (its hub died: the end was not seen)."""
    steps: int
    samples: int
    dropped: int
    overhead: float
    """Measured cost of capture as a share of training time."""
    interval: int = 1
    """Steps from one sample to the next at the end."""
    pace: Pace | None = None
    """What set that, and what it rests on."""


class RankPart(msgspec.Struct, frozen=True, kw_only=True):
    """One of several processes of a run."""

    rank: int
    pid: int
    host: str
    status: str
    steps: int
    samples: int
    dropped: int
    overhead: float
    loss: float | None
    """The last one that it gave; None where it is not known."""
    error: str


class UnseenPart(msgspec.Struct, frozen=True, kw_only=True):
    """What of a model could not be looked at, and what to do about it."""

    model: str
    what: str
    why: str
    advice: str


class FlagPart(msgspec.Struct, frozen=True, kw_only=True):
    """One symptom."""

    kind: str
    severity: str
    model: str
    layer: str
    """Empty for the model as a whole."""
    onset_step: int
    raised_step: int
    resolved_step: int | None
    """None while it stands."""
    evidence: dict[str, float | None]
    """None stands for a value that is not finite: JSON has no other word for it."""
    message: str
    ranks: list[int] = []
    """Ranks that show it; empty where the run is one process."""


class CausePart(msgspec.Struct, frozen=True, kw_only=True):
    """One explanation."""

    cause: str
    confidence: float
    evidence: list[str]
    advice: str
    rank: int = 0
    """The lowest rank whose samples say so."""


class NotePart(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody who looked on has written down."""

    step: int
    time: float
    """Seconds since the epoch."""
    text: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    schema: int
    run: RunPart
    verdict: str
    """`healthy`, `warning` or `failing`."""
    flags: list[FlagPart]
    """Those that stand first, worst first, then by onset."""
    causes: list[CausePart]
    """Best first."""
    coverage: list[Coverage]
    """What the verdict rests on: for each rule whether it could judge this run, and why not."""
    ranks: list[RankPart] = []
    """All processes of the run; empty where it is one."""
    unseen: list[UnseenPart] = []
    """What of the models could not be looked at."""
    notes: list[NotePart] = []
    """In the order of their steps."""

    @property
    def exit_status(self) -> int:
        """0, 1 or 3 by verdict."""
        return EXIT_STATUS[self.verdict]


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
        ),
        verdict=state.verdict,
        flags=[_flag_part(flag) for flag in ranked_flags(state)],
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


def ranked_flags(state: RunState) -> list[Flag]:
    """Flags that stand, worst first, then those that were resolved, by onset."""
    resolved = [flag for flag in state.flags.values() if flag.resolved_step is not None]
    return state.open_flags + sorted(resolved, key=lambda flag: (flag.onset_step, flag.id))


def format_report(report: Report, form: str) -> str:
    """The report as `text`, `json` or `markdown`, ending in a newline."""
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"
    lines = _markdown(report) if form == "markdown" else _text(report)
    return "\n".join(lines) + "\n"


def format_for(file_name: str) -> str:
    """The format that a file's name asks for: `.md` and `.txt`, else JSON."""
    suffix = file_name.rpartition(".")[2].lower()
    return {"md": "markdown", "markdown": "markdown", "txt": "text"}.get(suffix, "json")


UNTIMELY = {
    "failed": "the run failed",
    "killed": "the run was killed",
    "lost": "the end of the run was not recorded",
}
"""Ends that a verdict on the network says nothing of."""


def headline(report: Report) -> str:
    """The verdict in one line: `FAILING: learning-rate-too-high (95 % sure)`."""
    if report.causes:
        best = report.causes[0]
        return f"{report.verdict.upper()}: {best.cause} ({_percent(best.confidence)} sure)"
    standing = [flag for flag in report.flags if flag.resolved_step is None]
    if standing:
        kinds = ", ".join(dict.fromkeys(flag.kind for flag in standing))
        return f"{report.verdict.upper()}: {kinds}"
    if report.run.status in UNTIMELY:
        return f"{report.verdict.upper()}, but {UNTIMELY[report.run.status]}"
    return report.verdict.upper()


def figures(evidence: dict[str, float | None] | dict[str, float]) -> str:
    """Evidence in one line: `out_variance 4e-08, loss 2.31`."""
    return ", ".join(f"{name} {_figure(value)}" for name, value in evidence.items())


def place(model: str, layer: str) -> str:
    """Where a flag stands, for people: the layer, or the model as a whole."""
    return f"layer {layer}" if layer else f"whole {model}"


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


def _text(report: Report) -> Iterator[str]:
    run = report.run
    yield headline(report)
    yield ""
    yield f"run       {run.name}" + (f"  ({run.id})" if run.id != run.name else "")
    yield f"status    {_ending(run)}"
    for number, cause in enumerate(report.causes, 1):
        yield ""
        yield f"CAUSE {number}   {cause.cause}   {_percent(cause.confidence)} sure"
        for line in cause.evidence:
            yield from _wrapped(line, "  - ")
        yield from _wrapped(cause.advice, "  Try: ")
    for flag in report.flags:
        yield ""
        where = place(flag.model, flag.layer)
        yield f"{flag.severity.upper():8}  {flag.kind}   {where}   {_while(flag)}"
        if flag.message:
            yield from _wrapped(flag.message, "  ")
        if flag.evidence:
            yield from _wrapped(figures(flag.evidence), "  ")
    if report.notes:
        yield ""
    for note in report.notes:
        yield from _wrapped(note.text, f"note      step {note.step}: ")
    yield ""
    yield from _wrapped(_basis(run), "Rests on ")
    for line in _rank_lines(report):
        yield from _wrapped(line, "")
    for unseen in report.unseen:
        yield from _wrapped(f"{unseen.what}: {unseen.why}; {unseen.advice}.", "Not seen: ")
    for first, kinds in _scope(report.coverage):
        yield from _wrapped(kinds, f"{first} ")


def _markdown(report: Report) -> Iterator[str]:
    run = report.run
    yield f"# {headline(report)}"
    yield ""
    yield f"Run `{run.id}`, {_ending(run)}."
    if report.causes:
        yield ""
        yield "## Causes"
    for cause in report.causes:
        yield ""
        yield f"### {cause.cause} ({_percent(cause.confidence)} sure)"
        yield ""
        yield from (f"- {line}" for line in cause.evidence)
        yield ""
        yield f"**Try:** {cause.advice}"
    if report.flags:
        yield ""
        yield "## Flags"
        yield ""
        yield "| severity | flag | where | when | what |"
        yield "| --- | --- | --- | --- | --- |"
    for flag in report.flags:
        where = place(flag.model, flag.layer)
        cells = (flag.severity, flag.kind, f"`{where}`", _while(flag), flag.message)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    if report.notes:
        yield ""
        yield "## Notes"
        yield ""
    for note in report.notes:
        yield f"- step {note.step}: {note.text}"
    yield ""
    yield f"Rests on {_basis(run)}"
    for line in _rank_lines(report):
        yield ""
        yield line
    for unseen in report.unseen:
        yield ""
        yield f"Not seen: {unseen.what}: {unseen.why}; {unseen.advice}."
    for first, kinds in _scope(report.coverage):
        yield ""
        yield f"{first} {kinds}"


def _ending(run: RunPart) -> str:
    began = datetime.fromtimestamp(run.started, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    if run.ended is None:
        return f"running, at step {run.steps}; began {began}"
    lasted = f"after {run.steps} {_plural(run.steps, 'step')} and {_lasting(run)}"
    if run.status == "lost":
        return f"lost {lasted}: its hub died, so how it ended is not known; began {began}"
    return f"{run.status} {lasted}; began {began}"


def _lasting(run: RunPart) -> str:
    seconds = max((run.ended or run.started) - run.started, 0.0)
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _while(flag: FlagPart) -> str:
    called = f", called at {flag.raised_step}" if flag.raised_step != flag.onset_step else ""
    if flag.resolved_step is None:
        return f"since step {flag.onset_step}{called}"
    return f"steps {flag.onset_step} to {flag.resolved_step}{called}, resolved"


def _basis(run: RunPart) -> str:
    samples = f"{run.samples} {_plural(run.samples, 'sample')}"
    dropped = f"{run.dropped} dropped" if run.dropped else "none dropped"
    cost = "what measuring cost is not known"
    if run.overhead > 0:
        cost = f"measuring cost {run.overhead * 100:.1f} % of the training time"
    why = f"; at last {in_words(run.pace, run.interval)}" if run.pace else ""
    return f"{samples} of {run.steps} {_plural(run.steps, 'step')}, {dropped}; {cost}{why}."


def _rank_lines(report: Report) -> Iterator[str]:
    """One line a rank; of many that are alike, one for all."""
    seen: dict[tuple[object, ...], list[int]] = {}
    for part in report.ranks:
        seen.setdefault((part.status, part.steps, part.error), []).append(part.rank)
    for (status, steps, error), ranks in seen.items():
        of = [part for part in report.ranks if part.rank in ranks]
        loss = ", ".join(dict.fromkeys(_figure(part.loss) for part in of if part.loss is not None))
        named = ", ".join(str(rank) for rank in ranks)
        yield (
            f"{_plural(len(ranks), 'Rank').capitalize()} {named}: {status} at step {steps},"
            f" {sum(part.samples for part in of)} samples"
            + (f", last loss {loss}" if loss else "")
            + (f"; {error}" if error else "")
            + "."
        )


def _scope(coverage: Sequence[Coverage]) -> Iterator[tuple[str, str]]:
    """What was looked for, and what could not be and why."""
    armed = [_named(cover) for cover in coverage if cover.state == "armed"]
    blind = [_named(cover) for cover in coverage if cover.state != "armed"]
    if armed:
        yield "Looked for", f"{', '.join(armed)}."
    if blind:
        yield "Could not look for", f"{'; '.join(blind)}."


def _named(cover: Coverage) -> str:
    return f"{cover.kind} ({cover.reason})" if cover.reason else cover.kind


def _wrapped(text: str, first: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first)
    ) or [first.rstrip()]


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _figure(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"
