"""The pictures as text: gauges, maps, charts, lists. Nothing here needs a terminal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deadband.wire import Cause, Flag
from deadband_monitor.hub.registry import RunEntry
from deadband_monitor.metrics import LAYER_COLUMN, LAYER_METRICS, Metric
from deadband_monitor.source.scripted import COVERAGE
from deadband_monitor.tui.draw import flags as draw_flags
from deadband_monitor.tui.draw.flag_page import Exhibit, flag_page
from deadband_monitor.tui.draw.gauge import band_words, reading, sign, track
from deadband_monitor.tui.draw.headline import card, gauge_line
from deadband_monitor.tui.draw.heat import (
    GLYPHS,
    Lanes,
    axis,
    carry_over,
    cells,
    fold,
    lay_out,
    legend,
)
from deadband_monitor.tui.draw.key_line import key_row
from deadband_monitor.tui.draw.line import Curve, Limit, Mark, axis_ends, chart
from deadband_monitor.tui.draw.progress import progress
from deadband_monitor.tui.draw.readings import Item, table
from deadband_monitor.tui.draw.run_list import run_row
from deadband_monitor.tui.draw.scale import LEVELS, MISSING, levels, worst_of, worst_row
from deadband_monitor.tui.draw.spark import spark, squeeze
from deadband_monitor.tui.draw.state_line import Head, one_line, standing, state_line
from deadband_monitor.tui.draw.text import (
    Row,
    cut,
    cut_middle,
    duration,
    figure,
    fit,
    plain,
    spread,
    width_of,
    wrap,
)

NAN = float("nan")


def metric(name: str) -> Metric:
    return LAYER_METRICS[LAYER_COLUMN[name]]


def text(row: Row) -> str:
    return plain([row])


def flag(**changed: object) -> Flag:
    known: dict[str, object] = {
        "id": 1,
        "kind": "output-collapse",
        "severity": "critical",
        "model": "model",
        "layer": "blk.3",
        "onset_step": 1200,
        "raised_step": 1216,
        "message": "the output is the same for every input",
    }
    return Flag(**{**known, **changed})  # type: ignore[arg-type]


# --- text --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.913, "0.91"),
        (0.0213, "0.021"),
        (3.14e-4, "3.1e-4"),
        (4e-8, "4e-8"),
        (4.812, "4.81"),
        (12.34, "12.3"),
        (12480.0, "12,480"),
        (2.5e9, "2.5e9"),
        (-0.25, "-0.25"),
        (NAN, "–"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
    ],
)
def test_a_figure_is_short_and_keeps_its_size(value: float, shown: str) -> None:
    assert figure(value) == shown
    assert len(figure(value)) <= 7


def test_text_that_does_not_fit_ends_in_an_ellipsis() -> None:
    assert cut("saturation", 6) == "satur…"
    assert cut("saturation", 1) == "…"
    assert cut("saturation", 0) == ""
    assert fit([("abc", "x"), ("defgh", "y")], 5) == [("abc", "x"), ("d…", "y")]
    assert fit([("abc", "x")], 5) == [("abc", "x"), ("  ", "")]


def test_a_long_layer_name_keeps_both_ends() -> None:
    assert cut_middle("transformer.h.22.mlp.c_fc", 15) == "transfo…lp.c_fc"
    assert cut_middle("head", 15) == "head"


def test_wide_characters_take_two_cells() -> None:
    assert width_of([("日本", "")]) == 4
    assert width_of(fit([("日本語", "")], 5)) == 5


def test_escape_sequences_in_names_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in cut("evil\x1b[2Jname", 40)
    assert "\x1b" not in text(fit([("evil\x1b]0;title\x07", "")], 40))


def test_long_advice_is_wrapped_and_cut_at_its_last_line() -> None:
    lines = wrap("one two three four five six", 9, 2)
    assert lines == ["one two", "three fo…"]
    assert wrap("one two", 9, 2) == ["one two"]
    assert wrap("x" * 30, 9, 3) == ["x" * 8 + "…"]


def test_the_right_side_of_a_row_is_never_pushed_out() -> None:
    row = spread([("a long left side", "")], [("RIGHT", "")], 10)
    assert text(row) == "a lo…RIGHT"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.12, "0.1 s"), (12.4, "12 s"), (252, "4m12s"), (7500, "2h05m"), (3e5, "3 d"), (-1, "–")],
)
def test_durations_are_short(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


# --- scale -------------------------------------------------------------------------------------


def test_levels_follow_the_band_so_that_a_healthy_map_is_grey() -> None:
    variance = metric("out_variance")
    found = levels(variance, np.array([1e-9, 1e-5, 2e-3, 0.9, NAN]))
    assert list(found) == [0, 1, 2, 5, MISSING]
    saturation = metric("saturation")
    assert list(levels(saturation, np.array([0.0, 0.74, 0.8, 1.0]))) == [2, 5, 6, 7]


def test_every_metric_has_levels_for_any_value() -> None:
    values = np.array([0.0, -1.0, 1e-30, 0.5, 1e30, np.inf, -np.inf, NAN])
    for it in LAYER_METRICS:
        found = levels(it, values)
        assert found.min() >= MISSING
        assert found.max() < LEVELS
        assert found[-1] == MISSING


def test_the_worst_layer_is_the_lowest_highest_or_farthest() -> None:
    assert worst_row(metric("out_variance"), np.array([0.5, 1e-6, NAN])) == 1
    assert worst_row(metric("saturation"), np.array([0.5, NAN, 0.9])) == 2
    assert worst_row(metric("weight_spread"), np.array([1.0, 1e-3, 3.0])) == 1
    assert worst_row(metric("saturation"), np.array([NAN, NAN])) is None
    assert worst_row(metric("saturation"), np.zeros(0)) is None


def test_of_a_stretch_of_steps_the_worse_end_is_shown() -> None:
    low, high = np.array([1e-6, 0.4]), np.array([0.9, 0.5])
    assert list(worst_of(metric("out_variance"), low, high)) == [1e-6, 0.4]
    assert list(worst_of(metric("saturation"), low, high)) == [0.9, 0.5]


# --- gauge -------------------------------------------------------------------------------------


def test_a_gauge_shows_band_reading_and_worst_layer() -> None:
    row = track(metric("weight_spread"), 1.0, 21, worst=0.005)
    assert text(row) == "··◇····[━━◆━━━━]·····"
    assert ("◆", "strong") in row
    assert ("◇", "info") in row


def test_a_gauge_out_of_its_band_is_marked_by_sign_place_and_colour() -> None:
    variance = metric("out_variance")
    row = track(variance, 1e-8, 20, severity="critical")
    assert text(row).index("◆") < text(row).index("[")
    assert ("◆", "crit") in row
    assert sign(variance, 1e-8) == "▼"
    assert sign(metric("saturation"), 0.9) == "▲"
    assert sign(metric("saturation"), 0.5, "warning") == "!"
    assert sign(metric("saturation"), 0.5) == " "


def test_a_reading_without_a_value_draws_no_marker() -> None:
    assert "◆" not in text(track(metric("saturation"), NAN, 20))
    assert reading(metric("saturation"), NAN) == [("      –", "dim")]


@pytest.mark.parametrize("width", [0, 1, 2, 3, 4, 60])
def test_a_gauge_fits_any_width(width: int) -> None:
    for it in LAYER_METRICS:
        assert width_of(track(it, 0.5, width)) == width


def test_bands_in_words() -> None:
    assert band_words(metric("out_variance")) == "from 0.001"
    assert band_words(metric("saturation")) == "up to 0.75"
    assert band_words(metric("weight_spread")) == "0.10 – 30.0"
    assert band_words(Metric(name="x", title="x", doc="")) == ""


@pytest.mark.parametrize("width", [60, 80, 120])
def test_headlines_name_the_worst_layer_at_any_width(width: int) -> None:
    row = gauge_line(metric("out_variance"), 0.5, 1e-7, "blk.22", "critical", width)
    assert width_of(row) == width
    assert "worst blk.22" in text(row)
    assert "1e-7" in text(row)


def test_a_narrow_headline_keeps_the_layer_and_drops_what_stands_in() -> None:
    worst = "relu1 dead units"
    assert worst in text(gauge_line(metric("saturation"), 0.5, 1.0, worst, "", 100))
    assert "worst relu1  " in text(gauge_line(metric("saturation"), 0.5, 1.0, worst, "", 60))


def test_a_card_shows_gauge_trend_and_worst_layer() -> None:
    trend = np.full(50, 0.5)
    rows = card(metric("out_variance"), 0.5, 1e-7, "blk.22", "critical", trend, 36)
    assert [width_of(row) for row in rows] == [36] * 3
    assert "◆" in text(rows[0])
    assert "█" in text(rows[1])
    assert text(rows[2]).split() == ["worst", "blk.22", "1e-7"]


def test_a_headline_without_readings_says_so() -> None:
    row = gauge_line(metric("saturation"), NAN, NAN, "", "", 80)
    assert "not measured in any layer" in text(row)


def test_the_table_of_readings_adds_bands_and_trends_where_there_is_room() -> None:
    items = [Item(metric=metric("saturation"), value=0.9, trend=np.linspace(0, 0.9, 30))]
    assert "up to" not in text(table(items, 40)[0])
    wide = text(table(items, 110)[0])
    assert "up to 0.75" in wide
    assert "▇" in wide
    assert all(width_of(table(items, width)[0]) == width for width in (30, 44, 80, 200))


# --- sparkline ---------------------------------------------------------------------------------


def test_a_sparkline_is_scaled_to_the_metric_and_not_to_its_own_noise() -> None:
    assert spark(metric("saturation"), np.array([0.50, 0.51, 0.50])) == "▅▅▅"
    assert spark(metric("saturation"), np.array([0.0, NAN, 1.0])) == "▁ █"


def test_squeezing_keeps_the_worst_reading() -> None:
    values = np.full(100, 0.1)
    values[37] = 0.95
    short = squeeze(metric("saturation"), values, values, 10)
    assert len(short) == 10
    assert short[3] == pytest.approx(0.95)
    assert len(squeeze(metric("saturation"), values[:0], values[:0], 10)) == 0


# --- heat map ----------------------------------------------------------------------------------


def test_layers_get_rows_then_half_rows_then_share_one() -> None:
    assert lay_out([(row,) for row in range(4)], 12, halves=True) == Lanes(
        groups=((0,), (1,), (2,), (3,)), tall=3
    )
    assert lay_out([(row,) for row in range(12)], 12, halves=True).rows == 12
    halves = lay_out([(row,) for row in range(20)], 12, halves=True)
    assert halves.half
    assert halves.rows == 10
    assert halves.in_row(0) == (0, 1)
    folded = lay_out([(row,) for row in range(60)], 12, halves=True)
    assert folded.rows == 12
    assert sorted(layer for group in folded.groups for layer in group) == list(range(60))
    without = lay_out([(row,) for row in range(60)], 12, halves=False)
    assert without.rows == 12
    assert not without.half
    assert lay_out([], 12, halves=True).rows == 0


def test_a_tall_lane_is_named_once() -> None:
    lanes = lay_out([(row,) for row in range(2)], 6, halves=True)
    assert [lanes.in_row(row) for row in range(6)] == [(0,), (), (), (1,), (), ()]


def test_a_folded_row_shows_its_worst_layer() -> None:
    values = np.array([[0.5, 1e-6, 0.4], [NAN, 0.3, 0.2]])
    lanes = Lanes(groups=((0, 1), (2,)))
    assert fold(metric("out_variance"), values, lanes).tolist() == [[1e-6, 0.4], [0.3, 0.2]]


def test_colour_cells_are_blanks_with_a_ground_and_merge() -> None:
    steps = np.array([[5], [5], [0], [MISSING]], np.int8)
    rows = cells(steps, Lanes(groups=((0,),)), glyphs=False)
    assert rows == [[("  ", "heat.5.5"), (" ", "heat.0.0"), (" ", "")]]


def test_half_rows_hold_two_lanes() -> None:
    steps = np.array([[5, 5], [5, 0], [MISSING, 0], [5, MISSING]], np.int8)
    rows = cells(steps, Lanes(groups=((0,), (1,)), half=True), glyphs=False)
    assert rows == [
        [(" ", "heat.5.5"), ("▀", "heat.5.0"), ("▄", "heat.0."), ("▀", "heat.5.")],
    ]


def test_an_odd_lane_fills_the_last_row() -> None:
    steps = np.array([[5, 5, 1]], np.int8)
    rows = cells(steps, Lanes(groups=((0,), (1,), (2,)), half=True), glyphs=False)
    assert rows[1] == [(" ", "heat.1.1")]


def test_without_colour_the_glyph_says_on_which_side_of_the_band() -> None:
    steps = np.array([[0], [1], [2], [5], [6], [7], [MISSING]], np.int8)
    rows = cells(steps, Lanes(groups=((0,),)), glyphs=True)
    assert text(rows[0]) == "▼▽·▓△▲ "
    assert len(GLYPHS) == LEVELS


def test_sparse_samples_leave_no_fence_and_long_gaps_stay_empty() -> None:
    values = np.array([1.0, NAN, 2.0, NAN, NAN, NAN, 3.0])
    assert str(carry_over(values, 1).tolist()) == "[1.0, 1.0, 2.0, 2.0, nan, nan, 3.0]"
    assert carry_over(values, 0) is values


def test_the_axis_names_steps_and_onsets_and_no_two_run_together() -> None:
    row = axis(0, 16, 60, [(320, "▼", "crit"), (336, "!", "warn")])
    assert text(row).startswith("1 ")
    assert "▼320" in text(row)
    assert text(row).index("▼") == 20
    assert "!336" not in text(row)
    assert text(axis(0, 16, 60, [(10_000, "▼", "crit")])).count("▼") == 0
    assert width_of(row) == 60


def test_the_legend_names_the_ends_of_the_band() -> None:
    assert "low 0.001" in text(legend(metric("out_variance"), glyphs=False))
    assert "0.75 high" in text(legend(metric("saturation"), glyphs=True))
    assert "▲" in text(legend(metric("saturation"), glyphs=True))


# --- line chart --------------------------------------------------------------------------------


def curve(values: list[float]) -> Curve:
    array = np.array(values, np.float64)
    x = (np.arange(len(array)) + 0.5) / max(len(array), 1)
    return Curve(x=x, low=array, mean=array, high=array)


def test_axis_ends_are_round() -> None:
    assert axis_ends(0.13, 2.31, log=False) == (0.0, 2.5)
    low, high = axis_ends(3e-5, 0.4, log=True)
    assert low == pytest.approx(1e-5)
    assert high == 1.0
    assert axis_ends(2.0, 2.0, log=False)[1] > 2.0


def test_a_spike_of_one_step_stays_in_sight() -> None:
    values = [1.0] * 400
    values[200] = 25.0
    rows = [text(row) for row in chart(curve(values), 50, 6)]
    top = rows[0][8:]
    assert top.strip("\u2800 ") != ""


def test_one_wild_step_leaves_the_usual_values_in_sight() -> None:
    rows = [text(row) for row in chart(curve([0.7] * 20 + [1e19] + [0.5] * 20), 40, 6)]
    assert rows[0].split("┤")[0].strip() == "1e19"
    assert float(rows[-1].split("┤")[0]) == 0.1
    assert any(mark.strip() for mark in rows[-1].split("┤")[1:])


def test_values_of_many_sizes_get_a_log_axis_even_with_zeros() -> None:
    rows = [text(row) for row in chart(curve([1.0, 1e-4, 0.0, 1e-2]), 40, 5)]
    assert rows[0].lstrip().startswith("1.00┤")
    assert rows[-1].lstrip().startswith("1e-4┤")
    linear = [text(row) for row in chart(curve([-1.0, 100.0]), 40, 5)]
    assert linear[-1].lstrip().startswith("-20.0┤")


def test_limits_and_onsets_are_drawn_and_named() -> None:
    rows = chart(
        curve([1.0, 2.0, 3.0]),
        60,
        7,
        limits=[Limit(value=2.5, label="high"), Limit(value=99.0, label="unseen")],
        marks=[Mark(x=0.5, style="crit")],
    )
    picture = plain(rows)
    assert "╌" in picture
    assert " high " in picture
    assert "unseen" not in picture
    assert any(("╎", "crit") in row for row in rows)


@pytest.mark.parametrize("values", [[], [NAN, NAN], [float("inf")], [0.0], [5.0, 5.0]])
def test_a_chart_of_nothing_much_still_fits(values: list[float]) -> None:
    rows = chart(curve(values), 30, 4)
    assert [width_of(row) for row in rows] == [30] * 4


# --- flags and causes --------------------------------------------------------------------------


def test_flags_show_onset_severity_kind_place_and_message() -> None:
    row = text(draw_flags.flag_rows([flag(followers=["blk.4"])], None, 100, 4)[0])
    for part in ("▼", "1,200", "CRIT", "output-collapse", "blk.3 +1", "the same for every input"):
        assert part in row


def test_a_flag_that_is_over_is_told_in_grey() -> None:
    row = draw_flags.flag_rows([flag(resolved_step=1300)], None, 100, 4)[0]
    assert "past" in text(row)
    assert "over at 1,300" in text(row)
    assert all(style in ("dim", "", "strong") for _, style in row)


def test_more_flags_than_rows_are_counted() -> None:
    flags = [flag(id=number) for number in range(7)]
    rows = draw_flags.flag_rows(flags, 2, 60, 3)
    assert len(rows) == 3
    assert "+4 more" in text(rows[-1])
    assert text(rows[2]).startswith("▸")
    assert all(width_of(row) == 60 for row in rows)


def test_a_narrow_list_gives_spare_rows_to_messages() -> None:
    rows = draw_flags.flag_rows([flag(), flag(id=2)], None, 50, 4)
    assert "the output is the same" in text(rows[1])
    assert len(rows) == 4


CAUSE = Cause(
    cause="learning-rate-too-high",
    confidence=0.92,
    evidence=["one update changed the weights by 1.7 of themselves", "the weights grew 157-fold"],
    advice="divide the learning rate by 10, or clip the gradient norm at 1.0",
    layer="blk.3",
    onset_step=1199,
)


def test_the_diagnosis_puts_cause_and_advice_first() -> None:
    rows = draw_flags.diagnosis_rows([CAUSE, CAUSE], 1, 60, 4, judged=True)
    picture = plain(rows)
    assert len(rows) == 4
    assert "learning-rate-too-high" in picture
    assert "92% sure, since 1,199" in picture
    assert "divide the learning rate by 10" in picture
    assert all(width_of(row) == 60 for row in rows)


def test_with_room_the_diagnosis_adds_evidence_and_the_next_cause() -> None:
    picture = plain(draw_flags.diagnosis_rows([CAUSE, CAUSE], 1, 80, 9, judged=True))
    assert "the weights grew 157-fold" in picture
    assert "or    learning-rate-too-high  92%" in picture


def test_without_a_cause_the_diagnosis_says_why() -> None:
    def said(flags: int, *, judged: bool) -> str:
        return plain(
            draw_flags.diagnosis_rows([], flags, 60, 5, judged=judged, facts=["40 layers"])
        )

    assert "nothing measured yet" in said(0, judged=False)
    assert "nothing out of order" in said(0, judged=True)
    assert "no cause named yet" in said(2, judged=True)
    assert "40 layers" in said(0, judged=True)


def test_the_page_of_a_flag_tells_onset_spread_evidence_cause_and_advice() -> None:
    exhibits = [
        Exhibit(
            name="out_variance",
            at_call=4e-8,
            now=3e-8,
            metric=metric("out_variance"),
            trend=np.array([0.5, 0.5, 1e-8]),
            onset=2,
        ),
        Exhibit(name="something_else", at_call=2.0),
    ]
    rows = flag_page(flag(followers=["blk.4"]), exhibits, [CAUSE], COVERAGE, 1300, 100)
    picture = plain(rows)
    for part in (
        "onset at step 1,200, called at 1,216, open for 100 steps",
        "began in blk.3, then blk.4",
        "from 0.001",
        "██╎",
        "something else",
        "92% sure",
        "try divide the learning rate by 10",
        "why one update",
        "looked for",
        "2 of 4 rules",
        "overfitting - impossible: no evaluation pass seen",
    ):
        assert part in picture
    assert all(width_of(row) == 100 for row in rows)


def test_the_page_of_a_flag_that_is_over_says_when() -> None:
    picture = plain(flag_page(flag(resolved_step=1300, layer=""), [], [], [], 1400, 80))
    assert "over at 1,300" in picture
    assert "the network as a whole" in picture
    assert "none named yet" in picture


# --- lines at the edges ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "status", "word"),
    [
        ("live", "running", "LIVE"),
        ("live", "silent", "SILENT 12 s"),
        ("ended", "finished", "FINISHED"),
        ("ended", "failed", "FAILED"),
        ("ended", "killed", "KILLED"),
        ("ended", "lost", "LOST"),
        ("lost", "running", "HUB LOST"),
        ("ended", "running", "HUB GONE"),
    ],
)
def test_each_state_has_its_own_words(link: str, status: str, word: str) -> None:
    found = standing(
        link=link, status=status, error="ValueError: x", quiet_s=12, sampled=True, known=True,
        broken="",
    )  # fmt: skip
    assert found.word == word


def test_a_lost_link_says_how_old_the_picture_is_and_when_it_is_tried_again() -> None:
    found = standing(
        link="lost", status="running", error="", quiet_s=12, sampled=True, known=True, broken="",
        heard="13:41:07", age_s=75.0, where="gpu-07 via ssh",
        trouble="connection refused; retry in 8s",
    )  # fmt: skip
    assert found.word == "LINK LOST 1m15s"
    assert found.detail == "retry in 8s, as of 13:41:07: connection refused"


def test_a_host_that_does_not_answer_has_a_line_of_its_own() -> None:
    entry = RunEntry(
        run="", name="gpu-11", path=Path(), live=False, status="no reply", verdict="",
        started=0.0, last_time=0.0, step=0, samples=0, host="gpu-11",
        problem="connection refused; retry in 8s",
    )  # fmt: skip
    for width in (78, 118):
        row = plain([run_row(entry, 0.0, width, chosen=False, far=True)])
        assert "? no reply" in row
        assert "gpu-11" in row
        assert "connection refused; retry in 8s" in row


@pytest.mark.parametrize("status", ["running", "silent", "finished"])
def test_a_hub_in_trouble_says_so_while_training_is_well(status: str) -> None:
    found = standing(
        link="live", status=status, error="cannot write: disk full", quiet_s=1, sampled=True,
        known=True, broken="",
    )  # fmt: skip
    assert (found.detail, found.style) == ("cannot write: disk full", "warn")


def test_a_run_without_samples_is_waited_for() -> None:
    def details(*, known: bool) -> str:
        return standing(
            link="live", status="", error="", quiet_s=0, sampled=False, known=known, broken=""
        ).detail

    assert details(known=False) == "for the run to report"
    assert details(known=True) == "for the first sample"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_verdict_is_never_pushed_out_of_the_state_line(width: int) -> None:
    state = standing(
        link="ended", status="failed", error="RuntimeError: " + "x" * 90, quiet_s=0, sampled=True,
        known=True, broken="",
    )  # fmt: skip
    head = Head(name="n" * 50, standing=state, step=12480, verdict="failing", flags=[flag()])
    row = state_line(head, width)
    assert width_of(row) == width
    assert text(row).endswith("▼1  ▼ FAILING  ")
    assert text(one_line(head, 40)).endswith("▼ FAILING  ")


def test_frozen_and_slow_are_told_apart_from_the_state() -> None:
    state = standing(
        link="live", status="running", error="", quiet_s=0, sampled=True, known=True, broken=""
    )
    head = Head(name="run", standing=state, step=10, frozen_steps=412, slow_link=True)
    row = text(state_line(head, 120))
    assert "LIVE" in row
    assert "FROZEN +412" in row
    assert "slow terminal" in row


def test_the_key_line_keeps_help_and_leave() -> None:
    keys = [(str(number), "word" * 3) for number in range(9)] + [("?", "Help"), ("q", "Detach")]
    row = text(key_row(keys, 60))
    assert len(row) == 60
    assert "? Help" in row
    assert "q Detach" in row


def test_the_bar_of_a_recording_shows_place_and_flags() -> None:
    row = text(progress(500, 1000, [flag(onset_step=750)], 60, playing=True, speed=8.0))
    assert row.startswith(" ▶ x8  500 ├━")
    assert row.endswith("┤ 1,000 ")
    assert row.index("┃") < row.index("▼")
    assert len(row) == 60
