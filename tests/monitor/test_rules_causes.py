"""Words, likelihoods and advice: tables that screens and reports are built from."""

from __future__ import annotations

import numpy as np
import pytest
from rules_builds import layer, linear, scene_of
from rules_scene import Scene, SceneSample

from deadband_monitor.rules.catalog import CAUSES, ENTRIES, SYMPTOMS
from deadband_monitor.rules.causes import likelihood
from deadband_monitor.rules.causes.words import rounded
from deadband_monitor.rules.ruleset import INHIBITS, default_rules

DEMOS = {
    "",
    "lr-too-high",
    "saturated-sigmoid",
    "constant-init",
    "dying-relu",
    "unnormalised-inputs",
}


def test_every_symptom_and_cause_has_its_words() -> None:
    judged = {rule.kind for rule in default_rules()} | {"rank-divergence"}
    assert judged == {entry.word for entry in SYMPTOMS}
    for entry in ENTRIES.values():
        assert len(entry.title) <= 28
        assert entry.demo in DEMOS
        assert entry.meaning.endswith(".")
        assert entry.remedy.endswith(".")


def test_every_symptom_that_is_silenced_exists() -> None:
    words = {entry.word for entry in SYMPTOMS}
    assert set(INHIBITS) | set().union(*INHIBITS.values()) <= words


def test_every_row_of_the_likelihood_table_is_a_cause() -> None:
    rows = {row.split(" (")[0] for row in likelihood._ROWS} - {"something else"}
    assert rows <= {entry.word for entry in CAUSES}
    for _, percents in likelihood._ROWS.values():
        assert len(percents) == len(likelihood.EVIDENCE)


def test_a_rate_is_rounded_to_what_one_types() -> None:
    assert [rounded(x) for x in (0.0794, 0.238, 0.00072, 12.3, 0.0)] == [
        "0.079",
        "0.24",
        "0.00072",
        "12",
        "0",
    ]


def test_large_updates_alone_name_no_cause_against_a_healthy_course() -> None:
    row = "learning-rate-too-high"
    assert likelihood.odds(row, frozenset({"large_update"})) < 1
    ruin = frozenset({"large_update", "loss_above_constant", "weights_tripled"})
    assert likelihood.odds(row, ruin) > 20


@pytest.mark.parametrize(
    ("largest", "rms", "variance"), [(4254, 300, 0.01), (100, 30, 0.24)], ids=["raw", "percentages"]
)
def test_inputs_that_were_odd_before_the_first_step_come_before_the_rate(
    largest: float, rms: float, variance: float
) -> None:
    def raw_and_exploding(sample: SceneSample) -> None:
        sample.model(in_max=largest, in_rms=rms, in_variance=variance)
        if sample.step <= 3:
            sample.layer("fc1", update_ratio=6.4, weight_growth=7)
        if sample.step > 1:
            sample.loss = 50.0
            sample.model(loss=50, skill=-20, information=1e-4, grad_norm=100)
            sample.layer("act1", dead_units=1, out_variance=0, out_rms=0, zero_share=1)
        if sample.step > 5:
            sample.model(out_variance=0, out_sd=0)

    scene = Scene().run(60, raw_and_exploding)
    assert scene.causes[0] == "unnormalised-inputs"
    assert "does not cure" in scene.engine.causes()[0].advice


def test_no_cause_is_named_while_only_notes_stand() -> None:
    scene = Scene().run(200, lambda s: s.layer("fc2", update_ratio=0.4))
    assert {flag.severity for flag in scene.standing.values()} == {"info"}
    assert scene.causes == []


def test_confidence_is_capped_and_grows_with_samples() -> None:
    def dead(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.layer("act1", dead_units=1, out_variance=0, out_rms=0, zero_share=1)
        sample.model(out_variance=0, out_sd=0)
        sample.layer("fc1", bias_mean=-8)

    scene = Scene().run(10, dead)
    first = scene.engine.causes()[0]
    assert 0.5 < first.confidence <= 0.95
    assert "they began at -8" in first.advice
    assert first.layer == "act1"
    assert np.isclose(first.confidence, round(first.confidence, 2))


def test_a_layer_norm_over_a_single_feature_is_named() -> None:
    def cut(sample: SceneSample) -> None:
        sample.layer("before", grad_rms=0, out_grad_rms=0, update_ratio=0)
        sample.no_better_than_constant()

    layers = [linear("before", 8, 1), layer("norm", "LayerNorm", units=1), linear("head", 1, 3)]
    cause = scene_of(layers).run(200, cut).engine.causes()[0]
    assert (cause.cause, cause.layer) == ("batchnorm-misuse", "norm")
