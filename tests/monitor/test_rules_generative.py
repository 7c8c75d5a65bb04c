"""Generators, routers and several models in a run: what fails, and what only looks like it."""

from __future__ import annotations

import math

import msgspec
import pytest
from rules_builds import label_free, layer, linear, scene_of
from rules_scene import Scene, SceneSample

from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.structure import routers

GAN = [
    linear("g1", 16, 64, "generator"),
    linear("g2", 64, 64, "generator"),
    linear("d1", 64, 64, "discriminator"),
    linear("d2", 64, 1, "discriminator"),
]
MOE = [
    linear("stem", 64, 32),
    linear("gate", 32, 4),
    layer("gate:softmax", "softmax", "softmax", units=4),
    *(linear(f"experts.{i}", 32, 32) for i in range(4)),
    linear("head", 32, 10),
]


def _gan(sample: SceneSample, diversity: float) -> None:
    for row in (0, 1):
        sample.model(row, information=1e-3, skill=math.nan, label_entropy=math.nan)
    sample.model(0, diversity=diversity)
    sample.loss = 0.7


def test_a_generator_that_answers_alike_for_long_is_named() -> None:
    scene = scene_of(GAN)
    scene.run(200, lambda s: _gan(s, 0.8))
    scene.run(300, lambda s: _gan(s, 0.1))
    flag = scene.standing["representation-collapse"]
    assert flag.model == "generator"
    assert 200 <= flag.onset_step <= 202
    assert scene.causes[0] == "adversarial-mode-collapse"


@pytest.mark.parametrize(("judged", "severity"), [(True, "warning"), (False, "info")])
def test_a_critic_that_rests_while_the_loss_falls_to_nothing_is_told(
    judged: bool, severity: str
) -> None:
    """Its optimiser is not stepped: no loss of a game is solved."""

    def rests(sample: SceneSample) -> None:
        _gan(sample, 0.8 if judged else math.nan)
        for name in ("g1", "g2", "d1", "d2"):
            sample.layer(name, has_grad=1, weight_drift=sample.step / 400, grad_cosine=0.3)
        if sample.step > 100:
            for name in ("d1", "d2"):
                sample.layer(name, update_ratio=0, weight_drift=0.25)
            sample.loss = 1e-5

    scene = scene_of(GAN).run(450, rests)
    flag = scene.standing["frozen-weights"]
    assert (flag.model, flag.severity) == ("discriminator", severity)


def test_a_generator_that_is_on_its_way_past_the_mark_is_left_alone() -> None:
    # As a healthy one rose, measured at every step at first and in bursts later.
    scene = scene_of(GAN)
    scene.run(500, lambda s: _gan(s, 0.2 if s.step < 210 else 0.2 + 0.0016 * (s.step - 210)))
    assert not [flag for flag in scene.engine.flags if flag.kind == "representation-collapse"]


def test_a_generator_that_has_risen_between_two_samples_is_left_alone() -> None:
    # What was measured at every step as it began is no more than that, however few are the samples
    # since: a sample past the mark tells where it is.
    scene = scene_of(GAN)
    scene.run(80, lambda s: _gan(s, 0.2))
    scene.run(1400, lambda s: _gan(s, 0.55), every=350)
    assert not [flag for flag in scene.engine.flags if flag.kind == "representation-collapse"]


def test_a_generator_that_swings_between_alike_and_wild_is_named() -> None:
    scene = scene_of(GAN)
    scene.run(500, lambda s: _gan(s, 0.1 if s.step % 100 < 60 else 1.8))
    assert scene.standing["representation-collapse"].severity == "warning"
    assert scene.causes[0] == "adversarial-mode-collapse"


@pytest.mark.parametrize(
    ("middle", "told", "named"), [(0.9, 0.02, True), (0.9, 0.6, False), (0.3, 0.02, False)]
)
def test_samples_beside_the_real_ones_that_a_critic_does_not_tell_are_named(
    middle: float, told: float, named: bool
) -> None:
    def beside(sample: SceneSample) -> None:
        _gan(sample, 0.7 + 0.3 * math.sin(sample.step / 20))
        size = math.hypot(middle, 0.7)
        sample.model(0, out_rms=size, out_variance=(0.7 / size) ** 2)
        sample.model(1, in_rms=1.0, in_variance=1.0, out_sd=told)

    scene = scene_of(GAN, discriminator={"loss": "bce_logits"}).run(450, beside)
    assert ("adversarial-mode-collapse" in scene.causes) is named


def test_a_generator_that_runs_away_from_the_real_samples_is_named() -> None:
    scene = scene_of(GAN)
    scene.run(400, lambda s: _gan(s, 0.5 + s.step))
    flag = scene.standing["representation-collapse"]
    assert (flag.model, flag.severity) == ("generator", "warning")
    assert scene.causes[0] == "adversarial-mode-collapse"


def _lies_out(sample: SceneSample, out: float, *, diversity: float) -> None:
    _gan(sample, diversity)
    sample.model(0, out_rms=out)
    sample.model(1, in_rms=1.0)


def test_a_generator_whose_samples_fly_past_the_real_ones_is_named() -> None:
    scene = scene_of(GAN)
    scene.run(450, lambda s: _lies_out(s, 30.0 if s.step % 50 > 5 else 0.5, diversity=1.4))
    flag = scene.standing["representation-collapse"]
    assert (flag.model, flag.severity) == ("generator", "warning")
    assert scene.causes[0] == "adversarial-mode-collapse"
    assert "far from zero" in scene.engine.causes()[0].evidence[1]


def test_a_generator_that_is_alike_whenever_it_is_not_far_off_is_named() -> None:
    scene = scene_of(GAN)

    def to_and_fro(sample: SceneSample) -> None:
        out, diversity = {0: (30.0, 1.4), 1: (0.8, 0.05), 2: (1.0, 1.0)}[sample.step // 30 % 3]
        _lies_out(sample, out, diversity=diversity)

    scene.run(450, to_and_fro)
    assert scene.causes[0] == "adversarial-mode-collapse"


def test_a_generator_that_overshoots_by_three_is_healthy() -> None:
    scene = scene_of(GAN)
    scene.run(450, lambda s: _lies_out(s, 3.5, diversity=1.4))
    assert not scene.causes


def test_a_generator_that_overshoots_for_a_while_is_healthy() -> None:
    scene = scene_of(GAN)
    scene.run(450, lambda s: _lies_out(s, 30.0 if s.step < 120 else 1.0, diversity=1.0))
    assert "representation-collapse" not in {flag.kind for flag in scene.changes}


def test_a_generator_that_is_wild_at_first_is_waited_for() -> None:
    scene = scene_of(GAN)
    scene.run(400, lambda s: _gan(s, 30.0 if s.step < 100 else 1.0))
    assert "representation-collapse" not in scene.standing


def test_real_samples_seen_once_in_a_hundred_steps_are_enough_to_tell() -> None:
    scene = scene_of(GAN)
    scene.run(1200, lambda s: _gan(s, 0.05 if s.step % 100 == 0 else math.nan), every=10)
    assert scene.causes[0] == "adversarial-mode-collapse"


def test_fakes_that_start_alike_and_spread_are_healthy() -> None:
    scene = scene_of(GAN)
    scene.run(600, lambda s: _gan(s, min(1.0, 0.03 * 1.01**s.step)))
    assert [flag.kind for flag in scene.changes if flag.severity != "info"] == []


def test_a_discriminator_at_its_equilibrium_is_healthy() -> None:
    scene = scene_of(GAN)
    scene.run(600, lambda s: _gan(s, 0.9))
    assert scene.engine.verdict() == "healthy"


def test_batches_all_real_or_all_made_are_no_sorted_data() -> None:
    scene = scene_of(GAN)
    scene.table = msgspec.structs.replace(
        scene.table,
        models=tuple(
            msgspec.structs.replace(model, loss="bce_logits", loss_target=(64, 1))
            for model in scene.table.models
        ),
    )

    def of_a_kind(sample: SceneSample, diversity: float) -> None:
        _gan(sample, diversity)
        sample.model(1, label_entropy=0.69, batch_label_entropy=0.0, target_mean=0.5)

    scene.run(100, lambda s: of_a_kind(s, 0.8))
    assert "input-anomaly" not in scene.standing
    alone = scene_of(GAN)
    alone.table = scene.table
    alone.run(100, lambda s: of_a_kind(s, math.nan))
    assert "input-anomaly" in alone.standing


def test_an_autoencoder_in_two_parts_is_no_adversary() -> None:
    parts = [
        linear("e", 64, 16, "encoder"),
        linear("d", 16, 64, "decoder"),
    ]
    scene = scene_of(parts)
    scene.run(600, lambda s: s.model(1, diversity=0.1))
    assert "representation-collapse" not in scene.standing


def _routed(sample: SceneSample, entropy: float) -> None:
    sample.layer("gate:softmax", choice_entropy=entropy, out_rms=0.3)


def test_a_router_with_one_expert_for_all_is_named() -> None:
    scene = scene_of(MOE)
    scene.run(20, lambda s: _routed(s, 0.9))
    scene.run(200, lambda s: _routed(s, 0.05))
    flag = scene.standing["representation-collapse"]
    assert flag.layer == "gate:softmax"
    cause = scene.engine.causes()[0]
    assert cause.cause == "router-collapse"
    assert "gate.weight" in cause.advice


def test_a_router_that_spreads_its_choices_after_a_while_is_healthy() -> None:
    scene = scene_of(MOE)
    scene.run(80, lambda s: _routed(s, 0.1))
    scene.run(200, lambda s: _routed(s, 0.6))
    assert "representation-collapse" not in {flag.kind for flag in scene.changes}


def test_a_policy_that_settles_on_one_action_is_no_router() -> None:
    policy = [
        linear("body.0", 8, 64),
        linear("body.2", 64, 64),
        linear("pi", 64, 2),
        layer("policy:softmax", "softmax", "softmax", units=2),
        linear("value", 64, 1),
    ]
    layout = Layout(scene_of(policy).table)
    assert routers(layout, 0) == []


def test_experts_in_a_numbered_list_make_a_router_whatever_its_name() -> None:
    named_otherwise = [
        msgspec.structs.replace(each, name=each.name.replace("gate", "choose")) for each in MOE
    ]
    layout = Layout(scene_of(named_otherwise).table)
    assert [layout.layers[row].name for row in routers(layout, 0)] == ["choose:softmax"]


def test_one_of_two_models_that_dies_is_a_failure_of_that_one() -> None:
    scene = Scene(models=("good", "bad"))
    scene.run(50)

    def dead(sample: SceneSample) -> None:
        sample.model(1, out_variance=0.0, out_sd=0.0, information=0.0, skill=math.nan)

    scene.run(60, dead)
    failed = {flag.model for flag in scene.standing.values() if flag.severity == "critical"}
    assert failed == {"bad"}


def test_an_averaged_teacher_that_no_optimiser_holds_is_not_judged() -> None:
    layers = [
        linear("fc1", 64, 32, "student"),
        linear("fc1", 64, 32, "teacher", optimised=False),
    ]
    scene = scene_of(layers)
    scene.run(200, lambda s: s.model(1, out_variance=0.0, out_sd=0.0, information=0.0))
    assert scene.standing == {}
    assert not Layout(scene.table).several_models


def test_the_loss_of_a_lone_learner_beside_its_teacher_is_its_own() -> None:
    layers = [
        linear("fc1", 64, 32, "teacher", trainable=False),
        linear("fc1", 64, 32, "student"),
    ]
    scene = scene_of(layers, teacher={"trainable": 0})

    def diverging(sample: SceneSample) -> None:
        label_free(sample)
        sample.model(1, information=1e-3, skill=-9.0)
        sample.loss = 50.0 + sample.step

    scene.run(60)
    scene.run(100, diverging)
    assert "loss-divergence" in {flag.kind for flag in scene.changes}


CODES = [
    linear("enc", 64, 8),
    layer("book", "Embedding", units=8, fan_in=32, parameters=256),
    linear("dec", 8, 64),
    linear("out", 64, 64),
]


def _codes(sample: SceneSample, used: float, after: float) -> None:
    label_free(sample)
    sample.model(out_variance=after)
    sample.layer("book", out_variance=used, out_rms=1)
    for name in ("dec", "out"):
        sample.layer(name, out_variance=after)


def test_a_codebook_of_which_one_row_is_used_is_named() -> None:
    scene = scene_of(CODES)
    scene.run(60, lambda s: _codes(s, 0.3, 0.3))
    scene.run(200, lambda s: _codes(s, 0.0, 0.0))
    cause = scene.engine.causes()[0]
    assert (cause.cause, cause.layer) == ("posterior-collapse", "book")


def test_an_embedding_of_positions_is_no_codebook() -> None:
    scene = scene_of(CODES)
    scene.run(60, lambda s: _codes(s, 0.0, 0.3))
    scene.run(200, lambda s: _codes(s, 0.0, 0.0))
    assert "posterior-collapse" not in scene.causes


def test_a_teacher_that_falls_with_its_student_to_one_answer_is_told_from_random_labels() -> None:
    def taught(soft: float) -> list[str]:
        def falling(sample: SceneSample) -> None:
            left = math.exp(-sample.step / 150)
            sample.no_better_than_constant()
            sample.loss = 3.44 + 1e-4 * (sample.step % 7)
            sample.model(
                loss=sample.loss, skill=0.001, information=1e-3, loss_constant=soft,
                label_entropy=0.3 + left, majority_predicted=0.95 - 0.5 * left,
                majority_share=0.95 - 0.5 * left, out_variance=0.1 + 0.3 * left,
                neighbour_agreement=0.3,
            )  # fmt: skip

        return Scene().run(300, falling).causes

    assert taught(3.446)[0] == "missing-stop-gradient"
    assert "missing-stop-gradient" not in taught(1.3)
