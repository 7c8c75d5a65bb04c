"""Colours that stay apart for everybody, and looks that fit the terminal."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.color import Color

from deadband_monitor.tui.draw import gauge, heat, spark
from deadband_monitor.tui.ink import DARK, LIGHT, Depth, Ink, Palette

# How protan, deutan and tritan eyes see linear RGB: Machado, Oliveira and Fernandes 2009,
# severity 1.0.
SIGHT = {
    "normal": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.95047, 1.0, 1.08883])


def linear(color: str) -> NDArray[np.float64]:
    values = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(color: str, sight: str) -> NDArray[np.float64]:
    seen = np.clip(SIGHT[sight] @ linear(color), 0, 1)
    ratio = XYZ @ seen / WHITE
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def apart(one: str, other: str, sight: str) -> float:
    return float(np.linalg.norm(lab(one, sight) - lab(other, sight)))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((float(XYZ[1] @ linear(it)) for it in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


palettes = pytest.mark.parametrize("palette", [DARK, LIGHT], ids=["dark", "light"])
sights = pytest.mark.parametrize("sight", SIGHT)


@palettes
@sights
def test_inside_and_outside_of_the_band_stay_apart(palette: Palette, sight: str) -> None:
    inside, outside = palette.heat[2:6], palette.heat[:2] + palette.heat[6:]
    assert min(apart(a, b, sight) for a in inside for b in outside) >= 20
    assert min(apart(a, b, sight) for a in palette.heat[:2] for b in palette.heat[6:]) >= 20


@palettes
@sights
def test_steps_of_the_ramp_and_the_empty_ground_can_be_told(palette: Palette, sight: str) -> None:
    assert min(apart(a, b, sight) for a, b in itertools.pairwise(palette.heat)) >= 6
    assert min(apart(a, palette.ground, sight) for a in palette.heat) >= 9


@palettes
@sights
def test_signals_stay_apart_from_each_other_and_from_text(palette: Palette, sight: str) -> None:
    signals = (palette.info, palette.warn, palette.crit, palette.text)
    assert min(apart(a, b, sight) for a, b in itertools.combinations(signals, 2)) >= 20


@palettes
def test_text_can_be_read(palette: Palette) -> None:
    for color in (palette.text, palette.strong, palette.dim, palette.info, palette.warn):
        assert contrast(color, palette.ground) >= 4.5
    for color in (palette.info, palette.warn, palette.crit):
        assert contrast(palette.badge_text, color) >= 4.5


@palettes
def test_every_colour_is_an_entry_of_the_256(palette: Palette) -> None:
    for color in (palette.ground, palette.text, palette.crit, palette.warn, *palette.heat):
        rgb = Color.parse(color).get_truecolor()
        cube = {0, 95, 135, 175, 215, 255}
        grey = {8 + 10 * step for step in range(24)}
        assert set(rgb) <= cube or (len(set(rgb)) == 1 and rgb.red in grey), color


@pytest.mark.parametrize(
    ("colors", "no_color", "depth"),
    [
        ("truecolor", False, Depth.FULL),
        ("256", False, Depth.FULL),
        ("standard", False, Depth.BASIC),
        (None, False, Depth.NONE),
        ("truecolor", True, Depth.NONE),
    ],
)
def test_the_depth_follows_the_terminal(colors: str | None, no_color: bool, depth: Depth) -> None:
    ink = Ink.detect(colors=colors, no_color=no_color, encoding="utf-8", environ={})
    assert ink.depth is depth
    assert ink.glyph_map == (depth is not Depth.FULL)


def test_ascii_where_the_terminal_has_no_more() -> None:
    def unicode(encoding: str, **environ: str) -> bool:
        return Ink.detect(colors="256", no_color=False, encoding=encoding, environ=environ).unicode

    assert unicode("utf-8")
    assert unicode("UTF8")
    assert not unicode("ascii")
    assert not unicode("utf-8", TERM="linux")
    assert not unicode("utf-8", DEADBAND_ASCII="1")


def test_every_glyph_that_we_draw_has_an_ascii_twin() -> None:
    drawn = heat.GLYPHS + spark.BLOCKS + "".join(gauge.SIGNS.values())
    drawn += gauge.TRACK + gauge.BAND + gauge.MARK + gauge.WORST + "●◌✓✗❚▶▸╎╌┤├┃│─–×…⠁⣿▀▄"
    found = Ink(unicode=False).text(drawn)
    assert found.isascii()
    assert "?" not in found
    assert len(found) == len(drawn)


@pytest.mark.parametrize("depth", [Depth.BASIC, Depth.NONE])
def test_without_a_palette_styles_are_attributes(depth: Depth) -> None:
    ink = Ink(depth=depth)
    assert ink.style("badge.crit").reverse
    assert ink.style("crit").bold
    assert ink.style("dim").color is None
    assert (ink.style("crit").color is not None) == (depth is Depth.BASIC)
