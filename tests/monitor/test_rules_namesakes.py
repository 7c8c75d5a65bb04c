"""Failures that look alike and have different names, and the second name beside the first."""

from __future__ import annotations

import msgspec
import numpy as np
from rules_scene import Scene, SceneSample

from deadband.wire import Layer
from deadband_monitor.rules.causes.base import Suspect, Tier
from deadband_monitor.rules.causes.naming import _second, _Weighed

LAYERS = ("fc1", "act1", "fc2", "act2", "fc3")


def broken(sample: SceneSample) -> None:
    for layer in ("fc1", "fc2", "fc3"):
        sample.layer(layer, nonfinite=0.5, weight_rms=np.nan, out_rms=np.nan, update_ratio=np.nan)
    sample.model(nonfinite=1, grad_norm=np.nan, loss=np.nan)
    sample.loss = np.nan


def rising(sample: SceneSample) -> None:
    sample.loss = 2.3 * 10.0 ** (2 * (sample.step - 100))
    sample.model(loss=sample.loss, skill=-9.0)


def test_what_overflows_after_a_loss_that_rose_for_steps_did_so_by_its_rate() -> None:
    scene = Scene().run(100).run(5, rising).run(5, broken)
    assert scene.causes == ["learning-rate-too-high"]
    assert "0.01" in scene.engine.causes()[0].advice  # a tenth of the scene's rate


def test_what_overflows_from_a_loss_like_any_other_has_no_such_reason() -> None:
    scene = Scene().run(100).run(8, every=5).run(5, broken)
    assert scene.causes[0] == "numerical-overflow"


def tables(*kinds: str) -> Scene:
    """A network whose first layers are tables."""
    made = Scene()
    layers = list(made.table.layers)
    for place, kind in enumerate(kinds):
        layers[place] = Layer(
            name=layers[place].name, model="model", kind=kind, fan_in=8, units=8, parameters=80
        )
    made.table = msgspec.structs.replace(made.table, layers=tuple(layers[: len(kinds)]))
    return made


def empty(sample: SceneSample) -> None:
    for layer in ("fc1", "act1"):
        sample.layer(
            layer, weight_rms=0, grad_rms=0, out_rms=0, out_variance=np.nan, out_grad_rms=0,
            update_ratio=np.nan, weight_growth=np.nan, duplicate_units=np.nan,
            saturation=np.nan, dead_units=np.nan,
        )  # fmt: skip
    sample.model(out_variance=np.nan, out_rms=0, out_sd=0, out_min=0, out_max=0)
    sample.no_better_than_constant()


def test_two_tables_of_zeros_wait_for_each_other() -> None:
    scene = tables("Embedding", "Embedding").run(150, empty)
    assert scene.causes[0] == "constant-initialisation"
    assert "fc1, act1" in scene.engine.causes()[0].evidence[0]


def test_a_model_of_tables_alone_is_watched_for_steps_that_are_too_large() -> None:
    def large(sample: SceneSample) -> None:
        for layer in ("fc1", "act1"):
            sample.layer(layer, update_ratio=4.0, weight_growth=30.0)
        sample.loss = 30.0
        sample.model(loss=30.0, skill=-12.0, grad_norm=40.0)

    scene = tables("Embedding", "Embedding").run(5).run(60, large)
    assert scene.standing["update-too-large"].severity == "critical"
    assert scene.causes[0] == "learning-rate-too-high"


def weighed(word: str, share: float, alone: float, tier: Tier = Tier.PATTERN) -> _Weighed:
    suspect = Suspect(word=word, onset=1, explains=frozenset(), advice="", tier=tier)
    return _Weighed(suspect, share, alone)


def test_a_second_cause_is_named_where_it_would_be_believed_by_itself() -> None:
    first = weighed("learning-rate-too-high", 0.999, 0.999)
    likely = weighed("over-regularisation", 1e-4, 0.75)
    unlikely = weighed("dying-relu", 1e-3, 0.3)
    (second,) = _second(first, [first, unlikely, likely])
    assert second.suspect.word == "over-regularisation"
    assert 0.03 < second.share < 0.05  # of what the first, never surer than 0.95, leaves


def test_what_is_left_when_all_else_is_ruled_out_is_named_beside_a_first_that_is_unsure() -> None:
    stuck = weighed("local-minimum", 0.1, 0.45, Tier.RESIDUAL)
    assert _second(weighed("insufficient-capacity", 0.65, 0.65), [stuck])
    assert not _second(weighed("over-regularisation", 0.9, 0.9), [stuck])


def routed(steps: int, share: float, entropy: float) -> Scene:
    """Four experts in a list, of which `share` are given no input."""
    made = Scene()
    gate = Layer(name="gate", model="model", kind="softmax", activation="softmax", units=4)
    choices = [
        Layer(name=f"experts.{k}", model="model", kind="Linear", fan_in=16, units=6, parameters=102)
        for k in range(4)
    ]
    layers = (*made.table.layers[:2], gate, *choices, *made.table.layers[2:])
    made.table = msgspec.structs.replace(made.table, layers=layers)

    def bend(sample: SceneSample) -> None:
        sample.layer("gate", choice_entropy=entropy, saturation=0.5, dead_units=np.nan)
        for k in range(4):
            idle = k < 4 * share
            sample.layer(f"experts.{k}", grad_rms=0.0 if idle else 0.01)
            sample.layer(f"experts.{k}", update_ratio=0.0 if idle else 0.01)
        sample.loss = 1.6
        sample.model(loss=1.6, skill=0.3, information=0.3)

    return made.run(steps, bend)


def test_a_router_that_leaves_experts_without_input_is_named() -> None:
    assert "representation-collapse" not in routed(150, 0.5, 0.45).standing
    scene = routed(260, 0.5, 0.45)
    assert "idle" in scene.standing["representation-collapse"].evidence
    assert scene.causes[0] == "router-collapse"
    assert "representation-collapse" in routed(260, 0.25, 0.45).standing


def test_one_expert_in_four_that_waits_beside_an_even_load_is_no_collapse() -> None:
    assert "representation-collapse" not in routed(260, 0.25, 0.75).standing
    assert "representation-collapse" not in routed(260, 0.0, 0.45).standing
