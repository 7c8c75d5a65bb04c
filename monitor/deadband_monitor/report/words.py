"""A report as text, JSON or markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from functools import partial

import msgspec

from deadband.wire import Coverage
from deadband_monitor.pace import in_words
from deadband_monitor.report.parts import FlagPart, Report, RunPart

FORMATS = ("text", "json", "markdown")
WIDTH = 92
"""Columns of a text report where it is not told; longer lines are hard to follow."""


def format_report(report: Report, form: str, *, width: int = WIDTH) -> str:
    """The report as `text`, `json` or `markdown`, ending in a newline.

    Args:
        report: what is told.
        form: one of `FORMATS`.
        width: columns that a line of text takes at most; the other forms have lines of any length.
    """
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"
    lines = _markdown(report) if form == "markdown" else _text(report, width)
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
        if report.verdict == "healthy":
            return f"HEALTHY; noted: {kinds}"
        return f"{report.verdict.upper()}: {kinds}"
    if report.run.status in UNTIMELY:
        return f"{report.verdict.upper()}, but {UNTIMELY[report.run.status]}"
    if report.run.error:
        return f"{report.verdict.upper()}, but not all of it was judged"
    if not any(cover.state == "armed" for cover in report.coverage):
        return f"{report.verdict.upper()}, but no rule had anything to judge by"
    return report.verdict.upper()


def figures(evidence: dict[str, float | None] | dict[str, float]) -> str:
    """Evidence in one line: `out_variance 4e-08, loss 2.31`."""
    return ", ".join(f"{name} {_figure(value)}" for name, value in evidence.items())


def place(model: str, layer: str) -> str:
    """Where a flag stands, for people: the layer, or the model as a whole."""
    return f"layer {layer}" if layer else f"whole {model}"


def _text(report: Report, width: int) -> Iterator[str]:
    wrapped = partial(_wrapped, width=width)
    run = report.run
    yield from wrapped(headline(report), "")
    yield ""
    named = run.name + (f"  ({run.id})" if run.id != run.name else "")
    yield from wrapped(named, "run       ")
    yield from wrapped(_ending(run), "status    ")
    if run.error:
        yield from wrapped(run.error, "error     ")
    for number, cause in enumerate(report.causes, 1):
        yield ""
        sure = f"{_percent(cause.confidence)} sure"
        yield from wrapped(f"{cause.cause}   {sure}", f"CAUSE {number}   ")
        for line in cause.evidence:
            yield from wrapped(line, "  - ")
        yield from wrapped(cause.advice, "  Try: ")
    for flag in report.flags:
        yield ""
        where = place(flag.model, flag.layer)
        yield from wrapped(
            f"{flag.kind}   {where}   {_while(flag)}", f"{flag.severity.upper():8}  "
        )
        if flag.message:
            yield from wrapped(flag.message, "  ")
        if flag.evidence:
            yield from wrapped(figures(flag.evidence), "  ")
    if report.notes:
        yield ""
    for note in report.notes:
        yield from wrapped(note.text, f"note      step {note.step}: ")
    yield ""
    yield from wrapped(_basis(run), "Rests on ")
    for line in _rank_lines(report):
        yield from wrapped(line, "")
    for unseen in report.unseen:
        yield from wrapped(f"{unseen.what}: {unseen.why}; {unseen.advice}.", "Not seen: ")
    for first, kinds in _scope(report.coverage):
        yield from wrapped(kinds, f"{first} ")


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
    armed = [cover for cover in coverage if cover.state == "armed"]
    blind = [cover for cover in coverage if cover.state != "armed"]
    if armed:
        yield "Looked for", f"{_named(armed)}."
    if blind:
        yield "Could not look for", f"{_named(blind)}."


def _named(coverage: Sequence[Coverage]) -> str:
    """Symptoms of one reason together, those without any first."""
    of_reason: dict[str, list[str]] = {"": []}
    for cover in coverage:
        of_reason.setdefault(cover.reason, []).append(cover.kind)
    return "; ".join(
        ", ".join(kinds) + (f" ({reason})" if reason else "")
        for reason, kinds in of_reason.items()
        if kinds
    )


def _wrapped(text: str, first: str, *, width: int) -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_on_hyphens=False,
    ) or [first.rstrip()]


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _figure(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"
