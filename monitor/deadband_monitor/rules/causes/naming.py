"""Names causes: who was first, weighed by how often each cause shows this evidence.

A cause is named only where a symptom of at least warning stands, only if it came before it, and
only if it can bring that symptom about. Suspects are compared by their odds against everything that
no family knows: from the likelihood table, or their own belief.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from deadband.wire import Cause, Flag
from deadband_monitor.rules.causes import (
    attention,
    capacity,
    clearing,
    data,
    generative,
    high_rate,
    imbalance,
    inputs,
    low_rate,
    noise,
    normalisation,
    numerics,
    objective,
    plumbing,
    regularisation,
    routers,
    start,
    target_scale,
    units,
)
from deadband_monitor.rules.causes.base import STILL, Case, Family, Suspect, Tier
from deadband_monitor.rules.causes.facts import gather
from deadband_monitor.rules.causes.likelihood import odds
from deadband_monitor.rules.past import EARLY_STEPS, ModelPast, Past

FAMILIES: tuple[Family, ...] = (
    plumbing.suspects,
    clearing.suspects,
    objective.suspects,
    target_scale.suspects,
    data.suspects,
    imbalance.suspects,
    noise.suspects,
    inputs.suspects,
    start.suspects,
    low_rate.suspects,
    high_rate.suspects,
    units.suspects,
    regularisation.suspects,
    capacity.suspects,
    generative.suspects,
    routers.suspects,
    attention.suspects,
    normalisation.suspects,
    numerics.suspects,
)

SUREST = {Tier.EXACT: 0.99, Tier.PATTERN: 0.95, Tier.RESIDUAL: 0.5}
"""No verdict is surer than how it was found: by a test of values, from statistics, for want of
better."""
NAMED_FROM = 0.4
"""Share of all suspects together below which none is worth naming: something else is likelier."""
ALSO_FROM = 0.05
"""Share from which another cause is named beside the best: several faults can be the right one to
mend (Humbatova et al., Empirical Software Engineering 30:124, 2025)."""
MOST = 3
"""Causes named for one model."""
PLAUSIBLE = 0.5
"""Belief in a suspect, were it the only one, from which it is named as the second whatever its
share: pieces of evidence that go together (a large update, weights that treble, a gradient ten
times as high) are counted as if each spoke for itself, which makes the first look surer against the
others than it is."""
NEVER_SOUND = 0.99
"""Belief in a suspect, were it the only one, from which a run that began so is sick whatever else
is: a signal that is lost in depth came second to what its steps did, eight times of eight."""
NEARLY_SURE = 0.8
"""Share of the first from which nothing is named beside it for want of better alone."""

ENDS = frozenset({"non-finite", "output-collapse", "loss-divergence", "frozen-weights"})
"""What a run comes to, where it is critical; layers that die or saturate are on the way there."""
LESSER = 0.25
"""Weight of a suspect that explains nothing of what a run has come to, where another one does."""
HARDLY = 0.5
"""Odds of a suspect below which what came later is none of its work: it is twice as likely not
there at all."""

NO_STEP = STILL | {"output-collapse"}
"""What is brought about by faults that make no step large: they only keep a model from learning."""
HIGH_RATE = "learning-rate-too-high"
CONSEQUENCES = frozenset({"loss_above_constant", "weights_tripled", "gradient_tenfold"})


def name_causes(past: Past, standing: Sequence[Flag]) -> list[Cause]:
    """The causes of the flags that stand, best first."""
    causes: list[Cause] = []
    for model in past.models.values():
        flags = tuple(f for f in standing if f.model == model.name and f.severity != "info")
        if flags:
            causes += _of_model(past, model, flags)
    return sorted(causes, key=lambda cause: -cause.confidence)


def _of_model(past: Past, model: ModelPast, flags: tuple[Flag, ...]) -> list[Cause]:
    case = Case(past, model, gather(past, model), flags)
    found = list(chain.from_iterable(family(case) for family in FAMILIES))
    allowed = [suspect for suspect in found if _explains(suspect, flags)]
    better = [suspect for suspect in allowed if suspect.tier is not Tier.RESIDUAL]
    lesser = _of_lesser_symptoms(case, allowed)
    if all(id(suspect) in lesser for suspect in better):
        better = []  # what the run has come to is explained for want of better alone
    suspects = _without_consequences(case, better or allowed)
    born = [_beside(one) for one in found if one not in allowed and _is_born(case, one)]
    if not suspects:
        return []
    ranked = _ranked(case, suspects)
    if sum(one.share for one in ranked) < NAMED_FROM and better:
        # Hardly a pattern: what is left when all else is ruled out may still be said.
        ranked = _ranked(case, _without_consequences(case, allowed))
    if sum(one.share for one in ranked) < NAMED_FROM:
        return []
    chosen = [one for one in ranked if one.share >= ALSO_FROM][:MOST]
    if len(chosen) == 1:
        chosen += _second(chosen[0], _ranked(case, _without_consequences(case, allowed)))
    if len(chosen) == 1 and born:
        # By itself it would be sure, and it is not what is flagged: what the first leaves is its.
        alone = [replace(one, share=0.0) for one in _ranked(case, born)]
        chosen += _second(chosen[0], alone)
    lasted = 1 - 2.0 ** -max(1, min(past.samples, _persisted(past, flags)))
    named = []
    for one in chosen:
        suspect = one.suspect
        named.append(
            Cause(
                cause=suspect.word,
                confidence=round(min(SUREST[suspect.tier], one.share * lasted), 2),
                evidence=suspect.evidence + _symptoms(past, flags),
                advice=suspect.advice,
                model=model.name,
                layer=suspect.layer,
                onset_step=past.began(suspect.onset),
            )
        )
    return named


def _large_after(first: Suspect, other: Suspect) -> bool:
    """Whether the other is steps that were large when the first was at work already."""
    later = (other.onset, other.phase) > (first.onset, first.phase)
    return other.word == HIGH_RATE and later


def _is_born(case: Case, suspect: Suspect) -> bool:
    """Whether it was there before the first step, and next to no run shows as much without it."""
    before = suspect.root and (suspect.onset, suspect.phase) <= (case.start, 0)
    weight = _own_odds(suspect, case.facts.seen, _unseen(case, case.facts.seen))
    return before and weight / (1 + weight) >= NEVER_SOUND


def _beside(suspect: Suspect) -> Suspect:
    return replace(
        suspect,
        evidence=[
            *suspect.evidence,
            "it was so before the first step, whether or not what is flagged comes of it",
        ],
    )


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A cause with the share of all signs of it, told by the strongest of them."""

    suspect: Suspect
    share: float
    alone: float
    """Its share, were it the only suspect."""


def _ranked(case: Case, suspects: list[Suspect]) -> list[_Weighed]:
    """The causes, best first; two signs of the same one add up."""
    shares, weights = _shares(case, suspects)
    best: dict[str, Suspect] = {}
    for suspect in suspects:
        known = best.get(suspect.word)
        if known is None or shares[id(suspect)] > shares[id(known)]:
            best[suspect.word] = suspect
    found = []
    for word, suspect in best.items():
        own = weights[id(suspect)]
        share = sum(shares[id(each)] for each in suspects if each.word == word)
        found.append(_Weighed(suspect, share, own / (1 + own)))
    return sorted(found, key=lambda one: -one.share)


def _second(first: _Weighed, others: list[_Weighed]) -> list[_Weighed]:
    """What would be believed if the first were not there; it shares what the first leaves.

    Beside a sure one nothing that may be its work is a rival: of 120 such, units that saturated and
    steps that were large after inputs out of scale, say, not one was what had been done to the run.
    """
    left = 1 - min(first.share, SUREST[first.suspect.tier])
    exact = first.suspect.tier is Tier.EXACT
    unsure = first.share < NEARLY_SURE and not exact
    sure = exact or first.share >= SUREST[Tier.PATTERN]
    for one in others:
        follows = sure and (not one.suspect.root or _large_after(first.suspect, one.suspect))
        if one.suspect.word == first.suspect.word or follows:
            continue
        residual = one.suspect.tier is Tier.RESIDUAL
        if (unsure and one.suspect.root) if residual else one.alone >= PLAUSIBLE:
            return [_Weighed(one.suspect, max(one.share, left * one.alone), one.alone)]
    return []


def _without_consequences(case: Case, suspects: list[Suspect]) -> list[Suspect]:
    """By definition: units that die or saturate after a ruinous update did not do so by nature.

    After one that nothing followed they may have: where the evidence speaks against a rate that is
    too high, nothing is taken for its work.
    """
    rates = (s for s in suspects if s.word == HIGH_RATE and s.root)
    ruin = next((s for s in rates if _likely(case, s)), None)
    if ruin is None:
        return suspects
    return [s for s in suspects if s.root or (s.onset, s.phase) < (ruin.onset, ruin.phase)]


def _shares(case: Case, suspects: list[Suspect]) -> tuple[dict[int, float], dict[int, float]]:
    """Share of each suspect, by identity, in all that it could be, and its odds."""
    # What the evidence speaks against made nothing of what came after it.
    likely = [s for s in suspects if _likely(case, s)] or suspects
    roots = [s for s in likely if s.root]
    # What came before every root was not made by one.
    lesser = _of_lesser_symptoms(case, likely)
    first = min((s.onset, s.phase) for s in likely if id(s) not in lesser)
    seen = case.facts.seen
    early = [s for s in suspects if (s.onset, s.phase) == first]
    apart = seen - CONSEQUENCES
    able = (s for s in early if not s.explains <= NO_STEP)
    found = any(_own_odds(s, apart, _unseen(case, apart)) >= 1 for s in able)
    if "large_update" in seen and found and all(s.word != HIGH_RATE for s in early):
        # What large updates do they do whoever made them: it does not speak against the earlier
        # fault that can make them large, where that is likelier than not.
        seen = apart
    weighed = {}
    unseen = _unseen(case, seen)
    for suspect in suspects:
        if not suspect.root and roots and first < (suspect.onset, suspect.phase):
            weight = 0.05  # dead or saturated after something else: a consequence
        else:
            weight = 1.0 if (suspect.onset, suspect.phase) == first else 0.25
        if id(suspect) in lesser:
            weight *= LESSER
        weighed[id(suspect)] = weight * _own_odds(suspect, seen, unseen)
    sure = (s for s in suspects if s.tier is Tier.EXACT and id(s) not in lesser)
    exact = max(sure, key=_belief, default=None)
    if exact is None:
        total = 1 + sum(weighed.values())
        return {key: value / total for key, value in weighed.items()}, weighed
    # A test of values outweighs any count of circumstances; those share what it leaves.
    total = 1 + sum(value for key, value in weighed.items() if key != id(exact))
    left = 1 - exact.belief
    shares = {key: left * value / total for key, value in weighed.items()}
    return shares | {id(exact): exact.belief}, weighed


def _of_lesser_symptoms(case: Case, suspects: list[Suspect]) -> set[int]:
    """Those that bring about nothing of what the run has come to, where others do; by identity."""
    ends = tuple(f for f in case.flags if f.severity == "critical" and f.kind in ENDS)
    lesser = {id(suspect) for suspect in suspects if not _explains(suspect, ends)}
    return lesser if len(lesser) < len(suspects) else set()


def _likely(case: Case, suspect: Suspect) -> bool:
    """Whether the evidence does not speak against it."""
    seen = case.facts.seen
    return _own_odds(suspect, seen, _unseen(case, seen)) >= HARDLY


def _own_odds(suspect: Suspect, seen: frozenset[str], unseen: frozenset[str]) -> float:
    if suspect.row:
        return odds(suspect.row, seen, unseen)
    return suspect.belief / (1 - suspect.belief)


def _unseen(case: Case, seen: frozenset[str]) -> frozenset[str]:
    """What a run that broke within ten steps, or one sample, of a large update could not show."""
    large, broken = case.model.large_update_step, case.model.broken.step
    if (
        large is None
        or broken is None
        or (broken - large > EARLY_STEPS and not _next_sample(case.past, large, broken))
        or case.model.broken.sound_outside
    ):
        return frozenset()
    return CONSEQUENCES - seen


def _next_sample(past: Past, step: int, later: int) -> bool:
    return past.samples_at(later) - past.samples_at(step) <= 1


def _belief(suspect: Suspect) -> float:
    return suspect.belief


def _symptoms(past: Past, flags: Sequence[Flag]) -> list[str]:
    lines = []
    for flag in sorted(flags, key=lambda flag: flag.onset_step)[:3]:
        where = f" in {flag.layer}" if flag.layer else ""
        lines.append(f"step {past.began(flag.onset_step)}: {flag.kind}{where}: {flag.message}")
    return lines


def _persisted(past: Past, flags: Sequence[Flag]) -> int:
    """For how many samples a symptom has shown, at least the three that opened it."""
    since = min(flag.raised_step for flag in flags)
    return 3 + (past.samples - past.samples_at(since))


LASTING = frozenset({"constant-predictor", "loss-plateau"})
"""What every network starts as, or may be for a while; that it stays so is the symptom, and its
cause may have set in until it was raised."""


def _explains(suspect: Suspect, flags: Sequence[Flag]) -> bool:
    """Whether it can bring about a standing symptom and was there when that began."""
    return any(
        flag.kind in suspect.explains
        and suspect.onset <= (flag.raised_step if flag.kind in LASTING else flag.onset_step) + 1
        for flag in flags
    )
