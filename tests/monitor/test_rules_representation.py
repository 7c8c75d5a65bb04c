"""Embeddings, hidden layers and latents that lose what they carried, and some that only look so."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from rules_builds import label_free, layer, linear, scene_of
from rules_scene import Scene, SceneSample

from deadband.wire import Layer
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.structure import embeddings, latents

ENCODER = [linear("enc.0", 64, 128), linear("enc.1", 128, 32), linear("pred", 32, 32)]
VAE = [
    linear("enc", 64, 64),
    linear("mu", 64, 8),
    linear("logvar", 64, 8),
    linear("dec.0", 8, 64),
    linear("dec.1", 64, 64),
]


def _views() -> Scene:
    return scene_of(ENCODER, model={"calls": 2})


def _ssl(sample: SceneSample, *, directions: float, apart: float, rank: float) -> None:
    label_free(sample)
    for name in ("enc.0", "enc.1", "pred"):
        sample.layer(name, participation=12.0, cosine=0.3)
    sample.layer("pred", cosine=1 - apart)
    sample.layer("enc.1", participation=directions, cosine=1 - apart)
    sample.model(effective_rank=rank)


def test_embeddings_of_two_views_that_become_one_point_are_a_failure() -> None:
    scene = _views()
    scene.run(20, lambda s: _ssl(s, directions=12, apart=0.5, rank=14))
    scene.run(150, lambda s: _ssl(s, directions=11, apart=3e-4, rank=12))
    flag = scene.standing["representation-collapse"]
    assert flag.severity == "critical"
    assert 15 <= flag.onset_step <= 25
    assert scene.causes[0] == "missing-stop-gradient"


@pytest.mark.parametrize(("embedded", "drawn"), [(0.9, False), (0.6, True)])
def test_predictions_in_a_line_are_no_collapse_of_embeddings_that_lie_further_apart(
    embedded: float, drawn: bool
) -> None:
    """A predictor's outputs began with 10 directions and came to 1.2, those of a sound BYOL run."""

    def narrow(sample: SceneSample, embedded: float, directions: float, apart: float) -> None:
        _ssl(sample, directions=12, apart=embedded, rank=5)
        sample.layer("pred", participation=directions, cosine=1 - apart)

    scene = _views()
    scene.run(20, lambda s: narrow(s, 0.75, 10, 0.6))
    scene.run(200, lambda s: narrow(s, embedded, 1.2, 0.05))
    assert ("representation-collapse" in scene.standing) is drawn


@pytest.mark.parametrize("thrown", [True, False])
def test_embeddings_that_a_step_threw_together_were_not_drawn_there_by_the_loss(
    thrown: bool,
) -> None:
    def throws(sample: SceneSample) -> None:
        _ssl(sample, directions=12, apart=0.5, rank=14)
        sample.loss = 300.0 if sample.step > 1 else 1.0
        for name in ("enc.0", "enc.1", "pred"):
            sample.layer(name, update_ratio=20.0, weight_growth=20.0)
        sample.model(update_ratio=20.0, loss=sample.loss)

    def together(sample: SceneSample) -> None:
        _ssl(sample, directions=2, apart=3e-4, rank=3)
        sample.loss = 0.3
        sample.model(loss=0.3)

    scene = _views()
    scene.run(20, throws if thrown else lambda s: _ssl(s, directions=12, apart=0.5, rank=14))
    scene.run(150, together)
    assert "representation-collapse" in scene.standing
    assert ("missing-stop-gradient" in scene.causes) is not thrown
    assert ("learning-rate-too-high" in scene.causes[:1]) is thrown


@pytest.mark.parametrize("drawn_to", [math.nan, 10.0])
def test_calls_that_are_drawn_to_class_numbers_are_no_two_views(drawn_to: float) -> None:
    def few(sample: SceneSample) -> None:
        _ssl(sample, directions=2, apart=0.5, rank=3)
        sample.model(squashed=drawn_to, out_min=-0.2, out_max=3.1)

    scene = scene_of(ENCODER, model={"calls": 2, "loss": "mse"})
    scene.run(20, lambda s: _ssl(s, directions=12, apart=0.5, rank=14)).run(150, few)
    assert ("representation-collapse" in scene.standing) is math.isnan(drawn_to)


@pytest.mark.parametrize(("left", "drawn"), [(0.004, True), (0.3, False)])
def test_units_that_died_at_the_least_of_a_cosine_loss_died_of_the_one_point(
    left: float, drawn: bool
) -> None:
    def dead(sample: SceneSample) -> None:
        _ssl(sample, directions=11, apart=0.0, rank=1)
        sample.loss = -1 + left
        sample.layer("enc.1", dead_units=1.0, out_variance=0.0, out_rms=0.0)
        sample.layer("pred", out_variance=0.0)
        sample.model(out_variance=0.0, cosine=1.0, loss=sample.loss)

    layers = [*ENCODER[:1], layer("enc.1", "ReLU", activation="relu", units=64), *ENCODER[2:]]
    scene = scene_of(layers, model={"calls": 2, "loss": "cosine"})
    scene.run(20, lambda s: _ssl(s, directions=12, apart=0.5, rank=14))
    scene.run(60, dead)
    assert "dead-units" in scene.standing
    assert (scene.causes[0] == "missing-stop-gradient") is drawn


@pytest.mark.parametrize(("loss", "stands"), [(1e-6, True), (0.8, False)])
def test_targets_of_long_ago_are_told_from_values_that_stay(loss: float, stands: bool) -> None:
    def draws(sample: SceneSample, apart: float) -> None:
        _ssl(sample, directions=11, apart=apart, rank=12)
        late = apart < 0.1
        sample.loss = loss if late else 2.0
        sample.model(loss=sample.loss, target_sd=1.0, out_sd=0.01 if late else 1.0)

    scene = scene_of(ENCODER, model={"calls": 2, "loss": "mse"})
    scene.run(20, lambda s: draws(s, 0.5))
    scene.run(330, lambda s: draws(s, 3e-4), every=50)
    assert ("representation-collapse" in scene.standing) is stands


def test_embeddings_that_keep_a_sixth_of_their_directions_are_flagged_at_the_encoder() -> None:
    scene = _views()
    scene.run(20, lambda s: _ssl(s, directions=12, apart=1.0, rank=14))
    scene.run(150, lambda s: _ssl(s, directions=2, apart=1.0, rank=5))
    flag = scene.standing["representation-collapse"]
    assert (flag.layer, flag.severity) == ("enc.1", "warning")
    assert scene.causes[0] == "missing-stop-gradient"
    assert "detach" in scene.engine.causes()[0].advice


def test_embeddings_that_part_need_few_directions() -> None:
    scene = _views()
    scene.run(20, lambda s: _ssl(s, directions=12, apart=0.08, rank=14))
    scene.run(40, lambda s: _ssl(s, directions=2, apart=0.08 * 1.05 ** (s.step - 20), rank=5))
    scene.run(150, lambda s: _ssl(s, directions=2, apart=0.5, rank=5))
    assert not scene.causes


def _draws_together(*, end: float, loss: str = "cosine") -> Scene:
    """From 0.6 apart to `end`, at a pace that has not come to rest."""
    scene = scene_of(ENCODER, model={"calls": 2, "loss": loss})
    scene.run(
        400,
        lambda s: _ssl(s, directions=9, apart=max(end, 0.6 * math.exp(-s.step / 60)), rank=11),
    )
    return scene


def test_views_that_agree_because_all_inputs_do_are_on_the_way_to_one_point() -> None:
    scene = _draws_together(end=0.02)
    assert scene.standing["representation-collapse"].severity == "warning"
    assert scene.causes[0] == "missing-stop-gradient"


def test_a_third_of_the_distance_is_what_healthy_runs_dip_to() -> None:
    assert not _draws_together(end=0.2).causes


@pytest.mark.parametrize(
    ("drawn", "cone", "stands"),
    [("pred.0", 0.7, False), ("pred", 0.7, False), ("enc.1", 0.1, True), ("", 0.1, False)],
)
def test_embeddings_draw_together_and_not_their_predictor_alone(
    drawn: str, cone: float, stands: bool
) -> None:
    def fill(sample: SceneSample) -> None:
        _ssl(sample, directions=9, apart=0.2, rank=11)
        for name, first in (("enc.1", 0.7), ("pred.0", 0.7), ("pred", cone)):
            left = 0.05 if name == drawn else min(first, 0.3)
            sample.layer(name, cosine=1 - max(left, first * math.exp(-sample.step / 40)))

    layers = [*ENCODER[:2], linear("pred.0", 32, 16), linear("pred", 16, 32)]
    scene = scene_of(layers, model={"calls": 2, "loss": "cosine"}).run(400, fill)
    assert ("representation-collapse" in scene.standing) is stands


@pytest.mark.parametrize(("left", "severity"), [(0.02, "warning"), (0.005, "critical")])
def test_one_point_is_what_embeddings_come_to_not_what_is_predicted_of_them(
    left: float, severity: str
) -> None:
    def fill(sample: SceneSample) -> None:
        _ssl(sample, directions=9, apart=max(0.001, 0.1 * math.exp(-sample.step / 10)), rank=11)
        sample.layer("enc.1", cosine=1 - max(left, 0.7 * math.exp(-sample.step / 10)))

    scene = scene_of(ENCODER, model={"calls": 2, "loss": "cosine"}).run(300, fill)
    assert scene.standing["representation-collapse"].severity == severity


def test_features_that_draw_together_under_another_loss_are_no_views() -> None:
    assert not _draws_together(end=0.02, loss="huber").causes


def _one_call(loss: Callable[[int], float], *, kind: str = "cosine") -> Scene:
    """A model of which no second call is seen; its outputs are one point from step 20 on."""
    scene = scene_of(ENCODER, model={"loss": kind})

    def fill(sample: SceneSample) -> None:
        _ssl(sample, directions=9, apart=0.5 if sample.step < 20 else 5e-4, rank=11)
        sample.lost = loss

    scene.run(300, fill)
    return scene


@pytest.mark.parametrize("optimum", [-1.0, 0.0, -2.0])
def test_one_point_at_the_optimum_of_a_cosine_has_no_fixed_targets(optimum: float) -> None:
    scene = _one_call(lambda step: optimum + max(0.002, math.exp(-step / 6)))
    assert scene.standing["representation-collapse"].severity == "critical"
    assert scene.causes[0] == "missing-stop-gradient"


def test_one_point_far_from_the_optimum_of_a_cosine_may_be_the_mean_of_targets() -> None:
    scene = _one_call(lambda step: -0.8 + 0.8 * math.exp(-step / 6))
    assert "missing-stop-gradient" not in scene.causes


def test_one_point_under_another_loss_is_not_said_to_be_views() -> None:
    scene = _one_call(lambda step: max(0.002, math.exp(-step / 6)), kind="huber")
    assert "missing-stop-gradient" not in scene.causes


def _taught(*, opposed: bool) -> Scene:
    """Student and teacher, a model each: their outputs shrink, under gradients of one size or not.

    The teacher's layers are named `t.0` and `t.1`, the student's `s.0` and `s.1`.
    """
    layers = [
        linear(f"{model[0]}.{place}", 64, 32, model)
        for model in ("student", "teacher")
        for place in (0, 1)
    ]
    squared: dict[str, object] = {"loss": "mse"}
    scene = scene_of(layers, student=squared, teacher=squared)

    def fill(sample: SceneSample) -> None:
        left = max(0.02, math.exp(-sample.step / 20))
        for row in (0, 1):
            sample.model(row, label_entropy=math.nan, skill=math.nan, information=math.nan)
        for name in ("s.1", "t.1"):
            sample.layer(name, out_rms=left, participation=9.0, cosine=1 - 0.5 * left)
            sample.layer(name, out_grad_rms=0.01 * left)
        if not opposed:
            sample.layer("t.1", out_grad_rms=0.011 * left)
        sample.lost = lambda step: max(0.02, math.exp(-step / 20)) ** 3

    scene.run(250, fill)
    return scene


def test_two_models_with_gradients_of_one_size_are_drawn_to_each_other() -> None:
    scene = _taught(opposed=True)
    assert scene.standing["representation-collapse"].severity == "warning"
    assert scene.causes[0] == "missing-stop-gradient"


def test_two_models_with_gradients_of_their_own_are_judged_each_for_itself() -> None:
    assert "missing-stop-gradient" not in _taught(opposed=False).causes


@pytest.mark.parametrize(("nearer", "learns", "called"), [(1, True, True), (0.1, True, False),
                                                          (1, False, False)])  # fmt: skip
def test_views_whose_error_falls_no_faster_than_their_spread_only_shrink(
    nearer: float, learns: bool, called: bool
) -> None:
    scene = scene_of(ENCODER, model={"calls": 2, "loss": "mse", "target_learns": learns})

    def shrinks(sample: SceneSample) -> None:
        _ssl(sample, directions=12, apart=0.5, rank=14)
        size = max(0.1, math.exp(-sample.step / 30))
        sample.layer("pred", out_rms=size, out_variance=0.5)
        sample.loss = 0.06 * size**2 * nearer ** min(1.0, sample.step / 60)
        sample.model(loss=sample.loss)

    scene.run(200, shrinks)
    assert ("representation-collapse" in scene.standing) is called
    if called:
        assert scene.causes[0] == "missing-stop-gradient"


def test_a_discriminator_is_called_for_real_and_made_samples_not_for_views() -> None:
    critic = [*ENCODER[:2], linear("score", 32, 1)]
    scene = scene_of(critic, model={"calls": 2})

    def alike(sample: SceneSample) -> None:
        _ssl(sample, directions=2, apart=0, rank=1)
        sample.layer("enc.1", cosine=1)

    scene.run(20, lambda s: _ssl(s, directions=12, apart=0.5, rank=14))
    scene.run(200, alike)
    assert "representation-collapse" not in scene.standing


def test_a_dip_in_the_directions_that_passes_is_no_collapse() -> None:
    scene = _views()
    scene.run(30, lambda s: _ssl(s, directions=12, apart=1.0, rank=14))
    scene.run(30, lambda s: _ssl(s, directions=3, apart=1.0, rank=6))
    scene.run(100, lambda s: _ssl(s, directions=6, apart=1.0, rank=9))
    assert "representation-collapse" not in {flag.kind for flag in scene.changes}


def test_fewer_directions_at_a_kept_rank_are_clusters_and_no_collapse() -> None:
    scene = _views()
    scene.run(20, lambda s: _ssl(s, directions=12, apart=1.0, rank=14))
    scene.run(150, lambda s: _ssl(s, directions=3.4, apart=1.0, rank=9))
    assert "representation-collapse" not in scene.standing


def test_a_classifier_that_is_called_twice_may_have_few_directions() -> None:
    scene = _views()

    def two_batches(sample: SceneSample) -> None:
        sample.layer("enc.1", participation=12 if sample.step < 20 else 1.5, cosine=0.9999)

    scene.run(200, two_batches)
    assert "representation-collapse" not in scene.standing


def test_a_weight_that_ran_twice_is_known_by_its_second_call() -> None:
    twice = [*ENCODER[:2], linear("enc.1@pred", 128, 32)]
    layout = Layout(scene_of(twice).table)
    assert [layout.layers[row].name for row in embeddings(layout, 0)] == ["enc.1"]


def _vae(sample: SceneSample, *, means: float, active: float, noise: float = 1.0) -> None:
    label_free(sample)
    sample.layer("mu", out_rms=means, out_variance=0.5, active_units=active)
    sample.layer("logvar", out_rms=means, out_variance=0.5, active_units=0)
    sample.layer("dec.0", out_variance=0.9, weight_rms=0.3)
    # 8 latents of mean square m^2, and the noise of the prior.
    spread = 8 * 0.3**2 * (means**2 + noise**2)
    sample.layer("dec.0", out_rms=math.sqrt(spread / 0.9))


def test_a_latent_that_equals_its_prior_is_flagged_and_named() -> None:
    scene = scene_of(VAE)
    scene.run(200, lambda s: _vae(s, means=0.02, active=0))
    flag = scene.standing["representation-collapse"]
    assert (flag.layer, flag.severity) == ("mu", "warning")
    cause = scene.engine.causes()[0]
    assert cause.cause == "posterior-collapse"
    assert "reduction='sum'" in cause.advice


@pytest.mark.parametrize(
    ("arrives", "cause"), [(7e-4, "detached-graph"), (5e-3, "posterior-collapse")]
)
def test_a_latent_whose_decoder_is_not_heard_is_cut_off(arrives: float, cause: str) -> None:
    """Its first 64 units ask for 6e-3 by weights of 0.3."""

    def drawn(sample: SceneSample) -> None:
        _vae(sample, means=0.02, active=0)
        sample.layer("dec.0", out_grad_rms=2.6e-3)
        sample.layer("mu", out_grad_rms=arrives)

    scene = scene_of(VAE).run(200, drawn)
    assert scene.causes[0] == cause


def test_a_latent_that_stays_empty_for_most_of_the_run_is_a_failure() -> None:
    scene = scene_of(VAE)
    scene.run(600, lambda s: _vae(s, means=0.02, active=0))
    assert scene.standing["representation-collapse"].severity == "critical"


def test_a_latent_that_empties_late_is_a_warning_at_first() -> None:
    scene = scene_of(VAE)
    scene.run(600, lambda s: _vae(s, means=0.6, active=0.75))
    scene.run(420, lambda s: _vae(s, means=0.02, active=0))
    assert scene.standing["representation-collapse"].severity == "warning"


def test_a_latent_with_one_unit_in_use_is_healthy() -> None:
    scene = scene_of(VAE)
    scene.run(300, lambda s: _vae(s, means=0.25, active=1 / 8))
    assert "representation-collapse" not in scene.standing


def test_a_unit_at_the_edge_of_counting_as_active_is_no_life() -> None:
    scene = scene_of(VAE)
    scene.run(300, lambda s: _vae(s, means=0.06, active=1 / 8 if s.step % 9 == 0 else 0))
    assert scene.standing["representation-collapse"].layer == "mu"


def test_single_batches_that_say_a_little_more_do_not_fill_a_latent() -> None:
    """A price that rose leaves a trace of what was known: 0.006 nats a unit, one batch in ten 0.02.

    nats = (m^2 + m^2 / 2) / 2.
    """
    scene = scene_of(VAE)

    def traces(sample: SceneSample) -> None:
        nats = 1.0 if sample.step < 100 else 0.02 if sample.step % 10 == 0 else 0.006
        _vae(sample, means=math.sqrt(nats / 0.75), active=1 / 8)

    scene.run(190, traces)
    assert scene.standing["representation-collapse"].layer == "mu"


def test_a_latent_that_wakes_slowly_is_waited_for() -> None:
    scene = scene_of(VAE)
    scene.run(150, lambda s: _vae(s, means=0.02 * 1.02**s.step, active=0))
    scene.run(200, lambda s: _vae(s, means=0.6, active=0.75))
    assert "representation-collapse" not in {flag.kind for flag in scene.changes}


def test_two_small_heads_without_noise_are_no_variational_latent() -> None:
    scene = scene_of(VAE)
    scene.run(300, lambda s: _vae(s, means=0.02, active=0, noise=0.0))
    assert "representation-collapse" not in scene.standing


@pytest.mark.parametrize(
    ("prior", "noise", "flagged"),
    [(0.05, 0.0, False), (math.nan, 1.0, False), (math.nan, 0.0, True)],
    ids=["seen in the loss", "hidden in it", "none"],
)
def test_what_a_prior_that_is_paid_for_leaves_untold_is_no_plateau(
    prior: float, noise: float, flagged: bool
) -> None:
    def resting(sample: SceneSample) -> None:
        _vae(sample, means=0.1 if sample.step < 5 else 0.6, active=0.75, noise=noise)
        sample.loss = 0.7 if sample.step < 20 else 0.5
        sample.model(
            loss=sample.loss, loss_constant=0.7, skill=0.3, information=0.3,
            neighbour_agreement=0.82, further_loss=prior,
        )  # fmt: skip

    scene = scene_of(VAE)
    scene.run(700, resting)
    assert ("loss-plateau" in scene.standing) is flagged


@pytest.mark.parametrize("noise", [1.0, 0.0])
def test_answers_that_tell_are_no_constant_though_their_prior_costs_as_much(noise: float) -> None:
    def late(sample: SceneSample) -> None:
        told = sample.step > 300
        _vae(sample, means=0.6 if told else 0.05, active=0.75 if told else 0.0, noise=noise)
        sample.loss = 0.6 if told else 0.69
        sample.model(
            loss=sample.loss, loss_constant=0.7, skill=0.14 if told else 0.01,
            information=0.2 if told else 0.001,
        )  # fmt: skip

    made = scene_of(VAE).run(600, late)
    assert "constant-predictor" in {flag.kind for flag in made.changes}
    assert ("constant-predictor" in made.standing) is (noise == 0)


def _latents(*layers: Layer) -> list[tuple[str, str]]:
    layout = Layout(scene_of(list(layers)).table)
    return [
        (layout.layers[each.mean].name, layout.layers[each.spread].name)
        for each in latents(layout, 0)
    ]


def test_latents_are_recognised_by_shape_and_order_alone() -> None:
    assert _latents(*VAE) == [("mu", "logvar")]
    chunked = linear("fc", 64, 16)
    assert _latents(linear("enc", 64, 64), chunked, linear("dec", 8, 64)) == [("fc", "fc")]


def test_two_towers_side_by_side_have_no_latent_between_them() -> None:
    user = [linear("user.0", 8, 64), linear("user.2", 64, 16)]
    assert _latents(*user, linear("item.0", 8, 64), linear("item.2", 64, 16)) == []
    assert _latents(*user, linear("dec.0", 8, 64), linear("dec.2", 64, 8)) == [("user.2", "user.2")]


def test_query_key_and_value_are_no_latent() -> None:
    attention = [linear(name, 64, 16) for name in ("q", "k", "v")]
    assert _latents(linear("emb", 8, 64), *attention, linear("out", 16, 64)) == []


def test_a_hidden_layer_that_lost_its_signal_is_located() -> None:
    scene = Scene()
    scene.run(60)

    def lost(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(out_variance=1e-12, in_variance=0.5)
        for name in ("fc2", "act2", "fc3"):
            sample.layer(name, out_variance=1e-12)

    scene.run(60, lost)
    flag = scene.standing["representation-collapse"]
    assert (flag.layer, flag.followers) == ("fc2", ["act2"])
    assert scene.standing["output-collapse"].severity == "critical"


def test_a_branch_without_signal_beside_a_living_path_is_a_note() -> None:
    scene = Scene()
    scene.run(60)
    scene.run(60, lambda s: s.layer("fc2", out_variance=1e-12))
    assert scene.standing["representation-collapse"].severity == "info"
    assert scene.engine.verdict() == "healthy"
