"""Data that are too few, or bad from some step on."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import Case, Suspect, Tier
from deadband_monitor.rules.causes.high_rate import BLOW_UP
from deadband_monitor.rules.causes.inputs import fed_by_a_broken_one
from deadband_monitor.rules.causes.rows import STARVED, few
from deadband_monitor.rules.feed import Change
from deadband_monitor.rules.inputs import change_in_words, told_all_the_same
from deadband_monitor.rules.model_past import RAISED
from deadband_monitor.rules.outputs import EXACT
from deadband_monitor.rules.representation import ALIVE

SETTLED = 50
"""Steps after which a loss that rises at once has left a level; earlier it is a start's doing."""
PAIRS_ADVICE = (
    "check that x[i] still belongs to y[i]: one of them shuffled, filtered or augmented without "
    "the other, an index that is one off, files of two versions"
)


def suspects(case: Case) -> Iterator[Suspect]:
    """Bad data, few rows."""
    yield from _bad(case)
    yield from few(case)


def _bad(case: Case) -> Iterator[Suspect]:
    feed = case.model.feed
    everything = BLOW_UP | STARVED
    if feed.broken_step is not None and not fed_by_a_broken_one(case):
        yield Suspect(
            word="bad-data",
            tier=Tier.EXACT,
            belief=0.97,
            onset=feed.broken_step,
            explains=everything,
            evidence=[f"step {feed.broken_step}: the inputs themselves hold NaN or infinity"],
            advice=f"find the rows of step {feed.broken_step}: torch.isfinite(x).all(dim=1); drop "
            "or impute them in the data set, assert it in the loader",
        )
    if feed.change is None or (
        feed.change is Change.PAIRS and told_all_the_same(case.past, case.model)
    ):
        yield from _apart(case)
        yield from _blank(case)
        yield from _odd_and_broken(case)
        yield from _jumped(case)
        return
    where = f"the batches of step {feed.since} and the ones before"
    # Sorted rows pass from one class to the next: what was flagged began with the first of them.
    flag = case.flag("input-anomaly")
    yield Suspect(
        word="bad-data",
        tier=Tier.EXACT,
        belief=0.97,
        onset=feed.since if flag is None else min(feed.since, flag.onset_step),
        explains=everything,
        evidence=[f"since step {feed.since} {change_in_words(feed)}; it was not so before"],
        advice={
            Change.REPEATED: f"the loader gives one batch for ever since step {feed.since}: look "
            "for a generator that ran dry, next(iter(loader)) inside the loop, a cached batch",
            Change.CONSTANT: f"print {where}: an empty shard, a mask or augmentation that erases, "
            "a buffer that is not filled",
            Change.RESCALED: f"compare {where}: a scaling that is left out or applied twice, "
            "another file or sensor",
            Change.LABELS: f"compare the labels of {where}: an unshuffled part of the data, a "
            "filter, a default label",
            Change.PAIRS: PAIRS_ADVICE,
            Change.TARGETS: f"compare the targets of {where}: other units, a scaling left out, "
            "outliers",
        }.get(feed.change, f"compare {where}"),
    )


def _odd_and_broken(case: Case) -> Iterator[Suspect]:
    """Inputs left their scale and the run broke: it did not live to show that this lasts."""
    odd = case.model.feed.odd_scale
    if odd is None or case.model.broken.step is None or odd[0] > case.model.broken.step:
        return
    since, factor = odd
    yield Suspect(
        word="bad-data",
        belief=0.85,
        onset=since,
        explains=BLOW_UP | STARVED,
        evidence=[
            f"at step {since} the inputs were {factor:.3g} times what they had been, and by step "
            f"{case.model.broken.step} values were no longer finite"
        ],
        advice=f"compare the batches of step {since} and the ones before: a scaling that is left "
        "out or applied twice, another file or sensor",
    )


def _blank(case: Case) -> Iterator[Suspect]:
    """The first layer, whose weights are sound, gives the same for every row: so is what it gets.

    Only a part of long inputs is copied, and a part that is blank does not tell of the whole.
    """
    flag = case.flag("output-collapse")
    weighted = case.layout.weighted(case.model.name)
    ids = case.layout.takes_ids[case.layout.index_of[case.model.name]]
    if flag is None or not len(weighted) or ids:
        return
    first = weighted[0]
    rho, rms, grown = (
        float(case.past.newest[first, LAYER_COLUMN[name]])
        for name in ("out_variance", "weight_rms", "weight_growth")
    )
    stood = float(case.past.first[first, LAYER_COLUMN["out_variance"]])
    alive = rms > 0 and grown > 0.1
    if not (rho < EXACT and stood > ALIVE and alive) or flag.onset_step <= case.start:
        return
    # A part that varies does tell of the whole, and flat ends give the same for what differs.
    if case.model.value("in_variance") > EXACT or case.layout.layers[first].activation:
        return
    name = case.layout.layers[first].name
    yield Suspect(
        word="bad-data",
        belief=0.9,
        onset=flag.onset_step,
        explains=BLOW_UP | STARVED,
        evidence=[
            f"since step {flag.onset_step} {name}, which sees the inputs first, gives the same for "
            f"every row (share of variance {rho:.1g}, {stood:.2g} at the start), and its weights "
            f"are {grown:.2g} times what they were"
        ],
        advice=f"print the batches of step {flag.onset_step} and the ones before: an empty shard, "
        "a sensor at its limit, a mask or augmentation that erases, a buffer that is not filled",
        layer=name,
    )


def _jumped(case: Case) -> Iterator[Suspect]:
    """What was learnt is lost from one step to the next, and nothing in the training changed.

    Every loss is known, however far apart the samples are.
    """
    loss, model = case.past.loss, case.model
    flag = case.flag("loss-divergence", "output-collapse", "constant-predictor")
    usual = loss.lost_level
    since = loss.above_since(usual) if math.isfinite(usual) else None
    if flag is not None and flag.kind == "loss-divergence":
        since = flag.onset_step  # as it was found; by now single batches have been better again
    elif since is None and loss.fresh > loss.usual_high:
        # The loss has come down again, to that of a constant answer, and what was known is gone.
        since, usual = loss.jumped, loss.usual_high
    if flag is None or since is None or since <= case.start + SETTLED:
        return
    rate = model.rates.at(since - 1)
    now = model.rates.at(since + case.past.sample_interval)
    # A rate that climbs for long is at no one step another than just before.
    known = model.skill.best_before(since)
    least = rate if known is None else min(rate, model.rates.at(known[0]))
    raised = not 0.5 * rate <= now <= RAISED * least
    anew = case.past.thrown.since is not None  # by now it may have been learnt again
    lost = (anew or loss.fresh > usual) and loss.best < 0.7 * loss.first
    thrown = model.large_update_step is not None and model.large_update_step <= since
    if not lost or raised or thrown:
        return
    yield Suspect(
        word="bad-data",
        tier=Tier.RESIDUAL,
        belief=0.5,
        onset=since,
        explains=BLOW_UP | STARVED,
        evidence=[
            f"the loss had come from {loss.first:.3g} to {loss.best:.3g}, and from step {since} on "
            f"it is {loss.fresh:.3g}; the learning rate is as before ({rate:.3g}) and no step "
            f"changed a weight by more than {model.peak_update:.2g} of itself"
        ],
        advice=f"print the batches of step {since} and the ones before: labels or rows in another "
        "order, another file, other units, a preprocessing that is left out",
    )


def _apart(case: Case) -> Iterator[Suspect]:
    """The agreement of neighbours is falling: not a symptom yet, but the reason of one."""
    since = case.model.feed.pairing.fallen_since
    if since is None:
        return
    yield Suspect(
        word="bad-data",
        tier=Tier.EXACT,
        belief=0.9,
        onset=since,
        explains=BLOW_UP | STARVED,
        evidence=[
            f"since step {since} inputs that lie close together agree less and less in their "
            f"labels ({case.model.value('neighbour_agreement'):.2g} of 1 now)"
        ],
        advice=PAIRS_ADVICE,
    )
