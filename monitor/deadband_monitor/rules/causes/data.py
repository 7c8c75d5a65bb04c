"""What the data themselves are like: uneven, mislabelled, too few, or bad from some step on."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import Case, Suspect, Tier
from deadband_monitor.rules.causes.high_rate import BLOW_UP
from deadband_monitor.rules.causes.inputs import fed_by_a_broken_one
from deadband_monitor.rules.causes.rows import STARVED, few, near_copies
from deadband_monitor.rules.causes.start import recurrent
from deadband_monitor.rules.feed import Change
from deadband_monitor.rules.inputs import (
    ANY_LABELS,
    answerable,
    change_in_words,
    told_all_the_same,
)
from deadband_monitor.rules.majority import MOSTLY, RULING, UNEVEN, names_one_class
from deadband_monitor.rules.mean_skill import HEAVY_TAILS, tails, tails_count
from deadband_monitor.rules.misfit import VALUE_LOSSES
from deadband_monitor.rules.model_past import RAISED
from deadband_monitor.rules.modest import FEW_NEIGHBOURS
from deadband_monitor.rules.outputs import EXACT
from deadband_monitor.rules.plateau import NEIGHBOURS_KNOW
from deadband_monitor.rules.representation import ALIVE
from deadband_monitor.rules.unrelated import EVEN, LITTLE, chance, scatter

NEARLY_ALL = 0.95
"""Share of the labels that are of one class, from which that alone makes outputs all alike: the
others come by once in twenty rows, and nothing else is learnt."""
TYPED = 1000.0
"""Times the usual error that a few targets make the standard deviation of all."""
OTHERS_ASKED = 3.0
"""Times what a constant answer costs in training that the best evaluation costs, from which other
classes are asked there than are shown: before it knows anything by heart, a model is about as good
as a constant answer to rows like its own."""
SETTLED = 50
"""Steps after which a loss that rises at once has left a level; earlier it is a start's doing."""
PAIRS_ADVICE = (
    "check that x[i] still belongs to y[i]: one of them shuffled, filtered or augmented without "
    "the other, an index that is one off, files of two versions"
)


def suspects(case: Case) -> Iterator[Suspect]:
    """Bad data, sorted or few rows, class imbalance, label noise."""
    yield from _bad(case)
    yield from _sorted(case)
    yield from _of_one_class(case)
    yield from few(case)
    yield from _uneven(case)
    yield from _rare_yes(case)
    yield from _noise(case)


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
    yield Suspect(
        word="bad-data",
        tier=Tier.EXACT,
        belief=0.97,
        onset=feed.since,
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
    flag = case.flag("loss-divergence") or case.flag("output-collapse")
    usual = max(loss.usual_high, 2 * loss.best)
    since = loss.above_since(usual) if math.isfinite(usual) else None
    if flag is not None and flag.kind == "loss-divergence":
        since = flag.onset_step  # as it was found; by now single batches have been better again
    elif since is None and loss.fresh > loss.usual_high:
        # The loss has come down again, to that of a constant answer, and what was known is gone.
        since, usual = loss.jumped, loss.usual_high
    if flag is None or since is None or since <= case.start + SETTLED:
        return
    rate = model.rates.at(since - 1)
    raised = not 0.5 * rate <= model.rates.at(since + case.past.sample_interval) <= RAISED * rate
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


def _sorted(case: Case) -> Iterator[Suspect]:
    mixture = case.model.feed.mixture
    if mixture.sorted_since is None:
        return
    yield Suspect(
        word="low-data-diversity",
        tier=Tier.EXACT,
        belief=0.95,
        onset=case.start,
        explains=BLOW_UP | STARVED,
        evidence=[f"{mixture.how_sorted}: the data come sorted by label"],
        advice="DataLoader(data, shuffle=True), or x, y = x[p], y[p], p = torch.randperm(len(x))",
    )


def _of_one_class(case: Case) -> Iterator[Suspect]:
    flag, mixture = case.flag("input-anomaly"), case.model.feed.mixture
    if flag is None or "labels_alike" not in flag.evidence:
        return
    yield Suspect(
        word="low-data-diversity",
        belief=0.9,
        onset=case.start,
        explains=STARVED,
        evidence=[
            f"all of the first {mixture.alike} labels were of one class, out of "
            f"{answerable(case.past, case.model)} that the model can answer"
        ],
        advice="torch.bincount(labels) over the data set: a filter, a folder or a label map that "
        "leaves one class; where the others come later, shuffle",
    )


def _uneven(case: Case) -> Iterator[Suspect]:
    model = case.model
    share, said = model.value("majority_share"), model.value("majority_predicted")
    flag = case.flag("constant-predictor")
    # A single sample may hold the one row in a hundred that is said to be of another class: what
    # the rule found in many of them counts.
    found = flag is not None and "majority_share" in flag.evidence
    # Where evaluation asks for the others, that they are not known is told by it first.
    asked = case.flag("overfitting") is not None and model.misses_the_rare
    asked = asked or asks_for_others(case)
    found = found or asked or names_one_class(share, said)
    # Of a few samples it cannot be said yet whether the others are known.
    unsaid = math.isnan(model.value("rare_recall")) and said > share >= MOSTLY
    held = case.flag("overfitting") if unsaid else None
    if not found and held is None:
        return
    telling = model.value("information") > 1e-4
    alone = share >= NEARLY_ALL and not case.facts.seen
    if not (telling or alone):
        return
    ratio = share / max(1e-6, 1 - share)
    belief = (0.85 if telling else 0.7) if ratio >= 8 else 0.6
    yield Suspect(
        word="class-imbalance",
        belief=belief if found else 0.5,
        onset=case.start if found or held is None else held.onset_step,
        explains=frozenset({"constant-predictor", "loss-plateau", "overfitting"}),
        evidence=[
            f"{share:.0%} of the labels are of one class, {said:.0%} of the predictions"
            + ("; outputs still vary with the input" if telling else "")
        ],
        advice=f"weight the classes (pos_weight = {ratio:.2g} for two, weight = 1 / frequency for "
        "more), or draw evenly with WeightedRandomSampler; report the recall of each class",
    )


def asks_for_others(case: Case) -> bool:
    """Whether one class rules in training, and evaluation is of others from its best pass on."""
    flag, share = case.flag("overfitting"), case.model.latest("majority_share")
    if flag is None or not share >= UNEVEN:
        return False
    constant = case.model.latest("loss_constant")
    return flag.evidence["best_eval_loss"] > OTHERS_ASKED * constant > 0


def _rare_yes(case: Case) -> Iterator[Suspect]:
    """Many yes/no answers a row (pixels, tags), hardly one of them yes, and none given."""
    model = case.model
    rate = model.value("target_mean")
    rare = min(rate, 1 - rate)
    if not case.build.loss.startswith("bce") or math.isfinite(model.value("majority_share")):
        return
    highest, lowest = model.value("out_max"), model.value("out_min")
    half = 0.5 if case.build.loss == "bce" else 0.0
    never = highest < half if rate < 0.5 else lowest > half
    if not (0 < rare <= 1 - RULING and never):
        return
    yield Suspect(
        word="class-imbalance",
        belief=0.85,
        onset=case.start,
        explains=frozenset({"constant-predictor", "loss-plateau"}),
        evidence=[
            f"{rare:.2%} of the answers are {'yes' if rate < 0.5 else 'no'}, and none that was "
            f"given is (outputs in {lowest:.3g}..{highest:.3g})"
        ],
        advice=f"pos_weight = {(1 - rate) / max(rate, 1e-6):.3g} in binary_cross_entropy_with_"
        "logits, or a loss that weighs the rare ones by itself (dice, focal loss); judge by recall",
    )


def _noise(case: Case) -> Iterator[Suspect]:
    model = case.model
    agreement, skill = model.value("neighbour_agreement"), case.past.skill(model.name)
    kurtosis = tails(model)
    if kurtosis > HEAVY_TAILS and not model.makes_its_targets and tails_count(case.build.loss):
        typing = _typing_errors(case)
        yield from typing
        yield Suspect(
            word="label-noise",
            belief=0.4 if typing else 0.8,
            onset=case.start,
            explains=BLOW_UP | STARVED,
            evidence=[
                f"a few targets are far out (kurtosis {kurtosis:.3g}, normal 3): they rule the loss"
            ],
            advice="nn.HuberLoss(delta=1.0) on standardised targets, gradients clipped at 1.0, "
            "or winsorise the targets at the 1st and 99th percentile",
        )
    if not agreement >= NEIGHBOURS_KNOW:
        yield from _told_by_nothing(case)
    if math.isnan(agreement):
        yield from _holds_for_no_other(case)
    if not agreement < FEW_NEIGHBOURS or math.isnan(agreement):
        return
    if model.value("majority_share") > EVEN:
        return  # agreement beyond chance is a matter of a few rows there
    heart = case.flag("overfitting") is not None
    if skill >= 2 * LITTLE and not heart and case.flag("constant-predictor") is None:
        return
    # A large step that was got over is not why nothing is learnt.
    large = case.flag("update-too-large") is not None
    healthy = not (large or case.facts.seen & {"tiny_updates", "dead", "saturated"})
    belief = 0.8 if agreement < chance(model) + scatter(model) else 0.4
    if case.facts.input_kind:
        # What lies next to what is a matter of the largest feature or of rounding then.
        belief /= 3
    if recurrent(case) is not None:
        # Series that are alike as a whole need not agree in what counts, one value early on: the
        # nearest of 1500 noisy ones of 40 values had the label by chance, whatever the rule.
        belief /= 2
    if near_copies(model):
        belief /= 3
    if model.value("in_per_feature") < ANY_LABELS:
        # A plane can tell any labels of so few rows in so many dimensions: nearest is not near.
        belief /= 3
    yield Suspect(
        word="label-noise",
        belief=belief if healthy else belief / 3,
        onset=case.start,
        explains=STARVED,
        evidence=[
            f"inputs that lie next to each other agree in their labels no more than chance has it "
            f"({agreement:.2g} of 1)"
        ],
        advice="check that x[i] belongs to y[i] (shuffled apart? sorted differently?); train on 32 "
        "samples to zero loss; feed zeros instead of x and compare the loss",
    )


def _typing_errors(case: Case) -> list[Suspect]:
    """Most targets were met to within a thousandth of what a few of them make of the spread.

    No noise is like that: of 2000 draws of a Cauchy variable the standard deviation is about 40
    times the middle half. It is a missing point, another unit, a code for what is not known.
    """
    best, spread = case.past.loss.best, case.model.value("target_sd")
    error = math.sqrt(best) if case.build.loss == "mse" and best > 0 else best
    if case.build.loss not in VALUE_LOSSES or not 0 < error * TYPED < spread:
        return []
    low, high = case.model.value("target_min"), case.model.value("target_max")
    return [
        Suspect(
            word="bad-data",
            belief=0.85,
            onset=case.start,
            explains=BLOW_UP | STARVED,
            evidence=[
                f"in most batches the answers are {error:.2g} off; a few targets (from {low:.3g} "
                f"to {high:.3g}) make a standard deviation of {spread:.3g}: they are no noise"
            ],
            advice=f"look at the rows with targets near {high if high > -low else low:.3g}: a "
            "missing decimal point, another unit, 999999 for what is not known; drop or mend them",
        )
    ]


def _holds_for_no_other(case: Case) -> Iterator[Suspect]:
    """What was learnt told nothing of other rows at any time: labels at random look the same.

    So do few rows, which is likelier; neighbours, who could tell, were not to be had.
    """
    flag, constant = case.flag("overfitting"), case.model.latest("loss_constant")
    best = math.nan if flag is None else flag.evidence.get("best_eval_loss", math.nan)
    if flag is None or not best >= constant > 0:
        return
    yield Suspect(
        word="label-noise",
        belief=0.5,
        onset=flag.onset_step,
        explains=frozenset({"overfitting"}),
        evidence=[
            f"on rows that are not trained on the loss was {best:.3g} at its best, a constant "
            f"answer's is {constant:.3g}: what is learnt here holds for no other row"
        ],
        advice=PAIRS_ADVICE + "; print ten pairs as text",
    )


def _told_by_nothing(case: Case) -> Iterator[Suspect]:
    """Of ids no neighbours are known, nor of too few samples; they may agree a little, besides.

    Labels that came a row late, of rows in an order, agreed by 0.25.
    A sound network that learns nothing leaves the labels. Weights drawn small (positions, 0.02)
    have trebled after some hundred steps of Adam in any run.
    """
    if case.facts.seen - {"weights_tripled"} or case.flag("constant-predictor") is None:
        return
    yield Suspect(
        word="label-noise",
        tier=Tier.RESIDUAL,
        belief=0.45,
        onset=case.start,
        explains=frozenset({"constant-predictor", "loss-plateau"}),
        evidence=[
            "gradients, updates and units are sound, and the answers are no better than the "
            f"frequencies of the labels (skill {case.past.skill(case.model.name):.2g})"
        ],
        advice="check that x[i] belongs to y[i] (shuffled apart? sorted differently?): print ten "
        "pairs as text; train on 32 samples to zero loss",
    )
