"""Losses that do not depend on what the model answers, or that no right answer makes small."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from rules_builds import label_free, layer, linear, scene_of
from rules_scene import Scene, SceneSample

from deadband_monitor.rules.bottomless import HARDLY_SLOWED, Descent
from deadband_monitor.rules.causes.base import Case
from deadband_monitor.rules.causes.descent import _falls_for_ever

PLAIN = ("fc1", "fc2", "fc3")


def chain(loss: str = "", given: tuple[tuple[int, ...], ...] = ((), ())) -> Scene:
    """Three linear layers, with nothing seen between them."""
    return scene_of(
        [linear("fc1", 8, 32), linear("fc2", 32, 32), linear("fc3", 32, 1)],
        model={"loss": loss, "loss_input": given[0], "loss_target": given[1]},
    )


@pytest.mark.parametrize(("before", "bent"), [(3.0, True), (0.001, False)])
def test_a_gradient_that_no_matrix_makes_so_large_passed_something_that_bends(
    before: float, bent: bool
) -> None:
    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.layer("fc1", out_grad_rms=before)
        sample.layer("fc2", weight_rms=0.005)
        sample.layer("fc3", out_grad_rms=0.2)
        sample.model(neighbour_agreement=0.95)

    causes = chain("mse", ((64, 1), (64, 1))).run(400, bend).causes
    assert ("insufficient-capacity" in causes) is not bent


@pytest.mark.parametrize("target", [(64,), (64, 1)])
def test_counts_are_spread_over_each_other_as_squares_are(target: tuple[int, ...]) -> None:
    def counts(sample: SceneSample) -> None:
        label_free(sample)
        sample.model(out_min=-1, out_max=1, target_min=0, target_max=9, target_mean=3, target_sd=2)

    made = chain("poisson_nll", ((64, 1), target)).run(60, counts)
    assert ("constant-predictor" in made.standing) is (target == (64,))
    assert (made.causes[:1] == ["loss-mismatch"]) is (target == (64,))


@pytest.mark.parametrize(("power", "unslowed"), [(1.0, True), (0.3, False)])
def test_a_score_that_falls_for_ever_is_told_by_the_loss_where_outputs_are_not_known(
    power: float, unslowed: bool
) -> None:
    descent = Descent()
    for step in range(1, 300):
        descent.add(step, -5.0 - 400 * float(step / 100) ** power, np.nan)
    assert not descent.endless
    assert descent.falls_on(HARDLY_SLOWED) is unslowed


@pytest.mark.parametrize(("loss", "grows"), [("", True), ("mse", True), ("", False)])
def test_and_named_where_weights_grow_with_it(loss: str, grows: bool) -> None:
    case = SimpleNamespace(
        layout=SimpleNamespace(several_models=False),
        build=SimpleNamespace(loss=loss),
        flag={"weight-divergence": "stands"}.get if grows else {}.get,
        model=SimpleNamespace(objective=SimpleNamespace(falls_unslowed=True)),
    )
    assert _falls_for_ever(cast("Case", case)) is (grows and not loss)


@pytest.mark.parametrize(("turn", "named"), [(0.95, True), (0.0, False)])
def test_steps_that_go_one_way_and_lead_nowhere_are_written_back_in_part(
    turn: float, named: bool
) -> None:
    def back(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        for name in PLAIN:
            sample.layer(name, update_ratio=0.01, weight_drift=0.06, update_cosine=turn)

    causes = chain("mse", ((64, 1), (64, 1))).run(600, back).causes
    assert (causes[0] == "detached-graph") is named


@pytest.mark.parametrize(("back", "named"), [(np.nan, True), (0.0, False)])
def test_weights_that_enter_the_loss_as_nothing_are_cut_from_it(back: float, named: bool) -> None:
    def cut(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        for name in PLAIN:
            sample.layer(name, grad_rms=0, has_grad=1, out_grad_rms=back, update_ratio=0)
        sample.model(grad_norm=0, update_ratio=0)

    causes = chain("mse", ((64, 1), (64, 1))).run(200, cut).engine.causes()
    sure = [cause.cause for cause in causes if cause.confidence > 0.9]
    assert ("detached-graph" in sure) is named


@pytest.mark.parametrize(
    ("loss", "noise", "repeat", "called"),
    [
        (0.6931472, 1e-8, 0.0, True),
        (0.6931472, 1e-4, 0.0, False),
        (0.6875, 0.0, 0.0, False),  # as half precision rounds
        (0.6931472, 0.0, 1.0, False),  # one batch that is all there is
    ],
)
def test_a_loss_that_is_one_number_for_every_batch_does_not_depend_on_the_answers(
    loss: float, noise: float, repeat: float, called: bool
) -> None:
    def stands(sample: SceneSample) -> None:
        label_free(sample)
        sample.lost = lambda step: loss + noise * (step % 5)
        sample.model(loss=loss, skill=np.nan, loss_constant=np.nan, in_repeat=repeat)
        for name in PLAIN:
            sample.layer(name, update_ratio=1e-5)
        sample.model(update_ratio=1e-5)

    made = chain().run(200, stands)
    assert ("loss-plateau" in made.standing) is called
    if called:
        assert made.causes[0] == "detached-graph"


@pytest.mark.parametrize("kind", ["Linear", "observed"])
def test_weights_beside_the_loss_are_told_from_layers_that_were_shown_by_hand(kind: str) -> None:
    """Of those nobody shows the gradient at their outputs."""

    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        for name in ("hidden", "out"):
            sample.layer(name, grad_rms=0, out_grad_rms=np.nan, update_ratio=0)
        sample.model(grad_norm=0, update_ratio=0)

    scene = scene_of([layer(name, kind, units=24, fan_in=24) for name in ("hidden", "out")])
    sure = {cause.cause: cause.confidence for cause in scene.run(60, bend).engine.causes()}
    assert (sure.get("detached-graph", 0) > 0.9) is (kind == "Linear")
