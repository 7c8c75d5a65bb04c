"""The rule on what is fed in. Odd inputs are a note until something goes wrong with them.

What changes for the worse in mid-run is more than a note: the run was fine with what it had.
"""

from __future__ import annotations

import math

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.feed import CONSTANT, Change, Feed
from deadband_monitor.rules.handful import few_of_a_class, few_of_all
from deadband_monitor.rules.judges import Judgement, ModelRule, measured
from deadband_monitor.rules.mean_skill import mean_skill
from deadband_monitor.rules.misfit import CLASS_LOSSES
from deadband_monitor.rules.past import ModelPast, Past

OFFSET = 0.02
"""Dependence ratio of an input below which a constant offset or one feature hides the rest."""
LARGE = 100.0
"""Largest absolute input: percentages reach it, raw pixels (255) and other physical units pass it,
standardised data never come near."""
TINY = 1 / 255
"""Input rms below which a bias of usual size drowns it: what lay between 0 and 1 and was scaled by
1/255 once more is below. Of digits so scaled, rms 0.002, a convolutional net learnt nothing in 560
steps of SGD, and 0.97 of them as they were."""
DUPLICATES = 0.5
"""Share of rows that repeat another of the batch. Truth tables and small grids have as many."""
BEHIND = 0.2
"""Skill below what the nearest neighbours tell: twins with scaled inputs are within 0.05 of it
after 300 steps, those that learn half through a flat first layer 0.3 to 0.6 below."""
BEHIND_STEPS = 250
UNHEARD_STEPS = 200
NOTHING, HEARD = 0.05, 0.01
"""Skill by the mean of the losses, and share of the labels that the answers tell, below which
nothing is learnt. Behind a batch norm tiny inputs are learnt at once."""
FLAT = 0.85
"""Share of the first layer's outputs on a flat end of its activation."""
FAR_OUT = 10.0
"""Standard deviation of what a recurrent layer's gates are given: a sigmoid is flat beyond 4."""
RECURRENT = ("LSTM", "GRU", "RNN")
THROWN, SERVED = 100.0, 0.9
"""Growth of the first layer's weights that no training brings about: those that work were seen up
to 10 times as large as they began. And skill at which that did no harm."""
LASTING_STEPS = 50
"""A batch that is repeated for so long is all that will be learnt."""


def odd_scale(rho: float, largest: float, rms: float) -> str:
    """`offset`, `large`, `tiny` or nothing: what is odd about an input's scale."""
    if math.isfinite(rms) and 0 < rms < TINY:
        return "tiny"
    if math.isfinite(rho) and CONSTANT <= rho < OFFSET:
        return "offset"
    if math.isfinite(largest) and largest >= LARGE:
        return "large"
    return ""


TOLD = 0.5
"""Share of its best skill from which a model still tells labels by inputs. Of labels that were
shuffled in mid-run it knows none at once (a skill far below 0), and learns some by heart later."""


ONE_CLASS = 1000
"""Labels that are all the same, from which data have one class: of one row in a hundred of another
there would be one in 1000 with a chance of 4e-5 of none."""
SOME, NO_LOSS = 200, 0.02
"""The same where all answers are alike as well and the mean of the last two hundred losses is below
the second, in nats: of 6400 rows every row of another class would cost ln 50 and more, and one in
two hundred as much as all of that. Where samples are far apart the losses count all rows."""


class InputAnomaly(ModelRule):
    """Inputs that are all alike, tiny, huge, sorted by label, or changed for the worse."""

    kind = "input-anomaly"
    needs = ("in_variance", "in_rms", "in_repeat", "batch_label_entropy")
    samples_to_open = 1
    """What changes in mid-run was seen three times by `Feed`."""
    SAMPLES = 3
    """Samples in a row that are odd from the start on: one can be an outlier."""

    def __init__(self) -> None:
        super().__init__()
        self._odd: dict[str, int] = {}

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        changed = _changed(seen, past, model)
        if changed is not None:
            return changed
        if model.feed.mixture.sorted_since is not None:
            mixture = model.feed.mixture
            return Judgement(
                active=True,
                clear=False,
                message=f"the data come sorted by label: {mixture.how_sorted}",
                evidence={"batch_label_entropy": mixture.sorted_ratio},
                onset_step=mixture.sorted_since,
            )
        if _of_one_class(past, model):
            alike = model.feed.mixture.alike
            return Judgement(
                active=True,
                clear=False,
                message=f"the first {alike} labels are all of one class: any answer can be learnt",
                evidence={"labels_alike": float(alike)},
                onset_step=past.first_step,
            )
        handful = few_of_all(past, model) or few_of_a_class(past, model)
        if handful is not None:
            return handful
        judged = _from_the_start(past, model)
        if judged is None or not judged.active:
            self._odd[model.name] = 0
            return judged
        self._odd[model.name] = self._odd.get(model.name, 0) + 1
        if self._odd[model.name] < self.SAMPLES:
            return Judgement(active=False, clear=False)
        return judged


def _of_one_class(past: Past, model: ModelPast) -> bool:
    """Of many labels, and a unit for each class to answer with, all are the same.

    Where the logits are made of something else the right one may stand at one place by design, as
    the positive pair does in MoCo (He et al., arXiv:1911.05722): what the model itself gives is
    largest anywhere then.
    """
    mixture = model.feed.mixture
    if mixture.differ or not answerable(past, model):
        return False
    one_answer = model.value("top_share") == 1
    known = one_answer and past.loss_is_all_of(model) and past.loss.mean(200) < NO_LOSS
    return mixture.alike >= (SOME if known else ONE_CLASS)


def answerable(past: Past, model: ModelPast) -> int:
    """How many classes the model has a unit for; 0 where its output is no answer of that kind."""
    assert past.layout is not None
    layout = past.layout
    told = layout.model(model.name)
    rows = layout.rows(model.name)
    heads = rows[layout.head[rows] & layout.matrix[rows]]
    units = {layout.layers[row].units for row in heads.tolist()}
    if len(told.loss_input) == 2:
        return told.loss_input[1] if told.loss_input[1] in units else 0
    if told.loss_input or told.loss not in CLASS_LOSSES:
        return 0
    if model.value("majority_predicted") != 1:
        return 0
    most = max(units, default=0)  # a loss written out by hand tells no shapes
    return most if most > 1 else 0


def _changed(seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
    """A run that began well and is fed worse now."""
    feed = model.feed
    if feed.change is None or (feed.change is Change.PAIRS and told_all_the_same(past, model)):
        return None
    lasted = seen.step - feed.since
    gone = past.output_gone(model.name) or model.value("out_variance") < CONSTANT
    useless = {Change.REPEATED, Change.CONSTANT, Change.LABELS, Change.PAIRS}
    lost = feed.change in useless and lasted >= LASTING_STEPS
    names: tuple[str, ...] = (
        "in_repeat",
        "in_variance",
        "in_rms",
        "in_constant",
        "batch_label_entropy",
    )
    if feed.change is Change.PAIRS:
        names = ("neighbour_agreement",)
    evidence = {name: model.value(name) for name in names}
    return Judgement(
        active=True,
        clear=False,
        severity="critical" if gone or lost else "warning",
        message=f"since step {feed.since} {change_in_words(feed)}",
        evidence=measured(evidence),
        onset_step=feed.since,
    )


def told_all_the_same(past: Past, model: ModelPast) -> bool:
    """Whether the model knows labels that the inputs' neighbours do not.

    Noisier or longer inputs, as a course of rising difficulty brings, lie further apart; their
    labels go with them as before.
    """
    skill = past.skill(model.name)
    return skill > TOLD and skill > TOLD * model.best_skill


def change_in_words(feed: Feed) -> str:
    """What happened to the inputs: `every batch is the same one`."""
    return {
        Change.REPEATED: "every batch is the same one",
        Change.CONSTANT: "the inputs are constant",
        Change.NONFINITE: "the inputs hold NaN or infinity",
        Change.RESCALED: f"the inputs are {feed.factor:.3g} times as large as before",
        Change.LABELS: "all labels of a batch are the same",
        Change.TARGETS: f"the targets vary {feed.factor:.3g} times as much as before",
        Change.PAIRS: "the labels no longer go with the inputs: neighbours bear unrelated ones",
        None: "nothing changed",
    }[feed.change]


def _from_the_start(past: Past, model: ModelPast) -> Judgement | None:
    """What the inputs look like, whatever they were before."""
    layout = past.layout
    assert layout is not None
    index = layout.index_of[model.name]
    rho, rms = model.value("in_variance"), model.value("in_rms")
    largest, twins = model.value("in_max"), model.value("in_duplicates")
    if layout.takes_ids[index]:
        return Judgement(active=False, clear=True)
    if not math.isfinite(rms):
        return None
    constant = rho < CONSTANT or rms == 0
    if model.value("out_variance") > 1e-3:
        # What was copied may be a blank part of long inputs; behind dropout even one input for ever
        # is answered in many ways, but not by the first layer.
        constant = constant and _tells_nothing_apart(past, model)
    if constant and layout.models[index].calls > 1:
        return None  # one call of many was seen: all walks may begin in one room
    odd = odd_scale(rho, largest, rms)
    repeated = twins > DUPLICATES
    clear = not constant and not odd and not twins > 0.8 * DUPLICATES
    if not (constant or odd or repeated):
        return Judgement(active=False, clear=clear)
    severity = "info"
    if constant:
        message = "every input is the same"
        severity = "critical" if model.value("out_variance") < CONSTANT else "warning"
    elif odd == "tiny":
        message = f"the inputs are tiny: rms {rms:.2g}"
    elif odd == "large":
        message = f"the inputs are not scaled: values up to {largest:.3g}"
    elif odd:
        message = f"a constant offset or one feature dominates the inputs (rho {rho:.2g})"
    else:
        message = f"{twins:.0%} of the rows of a batch repeat another row"
    hurts = past.output_gone(model.name) or _harm(past, model.name)
    hurts = hurts or (odd in {"large", "offset"} and _drowned(past, model))
    hurts = hurts or (odd == "large" and _thrown(past, model))
    hurts = hurts or (odd == "tiny" and _unheard(past, model))
    if (odd or repeated) and not constant and hurts:
        severity = "warning"
    evidence = {
        "in_variance": rho,
        "in_max": largest,
        "in_rms": rms,
        "in_top_share": model.value("in_top_share"),
        "in_duplicates": twins,
    }
    return Judgement(
        active=True,
        clear=clear,
        severity=severity,
        message=message,
        evidence=measured(evidence),
    )


def _tells_nothing_apart(past: Past, model: ModelPast) -> bool:
    """The first layer with weights gives the same for every row."""
    assert past.layout is not None
    weighted = past.layout.weighted(model.name)
    if not len(weighted):
        return False
    return bool(past.newest[weighted[0], LAYER_COLUMN["out_variance"]] < CONSTANT)


def _unheard(past: Past, model: ModelPast) -> bool:
    """Nothing is learnt of inputs that are drowned by the biases.

    There is a reason, and no need to wait for a trend in what grows from dust.
    """
    steps = past.step - model.born
    return (
        steps >= UNHEARD_STEPS
        and not model.lr_rising
        and mean_skill(past, model)[0] < NOTHING
        and not max(model.value("information"), model.value("sigma_share")) >= HEARD
    )


def _thrown(past: Past, model: ModelPast) -> bool:
    """The steps that such inputs make have thrown the first layer's weights, and it shows."""
    assert past.layout is not None
    first = past.layout.weighted(model.name)[:1]
    grown = past.newest[first, LAYER_COLUMN["weight_growth"]]
    return bool((grown > THROWN).any()) and past.skill(model.name) < SERVED


def _drowned(past: Past, model: ModelPast) -> bool:
    """The inputs hold the first layer at a flat end, and less is learnt than they tell.

    What passes is a code of random bits, which the later layers can learn something from; the first
    layer's own weights get next to no gradient.
    """
    agreement = model.value("neighbour_agreement")
    if past.step < BEHIND_STEPS or not past.skill(model.name) < agreement - BEHIND:
        return False
    assert past.layout is not None
    layout = past.layout
    weighted = layout.weighted(model.name).tolist()
    if not weighted:
        return False
    last = int(layout.rows(model.name)[-1])
    first, end = weighted[0], weighted[1] if len(weighted) > 1 else last
    if layout.layers[first].kind.startswith(RECURRENT):
        rms = float(past.newest[first, LAYER_COLUMN["weight_rms"]])
        return rms * math.sqrt(layout.fan_in[first]) * model.value("in_rms") > FAR_OUT
    flat = past.newest[first:end, LAYER_COLUMN["saturation"]]
    return bool((flat >= FLAT).any())


def _harm(past: Past, model: str) -> bool:
    kinds = (
        "saturation",
        "dead-units",
        "non-finite",
        "exploding-gradient",
        "loss-divergence",
        "overfitting",
    )
    return any(past.stands(kind, model) for kind in kinds)
