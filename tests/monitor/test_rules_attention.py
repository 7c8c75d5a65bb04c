"""Attention and batch normalisation: what breaks them, and what they look like in good health."""

from __future__ import annotations

import math

import pytest
from rules_builds import layer, linear, scene_of
from rules_scene import Scene, SceneSample

from deadband.wire import Layer


def _transformer(depth: int = 4) -> list[Layer]:
    blocks: list[Layer] = [linear("emb", 8, 32)]
    for i in range(depth):
        blocks += [
            linear(f"b{i}.qkv", 32, 96),
            layer(f"b{i}.attention", "scaled_dot_product_attention"),
            linear(f"b{i}.proj", 32, 32),
            linear(f"b{i}.up", 32, 64),
        ]
    return [*blocks, linear("head", 32, 10)]


def _attend(
    sample: SceneSample, *, entropy: float = 0.95, alike_from: int = 99, alike: float = 1.0
) -> None:
    depth = sum(each.name.endswith(".attention") for each in sample_layers(sample))
    sample.layer("emb", token_similarity=0.2)
    for i in range(depth):
        cosine = alike if i >= alike_from else 0.5
        sample.layer(f"b{i}.attention", attention_entropy=entropy, attention_logit=3)
        for part in ("qkv", "proj", "up"):
            sample.layer(f"b{i}.{part}", token_similarity=cosine)


def sample_layers(sample: SceneSample) -> tuple[Layer, ...]:
    return sample._scene.table.layers


def test_a_head_that_fixes_on_one_key_at_once_while_nothing_is_learnt_is_flagged() -> None:
    scene = scene_of(_transformer())

    def fixes(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        _attend(
            sample, entropy=0.95 if sample.step < 30 else max(0.1, 0.95 - (sample.step - 30) / 9)
        )

    scene.run(300, fixes)
    flag = scene.standing["attention-collapse"]
    assert flag.layer == "b0.attention"
    assert scene.causes[0] == "attention-collapse"
    assert "QK-norm" in scene.engine.causes()[0].advice


@pytest.mark.parametrize("spread", [1.0, 14.0])
def test_heads_that_are_born_sharp_by_weights_that_are_all_too_wide(spread: float) -> None:
    scene = scene_of(_transformer())

    def sharp(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        _attend(sample, entropy=0.01)
        for name in ("emb", "b0.attention", "b1.attention"):
            sample.layer(name, attention_logit=60)
        for each in sample_layers(sample):
            if each.fan_in:
                sample.layer(each.name, weight_spread=spread, weight_growth=1.0)

    scene.run(300, sharp)
    wanted = "attention-collapse" if spread == 1 else "bad-initialisation-scale"
    assert scene.causes[0] == wanted


def test_a_loss_that_breaks_behind_sharp_attention_breaks_by_itself() -> None:
    """The logarithm of a softmax that is 0 somewhere."""
    scene = scene_of(_transformer())

    def sharp(sample: SceneSample) -> None:
        _attend(sample, entropy=0.01)
        for name in ("b0.attention", "b1.attention"):
            sample.layer(name, attention_logit=60)

    def broken(sample: SceneSample) -> None:
        sharp(sample)
        sample.loss = math.nan
        sample.model(loss=math.nan, nonfinite=1, skill=math.nan)
        for each in sample_layers(sample):
            sample.layer(each.name, nonfinite=1)

    scene.run(1, sharp).run(4, broken)
    assert scene.engine.past.models["model"].broken.sound_outside
    assert "attention-collapse" not in scene.causes
    assert scene.causes[0] == "numerical-overflow"


def test_low_attention_entropy_that_learns_is_healthy() -> None:
    scene = scene_of(_transformer())
    scene.run(300, lambda s: _attend(s, entropy=0.05))
    assert "attention-collapse" not in scene.standing


def test_attention_that_sharpens_while_it_learns_is_healthy() -> None:
    scene = scene_of(_transformer())
    scene.run(300, lambda s: _attend(s, entropy=0.95 if s.step < 30 else 0.2))
    assert "attention-collapse" not in scene.standing


@pytest.mark.parametrize("falls_at", [30, 700])
def test_a_head_that_chooses_once_all_has_been_learnt_does_no_harm(falls_at: int) -> None:
    """A loss whose skill nobody knows falls until step 300, or not at all; then it stands still."""
    scene = scene_of(_transformer())

    def stands(sample: SceneSample) -> None:
        late, since = falls_at > 300, sample.step - falls_at
        learnt = 2.0 * math.exp(-sample.step / 60) if late else 2.0
        sample.loss = -4.0 + learnt + 0.02 * math.sin(sample.step)
        _attend(sample, entropy=0.95 if since < 0 else max(0.4, 0.95 - since / 9))
        sample.model(skill=math.nan, information=math.nan, loss_constant=math.nan)

    scene.run(800, stands)
    assert ("attention-collapse" in scene.standing) is (falls_at < 300)
    if falls_at < 300:
        assert "fell from 0.95" in " ".join(scene.engine.causes()[0].evidence)


@pytest.mark.parametrize(
    ("every", "skill", "told"),
    [(60, 0.0, True), (60, 0.4, False), (1, 0.0, False)],
)
def test_heads_of_one_key_are_told_where_they_are_stuck_there_and_nobody_taught_them(
    every: int, skill: float, told: bool
) -> None:
    """In one sample of `every` some head looks at more (1: in 29 of 30); `skill` is its first."""
    scene = scene_of(_transformer())

    def loose(step: int) -> bool:
        return step % every == every - 1 if every > 1 else step % 30 > 0

    def begun(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        _attend(sample, entropy=0.03 if loose(sample.step) else 1e-4)
        sample.model(skill=skill)

    scene.run(200, begun)
    assert ("attention-collapse" in scene.standing) is told


def test_tokens_that_are_alike_from_the_start_ask_for_residuals() -> None:
    scene = scene_of(_transformer())

    def averaged(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        _attend(sample, entropy=1.0, alike_from=2, alike=0.99999)

    scene.run(300, averaged)
    flag = scene.standing["attention-collapse"]
    assert flag.layer == "b2.qkv"
    cause = scene.engine.causes()[0]
    assert cause.cause == "attention-collapse"
    assert "x = x + attention(norm(x))" in cause.advice


def test_tokens_that_are_alike_are_told_though_the_loss_sinks_to_a_constant_answers() -> None:
    scene = scene_of(_transformer())

    def settling(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        _attend(sample, entropy=1.0, alike_from=2, alike=0.99999)
        above = 0.5 * 0.98**sample.step
        sample.loss = 2.3 + above
        sample.model(skill=-above / 2.3)

    scene.run(100, settling)
    assert scene.standing["attention-collapse"].raised_step < 60


def test_tokens_that_were_alike_at_birth_did_not_undo_what_was_learnt_later() -> None:
    def loses(sample: SceneSample) -> None:
        _attend(sample, alike_from=0, alike=0.9995)
        if sample.step > 200:
            sample.loss = 500.0
            sample.model(loss=500.0, skill=-200.0, information=0.0, lr=2.0)
            _attend(sample, alike_from=0, alike=0.99999)

    scene = scene_of(_transformer()).run(400, loses, every=50)
    assert "attention-collapse" in scene.standing
    assert scene.causes[0] == "learning-rate-too-high"


@pytest.mark.parametrize(("blocks", "told"), [(range(1, 4), True), (range(2, 3), False)])
def test_a_stream_that_is_averaged_away_before_a_decoder_that_has_queries_of_its_own(
    blocks: range, told: bool
) -> None:
    def encodes(sample: SceneSample) -> None:
        _attend(sample)
        for i in range(5):
            cosine = 0.99999 if i in blocks else 0.5
            for part in ("qkv", "attention", "proj", "up"):
                sample.layer(f"b{i}.{part}", token_similarity=cosine)
        sample.loss = 2.0
        sample.model(loss=2.0, skill=0.13, information=0.12)

    scene = scene_of(_transformer(5)).run(300, encodes)
    assert ("attention-collapse" in scene.standing) is told


@pytest.mark.parametrize(
    ("born", "first"), [(0.9999, "attention-collapse"), (0.996, "learning-rate-too-high")]
)
def test_tokens_that_steps_made_alike_were_not_born_so(born: float, first: str) -> None:
    """Attention as it is drawn averages its tokens, and those that learn come near as well."""

    def thrown(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        _attend(sample, alike_from=1, alike=born if sample.step == 1 else 0.99999)
        sample.layer("emb", update_ratio=5.0 if sample.step < 20 else 0.05, weight_growth=40)

    assert scene_of(_transformer()).run(200, thrown).causes[0] == first


def test_a_branch_that_adds_the_same_to_all_tokens_is_healthy() -> None:
    scene = scene_of(_transformer())

    def branch(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        _attend(sample)
        for i in range(4):
            sample.layer(f"b{i}.proj", token_similarity=0.9999)

    scene.run(300, branch)
    assert "attention-collapse" not in scene.standing


def _normed(momentum: float | None) -> Scene:
    norm = layer("bn", "BatchNorm1d", fan_in=1, parameters=64)
    options = {} if momentum is None else {"momentum": momentum}
    return scene_of(
        [
            linear("fc1", 64, 32),
            Layer(
                name=norm.name,
                model="model",
                kind=norm.kind,
                fan_in=1,
                units=32,
                parameters=64,
                options=options,
            ),
            linear("fc2", 32, 10),
        ]
    )


def _norm(sample: SceneSample, ratio: float = 1.0, shift: float = 0.02, values: float = 64) -> None:
    sample.layer("bn", norm_ratio=ratio, norm_shift=shift, norm_values=values)


def test_running_figures_that_never_arrive_are_flagged_with_the_momentum() -> None:
    scene = _normed(1e-4)
    scene.run(300, lambda s: _norm(s, ratio=0.1, shift=0.4))
    assert scene.standing["batchnorm-mismatch"].layer == "bn"
    cause = scene.engine.causes()[0]
    assert cause.cause == "batchnorm-misuse"
    assert "momentum=0.1" in cause.advice


def test_they_are_flagged_in_a_short_run_that_is_looked_at_every_fiftieth_step() -> None:
    scene = _normed(1e-4).run(300, lambda s: _norm(s, ratio=0.1, shift=0.4), every=50)
    assert scene.causes[0] == "batchnorm-misuse"


@pytest.mark.parametrize(("grows", "flagged"), [(1.1, False), (1.01, True)])
def test_running_figures_that_come_nearer_are_on_their_way(grows: float, flagged: bool) -> None:
    """What an LSTM puts out varies by a thousandth of the 1 that the running figure begins at."""

    def nears(sample: SceneSample) -> None:
        _norm(sample, ratio=min(1.0, 0.001 * grows**sample.step))

    scene = _normed(0.1).run(65, nears)
    assert any(flag.kind == "batchnorm-mismatch" for flag in scene.engine.flags) is flagged


@pytest.mark.parametrize(("evaluated", "flagged"), [(50.0, True), (0.3, False), (math.nan, False)])
def test_evaluation_that_is_worse_than_a_constant_answer_needs_them_now(
    evaluated: float, flagged: bool
) -> None:
    def late(sample: SceneSample) -> None:
        _norm(sample, ratio=0.1, shift=0.4)
        sample.model(eval_loss=evaluated)

    scene = _normed(5e-4).run(180, late)
    assert ("batchnorm-mismatch" in scene.standing) is flagged


def test_two_values_normalised_together_are_flagged_at_once() -> None:
    scene = _normed(0.1)
    scene.run(20, lambda s: _norm(s, ratio=math.nan, shift=math.nan, values=2))
    assert scene.standing["batchnorm-mismatch"].raised_step <= 10
    assert scene.causes[0] == "batchnorm-misuse"


def test_norms_in_evaluation_mode_are_named_of_a_run_that_broke() -> None:
    scene = _normed(0.1)
    scene.run(100, lambda s: _norm(s, shift=0.0))

    def broken(sample: SceneSample) -> None:
        sample.layers[:] = math.nan
        for name in ("fc1", "bn", "fc2"):
            sample.layer(name, nonfinite=1)
        sample.loss = math.nan
        sample.model(nonfinite=1, loss=math.nan, information=math.nan, skill=math.nan)

    scene.run(20, broken)
    assert scene.causes[0] == "batchnorm-misuse"
    assert "model.train()" in scene.engine.causes()[0].advice


def test_a_small_last_batch_is_no_misuse() -> None:
    scene = _normed(0.1)
    scene.run(200, lambda s: _norm(s, values=2 if s.step % 10 == 0 else 64))
    assert "batchnorm-mismatch" not in {flag.kind for flag in scene.changes}


def test_running_figures_get_the_time_that_their_momentum_needs() -> None:
    scene = _normed(0.01)
    scene.run(400, lambda s: _norm(s, ratio=1 / (1 - 0.99**s.step), shift=2 * 0.99**s.step))
    assert "batchnorm-mismatch" not in {flag.kind for flag in scene.changes}


def test_batches_that_are_not_what_the_running_figures_hold_are_flagged_after_a_while() -> None:
    scene = _normed(0.1)
    scene.run(100, _norm)
    scene.run(100, lambda s: _norm(s, ratio=12.0, shift=3.0))
    flag = scene.standing["batchnorm-mismatch"]
    assert 100 <= flag.onset_step <= 102
    assert scene.causes[0] == "batchnorm-misuse"


def test_running_figures_of_the_last_three_rows_are_flagged() -> None:
    scene = _normed(1.0)
    scene.run(20, lambda s: _norm(s, ratio=math.nan, shift=math.nan, values=3))
    assert "the last 3 values" in scene.standing["batchnorm-mismatch"].message
    assert scene.causes[0] == "batchnorm-misuse"


@pytest.mark.parametrize(("momentum", "values"), [(1.0, 64), (0.1, 3), (None, 3)])
def test_running_figures_of_many_rows_or_of_many_batches_are_silent(
    momentum: float | None, values: float
) -> None:
    scene = _normed(momentum).run(300, lambda s: _norm(s, values=values))
    assert "batchnorm-mismatch" not in scene.standing


def test_an_evaluation_far_from_training_needs_them_now_too() -> None:
    def late(sample: SceneSample) -> None:
        _norm(sample, ratio=0.1, shift=0.4)
        sample.model(eval_loss=1.4)

    scene = _normed(1e-5).run(160, late)  # by now the loss in training is below 0.3
    assert scene.causes[0] == "batchnorm-misuse"


def _tests(sample: SceneSample, test: float, own: float = 0.01) -> None:
    """Every fourth step a batch runs in training mode without gradients."""
    shown = {"norm_test_shift": test} if sample.step % 4 == 0 else {}
    sample.layer("bn", norm_ratio=1.0, norm_shift=own, norm_values=32.0, **shown)


def test_evaluations_in_training_mode_on_other_batches_are_misuse() -> None:
    scene = _normed(0.1).run(120, lambda s: _tests(s, 0.6))
    flag = scene.standing["batchnorm-mismatch"]
    assert (flag.severity, flag.layer) == ("warning", "bn")
    assert scene.causes[0] == "batchnorm-misuse"
    assert "model.eval()" in scene.engine.causes()[0].advice


@pytest.mark.parametrize(("test", "own"), [(0.07, 0.01), (0.6, 0.3)])
def test_forwards_in_training_mode_on_batches_like_trainings_are_silent(
    test: float, own: float
) -> None:
    """Shuffled rows; a discriminator, whose batches are of two kinds by themselves."""
    scene = _normed(0.1).run(120, lambda s: _tests(s, test, own))
    assert "batchnorm-mismatch" not in scene.standing


def test_one_odd_batch_of_an_evaluation_is_no_misuse() -> None:
    scene = _normed(0.1).run(120, lambda s: _tests(s, 0.6 if s.step % 12 == 0 else 0.05))
    assert "batchnorm-mismatch" not in scene.standing


def test_eval_once_called_takes_it_back() -> None:
    scene = _normed(0.1).run(200, lambda s: _tests(s, 0.6 if s.step < 100 else 0.03))
    assert "batchnorm-mismatch" not in scene.standing
    assert "batchnorm-mismatch" in {flag.kind for flag in scene.changes}


@pytest.mark.parametrize(
    ("given", "cause"), [(0.8, "attention-collapse"), (1e-3, "depth-vanishing")]
)
def test_attention_that_is_shown_the_same_of_every_input_has_a_wrong_mask(
    given: float, cause: str
) -> None:
    """Its output differs by rounding alone, whether or not what it was given told inputs apart."""
    named = [f"b{i}.{part}" for i in range(4) for part in ("attention", "proj", "up")]

    def masked(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        _attend(sample)
        sample.layer("emb", out_variance=0.8)
        sample.layer("b0.qkv", out_variance=given)
        for name in [*named, "b1.qkv", "b2.qkv", "b3.qkv", "head"]:
            sample.layer(name, out_variance=5e-15)
        sample.model(out_variance=5e-15, information=0.0)

    scene = scene_of(_transformer()).run(60, masked)
    assert scene.causes[0] == cause
    if cause == "attention-collapse":
        assert "key_padding_mask" in scene.engine.causes()[0].advice
