"""Between loss and weights: no gradient, the wrong parameters, weights written back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import Case, Suspect, Tier
from deadband_monitor.rules.causes.written_back import undone
from deadband_monitor.rules.frozen import Block, Blockage, blockage
from deadband_monitor.rules.plateau import same_whatever
from deadband_monitor.rules.room import left_as_drawn, spectators
from deadband_monitor.rules.slopeless import aside, cells, forgetful, gap

STILL = frozenset({"frozen-weights", "vanishing-gradient", "constant-predictor", "loss-plateau"})
"""What weights that do not move look like."""
CUT_OTHERWISE = frozenset({"dead", "saturated", "small_weights", "twins", "input_scale"})
"""Evidence of what else leaves no slope."""
VARIED = 1e-3
"""Share of the first outputs' second moment that depends on the input, from which answers differ:
healthy band of `out_variance`."""
HEARD = 1e-3
"""Root mean square of answers from which a loss hears them: logits of a thousandth move ln 2 by
5e-4."""
ROUNDING = 1e-7
"""Relative size of a step below which float32 rounds it away."""
MOST_SKIPPED = 0.5
"""Share of the steps of the last samples that a scaler left out: it settles after a dozen."""

NOTHING_MOVED = 0.995
"""Belief where no weight was ever trained: more than in any other test of values, for it comes
before what the loss asks of them."""

_UPDATE, _GRAD, _RMS = (LAYER_COLUMN[n] for n in ("update_ratio", "grad_rms", "weight_rms"))
_OUT_GRAD, _OUT = LAYER_COLUMN["out_grad_rms"], LAYER_COLUMN["out_rms"]
_VARIANCE = LAYER_COLUMN["out_variance"]


def suspects(case: Case) -> Iterator[Suspect]:
    """Detached graph."""
    found = blockage(case.past, case.model.name)
    if _beside_the_loss(case):
        yield Suspect(
            word="detached-graph",
            tier=Tier.EXACT,
            belief=0.95,
            onset=case.start,
            explains=STILL,
            evidence=[
                "each trained weight has a gradient of exactly zero since the first step, and none "
                "ever came back through the output of a layer: the loss does not depend on them"
            ],
            advice=_mend(Block.NO_GRADIENT, ""),
        )
    elif found is not None:
        yield _cut(case, found)
    else:
        yield from _never_trained(case)
        yield from _always_skipped(case)
    back = undone(case)
    if back is not None:
        yield Suspect(
            word="detached-graph",
            belief=0.9,
            onset=case.start,
            phase=2,
            explains=STILL,
            evidence=[
                f"each step moves the weights by {back[0]:.1e} of themselves, and after "
                f"{case.past.step} steps they lie {back[1]:.1e} from where they began: something "
                "writes the old ones back"
            ],
            advice="look for what sets weights between two steps: load_state_dict of an average or "
            "a checkpoint that is not updated, an EMA with decay 1, one copied into the model at "
            "each step, a copy restored after each evaluation",
        )
    if case.build.unregistered:
        yield _unknown_to_torch(case.build.unregistered, case.start)
    # Answers that are next to nothing are lost in the rounding of the loss, however they differ.
    start = case.model.start
    answers = start("out_variance") > VARIED and start("out_rms") > HEARD
    if case.flag("loss-plateau") is not None and same_whatever(case.past, case.model):
        yield Suspect(
            word="detached-graph",
            # No rate, however low, gives different answers one loss; answers that are alike do.
            tier=Tier.EXACT if answers else Tier.PATTERN,
            belief=0.93 if answers else 0.5,
            onset=case.start,
            explains=frozenset({"loss-plateau"}),
            evidence=[
                f"the loss was {case.past.loss.lowest:.7g} to {case.past.loss.highest:.7g} at all "
                "steps, though the batches differ: what the model answers cancels out of it"
            ],
            advice="look for a term that is taken from itself: a reference or teacher that is the "
            "model itself (copy.deepcopy(model).requires_grad_(False)), a target made of the "
            "output, one sample compared with itself; print the parts of the loss for two batches",
        )
    yield from _cut_by_steps(case)
    yield from _cut_aside(case)
    yield from _cut_in_time(case)


def _beside_the_loss(case: Case) -> bool:
    """The trained weights enter the loss as nothing (0 * weight.sum()), what they give not at all.

    Dead units, a solved task and zeros as weights leave gradients of zero too, but at the outputs
    of layers they are there, unless layers are shown by hand: nobody shows those.
    """
    rows = case.layout.rows(case.model.name)
    kinds = [case.layout.layers[row].kind for row in rows.tolist()]
    by_hand = np.array([kind == "observed" for kind in kinds], bool)
    ran = np.isfinite(case.past.first[rows, _OUT]) & ~by_hand
    highest = case.past.highest[rows]
    asked = highest[case.layout.learns[rows]][:, _GRAD]
    asked = asked[np.isfinite(asked)]
    back = np.isfinite(highest[:, _OUT_GRAD]).any()
    return bool(len(asked) and (asked == 0).all() and ran.any() and not back)


def _cut_by_steps(case: Case) -> Iterator[Suspect]:
    """A gradient reaches one layer and is exactly zero in all before it: no slope lies between."""
    found = gap(case.past, case.model.name)
    if found is None or case.facts.seen & CUT_OTHERWISE:
        return
    layers = case.layout.layers
    name, behind = layers[found.before].name, layers[found.after].name
    yield Suspect(
        word="detached-graph",
        belief=0.93,
        onset=case.start,
        explains=STILL | {"output-collapse"},
        evidence=[
            f"the loss gradient reaches {behind} and is exactly zero at the output of {name}, at "
            "every step: what lies between has no slope"
        ],
        advice=f"look between {name} and {behind} for round(), sign(), a comparison, a cast to "
        "whole numbers: pass the gradient by, y = x + (x.round() - x).detach(), or train without "
        "rounding",
        layer=name,
    )


def _cut_aside(case: Case) -> Iterator[Suspect]:
    """One layer's answer is heard by nothing, while what it is given goes on another way."""
    row = aside(case.past, case.model.name)
    if row is None or case.facts.seen & CUT_OTHERWISE:
        return
    name = case.layout.layers[row].name
    yield Suspect(
        word="detached-graph",
        belief=0.85,
        onset=case.start,
        explains=STILL,
        evidence=[
            f"{name} gives answers, and their gradient is exactly zero at every step, though "
            "layers before and behind it get theirs: whatever it says makes no difference"
        ],
        advice=f"look at what becomes of the output of {name}: a softmax over an axis of "
        "size one is 1 whatever it is given (print the shape and the dim), and round(), argmax, a "
        "comparison or .detach() have no slope",
        layer=name,
    )


def _cut_in_time(case: Case) -> Iterator[Suspect]:
    """A state is handed on along a sequence, and its gradient is not."""
    row = forgetful(case.past, cells(case.layout, case.layout.index_of[case.model.name]))
    if row is None:
        return
    name = case.layout.layers[row].name
    yield Suspect(
        word="detached-graph",
        belief=0.9,
        onset=case.start,
        explains=STILL,
        evidence=[
            f"what {name} is given earlier in the sequence gets a gradient of exactly zero at "
            "every step: the state is cut from its past"
        ],
        advice=f"look for .detach(), .data or no_grad() on the state between two calls of {name}; "
        "to cut long sequences, detach once every 50 to 200 positions, and take a loss from each "
        "piece",
        layer=name,
    )


def _always_skipped(case: Case) -> Iterator[Suspect]:
    """A scaler that left out most samples' steps, and weights that are where they began.

    Where samples are far apart, few of them have shown it so far.
    """
    rows = case.past.flow.rows(case.layout, case.layout.index_of[case.model.name])
    drift = case.past.highest[rows, LAYER_COLUMN["weight_drift"]]
    grown = case.past.newest[rows, LAYER_COLUMN["weight_growth"]]
    stood = len(rows) > 0 and not (drift > 0).any() and bool((grown == 1).all())
    skipped = case.model.value("skipped")
    if not (skipped > MOST_SKIPPED and stood):
        return
    yield Suspect(
        word="detached-graph",
        belief=0.9,
        onset=case.start,
        explains=STILL,
        evidence=[
            f"after {case.past.step} steps no weight has left its place: the GradScaler left out "
            f"{skipped:.0%} of the steps that were looked at last"
        ],
        advice=_mend(Block.SCALER, ""),
    )


def _gradient_shown(case: Case) -> bool:
    """Whether anybody showed us a weight gradient: a numpy loop need not."""
    rows = case.layout.rows(case.model.name)
    return bool(np.isfinite(case.past.highest[rows, LAYER_COLUMN["grad_rms"]]).any())


def _cut(case: Case, found: Blockage) -> Suspect:
    layers = [case.layout.layers[row].name for row in found.rows]
    names = ", ".join(layers[:4]) + (", ..." if len(layers) > 4 else "")
    # Of weights that never moved nothing else can be said to keep them from learning.
    tier, belief = Tier.EXACT, NOTHING_MOVED if found.everything else 0.97
    if found.block is Block.NO_STEP:
        if _rounded_away(case, found):
            return Suspect(
                word="learning-rate-too-low",
                belief=0.8,
                onset=found.since,
                explains=STILL,
                evidence=["a step is smaller than float32 can add to the weights: none changes"],
                advice=f"lr {case.model.value('lr'):g} -> 1e-3 (Adam) or 0.1 (SGD) to begin with",
            )
        tier, belief = (
            Tier.PATTERN,
            0.3 if spectators(case.past, case.layout, case.model.name) else 0.9,
        )
        if not _gradient_shown(case) and case.flag("dead-units") is not None:
            belief = 0.3  # nobody showed a gradient, and behind a dead layer there is none
    if found.block is Block.NOT_RUN:
        tier, belief = Tier.PATTERN, 0.9
    if found.block is Block.ZERO_GRADIENT:
        tier, belief = Tier.PATTERN, 0.3  # dead units and a solved loss have it too
    if found.block is Block.IDLE:
        tier, belief = Tier.PATTERN, 0.9
    if found.block is Block.SIDE:
        # Layers before it are trained: what is given to the model does come to the loss.
        tier, belief = Tier.PATTERN, 0.3
    cleared = found.block is Block.NO_GRADIENT and _passed_back(case)
    return Suspect(
        word="detached-graph",
        tier=tier,
        belief=belief,
        onset=found.since,
        explains=STILL,
        evidence=[
            f"{'no weight' if found.everything else names} moved since step {found.since}: "
            f"{found.block.value}"
            if found.everything
            else f"{names} did not move since step {found.since}: {found.block.value}"
        ]
        + ["a gradient came back through the layers, and at the step no weight has one"] * cleared,
        advice=_mend(Block.ZERO_GRADIENT if cleared else found.block, names),
        layer="" if found.everything else layers[0],
    )


def _passed_back(case: Case) -> bool:
    """Whether backward went through the layers: what is missing at the step was cleared."""
    rows = case.layout.rows(case.model.name)
    return bool((case.past.newest[rows, _OUT_GRAD] > 0).any())


def _unknown_to_torch(names: tuple[str, ...], start: int) -> Suspect:
    listed = ", ".join(names)
    return Suspect(
        word="detached-graph",
        # A teacher may be hidden in a list on purpose; then little else is wrong.
        belief=0.85,
        onset=start,
        explains=STILL,
        evidence=[
            f"{listed} holds modules in a plain list or dictionary: model.parameters() does not "
            "give their weights to the optimiser"
        ],
        advice=f"self.{names[0].rpartition('.')[2]} = nn.ModuleList([...]) (nn.ModuleDict for a "
        "dictionary), and build the optimiser after that",
    )


def _never_trained(case: Case) -> Iterator[Suspect]:
    """Most weights ask for no gradient, and are as an initialiser left them."""
    names = left_as_drawn(case.past, case.model.name)
    if not names:
        return
    listed = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    yield Suspect(
        word="detached-graph",
        belief=0.85,
        onset=case.start,
        explains=STILL,
        evidence=[
            f"{listed} are not trained and spread as an initialiser leaves them: they hold "
            "half of the network, and nothing was ever learnt in them"
        ],
        advice="for p in model.parameters(): p.requires_grad_(True), and build the optimiser after "
        f"that; or load trained weights into {listed}",
        layer=names[0],
    )


def _mend(block: Block, names: str) -> str:
    return {
        Block.NO_GRADIENT: "look between the model's output and loss.backward() for .detach(), "
        ".item(), .data, .numpy(), argmax or torch.no_grad(), and for a zero_grad() between "
        "backward and step",
        Block.ZERO_GRADIENT: "optimizer.zero_grad(); loss.backward(); optimizer.step(), in this "
        "order",
        Block.NOT_ASKED: "for p in model.parameters(): p.requires_grad_(True), at least of "
        f"{names}; and build the optimiser after that",
        Block.NOT_HELD: f"build the optimiser after the last change of the model, with "
        f"model.parameters(): it does not hold {names}; where that is meant, "
        "layer.requires_grad_(False)",
        Block.SCALER: "every step of the GradScaler is left out: find the layer whose gradient "
        "overflows first, use bfloat16 autocast, or clip after scaler.unscale_(optimizer)",
        Block.NOT_RUN: "another model is run than the one that the optimiser was built for: build "
        "the optimiser after the model, with model.parameters(), and again when it is made anew",
        Block.NO_STEP: "call optimizer.step() after loss.backward(), on an optimiser that was "
        "built with this model's parameters, not with copies of them",
        Block.CUT: f"{names} get no gradient though they ran: remove the .detach() or no_grad() "
        "behind them, or say requires_grad_(False) where they are to stay as they are",
        Block.IDLE: f"call step() of the optimiser that holds {names} as well, after each "
        "loss.backward()",
        Block.SIDE: f"{names} ran but the loss does not depend on them: use their result in the "
        "loss, or leave them out",
    }[block]


def _rounded_away(case: Case, found: Blockage) -> bool:
    rows = np.array(found.rows)
    seen = case.past.newest
    lr = case.model.value("lr")
    adaptive = any("sgd" not in g.optimizer.lower() for g in case.layout.table.optimizers)
    size = np.ones(len(rows)) if adaptive else seen[rows, _GRAD]
    return bool((lr * size < ROUNDING * seen[rows, _RMS]).all())
