"""Models that make samples or teach themselves: what lets them fall to one answer."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deadband.wire import Flag
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import Case, Suspect
from deadband_monitor.rules.causes.words import rounded
from deadband_monitor.rules.generative import ALIKE
from deadband_monitor.rules.outputs import EXACT
from deadband_monitor.rules.representation import ALIVE, LOST, POINT, makes_samples
from deadband_monitor.rules.structure import latents
from deadband_monitor.rules.views import nothing_left

_VARIANCE = LAYER_COLUMN["out_variance"]
KIND = "representation-collapse"

_OUTPUT = frozenset({KIND, "output-collapse", "constant-predictor", "dead-units", "saturation"})
OPEN = 1.5
"""Times the entropy of the likeliest classes that soft targets cost a constant answer: those of
labels, smoothed by a tenth too, cost up to 1.3 times."""
ONE_SIDED = 0.6
"""Share of its first that the entropy of the likeliest classes has come down to: data that are
shuffled keep theirs."""
ARRIVES = 1 / 3
"""Share of what a decoder's first layer asks for that comes to the means at the first sample where
the way is cut: in 24 autoencoders that draw, nine of which learnt, it was 0.84 and more, in one
that drew under no_grad 0.15."""
THROWN = 10.0
"""Times its first value that a loss has risen to, which was thrown."""
LOST_LOSS = 4.0
"""Loss of a generator, nats: the discriminator gives its samples less than 2 %."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Mode collapse, a missing stop-gradient, a posterior that equals its prior, a codebook."""
    yield from _one_code(case)
    if _answers_itself(case):
        yield _no_centre(case)
    flag = case.flag(KIND)
    diversity = case.model.value("diversity")
    collapsed = case.flag("output-collapse")
    # With optimisers that take turns, not every sample holds both models.
    if flag is not None and "diversity" in flag.evidence:
        yield _mode_collapse(case, flag, flag.evidence["diversity"])
    elif collapsed is not None and (diversity < ALIKE or makes_samples(case.layout, case.model)):
        yield _mode_collapse(case, collapsed, diversity)
    if flag is None:
        yield from _met_at_one_point(case)
        return
    if "participation_at_start" in flag.evidence and not _thrown_together(case, flag):
        yield _no_stop(case, flag)
    if "nats_a_unit" in flag.evidence:
        yield _cut_latent(case, flag) or _empty_latent(case, flag)


def _one_code(case: Case) -> Iterator[Suspect]:
    """Every input is given the same row of a codebook, though the encoder tells inputs apart."""
    layout, past = case.layout, case.past
    now, first = past.newest[:, _VARIANCE], past.first[:, _VARIANCE]
    rows = [row for row in layout.rows(case.model.name).tolist() if math.isfinite(now[row])]
    for before, book, after in zip(rows, rows[1:], rows[2:], strict=False):
        same = now[book] < EXACT and now[after] < LOST
        # Positions have the same embedding in every sample; what they are added to varies.
        positions = first[book] < EXACT and first[after] > ALIVE
        if layout.embedding[book] and same and now[before] > ALIVE and not positions:
            layer = layout.layers[book]
            yield Suspect(
                word="posterior-collapse",
                belief=0.85,
                onset=case.start,
                explains=_OUTPUT | {"loss-plateau", "vanishing-gradient"},
                evidence=[
                    f"{layer.name} gives the same row for every input, though "
                    f"{layout.layers[before].name} before it still tells them apart "
                    f"(out variance {now[before]:.2g})"
                ],
                advice=(
                    f"one code of {layer.name} is nearest to all: start the codes from the "
                    "encoder's first outputs (k-means), update them by moving averages, and set "
                    "codes that are not used for 100 steps to a row of the batch"
                ),
                layer=layer.name,
            )


def _mode_collapse(case: Case, flag: Flag, diversity: float) -> Suspect:
    most = flag.evidence.get("most_diverse", math.nan)
    lines = [f"its samples lie {diversity:.2g} times as far apart as the real ones"]
    if most > 3 * ALIKE:
        lines.append(f"within 200 steps they were {most:.2g} times as far apart, and alike again")
    if "far_out" in flag.evidence:
        lines.append(f"they lie {flag.evidence['far_out']:.3g} times as far from zero as those")
    if "aside" in flag.evidence:
        lines.append(
            f"their middle lies {flag.evidence['aside']:.2g} spreads of the real ones beside "
            f"theirs, and the scores of the discriminator differ by {flag.evidence['told']:.1g}"
        )
    beaten = case.past.loss.fresh > LOST_LOSS
    if beaten:
        lines.append(f"the loss stands at {case.past.loss.fresh:.3g}: the discriminator has won")
    return Suspect(
        word="adversarial-mode-collapse",
        belief=0.9,
        onset=flag.onset_step,
        explains=_OUTPUT,
        evidence=lines,
        advice=_rebalance(case, beaten=beaten),
        layer=flag.layer,
    )


def _rebalance(case: Case, *, beaten: bool) -> str:
    own = case.model.value("lr")
    rates = ""
    if beaten:
        rates = (
            "the discriminator is too strong: one step of it for each of the generator's, a lower "
            "rate, torch.nn.utils.spectral_norm on its layers, labels of 0.9 for real"
        )
    elif own > 0:
        rates = (
            f"generator lr {own:g} -> about {rounded(own / 4)}, the discriminator's four times as "
            "high (two time scales, Heusel et al. 2017), Adam betas=(0.5, 0.999)"
        )
    else:
        rates = "a generator rate of a quarter of the discriminator's, Adam betas=(0.5, 0.999)"
    return (
        f"{rates}; if it comes back: a Wasserstein loss with gradient penalty, or the standard "
        "deviation over the minibatch as one more input of the discriminator's last layer"
    )


def _answers_itself(case: Case) -> bool:
    """The model's own answers are its soft targets, and both come to be the same for all inputs."""
    model = case.model
    if case.flag("constant-predictor") is None or case.layout.several_models:
        return False
    entropy, first = model.latest("label_entropy"), model.start("label_entropy")
    spread, said = model.latest("out_variance"), model.latest("majority_predicted")
    soft = model.latest("loss_constant") > OPEN * first > 0
    follows = said > model.start("majority_predicted") and spread < ONE_SIDED * model.start(
        "out_variance"
    )
    return soft and entropy < ONE_SIDED * first and follows


def _no_centre(case: Case) -> Suspect:
    model = case.model
    return Suspect(
        word="missing-stop-gradient",
        belief=0.85,
        onset=case.start,
        explains=_OUTPUT | {"loss-plateau"},
        evidence=[
            "the soft targets fall together with the answers: the entropy of their likeliest "
            f"classes went from {model.start('label_entropy'):.2g} to "
            f"{model.latest('label_entropy'):.2g}, the outputs' share of variance from "
            f"{model.start('out_variance'):.2g} to {model.latest('out_variance'):.2g}"
        ],
        advice="a teacher that is a copy of the student falls with it to one answer: subtract the "
        "mean of its outputs (centring) and divide them by 0.04 (sharpening) before its softmax, "
        "as in DINO; the stop-gradient alone does not hold it",
    )


def _thrown_together(case: Case, flag: Flag) -> bool:
    """A step that was too large threw the loss up before the embeddings met at one point.

    Views that are drawn together only ever lower it.
    """
    large, loss = case.model.large_update_step, case.past.loss
    return (
        large is not None
        and large <= flag.onset_step
        and math.isfinite(loss.first)
        and loss.highest > THROWN * loss.first > 0
    )


def _no_stop(case: Case, flag: Flag) -> Suspect:
    figures = flag.evidence
    lines = []
    if figures["participation_at_start"] > figures.get("participation", math.nan):
        lines.append(
            f"the embeddings of {flag.layer} use {figures['participation']:.2g} directions, they "
            f"began with {figures['participation_at_start']:.2g}"
        )
    if figures.get("cosine", 0.0) > 0.99:
        lines.append(f"their mean cosine is {figures['cosine']:.4f}: one point for all inputs")
    # One point for every input is what pulling two views together alone must lead to; fewer
    # directions can have other reasons.
    return _drawn_together(case, lines, 0.93 if flag.severity == "critical" else 0.85, flag.layer)


def _met_at_one_point(case: Case) -> Iterator[Suspect]:
    """All outputs point one way and a cosine loss has nothing left: so do all its targets.

    Units that died of it are found sooner than views that were drawn together.
    """
    cosine, dead = case.model.latest("cosine"), case.flag("dead-units")
    flag = dead or case.flag("output-collapse")
    alike = case.build.loss == "cosine" and cosine > 1 - POINT
    if flag is None or not alike or not nothing_left(case.past.loss):
        return
    line = f"the mean cosine of the outputs is {cosine:.4f}: one point for all inputs"
    yield _drawn_together(case, [line], 0.85, flag.layer)


def _drawn_together(case: Case, lines: list[str], belief: float, layer: str) -> Suspect:
    loss = case.past.loss
    if math.isfinite(loss.fresh) and math.isfinite(loss.first):
        lines.append(f"meanwhile the loss went from {loss.first:.3g} to {loss.fresh:.3g}")
    return Suspect(
        word="missing-stop-gradient",
        belief=belief,
        onset=case.start,  # the loss was so from the first step, whenever it showed
        explains=_OUTPUT,
        evidence=lines,
        advice=(
            "detach the branch that is compared with: loss = -F.cosine_similarity(p, z.detach())"
            ".mean(), with a predictor on the other; or take the target from an averaged copy of "
            "the encoder under torch.no_grad(); or add VICReg's variance and covariance terms"
        ),
        layer=layer,
    )


def _cut_latent(case: Case, flag: Flag) -> Suspect | None:
    """What the decoder's first layer asks of the latent does not arrive at its means.

    The gradient behind a layer is its own through its weights. With the prior's it is more.
    """
    layout, first = case.layout, case.past.first
    found = latents(layout, layout.index_of[case.model.name])
    latent = next((each for each in found if layout.layers[each.mean].name == flag.layer), None)
    if latent is None or layout.layers[latent.decoder].kind != "Linear":
        return None
    decoder = layout.layers[latent.decoder]
    grad, weight = (first[latent.decoder, LAYER_COLUMN[k]] for k in ("out_grad_rms", "weight_rms"))
    asked = float(grad * weight) * math.sqrt(decoder.units)
    arrives = float(first[latent.mean, LAYER_COLUMN["out_grad_rms"]])
    if not arrives < ARRIVES * asked:
        return None
    return Suspect(
        word="detached-graph",
        belief=0.93,
        onset=case.start,
        explains=_OUTPUT | {"loss-plateau"},
        evidence=[
            f"at the first sample {decoder.name} asked for a change of {asked:.2g} of what "
            f"{flag.layer} gives, and {arrives:.2g} of gradient came to it: that of the prior alone"
        ],
        advice=f"between {flag.layer} and {decoder.name} the graph is cut: look for no_grad, "
        "detach, .data or .sample() (in place of .rsample()) where the latent is drawn",
        layer=flag.layer,
    )


def _empty_latent(case: Case, flag: Flag) -> Suspect:
    units, nats = flag.evidence["latents"], flag.evidence["nats_a_unit"]
    return Suspect(
        word="posterior-collapse",
        belief=0.93,
        onset=case.start,  # so was the weight of the prior
        explains=_OUTPUT | {"loss-plateau"},
        evidence=[
            f"none of the {units:.0f} units of {flag.layer} varies with the input by more than "
            "0.01 (Burda et al. 2016)",
            f"the posterior is the prior to {nats:.1g} nats a unit, and the decoder draws from it",
        ],
        advice=(
            "sum the reconstruction loss over all elements, F.mse_loss(out, x, reduction='sum') / "
            "len(x), as the KL is summed; weigh the KL by beta = min(1, step / 2000); or leave "
            "each unit 0.1 nats free: kl.mean(0).clamp(min=0.1).sum()"
        ),
        layer=flag.layer,
    )
