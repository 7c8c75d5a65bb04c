"""Between loss and weights: what is cut, what stands still, what is never cleared."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from rules_builds import layer, linear, scene_of, trained_by
from rules_scene import NAMES, Scene, SceneSample

from deadband.wire import Cause, LayerTable, OptimizerGroup
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.clashes import Clash

MATRICES = ("fc1", "fc2", "fc3")


def with_layers(scene: Scene, **changes: dict[str, object]) -> Scene:
    """The same scene with some fields of its layers changed."""
    layers = tuple(
        msgspec.structs.replace(layer, **changes.get(layer.name, {}))
        for layer in scene.table.layers
    )
    scene.table = msgspec.structs.replace(scene.table, layers=layers)
    return scene


def arrives(sample: SceneSample) -> None:
    """The signs of a step that reached every weight."""
    for name in MATRICES:
        sample.layer(name, has_grad=1, weight_drift=sample.step / 400, grad_cosine=0.3)
    sample.model(grad_share=1, moved_share=1, skipped=0)


def still(sample: SceneSample, *names: str, **values: float) -> None:
    arrives(sample)
    for name in names:
        sample.layer(
            name, update_ratio=0, weight_rms=0.1, weight_growth=1, weight_drift=0, **values
        )


def top(scene: Scene) -> Cause:
    return scene.engine.causes()[0]


def no_gradient(sample: SceneSample) -> None:
    still(sample, *MATRICES, has_grad=0, grad_rms=np.nan, duplicate_grads=np.nan)
    sample.layers[:, LAYER_COLUMN["out_grad_rms"]] = np.nan
    sample.no_better_than_constant()
    sample.model(grad_share=0, moved_share=0, grad_norm=np.nan, update_ratio=0)


def test_weights_that_never_moved_come_before_what_the_loss_asks_of_them() -> None:
    scene = trained_by("mse", prediction=(64, 1), target=(64,)).run(20, no_gradient)
    assert scene.engine.past.models["model"].objective.clash is Clash.BROADCAST
    assert top(scene).cause == "detached-graph"


def test_weights_without_any_gradient_are_called_within_ten_steps() -> None:
    scene = Scene().run(10, no_gradient)
    flag = scene.standing["frozen-weights"]
    assert flag.severity == "critical"
    assert flag.onset_step == 1
    assert top(scene).cause == "detached-graph"
    assert top(scene).confidence >= 0.8
    assert ".detach()" in top(scene).advice


def test_gradients_that_were_taken_away_before_the_step_are_no_cut_graph() -> None:
    """A second weight of a layer, as recurrent ones have, is not asked for its gradient."""

    def cleared(sample: SceneSample) -> None:
        no_gradient(sample)
        sample.layer("fc2", has_grad=np.nan)
        sample.layer("fc3", out_grad_rms=0.01)

    cause = top(Scene().run(12, cleared))
    assert cause.cause == "detached-graph"
    assert "in this order" in cause.advice


@pytest.mark.parametrize("learns", [True, False])
def test_weights_that_ask_for_no_gradient_are_named_where_nothing_is_learnt(learns: bool) -> None:
    """Biases alone are trained: of a network that was trained before, that may do."""

    def biases(sample: SceneSample) -> None:
        if not learns:
            sample.no_better_than_constant()
        still(sample, *MATRICES, has_grad=np.nan, grad_rms=np.nan, duplicate_grads=np.nan)

    scene = Scene()
    group = OptimizerGroup(optimizer="Adam", lr=1e-3)
    scene.table = msgspec.structs.replace(scene.table, optimizers=(group,))
    scene.run(250, biases)
    assert scene.standing["frozen-weights"].severity == ("info" if learns else "warning")
    if not learns:
        assert "requires_grad_(True)" in top(scene).advice


def test_a_graph_that_is_cut_in_mid_run_has_its_onset_there() -> None:
    def cut(sample: SceneSample) -> None:
        no_gradient(sample)
        for name in MATRICES:
            sample.layer(name, weight_drift=40 / 400)

    scene = Scene().run(40, arrives).run(20, cut)
    assert scene.standing["frozen-weights"].onset_step == 41


def test_weights_that_no_optimiser_holds_are_told_by_name() -> None:
    def strangers(sample: SceneSample) -> None:
        still(sample, *MATRICES, has_grad=1)
        sample.no_better_than_constant()
        sample.model(grad_share=1, moved_share=0, update_ratio=0)

    held: dict[str, dict[str, object]] = {name: {"optimised": False} for name in MATRICES}
    scene = with_layers(Scene(), **held).run(12, strangers)
    assert scene.standing["frozen-weights"].severity == "critical"
    assert "does not hold fc1, fc2, fc3" in top(scene).advice


@pytest.mark.parametrize(
    ("spread", "grad", "called"),
    [(1.0, 0.3, True), (1.4, 0.3, False), (1.0, 0.0, False)],
    ids=["as drawn", "a teacher that was trained", "asked for nothing"],
)
def test_a_whole_model_that_no_optimiser_holds_is_told(
    spread: float, grad: float, called: bool
) -> None:
    """The generator's optimiser was given the critic's weights."""

    def unheld(sample: SceneSample) -> None:
        for row in range(len(NAMES), 2 * len(NAMES), 2):
            sample.layers[row, [LAYER_COLUMN[n] for n in ("update_ratio", "weight_drift")]] = 0
            sample.layers[row, LAYER_COLUMN["grad_rms"]] = grad
            sample.layers[row, LAYER_COLUMN["weight_spread"]] = spread

    scene = Scene(models=("critic", "generator"))
    layers = [
        msgspec.structs.replace(layer, optimised=layer.model == "critic")
        for layer in scene.table.layers
    ]
    scene.table = msgspec.structs.replace(scene.table, layers=tuple(layers))
    scene.run(30, unheld)
    assert ("frozen-weights" in scene.standing) == called
    assert scene.causes == (["detached-graph"] if called else [])


def test_steps_that_change_nothing_are_called_though_gradients_arrive() -> None:
    def elsewhere(sample: SceneSample) -> None:
        still(sample, *MATRICES, has_grad=1)
        sample.no_better_than_constant()

    scene = Scene().run(15, elsewhere)
    assert scene.standing["frozen-weights"].severity == "critical"
    assert top(scene).cause == "detached-graph"
    assert "optimizer.step()" in top(scene).advice


def test_a_rate_that_float32_rounds_away_is_too_low_not_detached() -> None:
    def rounded(sample: SceneSample) -> None:
        still(sample, *MATRICES, has_grad=1)
        sample.no_better_than_constant()
        sample.model(lr=1e-12)

    scene = Scene().run(15, rounded)
    assert top(scene).cause == "learning-rate-too-low"


def test_a_front_that_is_cut_off_is_a_warning_with_its_layers() -> None:
    def cut(sample: SceneSample) -> None:
        still(sample, "fc1", has_grad=0, grad_rms=np.nan)

    scene = Scene().run(60, cut)
    flag = scene.standing["frozen-weights"]
    assert (flag.severity, flag.layer) == ("warning", "fc1")
    assert top(scene).cause == "detached-graph"
    assert "requires_grad_(False)" in top(scene).advice


def test_a_front_with_a_further_weight_of_a_layer_is_cut_off_as_well() -> None:
    """Of an attention's projection it is never known whether it has a gradient."""

    def cut(sample: SceneSample) -> None:
        still(sample, "fc1", "fc2", has_grad=0, grad_rms=np.nan)
        sample.layer("fc1", has_grad=np.nan, out_rms=np.nan)

    scene = Scene().run(60, cut)
    assert scene.standing["frozen-weights"].severity == "warning"
    assert top(scene).cause == "detached-graph"


def test_a_branch_that_the_loss_does_not_use_is_a_note() -> None:
    def aside(sample: SceneSample) -> None:
        still(sample, "fc2", has_grad=0, grad_rms=np.nan)

    scene = Scene().run(100, aside)
    assert scene.standing["frozen-weights"].severity == "info"
    assert scene.causes == []


def test_a_branch_aside_is_no_likelier_than_labels_that_nothing_tells() -> None:
    """The last residual of a WaveNet goes nowhere, and its labels were shuffled."""

    def aside(sample: SceneSample) -> None:
        still(sample, "fc2", has_grad=0, grad_rms=np.nan)
        sample.no_better_than_constant()

    scene = Scene().run(200, aside)
    assert scene.causes == ["label-noise", "detached-graph"]


def test_a_new_head_that_the_optimiser_lacks_is_a_warning() -> None:
    scene = with_layers(Scene(), fc3={"optimised": False})
    scene.run(60, lambda sample: still(sample, "fc3", has_grad=1))
    assert scene.standing["frozen-weights"].severity == "warning"
    assert "does not hold fc3" in top(scene).advice


def test_a_backbone_left_out_of_the_optimiser_is_a_note() -> None:
    scene = with_layers(Scene(), fc1={"optimised": False}, fc2={"optimised": False})
    scene.run(200, lambda sample: still(sample, "fc1", "fc2", has_grad=1))
    assert {flag.severity for flag in scene.engine.flags} == {"info"}


FROZEN: dict[str, dict[str, dict[str, object]]] = {
    "neither trained nor held": {"fc1": {"trainable": False, "optimised": False}},
    "not trained, in the optimiser": {"fc1": {"trainable": False}},
}


@pytest.mark.parametrize("how", FROZEN)
def test_a_frozen_backbone_is_silent(how: str) -> None:
    scene = with_layers(Scene(), **FROZEN[how])
    scene.run(200, lambda sample: still(sample, "fc1"))
    assert scene.engine.flags == []


def test_a_backbone_under_no_grad_that_no_optimiser_holds_is_silent() -> None:
    scene = with_layers(Scene(), fc1={"optimised": False})
    scene.run(200, lambda sample: still(sample, "fc1", has_grad=0, grad_rms=np.nan))
    assert scene.engine.flags == []


def test_a_warm_up_from_zero_is_silent() -> None:
    def warming(sample: SceneSample) -> None:
        arrives(sample)
        rate = 1e-3 * (sample.step - 1) / 60
        sample.model(lr=rate, update_ratio=rate)
        for name in MATRICES:
            sample.layer(name, update_ratio=rate)
            if sample.step == 1:
                sample.layer(name, weight_drift=0)

    assert Scene().run(60, warming).engine.flags == []


def test_a_rate_of_zero_is_no_fault_of_the_graph() -> None:
    def resting(sample: SceneSample) -> None:
        still(sample, *MATRICES, has_grad=1)
        sample.model(lr=0)

    assert "frozen-weights" not in Scene().run(30, arrives).run(40, resting).standing


def test_steps_that_a_scaler_leaves_out_at_the_start_are_silent() -> None:
    def settling(sample: SceneSample) -> None:
        still(sample, *MATRICES, has_grad=1)
        sample.model(skipped=12 / 20)

    assert Scene().run(12, settling).run(40, arrives).engine.flags == []


def test_a_scaler_that_leaves_out_every_step_is_called() -> None:
    def for_ever(sample: SceneSample) -> None:
        still(sample, *MATRICES, has_grad=1)
        sample.no_better_than_constant()
        sample.model(skipped=min(1.0, sample.step / 20))

    scene = Scene().run(45, for_ever)
    assert scene.standing["frozen-weights"].severity == "critical"
    assert "GradScaler" in top(scene).advice


def test_a_model_that_waits_for_its_turn_is_silent() -> None:
    def turns(sample: SceneSample) -> None:
        arrives(sample)
        if sample.step < 150:
            for row in range(5):
                sample.layers[row, :] = np.where(
                    np.isfinite(sample.layers[row]), sample.layers[row], np.nan
                )
            still(sample, *MATRICES, has_grad=1)

    scene = Scene(models=("critic", "generator")).run(140, turns)
    assert "frozen-weights" not in scene.standing


def test_a_layer_that_only_moves_between_the_samples_is_not_still() -> None:
    def between(sample: SceneSample) -> None:
        arrives(sample)
        for name in MATRICES:
            sample.layer(name, update_ratio=np.nan, weight_drift=sample.step / 400)

    assert Scene().run(300, between, every=10).engine.flags == []


def test_gradients_cleared_before_the_step_are_told_from_a_dead_network() -> None:
    def cleared(sample: SceneSample) -> None:
        arrives(sample)
        sample.no_better_than_constant()
        for name in MATRICES:
            sample.layer(name, grad_rms=0, has_grad=1, duplicate_grads=np.nan)
        sample.model(grad_norm=0)

    scene = Scene().run(40, cleared)
    assert "vanishing-gradient" in scene.standing
    assert top(scene).cause == "detached-graph"
    assert "optimizer.zero_grad(); loss.backward(); optimizer.step()" in top(scene).advice

    def dead(sample: SceneSample) -> None:
        cleared(sample)
        sample.layer("act2", dead_units=1, out_rms=0, out_variance=0, zero_share=1)

    assert "detached-graph" not in Scene().run(40, dead).causes


def piling(sample: SceneSample) -> None:
    arrives(sample)
    if sample.step > 1:
        for name in MATRICES:
            sample.layer(name, grad_left=1.0, grad_cosine=0.99)


def test_gradients_that_are_never_cleared_are_called_before_they_explode() -> None:
    scene = Scene().run(10, piling)
    assert scene.standing["exploding-gradient"].severity == "warning"
    assert top(scene).cause == "missing-zero-grad"
    assert "optimizer.zero_grad()" in top(scene).advice


def test_the_learning_rate_is_not_blamed_for_gradients_that_pile_up() -> None:
    def explodes(sample: SceneSample) -> None:
        piling(sample)
        if sample.step > 70:
            sample.loss = 40.0
            sample.model(loss=40, skill=-16, information=1e-4, grad_norm=90)
            for name in MATRICES:
                sample.layer(name, update_ratio=0.6, weight_growth=9)

    scene = Scene().run(160, explodes)
    assert scene.causes[0] == "missing-zero-grad"
    assert "learning-rate-too-high" not in scene.causes[:1]


def test_gradients_cleared_once_an_epoch_pile_up_as_well() -> None:
    def by_epoch(sample: SceneSample) -> None:
        if sample.step % 30 == 0:
            arrives(sample)
        else:
            piling(sample)

    scene = Scene().run(151, by_epoch)
    assert top(scene).cause == "missing-zero-grad"
    assert top(scene).onset_step <= 2


def test_a_model_that_took_the_place_of_the_optimisers_own_is_called() -> None:
    def replaced(sample: SceneSample) -> None:
        arrives(sample)
        if sample.step > 60:
            still(sample, *MATRICES, has_grad=np.nan, grad_rms=np.nan, out_rms=np.nan)
            sample.model(out_rms=np.nan, grad_norm=np.nan)
            sample.layers[:, LAYER_COLUMN["out_rms"]] = np.nan

    scene = Scene().run(100, replaced)
    assert "is not run" in scene.standing["frozen-weights"].message
    assert top(scene).cause == "detached-graph"
    assert abs(top(scene).onset_step - 61) <= 1
    pair = Scene(models=("generator", "discriminator")).run(100, replaced)
    assert "frozen-weights" not in pair.standing


def test_a_batch_of_too_few_rows_to_measure_is_no_model_that_was_not_run() -> None:
    def few(sample: SceneSample) -> None:
        arrives(sample)
        still(sample, *MATRICES)
        if sample.step % 29 == 0:
            sample.model(out_rms=np.nan)
            sample.layers[:, LAYER_COLUMN["out_rms"]] = np.nan

    scene = Scene().run(29, few)
    assert "is not run" not in scene.standing["frozen-weights"].message
    assert not any("is not run" in line for line in top(scene).evidence)


def test_half_of_the_layers_left_as_drawn_are_named_however_many_weights_they_hold() -> None:
    changed = {"optimised": False, "parameters": 1024}

    def behind(sample: SceneSample) -> None:
        still(sample, "fc1", "fc2", weight_spread=1.0)
        skill = 0.15 + 1e-4 * sample.step
        sample.loss = 2.3 * (1 - skill)
        sample.model(loss=sample.loss, skill=skill, neighbour_agreement=0.9, information=skill)

    names = ("fc1", "act1", "fc2", "act2", "fc3", "act3", "fc4")
    scene = with_layers(Scene(names), fc1=dict(changed), fc2=dict(changed)).run(300, behind)
    assert "loss-plateau" in scene.standing
    assert top(scene).cause == "detached-graph"


@pytest.mark.parametrize("skill", [0.09, 0.02])
def test_modules_in_a_plain_list_halve_the_patience_with_a_loss_that_stands(skill: float) -> None:
    def stands(sample: SceneSample) -> None:
        known = skill * sample.step / 300 if skill < 0.05 else skill
        sample.loss = 2.31 * (1 - known)
        sample.model(loss=sample.loss, skill=known, neighbour_agreement=0.98, information=known)

    scene = Scene()
    model = msgspec.structs.replace(scene.table.models[0], unregistered=("blocks",))
    scene.table = msgspec.structs.replace(scene.table, models=(model,))
    scene.run(300, stands)
    assert "loss-plateau" in scene.standing
    assert top(scene).cause == "detached-graph"
    assert "loss-plateau" not in Scene().run(300, stands).standing


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("spread", [1.0, 1.4])
def test_a_front_that_was_never_trained_is_named_where_little_is_learnt(
    spread: float, frozen: bool
) -> None:
    changed = {"trainable": False, "optimised": False} if frozen else {"optimised": False}

    def behind(sample: SceneSample) -> None:
        still(sample, "fc1", "fc2", weight_spread=spread)
        skill = 1e-4 * sample.step
        sample.loss = 2.3 * (1 - skill)
        sample.model(loss=sample.loss, skill=skill, neighbour_agreement=0.96, information=skill)

    scene = with_layers(Scene(), fc1=dict(changed), fc2=dict(changed))
    scene.run(300, behind)
    if spread == 1.0:
        assert "loss-plateau" in scene.standing
        assert top(scene).cause == "detached-graph"
    elif frozen:
        assert "detached-graph" not in scene.causes
    else:  # whoever drew it: it asks for gradients, no optimiser holds it, and nothing is learnt
        assert "loss-plateau" not in scene.standing
        assert scene.causes == ["detached-graph"]


def test_weights_whose_optimiser_is_never_stepped_are_called_once_it_is_no_turn() -> None:
    def idle(sample: SceneSample, update: float) -> None:
        still(sample, "fc1", "fc2")
        for name in ("fc1", "fc2"):
            sample.layer(name, update_ratio=update, weight_drift=np.nan)

    scene = Scene().run(200, lambda sample: idle(sample, np.nan))
    assert scene.standing["frozen-weights"].severity == "info"
    scene.run(400, lambda sample: idle(sample, np.nan))
    assert scene.standing["frozen-weights"].severity == "warning"
    assert "step()" in top(scene).advice
    assert top(scene).cause == "detached-graph"
    rate_of_zero = Scene().run(400, lambda sample: idle(sample, 0.0))
    assert "frozen-weights" not in rate_of_zero.standing


def test_modules_in_a_plain_list_are_named_where_little_is_learnt() -> None:
    def lists() -> Scene:
        scene = Scene()
        model = msgspec.structs.replace(scene.table.models[0], unregistered=("blocks",))
        scene.table = msgspec.structs.replace(scene.table, models=(model,))
        return scene

    assert lists().run(150).standing == {}
    scene = lists().run(200, lambda sample: sample.no_better_than_constant())
    assert top(scene).cause == "detached-graph"
    assert "nn.ModuleList" in top(scene).advice


def accumulated(sample: SceneSample) -> None:
    """A sample for each of four batches whose gradients are added up on purpose."""
    arrives(sample)
    for name in MATRICES:
        sample.layer(name, weight_drift=(sample.step // 4) / 100)
        if sample.step % 4:
            sample.layer(name, update_ratio=0, weight_growth=1, weight_rms=0.1)
        if sample.step % 4 != 1:
            sample.layer(name, grad_left=1.0)


def cleared_to_zeros(sample: SceneSample) -> None:
    arrives(sample)
    for name in MATRICES:
        sample.layer(name, grad_left=0.0)


@pytest.mark.parametrize("bend", [accumulated, cleared_to_zeros])
@pytest.mark.parametrize("every", [1, 4])
def test_accumulation_and_cleared_gradients_are_silent(
    bend: Callable[[SceneSample], None], every: int
) -> None:
    scene = Scene().run(200, bend, every=every)
    assert scene.engine.flags == []


def test_gradients_that_another_model_left_are_silent() -> None:
    scene = Scene(models=("generator", "discriminator")).run(100, piling)
    assert "exploding-gradient" not in scene.standing


@pytest.mark.parametrize(("pull", "causes"), [(0.1, ["learning-rate-too-low"]), (1.0, [])])
def test_tiny_updates_are_called_and_named(pull: float, causes: list[str]) -> None:
    """What decay alone moves, of weights that no gradient reaches, no rate would move."""

    def tiny(sample: SceneSample) -> None:
        arrives(sample)
        sample.no_better_than_constant()
        for name in MATRICES:
            drift = 1e-6 * sample.step
            sample.layer(name, update_ratio=1e-6, weight_drift=drift, pull_to_zero=pull)
        sample.model(update_ratio=1e-6, lr=1e-7)

    scene = Scene().run(45, tiny)
    assert scene.standing["frozen-weights"].severity == "warning"
    assert scene.causes == causes


def test_the_end_of_a_schedule_is_silent() -> None:
    def ends(sample: SceneSample) -> None:
        arrives(sample)
        for name in MATRICES:
            sample.layer(name, update_ratio=2e-6)
        sample.model(update_ratio=2e-6, lr=1e-7)

    assert "frozen-weights" not in Scene().run(300, arrives).run(200, ends).standing


def test_a_solved_margin_may_rest() -> None:
    def solved(sample: SceneSample) -> None:
        still(sample, *MATRICES, has_grad=1, grad_rms=0)
        sample.loss = 0.0
        sample.model(loss=0, skill=np.nan, loss_constant=np.nan, grad_norm=0)

    scene = Scene().run(60, arrives).run(100, solved)
    assert not {"frozen-weights", "vanishing-gradient"} & set(scene.standing)


def test_optimisers_are_named_in_tables_made_for_these_tests() -> None:
    """The rounding test reads the optimiser's class: an SGD step is as small as its gradient."""

    def rounded(sample: SceneSample) -> None:
        still(sample, *MATRICES, has_grad=1, grad_rms=1e-9)
        sample.no_better_than_constant()
        sample.model(lr=0.1)

    scene = Scene()
    group = OptimizerGroup(optimizer="SGD", lr=0.1)
    table: LayerTable = msgspec.structs.replace(scene.table, optimizers=(group,))
    scene.table = table
    assert top(scene.run(15, rounded)).cause == "learning-rate-too-low"


@pytest.mark.parametrize(("moves", "called"), [(0.005, False), (0.0, True)])
def test_a_table_that_is_trained_is_a_model_that_moves(moves: float, called: bool) -> None:
    """A wide table beside layers that are never called: has_grad of those is not known."""

    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        still = {"grad_rms": math.nan, "has_grad": math.nan, "update_ratio": 0, "weight_drift": 0}
        sample.layer("one", **still)
        sample.layer("two", **still)
        sample.layer("wide", update_ratio=moves, weight_drift=moves * sample.step, grad_rms=0.01)

    wide = layer("wide", "EmbeddingBag", units=2, fan_in=2, parameters=160)
    made = scene_of([wide, linear("one", 28, 32), linear("two", 32, 2)]).run(60, bend)
    assert ("frozen-weights" in made.standing) is called


def test_a_rate_that_rises_anew_gives_weights_without_gradient_none() -> None:
    """A cosine schedule that is stepped on beyond its end."""

    def schedule(sample: SceneSample) -> None:
        no_gradient(sample)
        sample.model(lr=0.1 * (1 + math.cos(math.pi * sample.step / 60)) / 2)

    scene = Scene().run(110, schedule)
    assert scene.engine.past.models["model"].lr_rising
    assert scene.standing["frozen-weights"].severity == "critical"
    assert top(scene).cause == "detached-graph"


@pytest.mark.parametrize("heard", [True, False])
def test_a_layer_that_nothing_hears_beside_the_way_is_cut_off(*, heard: bool) -> None:
    """Attention weights by a softmax over an axis of one: 1 whatever the scores are."""

    def unheard(sample: SceneSample) -> None:
        arrives(sample)
        sample.no_better_than_constant()
        sample.layer(
            "fc2", out_grad_rms=0, grad_rms=0, update_ratio=0, weight_drift=0, weight_growth=1,
            weight_rms=0.1,
        )  # fmt: skip
        if not heard:  # nor is anything before it
            sample.layer("fc1", out_grad_rms=0, grad_rms=0, update_ratio=0, weight_drift=0)

    scene = Scene().run(200, unheard)
    assert any("axis of size one" in cause.advice for cause in scene.engine.causes()) is heard
    assert not heard or top(scene).cause == "detached-graph"
