"""Parts of networks that work against themselves: attention, routers, batch normalisation."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from deadband.wire import Flag, Layer
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.attention import HOT_LOGIT, drawn_heat
from deadband_monitor.rules.causes.base import Case, Suspect, Tier
from deadband_monitor.rules.causes.facts import LARGE_WEIGHTS, lost_at_once
from deadband_monitor.rules.causes.high_rate import BLOW_UP, HEALTHY_UPDATE
from deadband_monitor.rules.causes.words import rounded
from deadband_monitor.rules.losses import is_below_zero
from deadband_monitor.rules.normalisation import (
    FEWEST_KEPT,
    FEWEST_VALUES,
    SMALLEST_MOMENTUM,
    batches_kept,
)
from deadband_monitor.rules.structure import routers

LEARNT = 0.7
"""Share of its first value that the loss of a run that learns has come to for twenty steps."""

SHARP = 0.3
"""Share of the most entropy below which attention was born one-sided: standardised queries and keys
over the root of their size begin at 0.8 and more, logits of 50 at 0.1."""

UNEVEN_CHOICES = 0.7
"""Share of their first entropy that choices keep where they are balanced, however they specialise:
routers of healthy runs stay above 0.8 of it."""

SAME_FIGURES = 1e-3
"""Of a batch of 64 values, mean and variance lie 0.1 from any other's; float32 rounds at 1e-6."""
UNCHANGED = 0.05
"""What the first steps of gain and offset may have made of an output."""

_STUCK = frozenset({"output-collapse", "constant-predictor", "loss-plateau"})


def suspects(case: Case) -> Iterator[Suspect]:
    """Router collapse, attention collapse, misuse of batch normalisation."""
    inside = case.flag("representation-collapse")
    if inside is not None and "choice_entropy" in inside.evidence:
        yield _router(inside)
    else:
        yield from _unbalanced(case)
    attention = case.flag("attention-collapse")
    sharp = tuple(_born_sharp(case, attention))
    yield from sharp
    if attention is not None and not sharp:
        yield _attention(case, attention)
    yield from _sees_one_key(case)
    norm = case.flag("batchnorm-mismatch")
    yield from _in_evaluation(case)
    if norm is not None:
        yield from _norm(case, norm)
    elif case.flag("overfitting") is not None:
        yield from _lagging(case)


def _router(flag: Flag) -> Suspect:
    experts = flag.evidence["experts"]
    gate = flag.layer.split(":", 1)[0]
    lines = [
        f"the choices among {experts:.0f} experts have {flag.evidence['choice_entropy']:.2g} "
        f"of the entropy of an even load, since step {flag.onset_step}"
    ]
    if "idle" in flag.evidence:
        lines.append(f"{flag.evidence['idle']:.0%} of them are given no input at all")
    return Suspect(
        word="router-collapse",
        belief=0.92,
        onset=flag.onset_step,
        explains=_STUCK | {"representation-collapse"},
        evidence=lines,
        advice=(
            "add 0.01 * E * (share * p.mean(0)).sum() to the loss, p the router's probabilities "
            "and share the part of the inputs each expert got (Switch Transformer); start the "
            f"router small and even: nn.init.normal_({gate}.weight, std=0.01), bias 0; add noise "
            "to its logits while training"
        ),
        layer=flag.layer,
    )


def _unbalanced(case: Case) -> Iterator[Suspect]:
    """Choices grow uneven while the loss falls below zero: its balance is driven the wrong way."""
    layout = case.layout
    if not is_below_zero(case.past, case.model):
        return
    for row in routers(layout, layout.index_of[case.model.name]):
        began, now = (
            float(each[row, LAYER_COLUMN["choice_entropy"]])
            for each in (case.past.first, case.past.newest)
        )
        if now < UNEVEN_CHOICES * began:
            gate = layout.layers[row].name
            yield Suspect(
                word="router-collapse",
                belief=0.7,
                onset=case.start,
                explains=_STUCK | {"loss-divergence", "representation-collapse"},
                evidence=[
                    f"the choices of {gate} had {began:.2g} of the entropy of an even load and "
                    f"have {now:.2g}",
                    f"the loss is {case.past.loss.fresh:.3g}, below what {case.build.loss} can be: "
                    "what is added to it rewards an uneven load",
                ],
                advice="add the balance with a plus: loss + 0.01 * E * (share * p.mean(0)).sum(), "
                "p the router's probabilities, share the part of the inputs each of E experts got",
                layer=gate,
            )
            return


def _attention(case: Case, flag: Flag) -> Suspect:
    figures = flag.evidence
    entropy = figures.get("attention_entropy", math.nan)
    first = figures.get("first_attention_entropy", math.nan)
    if entropy < 0.5 * first:
        return _peaked(case, flag, entropy, first)
    row = case.layout.row_of.get((case.model.name, flag.layer), -1)
    began = float(case.past.first[row, LAYER_COLUMN["token_similarity"]]) if row >= 0 else math.nan
    born = began > 0.99 and not _learnt_and_lost(case)
    lines = [f"tokens of {flag.layer}: mean cosine {figures.get('token_similarity', math.nan):.5f}"]
    if born:
        lines.append(f"at the first sample it was {began:.5f} already: the weights had not moved")
    return Suspect(
        word="attention-collapse",
        belief=0.9 if born else 0.5,
        onset=case.start if born else flag.onset_step,
        explains=_STUCK | {"attention-collapse", "representation-collapse", "vanishing-gradient"},
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
        explains=_STUCK | {"attention-collapse", "representation-collapse", "vanishing-gradient"},
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


def _learnt_and_lost(case: Case) -> bool:
    """Whether the loss fell and was lost again later: what was so at birth did not keep it up."""
    flag, loss = case.flag("loss-divergence") or case.flag("output-collapse"), case.past.loss
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
            explains=_STUCK | BLOW_UP | {"attention-collapse"},
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


def _drawn_hot(case: Case, name: str, heat: float, *, flagged: bool) -> Suspect:
    return Suspect(
        word="attention-collapse",
        belief=0.93 if flagged else 0.8,
        onset=case.start,
        explains=_STUCK | BLOW_UP | {"attention-collapse"},
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
        explains=_STUCK | {"attention-collapse", "representation-collapse"},
        evidence=lines,
        advice=(
            f"{scale}{lower} with a warm-up over the first 500 steps; normalise queries and keys "
            "before their product (QK-norm: q, k = norm_q(q), norm_k(k)); put the LayerNorm before "
            "the attention, not after the sum"
        ),
        layer=flag.layer,
    )


def _in_evaluation(case: Case) -> Iterator[Suspect]:
    """Training steps whose norms use their running figures, and these are as they were made.

    A normalisation by anything else than the running figures has other figures than theirs. Frozen
    norms of a trained model have figures of their own; mean 0 and variance 1 change nothing.
    """
    layout = case.layout
    rows = layout.rows(case.model.name)
    norms = [r for r in rows.tolist() if layout.layers[r].kind.startswith("BatchNorm") and r > 0]
    if not norms:
        return
    first = case.past.first[norms]
    ratio, shift, size = (LAYER_COLUMN[n] for n in ("norm_ratio", "norm_shift", "out_rms"))
    exact = np.abs(first[:, ratio] - 1) < SAME_FIGURES
    exact &= first[:, shift] < SAME_FIGURES
    fed = case.past.first[[row - 1 for row in norms], size]
    idle = np.abs(first[:, size] / fed - 1) < UNCHANGED
    # Not by the newest sample: of values that outgrew their format it has none.
    lowest, highest = case.past.lowest[norms, ratio], case.past.highest[norms, ratio]
    still = (lowest > 1 - SAME_FIGURES) & (highest < 1 + SAME_FIGURES)
    if not (exact.all() and idle.mean() > 0.5 and still.mean() >= 0.5):
        return
    name = layout.layers[norms[0]].name
    yield Suspect(
        word="batchnorm-misuse",
        tier=Tier.EXACT,
        belief=0.93,
        onset=case.start,
        explains=BLOW_UP | {"overfitting", "batchnorm-mismatch"},
        evidence=[
            f"{name} and {len(norms) - 1} more put out what they are given: they normalise by "
            "running figures that are as they were made (mean 0, variance 1), not by the batch"
        ],
        advice="model.train() before the training loop, and again after each evaluation: "
        "model.eval() is still in force",
        layer=name,
    )


def lags(case: Case) -> Layer | None:
    """A batch normalisation whose running figures cannot have arrived yet, by how it was built."""
    for layer in case.layout.layers:
        momentum = layer.options.get("momentum", math.nan)
        norm = layer.model == case.model.name and layer.kind.startswith("BatchNorm")
        if norm and 0 <= momentum < SMALLEST_MOMENTUM and momentum * case.past.step < 1:
            return layer
    return None


def _lagging(case: Case) -> Iterator[Suspect]:
    """Measured too seldom for the rule on its figures; how the layer was built says it."""
    layer, flag = lags(case), case.flag("overfitting")
    if layer is None or flag is None:
        return
    momentum = layer.options["momentum"]
    yield Suspect(
        word="batchnorm-misuse",
        belief=0.93,
        onset=case.start,
        explains=frozenset({"overfitting", "batchnorm-mismatch"}),
        evidence=[
            f"{layer.name}: momentum {momentum:g}: after {case.past.step} steps its running "
            f"figures hold {min(1.0, momentum * case.past.step):.1%} of what training saw, and "
            "evaluation uses them"
        ],
        advice=f"{layer.kind}(..., momentum=0.1): it is the share of the new batch, what Keras and "
        "TensorFlow call 1 - momentum; for this run, set it and run a few hundred batches in "
        "train() under torch.no_grad() before evaluating",
        layer=layer.name,
    )


def _norm(case: Case, flag: Flag) -> Iterator[Suspect]:
    layer = next((x for x in case.layout.layers if x.name == flag.layer), None)
    momentum = layer.options.get("momentum", math.nan) if layer is not None else math.nan
    kind = layer.kind if layer is not None else "BatchNorm"
    figures = flag.evidence
    explains = _STUCK | {"batchnorm-mismatch", "overfitting"}
    lines = []
    if "norm_ratio" in figures:
        lines.append(
            f"{flag.layer}: batch variance {figures['norm_ratio']:.2g} times the running one"
        )
    apart = case.flag("overfitting")
    train, held = case.past.loss.fresh, case.model.value("eval_loss")
    if held > 2 * train > 0:
        lines.append(f"the loss is {held:.3g} in evaluation, {train:.3g} in training")
    if "norm_test_shift" in figures:
        yield Suspect(
            word="batchnorm-misuse",
            belief=0.9,
            onset=flag.onset_step,
            explains=explains,
            evidence=[
                f"{flag.layer}: forwards under torch.no_grad() in training mode: their batches lie "
                f"{figures['norm_test_shift'] ** 0.5:.2g} running sd from training's and are "
                "normalised by their own mean and variance, which move the running figures too"
            ],
            advice="model.eval() before the evaluation loop and model.train() behind it: answers "
            "must not depend on which rows share a batch",
            layer=flag.layer,
        )
    elif figures.get("norm_values", math.inf) <= FEWEST_VALUES:
        yield Suspect(
            word="batchnorm-misuse",
            belief=0.93,
            onset=flag.onset_step,
            explains=explains,
            evidence=[f"{flag.layer} normalises {figures['norm_values']:.0f} values at a time"],
            advice=(
                f"batches of 16 and more, or nn.LayerNorm / nn.GroupNorm in place of {kind}; "
                "drop_last=True in the loader if only the last batch is so small"
            ),
            layer=flag.layer,
        )
    elif figures.get("norm_values", math.inf) * batches_kept(momentum) < FEWEST_KEPT:
        values = figures["norm_values"]
        yield Suspect(
            word="batchnorm-misuse",
            belief=0.93,
            onset=case.start,
            explains=explains,
            evidence=[
                f"{flag.layer}: {values:.0f} values are normalised together and momentum is "
                f"{momentum:g}: its running figures are those of the last "
                f"{values * batches_kept(momentum):.0f} values, and evaluation uses them"
            ],
            advice=f"{kind}(..., momentum=0.1), the share of the new batch, and batches of 16 and "
            "more; for this run, recompute the running figures "
            "(torch.optim.swa_utils.update_bn(loader, model)) before evaluating",
            layer=flag.layer,
        )
    elif momentum < SMALLEST_MOMENTUM:
        yield Suspect(
            word="batchnorm-misuse",
            belief=0.93,
            onset=flag.onset_step,
            explains=explains,
            evidence=[
                f"{flag.layer}: momentum {momentum:g}, its running figures need "
                + (f"{3 / momentum:.0f} steps to arrive" if momentum > 0 else "for ever to arrive"),
                *lines,
            ],
            advice=(
                f"{kind}(..., momentum=0.1): it is the share of the new batch, what Keras and "
                f"TensorFlow call 1 - momentum; for this run, set it and run a few hundred batches "
                "in train() under torch.no_grad() before evaluating"
            ),
            layer=flag.layer,
        )
    elif case.model.large_update_step is None:
        yield Suspect(
            word="batchnorm-misuse",
            # An evaluation that is far from training is what these figures lead to.
            belief=0.85 if apart is not None else 0.6,
            onset=flag.onset_step if apart is None else min(flag.onset_step, apart.onset_step),
            explains=explains,
            evidence=lines,
            advice=(
                "evaluation will not see what training saw: shuffle the batches, keep different "
                "sources of data out of one normalisation, and recompute the running figures "
                "(torch.optim.swa_utils.update_bn(loader, model)) before evaluating"
            ),
            layer=flag.layer,
        )
