"""What each rule can see of a run: armed, warming up, or impossible here and why.

A verdict is worth what it rests on: a rule whose statistics are never measured in a run says
nothing, which is not the same as finding nothing.
"""

from __future__ import annotations

from deadband.wire import Coverage
from deadband_monitor.metrics import LAYER_COLUMN, MODEL_COLUMN
from deadband_monitor.rules.base import Rule
from deadband_monitor.rules.past import Past

PATIENCE_SAMPLES = 20
"""Samples after which a statistic that never came is taken to be one that will not come."""
PATIENCE_EVALUATION = 200
"""The same for evaluation passes, which come once an epoch."""
SELDOM_STEPS = 500
"""Steps to a flag from which a rule says that it is slow."""

_ABSENT = {
    # Statistic -> why a run may lack it.
    "information": "no labels or class probabilities seen",
    "sigma_share": "no targets seen",
    "skill": "no labels seen",
    "saturation": "no saturating activation",
    "saturated_units": "no saturating activation",
    "dead_units": "no ReLU-like activation",
    "eval_loss": "no evaluation pass seen",
    "norm_shift": "no batch normalisation",
    "norm_ratio": "no batch normalisation",
    "attention_entropy": "no attention weights seen",
    "diversity": "no generator and discriminator",
    "in_variance": "no floating-point input seen",
    "in_rms": "no floating-point input seen",
    "loss": "no loss seen",
    "out_variance": "no output seen",
    "grad_rms": "no gradients seen",
    "grad_norm": "no gradients seen",
    "update_ratio": "no optimiser step seen",
    "weight_growth": "no weights seen",
    "duplicate_units": "no weight matrix wide enough",
    "target_sd": "no targets seen",
    "participation": "no output with several rows seen",
}


def cover(rule: Rule, past: Past) -> Coverage:
    """Whether `rule` can judge this run, and if not, why."""
    wanting = [name for name in rule.needs if not _known(name, past)]
    if len(wanting) < len(rule.needs) or not rule.needs:
        if past.step < rule.grace_steps:
            return _coverage(rule, "warming up", f"judges from step {rule.grace_steps}")
        return _coverage(rule, "armed", _slowness(rule, past))
    patience = PATIENCE_EVALUATION if "eval_loss" in rule.needs else PATIENCE_SAMPLES
    if past.samples < patience:
        return _coverage(rule, "warming up", "nothing measured yet")
    reason = ", ".join(dict.fromkeys(_absence(name, past) for name in wanting))
    layout = past.layout
    if layout is not None and any(model.compiled for model in layout.models):
        reason += "; inside a compiled model only weights and gradients are seen"
    return _coverage(rule, "impossible", reason)


def _coverage(rule: Rule, state: str, reason: str) -> Coverage:
    return Coverage(kind=rule.kind, state=state, reason=reason)


def _slowness(rule: Rule, past: Past) -> str:
    interval = past.sample_interval
    wait = interval * rule.samples_to_open
    if wait < SELDOM_STEPS:
        return ""
    return f"measured every {interval} steps: takes about {wait} steps to call"


def _absence(name: str, past: Past) -> str:
    if name == "saturated_units" and _known("saturation", past):
        return "a saturating activation, of too few rows"
    return _ABSENT.get(name, f"no {name.replace('_', ' ')}")


def _known(name: str, past: Past) -> bool:
    if name in LAYER_COLUMN and bool(past.known_layers[LAYER_COLUMN[name]]):
        return True
    return name in MODEL_COLUMN and bool(past.known_models[MODEL_COLUMN[name]])
