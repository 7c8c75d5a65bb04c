"""What a network is fed: sorted, repeated, uneven, mislabelled, or bad from some step on."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from rules_scene import Scene, SceneSample

from deadband.wire import Cause
from deadband_monitor.metrics import LAYER_COLUMN, MODEL_COLUMN
from deadband_monitor.rules.feed import Change, Feed
from deadband_monitor.rules.layout import Layout

Bend = Callable[[SceneSample], None]


def scene(rows: int = 64, classes: int = 10, loss: str = "cross_entropy", models: int = 1) -> Scene:
    made = Scene(models=("model", "other")[:models])
    model = msgspec.structs.replace(
        made.table.models[0],
        loss=loss,
        loss_input=(rows, classes),
        loss_target=(rows,) if loss == "cross_entropy" else (rows, classes),
    )
    made.table = msgspec.structs.replace(made.table, models=(model, *made.table.models[1:]))
    return made


def fed(**values: float) -> Bend:
    """A healthy feed, bent."""

    def bend(sample: SceneSample) -> None:
        sample.model(
            in_repeat=0.04, in_distinct=0.6, in_constant=0.1, majority_share=0.12,
            neighbour_agreement=0.95, majority_predicted=0.12,
        )  # fmt: skip
        sample.model(0, **values)

    return bend


def top(made: Scene) -> Cause:
    return made.engine.causes()[0]


# --- changes in mid-run ---------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 10])
def test_one_batch_for_ever_is_called_soon_and_dated(every: int) -> None:
    def learnt_by_heart(sample: SceneSample) -> None:
        fed(in_repeat=1.0 if sample.step > 300 else 0.05)(sample)
        sample.loss = 0.5 * math.exp(-(sample.step - 300) / 30)

    made = scene().run(300, fed(), every=every).run(60, learnt_by_heart, every=every)
    flag = made.standing["input-anomaly"]
    assert 300 <= flag.onset_step <= 301 + every
    assert flag.raised_step <= 300 + 3 * every + 4
    assert top(made).cause == "bad-data"
    assert "next(iter(loader))" in top(made).advice
    made.run(60, learnt_by_heart, every=every)
    assert made.standing["input-anomaly"].severity == "critical"


def fed_every_tenth(loss_at: Callable[[int], float]) -> Change | None:
    """What is made of a loader whose round of ten batches fits the cadence of the samples."""
    feed, layout = Feed(), Layout(scene().table)
    for step in [*range(1, 11), *range(20, 400, 10)]:
        sample = SceneSample(scene(), step)
        fed(in_repeat=1.0 if step > 10 else 0.0)(sample)
        since = step - 9 if step > 10 else step
        losses = [loss_at(k) for k in range(since, step + 1)]
        feed.absorb(step, sample.models[0].tolist(), losses, layout, 0)
    return feed.change


def test_a_loader_whose_round_fits_the_cadence_repeats_nothing() -> None:
    assert fed_every_tenth(lambda step: 0.5 + 0.1 * math.sin(2 * math.pi * step / 10)) is None
    assert fed_every_tenth(lambda step: math.exp(-step / 50)) is Change.REPEATED


def test_a_letter_that_comes_again_by_chance_is_no_repeated_batch() -> None:
    """Batches of one row: of ten letters every tenth is the one before."""
    feed, layout, random = Feed(), Layout(scene().table), np.random.default_rng(0)
    changes = []
    for step in range(1, 3010):
        sample = SceneSample(scene(), step)
        fed(in_repeat=float(step > 3000 or random.random() < 0.1))(sample)
        feed.absorb(step, sample.models[0].tolist(), [1.0], layout, 0)
        changes.append(feed.change)
    assert set(changes[:3000]) == {None}
    assert changes[-1] is Change.REPEATED
    assert feed.since == 3000


def test_an_agent_that_stands_still_early_is_fed_no_bad_data() -> None:
    """Each step is one state; of the first 64 nobody says how many different ones there are."""

    def walks(sample: SceneSample) -> None:
        stands = float(18 < sample.step < 30)
        fed(in_repeat=stands, in_distinct=np.nan, in_duplicates=np.nan)(sample)

    assert scene().run(50, walks).changes == []


def test_rows_of_few_kinds_are_in_every_batch_and_make_none_the_same() -> None:
    """An agent's replay: of five cells of a maze each batch of 32 holds all."""
    made = scene().run(20, fed()).run(300, fed(in_repeat=1.0, in_duplicates=0.85))
    assert made.standing["input-anomaly"].severity == "info"
    assert made.causes == []


@pytest.mark.parametrize(
    ("rows", "distinct", "change"),
    [
        (12, 0.15, None),
        (300, 0.15, Change.REPEATED),
        (30, 1.0, Change.REPEATED),
    ],
)
def test_an_agent_that_stands_still_is_no_loader_that_does(
    rows: int, distinct: float, change: Change | None
) -> None:
    feed, layout = Feed(), Layout(scene().table)
    for step in range(1, 60):
        sample = SceneSample(scene(), step)
        still = step > 30
        fed(
            in_repeat=float(still),
            in_duplicates=math.nan,
            in_rows=rows,
            in_distinct=distinct / (1 + 0.2 * (step - 30) * still),
        )(sample)
        feed.absorb(step, sample.models[0].tolist(), [1.0], layout, 0)
    assert feed.change is change


@pytest.mark.parametrize(("given", "flagged"), [({}, True), ({"calls": 4}, False)])
def test_the_first_letter_of_many_is_not_all_that_is_to_be_told_apart(
    given: dict[str, int], flagged: bool
) -> None:
    made = scene()
    model = msgspec.structs.replace(made.table.models[0], **given)
    made.table = msgspec.structs.replace(made.table, models=(model,))

    def resting(sample: SceneSample) -> None:
        sample.loss = 1.39 if sample.step < 20 else 1.2
        sample.model(
            loss=sample.loss, loss_constant=1.39, skill=0.13, information=0.13,
            neighbour_agreement=np.nan, in_rows=10, in_distinct=0.01,
        )  # fmt: skip

    made.run(700, resting)
    assert ("loss-plateau" in made.standing) is flagged


def test_full_batches_from_the_start_on_are_silent() -> None:
    assert scene().run(300, fed(in_repeat=1.0, in_distinct=0.07)).engine.flags == []


CHANGES = {
    "constant": ({"in_variance": 0.0}, "erases"),
    "all zeros": ({"in_rms": 0.0, "in_variance": np.nan, "in_max": 0.0}, "erases"),
    "blank features": ({"in_constant": 0.97}, "erases"),
    "255 times": ({"in_rms": 255.0, "in_max": 900.0}, "applied twice"),
    "a 255th": ({"in_rms": 1 / 255, "in_max": 0.02}, "applied twice"),
    "one label": ({"batch_label_entropy": 0.0}, "labels"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_feed_that_turns_bad_in_mid_run_is_called_within_five_samples(what: str) -> None:
    values, words = CHANGES[what]
    made = scene().run(200, fed()).run(6, fed(**values))
    flag = made.standing["input-anomaly"]
    assert flag.severity in {"warning", "critical"}
    assert flag.onset_step == 201
    assert flag.raised_step <= 205
    assert top(made).cause == "bad-data"
    assert top(made).confidence > 0.8
    assert words in top(made).advice


def test_one_class_now_and_then_with_a_row_of_another_goes_on() -> None:
    """From step 201 on nearly all rows are of one class: one batch in eight has a few others."""

    def turned(sample: SceneSample) -> None:
        mixed = sample.step % 8 == 0
        whole = max(0.5, 0.69 - 0.01 * (sample.step - 200))
        fed(label_entropy=whole, batch_label_entropy=0.28 / whole if mixed else 0.0)(sample)

    made = scene().run(200, fed()).run(250, turned)
    assert made.standing["input-anomaly"].onset_step == 201
    assert top(made).cause == "bad-data"


def test_data_that_are_sorted_from_the_start_do_not_turn_so_between_their_classes() -> None:
    """Some batches of each sixty hold two classes: that makes none of the others bad."""

    def in_order(sample: SceneSample) -> None:
        between = sample.step >= 60 and sample.step % 60 < 4
        fed(batch_label_entropy=0.9 if between else 0.0)(sample)
        sample.no_better_than_constant()

    cause = top(scene().run(400, in_order))
    assert cause.cause == "low-data-diversity"


def test_rows_that_come_sorted_in_mid_run_are_named_through_all_their_classes() -> None:
    """Between two classes a batch holds both; the loss has stood high since the first of them."""

    def turned(sample: SceneSample) -> None:
        between = sample.step % 60 < 5
        fed(batch_label_entropy=0.5 if between else 0.0)(sample)
        sample.loss = 1.5
        sample.model(loss=1.5, skill=0.3)

    made = scene().run(200, fed()).run(150, turned)
    assert made.standing["loss-divergence"].onset_step == 201
    cause = top(made)
    assert (cause.cause, cause.onset_step) == ("bad-data", 201)


def test_inputs_that_faded_out_are_bad_data_where_two_samples_are_all_that_tell() -> None:
    def blank(sample: SceneSample) -> None:
        fed(in_rms=0.0, in_variance=0.0, in_max=0.0, out_variance=0.0, out_sd=0.0)(sample)
        sample.no_better_than_constant()

    made = scene().run(200, fed(), every=10).run(40, blank, every=20)
    made.run(10, lambda sample: sample.nothing_measured())
    assert made.standing["output-collapse"].onset_step > 200
    assert top(made).cause == "bad-data"


def test_a_feed_that_mends_itself_closes_the_flag() -> None:
    made = scene().run(100, fed()).run(10, fed(in_rms=255.0, in_max=900)).run(20, fed())
    assert "input-anomaly" not in made.standing


def test_one_odd_batch_is_no_change() -> None:
    made = scene().run(100, fed()).run(1, fed(in_rms=255.0, in_max=900)).run(60, fed())
    assert made.engine.flags == []


@pytest.mark.parametrize("values", [{"in_constant": 1.0}, {"in_variance": 0.0}])
def test_inputs_that_are_constant_now_and_then_belong_to_the_loop(values: dict[str, float]) -> None:
    """A decoder that sometimes starts by itself, with the same first token in all of its rows."""
    random = np.random.default_rng(0)

    def by_itself(sample: SceneSample) -> None:
        bent = values | {"in_repeat": 1.0} if random.random() < 0.6 else {}
        fed(**bent)(sample)

    assert scene().run(400, by_itself).engine.flags == []


def test_inputs_that_grow_little_by_little_are_no_change() -> None:
    def grows(sample: SceneSample) -> None:
        fed(in_rms=10 ** (sample.step / 200), in_max=4 * 10 ** (sample.step / 200))(sample)

    assert scene().run(250, grows).engine.flags == []


def test_a_discriminators_inputs_may_jump() -> None:
    made = scene(models=2).run(60, fed(in_rms=0.01, in_max=0.05)).run(60, fed(in_rms=1.0))
    assert "input-anomaly" not in made.standing


def test_labels_that_no_longer_go_with_their_inputs_are_bad_data() -> None:
    def apart(sample: SceneSample) -> None:
        after = sample.step - 300
        fed(neighbour_agreement=0.95 * math.exp(-max(0, after) / 100))(sample)
        sample.loss = 5.0 * math.exp(-after / 300)
        sample.model(loss=sample.loss, skill=-1.0)

    made = scene().run(300, fed()).run(25, apart)
    assert [flag.kind for flag in made.engine.flags if flag.severity != "info"] != []
    assert top(made).cause == "bad-data"
    assert 300 <= top(made).onset_step <= 303
    assert "labels no longer go" in made.run(60, apart).standing["input-anomaly"].message


def test_labels_that_are_told_as_before_go_with_their_inputs_whatever_neighbours_say() -> None:
    """Of rows of some hundred kinds the nearest others differ, once all were met.

    The last batch of each pass is short, and tells no skill.
    """

    def dense(sample: SceneSample) -> None:
        fed(neighbour_agreement=0.8 * math.exp(-max(0, sample.step - 300) / 100))(sample)
        sample.loss = 0.01
        sample.model(loss=0.01, skill=0.99)
        if sample.step % 38 == 0:
            sample.model(skill=np.nan, loss_constant=np.nan, neighbour_agreement=np.nan)

    assert "input-anomaly" not in {flag.kind for flag in scene().run(600, dense).engine.flags}


def test_neighbours_that_agree_little_and_stray_are_no_change() -> None:
    random = np.random.default_rng(3)
    level = 0.25

    def strays(sample: SceneSample) -> None:
        nonlocal level
        level += 0.02 * (0.25 - level) + 0.005 * float(random.standard_normal())
        fed(neighbour_agreement=level)(sample)

    assert scene().run(1500, strays).engine.flags == []


def test_targets_in_other_units_are_bad_data() -> None:
    def values(sample: SceneSample, sd: float) -> None:
        fed(
            information=np.nan, label_entropy=np.nan, batch_label_entropy=np.nan, top_share=np.nan,
            target_sd=sd, target_mean=0.0, majority_share=np.nan, majority_predicted=np.nan,
        )(sample)  # fmt: skip

    def startled(sample: SceneSample) -> None:
        values(sample, 60.0)
        sample.loss = 3600.0

    made = scene(classes=1, loss="mse").run(100, lambda sample: values(sample, 1.0))
    made.run(10, startled)
    assert top(made).cause == "bad-data"
    assert "targets" in top(made).evidence[0]
    grown = scene(classes=1, loss="mse").run(100, lambda sample: values(sample, 1.0))
    grown.run(20, lambda sample: values(sample, 6.0))  # as of a network that makes its own
    assert "input-anomaly" not in grown.standing


def broken_inputs(sample: SceneSample) -> None:
    fed(in_rms=np.nan, in_variance=np.nan, in_max=np.nan, nonfinite=0.01, out_rms=np.nan)(sample)
    sample.model(out_variance=np.nan, information=np.nan, skill=np.nan)
    sample.loss = math.nan
    sample.layer("fc1", nonfinite=1)


def test_nan_in_the_inputs_is_the_cause_of_nan_everywhere() -> None:
    made = scene().run(50, fed()).run(4, broken_inputs)
    assert "non-finite" in made.standing
    assert top(made).cause == "bad-data"
    assert top(made).onset_step == 51
    assert "torch.isfinite(x)" in top(made).advice


def test_nan_with_finite_inputs_is_not_the_datas_fault() -> None:
    def overflow(sample: SceneSample) -> None:
        fed(nonfinite=1.0, out_rms=np.nan, out_variance=np.nan)(sample)
        sample.layer("fc2", nonfinite=1)

    assert "bad-data" not in scene().run(50, fed()).run(4, overflow).causes


def blank(sample: SceneSample) -> None:
    """Inputs of zeros; dropout makes answers of them that differ."""
    sample.no_better_than_constant()
    fed(in_rms=0.0, in_variance=0.0, in_max=0.0, out_variance=0.2, in_constant=1.0)(sample)


def test_inputs_of_zeros_are_seen_behind_dropout() -> None:
    def first_layer(rho: float, sample: SceneSample) -> None:
        blank(sample)
        sample.layer("fc1", out_variance=rho)

    made = scene().run(40, lambda sample: first_layer(0.0, sample))
    assert made.standing["input-anomaly"].message == "every input is the same"
    assert top(made).cause in {"low-data-diversity", "bad-data"}
    # What was copied may be the blank corner of a picture.
    assert "input-anomaly" not in scene().run(40, lambda s: first_layer(0.4, s)).standing


# --- labels ---------------------------------------------------------------------------------------


def test_batches_that_are_sorted_by_label_are_called_within_ten_steps() -> None:
    made = scene().run(10, fed(batch_label_entropy=0.05))
    assert made.standing["input-anomaly"].severity == "warning"
    assert top(made).cause == "low-data-diversity"
    assert "shuffle=True" in top(made).advice


def of_single_rows(kinds: int, alike: int) -> Bend:
    """Batches of one row; so many of the first are of one kind, and of the others each is."""

    def bend(sample: SceneSample) -> None:
        known = sample.step >= 32
        others = max(0, sample.step - alike) / max(sample.step, 1)
        shares = [1 - others, *[others / (kinds - 1)] * (kinds - 1)]
        entropy = -sum(p * math.log(p) for p in shares if p > 0)
        fed(
            label_entropy=entropy if known else np.nan, batch_label_entropy=np.nan,
            majority_share=max(shares) if known else np.nan, skill=np.nan, information=np.nan,
        )(sample)  # fmt: skip

    return bend


def test_single_rows_that_come_sorted_by_label_are_told_by_the_first_of_them() -> None:
    made = scene(rows=1, classes=5).run(260, of_single_rows(5, alike=120))
    assert made.standing["input-anomaly"].onset_step == 32
    assert "labels were all the same" in made.standing["input-anomaly"].message
    assert top(made).cause == "low-data-diversity"


def with_head(rows: int, classes: int, units: int) -> Scene:
    made = scene(rows, classes)
    *body, last = made.table.layers
    head = msgspec.structs.replace(last, units=units, fan_in=32)
    made.table = msgspec.structs.replace(made.table, layers=(*body, head))
    return made


def of_one_class(sample: SceneSample) -> None:
    sample.loss = 2.3 * math.exp(-sample.step / 5)
    fed(
        label_entropy=0.0, batch_label_entropy=np.nan, majority_share=1.0, skill=np.nan,
        loss_constant=np.nan, information=0.3, majority_predicted=1.0, loss=sample.loss,
    )(sample)  # fmt: skip


def test_data_of_one_class_are_told_however_low_the_loss() -> None:
    made = with_head(64, 10, 10).run(15, of_one_class)
    assert "input-anomaly" not in made.standing
    made.run(10, of_one_class)
    assert made.standing["input-anomaly"].severity == "warning"
    assert top(made).cause == "low-data-diversity"
    assert "bincount" in top(made).advice


def test_rows_that_come_again_bring_no_new_labels() -> None:
    """A graph is one batch: the same nodes of it are copied at each step."""

    def bend(sample: SceneSample) -> None:
        of_one_class(sample)
        sample.model(in_repeat=1.0 if sample.step > 1 else np.nan)

    assert "input-anomaly" not in with_head(64, 10, 10).run(60, bend).standing


def test_positives_that_stand_first_by_design_are_no_class() -> None:
    made = with_head(64, 65, 128).run(60, of_one_class)
    assert "input-anomaly" not in made.standing


def test_single_rows_of_many_kinds_are_silent() -> None:
    made = scene(rows=1, classes=5).run(260, of_single_rows(5, alike=2))
    assert "input-anomaly" not in {flag.kind for flag in made.engine.flags}


def drawn(rows: int, shares: tuple[float, ...]) -> Bend:
    """Batches of `rows` labels drawn at random."""
    random = np.random.default_rng(rows)
    whole = -sum(p * math.log(p) for p in shares)

    def bend(sample: SceneSample) -> None:
        counts = random.multinomial(rows, shares) / rows
        own = -sum(p * math.log(p) for p in counts if p > 0)
        fed(
            label_entropy=whole, batch_label_entropy=own / whole, majority_share=max(shares),
            majority_predicted=max(shares),
        )(sample)  # fmt: skip

    return bend


@pytest.mark.parametrize("rows", [2, 4, 8, 16, 64])
@pytest.mark.parametrize("shares", [(0.1,) * 10, (0.9, 0.1), (0.98, 0.02), (0.5, 0.5)])
def test_small_and_uneven_batches_that_are_shuffled_are_silent(
    rows: int, shares: tuple[float, ...]
) -> None:
    made = scene(rows, len(shares)).run(1500, drawn(rows, shares), every=3)
    assert "input-anomaly" not in {flag.kind for flag in made.engine.flags}


def uneven(said: float, skill: float, information: float, share: float = 0.95) -> Bend:
    def bend(sample: SceneSample) -> None:
        fed(
            majority_share=share, majority_predicted=said, information=information,
            label_entropy=0.2, loss_constant=0.2, neighbour_agreement=np.nan, top_share=said,
        )(sample)  # fmt: skip
        sample.loss = 0.2 * (1 - skill) * (1 + 0.3 * math.sin(5 * sample.step))
        sample.model(loss=sample.loss, skill=skill)

    return bend


def test_a_classifier_that_only_names_the_majority_is_called() -> None:
    made = scene(classes=2).run(260, uneven(said=1.0, skill=0.05, information=0.03))
    assert made.standing["constant-predictor"].severity == "warning"
    assert top(made).cause == "class-imbalance"
    assert "pos_weight = 19" in top(made).advice


@pytest.mark.parametrize(("share", "named"), [(0.996, True), (0.6, False)])
def test_units_that_saturate_where_all_labels_push_one_way_need_no_reason_of_their_own(
    share: float, named: bool
) -> None:
    def stuck(sample: SceneSample) -> None:
        uneven(1.0, skill=0.0, information=0.0, share=share)(sample)
        if sample.step > 6:
            sample.layer("act1", saturation=1.0, saturated_units=1.0, out_variance=1e-14)
            for name in ("act2", "fc2", "fc3"):
                sample.layer(name, out_variance=1e-14)
            sample.model(out_variance=1e-14)

    causes = scene(classes=2).run(60, stuck).causes
    assert "saturating-activation" in causes
    assert ("class-imbalance" in causes) is named


@pytest.mark.parametrize(("said", "skill"), [(0.95, 0.7), (0.97, 0.15), (1.0, 0.45)])
def test_uneven_classes_that_are_told_apart_are_silent(said: float, skill: float) -> None:
    made = scene(classes=2).run(600, uneven(said, skill, information=0.1), every=2)
    assert "constant-predictor" not in made.standing


def two_levels(sample: SceneSample) -> None:
    """One batch in three holds a rare row, which costs ten times what the others do."""
    uneven(said=1.0, skill=0.0, information=0.05, share=0.99)(sample)
    sample.loss = 0.42 if sample.step % 3 == 0 else 0.02
    sample.model(skill=1 - sample.loss / 0.2, rare_recall=0.0)


def test_batches_without_a_rare_row_do_not_pass_for_skill() -> None:
    made = scene(classes=2).run(700, two_levels)
    assert made.standing["constant-predictor"].severity == "warning"
    assert top(made).cause == "class-imbalance"


def test_the_last_losses_of_a_run_take_no_cause_away() -> None:
    def nothing_measured(sample: SceneSample) -> None:
        sample.models[:] = np.nan
        sample.layers[:] = np.nan

    made = scene(classes=2).run(301, uneven(said=1.0, skill=0.05, information=0.03))
    assert top(made).cause == "class-imbalance"
    assert top(made.run(12, nothing_measured)).cause == "class-imbalance"


def test_a_batch_too_short_to_compare_takes_no_cause_away() -> None:
    def short(sample: SceneSample) -> None:
        sample.models[:] = np.nan
        sample.model(loss=sample.loss, grad_norm=0.3, update_ratio=1e-3, nonfinite=0)
        for name in ("out_rms", "out_variance", "participation"):
            sample.layers[:, LAYER_COLUMN[name]] = np.nan

    made = scene(classes=2).run(301, uneven(said=1.0, skill=0.05, information=0.03))
    assert top(made.run(1, short)).cause == "class-imbalance"


def test_naming_a_rare_row_once_in_a_while_is_no_recovery() -> None:
    def now_and_then(sample: SceneSample) -> None:
        uneven(said=0.98, skill=0.3, information=0.1)(sample)
        sample.model(rare_recall=0.3)

    def learnt(sample: SceneSample) -> None:
        uneven(said=0.95, skill=0.6, information=0.3)(sample)
        sample.model(rare_recall=0.8)

    made = scene(classes=2).run(300, uneven(said=1.0, skill=0.05, information=0.03))
    made.run(300, now_and_then)
    assert "constant-predictor" in made.standing
    assert top(made).cause == "class-imbalance"
    assert "constant-predictor" not in made.run(100, learnt).standing


def test_rare_rows_that_are_seldom_found_are_called_after_a_slow_start() -> None:
    def seldom(sample: SceneSample) -> None:
        uneven(said=0.97, skill=0.4, information=0.1)(sample)
        sample.model(rare_recall=0.2)

    made = scene(classes=2).run(450, seldom)
    assert "constant-predictor" not in made.standing
    assert "20% of the rows" in made.run(100, seldom).standing["constant-predictor"].message


def test_even_classes_are_no_imbalance() -> None:
    bend = uneven(said=1.0, skill=0.01, information=1e-3, share=0.55)
    assert "class-imbalance" not in scene(classes=2).run(260, bend).causes


def creeping(agreement: float, goal: float = 0.12, distinct: float = 0.3) -> Bend:
    """Skill that grows slowly, as of labels learnt by heart."""

    def bend(sample: SceneSample) -> None:
        skill = goal * (1 - math.exp(-sample.step / 300))
        fed(neighbour_agreement=agreement, in_distinct=distinct)(sample)
        sample.loss = 2.3 * (1 - skill)
        sample.model(loss=sample.loss, skill=skill, information=0.2 * skill)

    return bend


def test_labels_that_have_nothing_to_do_with_the_inputs_are_called_while_learnt_by_heart() -> None:
    made = scene().run(200, creeping(0.01))
    assert made.standing["constant-predictor"].severity == "warning"
    assert top(made).cause == "label-noise"
    assert "x[i] belongs to y[i]" in top(made).advice


@pytest.mark.parametrize(
    ("groups", "cause"),
    [(1.0, "low-data-diversity"), (5.1, "low-data-diversity"), (9.9, "label-noise")],
    ids=["one", "five", "as many as classes"],
)
def test_near_copies_of_few_rows_with_all_the_labels_are_few_rows(
    groups: float, cause: str
) -> None:
    def copies(sample: SceneSample) -> None:
        creeping(0.01, distinct=0.3)(sample)
        sample.model(in_groups=groups)

    made = scene().run(200, copies)
    assert made.standing["constant-predictor"].severity == "warning"
    assert top(made).cause == cause


def test_labels_that_have_nothing_to_do_with_the_inputs_are_no_overfitting() -> None:
    """The last evaluation, of which nothing else is measured, shows that it was learnt by heart."""

    def heart(sample: SceneSample) -> None:
        creeping(0.01)(sample)
        if sample.step % 50 == 0:
            sample.model(eval_loss=2.0 + sample.step / 100)

    def ended(sample: SceneSample) -> None:
        heart(sample)
        sample.nothing_measured(eval_loss=4.5)

    made = scene().run(249, heart)
    assert "overfitting" not in made.standing
    made.run(1, ended)
    assert "overfitting" in made.standing
    assert top(made).cause == "label-noise"


def test_what_falls_on_other_rows_too_is_not_learnt_by_heart() -> None:
    """Whatever lies near what: few words in a text are shared by all kinds of texts."""

    def known(sample: SceneSample) -> None:
        creeping(0.01)(sample)
        if sample.step % 70 == 0:
            sample.model(eval_loss=2.3 - sample.step / 700)

    assert scene().run(400, known).engine.flags == []


def test_one_lucky_evaluation_does_not_clear_labels_that_are_learnt_by_heart() -> None:
    def lucky(sample: SceneSample) -> None:
        creeping(0.01)(sample)
        if sample.step % 70 == 0:
            sample.model(eval_loss=2.2 if sample.step == 70 else 2.3)

    assert "constant-predictor" in scene().run(400, lucky).standing


@pytest.mark.parametrize(
    "bend",
    [creeping(0.35), creeping(0.01, goal=0.9), creeping(0.01, distinct=1.0), creeping(np.nan)],
)
def test_slow_learning_of_sound_labels_is_silent(bend: Bend) -> None:
    assert scene().run(400, bend, every=2).engine.flags == []


def test_a_few_targets_far_out_are_label_noise() -> None:
    def ruled(sample: SceneSample) -> None:
        fed(
            information=np.nan, label_entropy=np.nan, batch_label_entropy=np.nan, top_share=np.nan,
            majority_share=np.nan, majority_predicted=np.nan, target_kurtosis=300.0,
            target_sd=1.0, target_mean=0.0, sigma_share=0.02,
        )(sample)  # fmt: skip
        sample.loss = 1.0 if sample.step % 7 else 90.0
        sample.model(loss=sample.loss, skill=0.0, loss_constant=1.0)

    made = scene(classes=1, loss="mse").run(200, ruled)
    assert top(made).cause == "label-noise"
    assert "HuberLoss" in top(made).advice


def test_a_loss_of_ones_own_says_nothing_of_skill_by_its_mean() -> None:
    """Forty rare tags under a focal loss that is summed over them."""

    def tags(sample: SceneSample) -> None:
        fed(
            target_kurtosis=23.0, target_mean=0.04, label_entropy=0.165, information=0.4,
            majority_share=np.nan, majority_predicted=np.nan, top_share=np.nan, further_loss=4.3,
            neighbour_agreement=0.17, loss_constant=np.nan, out_min=-6, out_max=2,
            skill=-0.1 if sample.step < 40 else np.nan,
        )(sample)  # fmt: skip
        sample.loss = 4.9 * math.exp(-sample.step / 100) + 0.3

    made = scene(classes=40, loss="bce_logits").run(400, tags)
    assert not made.standing


def test_batches_without_a_target_far_out_do_not_pass_for_skill() -> None:
    def seldom(sample: SceneSample) -> None:
        fed(
            information=np.nan, label_entropy=np.nan, batch_label_entropy=np.nan, top_share=np.nan,
            majority_share=np.nan, majority_predicted=np.nan, target_kurtosis=60.0,
            target_sd=0.8, target_mean=0.0, sigma_share=0.02 + sample.step / 5000,
        )(sample)  # fmt: skip
        sample.loss = 1.5 if sample.step % 5 < 2 else 0.015
        sample.model(loss=sample.loss, skill=0.3, loss_constant=0.62)

    made = scene(classes=1, loss="mse").run(400, seldom)
    assert "a few targets far out" in made.standing["constant-predictor"].message
    assert top(made).cause == "label-noise"


# --- few rows -------------------------------------------------------------------------------------


def test_doubled_rows_are_a_note_until_something_goes_wrong() -> None:
    made = scene().run(150, fed(in_duplicates=0.9))
    assert made.standing["input-anomaly"].severity == "info"
    assert made.causes == []

    def stuck(sample: SceneSample) -> None:
        fed(in_duplicates=0.9)(sample)
        sample.no_better_than_constant()

    made = scene().run(200, stuck)
    assert made.standing["input-anomaly"].severity == "warning"
    assert "low-data-diversity" in made.causes


def handful(rows: float, features: float, repeat: float = 1.0) -> Bend:
    """The same rows over and over."""

    def bend(sample: SceneSample) -> None:
        seen = min(2000, 32 * sample.step)
        fed(
            in_rows=rows, in_distinct=rows / seen, in_per_feature=rows / features,
            in_repeat=repeat,
        )(sample)  # fmt: skip

    return bend


@pytest.mark.parametrize(("rows", "features"), [(8, 64), (12, 10), (48, 64), (2, 30)])
def test_a_handful_of_rows_for_ever_is_too_little_data(rows: int, features: int) -> None:
    made = scene().run(100, handful(rows, features))
    assert made.standing["input-anomaly"].severity == "warning"
    assert made.standing["input-anomaly"].onset_step == 1
    assert made.causes[0] == "low-data-diversity"


def test_a_handful_is_named_where_the_last_batch_is_too_small_to_tell() -> None:
    made = scene().run(100, handful(4, 64)).run(1, fed(in_rows=np.nan, in_distinct=np.nan))
    assert made.causes[0] == "low-data-diversity"


def test_names_of_things_are_no_handful_of_rows() -> None:
    """The cells of a maze, each a 1 among zeros: the agent sees nothing else, and all of them.

    Ids are not set against features (`test_statistics_inputs`).
    """

    def cells(sample: SceneSample) -> None:
        handful(16, 16, repeat=0.9)(sample)
        sample.model(in_max=1.0, in_rms=0.25, in_per_feature=np.nan)

    assert scene().run(300, cells).engine.flags == []


def test_two_batches_that_take_turns_are_a_handful_where_no_step_was_left_out() -> None:
    def taking_turns(sample: SceneSample) -> None:
        handful(32, 32, repeat=0.0)(sample)
        loss = sample.loss
        sample.lost = lambda step: loss * (1 + 0.2 * (step % 2))  # of one of the two it is larger

    assert scene().run(100, taking_turns).causes[0] == "low-data-diversity"
    assert scene().run(100, taking_turns, every=5).engine.flags == []


@pytest.mark.parametrize(
    ("rows", "features"), [(4, 2), (3, 2), (133, 13), (112, 4), (40, 10), (100, 300)]
)
def test_small_tables_and_truth_tables_are_silent(rows: int, features: int) -> None:
    assert scene().run(300, handful(rows, features)).engine.flags == []


def test_a_whole_table_at_each_step_is_no_handful() -> None:
    """Of 1400 rows the first 64 are copied, each time the same."""
    made = scene()
    model = msgspec.structs.replace(made.table.models[0], loss_target=(1400,))
    made.table = msgspec.structs.replace(made.table, models=(model,))
    assert made.run(300, handful(64, 64)).engine.flags == []


def test_a_round_that_fits_the_cadence_shows_few_rows_of_many() -> None:
    def unknown(sample: SceneSample) -> None:
        handful(48, 64)(sample)
        sample.loss = np.nan  # a loss that falls at every step would tell

    made = scene()
    made.step = 1  # no two samples lie a step apart
    for _ in range(60):
        made.step += 9
        made.run(1, unknown)
    assert made.engine.flags == []


def half_learnt(skill: float, flat: float = 0.95) -> Bend:
    """Inputs in the thousands, which hold the first layer at its flat ends."""

    def bend(sample: SceneSample) -> None:
        sample.model(
            in_max=3000.0, in_rms=900.0, neighbour_agreement=0.95, skill=skill,
            information=skill, loss=2.3 * (1 - skill),
        )  # fmt: skip
        sample.loss = 2.3 * (1 - skill)
        sample.layer("act1", saturation=flat, saturated_units=0.4)

    return bend


def test_inputs_that_flatten_the_first_layer_are_called_where_half_is_learnt() -> None:
    made = scene().run(300, half_learnt(0.6))
    assert made.standing["input-anomaly"].severity == "warning"
    assert top(made).cause == "unnormalised-inputs"


@pytest.mark.parametrize(("skill", "flat"), [(0.9, 0.95), (0.6, 0.3)])
def test_large_inputs_stay_a_note_where_they_are_learnt_or_pass(skill: float, flat: float) -> None:
    assert scene().run(300, half_learnt(skill, flat)).standing["input-anomaly"].severity == "info"


@pytest.mark.parametrize(
    ("skill", "grown", "severity"),
    [(0.6, 120.0, "warning"), (0.6, 8.0, "info"), (0.95, 120.0, "info")],
)
def test_large_inputs_are_called_where_they_threw_the_first_layers_weights(
    skill: float, grown: float, severity: str
) -> None:
    """A missing value that is -9999 leaves no neighbours to compare with."""

    def thrown(sample: SceneSample) -> None:
        half_learnt(skill)(sample)
        sample.model(neighbour_agreement=0.2)
        sample.layer("fc1", weight_growth=grown)

    assert scene().run(300, thrown).standing["input-anomaly"].severity == severity


def test_token_ids_have_no_scale_to_judge() -> None:
    made = scene()
    first = msgspec.structs.replace(made.table.layers[0], kind="Embedding")
    made.table = msgspec.structs.replace(made.table, layers=(first, *made.table.layers[1:]))
    ids = fed(in_rms=np.nan, in_variance=np.nan, in_max=np.nan, in_duplicates=0.9)
    assert made.run(100, ids).engine.flags == []


def test_every_statistic_that_these_rules_read_is_declared() -> None:
    for name in (
        "in_repeat",
        "in_constant",
        "majority_predicted",
        "neighbour_agreement",
        "squashed",
    ):
        assert name in MODEL_COLUMN


def test_one_call_of_many_with_rows_that_are_all_the_same_is_no_anomaly() -> None:
    def one_room(sample: SceneSample) -> None:
        sample.model(in_variance=0.0, in_rms=0.35, in_max=1.0, out_variance=0.0, skill=math.nan)
        sample.model(information=math.nan, sigma_share=math.nan, loss_constant=math.nan)

    standing = {}
    for calls in (1, 20):
        scene = Scene()
        models = tuple(msgspec.structs.replace(each, calls=calls) for each in scene.table.models)
        scene.table = msgspec.structs.replace(scene.table, models=models)
        standing[calls] = set(scene.run(30, one_room).standing)
    assert "input-anomaly" in standing[1]
    assert not standing[20] & {"input-anomaly", "output-collapse"}


@pytest.mark.parametrize(
    ("others", "unlearnt", "flagged"),
    [(0.3, True, True), (0.01, True, False), (0.3, False, False)],
    ids=["enough", "few", "told-all-the-same"],
)
def test_labels_that_part_from_their_inputs_are_told_of_where_there_are_enough_of_them(
    others: float, unlearnt: bool, flagged: bool
) -> None:
    def parting(sample: SceneSample) -> None:
        agreement = 0.8 if sample.step < 150 else -0.5
        if sample.step >= 150 and unlearnt:
            sample.no_better_than_constant()
        sample.model(neighbour_agreement=agreement, majority_share=1 - others)

    scene = Scene()
    models = tuple(
        msgspec.structs.replace(each, loss_input=(64, 2), loss_target=(64,))
        for each in scene.table.models
    )
    scene.table = msgspec.structs.replace(scene.table, models=models)
    assert ("input-anomaly" in scene.run(220, parting).standing) is flagged


@pytest.mark.parametrize("added", [math.nan, 0.5])
def test_a_loss_below_zero_is_wrong_only_where_nothing_else_is_added_to_it(added: float) -> None:
    def falls(sample: SceneSample) -> None:
        sample.loss = 2.0 - 0.02 * sample.step
        further = added if sample.step == 20 else math.nan
        sample.model(loss=sample.loss, further_loss=further, skill=math.nan)

    standing = Scene().run(200, falls).standing
    assert ("loss-divergence" in standing) is math.isnan(added)
