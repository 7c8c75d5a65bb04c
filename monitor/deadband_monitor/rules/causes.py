"""Names causes: who was first, weighed by how often each cause shows this evidence.

A cause is named only where a symptom of at least warning stands, only if it came before it, and
only if it is likelier than everything that is not in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deadband.wire import Cause, Flag
from deadband_monitor.rules.advice import advise, explain
from deadband_monitor.rules.facts import Facts, gather
from deadband_monitor.rules.likelihood import posteriors
from deadband_monitor.rules.past import ModelPast, Past

CAP = 0.95
"""No verdict from statistics is surer than this."""
NAMED_FROM = 0.4
"""Posterior below which a cause is not worth naming."""
RUNNER_UP = 0.2
"""A second cause is shown when it comes this close."""

CONSEQUENCES = frozenset({"loss_above_constant", "weights_tripled", "gradient_tenfold"})

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
    }
)
"""What steps that are too large for the weights can bring about, whatever made them so."""

SYMPTOMS_OF: dict[str, frozenset[str]] = {
    # Symptoms that a cause can explain; one that explains none of the standing ones is not named.
    "learning-rate-too-high": BLOW_UP,
    "unnormalised-inputs": BLOW_UP,
    "low-data-diversity": frozenset({"input-anomaly", "output-collapse", "constant-predictor"}),
    "constant-initialisation": frozenset(
        {
            "duplicate-units",
            "output-collapse",
            "constant-predictor",
            "vanishing-gradient",
            "dead-units",
        }
    ),
    "bad-initialisation-scale": frozenset(
        {
            "saturation",
            "output-collapse",
            "constant-predictor",
            "vanishing-gradient",
            "exploding-gradient",
            "non-finite",
            "loss-divergence",
        }
    ),
    "saturating-activation": frozenset(
        {"saturation", "output-collapse", "constant-predictor", "vanishing-gradient"}
    ),
    "depth-vanishing": frozenset({"vanishing-gradient", "output-collapse", "constant-predictor"}),
    "dying-relu": frozenset(
        {"dead-units", "output-collapse", "constant-predictor", "vanishing-gradient"}
    ),
    "learning-rate-too-low": frozenset({"constant-predictor"}),
    "over-regularisation": frozenset(
        {"weight-collapse", "output-collapse", "constant-predictor", "vanishing-gradient"}
    ),
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cause that the evidence allows, and when it was first at work."""

    row: str
    """Row of the likelihood table: the cause's word, perhaps with its variety in brackets."""
    onset: int
    phase: int
    """Within a step: 0 before the forward pass (data, weights), 1 after it, 2 after the update."""
    root: bool
    """Stands for itself; False for dead and saturated layers, which another cause may have made."""

    @property
    def word(self) -> str:
        """The cause's word."""
        return self.row.split(" (")[0]


def name_causes(past: Past, standing: Sequence[Flag]) -> list[Cause]:
    """The causes of the flags that stand, best first."""
    causes: list[Cause] = []
    for model in past.models.values():
        flags = [f for f in standing if f.model == model.name and f.severity != "info"]
        if flags:
            causes += _of_model(past, model, flags)
    return sorted(causes, key=lambda cause: -cause.confidence)


def _of_model(past: Past, model: ModelPast, flags: list[Flag]) -> list[Cause]:
    facts = gather(past, model)
    candidates = _candidates(past, model, facts, flags)
    if not candidates:
        return _residue(past, model, flags)
    roots = [c for c in candidates if c.root]
    first = min((c.onset, c.phase) for c in (roots or candidates))
    seen = facts.seen
    ruin = next((c for c in roots if c.word == "learning-rate-too-high"), None)
    if ruin is not None:
        # By definition: units that die or saturate after a ruinous update did not do so by nature.
        candidates = [
            c for c in candidates if c.root or (c.onset, c.phase) < (ruin.onset, ruin.phase)
        ]
    early = {c.word for c in candidates if (c.onset, c.phase) == first}
    if "large_update" in seen and "learning-rate-too-high" not in early:
        # What large updates do they do whoever made them: it does not speak against the earlier
        # fault that can make them large.
        seen = seen - CONSEQUENCES
    weights = {}
    for candidate in candidates:
        weight = 1.0 if (candidate.onset, candidate.phase) == first else 0.25
        if not candidate.root and roots and first < (candidate.onset, candidate.phase):
            weight = 0.05  # dead or saturated after something else: a consequence
        weights[candidate.row] = weight
    shares = posteriors(seen, weights)
    ranked = sorted(candidates, key=lambda c: -shares[c.row])
    samples = max(1, min(past.samples, _persisted(past, flags)))
    named: list[Cause] = []
    for candidate in ranked:
        share = shares[candidate.row]
        if share < (NAMED_FROM if not named else shares[ranked[0].row] - RUNNER_UP):
            break
        if any(cause.cause == candidate.word for cause in named):
            continue
        confidence = min(CAP, share * (1 - 2.0**-samples))
        named.append(
            Cause(
                cause=candidate.word,
                confidence=round(confidence, 2),
                evidence=explain(candidate.row, past, model, facts, flags),
                advice=advise(candidate.row, past, model, facts, flags),
                model=model.name,
                layer=_where(candidate.word, flags),
                onset_step=candidate.onset,
            )
        )
    return named


def _persisted(past: Past, flags: list[Flag]) -> int:
    """For how many samples a symptom has shown, at least the three that opened it."""
    since = min(flag.raised_step for flag in flags)
    return 3 + (past.samples - past.samples_at(since))


def _where(cause: str, flags: list[Flag]) -> str:
    own = {
        "saturating-activation": "saturation",
        "dying-relu": "dead-units",
        "constant-initialisation": "duplicate-units",
        "depth-vanishing": "vanishing-gradient",
    }.get(cause)
    return next((flag.layer for flag in flags if flag.kind == own), "")


def _candidates(past: Past, model: ModelPast, facts: Facts, flags: list[Flag]) -> list[Candidate]:
    """What was at work before the symptoms, of what the evidence allows."""
    by_kind = {flag.kind: flag for flag in flags}
    start = past.first_step
    found: list[Candidate] = []
    if facts.input_kind in {"offset", "large"}:
        found.append(Candidate("unnormalised-inputs", start, 0, True))
    elif facts.input_kind == "tiny":
        found.append(Candidate("unnormalised-inputs (tiny)", start, 0, True))
    elif facts.input_kind == "constant":
        found.append(Candidate("low-data-diversity", start, 0, True))
    if facts.zero_weights:
        found.append(Candidate("constant-initialisation (zero)", start, 0, True))
    elif facts.twin_layers:
        found.append(Candidate("constant-initialisation", start, 0, True))
    elif "small_weights" in facts.seen:
        found.append(Candidate("bad-initialisation-scale (small)", start, 0, True))
    elif "large_weights" in facts.seen:
        found.append(Candidate("bad-initialisation-scale (large)", start, 0, True))
    if "faint_depth" in facts.seen:
        found.append(Candidate("depth-vanishing", start, 0, True))
    if "tiny_updates" in facts.seen:
        found.append(Candidate("learning-rate-too-low", start, 2, True))
    if model.large_update_step is not None:
        phase = 2 if model.large_update_seen else 0  # one between two samples was before the second
        found.append(Candidate("learning-rate-too-high", model.large_update_step, phase, True))
    if "saturation" in by_kind:
        found.append(Candidate("saturating-activation", by_kind["saturation"].onset_step, 1, False))
    if "dead-units" in by_kind:
        found.append(Candidate("dying-relu", by_kind["dead-units"].onset_step, 1, False))
    if "weight-collapse" in by_kind:
        shrank = by_kind["weight-collapse"].onset_step
        found.append(Candidate("over-regularisation", shrank, 2, True))
    return [c for c in found if _explains(c, flags)]


def _explains(candidate: Candidate, flags: list[Flag]) -> bool:
    """Whether it can bring about a standing symptom and was there when that began."""
    possible = SYMPTOMS_OF[candidate.word]
    return any(flag.kind in possible and candidate.onset <= _began(flag) + 1 for flag in flags)


def _began(flag: Flag) -> int:
    """Latest step at which its cause may have set in.

    A constant predictor is what every network starts as; that it stays one is the symptom.
    """
    return flag.raised_step if flag.kind == "constant-predictor" else flag.onset_step


def _residue(past: Past, model: ModelPast, flags: list[Flag]) -> list[Cause]:
    """What remains when none of the known causes came first."""
    overflow = next((flag for flag in flags if flag.kind == "non-finite"), None)
    if overflow is None:
        return []
    facts = gather(past, model)
    return [
        Cause(
            cause="numerical-overflow",
            confidence=0.5,
            evidence=explain("numerical-overflow", past, model, facts, flags),
            advice=advise("numerical-overflow", past, model, facts, flags),
            model=model.name,
            layer=overflow.layer,
            onset_step=overflow.onset_step,
        )
    ]
