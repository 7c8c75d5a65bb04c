"""Which rules judge a run, in which order, and which symptoms follow from others."""

from __future__ import annotations

from deadband_monitor.rules.activations import DeadUnits, Saturation
from deadband_monitor.rules.attention import AttentionCollapse
from deadband_monitor.rules.base import Rule
from deadband_monitor.rules.constant import ConstantPredictor
from deadband_monitor.rules.frozen import FrozenWeights
from deadband_monitor.rules.generalisation import Overfitting
from deadband_monitor.rules.gradients import ExplodingGradient, VanishingGradient
from deadband_monitor.rules.growth import WeightDivergence
from deadband_monitor.rules.inputs import InputAnomaly
from deadband_monitor.rules.losses import LossDivergence
from deadband_monitor.rules.normalisation import BatchNormMismatch
from deadband_monitor.rules.numerics import NonFinite
from deadband_monitor.rules.outputs import OutputCollapse
from deadband_monitor.rules.plateau import LossPlateau
from deadband_monitor.rules.representation import RepresentationCollapse
from deadband_monitor.rules.weights import DuplicateUnits, UpdateTooLarge, WeightCollapse

INHIBITS: dict[str, frozenset[str]] = {
    # What stands -> what need not be said as well, because it follows from it.
    "non-finite": frozenset(
        {
            "output-collapse",
            "constant-predictor",
            "dead-units",
            "saturation",
            "duplicate-units",
            "vanishing-gradient",
            "exploding-gradient",
            "weight-collapse",
            "weight-divergence",
            "loss-divergence",
            "input-anomaly",
            "overfitting",
            "representation-collapse",
            "attention-collapse",
            "batchnorm-mismatch",
        }
    ),
    "output-collapse": frozenset(
        {
            "constant-predictor",
            "loss-divergence",
            "weight-divergence",
            "overfitting",
            "batchnorm-mismatch",
        }
    ),
    "dead-units": frozenset(
        {"vanishing-gradient", "constant-predictor", "representation-collapse"}
    ),
    "vanishing-gradient": frozenset({"constant-predictor"}),
    "frozen-weights": frozenset({"constant-predictor", "loss-plateau"}),
}


def default_rules() -> tuple[Rule, ...]:
    """One fresh judge for each symptom, the one that silences most first."""
    return (
        NonFinite(),
        InputAnomaly(),
        FrozenWeights(),
        UpdateTooLarge(),
        DuplicateUnits(),
        Saturation(),
        DeadUnits(),
        OutputCollapse(),
        RepresentationCollapse(),
        AttentionCollapse(),
        BatchNormMismatch(),
        WeightCollapse(),
        VanishingGradient(),
        ExplodingGradient(),
        ConstantPredictor(),
        LossDivergence(),
        WeightDivergence(),
        Overfitting(),
        LossPlateau(),
    )
