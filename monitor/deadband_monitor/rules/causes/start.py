"""How the weights were drawn: alike, zero, too wide or narrow, or too faint for the depth."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from deadband.wire import Layer
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes import exploding
from deadband_monitor.rules.causes.base import Case, Suspect, Tier
from deadband_monitor.rules.inputs import RECURRENT
from deadband_monitor.rules.losses import LossDivergence
from deadband_monitor.rules.structure import called_on
from deadband_monitor.rules.unrelated import LITTLE

LOUD = 8.0
"""Sums of weights and inputs from which tanh and sigmoid are flat (1e-3 of their slope is left)."""
USUAL_SPREAD = 0.5
"""Spread of the first outputs by usual initialisations, 0.1 to 1."""
FORGOTTEN = 1e-6
"""Share of the gradient below which what an early call did is not heard beside the later ones:
weights as torch draws them leave 0.58 of it each round, 1e-6 after 25."""
FAR_WORSE = -1.0
"""Skill of a loss that is twice a constant answer's."""
HOLDS = 0.9
"""Radius of recurrent weights from which a state lasts for ten steps and more (0.35 of it)."""
FAINT = 1e-3
"""Share of the inputs' variance in a recurrent layer's last states, as drawn, from which a series
is hardly told from another: one LSTM of any width leaves 0.4, two 0.02, three 2e-4 (two cells) to
2e-3, four 1e-4; four GRU or plain layers leave more."""

_OF_ONE_START = frozenset(
    {
        "duplicate-units",
        "output-collapse",
        "constant-predictor",
        "vanishing-gradient",
        "dead-units",
        "representation-collapse",
        "loss-plateau",
        "frozen-weights",
    }
)
"""What weights that begin alike lead to, and such as are too small: units that say next to nothing
are all given one and the same direction by the layers behind them, and grow up as twins."""
_FORGETFUL = frozenset(
    {"constant-predictor", "loss-plateau", "vanishing-gradient", "output-collapse"}
)
"""What it leads to that a loop loses what came early: the last state is alike for all series."""
_OF_SCALE = frozenset(
    {
        "saturation",
        "output-collapse",
        "constant-predictor",
        "vanishing-gradient",
        "exploding-gradient",
        "non-finite",
        "loss-divergence",
        "representation-collapse",
        "dead-units",
        "loss-plateau",
        "frozen-weights",
    }
)
"""What weights of the wrong size lead to."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Constant initialisation, a bad scale, a signal lost or blown up with depth."""
    facts = case.facts
    if not case.build.late:
        yield from exploding.suspects(case)
        yield from _forgets(case)
    if facts.empty and not facts.zero_weights:
        yield Suspect(
            word="constant-initialisation",
            tier=Tier.EXACT,
            belief=0.95,
            onset=case.start,
            explains=_OF_ONE_START,
            evidence=[
                f"{', '.join(facts.empty[:4])} began at zero and are zero still: each multiplies "
                "the other's gradient"
            ],
            advice="draw all of them but one at random: "
            f"nn.init.normal_({_weight(case)}, std=0.1); a product of two zeros has no slope",
            layer=facts.empty[0],
        )
    elif facts.zero_weights or facts.twin_layers:
        yield Suspect(
            word="constant-initialisation",
            row="constant-initialisation (zero)"
            if facts.zero_weights
            else "constant-initialisation",
            onset=case.start,
            explains=_OF_ONE_START,
            evidence=_alike(case),
            advice=_draw(case),
            layer=case.layer_of("duplicate-units"),
        )
    elif {"small_weights", "large_weights"} & facts.seen:
        small = "small_weights" in facts.seen
        typical = sorted(facts.spreads)[len(facts.spreads) // 2] if facts.spreads else math.nan
        mild = not small and _no_harm(case)
        # What wide weights put out is the size of the gradient of the weights behind them, and
        # products of wide queries and keys leave each query a single key.
        further = frozenset() if mild else frozenset({"update-too-large", "attention-collapse"})
        yield Suspect(
            word="bad-initialisation-scale",
            row="" if mild else f"bad-initialisation-scale ({'small' if small else 'large'})",
            belief=0.4 if mild else 0.0,
            onset=case.start,
            explains=_OF_SCALE | (_OF_ONE_START if small else further),
            evidence=[
                "first sample: most weights lie to one side of zero, as torch.rand draws them: "
                f"what their inputs have in common grows as by weights {max(facts.spreads):.2g} "
                "times PyTorch's default spread, and all units say the same"
                if facts.one_sided and not small
                else f"first sample: {_wide(case, typical, small=small)} times PyTorch's default "
                "spread (He: 2.45)"
            ],
            advice="initialise with nn.init.kaiming_uniform_ (sd sqrt(2 / fan_in)) for ReLU, "
            "nn.init.xavier_uniform_ for tanh and sigmoid",
        )
    else:
        yield from _sure_at_first(case)
    if "faint_depth" in facts.seen:
        yield Suspect(
            word="depth-vanishing",
            row="depth-vanishing",
            onset=case.start,
            # Weights drawn far too small pass nothing on at any depth.
            phase=1 if "small_weights" in facts.seen else 0,
            root="small_weights" not in facts.seen,
            explains=frozenset(
                {
                    "vanishing-gradient",
                    "output-collapse",
                    "constant-predictor",
                    "representation-collapse",
                    "loss-plateau",
                    "frozen-weights",
                    "weight-collapse",  # decay alone is left to move them
                }
            ),
            evidence=[
                f"at the start the gradient fell to 1e-{facts.lost_decades:.0f} of itself on its "
                "way from the last layer to the first"
                if facts.lost_decades
                else f"at the start the first hidden layer passes {facts.first_signal:.2g} of its "
                f"variance on, the last {facts.last_signal:.1g}"
            ],
            advice="initialise with nn.init.kaiming_uniform_ (ReLU) or xavier_uniform_ (tanh), "
            "replace sigmoid by ReLU, add residual connections or normalisation, or take fewer "
            "layers",
            layer=case.layer_of("vanishing-gradient"),
        )


def _weight(case: Case) -> str:
    """The first of the empty weights: a parameter beside the layers is named by itself."""
    name = case.facts.empty[0]
    row = case.layout.row_of.get((case.model.name, name), -1)
    alone = row >= 0 and case.layout.layers[row].kind == "Parameter"
    return name if alone else f"{name}.weight"


def _no_harm(case: Case) -> bool:
    """Weights are wide for their number of inputs, and nothing that follows from it is seen.

    Of two inputs even weights of 5 make sums that a sigmoid can bear.
    """
    layout = case.layout
    rows = layout.rows(case.model.name)
    rows = rows[(layout.matrix & layout.learns & ~layout.head)[rows]]
    sums = case.past.first[rows, LAYER_COLUMN["out_rms"]]
    return case.facts.seen <= {"large_weights", "weights_tripled"} and bool((sums < LOUD).all())


def _sure_at_first(case: Case) -> Iterator[Suspect]:
    """Answers were sure before anything was learnt, of inputs that are as they should be.

    Weights that stand beside the layers, in a matrix of one's own, are not told wide by their
    shape; what they lead to is seen.
    """
    flag, guess = case.flag("loss-divergence"), case.flag("constant-predictor")
    spread = math.nan if flag is None else flag.evidence.get("out_sd", math.nan)
    if guess is not None and guess.evidence.get("skill", 0.0) < FAR_WORSE:
        spread = case.model.start("out_sd")
    if not spread > LossDivergence.SURE or case.facts.input_kind or case.build.late:
        return
    yield Suspect(
        word="bad-initialisation-scale",
        belief=0.6,  # or they were trained, for labels of another order
        onset=case.start,
        explains=_OF_SCALE,
        evidence=[
            f"the first outputs spread by {spread:.3g} over the inputs (0.1 to 1 is usual), and "
            f"the loss began at {case.past.loss.first:.3g}, {_of_a_constant(case)}"
        ],
        advice=f"divide the weights of the last layer by {spread / USUAL_SPREAD:.0f} or more, its "
        "bias 0, so that the first loss is that of a constant answer; sd 1 / sqrt(inputs) in the "
        "layers before it; of a trained network, check the order of its classes",
    )


def _of_a_constant(case: Case) -> str:
    constant = case.model.latest("loss_constant")
    if math.isfinite(constant):
        return f"that of a constant answer is {constant:.3g}"
    return f"far above that of a constant answer (skill {case.model.latest('skill'):.2g} now)"


def _wide(case: Case, typical: float, *, small: bool) -> str:
    """`weights 40`, or of the one layer that is so."""
    widest = max(case.facts.spreads, default=math.nan)
    if small or not widest > 3 * typical:
        return f"weights {typical:.2g}"
    layout = case.layout
    rows = layout.rows(case.model.name)
    spreads = np.where(layout.matrix[rows], case.past.first[rows, LAYER_COLUMN["weight_spread"]], 0)
    return f"the weights of {layout.layers[rows[int(np.nanargmax(spreads))]].name} {widest:.2g}"


def recurrent(case: Case) -> Layer | None:
    """The first recurrent layer of the model."""
    layers = case.layout.layers
    rows = case.layout.rows(case.model.name).tolist()
    return next((layers[row] for row in rows if layers[row].kind.startswith(RECURRENT)), None)


def _forgets(case: Case) -> Iterator[Suspect]:
    """A recurrent layer that learns nothing: what came early may be lost before the end.

    A state that is multiplied by weights of radius r keeps r^n of itself after n steps; torch draws
    plain recurrent weights with a radius of 0.58, which leaves 3e-10 after forty steps. Gates hold
    on by themselves, unless they are shut.
    """
    layer = recurrent(case)
    # Layers that are dead, saturated or thrown off have reasons of their own.
    known = case.facts.seen - {"tiny_updates"} or not case.past.skill(case.model.name) < LITTLE
    if layer is None and not known:
        yield from _forgets_in_a_loop(case)
    if layer is None or known:
        return
    plain = layer.kind.startswith("RNN")
    radius = _radius(case, layer) if plain else math.nan
    if radius > HOLDS:
        return
    left = _left_of_the_inputs(case, layer)
    faint = left < FAINT
    yield Suspect(
        word="depth-vanishing",
        belief=0.5 if plain or faint else 0.2,
        onset=case.start,
        explains=_FORGETFUL,
        evidence=[
            f"{layer.name} ({layer.kind}) is all that carries the early steps of a series to its "
            "end, and nothing is learnt"
            + (
                f"; its recurrent weights have a radius of about {radius:.2g}: {radius**10:.0e} of "
                "a state is left after ten steps"
                if plain
                else ""
            )
            + (f"; as drawn it left {left:.0e} of how far inputs differ" if faint else "")
        ],
        advice="nn.LSTM or nn.GRU in place of nn.RNN; or nn.init.orthogonal_"
        f"({layer.name}.weight_hh_l0), which keeps a state's length; shorter series, or attention "
        "over all steps instead of the last state"
        if plain
        else f"open the forget gate of {layer.name} (bias_hh_l0[hidden:2 * hidden] = 1 in an LSTM);"
        f" {'num_layers=1, wider; ' if faint else ''}shorter series, or attention over all steps "
        "instead of the last state",
        layer=layer.name,
    )


def _left_of_the_inputs(case: Case, layer: Layer) -> float:
    """Share of how far the inputs differ that differs yet in the states, before any step."""
    row = case.layout.row_of[case.model.name, layer.name]
    out = float(case.past.first[row, LAYER_COLUMN["out_variance"]])
    return out / (case.model.start("in_variance") or math.nan)


def _forgets_in_a_loop(case: Case) -> Iterator[Suspect]:
    """The same of a loop written by hand, by how much gradient came back to its first call."""
    layout, name = case.layout, case.model.name
    grads = case.past.first[:, LAYER_COLUMN["out_grad_rms"]]
    matrices = layout.weighted(name).tolist()
    for row in called_on(layout, matrices):
        called = layout.layers[row].name.partition("@")[0]
        first = layout.row_of.get((name, called), row)
        arrives = float(grads[first]) / float(grads[matrices[-1]] or math.nan)
        if not 0 < arrives < FORGOTTEN:
            continue
        yield Suspect(
            word="depth-vanishing",
            belief=0.5,
            onset=case.start,
            explains=_FORGETFUL,
            evidence=[
                f"{called} is called again and again, and {arrives:.0e} of the last layer's "
                "gradient came back to its first call: what came early is lost before the end, "
                "and nothing is learnt"
            ],
            advice="gates (nn.GRUCell, nn.LSTMCell), or h = h + f(h, x) in place of h = f(h, x); "
            "orthogonal weights from state to state, which keep its length; fewer rounds",
            layer=called,
        )
        return


def _radius(case: Case, layer: Layer) -> float:
    """Spectral radius of recurrent weights drawn at random; torch's default where not shown.

    It is their spread times the root of the units (Girko's circular law).
    """
    row = case.layout.row_of.get((case.model.name, f"{layer.name}.weight_hh_l0"), -1)
    rms = float(case.past.first[row, LAYER_COLUMN["weight_rms"]]) if row >= 0 else math.nan
    return rms * math.sqrt(layer.units) if rms > 0 else 3**-0.5


def _draw(case: Case) -> str:
    twins = case.facts.twin_layers
    return (
        f"draw the weights at random: remove the constant fill of "
        f"{twins[0] if twins else 'each hidden layer'}, or call "
        "nn.init.kaiming_uniform_(layer.weight) (ReLU) or nn.init.xavier_uniform_ (tanh, sigmoid)"
    )


def _alike(case: Case) -> list[str]:
    if case.facts.zero_weights:
        return ["first sample: every hidden weight is zero"]
    layers = ", ".join(case.facts.twin_layers[:4])
    return [f"first sample: the units of {layers} have the same weights"]
