"""Attention that was born one-sided, went so, or is given nothing to choose from."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from deadband.wire import Flag
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.attention import ALIKE, CALM, FALLEN, HOT_LOGIT, drawn_heat
from deadband_monitor.rules.causes.base import STUCK, Case, Suspect
from deadband_monitor.rules.causes.facts import LARGE_WEIGHTS, lost_at_once
from deadband_monitor.rules.causes.high_rate import BLOW_UP, HEALTHY_UPDATE
from deadband_monitor.rules.causes.words import rounded

LEARNT = 0.7
"""Share of its first value that the loss of a run that learns has come to for twenty steps."""
SHARP = 0.3
"""Share of the most entropy below which attention was born one-sided: standardised queries and keys
over the root of their size begin at 0.8 and more, logits of 50 at 0.1."""
DROWNS = 10.0
"""Times the size of one part of a sum at which the other is not heard. Tables that begin alike have
1; letters drawn with 0.05 beside positions drawn with 1 were not told apart in 350 steps, which
took them from 3.0 to 2.3 nats where both began alike."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Attention collapse."""
    flag = case.flag("attention-collapse")
    sharp = tuple(_born_sharp(case, flag))
    yield from sharp
    if flag is not None and not sharp:
        yield _attention(case, flag)
    yield from _sees_one_key(case)
    yield from _drowned_tokens(case)


def _attention(case: Case, flag: Flag) -> Suspect:
    figures = flag.evidence
    entropy = figures.get("attention_entropy", math.nan)
    first = figures.get("first_attention_entropy", math.nan)
    alike = figures.get("token_similarity", math.nan) > ALIKE
    if entropy < FALLEN * first or (entropy < CALM * first and not alike):
        return _peaked(case, flag, entropy, first)
    row = case.layout.row_of.get((case.model.name, flag.layer), -1)
    began = float(case.past.first[row, LAYER_COLUMN["token_similarity"]]) if row >= 0 else math.nan
    born = began > ALIKE and not _learnt_and_lost(case)
    lines = [f"tokens of {flag.layer}: mean cosine {figures.get('token_similarity', math.nan):.5f}"]
    if born:
        lines.append(f"at the first sample it was {began:.5f} already: the weights had not moved")
    return Suspect(
        word="attention-collapse",
        belief=0.9 if born else 0.5,
        onset=case.start if born else flag.onset_step,
        explains=STUCK | {"attention-collapse", "representation-collapse", "vanishing-gradient"},
        evidence=lines,
        advice=(
            "attention without a way past it averages its tokens, doubly fast with depth: add the "
            "residual, x = x + attention(norm(x)), around every attention and feed-forward block; "
            "or take fewer blocks"
        ),
        layer=flag.layer,
    )


def _sees_one_key(case: Case) -> Iterator[Suspect]:
    """Before anything was learnt, attention gave one answer for inputs that were not alike.

    Weights drawn at random mix what they are shown: they were shown the same for every input.
    """
    layout, first = case.layout, case.past.first
    if case.build.late or case.flag("output-collapse") is None:
        return
    row = lost_at_once(case.past, layout, layout.rows(case.model.name))
    if row is None or "attention" not in layout.layers[row].kind.lower():
        return
    name = layout.layers[row].name
    inside = [
        each
        for each in layout.rows(case.model.name).tolist()
        if layout.layers[each].name.startswith(name)
    ]
    if (first[inside, LAYER_COLUMN["weight_rms"]] == 0).any():
        return  # weights of zero are another fault, and give one answer too
    given = first[:row, LAYER_COLUMN["out_variance"]]
    yield Suspect(
        word="attention-collapse",
        belief=0.85,
        onset=case.start,
        explains=STUCK | {"attention-collapse", "representation-collapse", "vanishing-gradient"},
        evidence=[
            f"first sample: {name} was given inputs of which {given[np.isfinite(given)][-1]:.2g} "
            "is what tells them apart, and put out the same for all: the keys that it may look at "
            "are the same in every input"
        ],
        advice=f"look at the mask of {name}: key_padding_mask (and a boolean attn_mask) is True "
        "where a key is NOT to be looked at, in scaled_dot_product_attention where it is; "
        "key_padding_mask=(tokens == PAD)",
        layer=name,
    )


def _drowned_tokens(case: Case) -> Iterator[Suspect]:
    """Of two tables whose rows are added up, say tokens and positions, one is all that is heard.

    Either may be of any size by itself; a normalisation behind the sum divides by the larger.
    """
    layout, first = case.layout, case.past.first[:, LAYER_COLUMN["out_rms"]]
    rows = layout.rows(case.model.name)
    rows = rows[layout.embedding[rows] & (first[rows] > 0)]
    if case.build.late or len(rows) < 2 or len({layout.layers[row].units for row in rows}) > 1:
        return
    quiet, loud = rows[first[rows].argmin()], rows[first[rows].argmax()]
    if not first[loud] > DROWNS * first[quiet]:
        return
    yield Suspect(
        word="bad-initialisation-scale",
        belief=0.75,
        onset=case.start,
        explains=STUCK | {"attention-collapse", "representation-collapse"},
        evidence=[
            f"first sample: {layout.layers[quiet].name} puts out {first[quiet]:.2g} (rms), "
            f"{layout.layers[loud].name} {first[loud]:.2g}: in their sum the first is not heard"
        ],
        advice=f"draw both alike, nn.init.normal_(..., std=0.02), or scale the sum's parts: "
        f"{layout.layers[loud].name} began {first[loud] / first[quiet]:.2g} times as large",
        layer=layout.layers[quiet].name,
    )


def _learnt_and_lost(case: Case) -> bool:
    """Whether the loss fell and was lost again later: what was so at birth did not keep it up."""
    flag, loss = case.flag("loss-divergence", "output-collapse"), case.past.loss
    return flag is not None and flag.onset_step > case.start and loss.best < LEARNT * loss.first


def _born_sharp(case: Case, flag: Flag | None) -> Iterator[Suspect]:
    """Each query saw one key before anything was learnt: its choice has no gradient to mend it."""
    flagged = flag.layer if flag is not None else ""
    layout, first = case.layout, case.past.first
    heat = drawn_heat(case.past, layout)
    spreads = case.facts.spreads
    # Where all weights are as wide, so are those of queries and keys.
    wide = len(spreads) > 0 and bool(np.median(spreads) > LARGE_WEIGHTS)
    for row in layout.rows(case.model.name).tolist():
        logit = float(first[row, LAYER_COLUMN["attention_logit"]])
        entropy = float(first[row, LAYER_COLUMN["attention_entropy"]])
        name = layout.layers[row].name
        if flag is not None and name != flagged:
            continue
        if math.isnan(entropy) and heat[row] > HOT_LOGIT:
            yield _drawn_hot(case, name, float(heat[row]), flagged=flag is not None)
            return
        if not entropy < SHARP or logit <= HOT_LOGIT:
            continue
        yield Suspect(
            word="attention-collapse",
            belief=0.93 if flag is not None else 0.8,
            onset=case.start,
            phase=int(wide),
            root=not wide,
            explains=_work_of_sharp(case),
            evidence=[
                f"first sample: the entropy of {name} was {entropy:.2g} of the most"
                + (f", its largest logit {logit:.3g}" if logit > 0 else "")
                + ": each query looked at one key, chosen at random"
            ],
            advice="divide q @ k.T by sqrt(head size); draw the weights of queries and keys with "
            "nn.init.xavier_uniform_, or normalise both before their product (QK-norm)",
            layer=name,
        )
        return


def _work_of_sharp(case: Case) -> frozenset[str]:
    """What attention does that was born sharp; what breaks behind sound outputs is not its work."""
    outside = {"non-finite"} if case.model.broken.sound_outside else set[str]()
    return (STUCK | BLOW_UP | {"attention-collapse"}) - outside


def _drawn_hot(case: Case, name: str, heat: float, *, flagged: bool) -> Suspect:
    return Suspect(
        word="attention-collapse",
        belief=0.93 if flagged else 0.8,
        onset=case.start,
        explains=_work_of_sharp(case),
        evidence=[
            f"first sample: by the weights of {name} and what it is given, its scores are about "
            f"{heat:.2g}; of scores above {HOT_LOGIT:g} one key takes all"
        ],
        advice="draw the weights of queries and keys with nn.init.xavier_uniform_, or normalise "
        "both before their product (QK-norm)",
        layer=name,
    )


def _peaked(case: Case, flag: Flag, entropy: float, first: float) -> Suspect:
    logit = flag.evidence.get("attention_logit", math.nan)
    lines = [f"entropy of {flag.layer} fell from {first:.2g} to {entropy:.2g} of the most"]
    if math.isfinite(logit):
        lines.append(f"its largest logit is {logit:.3g}")
    model = case.model
    lr, update = model.value("lr"), model.peak_update
    lower = "a lower rate"
    if lr > 0 and update > 3 * HEALTHY_UPDATE:
        lower = f"lr {lr:g} -> about {rounded(lr * HEALTHY_UPDATE / update)}"
        lines.append(f"one update changed a weight by {update:.2g} of itself")
    scale = ""
    row = case.layout.row_of.get((model.name, flag.layer), -1)
    hot = float(case.past.first[row, LAYER_COLUMN["attention_logit"]]) if row >= 0 else math.nan
    if hot > HOT_LOGIT:
        scale = "divide q @ k.T by sqrt(head size); "
        lines.append(f"its largest logit began at {hot:.3g}: the scores are not scaled")
    return Suspect(
        word="attention-collapse",
        # Inside a transformer this is mostly what a rate that is too high looks like; where a
        # single update was ruinous, that is named with it, and the rate is the thing to mend.
        belief=0.4 if model.large_update_step is not None else 0.75,
        onset=flag.onset_step,
        explains=STUCK | {"attention-collapse", "representation-collapse"},
        evidence=lines,
        advice=(
            f"{scale}{lower} with a warm-up over the first 500 steps; normalise queries and keys "
            "before their product (QK-norm: q, k = norm_q(q), norm_k(k)); put the LayerNorm before "
            "the attention, not after the sum"
        ),
        layer=flag.layer,
    )
